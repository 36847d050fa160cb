"""Histories that once went wrong: copies of old events, clocks that are off, users who change between two deliveries.

Each report goes the whole way, and every copy is read anew: SQS gives each copy its own time of receipt.
"""

import json

import pytest

from device_lockout.inbound import report
from device_lockout.values import instant
from device_lockout.values.override import Override
from local.in_memory import BOB, DEVICE, World, at, throttled

HOUR = 3600


def event(name, what, *, said=None, time=None, **detail):
    """An event as EventBridge delivers it: ``said`` is its reportedAt, ``time`` its envelope's, in seconds."""
    about = {"userId": "bob"} if what.startswith("User") else {"userId": "bob", "deviceId": DEVICE}
    if said is not None:
        detail["reportedAt"] = instant.write(at(said))
    time = said if time is None else time
    whole = instant.write(at(time).replace(microsecond=0))
    return json.dumps({"id": name, "source": "helpdesk", "detail-type": what, "time": whole, "detail": about | detail})


def deliver(world, body, received):
    """One copy of an event, received and carried out at second ``received``."""
    (command,) = report.read(body, "message", at(received), world.settings)
    return world.deliver(command, at(received))


def denied(world):
    return world.override is not None and world.override.effect == "DENY"


def results(world, name):
    return sorted(told["result"] for told in world.told(name))


# A copy is the event that it copies.


def test_a_copy_of_a_release_from_the_future_does_not_end_a_newer_lock():
    world = World()
    deliver(world, event("L0", "Device Lost", said=0), 0)
    release = event("R1", "Device Recovered", said=3 * HOUR, time=HOUR)
    deliver(world, release, HOUR)
    deliver(world, event("L2", "Device Stolen", said=1.5 * HOUR), 1.5 * HOUR)
    deliver(world, release, 4 * HOUR)
    assert denied(world)
    assert results(world, "R1") == ["rejected"]
    (told,) = world.told("R1")
    assert told["page"], "a recovered phone stays locked, and somebody must know why"


def test_nor_does_one_whose_producer_sets_the_envelopes_time_too():
    world = World()
    deliver(world, event("L0", "Device Lost", said=0), 0)
    release = event("R1", "Device Recovered", said=3 * HOUR, time=3 * HOUR)
    deliver(world, release, HOUR)
    deliver(world, event("L2", "Device Stolen", said=1.5 * HOUR), 1.5 * HOUR)
    deliver(world, release, 4 * HOUR)
    assert denied(world)
    assert results(world, "R1") == ["rejected"]


def test_nor_one_that_is_ahead_by_less_than_a_minute():
    world = World()
    deliver(world, event("L0", "Device Lost", said=0), 0)
    release = event("R1", "Device Recovered", said=HOUR + 50, time=HOUR + 50)
    deliver(world, release, HOUR)
    assert not denied(world)
    deliver(world, event("L2", "Device Stolen", said=HOUR + 30), HOUR + 30)
    deliver(world, release, 4 * HOUR)
    assert denied(world)
    assert results(world, "R1") == ["released"]


def test_a_lock_from_the_future_locks_now_and_says_so():
    world = World()
    deliver(world, event("L1", "Device Stolen", said=3 * HOUR, time=HOUR), HOUR)
    assert denied(world)
    (told,) = world.told("L1")
    assert told["result"] == "locked"
    assert "future" in told["message"]


def test_its_copy_does_not_lock_a_recovered_device():
    world = World()
    lock = event("L1", "Device Stolen", said=3 * HOUR, time=3 * HOUR)
    deliver(world, lock, HOUR)
    deliver(world, event("R2", "Device Recovered", said=2 * HOUR), 2 * HOUR)
    deliver(world, lock, 4 * HOUR)
    assert not denied(world)
    assert results(world, "L1") == ["locked"]


def test_a_recovery_in_the_second_of_a_later_loss_does_not_win():
    world = World()
    deliver(world, event("R1", "Device Recovered", said=HOUR + 0.5), HOUR + 2)
    deliver(world, event("L2", "Device Stolen", said=HOUR), HOUR + 2)
    assert denied(world), "a time of whole seconds counts as the end of its second"


def test_a_replay_older_than_events_may_be_is_no_second_outcome():
    world = World()
    lock = event("L1", "Device Lost", said=0)
    deliver(world, lock, 0)
    deliver(world, lock, 40 * 24 * HOUR)
    assert results(world, "L1") == ["locked"]


