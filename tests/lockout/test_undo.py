"""A flood undone by one command, over ports in memory: what it releases, what it leaves, and what it drops."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from device_lockout.inbound.report import read
from device_lockout.values import instant
from device_lockout.values.override import Override
from local.in_memory import BOB, World, key
from tests.lockout.conftest import Clients, Run

ALLOW = Override("ALLOW", "[until=2099-01-01] travel phone  – 受付")
UNDO = ("undo", "siem", "--since", "1h")


def report(world: World, event: str, kind: str, source: str = "siem", ago: float = 60, **detail: Any) -> str:
    """Deliver a report as the router and the writer do. Return how its outcomes ended."""
    when = datetime.now(UTC) - timedelta(seconds=ago)
    body = {"id": event, "source": source, "detail-type": kind, "detail": {"reportedAt": instant.write(when), **detail}}
    for command in read(json.dumps(body), "m", when, world.settings):
        world.deliver(command, when)
    return " ".join(told["result"] for told in world.told(event))


def lost(world: World, device: str, source: str = "siem", ago: float = 60) -> str:
    return report(world, f"{source} {device} {ago}", "Device Lost", source, ago, userId="bob", deviceId=device)


@pytest.fixture
def flooded(world: World) -> dict[Any, Override]:
    """A flood over what stood before: an ALLOW by hand, a help desk's lock, an older lock of the same source."""
    few = tuple(replace(source, locks_per_hour=6) for source in world.settings.sources)
    world.settings = replace(world.settings, sources=few)
    world.workmail.overrides[key("allowed")] = ALLOW
    lost(world, "desk", "helpdesk", 9000)
    lost(world, "old", "siem", 8000)
    before = dict(world.workmail.overrides)
    for device in ("allowed", "desk", "old", "plain"):
        assert lost(world, device) in ("locked", "extended")
    return before


def test_exactly_the_flood_is_undone(run: Run, world: World, flooded: dict[Any, Override]) -> None:
    flood = world.workmail.overrides[key("old")]
    status, out, err = run(*UNDO, "--ref", "INC-7", "--yes")
    assert world.workmail.overrides == flooded | {key("old"): flood}, "byte-identical, but for what was left out"
    assert status == 1, "a device was left out"
    assert f"left out, since siem had locked it before: {BOB} old" in out
    assert "done: 2 released, 1 still-locked" in out
    assert "stays locked (lost)" in out
    assert "releases, each alone: 3" in err


def test_a_rehearsal_sends_nothing_and_without_a_word_nothing_is_sent(
    run: Run, world: World, clients: Clients, flooded: dict[Any, Override]
) -> None:
    stood = dict(world.workmail.overrides)
    status, out, err = run(*UNDO, "--dry-run")
    assert (status, out.count("would be released: "), out.count("would be still-locked: ")) == (1, 2, 1)
    assert "releases, each alone: 3 (2 released, 1 still-locked); held locks to drop: 0" in err
    assert run(*UNDO)[0] == 2
    assert (clients.sent, world.workmail.overrides) == ([], stood)
    assert flooded


def test_what_was_held_is_dropped_and_does_not_come_through(run: Run, world: World, clients: Clients) -> None:
    few = tuple(replace(source, locks_per_hour=2) for source in world.settings.sources)
    world.settings = replace(world.settings, sources=few)
    assert [lost(world, f"d{number}") for number in range(4)] == ["locked", "locked", "held", "held"]
    assert [lost(world, f"h{number}", "helpdesk") for number in range(3)] == ["locked", "locked", "held"]
    clients.letters = list(world.queue.held)
    status, out, err = run(*UNDO, "--yes")
    assert (status, "done: 2 released" in out) == (0, True)
    assert "held locks dropped: 2" in err
    assert [command.cause.source for command in clients.letters] == ["helpdesk"]
    assert {each.device for each in world.workmail.overrides} == {"h0", "h1"}


def test_a_users_lock_and_one_by_serial_number_are_undone_as_such(run: Run, world: World, clients: Clients) -> None:
    for device in ("phone", "tablet"):
        detail = {"userId": "bob", "deviceId": device, "serialNumber": "S1"}
        assert report(world, f"enrol {device}", "Device Enrolled", "mdm", 9000, **detail) == "enrolled"
    assert report(world, "u", "User Compromised", userId="bob") == "locked locked locked"
    assert report(world, "s", "Device Stolen", serialNumber="S1") == "extended extended"
    status, out, _ = run(*UNDO, "--yes")
    assert (status, world.workmail.overrides, "done: 3 released" in out) == (0, {}, True), out
    assert [entry["DetailType"] for entry in clients.sent] == ["User Restored", "Device Recovered"]
    now = datetime.now(UTC)
    assert not world.ledger.user_items[BOB].live(now)
    assert not world.ledger.locks["s1"].live(now), "a device that is enrolled under the number is not locked"


def test_a_lock_by_serial_number_stays_if_a_device_has_an_older_one(run: Run, world: World) -> None:
    for device in ("phone", "tablet"):
        report(world, device, "Device Enrolled", "mdm", 9000, userId="bob", deviceId=device, serialNumber="S1")
    lost(world, "phone", "siem", 8000)
    report(world, "s", "Device Stolen", serialNumber="S1")
    status, out, _ = run(*UNDO, "--yes")
    assert status == 1
    assert "had locked it before: S1" in out
    assert {each.device for each in world.workmail.overrides} == {"phone"}
    assert world.ledger.locks["s1"].live(datetime.now(UTC))


def test_a_source_of_which_nothing_is_known_is_told_with_those_that_reported(run: Run, world: World) -> None:
    lost(world, "phone")
    status, _, err = run("undo", "seim", "--since", "1h", "--yes")
    assert status == 1
    assert "reports came from siem" in err
