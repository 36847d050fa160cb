"""The sweep over fakes: what it removes, what it leaves, and what makes it unsure."""

import itertools
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from device_lockout.values.command import Cause, Expire, Lock, Reassert, Target, claim_id
from device_lockout.values.errors import RefusedError, TransientError
from device_lockout.values.outcome import SOURCE, Outcome
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, DeviceRecord, Last, UserRecord
from device_lockout.values.settings import Organization
from device_lockout.values.tag import HOLD, Tag, write
from local.in_memory import (
    BOB,
    DAY,
    DEVICE,
    KEY,
    ORGANIZATION,
    SETTINGS,
    FakeQueue,
    World,
    at,
    cause,
    key,
    sweeping,
    throttled,
)

TARGET = Target(ORGANIZATION, BOB, DEVICE)
NOW = at(3600)


def claim(number, until, happened=0):
    return Claim(claim_id(f"event-{number}"), "device", "lost", at(happened), HOLD if until is None else at(until))


def denial(number, until, was="none", owner="local"):
    known = claim(number, until)
    return Override("DENY", write(Tag(owner, "lost", known.until, known.at, known.id, was)))


def lock(number=0, until=None, device=DEVICE, happened=0):
    return Lock(cause(f"event-{number}", at(happened)), replace(TARGET, device=device), claim(number, until, happened))


def set_lock(world, number, until, device, known=True, was="none"):
    """One of our locks, in the ledger too if ``known``."""
    observed = world.workmail.overrides[key(device)] = denial(number, until, was)
    if known:
        prior = Override("ALLOW", f"before {number}") if was == "allow" else None
        outcome = Outcome("locked", before=prior, after=observed)
        last = Last("c" * 64, f"event-{number}", outcome, at(1))
        world.ledger.devices[key(device)] = DeviceRecord((claim(number, until),), prior=prior, last=last, version=1)
        outcome_id = f"event-{number}", "c" * 64
        world.ledger.outcomes[outcome_id] = {"detail": {}}


def told(world, kind):
    return [detail for detail_type, detail in world.bus.announced if detail_type == kind]


# A whole organization.

KINDS = [
    "ours, live",
    "ours, live, unknown to the ledger",
    "ours, over",
    "ours, over, unknown to the ledger",
    "ours, over, an ALLOW before it",
    "another owner's",
    "broken",
    "newer version",
    "a person's ALLOW",
    "a person's DENY",
    "hand-written, past",
    "hand-written, to come",
    "without a description",
]
OVER = {"ours, over", "ours, over, unknown to the ledger", "hand-written, past"}


def an_organization(count, known):
    world = World(known=known)
    kinds = {}
    for number, kind in enumerate(itertools.islice(itertools.cycle(KINDS), count)):
        device = f"device{number:04}"
        kinds[device] = kind
        over = denial(number, 100)
        match kind:
            case "ours, live":
                set_lock(world, number, None if number % 2 else 10**6, device)
            case "ours, live, unknown to the ledger":
                set_lock(world, number, 10**6, device, known=False)
            case "ours, over" | "ours, over, unknown to the ledger":
                set_lock(world, number, 100, device, known="unknown" not in kind)
            case "ours, over, an ALLOW before it":
                set_lock(world, number, 100, device, was="allow")
            case _:
                world.workmail.overrides[key(device)] = {
                    "another owner's": denial(number, 100, owner="prod"),
                    "broken": replace(over, description=over.description.replace("id=", "id=x")),
                    "newer version": replace(over, description=over.description.replace("lockout/1", "lockout/2")),
                    "a person's ALLOW": Override("ALLOW", "travel phone"),
                    "a person's DENY": Override("DENY", "until further notice"),
                    "hand-written, past": Override("ALLOW" if number % 2 else "DENY", "[until=2026-11-21] trip"),
                    "hand-written, to come": Override("DENY", "[until=2026-11-22] trip"),
                    "without a description": Override("ALLOW"),
                }[kind]
    return world, kinds


