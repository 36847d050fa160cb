"""Commands that name a user, a serial number or an asset tag, and the inventory."""

import json
import random
import threading
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import boto3
import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.stub import Stubber

from device_lockout.aws.ledger import Ledger
from device_lockout.inbound import report
from device_lockout.protocol import fan_out, listing
from device_lockout.values.actions import Action
from device_lockout.values.command import Change, Enroll, Lock, Reject, Release, Retire, Target, claim_id, command_id
from device_lockout.values.device import DeviceName as Name
from device_lockout.values.errors import TransientError, UnansweredError
from device_lockout.values.outcome import Outcome
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, Ending, Scope
from device_lockout.values.settings import EventMapping, Source
from device_lockout.values.tag import HOLD
from local.in_memory import (
    BOB,
    ORGANIZATION,
    SETTINGS,
    START,
    Call,
    Killed,
    Wire,
    World,
    at,
    cause,
    key,
    killed_after,
    killed_before,
)

USER = Target(ORGANIZATION, "bob@example.com")


def device(number: int) -> str:
    return f"android{number:04}"


def lock(event_id: str, when: datetime, target: Target = USER, why: str = "compromised", force: bool = False) -> Lock:
    scope: Scope = "device" if target.device or target.names else "user"
    return Lock(cause(event_id, when), target, Claim(claim_id(event_id), scope, why, when, HOLD), force)


def restored(event_id: str, when: datetime) -> Release:
    return Release(cause(event_id, when), USER, Ending("user"))


def enrolled(number: int, when: datetime = START, *names: Name, user: str = "bob") -> Enroll:
    return Enroll(cause(f"enrolled-{number}-{when}", when), Target(ORGANIZATION, user, device(number), names))


def retired(number: int, when: datetime) -> Retire:
    told = replace(cause(f"retired-{number}", when), reference="INC-1")
    return Retire(told, Target(ORGANIZATION, "bob", device(number)))


def denied(world: World) -> set[str]:
    return {key.device for key, override in world.workmail.overrides.items() if override.effect == "DENY"}


def results(world: World, event_id: str) -> list[str]:
    return sorted(told["result"] for told in world.told(event_id))


# A user


def test_a_user_with_a_thousand_devices_three_of_them_lost_is_locked_and_restored() -> None:
    world = World()
    allowed = Override("ALLOW", "as it was")
    for number in range(1000):
        world.deliver(enrolled(number), at(0))
        if number % 10 == 0:
            world.workmail.overrides[key(device(number))] = allowed
    before = dict(world.workmail.overrides)
    lost = {device(number) for number in (10, 500, 999)}
    for name in sorted(lost):
        world.deliver(lock(f"lost-{name}", at(5), Target(ORGANIZATION, "bob", name), "lost"), at(6))

    world.deliver(lock("compromised", at(10)), at(11))
    assert denied(world) == {device(number) for number in range(1000)}
    told = world.told("compromised")
    assert len(told) == 1 + 1000
    (summary,) = (each for each in told if not each["deviceId"])
    assert (summary["result"], summary["devices"], summary["page"]) == ("locked", 1000, False)

    world.deliver(restored("restored", at(20)), at(21))
    assert denied(world) == lost
    assert {key: each for key, each in world.workmail.overrides.items() if key.device not in lost} == {
        key: each for key, each in before.items() if key.device not in lost
    }
    assert results(world, "restored").count("still-locked") == 3
    assert results(world, "restored").count("released") == 997 + 1
    assert world.sweep(at(30)).plan.removals == ()


def test_the_lock_of_a_user_without_known_devices_pages_and_holds_for_devices_to_come() -> None:
    world = World()
    world.deliver(lock("compromised", at(10)), at(11))
    (told,) = world.told("compromised")
    assert (told["result"], told["devices"], told["page"]) == ("locked", 0, True)
    assert "no device of this user is known" in told["message"]
    world.deliver(enrolled(1, at(20)), at(21))
    assert denied(world) == {device(1)}


def test_a_device_enrolled_after_the_user_was_restored_is_left_open() -> None:
    world = World()
    world.deliver(lock("compromised", at(10)), at(11))
    world.deliver(restored("restored", at(20)), at(21))
    world.deliver(enrolled(1, at(30)), at(31))
    assert denied(world) == set()


def test_a_release_that_overtakes_its_lock_leaves_every_device_open() -> None:
    world = World()
    world.deliver(enrolled(1), at(0))
    world.deliver(restored("restored", at(20)), at(21))
    world.deliver(lock("compromised", at(10)), at(22))
    assert denied(world) == set()
    assert results(world, "compromised") == ["superseded"]


def test_a_restoration_older_than_the_lock_that_stands_is_told_as_superseded() -> None:
    world = World()
    world.deliver(enrolled(1), at(1))
    world.deliver(lock("compromised", at(60)), at(61))
    assert world.deliver(restored("restored", at(30)), at(90)).result == "superseded"
    assert results(world, "restored") == ["superseded", "superseded"], "the user's, and the device's"
    assert denied(world) == {device(1)}


def test_a_users_lock_covers_a_retired_device_too_as_the_sweep_would() -> None:
    world = World()
    world.deliver(enrolled(1), at(0))
    world.deliver(retired(1, at(1)), at(1))
    world.deliver(lock("compromised", at(10)), at(11))
    assert denied(world) == {device(1)}
    assert world.sweep(at(20)).plan.reasserts == ()
    world.deliver(restored("restored", at(30)), at(31))
    assert denied(world) == set()


def test_a_copy_of_a_users_lock_goes_on_where_the_first_was_cut_off() -> None:
    world = World()
    for number in range(25):
        world.deliver(enrolled(number), at(0))
    world.wire.faults[len(world.wire.calls) + 5] = killed_before
    world.deliver(lock("compromised", at(10)), at(11))
    assert len(denied(world)) == 25


