"""Histories that an earlier sweep got wrong: each is the shortest that showed it."""

from dataclasses import replace

import pytest

from device_lockout.values.command import Lock, Target, claim_id
from device_lockout.values.errors import RejectedError
from device_lockout.values.override import Override
from device_lockout.values.record import Claim
from device_lockout.values.tag import Tag, write
from local.in_memory import DEVICE, ORGANIZATION, SETTINGS, Killed, World, at, cause, key

TARGET = Target(ORGANIZATION, "bob", DEVICE)
HOUR = 3600


def lock(event_id, until):
    return Lock(cause(event_id, at(0)), TARGET, Claim(claim_id(event_id), "device", "lost", at(0), until))


def world(**policy):
    made = World(known=replace(SETTINGS, sweep=replace(SETTINGS.sweep, **policy)))
    made.ledger.swept = at(0)
    return made


def test_a_run_that_dies_before_it_has_reported_has_not_reported():
    """After a gap the next run is again one that only reports."""
    died = world()
    died.deliver(lock("lost", at(60)), at(1))
    swept = died.ledger.swept
    announce = died.bus.announce

    def dies(*_):
        raise Killed

    died.bus.announce = dies
    with pytest.raises(Killed):
        died.plan(at(100 * HOUR))
    assert died.ledger.swept == swept
    died.bus.announce = announce
    result = died.sweep(at(101 * HOUR))
    assert result.refused is not None
    assert result.refused.guard == "gap"
    assert died.override is not None


def test_a_warning_that_fails_does_not_undo_the_run():
    failing = world()
    failing.deliver(lock("lost", at(2 * 86400)), at(1))
    failing.ledger.outcome = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        failing.plan(at(HOUR))
    assert failing.ledger.swept == at(HOUR)
    assert failing.bus.announced[-1][0] == "Sweep Completed"


def test_nobody_is_warned_of_an_end_that_a_person_has_just_changed():
    edited = world()
    edited.deliver(lock("lost", at(2 * 86400)), at(1))
    reading = edited.override.read("local")
    assert isinstance(reading, Tag)
    edited.set_by_hand(Override("DENY", write(replace(reading, until=at(20 * 86400)))))
    for hour in (1, 2):
        edited.sweep(at(hour * HOUR))
    assert not [kind for kind, _ in edited.bus.announced if kind == "Expiry Due Soon"]
    edited.ledger.swept = at(18 * 86400 - HOUR)
    edited.sweep(at(18 * 86400))
    (warning,) = [detail for kind, detail in edited.bus.announced if kind == "Expiry Due Soon"]
    assert "2026-12-12" in warning["message"]


def test_a_write_that_workmail_finds_invalid_is_told_once_however_often_the_sweep_tries():
    refusing = world()

    def invalid(*_):
        raise RejectedError("put DENY: WorkMail says InvalidParameterException")

    refusing.workmail.put = invalid
    refusing.deliver(lock("lost", at(100 * HOUR)), at(1))
    for hour in range(1, 4):
        refusing.sweep(at(hour * HOUR))
    told = [detail["result"] for kind, detail in refusing.bus.announced if not kind.startswith("Sweep")]
    assert told == ["failed"]
    assert refusing.record.claims, "the lock is kept"


def test_what_is_handwritten_does_not_count_for_the_percentage_of_ours():
    people = world(max_removals_percent=25)
    for number in range(15):
        people.workmail.overrides[key(f"d{number}")] = Override("ALLOW", "[until=2026-01-01]")
    result = people.sweep(at(HOUR))
    assert result.refused is None
    assert not people.workmail.overrides


def test_a_group_that_is_stuck_keeps_no_portion_waiting():
    stuck = world(max_removals=100, portion=10)
    stuck.queue.waiting = lambda: 3
    for number in range(40):
        tag = Tag("local", "lost", at(60), at(0), f"{number:08x}", "none")
        stuck.workmail.overrides[key(f"d{number}")] = Override("DENY", write(tag))
    assert stuck.plan(at(HOUR)).enqueued == 40