def test_of_a_thousand_mixed_overrides_exactly_the_expired_ones_change():
    world, kinds = an_organization(1000, sweeping(max_removals=1000))
    before = dict(world.workmail.overrides)
    result = world.sweep(NOW)
    after = world.workmail.overrides
    for device, kind in kinds.items():
        place = key(device)
        if kind in OVER:
            assert place not in after, device
        elif kind == "ours, over, an ALLOW before it":
            assert after[place] == Override("ALLOW", f"before {int(device[6:])}")
        else:
            assert after[place] == before[place], f"{device}: {kind}"
    expired = sum(kind in OVER or kind.startswith("ours, over") for kind in kinds.values())
    assert (len(result.plan.removals), result.refused) == (expired, None)
    assert world.workmail.writes == expired, "nothing else was even written with what it was"
    [completed] = told(world, "Sweep Completed")
    assert sum(completed["seen"].values()) == 1000
    world.workmail.writes = 0
    assert world.sweep(NOW + timedelta(hours=1)).plan.reasserts == ()
    assert world.workmail.writes == 0


def test_pages_make_no_difference():
    plans = []
    for size in (1, 7, 100):
        world, _ = an_organization(60, sweeping())
        world.workmail.page_size = size
        plans.append(world.plan(NOW).plan)
    assert plans[0] == plans[1] == plans[2]


def test_report_and_apply_make_the_same_plan_and_report_does_nothing():
    world, _ = an_organization(130, sweeping(mode="apply"))
    applied = world.plan(NOW)
    assert world.queue.sent
    reporting, _ = an_organization(130, sweeping(mode="report"))
    before = dict(reporting.workmail.overrides), dict(reporting.ledger.devices)
    reported = reporting.plan(NOW)
    assert reported.plan == applied.plan
    assert repr(reported.plan) == repr(applied.plan)
    assert (reporting.workmail.overrides, reporting.ledger.devices) == before
    assert reporting.queue.sent == []
    assert reported.enqueued == 0
    changing = ("ledger.save_sweep", "ledger.saw", "ledger.open_device", "queue.send")
    assert [call for call in reporting.wire.calls if call in changing] == []


def test_a_removal_is_planned_on_what_was_listed_and_decided_on_what_stands_then():
    world = World()
    set_lock(world, 0, 100, DEVICE)
    world.plan(NOW)
    [command] = world.queue.sent
    of_the_run = Cause("run-1", SOURCE, "Sweep", NOW, NOW)
    assert command == Expire(of_the_run, Target(ORGANIZATION, BOB, DEVICE, resolved=True), denial(0, 100))
    world.set_by_hand(denial(0, 9000))
    assert world.carry_out(command, NOW).result == "adopted"
    assert world.override == denial(0, 9000), "a person extended it in between"


# What lets nothing back in.


def two_hundred(cap, percent=100):
    world = World(known=sweeping(max_removals=cap, max_removals_percent=percent, portion=30))
    for number in range(200):
        set_lock(world, number, 100, f"device{number:03}")
    return world


def test_two_hundred_with_a_cap_of_fifty_are_all_left_and_people_are_told():
    world = two_hundred(50)
    result = world.sweep(NOW)
    assert len(world.workmail.overrides) == 200
    assert len(result.plan.removals) == 200, "the plan is whole, for the log"
    [refused] = told(world, "Sweep Refused")
    assert (refused["guard"], refused["page"], refused["enqueued"]) == ("max-removals", True, 0)
    assert "200 overrides would be let go: expected at most 50" in refused["message"]
    assert len(refused["first"]) == 5


def test_with_the_cap_lifted_they_all_go():
    world = two_hundred(200)
    world.sweep(NOW)
    assert world.workmail.overrides == {}


def test_over_the_percentage_nothing_goes():
    world = two_hundred(1000, percent=50)
    for number in range(200, 300):
        set_lock(world, number, None, f"device{number}")
    assert world.sweep(NOW).refused.guard == "max-removals-percent"
    assert len(world.workmail.overrides) == 300


def one_over_and_one_gone(known=None):
    """Two locks that have ended, one turned to ALLOW, and a missing one. Each is on a page of its own."""
    world = World(known=known or sweeping())
    world.workmail.page_size = 1
    set_lock(world, 1, 100, "over")
    set_lock(world, 2, None, "allowed")
    world.workmail.overrides[key("allowed")] = Override("ALLOW", "it is fine")
    set_lock(world, 3, None, "missing")
    del world.workmail.overrides[key("missing")]
    set_lock(world, 4, 200, "zover")
    return world


def asked_for(world):
    return {command.target.device: type(command) for command in world.queue.sent}