def test_no_delivery_sends_on_more_than_a_portion_so_that_each_has_an_end() -> None:
    world = World()
    for number in range(2 * fan_out.PORTION + 1):
        world.deliver(enrolled(number), at(0))
    asked, portions = [lock("compromised", at(10))], []
    while asked:
        summary = world.carry_out(asked.pop(), at(11))
        asked = [command for command in world.queue.sent if isinstance(command, Lock)]
        portions.append((summary.result, len(world.queue.sent) - len(asked)))
        world.queue.sent.clear()
    assert portions == [("locked", fan_out.PORTION), ("skipped", fan_out.PORTION), ("skipped", 1)]
    (told,) = world.told("compromised")
    assert told["devices"] == 2 * fan_out.PORTION + 1


def test_a_user_who_is_exempt_is_locked_only_by_force() -> None:
    world = World(known=replace(SETTINGS, exempt_users=frozenset({"BOB"})))
    world.deliver(enrolled(1), at(0))
    for target in (USER, Target(ORGANIZATION, "bob@example.com", device(1)), Target(ORGANIZATION, BOB, device(1))):
        event = f"refused-{target.user}-{target.device}"
        world.deliver(lock(event, at(10), target), at(11))
        (told,) = world.told(event)
        assert (told["result"], told["page"]) == ("rejected", True)
        assert "is exempt" in told["message"]
    assert denied(world) == set()
    world.deliver(lock("forced", at(12), force=True), at(13))
    assert denied(world) == {device(1)}


