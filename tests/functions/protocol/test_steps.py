"""The protocol's steps over fakes: killed before and after every call, without answers, and with a second writer.

Each story is told once undisturbed. Then it is told again with each fault at each of its calls, and with the queue's
redelivery. It must end the same.
"""

import itertools
from contextlib import suppress
from dataclasses import replace

import pytest

from device_lockout.protocol import steps
from device_lockout.values.command import WATCH, Expire, Lock, Reassert, Reject, Release, Target, claim_id, command_id
from device_lockout.values.errors import TransientError, UnansweredError
from device_lockout.values.outcome import SOURCE, Outcome
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, Ending, Last
from device_lockout.values.tag import HOLD, write
from local.in_memory import (
    BOB,
    DAY,
    DEVICE,
    KEY,
    ORGANIZATION,
    Killed,
    World,
    at,
    cause,
    killed_after,
    killed_before,
    throttled,
    unanswered_but_done,
    unanswered_not_done,
)
from tests.functions.releases import released

TARGET = Target(ORGANIZATION, "Bob@example.com", DEVICE.upper())
TARGET_OF_BOB = Target(ORGANIZATION, BOB, DEVICE, resolved=True)
ALLOWED = Override("ALLOW", "CEO's travel phone")
DENIED = Override("DENY", "quarantine, see SEC-9")


def lock(event_id, when, until=HOLD, target=TARGET, why="lost"):
    return Lock(cause(event_id, when), target, Claim(claim_id(event_id), "device", why, when, until))


def release(event_id, when, target=TARGET, scope="device"):
    return Release(cause(event_id, when), target, Ending(scope))


def denial(event_id, when, until, was="none", why="lost"):
    return Override("DENY", f"[lockout/1 by=local why={why} until={until} at={when} id={claim_id(event_id)} was={was}]")


LOST = lock("lost", at(0), at(600))
LOST_DENIAL = denial("lost", "2026-11-22T07:30:00Z", "2026-11-22T07:40:00Z")
STOLEN = lock("stolen", at(60), HOLD, why="stolen")
STOLEN_DENIAL = denial("stolen", "2026-11-22T07:31:00Z", "hold", why="stolen")
RECOVERED = release("recovered", at(120))
AGAIN = lock("again", at(180))
SWEEP = cause("run-1", at(3600), source="device-lockout")
OURS_OF_YESTERDAY = denial("yesterday", "2026-11-21T07:30:00Z", "hold", why="stolen")


def covering(override):
    """The same denial, set over an ALLOW."""
    return replace(override, description=override.description.replace("was=none", "was=allow"))


def deletes(world):
    world.set_by_hand(None)


def allows(world):
    world.set_by_hand(Override("ALLOW", "it is fine, I have it"))


def turns_to_allow(world):
    world.set_by_hand(replace(world.override, effect="ALLOW"))


def shortens(world):
    world.set_by_hand(replace(world.override, description=world.override.description.replace("07:40:00Z", "07:35:00Z")))


def is_disabled(world):
    world.workmail.disabled.add(BOB)


def is_enabled(world):
    world.workmail.disabled.clear()