def test_undisturbed_it_lets_go_and_puts_back():
    world = one_over_and_one_gone()
    assert world.plan(NOW).refused is None
    assert asked_for(world) == {"over": Expire, "zover": Expire, "allowed": Reassert, "missing": Reassert}
    assert world.ledger.swept == NOW


@pytest.mark.parametrize("since", [timedelta(hours=5), timedelta(hours=5, seconds=1)])
def test_after_a_gap_it_only_reports_what_it_would_let_go(since):
    world = one_over_and_one_gone()
    world.ledger.swept = NOW - since
    result = world.plan(NOW)
    if since == timedelta(hours=5):
        assert result.refused is None
        return
    assert result.refused.guard == "gap"
    assert asked_for(world) == {"allowed": Reassert, "missing": Reassert}
    [refused] = told(world, "Sweep Refused")
    assert refused["page"]
    assert (
        "(guard gap): no sweep completed since 2026-11-22T03:29:59.000Z: this one only reports." in refused["message"]
    )
    assert world.plan(NOW + timedelta(hours=1)).refused is None, "the next one may"


def test_the_very_first_run_only_reports_and_pages_if_locks_of_ours_stand():
    world = one_over_and_one_gone()
    world.ledger.swept = None
    assert world.plan(NOW).refused.guard == "first-run"
    assert Expire not in asked_for(world).values()
    [refused] = told(world, "Sweep Refused")
    assert refused["page"]
    assert "(guard first-run): the ledger knows of no completed sweep: this one only reports." in refused["message"]
    assert list(world.ledger.outcomes)[-1] == ("run-1", refused["id"]), "each complete run pages"
    fresh = World()
    fresh.ledger.swept = None
    fresh.plan(NOW)
    assert not told(fresh, "Sweep Refused")[0]["page"]


def test_after_a_gap_a_cap_on_one_source_lets_nothing_of_another_go():
    world = World()
    world.settings = sweeping(max_removals=1)
    for number, source in enumerate(["siem", "siem", "mdm"]):
        set_lock(world, number, 100, f"d{number}")
        record = world.ledger.devices[key(f"d{number}")]
        of_source = tuple(replace(claim, source=source) for claim in record.claims)
        world.ledger.devices[key(f"d{number}")] = replace(record, claims=of_source)
    world.ledger.swept = NOW - timedelta(days=2)
    assert world.plan(NOW).refused.guard == "gap"
    assert not world.queue.sent
    assert world.plan(NOW).refused.guard == "max-removals"
    assert asked_for(world) == {"d2": Expire}


def test_after_the_ledger_was_set_back_it_only_says_what_it_would_do_until_a_person_accepts():
    world = one_over_and_one_gone()
    world.ledger.here = False
    for _ in range(2):
        result = world.plan(NOW)
        assert (result.refused.guard, result.completed, result.enqueued) == ("set-back", True, 0)
    assert not world.queue.sent, "not even what is missing is put back: it may have been released since"
    first, again = told(world, "Sweep Refused")
    assert first["page"]
    assert again["page"]
    assert "2 locks would be, and 2 overrides would be let go" in first["message"]
    assert {row["deviceId"] for row in first["first"]} == {"over", "zover", "allowed", "missing"}

    assert world.plan(NOW, accepted=True).refused is None
    assert asked_for(world) == {"over": Expire, "zover": Expire, "allowed": Reassert, "missing": Reassert}
    assert world.ledger.here
    assert world.plan(NOW).refused is None, "the next one needs no word"


def test_an_old_ledger_does_not_hold_up_the_run_that_a_person_accepted_as_a_gap():
    world = one_over_and_one_gone()
    world.ledger.swept, world.ledger.here = NOW - timedelta(days=20), False
    assert world.plan(NOW, accepted=True).refused is None


def test_an_incomplete_list_does_not_put_back_what_an_old_ledger_wants():
    world = one_over_and_one_gone()
    world.ledger.here = False
    pages_that_fail_at(0, TransientError("no"))(world)
    result = world.plan(NOW)
    assert (result.refused.guard, result.completed) == ("set-back", False)
    assert not world.queue.sent


def test_a_lock_that_an_accepted_ledger_puts_back_is_no_tampering():
    """It may well have been released since the ledger's time."""
    for accepted, result in ((False, "reasserted"), (True, "took-over")):
        world = World()
        world.deliver(lock(), at(0))
        world.workmail.overrides.clear()
        world.plan(NOW, accepted=accepted)
        outcome = world.deliver(world.queue.sent.pop(), NOW)
        assert (outcome.result, outcome.page) == (result, not accepted)
        assert KEY in world.workmail.overrides