class Turns(Wire):
    """A wire on which several callers take turns, call by call, as the dice say."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.dice = dice
        self.racing: dict[int, threading.Semaphore] = {}
        self.arrived = threading.Semaphore(0)

    def pass_on(self, name: str, call: Call) -> Any:
        gate = self.racing.get(threading.get_ident())
        if gate is not None:
            self.arrived.release()
            gate.acquire()
        return super().pass_on(name, call)

    def race(self, *runners: Any) -> list[Any]:
        """Run all, one call of one of them at a time; those whose delivery failed are returned, to be repeated."""
        failed: list[Any] = []
        alive: dict[int, threading.Semaphore] = {}

        def run(runner: Any) -> None:
            me = threading.get_ident()
            gate = self.racing[me] = alive[me] = threading.Semaphore(0)
            self.arrived.release()
            gate.acquire()
            try:
                runner()
            except (Killed, TransientError, UnansweredError):
                failed.append(runner)
            del self.racing[me], alive[me]
            self.arrived.release()

        threads = [threading.Thread(target=run, args=(runner,)) for runner in runners]
        for thread in threads:
            thread.start()
            self.arrived.acquire()
        while alive:
            self.dice.choice(list(alive.values())).release()
            self.arrived.acquire()
        for thread in threads:
            thread.join()
        return failed


def raced(world: World, seed: int, asked: list[Any], killed_within: int) -> Turns:
    """Carry commands out at the same time, those that died again, and then what they sent on.

    One process dies at one of the first `killed_within` calls, if that is not 0.
    """
    dice = random.Random(seed)
    turns = world.wire = world.workmail.wire = world.ledger.wire = world.queue.wire = world.bus.wire = Turns(dice)
    if killed_within:
        turns.faults[dice.randrange(killed_within)] = dice.choice([killed_before, killed_after])
    for runner in turns.race(*(partial(world.carry_out, command, at(11)) for command in asked)):
        runner()
    while world.queue.sent:
        world.deliver(world.queue.sent.pop(0), at(12))
    return turns


@pytest.mark.parametrize("crashes", [False, True], ids=["undisturbed", "killed"])
def test_a_device_enrolled_while_its_user_is_locked_is_never_left_open(crashes: bool) -> None:
    both_orders = set()
    for seed in range(100):
        world = World()
        turns = raced(world, seed, [lock("compromised", at(10)), enrolled(1, at(10))], 12 if crashes else 0)
        both_orders.add(turns.calls.index("ledger.save_user") < turns.calls.index("ledger.list_device"))
        assert denied(world) == {device(1)}, seed
    assert both_orders == {True, False}


# A serial number

SERIAL = Name("serial", "DNQXK3P9N735")
BY_NUMBER = Target(ORGANIZATION, "", "", (SERIAL,))


@pytest.mark.parametrize("crashes", [False, True], ids=["undisturbed", "killed"])
def test_a_lock_by_serial_number_misses_no_device_that_is_enrolled_or_retired_at_the_same_time(crashes: bool) -> None:
    both_orders = set()
    for seed in range(100):
        world = World()
        world.deliver(enrolled(2, at(0), SERIAL), at(0))
        asked = [lock("stolen", at(10), BY_NUMBER, "stolen"), enrolled(1, at(10), SERIAL), retired(2, at(10))]
        turns = raced(world, seed, asked, 18 if crashes else 0)
        both_orders.add(turns.calls.index("ledger.save_locks_of") < turns.calls.index("ledger.list_device"))
        assert denied(world) == {device(1), device(2)}, seed
    assert both_orders == {True, False}


def test_a_device_that_is_enrolled_under_a_locked_serial_number_is_locked_and_people_hear() -> None:
    world = World()
    world.deliver(enrolled(1, at(0), SERIAL), at(0))
    world.deliver(lock("stolen", at(10), BY_NUMBER, "stolen"), at(11))
    world.deliver(enrolled(2, at(20), SERIAL), at(21))
    assert denied(world) == {device(1), device(2)}
    (told,) = world.told(f"enrolled-2-{at(20)}")
    assert (told["result"], told["reason"], told["page"]) == ("locked", "stolen", True)
    assert "its serial number is locked" in told["message"]

    world.deliver(named_report(world, "found", at(30), "Device Recovered", serialNumber=SERIAL.value), at(31))
    world.deliver(enrolled(3, at(40), SERIAL), at(41))
    assert denied(world) == set()


def test_a_device_that_was_recovered_by_its_id_stays_open_when_it_is_enrolled_again() -> None:
    world = World()
    world.deliver(enrolled(1, at(0), SERIAL), at(0))
    world.deliver(lock("stolen", at(10), BY_NUMBER, "stolen"), at(11))
    recovered = Target(ORGANIZATION, "bob", device(1))
    world.deliver(Release(cause("found", at(20)), recovered, Ending("device")), at(21))
    world.deliver(enrolled(1, at(30), SERIAL), at(31))
    assert denied(world) == set()


def recovered(world: World, number: int, when: float) -> None:
    target = Target(ORGANIZATION, "bob", device(number))
    world.deliver(Release(cause(f"found {number} {when}", at(when)), target, Ending("device")), at(when + 1))


def test_a_phone_that_is_back_by_its_id_stays_open_when_it_is_enrolled_anew_however_often() -> None:
    world = World()
    world.deliver(enrolled(1, at(0), SERIAL), at(0))
    world.deliver(lock("stolen", at(10), BY_NUMBER, "stolen"), at(11))
    recovered(world, 1, 20)
    for number, when in ((2, 30), (3, 40), (2, 50)):
        world.deliver(enrolled(number, at(when), SERIAL), at(when + 1))
        (told,) = world.told(f"enrolled-{number}-{at(when)}")
        assert (told["result"], told["page"]) == ("enrolled", False)
    assert denied(world) == set()
    world.deliver(lock("stolen again", at(60), BY_NUMBER, "stolen"), at(61))
    world.deliver(enrolled(4, at(70), SERIAL), at(71))
    assert denied(world) == {device(number) for number in (1, 2, 3, 4)}, "a later lock counts"


def locked_by_number(
    world: World, event_id: str, when: float, until: datetime = HOLD, source: str = "helpdesk"
) -> None:
    made = lock(event_id, at(when), BY_NUMBER, "stolen")
    told = replace(made.cause, source=source)
    world.deliver(replace(made, cause=told, claim=replace(made.claim, until=until, source=source)), at(when))


def test_only_a_lock_of_its_serial_number_that_is_set_at_an_enrolment_pages() -> None:
    world = World()
    locked_by_number(world, "stolen", 1)
    world.deliver(enrolled(1, at(2), SERIAL), at(3))
    world.deliver(enrolled(1, at(4), SERIAL), at(5))
    own = Target(ORGANIZATION, "bob", device(2))
    lost = lock("lost", at(6), own, "lost")
    world.deliver(replace(lost, claim=replace(lost.claim, until=at(600))), at(7))
    world.deliver(enrolled(2, at(8), SERIAL), at(9))
    world.deliver(lock("compromised", at(10)), at(11))
    world.deliver(enrolled(3, at(12)), at(13))
    told = [world.told(f"enrolled-{number}-{at(when)}")[0] for number, when in ((1, 2), (1, 4), (2, 8), (3, 12))]
    assert [(each["result"], each["page"]) for each in told] == [
        ("locked", True),
        ("already-locked", False),
        ("extended", True),
        ("locked", False),
    ]
    assert [": its serial number is locked." in each["message"] for each in told] == [True, False, True, False]


def test_a_persons_end_of_a_serial_numbers_lock_holds_when_the_device_is_enrolled_again() -> None:
    world = World()
    locked_by_number(world, "stolen", 1)
    world.deliver(enrolled(1, at(2), SERIAL), at(3))
    place = key(device(1))
    shown = world.workmail.overrides[place]
    world.workmail.overrides[place] = replace(
        shown, description=(shown.description or "").replace("hold", "2026-11-23")
    )
    world.sweep(at(10))
    cut = world.ledger.devices[place].claims
    assert cut[0].until < HOLD
    del world.workmail.overrides[place]
    world.deliver(enrolled(1, at(20), SERIAL), at(21))
    assert world.ledger.devices[place].claims == cut
    assert "until=2026-11-24T" in (world.workmail.overrides[place].description or "")


def test_of_a_serial_numbers_locks_only_the_source_s_that_released_its_own_is_over() -> None:
    world = World()
    locked_by_number(world, "one", 1, source="mdm")
    locked_by_number(world, "other", 2, source="siem")
    world.deliver(enrolled(1, at(3), SERIAL), at(4))
    own = Ending("device", source="mdm")
    world.deliver(Release(cause("found", at(5)), Target(ORGANIZATION, "bob", device(1)), own), at(6))
    for number in (2, 3):
        world.deliver(enrolled(number, at(5 + number), SERIAL), at(6 + number))
    assert denied(world) == {device(1), device(2), device(3)}
    ((ending, when),) = world.ledger.locks[SERIAL.value.casefold()].released.newest
    assert (ending, when) == (Ending("device", frozenset({"stolen"}), "mdm"), at(5))


@pytest.mark.parametrize("decoy_is_first", [True, False])
def test_a_decoy_that_is_let_in_does_not_end_the_lock_of_its_serial_number(decoy_is_first: bool) -> None:
    world, (stolen, decoy) = World(), (1, 2)
    world.deliver(enrolled(stolen, at(0), SERIAL), at(0))
    if decoy_is_first:
        world.deliver(enrolled(decoy, at(5), SERIAL), at(5))
    world.deliver(lock("stolen", at(10), BY_NUMBER, "stolen"), at(11))
    world.deliver(enrolled(decoy, at(15), SERIAL), at(15))
    world.deliver(retired(stolen, at(16)), at(16))
    recovered(world, decoy, 20)
    assert denied(world) == {device(stolen)}
    world.deliver(enrolled(3, at(30), SERIAL), at(31))
    assert denied(world) == {device(stolen), device(3)}


def test_a_release_of_some_locks_only_does_not_end_the_others_of_a_serial_number() -> None:
    world = World()
    world.deliver(enrolled(1, at(0), SERIAL), at(0))
    world.deliver(lock("stolen", at(10), BY_NUMBER, "stolen"), at(11))
    target = Target(ORGANIZATION, "bob", device(1))
    world.deliver(Release(cause("found", at(20)), target, Ending("device", source="mdm")), at(21))
    world.deliver(enrolled(2, at(30), SERIAL), at(31))
    assert denied(world) == {device(1), device(2)}


def test_the_outcomes_of_a_lock_by_serial_number_have_the_number_and_keep_their_ids() -> None:
    world = World()
    world.deliver(enrolled(1, at(0), SERIAL), at(0))
    world.deliver(lock("stolen", at(10), BY_NUMBER, "stolen"), at(11))
    (told,) = world.told("stolen")
    assert (told["device"], told["names"]) == (device(1), {"serial": SERIAL.value})
    nameless = lock("stolen", at(10), Target(ORGANIZATION, BOB, device(1), resolved=True), "stolen")
    assert told["id"] == command_id(nameless), "as the releases before this one made it"


def test_a_serial_number_that_nobody_knows_is_locked_for_devices_to_come_with_a_page() -> None:
    world = World()
    world.deliver(lock("stolen", at(10), BY_NUMBER, "stolen"), at(11))
    (told,) = world.told("stolen")
    assert (told["result"], told["devices"], told["page"]) == ("locked", 0, True)
    assert "no device with serial DNQXK3P9N735 is known; the lock holds for devices to come" in told["message"]
    world.deliver(enrolled(1, at(20), SERIAL), at(21))
    assert denied(world) == {device(1)}


def test_a_serial_number_that_nobody_locked_has_nothing_to_release() -> None:
    world = World()
    world.deliver(named_report(world, "found", at(20), "Device Recovered", serialNumber=SERIAL.value), at(21))
    assert results(world, "found") == ["rejected"]


def test_an_exempt_users_device_is_not_locked_by_its_serial_number_when_it_is_enrolled() -> None:
    world = World(known=replace(SETTINGS, exempt_users=frozenset({BOB})))
    world.deliver(lock("stolen", at(10), BY_NUMBER, "stolen"), at(11))
    world.deliver(enrolled(1, at(20), SERIAL), at(21))
    assert denied(world) == set()


CARLA = "ca51a000-0000-4000-8000-000000000000"


def passes_on(world: World) -> None:
    """Give Bob's address to Carla."""
    world.workmail.names |= {"carla": CARLA, CARLA: CARLA, "bob@example.com": CARLA}


