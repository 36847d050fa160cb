"""Who a user is counts for ten seconds: what changes meanwhile is as if it had come after the report."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from device_lockout.aws.workmail import RECENT, RecentUsers
from device_lockout.values.command import Lock, Release, Target, claim_id
from device_lockout.values.device import User
from device_lockout.values.record import Claim, Ending, Scope
from device_lockout.values.tag import HOLD
from local.in_memory import BOB, ORGANIZATION, World, at, cause

EVE = "S-eve"

type Change = Callable[[World], None]


def renamed(world: World) -> None:
    """The name goes to somebody else."""
    world.workmail.names = {"bob": EVE, EVE: EVE, BOB: BOB}


def deleted(world: World) -> None:
    world.workmail.deleted.add(BOB)
    world.workmail.overrides_outlive_users = False


def exempt_by_a_new_name(world: World) -> None:
    world.workmail.names["ceo"] = BOB


def lock(name: str, device: str = "") -> Lock:
    scope: Scope = "device" if device else "user"
    claim = Claim(claim_id(name), scope, "stolen", at(10), HOLD)
    return Lock(cause(name, at(10)), Target(ORGANIZATION, "bob", device), claim)


def a_world(clock: Callable[[], float] | None) -> World:
    world = World()
    world.settings = replace(world.settings, exempt_users=frozenset({"ceo"}))
    world.workmail.names["ceo"] = EVE
    if clock:
        world.workmail.user = partial(RecentUsers(clock).user, ask=world.workmail.user)  # type: ignore[method-assign]
    return world


def seen(world: World) -> object:
    return world.workmail.overrides, world.ledger.user_items, {*world.ledger.devices}, world.ledger.names


SECOND = {
    "a lock": lock("two", "android2"),
    "a lock of all": lock("two"),
    "a release": Release(cause("two", at(12)), Target(ORGANIZATION, "bob", "android1"), Ending("device")),
}


@pytest.mark.parametrize("change", [renamed, exempt_by_a_new_name])
@pytest.mark.parametrize("second", SECOND)
def test_a_report_within_five_seconds_of_another_is_as_before_the_change(change: Change, second: str) -> None:
    now = 0.0
    recent, asking = a_world(lambda: now), a_world(None)
    for world in (recent, asking):
        world.deliver(lock("one", "android1"), at(20))
    change(recent)
    now = RECENT - 0.1
    told = recent.deliver(SECOND[second], at(24))
    assert told == asking.deliver(SECOND[second], at(24))
    assert seen(recent) == seen(asking)


@pytest.mark.parametrize("change", [renamed, exempt_by_a_new_name, deleted])
@pytest.mark.parametrize("second", SECOND)
def test_a_report_after_five_seconds_is_as_after_the_change(change: Change, second: str) -> None:
    now = 0.0
    recent, asking = a_world(lambda: now), a_world(None)
    for world in (recent, asking):
        world.deliver(lock("one", "android1"), at(20))
        change(world)
    now = RECENT
    told = recent.deliver(SECOND[second], at(26))
    assert told == asking.deliver(SECOND[second], at(26))
    assert seen(recent) == seen(asking)


def test_a_device_of_a_user_who_is_gone_is_not_locked_although_the_user_was_just_there() -> None:
    world = a_world(lambda: 0.0)
    world.deliver(lock("one", "android1"), at(20))
    deleted(world)
    assert world.deliver(lock("two", "android2"), at(21)).result == "rejected"


def test_who_is_unknown_is_asked_for_again() -> None:
    world = a_world(lambda: 0.0)
    world.workmail.names.pop("bob")
    assert world.deliver(lock("one", "android1"), at(20)).result == "rejected"
    world.workmail.names["bob"] = BOB
    assert world.deliver(lock("two", "android1"), at(21)).result == "locked"


def test_locks_of_one_user_make_two_calls_each() -> None:
    world = a_world(lambda: 0.0)
    for number in range(10):
        world.deliver(lock(str(number), f"android{number}"), at(20))
    calls = [call for call in world.wire.calls if call.startswith("workmail.")]
    assert len(calls) == 1 + 2 * 10


def test_no_more_than_a_thousand_users_are_kept() -> None:
    recent = RecentUsers(lambda: 0.0)
    for number in range(2001):
        recent.user(ORGANIZATION, str(number), lambda _, name: User(name, frozenset()))
    assert len(recent._known) <= 1000