STORIES = {
    # what                                         the override, what happens one after another, the override in the end
    "a lock over nothing": (None, [LOST], LOST_DENIAL),
    "a lock over an ALLOW": (ALLOWED, [LOST], covering(LOST_DENIAL)),
    "a lock over an ALLOW without words": (Override("ALLOW"), [LOST, RECOVERED], Override("ALLOW")),
    "a lock under somebody's DENY": (DENIED, [LOST], DENIED),
    "a lock and a release": (None, [LOST, RECOVERED], None),
    "a lock over an ALLOW, and a release": (ALLOWED, [LOST, RECOVERED], ALLOWED),
    "a lock that is extended": (None, [LOST, STOLEN], STOLEN_DENIAL),
    "a lock over an ALLOW, extended and released": (ALLOWED, [LOST, STOLEN, RECOVERED], ALLOWED),
    "a release that came first": (ALLOWED, [RECOVERED, LOST], ALLOWED),
    "the same report twice": (ALLOWED, [LOST, LOST], covering(LOST_DENIAL)),
    "lost, recovered, lost again": (
        ALLOWED,
        [LOST, RECOVERED, AGAIN],
        covering(denial("again", "2026-11-22T07:33:00Z", "hold")),
    ),
    "a lock that expires": (None, [LOST, Expire(SWEEP, TARGET, LOST_DENIAL)], None),
    "a lock over an ALLOW that expires": (
        ALLOWED,
        [LOST, Expire(SWEEP, TARGET, covering(LOST_DENIAL))],
        ALLOWED,
    ),
    "a lock that a person cut short, and that expires": (
        ALLOWED,
        [
            LOST,
            shortens,
            Expire(SWEEP, TARGET, denial("lost", "2026-11-22T07:30:00Z", "2026-11-22T07:35:00Z", "allow")),
        ],
        ALLOWED,
    ),
    "a lock that would expire, had nothing longer come": (
        ALLOWED,
        [LOST, STOLEN, Expire(SWEEP, TARGET, covering(STOLEN_DENIAL))],
        covering(STOLEN_DENIAL),
    ),
    "a lock that is put back": (None, [STOLEN, deletes, Reassert(SWEEP, TARGET)], STOLEN_DENIAL),
    "a lock that is put back over a new ALLOW, and released": (
        ALLOWED,
        [STOLEN, allows, Reassert(SWEEP, TARGET), RECOVERED],
        Override("ALLOW", "it is fine, I have it"),
    ),
    "a lock that is turned to ALLOW and back, and released": (
        ALLOWED,
        [STOLEN, turns_to_allow, Reassert(SWEEP, TARGET), RECOVERED],
        ALLOWED,
    ),
    "a lock that the ledger does not know, extended and released": (
        OURS_OF_YESTERDAY,
        [lock("short", at(0), at(600)), RECOVERED],
        None,
    ),
    "a lock of a disabled user, who is enabled later": (
        ALLOWED,
        [is_disabled, STOLEN, Reassert(SWEEP, TARGET), is_enabled, Reassert(replace(SWEEP, event_id="run-2"), TARGET)],
        covering(STOLEN_DENIAL),
    ),
    "a rejected report": (ALLOWED, [Reject(cause("bad", at(0)), TARGET, "detail.deviceId is missing")], ALLOWED),
}


def tell(story, faults=None):
    """The world after a story with these ``faults``, by the number of the call."""
    observed, happenings, _ = STORIES[story]
    world = World(observed)
    world.wire.faults.update(faults or {})
    for happening in happenings:
        if callable(happening):
            happening(world)
        else:
            world.deliver(happening, happening.cause.received)
    return world


def in_the_end(world):
    """All that must not depend on a story's faults.

    A refusal may be announced twice if a sweep's try at it was killed, so it is left out.
    """
    record = world.ledger.devices.get(KEY)
    outcomes = {
        key: told["detail"]["result"]
        for key, told in world.ledger.outcomes.items()
        if told["detail"]["source"] != SOURCE or told["detail"]["result"] != "failed"
    }
    return {
        "override": world.override,
        "wanted": record and (record.claims, record.released, record.prior, record.last and record.last.outcome),
        "writes to WorkMail": world.workmail.writes,
        "outcomes": outcomes,
    }


def check_announcements(world):
    told = {detail["id"]: detail for _, detail in world.bus.announced}
    assert all(told[detail["id"]] == detail for _, detail in world.bus.announced), "a repetition says the same"
    recorded = {outcome_id: kept["detail"] for (_, outcome_id), kept in world.ledger.outcomes.items()}
    assert told == recorded, "what is recorded is announced, and nothing else"


FAULTS = [killed_before, killed_after, throttled]
FAULTS_OF_WRITES = [*FAULTS, unanswered_not_done, unanswered_but_done]


def befalling(calls):
    """Everything that can befall one of ``calls``."""
    for number, call in enumerate(calls):
        for fault in FAULTS_OF_WRITES if call in ("workmail.put", "workmail.delete") else FAULTS:
            yield number, call, fault