def fails(world: World, command: Any, when: datetime, call: str, fault: Any) -> None:
    """Put a fault at the first call of that name that the command will make."""
    begins, rehearsal = len(world.wire.calls), deepcopy(world)
    rehearsal.carry_out(command, when)
    world.wire.faults[rehearsal.wire.calls.index(call, begins)] = fault


def dies(world: World, command: Any, when: datetime, call: str) -> None:
    """Carry a command out up to the first call of that name, and let the process die after it."""
    fails(world, command, when, call, killed_after)
    with pytest.raises(Killed):
        world.carry_out(command, when)


@pytest.mark.parametrize("target", [USER, Target(ORGANIZATION, "bob@example.com", device(1))], ids=["user", "device"])
@pytest.mark.parametrize("buried", [False, True])
def test_a_lock_is_of_one_user_whoever_has_the_address_by_the_next_delivery(target: Target, buried: bool) -> None:
    world = World()
    for user in ("bob", CARLA):
        world.workmail.names |= {CARLA: CARLA}
        world.deliver(enrolled(1, at(0), user=user), at(0))
    saves = "ledger.save_device" if target.device else "ledger.save_user"
    stolen = lock("stolen", at(10), target)
    dies(world, stolen, at(11), saves)
    passes_on(world)
    if buried:  # another report by the address, which is Carla's by now
        other = lock("another", at(20), replace(target, device=device(2) if target.device else ""))
        world.deliver(other, at(21))
        world.deliver(restored("over", at(22)), at(22))
        world.deliver(Release(cause("found", at(22)), other.target, Ending("device")), at(22))
    world.deliver(stolen, at(30))
    assert {key.user_id for key, row in world.workmail.overrides.items() if row.effect == "DENY"} == {BOB}
    assert {told["user"]["id"] for told in world.told("stolen")} == {BOB}


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("target", [USER, Target(ORGANIZATION, "bob@example.com", device(1))], ids=["user", "device"])
def test_a_release_is_of_one_user_whoever_has_the_address_by_the_next_delivery(target: Target, copied: bool) -> None:
    world, scope = World(), "device" if target.device else "user"
    world.workmail.names |= {CARLA: CARLA}
    for user in (BOB, CARLA):
        world.deliver(enrolled(1, at(0), user=user), at(0))
        world.deliver(lock(f"stolen-{user}", at(5), replace(target, user=user)), at(6))
    back = Release(cause("back", at(10.2)), target, Ending(scope))
    dies(world, back, at(11), "ledger.save_device" if target.device else "ledger.save_user")
    passes_on(world)
    copy = replace(back, cause=replace(back.cause, happened=at(10.999), received=at(20)))  # its report told no time
    world.deliver(copy if copied else back, at(30))
    assert {key.user_id for key in world.workmail.overrides} == {CARLA}, "hers is stolen"
    assert {told["user"]["id"] for told in world.told("back")} == {BOB}


def test_two_commands_at_once_keep_everybody_whom_a_new_name_meant() -> None:
    world = World()
    world.workmail.names |= {CARLA: CARLA}
    for user in (BOB, CARLA):
        world.deliver(enrolled(1, at(0), user=user), at(0))
    stolen = lock("stolen", at(10))
    other = lock("lost", at(10), replace(USER, device=device(2)))  # in a message group of its own

    def meanwhile(call: Call) -> Any:
        dies(world, stolen, at(11), "ledger.save_user")
        passes_on(world)
        return call()

    fails(world, other, at(11), "workmail.user", meanwhile)
    world.deliver(other, at(11))
    world.deliver(stolen, at(30))
    assert key(device(1)) in world.workmail.overrides
    assert key(device(1), CARLA) not in world.workmail.overrides
    assert {told["user"]["id"] for told in world.told("stolen")} == {BOB}