def pages_that_fail_at(number, error):
    def fault(world):
        listed = itertools.count()
        honest = world.workmail.pages

        def pages(organization):
            for page in honest(organization):
                if next(listed) == number:
                    raise error
                yield page

        world.workmail.pages = pages

    return fault


def repeats_a_page(world):
    honest = world.workmail.pages

    def pages(organization):
        first, *rest = honest(organization)
        yield from (first, *rest[:1], first, *rest[1:])

    world.workmail.pages = pages


PUT_BACK = {"allowed": Reassert, "missing": Reassert}
DISTURBED = {
    # what                      what is done to the world, how the run goes                   guard, what is still asked
    "the first page fails": (pages_that_fail_at(0, TransientError("no")), {}, "list", PUT_BACK),
    "a later page fails": (pages_that_fail_at(2, TransientError("no")), {}, "list", PUT_BACK),
    "the organization is disabled": (pages_that_fail_at(0, RefusedError("no")), {}, "organization", {}),
    "a page comes twice": (repeats_a_page, {}, "list", PUT_BACK),
    "the time is over at once": (None, {"enough_time": lambda: False}, "time", PUT_BACK),
    "our clock is ahead": (None, {"clock": lambda: NOW + timedelta(seconds=61)}, "clock", PUT_BACK),
    "our clock is behind": (None, {"clock": lambda: NOW - timedelta(seconds=61)}, "clock", PUT_BACK),
}


@pytest.mark.parametrize("disturbance", DISTURBED)
def test_unsure_it_lets_nothing_go_and_says_so(disturbance):
    disturb, run, guard, asked = DISTURBED[disturbance]
    world = one_over_and_one_gone()
    if disturb:
        disturb(world)
    result = world.plan(NOW, **run)
    assert (result.refused.guard, result.completed) == (guard, False)
    assert asked_for(world) == asked, "guards stop removals only"
    [refused] = told(world, "Sweep Refused")
    assert (refused["guard"], refused["completed"], refused["page"]) == (guard, False, True)
    assert world.ledger.swept == at(0), "it does not count as completed"


def test_a_page_of_other_peoples_overrides_that_comes_twice_makes_the_list_suspect_too():
    world = one_over_and_one_gone()
    for device in ("a1", "a2"):
        world.workmail.overrides[key(device)] = Override("ALLOW", "travel")
    repeats_a_page(world)
    assert world.plan(NOW).refused.guard == "list"
    assert Expire not in asked_for(world).values()


def test_a_trouble_that_lasts_pages_once_until_a_run_is_completed_again():
    world = one_over_and_one_gone()
    honest = world.workmail.pages
    for hour in range(3):
        world.workmail.pages = honest
        pages_that_fail_at(0, TransientError("no"))(world)
        world.plan(NOW + timedelta(hours=hour))
    assert [detail["page"] for detail in told(world, "Sweep Refused")] == [True, False, False]
    world.workmail.pages = honest
    world.plan(NOW + timedelta(hours=3))
    pages_that_fail_at(0, TransientError("no"))(world)
    world.plan(NOW + timedelta(hours=4))
    assert told(world, "Sweep Refused")[-1]["page"]


def test_a_list_that_fails_pages_once_before_any_run_was_complete():
    world = one_over_and_one_gone()
    world.ledger.swept = None
    honest = world.workmail.pages
    for hour in range(2):
        world.workmail.pages = honest
        pages_that_fail_at(0, TransientError("no"))(world)
        world.plan(NOW + timedelta(hours=hour))
    assert [detail["page"] for detail in told(world, "Sweep Refused")] == [True, False]


def test_sixty_seconds_between_the_clocks_are_fine():
    world = one_over_and_one_gone()
    assert world.plan(NOW, clock=lambda: NOW + timedelta(seconds=60)).refused is None


def test_time_that_runs_out_on_a_later_page_keeps_what_was_seen():
    world = one_over_and_one_gone()
    left = iter([True, True, False])
    result = world.plan(NOW, enough_time=lambda: next(left, False))
    assert result.refused.guard == "time"
    assert [command.target.device for command in world.queue.sent] == ["allowed", "missing"], "what is certain first"