def test_nor_does_it_take_back_a_lock_that_workmail_refused():
    world = World()
    world.workmail.disabled.add(BOB)
    lock = event("L1", "Device Stolen", said=0)
    deliver(world, lock, 0)
    deliver(world, lock, 40 * 24 * HOUR)
    assert results(world, "L1") == ["failed"]


# A rejection and a live claim of one command never go together.


def test_a_lock_that_was_recorded_before_its_user_became_exempt_is_carried_out():
    world = World()
    (lock,) = report.read(event("L1", "Device Lost", said=0), "message", at(0), world.settings)
    world.wire.faults[_next_call(world, "workmail.put", lock)] = throttled
    with pytest.raises(Exception, match="slow down"):
        world.carry_out(lock, at(1))
    world.settings = _with_exempt(world.settings, "bob")
    world.deliver(lock, at(60))
    assert denied(world)
    assert results(world, "L1") == ["locked"]


@pytest.mark.parametrize("what", ["deleted", "renamed"])
def test_a_lock_that_was_recorded_before_its_user_changed_is_not_told_as_rejected(what):
    world = World()
    (lock,) = report.read(event("L1", "Device Lost", said=0), "message", at(0), world.settings)
    world.wire.faults[_next_call(world, "workmail.put", lock)] = throttled
    with pytest.raises(Exception, match="slow down"):
        world.carry_out(lock, at(1))
    if what == "deleted":
        world.workmail.deleted.add(BOB)
    else:
        world.workmail.names["bob"] = "c0c00000-0000-4000-8000-000000000000"
        world.workmail.names["c0c00000-0000-4000-8000-000000000000"] = "c0c00000-0000-4000-8000-000000000000"
    world.deliver(lock, at(60))
    assert results(world, "L1") == ["failed" if what == "deleted" else "locked"]
    assert {key.user_id for key in world.ledger.devices if world.ledger.devices[key].claims} == {BOB}


def _next_call(world, name, command):
    """The number of the call ``name`` when ``command`` is carried out in a world of its own."""
    rehearsal = World(known=world.settings)
    rehearsal.carry_out(command, at(1))
    return len(world.wire.calls) + rehearsal.wire.calls.index(name)


def _with_exempt(settings, *users):
    from dataclasses import replace

    return replace(settings, exempt_users=frozenset(users))


# Clocks.


def test_a_release_by_a_clock_that_is_ahead_leaves_a_lock_with_a_day_left():
    world = World()
    day = 24 * HOUR
    deliver(world, event("U1", "User Compromised", said=0, expiresAt=instant.write(at(2 * day))), 0)
    deliver(world, event("L1", "Device Lost", said=1), 1)
    (release,) = report.read(event("R2", "Device Recovered", said=day), "message", at(day), world.settings)
    world.carry_out(release, at(4 * day), workmail_says=at(day))
    assert denied(world)


def test_a_lock_by_a_clock_that_is_ahead_is_set():
    world = World()
    body = event("L1", "Device Lost", said=0, expiresAt=instant.write(at(24 * HOUR)))
    (lock,) = report.read(body, "message", at(0), world.settings)
    world.carry_out(lock, at(72 * HOUR), workmail_says=at(1))
    assert denied(world)
    assert results(world, "L1") == ["locked"]


def test_a_prior_allow_with_an_end_is_not_dropped_by_a_clock_that_is_ahead():
    allowed = Override("ALLOW", "[until=2026-11-24] travel phone")
    world = World(allowed)
    deliver(world, event("L1", "Device Lost", said=0), 0)
    (release,) = report.read(event("R2", "Device Recovered", said=60), "message", at(60), world.settings)
    world.carry_out(release, at(72 * HOUR), workmail_says=at(61))
    assert world.override == allowed


def test_a_sweep_by_a_clock_that_is_ahead_puts_back_what_is_wanted():
    world = World()
    body = event("L1", "Device Lost", said=0, expiresAt=instant.write(at(24 * HOUR)))
    deliver(world, body, 0)
    world.set_by_hand(None)
    world.plan(at(72 * HOUR), workmail_says=at(HOUR))
    while world.queue.sent:
        world.carry_out(world.queue.sent.pop(0), at(72 * HOUR), workmail_says=at(HOUR))
    assert denied(world)