def test_a_change_is_of_the_user_of_its_address_although_the_former_one_was_released_since() -> None:
    world = World()
    world.workmail.names |= {CARLA: CARLA}
    world.deliver(lock("first", at(1)), at(1))
    passes_on(world)
    stolen = lock("stolen", at(5), replace(USER, user=CARLA, device=device(1)), "stolen")
    world.deliver(replace(stolen, claim=replace(stolen.claim, until=at(100))), at(6))
    world.deliver(Release(cause("over", at(60)), replace(USER, user=BOB, device=device(1)), Ending("device")), at(60))
    longer = Claim(claim_id("longer"), "device", "", at(50), at(200))
    by_address = replace(USER, device=device(1))
    world.deliver(Change(cause("longer", at(50)), by_address, Ending("device"), longer, longer=True), at(61))
    (told,) = world.told("longer")
    assert (told["result"], told["user"]["id"]) == ("extended", CARLA)


def test_the_locks_of_an_exempt_user_write_nothing_for_whoever_had_the_address_before() -> None:
    world = World(known=replace(SETTINGS, exempt_users=frozenset({"carla"})))
    world.deliver(lock("first", at(10)), at(10))
    passes_on(world)
    world.deliver(lock("second", at(20)), at(20))
    before = world.ledger.user_items[BOB]
    new = at(21) + SETTINGS.limits.clock_skew
    for number in (1, 2):
        world.deliver(lock(f"new {number}", new, replace(USER, device=device(number))), new)
        world.deliver(lock(f"new {number}, user", new), new)
        assert results(world, f"new {number}") == results(world, f"new {number}, user") == ["rejected"]
    assert {key.user_id for key in world.ledger.devices} == {CARLA}
    assert world.ledger.user_items[BOB] == before


def test_a_new_report_asks_for_former_holders_of_an_address_only_if_it_may_be_old() -> None:
    world = World()
    world.deliver(lock("first", at(10)), at(10))
    passes_on(world)
    world.deliver(lock("second", at(20)), at(20))
    assert world.ledger.names["bob@example.com"].all == (CARLA, BOB)
    before = world.ledger.user_items[BOB]
    late, new = at(20) + SETTINGS.limits.clock_skew, at(21) + SETTINGS.limits.clock_skew
    world.deliver(lock("third", new), new)
    assert world.ledger.user_items[BOB] == before
    world.deliver(lock("fourth", late), new)
    assert world.ledger.user_items[BOB].version == before.version + 1
    assert {claim.id for claim in world.ledger.user_items[BOB].claims} == {claim_id("first")}


@pytest.mark.parametrize("names", [{"userId": "bob"}, {"userId": "bob", "deviceId": device(1)}, {"assetTag": "P-17"}])
def test_a_copy_that_is_rejected_tells_nothing_where_the_ledger_has_the_lock(names: dict[str, str]) -> None:
    world = World()
    world.deliver(enrolled(1, at(0), Name("asset", "P-17")), at(0))
    kind = "Device Lost" if len(names) > 1 or "assetTag" in names else "User Compromised"
    lost = named_report(world, "lost", at(10), kind, **names)
    call = {"User Compromised": "ledger.save_user", "Device Lost": "ledger.save_device"}[kind]
    dies(world, lost, at(11), "ledger.keep_found" if "assetTag" in names else call)
    refused = Reject(replace(lost.cause, reference="INC-1"), lost.target, "source helpdesk may release only")
    skipped = Outcome("skipped", because="an earlier copy was taken", reference="INC-1")
    assert world.carry_out(refused, at(20)) == skipped
    assert world.told("lost") == []
    world.deliver(lost, at(30))
    assert denied(world) == {device(1)}
    assert {told["result"] for told in world.told("lost")} == {"locked"}
    world.deliver(replace(refused, cause=cause("never seen", at(10))), at(40))
    assert results(world, "never seen") == ["rejected"]


def test_a_rejected_report_is_told_however_long_its_names_are() -> None:
    world = World()
    refused = named_report(world, "refused", at(10), "User Compromised", userId="\N{OLD ITALIC LETTER A}" * 256)
    world.carry_out(refused, at(11))
    assert results(world, "refused") == ["rejected"]
    assert "ledger.named" not in world.wire.calls, "no key has room for it"


@pytest.mark.parametrize("names", ["device", "serial number"])
def test_two_sources_read_one_event_and_the_rejection_of_one_is_told(names: str) -> None:
    world = World()
    target = Target(ORGANIZATION, "bob", device(1)) if names == "device" else BY_NUMBER
    world.deliver(lock("finding", at(10), target), at(11))
    other = replace(cause("finding", at(10)), reader="another")
    world.deliver(Reject(other, target, "expiresAt is too late"), at(12))
    assert results(world, "finding") == ["locked", "rejected"]


def test_the_covered_allow_comes_back_whole_where_a_release_died_and_its_users_lock_is_forgotten() -> None:
    """Seed 3891: the write never landed, so the tag that the release saw is no sign of a ledger that was set back."""
    world, allowed = World(), Override("ALLOW", "agreed with security")
    world.workmail.overrides[key(device(1))] = allowed
    world.deliver(enrolled(1, at(0)), at(0))
    compromised = lock("compromised", at(10))
    world.deliver(replace(compromised, claim=replace(compromised.claim, until=at(30))), at(11))
    user = world.ledger.user_items[BOB]
    world.ledger.user_items[BOB] = replace(user, released=user.released.with_release(Ending("user"), at(40)))
    back = Release(cause("back", at(35)), Target(ORGANIZATION, "bob", device(1)), Ending("device"))
    dies(world, back, at(50), "ledger.save_device")
    assert denied(world) == {device(1)}
    world.ledger.user_items[BOB] = replace(world.ledger.user_items[BOB], claims=())
    world.deliver(back, at(51))
    world.sweep(at(60))
    assert world.workmail.overrides[key(device(1))] == allowed