@pytest.mark.parametrize("story", STORIES)
def test_a_story_ends_as_it_should(story):
    world = tell(story)
    assert world.override == STORIES[story][2]
    check_announcements(world)


@pytest.mark.parametrize("story", STORIES)
def test_a_story_ends_the_same_whatever_befalls_any_one_call(story):
    undisturbed = tell(story)
    for number, call, fault in befalling(undisturbed.wire.calls):
        world = tell(story, {number: fault})
        assert in_the_end(world) == in_the_end(undisturbed), f"{fault.__name__} {call}, call {number}"
        check_announcements(world)


@pytest.mark.slow
def test_a_story_ends_the_same_whatever_two_calls_the_process_dies_at():
    story = "a lock over an ALLOW, and a release"
    undisturbed = tell(story)
    for (first, _, one), (second, _, other) in itertools.combinations(befalling(undisturbed.wire.calls), 2):
        world = tell(story, {first: one, second: other})
        assert in_the_end(world) == in_the_end(undisturbed), f"{one.__name__} {first}, {other.__name__} {second}"


def test_the_same_report_again_writes_nothing():
    world = tell("the same report twice")
    assert world.workmail.writes == 1
    assert len(world.ledger.outcomes) == 1


def test_the_ledger_knows_of_a_lock_before_workmail_does():
    calls = tell("a lock over nothing").wire.calls
    assert calls.index("ledger.save_device") < calls.index("workmail.put")


def test_what_stands_is_read_after_the_item_is_made_and_before_the_users_item():
    calls = tell("a lock over nothing").wire.calls
    assert calls.index("ledger.open_device") < calls.index("workmail.get") < calls.index("ledger.user")