def test_what_a_list_that_fails_lacks_is_put_back_in_another_order_each_time_so_that_the_cap_keeps_none_out():
    world = World(known=sweeping(max_reasserts=3))
    for number in range(10):
        set_lock(world, number, None, f"device{number}")
    del world.workmail.overrides[key("device7")]
    pages_that_fail_at(0, TransientError("no"))(world)
    for _ in range(20):
        world.sweep(NOW)
    assert key("device7") in world.workmail.overrides


@pytest.mark.parametrize("disturbance", [None, *DISTURBED])
def test_only_if_the_list_may_lack_rows_comes_what_it_shows_first(disturbance):
    disturb, run, guard, _ = DISTURBED.get(disturbance, (None, {}, None, None))
    world = World()
    world.workmail.page_size = 1
    for number, device in enumerate(["c missing", "a open", "b missing"]):
        world.ledger.devices[key(device)] = DeviceRecord((claim(number, None, number),), version=1)
    world.workmail.overrides |= {key(device): Override("ALLOW") for device in ("a open", "z1", "z2")}
    if disturb:
        disturb(world)
    oldest_first = ["c missing", "a open", "b missing"]
    asked = list(asked_for(world)) if world.plan(NOW, **run) else []
    if guard in (None, "clock"):
        assert asked == oldest_first
    elif guard != "organization":
        assert sorted(asked) == sorted(oldest_first)
        assert asked[0] == "a open" or disturbance in ("the first page fails", "the time is over at once")


def test_an_allow_that_is_to_end_by_hand_does_not_keep_a_lock_from_being_put_back_under_a_guard():
    world = two_hundred(0)
    set_lock(world, 900, None, "undone")
    world.workmail.overrides[key("undone")] = Override("ALLOW", "[until=2026-11-21] back from repair")
    result = world.sweep(NOW)
    assert result.refused.guard == "max-removals"
    assert world.workmail.overrides[key("undone")].effect == "DENY"


def test_a_device_of_a_locked_user_that_only_the_listing_tells_of_is_locked_by_that_run():
    world = World()
    claim = Claim("cccccccc", "user", "compromised", at(0), HOLD)
    world.ledger.user_items[BOB] = UserRecord((claim,))
    world.workmail.overrides[key("unheard-of")] = Override("ALLOW", "the boss's phone")
    world.workmail.overrides[key("denied")] = Override("DENY", "by somebody else")
    result = world.sweep(NOW)
    assert [item.key.device for item in result.plan.reasserts] == ["unheard-of"]
    assert world.workmail.overrides[key("unheard-of")].effect == "DENY"
    assert world.workmail.overrides[key("denied")] == Override("DENY", "by somebody else")


def test_somebody_elses_denial_in_place_of_ours_is_no_tampering_once_it_is_gone():
    world = World()
    set_lock(world, 1, None, "one")
    world.workmail.overrides[key("one")] = Override("DENY", "by somebody else")
    for minute in range(3):
        result = world.sweep(NOW + timedelta(minutes=minute))
        assert len(result.plan.reasserts) == (minute == 0), "it is noted once"
    del world.workmail.overrides[key("one")]
    world.sweep(NOW + timedelta(minutes=5))
    assert world.workmail.overrides[key("one")] == denial(1, None)
    assert not told(world, "Tampering Detected")
    assert [detail["result"] for detail in told(world, "Device Locked")] == ["took-over"]


def test_a_tag_that_is_behind_is_brought_up_to_date_without_a_word_of_tampering():
    world = World()
    set_lock(world, 1, None, "one")
    record = world.ledger.devices[key("one")]
    longer = Claim("dddddddd", "device", "stolen", at(5), HOLD)
    world.ledger.devices[key("one")] = record.with_claim(longer)
    world.sweep(NOW)
    assert "id=dddddddd" in world.workmail.overrides[key("one")].description
    assert not told(world, "Tampering Detected")
    assert [detail["result"] for detail in told(world, "Lockout Extended")] == ["renewed"]


def test_an_organization_that_fails_leaves_the_ledger_in_peace():
    world = one_over_and_one_gone()
    pages_that_fail_at(0, TransientError("no"))(world)
    before = dict(world.ledger.devices)
    world.plan(NOW)
    assert world.ledger.devices == before