def test_a_release_that_ends_one_lock_is_not_told_as_released_over_another_that_no_sweep_removed_yet() -> None:
    """Seed 8089: the later lock is over, but its DENY stands until the next sweep."""
    world, target = World(), Target(ORGANIZATION, "bob", device(1))
    short = lock("short", at(20), target, "lost")
    world.deliver(replace(short, claim=replace(short.claim, until=at(60))), at(20))
    world.workmail.disabled.add(BOB)
    world.deliver(lock("hold", at(10), target, "stolen"), at(30))
    world.workmail.disabled.clear()
    world.deliver(Release(cause("back", at(15)), target, Ending("device")), at(70))
    (told,) = world.told("back")
    assert (told["result"], denied(world)) == ("still-locked", {device(1)})
    assert "its lock is over, and the next sweep removes it" in told["message"]


# An asset tag


@pytest.mark.parametrize("moves", ["to another", "away"])
def test_a_lock_by_asset_tag_goes_to_the_devices_that_it_found_first(moves: str) -> None:
    world, tag = World(), Name("asset", "PHONE-17")
    world.deliver(enrolled(1, at(0), tag), at(0))
    lost = asset_report(world, "lost", at(10))
    dies(world, lost, at(11), "queue.send")
    world.deliver(retired(1, at(12)), at(12))
    if moves == "to another":
        world.deliver(enrolled(2, at(13), tag), at(13))
    world.deliver(lost, at(20))
    assert denied(world) == {device(1)}
    world.deliver(replace(lost, cause=replace(lost.cause, received=at(40))), at(40))
    assert denied(world) == {device(1)}, "a late copy"
    assert results(world, "lost") == ["locked"]


def test_people_hear_of_former_devices_whichever_delivery_sends_the_lock_on() -> None:
    world, tag = World(), Name("asset", "PHONE-17")
    for number in (1, 2):
        world.deliver(enrolled(number, at(number), tag), at(number))
    world.deliver(retired(1, at(3)), at(3))
    lost = asset_report(world, "lost", at(10))
    dies(world, lost, at(11), "ledger.keep_found")
    world.deliver(lost, at(12))
    (told,) = world.told("lost")
    assert (told["deviceId"], told["page"]) == (device(2), True)
    assert f"{device(1)} of {BOB} had it once" in told["message"]


@pytest.mark.parametrize("kind", ["Device Lost", "Device Retired"])
def test_a_message_names_ten_of_the_devices_that_a_hostile_inventory_put_under_a_tag(kind: str) -> None:
    world, tag = World(), Name("asset", "PHONE-17")
    for number in range(40):
        world.deliver(enrolled(number, at(0), tag), at(0))
        if kind == "Device Lost":
            world.deliver(retired(number, at(1)), at(1))
    world.deliver(asset_report(world, "report", at(10), kind), at(11))
    (told,) = world.told("report")
    assert told["message"].count("android") == 10
    assert "40 devices" in told["message"] or "and 30 more had it once" in told["message"]


def asset_report(world: World, event_id: str, when: datetime, kind: str = "Device Lost", **detail: str) -> Any:
    event = {
        "id": event_id,
        "source": "helpdesk",
        "detail-type": kind,
        "time": when.isoformat(),
        "detail": {"assetTag": "PHONE-17", **detail},
    }
    (command,) = report.read(json.dumps(event), event_id, when, world.settings)
    return command


def test_a_report_by_asset_tag_is_rejected_and_told_until_the_device_is_enrolled() -> None:
    world = World()
    world.deliver(asset_report(world, "first", at(10)), at(11))
    (told,) = world.told("first")
    assert (told["result"], told["page"]) == ("rejected", True)
    assert "no device with asset PHONE-17 is in the inventory" in told["message"]
    assert ("Lockout Rejected", told) in world.bus.announced

    world.deliver(enrolled(1, at(20), Name("asset", "phone-17")), at(21))
    world.deliver(asset_report(world, "again", at(30)), at(31))
    assert denied(world) == {device(1)}
    (told,) = world.told("again")
    assert (told["result"], told["verified"], told["deviceId"]) == ("locked", True, device(1))


def named_report(world: World, event_id: str, when: datetime, kind: str = "Device Lost", **names: str) -> Any:
    event = {"id": event_id, "source": "helpdesk", "detail-type": kind, "time": when.isoformat(), "detail": names}
    (command,) = report.read(json.dumps(event), event_id, when, world.settings)
    return command


@pytest.mark.parametrize("gone", [False, True])
def test_a_lock_by_serial_number_reaches_every_device_that_ever_had_it(gone: bool) -> None:
    """Two mail clients on one phone; a decoy that somebody enrols under the phone's number diverts nothing."""
    world, serial = World(), Name("serial", "DNQXK3P9N735")
    for number in (1, 2, 3):
        world.deliver(enrolled(number, at(number), serial), at(number))
    if gone:
        retired = Target.of(key(device(1), BOB))
        world.deliver(Retire(cause("retired", at(5)), retired), at(5))
    world.deliver(named_report(world, "stolen", at(10), serialNumber="dnqxk3p9n735"), at(11))
    assert denied(world) == {device(1), device(2), device(3)}
    assert not any(told["page"] for told in world.told("stolen"))
    world.deliver(named_report(world, "found", at(20), "Device Recovered", serialNumber="DNQXK3P9N735"), at(21))
    assert denied(world) == set()


def test_a_lock_by_asset_tag_reaches_the_devices_that_have_it_and_tells_of_those_that_had_it() -> None:
    world, tag = World(), Name("asset", "PHONE-17")
    world.deliver(enrolled(1, at(0), tag), at(0))
    world.deliver(enrolled(1, at(1), Name("asset", "OLD-17")), at(1))
    for number in (2, 3):
        world.deliver(enrolled(number, at(2), tag), at(2))
    world.deliver(asset_report(world, "lost", at(10)), at(11))
    assert denied(world) == {device(2), device(3)}
    for told in world.told("lost"):
        assert told["page"]
        assert f"asset PHONE-17: {device(1)} of {BOB} had it once and stays as it is" in told["message"]
    world.deliver(asset_report(world, "found", at(20), "Device Recovered"), at(21))
    assert denied(world) == set()


