"""A source that repeats itself fills no item: outlasted claims are dropped, and nobody can tell."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device_lockout.decisions.decision import Delete, Put, decide, decide_for_user
from device_lockout.values.command import Cause, Expire, Lock, Reassert, Release, Target, claim_id
from device_lockout.values.override import Override
from device_lockout.values.policy import MOST_CLAIMS, NO_MORE_CLAIMS, Rules
from device_lockout.values.record import MOST_RELEASES, Claim, DeviceRecord, Ending, Released, UserRecord, tag_of
from device_lockout.values.tag import HOLD, SHOWN_NOTE, Tag, write
from device_lockout.values.wire import dump_claim
from local.in_memory import BOB, DEVICE, ORGANIZATION, at

ALL = Rules("local", timedelta(days=30), timedelta(minutes=1), most_claims=10**6)
FEW = replace(ALL, most_claims=1)
TARGET = Target(ORGANIZATION, BOB, DEVICE, resolved=True)
MOST_BYTES = 400_000
"""Of an item of DynamoDB, attribute names included."""
LONGEST = {"reference": "🚕" * 64, "note": "🚕" * 500}


def lock(name, happened, until, scope="device", **said):
    claim = Claim(claim_id(name), scope, "lost", at(happened), HOLD if until is None else at(until), **said)
    return Lock(told(name, happened), TARGET, claim)


def told(name, happened):
    return Cause(name, "helpdesk", "Told by a test", at(happened), at(happened))


def after(write, observed):
    match write:
        case Put(override=override):
            return override
        case Delete():
            return None
        case None:
            return observed


def size(claims):
    return len(json.dumps([dump_claim(claim) for claim in claims], ensure_ascii=False).encode())


moments = st.integers(0, 20)
locks = st.tuples(st.just("lock"), moments, st.none() | st.integers(50, 70))
releases = st.tuples(st.just("release"), moments, st.none())
sweeps = st.tuples(st.just("sweep"), st.none(), st.none())


@given(st.lists(locks | releases | sweeps, max_size=12), st.none() | st.just(Override("ALLOW", "vip")))
@example([("lock", 2, None), ("lock", 10, 60), ("release", 5, None)], None)
@example([("lock", 2, 50), ("lock", 1, 60), ("sweep", None, None), ("release", 2, None)], Override("ALLOW", "vip"))
def test_whoever_forgets_what_is_outlasted_does_the_same_as_who_remembers_all(history, first):
    """Both see the same history, a command each two seconds, so that locks end in its second half."""
    ends = {}
    for rules in (ALL, FEW):
        record, observed = DeviceRecord(), first
        written = []
        for number, (what, happened, until) in enumerate(history):
            now = at(45 + 2 * number)
            name = f"event {number}"
            if what == "lock":
                command = lock(name, happened, until)
            elif what == "release":
                command = Release(told(name, happened), TARGET, Ending("device"))
            else:
                command = Expire(told(name, 0), TARGET, observed)
            decision = decide(command, observed, record, now, rules)
            record, observed = decision.record, after(decision.write, observed)
            written.append((decision.write, decision.outcome.result))
        ends[rules.most_claims] = written, observed, record.prior, record.wanted(at(60))
    assert ends[1] == ends[10**6]


@pytest.mark.slow
def test_a_device_reported_every_minute_for_two_days_leaves_room_in_its_item_and_can_be_released():
    rules = Rules("local", timedelta(days=30), timedelta(minutes=1))
    record, observed = DeviceRecord(), None
    for minute in range(2 * 24 * 60):
        until = None if minute % 2 else 86400 * 30 + 60 * minute
        command = lock(f"event {minute}", 60 * minute, until, **LONGEST)
        decision = decide(command, observed, record, at(60 * minute), rules)
        record, observed = decision.record, after(decision.write, observed)
    assert len(record.claims) <= MOST_CLAIMS
    assert size(record.claims) < MOST_BYTES * 0.8
    assert decide(
        Release(told("found", 60 * minute + 1), TARGET, Ending("device")), observed, record, at(10**6), rules
    ).write


def test_an_expiry_that_may_not_land_forgets_nothing_of_the_lock_that_stands():
    """The delivery dies before it deletes. The next one would not know the lock, nor the ALLOW that it covers."""
    rules = replace(ALL, max_event_age=timedelta(minutes=1))
    prior = Override("ALLOW", "[until=2026-11-22T07:40:00Z] travel")
    locked = decide(lock("lost", 0, 60), prior, DeviceRecord(), at(10), rules)
    expire = Expire(told("run", 86400), TARGET, locked.write.override)
    first = decide(expire, locked.write.override, locked.record, at(86400), rules)
    assert isinstance(first.write, Delete), "the time of the ALLOW is over, too"
    again = decide(expire, locked.write.override, first.record, at(86400), rules)
    assert isinstance(again.write, Delete)
    gone = decide(expire, None, again.record, at(86400), rules)
    assert gone.record.claims == (), "forgotten once it is gone"


def test_a_user_reported_every_minute_leaves_room_in_the_users_item():
    rules = Rules("local", timedelta(days=30), timedelta(minutes=1))
    record = UserRecord()
    for minute in range(500):
        command = lock(f"event {minute}", 60 * minute, 86400 + 60 * minute, "user", **LONGEST)
        record, outcome = decide_for_user(command, record, at(60 * minute), rules)
        assert outcome.result == "locked"
    assert len(record.claims) == MOST_CLAIMS
    assert record.claims[-1].id == claim_id("event 499")


def test_a_full_item_takes_no_more_locks_and_still_a_release():
    """Each lock ends earlier than the one before, so that none outlasts another."""
    rules = Rules("local", timedelta(days=30), timedelta(minutes=1), no_more_claims=50)
    record, user = DeviceRecord(), UserRecord()
    for number in range(80):
        told_of = lock(f"event {number}", number, 10**6 - number, **LONGEST)
        decision = decide(told_of, None, record, at(1000), rules)
        record = decision.record
        of_user = replace(told_of, claim=replace(told_of.claim, scope="user"))
        user, outcome = decide_for_user(of_user, user, at(1000), rules)
        for ended in (decision.outcome, outcome):
            assert (ended.result in ("locked", "already-locked", "extended"), ended.page) == (number < 50, number >= 50)
    assert len(record.claims) == len(user.claims) == 50
    assert isinstance(decision.write, Put), "it is denied all the same"
    released = decide(Release(told("found", 500), TARGET, Ending("device")), None, record, at(1000), rules)
    assert released.outcome.result == "released"
    after_all, outcome = decide_for_user(Release(told("found", 500), TARGET, Ending("user")), user, at(1000), rules)
    assert outcome.result == "released"
    assert not DeviceRecord(user=after_all).live(at(1000))


def test_forged_tags_fill_no_item_and_leave_room_for_a_release():
    """Whoever may edit overrides can write a tag of ours each minute, each of another reason: none outlasts another."""
    rules = Rules("local", timedelta(days=30), timedelta(minutes=1), no_more_claims=50)
    record = DeviceRecord(user=UserRecord(tuple(lock(f"of user {n}", n, 9000 - n, "user").claim for n in range(60))))
    for number in range(80):
        forged = Tag("local", f"r{number}", HOLD, at(number), claim_id(f"forged {number}"), "none")
        decision = decide(Reassert(told(f"run {number}", number), TARGET), denied(forged), record, at(number), rules)
        record = decision.record
        assert ("did not know this lock" in decision.outcome.because) == (number < 50)
        assert decision.outcome.after.read("local").id in {claim.id for claim in record.claims}
    for claim in record.user.claims:  # and so does an end in the tag of a lock of the user
        edited = replace(tag_of(claim, "local", "none"), until=at(9500))
        record = decide(Reassert(told("run", 90), TARGET), denied(edited), record, at(90), rules).record
    assert len(record.claims) == 50
    released = decide(Release(told("found", 95), TARGET, Ending("device")), None, record, at(95), rules)
    assert released.outcome.result == "still-locked"
    assert {claim.scope for claim in released.record.live(at(95))} == {"user"}


def denied(tag: Tag) -> Override:
    return Override("DENY", write(tag))


def test_a_full_item_has_room_in_dynamodb():
    longest = {"reference": "🚕" * 64, "note": "🚕" * SHOWN_NOTE}
    claims = tuple(lock(f"event {n}", n, None, **longest).claim for n in range(NO_MORE_CLAIMS))
    assert size(tuple(replace(claim, source="🚕" * 64) for claim in claims)) < MOST_BYTES * 0.9


def test_what_none_outlasts_is_remembered_however_many():
    rules = Rules("local", timedelta(days=30), timedelta(minutes=1))
    record = DeviceRecord()
    for number in range(2 * MOST_CLAIMS):
        record = decide(lock(f"event {number}", number, 10**6 - number), None, record, at(1000), rules).record
    assert len(record.claims) == 2 * MOST_CLAIMS


def test_a_devices_copy_of_a_users_claim_is_never_forgotten_before_the_users_own():
    shortened = lock("user", 0, 60, "user").claim
    later = lock("user again", 5, 80, "user").claim
    record = DeviceRecord(claims=(shortened, later), user=UserRecord((replace(shortened, until=HOLD), later)))
    decision = decide(lock("lost", 6, 70), None, record, at(10), FEW)
    assert {claim.id for claim in decision.record.claims} == {shortened.id, later.id, claim_id("lost")}


def test_releases_of_ever_more_sources_locks_fill_no_item_and_leave_room_for_one_of_all():
    record, user, results = DeviceRecord(), UserRecord(), []
    for number in range(MOST_RELEASES + 10):
        told_so = told(f"event {number}", number)
        command = Release(told_so, TARGET, Ending("device", source=f"source {number}"))
        decision = decide(command, None, record, at(100), ALL)
        record = decision.record
        user, outcome = decide_for_user(
            replace(command, ending=replace(command.ending, scope="user")), user, at(100), ALL
        )
        results.append((decision.outcome.result, decision.outcome.page, outcome.result))
    good, bad = ("nothing-to-release", False, "released"), ("rejected", True, "rejected")
    assert results == [good] * MOST_RELEASES + [bad] * 10
    assert len(record.released.newest) == len(user.released.newest) == MOST_RELEASES
    again = decide(Release(told("again", 90), TARGET, Ending("device", source="source 3")), None, record, at(100), ALL)
    assert again.outcome.result == "nothing-to-release", "one of a kind that it has"
    for scope in ("device", "user"):
        everything = decide(Release(told("all", 90), TARGET, Ending(scope)), None, record, at(100), ALL)
        assert everything.outcome.result == "nothing-to-release"
        assert len(everything.record.released.newest) == (1 if scope == "device" else MOST_RELEASES + 1)


def test_an_older_release_of_more_reasons_finds_no_room_beside_the_newer_one_of_fewer():
    """Seed 4460: it includes what is known, but does not take its place."""
    newest = tuple((Ending("device", frozenset({"lost"}), f"s{number}"), at(10)) for number in range(MOST_RELEASES))
    released = Released(newest)
    wider = Ending("device", frozenset(), "s1")
    assert not released.has_room_for(wider, at(9))
    assert released.has_room_for(wider, at(11))
    assert len(released.with_release(wider, at(11)).newest) == MOST_RELEASES
    assert released.has_room_for(Ending("device"), at(9)), "people need it"