def test_the_guards_never_stop_what_is_put_back():
    world = two_hundred(0)
    set_lock(world, 900, None, "missing")
    del world.workmail.overrides[key("missing")]
    world.sweep(NOW)
    assert world.workmail.overrides[key("missing")] == denial(900, None)


# Portions.


class SlowQueue(FakeQueue):
    """A queue whose messages wait. Each ``pause`` is a second, in which ``pace`` of them are received."""

    pace = 3
    backlog = 0
    longest = 0

    def send(self, commands):
        sent = super().send(commands)
        self.backlog += sent
        self.longest = max(self.longest, self.backlog)
        return sent

    def waiting(self):
        return self.backlog

    def pause(self):
        self.backlog = max(0, self.backlog - self.pace)


def test_no_more_than_a_portion_waits_at_a_time():
    world = two_hundred(200)
    world.queue = SlowQueue(world.wire)
    world.ports = replace(world.ports, queue=world.queue)
    result = world.plan(NOW, pause=world.queue.pause)
    assert world.queue.longest == 30
    assert result.enqueued == 200


def test_room_for_one_command_is_used():
    world = World(known=sweeping(portion=1))
    for number in range(3):
        set_lock(world, number, 100, f"device{number}")
    left = iter([True] * 20)
    assert world.plan(NOW, enough_time=lambda: next(left, False)).enqueued == 3


def test_what_the_time_does_not_suffice_for_is_left_to_the_next_run():
    world = two_hundred(200)
    world.queue = SlowQueue(world.wire)
    world.ports = replace(world.ports, queue=world.queue)
    world.queue.pace = 0
    seconds = iter([True] * 20)
    result = world.plan(NOW, pause=world.queue.pause, enough_time=lambda: next(seconds, False))
    assert result.enqueued == 30
    assert "170 of them not in this run" in told(world, "Sweep Completed")[0]["message"]
    while world.queue.sent:
        world.deliver(world.queue.sent.pop(0), NOW)
    world.queue.pace = 30
    for hour in range(1, 4):
        world.queue.backlog = 0
        world.plan(NOW + timedelta(hours=hour), pause=world.queue.pause)
        while world.queue.sent:
            world.deliver(world.queue.sent.pop(0), NOW + timedelta(hours=hour))
    assert world.workmail.overrides == {}


def test_reasserts_have_a_cap_of_their_own_and_go_first():
    world = World(known=sweeping(max_reasserts=5))
    for number in range(20):
        world.ledger.devices[key(f"device{number:02}")] = DeviceRecord(claims=(claim(number, None),), version=1)
    set_lock(world, 99, 100, "over")
    world.plan(NOW)
    kinds = [type(command) for command in world.queue.sent]
    assert kinds == [Reassert] * 5 + [Expire]


def test_commands_that_were_not_taken_fail_the_run_before_it_counts_as_completed():
    world = one_over_and_one_gone()

    world.plan(NOW)
    sent = world.wire.calls.index("queue.send")
    world = one_over_and_one_gone()
    world.wire.faults[sent] = throttled
    with pytest.raises(TransientError):
        world.plan(NOW)
    assert world.ledger.swept == at(0)


# People at the console.


def test_a_live_lock_that_somebody_deletes_is_back_after_one_sweep_and_people_are_told():
    world = World()
    world.deliver(lock(until=7200), at(10))
    before = world.override
    world.set_by_hand(None)
    world.sweep(NOW)
    assert world.override == before
    [tampering] = told(world, "Tampering Detected")
    assert tampering["page"]
    assert "changed or removed by somebody" in tampering["message"]


def test_a_live_lock_that_somebody_replaces_by_a_denial_of_their_own_is_left_alone():
    world = World()
    world.deliver(lock(until=7200), at(10))
    world.set_by_hand(Override("DENY", "mine now"))
    world.sweep(NOW)
    assert world.override == Override("DENY", "mine now")
    world.sweep(at(8000))
    assert world.override == Override("DENY", "mine now"), "nor is it removed when the lock is over"


def test_an_end_that_somebody_changed_is_honoured_and_outlives_a_deletion():
    world = World()
    world.deliver(lock(until=7200), at(10))
    world.set_by_hand(replace(world.override, description=world.override.description.replace("09:30:00Z", "10:30:00Z")))
    world.sweep(NOW)
    world.sweep(at(7300))
    assert "until=2026-11-22T10:30:00Z" in world.override.description
    world.set_by_hand(None)
    world.sweep(at(7400))
    assert "until=2026-11-22T10:30:00Z" in world.override.description
    world.sweep(at(3 * 3600))
    assert world.override is None