def test_a_lock_by_an_asset_tag_that_no_device_has_any_more_is_rejected_with_those_that_had_it() -> None:
    world, tag = World(), Name("asset", "PHONE-17")
    world.deliver(enrolled(1, at(0), tag), at(0))
    world.deliver(asset_report(world, "retired", at(1), "Device Retired"), at(1))
    world.deliver(asset_report(world, "lost", at(10)), at(11))
    (told,) = world.told("lost")
    assert told["result"] == "rejected"
    assert f"{device(1)} of {BOB} had it once and stays as it is" in told["message"]


def test_a_name_of_two_users_devices_locks_both_unless_the_report_tells_which() -> None:
    world = World()
    carla = "ca51a000-0000-4000-8000-000000000000"
    world.workmail.names |= {"carla": carla, carla: carla}
    tag = Name("asset", "PHONE-17")
    world.deliver(enrolled(1, at(0), tag), at(0))
    world.deliver(enrolled(2, at(0), tag, user="carla"), at(0))
    world.deliver(asset_report(world, "hers", at(10), userId="carla"), at(11))
    assert denied(world) == {device(2)}
    world.deliver(asset_report(world, "which", at(20), "Device Retired"), at(21))
    (told,) = world.told("which")
    assert "names 2 devices" in told["message"], "the label may have moved"
    world.deliver(asset_report(world, "both", at(30)), at(31))
    assert denied(world) == {device(1), device(2)}


@pytest.mark.parametrize("kind", ["Device Lost", "Device Recovered", "Device Retired"])
def test_a_device_id_without_its_user_is_held_against_what_the_inventory_has_under_the_name(kind: str) -> None:
    world = World()
    tag = Name("asset", "PHONE-17")
    world.deliver(enrolled(1, at(0), tag), at(0))
    world.deliver(enrolled(2, at(0)), at(0))
    world.deliver(asset_report(world, "another", at(10), kind, deviceId=device(2)), at(11))
    (told,) = world.told("another")
    assert told["result"] == "rejected"
    assert f"no device with asset PHONE-17 and device ID {device(2)}" in told["message"]
    world.deliver(asset_report(world, "the one", at(20), kind, deviceId=device(1).upper()), at(21))
    result = {"Device Lost": "locked", "Device Recovered": "nothing-to-release", "Device Retired": "retired"}[kind]
    assert results(world, "the one") == [result]


def test_a_device_of_two_users_is_locked_for_both() -> None:
    world = World()
    carla = "ca51a000-0000-4000-8000-000000000000"
    world.workmail.names |= {"carla": carla, carla: carla}
    tag = Name("asset", "PHONE-17")
    world.deliver(enrolled(1, at(0), tag), at(0))
    world.deliver(enrolled(1, at(0), tag, user="carla"), at(0))
    world.deliver(asset_report(world, "lost", at(10)), at(11))
    assert set(world.workmail.overrides) == {key(device(1)), key(device(1), carla)}


def test_a_deleted_user_is_released_by_the_id_that_outcomes_tell_too() -> None:
    world = World()
    world.deliver(lock("lost", at(0), Target(ORGANIZATION, "bob", device(1)), "lost"), at(1))
    world.workmail.deleted.add(BOB)
    world.deliver(Release(cause("found", at(10)), Target(ORGANIZATION, BOB, device(1)), Ending("device")), at(11))
    assert results(world, "found") == ["released"]
    stranger = Target(ORGANIZATION, "0ther000-0000-4000-8000-000000000000", device(1))
    world.deliver(Release(cause("whose", at(20)), stranger, Ending("device")), at(21))
    assert results(world, "whose") == ["rejected"]


def test_old_news_of_the_inventory_does_not_undo_newer() -> None:
    world = World()
    tag = Name("asset", "PHONE-17")
    world.deliver(enrolled(1, at(10), tag), at(11))
    world.deliver(retired(1, at(5)), at(12))
    (told,) = world.told("retired-1")
    assert (told["result"], told["reference"]) == ("superseded", "INC-1")
    assert ": the inventory heard later news of it. (" in told["message"]
    world.deliver(asset_report(world, "lost", at(20)), at(21))
    assert denied(world) == {device(1)}


def test_a_retired_device_no_longer_answers_to_its_names_and_keeps_its_lock() -> None:
    world = World()
    world.deliver(enrolled(1, at(0), Name("asset", "PHONE-17")), at(0))
    world.deliver(asset_report(world, "lost", at(10)), at(11))
    world.deliver(retired(1, at(20)), at(21))
    (told,) = world.told("retired-1")
    assert (told["result"], told["reference"], told["user"]["id"]) == ("retired", "INC-1", BOB)
    assert denied(world) == {device(1)}
    world.deliver(asset_report(world, "again", at(30)), at(31))
    assert results(world, "again") == ["rejected"]


def test_the_sweep_adds_devices_that_others_made_overrides_for_and_the_users_lock_finds_them() -> None:
    world = World()
    world.workmail.overrides[key(device(1))] = Override("ALLOW", "the boss's phone")
    world.sweep(at(10))
    assert world.ledger.devices[key(device(1))].known
    world.deliver(lock("compromised", at(20)), at(21))
    assert denied(world) == {device(1)}
    (told,) = (each for each in world.told("compromised") if each["deviceId"])
    assert told["verified"]


def test_a_run_adds_a_bounded_number_of_devices_and_other_runs_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "INVENTORIED", 10)
    world = World()
    for number in range(25):
        world.workmail.overrides[key(device(number))] = Override("ALLOW")
    world.sweep(at(10))
    assert len(world.ledger.devices) == 10
    world.sweep(at(20))
    assert len(world.ledger.devices) == 20
    world.sweep(at(30))
    assert len(world.ledger.devices) == 25
    world.workmail.overrides[key(device(99))] = Override("ALLOW")
    for run in range(3):
        world.sweep(at(40 + run))
    assert len(world.ledger.devices) == 26, "it goes around"


