"""Undone locks that the tamper watch puts back, and where it stops."""

from dataclasses import replace

import pytest

from device_lockout.values.command import WATCH, Cause, Lock, Reassert, Target, claim_id
from device_lockout.values.outcome import SOURCE
from device_lockout.values.override import Override
from device_lockout.values.record import Claim
from local.in_memory import DAY, DEVICE, ORGANIZATION, SETTINGS, World, at, cause

TARGET = Target(ORGANIZATION, "bob", DEVICE)


def lock_of(world, event_id="lost"):
    claim = Claim(claim_id(event_id), "device", "lost", at(0), at(30 * DAY), source="helpdesk")
    world.deliver(Lock(cause(event_id, at(0)), TARGET, claim), at(1))


@pytest.fixture
def world():
    locked = World()
    lock_of(locked)
    return locked


def see(world, number, seconds):
    """Deliver what CloudTrail tells of a change by an administrator."""
    said = Cause(f"trail {number}", SOURCE, WATCH, at(seconds), at(seconds), correction="changed by eve from ::1")
    return world.deliver(Reassert(said, TARGET), at(seconds))


def tampering(world):
    return [detail for kind, detail in world.bus.announced if kind == "Tampering Detected"]


def test_a_deletion_is_undone_with_a_page_that_names_who_did_it(world):
    locked = world.override
    world.set_by_hand(None)
    see(world, 1, 60)
    assert world.override == locked
    (told,) = tampering(world)
    assert told["page"]
    assert "changed by eve from ::1" in told["message"]


def test_a_change_that_undoes_nothing_is_not_told(world):
    assert see(world, 1, 60).result == "skipped"
    assert tampering(world) == []


def test_after_five_in_ten_minutes_a_device_is_left_to_the_sweep_and_that_pages_once(world):
    locked = world.override
    results = []
    for number in range(8):
        world.set_by_hand(None)
        results.append(see(world, number, 60 + number).result)
    assert results == ["reasserted"] * 5 + ["contested", "skipped", "skipped"]
    assert [told["page"] for told in tampering(world)] == [True] * 6
    assert "the next sweep puts it back" in tampering(world)[-1]["message"]
    assert {told["lock"]["id"] for told in tampering(world)} == {claim_id("lost")}
    assert world.override is None
    world.sweep(at(120))
    assert world.override == locked
    world.set_by_hand(None)
    assert see(world, 9, 61 + 600).result == "reasserted", "ten minutes later it watches again"


def test_a_copy_of_cloudtrails_word_counts_once(world):
    for _ in range(7):
        see(world, 1, 60)
    world.set_by_hand(None)
    assert see(world, 2, 61).result == "reasserted"


def test_a_redelivery_of_what_cloudtrail_told_counts_once_too(world):
    for _ in range(7):
        world.set_by_hand(None)
        assert see(world, 1, 60).result == "reasserted"
    assert world.record.put_back == (at(60),)


def test_two_deployments_that_watch_each_other_come_to_rest():
    """Both want the device denied. Each sees the other's calls, as CloudTrail tells them."""
    one, other = World(), World(known=replace(SETTINGS, owner="other"))
    other.workmail.overrides = one.workmail.overrides
    lock_of(one)
    lock_of(other)
    for step in range(12):
        seen = dict(one.workmail.overrides)
        see(other, step, 60 + step)
        see(one, step, 60 + step)
        if one.workmail.overrides == seen:
            break
    assert step == 0, "each leaves the other's DENY"
    one.workmail.overrides.clear()
    for step in range(12):
        writes = one.workmail.writes + other.workmail.writes
        see(other, 20 + step, 80 + step)
        see(one, 20 + step, 80 + step)
        if one.workmail.writes + other.workmail.writes == writes:
            break
    assert step <= 1
    (override,) = one.workmail.overrides.values()
    assert override.effect == "DENY"


def test_an_automation_that_allows_the_device_each_time_is_left_to_the_sweep(world):
    for number in range(7):
        world.set_by_hand(Override("ALLOW", "ours is better"))
        last = see(world, number, 60 + number).result
    assert last == "skipped"
    assert tampering(world)[-1]["after"] == {"effect": "ALLOW", "description": "ours is better"}