def test_an_expiry_that_comes_too_late_does_not_hide_that_somebody_undid_the_lock():
    world = World()
    world.deliver(lock(0, until=3600), at(10))
    world.plan(NOW)
    (expiry,) = world.queue.sent
    world.queue.sent.clear()
    world.deliver(lock(1, until=9000, happened=3500), NOW)
    world.set_by_hand(None)
    assert world.deliver(expiry, NOW).result == "skipped"
    world.sweep(at(3700))
    (tampering,) = told(world, "Tampering Detected")
    assert (tampering["result"], tampering["after"]) == ("reasserted", world.override.fields())


def test_a_hand_written_end_is_carried_out_for_any_override_on_either_effect():
    for effect in ("ALLOW", "DENY"):
        world = World(Override(effect, "[until=2026-11-22T08:00:00Z] trip"))
        world.sweep(at(1799))
        assert world.override is not None
        world.sweep(at(1800))
        assert world.override is None


def test_a_persons_denial_that_ends_by_its_own_words_gives_way_to_the_lock_and_never_opens_the_device():
    world = World(Override("DENY", "[until=2026-11-22T08:00:00Z] loaner"))
    world.deliver(lock(until=None), at(10))
    assert world.override.description.startswith("[until=")
    world.sweep(at(1800))
    assert world.override == denial(0, None)
    assert world.workmail.writes == 1, "one Put, and no Delete before it"


# Losses.


def test_ten_locks_outlive_the_loss_of_the_ledger_and_end_when_their_tags_say():
    world = World()
    for number in range(10):
        world.deliver(lock(number, until=7200 + 600 * number, device=f"device{number}"), at(10))
    before = dict(world.workmail.overrides)
    world.ledger.devices.clear()
    world.ledger.swept = None
    for minute in range(61, 120, 10):
        world.sweep(at(60 * minute))
        assert world.workmail.overrides == before
    assert len(world.ledger.devices) == 10
    for number in range(10):
        world.sweep(at(7200 + 600 * number))
        assert len(world.workmail.overrides) == 9 - number


def test_two_sweeps_at_once_do_no_harm():
    world, kinds = an_organization(130, sweeping(max_removals=1000))
    once, _ = an_organization(130, sweeping(max_removals=1000))
    once.sweep(NOW)
    world.plan(NOW)
    world.plan(NOW)
    commands = sorted(world.queue.sent, key=lambda command: (command.target.device, command.cause.event_id))
    world.queue.sent = []
    for command in commands:
        world.deliver(command, NOW)
    assert world.workmail.overrides == once.workmail.overrides
    assert world.workmail.writes == once.workmail.writes
    assert Counter(kinds.values())["ours, live"] == 10


def test_a_lock_that_arrives_while_the_sweep_lists_is_not_taken_for_an_orphan():
    world = World()
    honest = world.workmail.pages

    def pages(organization):
        world.deliver(lock(until=None), NOW)
        return honest(organization)

    world.workmail.pages = pages
    world.sweep(NOW)
    assert world.override == denial(0, None)
    assert world.workmail.writes == 1


def test_people_are_warned_once_before_a_device_is_let_back_in():
    world = World()
    world.deliver(lock(until=7200), at(10))
    for minute in (30, 60, 90):
        world.sweep(at(60 * minute))
    [warning] = told(world, "Expiry Due Soon")
    assert warning["page"]
    assert "until 2026-11-22T09:30:00Z, and then let back in" in warning["message"]


def test_of_many_warnings_ten_page_and_the_last_of_them_says_how_many_more_there_are():
    world = World()
    for number in range(14):
        set_lock(world, number, 7200, f"device{number:02}")
    for minute in (60, 61):
        world.sweep(at(60 * minute))
    warnings = told(world, "Expiry Due Soon")
    assert [warning["page"] for warning in warnings] == [True] * 10 + [False] * 4
    assert [warning["severity"] for warning in warnings] == [warnings[0]["severity"]] * 10 + ["for the record"] * 4
    more = " So it is with 4 more, which page nobody."
    for number, warning in enumerate(warnings):
        message = warning["message"].removesuffix(more if number == 9 else "")
        assert (
            message
            == f"Device device{number:02} of {BOB} is locked (lost) until 2026-11-22T09:30:00Z, and then let back in."
        )