def test_what_there_was_no_time_to_add_is_added_by_the_next_run() -> None:
    world = World()
    for number in range(5):
        world.workmail.overrides[key(device(number))] = Override("ALLOW")
    left = iter([True, True, True])
    world.plan(at(10), enough_time=lambda: next(left, False))
    assert 0 < len(world.ledger.devices) < 5
    seen = len(world.ledger.devices)
    left = iter([True, True, True])
    world.plan(at(20), enough_time=lambda: next(left, False))
    assert len(world.ledger.devices) == min(5, 2 * seen)


# Mapped sources


def mapped(expressions: dict[str, str], event: dict[str, Any], action: Action = "lock-user") -> Any:
    source = Source("other", frozenset({"lock"}), EventMapping(action, "compromised", expressions))
    known = replace(SETTINGS, sources=(source,))
    body = json.dumps({"mappedSource": "other", "event": {"id": "e", "source": "x", "detail-type": "y", **event}})
    (command,) = report.read(body, "message", at(0), known)
    return command


def test_a_mapped_event_becomes_the_command_that_its_source_asks_for() -> None:
    command = mapped({"user": "detail.who", "time": "detail.at"}, {"detail": {"who": "bob", "at": 1795332540000}})
    assert isinstance(command, Lock)
    assert (command.target, command.claim.scope, command.claim.why) == (
        Target(ORGANIZATION, "bob"),
        "user",
        "compromised",
    )
    assert command.cause.happened == at(-60)


@pytest.mark.parametrize(
    ("expression", "detail", "expected"),
    [
        ("detail.who", {}, "user = 'detail.who' found nothing: expected an e-mail address"),
        ("detail.who", {"who": 7}, "user = 'detail.who' found 7: expected an e-mail address"),
        ("detail.who", {"who": ["bob"]}, "user = 'detail.who' found [\"bob\"]: expected an e-mail address"),
        ("detail.who", {"who": "b b"}, "user = 'detail.who' found \"b b\": expected an e-mail address"),
        ("join('', detail.who)", {"who": [1]}, "user = \"join('', detail.who)\" can't be evaluated on this event: "),
    ],
)
def test_what_a_mapping_does_not_find_is_a_rejection_that_names_the_expression(
    expression: str, detail: dict[str, Any], expected: str
) -> None:
    command = mapped({"user": expression}, {"detail": detail})
    assert expected in command.because


TWO_READERS = (
    Source(
        "phones",
        frozenset({"lock"}),
        EventMapping("lock", "stolen", {"user": "detail.u", "device": "detail.d"}),
    ),
    Source("people", frozenset({"lock"}), EventMapping("lock-user", "compromised", {"user": "detail.u"})),
)


@pytest.mark.parametrize("order", [("phones", "people"), ("people", "phones")])
@pytest.mark.parametrize(
    ("ends", "stays"), [("device", "compromised"), ("user", "stolen")], ids=["recovered", "restored"]
)
def test_one_event_that_two_sources_read_is_two_locks_whichever_comes_first(
    order: tuple[str, str], ends: Scope, stays: str
) -> None:
    known = replace(SETTINGS, sources=(*SETTINGS.sources, *TWO_READERS))
    world = World(known=known)
    event = {"id": "e", "source": "x", "detail-type": "y", "detail": {"u": "bob", "d": device(1)}}
    world.deliver(enrolled(1), at(0))
    ids = set()
    for name in order:
        (read,) = report.read(json.dumps({"mappedSource": name, "event": event}), "message", at(10), known)
        ids.add(command_id(read))
        world.deliver(read, at(11))
    assert len(ids) == 2, "neither is a copy of the other to the queue"
    target = Target(ORGANIZATION, "bob", device(1) if ends == "device" else "")
    world.deliver(Release(cause("over", at(20)), target, Ending(ends)), at(21))
    assert f"why={stays}" in (world.workmail.overrides[key(device(1))].description or "")


def test_only_the_router_s_own_envelope_names_a_mapped_source() -> None:
    body = json.dumps({"mappedSource": "helpdesk", "event": {"detail": {"userId": "bob"}}})
    with pytest.raises(TransientError, match='mappedSource is "helpdesk"'):
        report.read(body, "message", at(0), SETTINGS)


def test_an_outcome_that_was_kept_is_announced_again_as_it_was() -> None:
    client = boto3.client("dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    told = {"detailType": "Device Locked", "detail": {"id": "1", "devices": 1000, "page": False, "until": None}}
    with Stubber(client) as stub:
        stub.add_client_error(
            "put_item",
            "ConditionalCheckFailedException",
            modeled_fields={"Item": {"told": TypeSerializer().serialize(told)}},
        )
        kept = Ledger(client, "ledger").record_outcome("event", "1", {"detail": {}}, at(0))
    assert json.dumps(kept) == json.dumps(told)


@pytest.mark.parametrize("days", [("2026-11-23", "2026-12-20"), ("2026-12-20", "2026-11-23")])
def test_two_elements_about_one_device_lock_it_for_the_longer_time(days):
    mapping = EventMapping("lock", "lost", {"user": "each.u", "device": "each.d", "expires_at": "each.e"})
    mapping = replace(mapping, each="detail.items", at_most=5)
    known = replace(SETTINGS, sources=(Source("feed", frozenset({"lock"}), mapping),))
    items = [{"u": "bob", "d": "android0001", "e": day} for day in days]
    event = {"id": "E", "source": "feed", "time": "2026-11-22T07:30:00Z", "detail": {"items": items}}
    world = World(known=known)
    for command in report.read(json.dumps({"mappedSource": "feed", "event": event}), "M", at(60), known):
        world.deliver(command, at(60))
    assert "until=2026-12-21T00:00:00Z" in world.workmail.overrides[key("android0001")].description