PAIRS = {
    "two locks": (LOST, STOLEN, None, STOLEN_DENIAL),
    "two locks over an ALLOW": (STOLEN, LOST, ALLOWED, covering(STOLEN_DENIAL)),
    "a lock and its release": (LOST, RECOVERED, ALLOWED, ALLOWED),
    "a release and the lock before it": (RECOVERED, LOST, ALLOWED, ALLOWED),
    "a release and the lock after it": (
        RECOVERED,
        AGAIN,
        ALLOWED,
        covering(denial("again", "2026-11-22T07:33:00Z", "hold")),
    ),
    "a report and its copy": (LOST, LOST, ALLOWED, covering(LOST_DENIAL)),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_second_writer_makes_the_first_fail_before_it_writes(pair):
    """The queue keeps two writers of one device apart. Should it fail, the ledger's version does."""
    one, other, observed, expected = PAIRS[pair]
    calls = World(observed)
    calls.carry_out(one, at(200))
    saved = calls.wire.calls.index("ledger.save_device")
    for number in range(saved + 1):
        world = World(observed)

        def meanwhile(call, world=world):
            world.deliver(other, at(200))
            return call()

        world.wire.faults[number] = meanwhile
        opened = number > calls.wire.calls.index("ledger.open_device")
        if opened:
            with pytest.raises(TransientError, match="changed in the ledger"):
                world.carry_out(one, at(200))
            writes = world.workmail.writes
            assert writes <= 1, "the other's"
        world.deliver(one, at(260))
        world.sweep(at(300))
        assert world.override == expected, f"the other came before call {number}, {calls.wire.calls[number]}"


def test_a_write_that_was_not_answered_ends_the_delivery():
    put = tell("a lock over nothing").wire.calls.index("workmail.put")
    for fault in (unanswered_not_done, unanswered_but_done):
        world = World()
        world.wire.faults[put] = fault
        with pytest.raises(UnansweredError):
            world.carry_out(LOST, at(10))
        assert world.wire.calls[-1] == "workmail.put"
        assert not world.bus.announced


def test_nothing_is_done_without_the_ledger():
    calls = tell("a lock over nothing").wire.calls
    before_the_write = calls[: calls.index("workmail.put")]
    for number, call in enumerate(before_the_write):
        if call.startswith("ledger."):
            world = World()
            world.wire.faults[number] = throttled
            with pytest.raises(TransientError):
                world.carry_out(LOST, at(10))
            assert world.workmail.writes == 0, call


def test_an_expiry_is_refused_while_the_clocks_disagree():
    for ahead in (61, -61):
        world = World()
        world.deliver(LOST, at(10))
        world.workmail.now = at(3600 + ahead)
        outcome = world.carry_out(Expire(SWEEP, TARGET, LOST_DENIAL), at(3600), workmail_says=at(3600 + ahead))
        assert (outcome.result, outcome.page) == ("failed", True), "somebody is told"
        assert "WorkMail's" in outcome.because
        again = Expire(replace(SWEEP, event_id="the next run"), TARGET, LOST_DENIAL)
        silent = world.carry_out(again, at(3700), workmail_says=at(3700 + ahead))
        assert (silent.result, silent.page, silent.because[:10]) == ("skipped", False, "as before:"), "told once"
        assert world.override == LOST_DENIAL
    world.carry_out(Expire(SWEEP, TARGET, LOST_DENIAL), at(3600), workmail_says=at(3660))
    assert world.override is None, "sixty seconds are within the limit"


def test_a_refused_expiry_takes_no_persons_edit_over():
    world = World()
    world.deliver(LOST, at(10))
    shortens(world)
    before = world.record
    expiry = Expire(SWEEP, TARGET, world.override)
    assert world.carry_out(expiry, at(3600), workmail_says=at(3700)).result == "failed"
    assert replace(world.record, last=before.last, version=before.version) == before


def test_our_clock_counts_where_the_two_agree():
    world = World()
    world.deliver(LOST, at(10))
    outcome = world.carry_out(Expire(SWEEP, TARGET, LOST_DENIAL), at(600), workmail_says=at(540))
    assert (outcome.result, world.override) == ("expired", None)


def test_a_lock_is_set_even_while_the_clocks_disagree():
    world = World()
    assert world.carry_out(LOST, at(10), workmail_says=at(-5000)).result == "locked"


def test_bob_under_any_name_and_either_case_of_the_device_is_one_override():
    world = World()
    for number, user in enumerate(["bob", "Bob@example.com", "BOB", BOB, BOB.upper()]):
        device = DEVICE.upper() if number % 2 else DEVICE
        world.deliver(lock(f"report {number}", at(number), target=Target(ORGANIZATION, user, device)), at(10))
    assert list(world.workmail.overrides) == list(world.ledger.devices) == [KEY]
    assert len(world.record.claims) == 5


def test_an_unknown_user_is_rejected_at_once_and_somebody_is_told():
    world = World()
    unknown = lock("lost", at(0), target=Target(ORGANIZATION, "nobody", DEVICE))
    outcome = world.carry_out(replace(unknown, cause=replace(unknown.cause, reference="INC-1")), at(10))
    assert outcome == Outcome("rejected", "WorkMail knows no user nobody", reference="INC-1", page=True)
    assert world.bus.announced[0][0] == "Lockout Rejected"
    assert "nobody" in world.bus.announced[0][1]["message"]


# Users whom WorkMail does not let us write for.


def test_a_refusal_says_why_and_is_recorded_whole_as_of_the_first_try():
    world = World()
    world.deliver(LOST, at(10))
    is_disabled(world)
    shortens(world)
    edited = world.override
    stolen = replace(STOLEN, cause=replace(STOLEN.cause, reference="INC-1"))
    edit = "a person changed its end from 2026-11-22T07:40:00Z to 2026-11-22T07:35:00Z"
    refusal = Outcome(
        "failed",
        f"{BOB} is disabled; {edit}",
        "stolen",
        HOLD,
        "INC-1",
        before=edited,
        after=edited,
        page=True,
        verified=False,
        user=world.workmail.user(ORGANIZATION, "bob"),
        lock=STOLEN.claim.id,
    )
    assert world.carry_out(stolen, at(70)) == refusal
    last = Last(command_id(stolen), "stolen", world.record.last.outcome, at(70))
    assert world.record.last == last
    assert replace(last.outcome, user=refusal.user) == refusal
    again = world.carry_out(stolen, at(130))
    assert (again.result, again.because, world.record.last.decided_at) == ("failed", f"{BOB} is disabled", at(70))


def test_a_disabled_users_lock_is_kept_and_people_are_told_once():
    world = World()
    is_disabled(world)
    outcome = world.deliver(STOLEN, at(70))
    assert (outcome.result, outcome.page) == ("failed", True)
    assert [claim.id for claim in world.record.claims] == [STOLEN.claim.id]
    for hour in range(1, 4):
        world.sweep(at(3600 * hour))
    assert [detail["result"] for kind, detail in world.bus.announced if not kind.startswith("Sweep")] == ["failed"]
    is_enabled(world)
    world.sweep(at(3600 * 4))
    assert world.override == STOLEN_DENIAL
    assert world.bus.announced[-1][1]["result"] == "took-over"
    assert not world.bus.announced[-1][1]["page"]


def test_each_report_of_a_disabled_users_device_has_an_outcome_of_its_own():
    world = World(ALLOWED)
    is_disabled(world)
    for command in (LOST, STOLEN, RECOVERED):
        world.deliver(command, command.cause.received)
        assert len(world.told(command.cause.event_id)) == 1, command.cause.event_id


def test_a_command_that_failed_decides_anew_when_it_is_delivered_again():
    world = World()
    is_disabled(world)
    world.wire.faults = dict.fromkeys([record_outcome_of(STOLEN)], killed_before)
    with pytest.raises(Killed):
        world.carry_out(STOLEN, at(70))
    assert world.record.failed
    is_enabled(world)
    assert world.deliver(STOLEN, at(130)).result == "locked"
    assert world.override == STOLEN_DENIAL
    assert [told["result"] for told in world.told("stolen")] == ["locked"]


def record_outcome_of(command):
    """The number of the call that records the outcome of ``command`` for a disabled user."""
    world = World()
    is_disabled(world)
    world.carry_out(command, at(70))
    return world.wire.calls.index("ledger.record_outcome")


@pytest.mark.parametrize(
    "outlives", [True, False], ids=["overrides outlive their user", "overrides go with their user"]
)
class TestADeletedUser:
    """AWS does not say whether an override outlives its user."""

    def world(self, outlives, reported_as="bob"):
        world = World()
        world.deliver(replace(STOLEN, target=Target(ORGANIZATION, reported_as, DEVICE)), at(70))
        world.workmail.deleted.add(BOB)
        world.workmail.overrides_outlive_users = outlives
        return world

    @pytest.mark.parametrize("name", ["bob", "bob@example.com", BOB])
    def test_is_found_by_a_release_under_the_name_that_the_report_used(self, outlives, name):
        world = self.world(outlives, reported_as=name)
        assert (
            world.deliver(replace(RECOVERED, target=Target(ORGANIZATION, name.upper(), DEVICE)), at(130)).result
            == "released"
        )
        assert world.record.released == released(device=at(120))
        if outlives:
            assert world.override is None

    def test_is_told_of_once_while_a_lock_is_wanted(self, outlives):
        world = self.world(outlives)
        world.set_by_hand(None)
        for hour in range(1, 4):
            world.sweep(at(3600 * hour))
        told = [detail for kind, detail in world.bus.announced if not kind.startswith("Sweep")]
        assert [detail["result"] for detail in told] == ["locked", "failed"]
        assert f"could not be changed in WorkMail: WorkMail knows no user {BOB}. (" in told[1]["message"]

    def test_gets_no_new_lock(self, outlives):
        world = self.world(outlives)
        outcome = world.deliver(replace(AGAIN, target=Target(ORGANIZATION, "bob", DEVICE)), at(190))
        assert (outcome.result, outcome.page) == ("rejected", True)

    def test_does_not_keep_an_expiry_from_ending(self, outlives):
        world = World()
        world.deliver(LOST, at(10))
        world.workmail.deleted.add(BOB)
        world.workmail.overrides_outlive_users = outlives
        world.sweep(at(3600))
        world.sweep(at(7200))
        ends = [detail["result"] for kind, detail in world.bus.announced if not kind.startswith("Sweep")]
        assert (world.override is None) == outlives, "what WorkMail does not list is nothing to the sweep"
        assert ends == ["locked", "expired"][: 1 + outlives]


def test_an_expiry_of_which_workmail_does_not_know_the_user_any_more_is_told_once():
    world = World()
    world.workmail.overrides_outlive_users = False
    world.deliver(LOST, at(10))
    world.workmail.deleted.add(BOB)
    expiries = [Expire(replace(SWEEP, event_id=run), TARGET_OF_BOB, LOST_DENIAL) for run in ("run-1", "run-2")]
    first, second = (world.deliver(expiry, at(3600)) for expiry in expiries)
    assert (first.result, first.page) == ("failed", True)
    assert f"WorkMail knows no user {BOB}" in first.because
    assert second.result == "skipped"
    assert [claim.id for claim in world.record.claims] == [LOST.claim.id]


# Messages.


def test_a_rejection_tells_the_reports_ticket():
    made = Reject(replace(cause("bad", at(0)), reference="INC-1"), TARGET, "detail.deviceId is missing")
    outcome = World().carry_out(made, at(1))
    assert outcome == Outcome("rejected", "detail.deviceId is missing", reference="INC-1", page=True)


def test_a_sweeps_outcome_tells_the_lock_and_its_ticket_and_without_a_lock_none():
    world = World()
    none = world.carry_out(Reassert(SWEEP, TARGET), at(5))
    assert (none.lock, none.ticket) == ("", "")
    world.deliver(replace(STOLEN, claim=replace(STOLEN.claim, reference="INC-1")), at(70))
    world.set_by_hand(None)
    told = world.carry_out(Reassert(SWEEP, TARGET), at(80))
    assert (told.result, told.lock, told.ticket) == ("reasserted", STOLEN.claim.id, "INC-1")


def test_an_organization_whose_end_is_not_configured_has_none():
    world = World()
    assert steps.carry_out(LOST, world.ports, replace(world.settings.rules, ends={}), at(10)).result == "locked"


def test_an_outcome_tells_what_happened_to_which_device_until_when_and_why():
    world = World(ALLOWED)
    world.deliver(LOST, at(10))
    kind, detail = world.bus.announced[0]
    assert kind == "Device Locked"
    assert detail["id"] == command_id(LOST)
    assert detail["eventId"] == "lost"
    assert (detail["organizationId"], detail["userId"], detail["deviceId"]) == (
        ORGANIZATION,
        "Bob@example.com",
        DEVICE.upper(),
    )
    assert (detail["result"], detail["reason"], detail["until"]) == ("locked", "lost", "2026-11-22T07:40:00Z")
    assert detail["before"] == {"effect": "ALLOW", "description": "CEO's travel phone"}
    assert detail["after"] == {"effect": "DENY", "description": covering(LOST_DENIAL).description}
    assert detail["times"] == {
        "happened": "2026-11-22T07:30:00.000Z",
        "received": "2026-11-22T07:30:00.000Z",
        "decided": "2026-11-22T07:30:10.000Z",
        "written": "2026-11-22T07:30:10.000Z",
    }
    assert detail["message"] == (
        "Device ANDROIDC0FFEE of Bob@example.com is locked (lost) until 2026-11-22T07:40:00Z."
        " (event lost from helpdesk)"
    )


def locks(world):
    """The IDs of the locks in force before and after, by the last outcome, and whether that tells of a write."""
    _, detail = world.bus.announced[-1]
    before, after = ([claim["id"] for claim in detail["claims"][when]] for when in ("before", "after"))
    return before, after, detail["times"]["written"] is not None


def test_an_outcome_tells_the_locks_in_force_before_and_after_the_longest_first():
    world, lost, stolen = World(), claim_id("lost"), claim_id("stolen")
    world.deliver(LOST, at(10))
    assert locks(world) == ([], [lost], True)
    world.deliver(STOLEN, at(70))
    assert locks(world) == ([lost], [stolen, lost], True)
    _, detail = world.bus.announced[-1]
    assert detail["claims"]["after"][0] == {
        "id": stolen,
        "scope": "device",
        "reason": "stolen",
        "until": "hold",
        "reference": "",
        "source": STOLEN.claim.source,
    }
    world.deliver(RECOVERED, at(130))
    assert locks(world) == ([stolen, lost], [], True)
    world.deliver(lock("late", at(50)), at(140))
    assert locks(world) == ([], [], False), "a newer release decides: nothing was written"


def test_an_outcome_names_ten_locks_at_most():
    world = World()
    for number in range(12):
        world.deliver(lock(f"lost-{number}", at(0), at(600 + number), why=f"reason{number}"), at(10))
    before, after, _ = locks(world)
    assert (len(before), len(after)) == (10, 10)
    assert after[0] == claim_id("lost-11")


def test_an_outcome_of_a_user_tells_the_users_locks():
    world, target = World(), Target(ORGANIZATION, "bob")
    claim = Claim(claim_id("left"), "user", "offboarded", at(10), HOLD)
    world.deliver(Lock(cause("left", at(10)), target, claim), at(11))
    assert locks(world) == ([], [claim.id], False)
    world.deliver(release("back", at(20), target, "user"), at(21))
    assert locks(world) == ([claim.id], [], False)


def undone(fault=None):
    """A world where a sweep found a lock undone, with a fault at the look-up of the user."""
    world = World()
    world.deliver(STOLEN, at(70))
    world.workmail.overrides.clear()
    world.wire.calls.clear()
    if fault:
        world.wire.faults[undone().wire.calls.index("workmail.user")] = fault
    world.deliver(Reassert(SWEEP, TARGET_OF_BOB), at(3600))
    return world


def test_whoever_is_paged_reads_a_name_though_a_sweep_knows_the_id_alone():
    world = undone()
    kind, detail = world.bus.announced[-1]
    assert (kind, world.wire.calls.count("workmail.user")) == ("Tampering Detected", 1)
    assert detail["message"].startswith(f"Device {DEVICE} of bob@example.com had its lock changed")
    assert detail["advice"]["command"] == f"lockout release bob@example.com {DEVICE} --ref TICKET"
    assert (detail["userId"], detail["user"]["email"]) == (BOB, "bob@example.com")
    world.wire.calls.clear()
    world.deliver(release("found", at(3700), TARGET_OF_BOB), at(3701))
    assert "workmail.user" not in world.wire.calls, "nobody is paged"


def test_what_the_tamper_watch_finds_names_the_user_too():
    world = World()
    world.deliver(STOLEN, at(70))
    world.workmail.overrides.clear()
    watched = replace(SWEEP, event_id="call-1", detail_type=WATCH)
    world.deliver(Reassert(watched, replace(TARGET_OF_BOB, resolved=False)), at(100))
    kind, detail = world.bus.announced[-1]
    assert (kind, detail["message"].startswith(f"Device {DEVICE} of bob@example.com had")) == (
        "Tampering Detected",
        True,
    )


def test_a_page_goes_out_if_workmail_does_not_tell_the_name():
    _, detail = undone(throttled).bus.announced[-1]
    assert detail["message"].startswith(f"Device {DEVICE} of {BOB} had its lock changed")


def test_after_a_crash_a_redelivery_repeats_the_outcome_with_the_locks_that_it_found_itself():
    world = World()
    world.wire.faults[tell("a lock over nothing").wire.calls.index("workmail.put")] = killed_after
    with pytest.raises(Killed):
        world.carry_out(LOST, at(10))
    assert world.carry_out(LOST, at(70)).result == "locked"
    assert locks(world) == ([claim_id("lost")], [claim_id("lost")], False)


def test_a_lock_that_is_redriven_after_its_release_says_so():
    """The lock is in the ledger, its write never came about, and its message went to the dead-letter queue."""
    world = World()
    world.wire.faults[tell("a lock over nothing").wire.calls.index("workmail.put")] = throttled
    with pytest.raises(TransientError):
        world.carry_out(LOST, at(10))
    assert world.record.claims
    assert world.override is None
    world.deliver(release("found", at(20)), at(21))
    assert world.deliver(LOST, at(30)).result == "superseded"
    kind, detail = world.bus.announced[-1]
    assert (kind, detail["before"], detail["after"]) == ("Lockout Superseded", None, None)


def test_a_lock_that_is_redriven_after_its_end_says_so():
    world = World()
    world.wire.faults[tell("a lock over nothing").wire.calls.index("workmail.put")] = throttled
    with pytest.raises(TransientError):
        world.carry_out(LOST, at(10))
    world.deliver(release("of something older", at(-5)), at(11))
    outcome = world.deliver(LOST, at(700))
    assert outcome.result == "superseded"
    assert "ran out at 2026-11-22T07:40:00Z" in outcome.because


def test_the_allow_that_a_lock_covers_is_not_forgotten_while_the_user_is_gone():
    world = World(ALLOWED)
    world.workmail.overrides_outlive_users = False
    world.deliver(LOST, at(10))
    world.workmail.deleted.add(BOB)
    assert world.deliver(Reassert(SWEEP, TARGET), at(20)).result == "failed"
    world.workmail.deleted.clear()
    world.deliver(release("found", at(30)), at(31))
    assert world.override == ALLOWED


def test_a_person_who_ends_a_users_lock_on_one_device_ends_it_for_good():
    """The user's own lock lives on for ninety days; the device's copy of it, which is over, must outlive a month."""
    world = World()
    world.deliver(release("nothing yet", at(-100)), at(0))
    claim = Claim(claim_id("left"), "user", "offboarded", at(10), at(90 * DAY))
    world.deliver(Lock(cause("left", at(10)), Target(ORGANIZATION, "bob"), claim), at(11))
    reading = world.override.read("local")
    world.set_by_hand(Override("DENY", write(replace(reading, until=at(DAY)))))
    world.ledger.swept = at(2 * DAY)
    world.sweep(at(2 * DAY))
    assert world.override is None
    world.deliver(release("a stray one", at(34 * DAY)), at(35 * DAY))
    world.ledger.swept = at(36 * DAY)
    world.sweep(at(36 * DAY))
    assert world.override is None


def test_claims_are_forgotten_a_month_after_they_ended():
    world = World()
    world.deliver(LOST, at(10))
    world.ledger.swept = at(3600)
    world.sweep(at(3600))
    assert world.override is None
    world.deliver(release("much later", at(29 * DAY)), at(29 * DAY))
    assert world.record.claims
    world.deliver(release("later still", at(31 * DAY)), at(31 * DAY))
    assert not world.record.claims


def test_a_copy_of_a_report_that_failed_tries_again_and_a_copy_of_one_that_was_done_does_not():
    world = World()
    world.workmail.disabled.add(BOB)
    report = lock("lost", at(0))
    assert world.carry_out(report, at(1)).result == "failed"
    world.workmail.disabled.clear()
    assert world.carry_out(report, at(60)).result == "locked"
    assert [told["result"] for told in world.told("lost")] == ["locked"]
    world.set_by_hand(None)
    copy = world.carry_out(replace(report, cause=replace(report.cause, reference="INC-1")), at(120))
    assert copy == Outcome("skipped", "a copy of a report that was answered", reference="INC-1")
    assert world.override is None


def test_a_lock_that_was_recorded_and_never_set_is_no_tampering():
    """The writer died before its put. Nobody undid what never stood."""
    for number in range(12):
        world = World()
        world.wire.faults[number] = killed_before
        with suppress(Killed):
            world.carry_out(lock("lost", at(0)), at(1))
        if KEY in world.ledger.devices and world.record.claims and world.override is None:
            break
    assert world.record.claims
    assert world.override is None
    outcome = world.carry_out(Reassert(SWEEP, TARGET), at(3600))
    assert (outcome.result, outcome.page) == ("took-over", False)
    assert world.record.last.outcome.result == "took-over", "a redelivery says the same"
    assert world.carry_out(Reassert(replace(SWEEP, event_id="run-2"), TARGET), at(7200)).result == "skipped"
    world.set_by_hand(None)
    again = world.carry_out(Reassert(replace(SWEEP, event_id="run-3"), TARGET), at(9000))
    assert (again.result, again.page) == ("reasserted", True)