def test_a_lock_that_outlasts_workmail_is_told_of_by_the_end_of_its_own_organization():
    other, ends = Organization("m-0ther0ther0ther0ther0ther0ther00", "other"), at(10 * DAY)
    world = World(known=replace(SETTINGS, organizations=(other, Organization(ORGANIZATION, "main", ends_at=ends))))
    world.deliver(lock(), at(10))
    world.sweep(NOW)
    assert len(told(world, "Lock Outlasts WorkMail")) == 1


def test_of_ten_warnings_none_says_that_there_are_more():
    world = World()
    for number in range(10):
        set_lock(world, number, 7200, f"device{number:02}")
    world.sweep(at(3600))
    assert not any("more" in warning["message"] for warning in told(world, "Expiry Due Soon"))


def test_without_the_time_for_all_warnings_those_that_were_found_are_told():
    world = World()
    for number in range(3):
        set_lock(world, number, 7200, f"device{number:02}")
    found = iter([True, True, True, True, False])  # two of them for the pages of the list
    world.plan(at(3600), enough_time=lambda: next(found, False))
    first = len(told(world, "Expiry Due Soon"))
    world.plan(at(3660))
    assert (0 < first < 3, len(told(world, "Expiry Due Soon"))) == (True, 3)


def test_overrides_of_others_put_their_devices_in_the_inventory():
    world = World(Override("ALLOW", "travel"))
    world.sweep(NOW)
    assert world.ledger.devices[KEY].known


# What is left alone.


def left_alone(world):
    return told(world, "Override Left Alone")


def test_each_override_that_is_left_alone_is_told_of_once_with_the_lock_that_is_wanted():
    world = World()
    set_lock(world, 1, None, "locked")
    world.workmail.overrides[key("locked")] = Override("DENY", "[lockout/1 by=local why=lost] cut off")
    world.workmail.overrides[key("broken")] = Override("ALLOW", "[Until: tomorrow]")
    for minute in range(3):
        world.sweep(NOW + timedelta(minutes=minute))
    locked, broken = sorted(left_alone(world), key=lambda detail: detail["deviceId"], reverse=True)
    assert (locked["deviceId"], locked["reason"], locked["until"], locked["page"]) == ("locked", "lost", "hold", True)
    assert (broken["deviceId"], broken["reason"], broken["until"]) == ("broken", "", None)
    assert "its tag can't be read" in broken["message"]
    assert broken["before"] == broken["after"] == {"effect": "ALLOW", "description": "[Until: tomorrow]"}


def test_what_was_told_of_before_hides_nothing_that_was_not():
    world = World(Override("DENY", "by hand"))
    world.deliver(lock(), at(10))
    world.workmail.overrides[key("broken")] = Override("ALLOW", "[Until: tomorrow]")
    result = world.sweep(NOW)
    assert [item.untold for item in result.plan.left] == [False, True]
    assert [detail["deviceId"] for detail in left_alone(world)] == ["broken"]


def test_another_text_is_told_of_again():
    world = World()
    for number, text in enumerate(("[Until: tomorrow]", "[Until: Friday]", "[Until: tomorrow]")):
        world.workmail.overrides[key("broken")] = Override("ALLOW", text)
        world.sweep(NOW + timedelta(minutes=number))
    assert [detail["after"]["description"] for detail in left_alone(world)] == ["[Until: tomorrow]", "[Until: Friday]"]


def test_without_the_time_the_next_run_tells_of_what_is_left():
    world = World()
    for number in range(3):
        world.workmail.overrides[key(f"broken{number}")] = Override("ALLOW", "[Until: tomorrow]")
    world.plan(NOW, enough_time=lambda: not left_alone(world))
    assert len(left_alone(world)) == 1
    world.plan(NOW)
    assert len(left_alone(world)) == 3


def test_a_denial_in_the_place_of_a_lock_whose_claim_is_forgotten_is_told_of():
    world = World()
    set_lock(world, 1, 0, "one")
    record = world.ledger.devices[key("one")]
    world.ledger.devices[key("one")] = replace(record, claims=())
    world.workmail.overrides[key("one")] = denial(1, 0, owner="other")
    world.sweep(NOW)
    (detail,) = left_alone(world)
    assert "a DENY that is not ours took the place of a lock that is over" in detail["message"]
