"""An organization that moved elsewhere, or whose WorkMail ends."""

import json
from dataclasses import replace

import pytest

from device_lockout.inbound import report
from device_lockout.values import instant
from device_lockout.values.command import Reject
from device_lockout.values.override import Override
from device_lockout.values.tag import HOLD
from local.in_memory import BOB, DAY, DEVICE, KEY, SETTINGS, World, at


def ending(**fields):
    (main,) = SETTINGS.organizations
    return replace(SETTINGS, organizations=(replace(main, **fields),))


def event(kind, seconds, detail=None, source="helpdesk"):
    detail = (detail or {"userId": "bob", "deviceId": DEVICE}) | {"reportedAt": instant.write(at(seconds))}
    return json.dumps({"id": f"{kind} {seconds}", "source": source, "detail-type": kind, "detail": detail})


def told_by(world, kind, seconds, detail=None):
    (command,) = report.read(event(kind, seconds, detail), "m", at(seconds), world.settings)
    world.deliver(command, at(seconds))
    return world.bus.announced[-1][1]


@pytest.mark.parametrize("to", ["exchange-online", "Zoho"])
def test_from_the_move_on_a_lock_and_a_release_say_what_to_do_there(to):
    world = World(known=ending(moved_at=at(100), moved_to=to))
    before = told_by(world, "Device Lost", 0)
    assert (before["page"], before["advice"]) == (False, None)
    told_by(world, "Device Recovered", 50)
    locked, released = told_by(world, "Device Lost", 100), told_by(world, "Device Recovered", 200)
    for told, do, change in ((locked, "lock it", "Add"), (released, "let it in", "Remove")):
        assert (told["page"], told["severity"]) == (True, "act now")
        assert f"{do} in {to}, too (mailbox bob@example.com, device {DEVICE})" in told["message"]
        line = f"@{{{change}='{DEVICE}'}}" if to == "exchange-online" else f"{do} in {to}, too"
        assert line in told["advice"]["command"]
    assert told_by(world, "Device Recovered", 300)["page"] is False, "nothing was denied"


def test_a_lock_that_runs_out_is_let_in_there_too():
    world = World(known=ending(moved_at=at(0), moved_to="exchange-online"))
    told_by(world, "Device Lost", 0)
    for hour in range(3):
        world.sweep(at(30 * DAY + 3600 * hour + 10))
    (told,) = (detail for kind, detail in world.bus.announced if kind == "Lockout Expired")
    assert f"@{{Remove='{DEVICE}'}}" in told["advice"]["command"]


MOVED = ending(moved_at=at(100), moved_to="exchange-online")


def failed(world):
    world.workmail.disabled.add(BOB)


def rejected(world):
    world.workmail.names.pop("bob")


def already_locked(world):
    told_by(world, "Device Stolen", 0)


def already_denied(world):
    world.workmail.overrides[KEY] = Override("DENY", "by hand")


@pytest.mark.parametrize(
    ("prepare", "result", "mailbox"),
    [
        (failed, "failed", "bob@example.com"),
        (rejected, "rejected", "unknown"),
        (already_locked, "already-locked", "bob@example.com"),
        (already_denied, "already-denied", "bob@example.com"),
    ],
)
def test_a_lock_that_is_none_here_or_stood_before_says_where_the_device_is_to_be_locked(prepare, result, mailbox):
    world = World(known=MOVED)
    prepare(world)
    told = told_by(world, "Device Lost", 100)
    assert (told["result"], told["page"], told["severity"]) == (result, True, "act now")
    assert "in exchange-online" in told["message"]
    assert f"(mailbox {mailbox}, device {DEVICE})" in told["message"]
    do = "a lock belongs in exchange-online" if result == "rejected" else "lock it in exchange-online, too"
    assert f"{do} (mailbox {mailbox}, device {DEVICE})" in told["message"]
    line = f"Set-CASMailbox -Identity '{mailbox}' -ActiveSyncBlockedDeviceIDs @{{Add='{DEVICE}'}}"
    assert (told["advice"]["command"] == line) == (result != "rejected")


def test_a_rejected_lock_says_its_reason_and_then_where_it_belongs_by_the_address_that_it_names():
    world = World(known=MOVED)
    told = told_by(world, "Device Lost", 100, {"userId": "carl@example.com", "deviceId": DEVICE})
    belongs = f"a lock belongs in exchange-online (mailbox carl@example.com, device {DEVICE})"
    assert f": WorkMail knows no user carl@example.com; {belongs}. (" in told["message"]


def test_a_report_that_changes_nothing_asks_for_nothing_there():
    world = World(known=MOVED)
    told_by(world, "Device Stolen", 50)
    told = told_by(world, "Device Recovered", 40)
    assert (told["result"], told["page"], told["until"]) == ("superseded", False, "hold")
    late = event("Device Recovered", 45)
    (command,) = report.read(late, "m", at(101), world.settings)
    world.deliver(command, at(101))
    told = world.bus.announced[-1][1]
    assert (told["result"], told["page"], told["until"]) == ("superseded", False, "hold")


def test_a_lock_whose_tag_was_behind_is_to_be_set_there_too():
    world = World(known=ending(moved_at=at(100), moved_to="Zoho"))
    told_by(world, "Device Lost", 0)
    (claim,) = world.ledger.devices[KEY].claims
    world.ledger.devices[KEY] = world.ledger.devices[KEY].with_claim(replace(claim, id="dddddddd", until=HOLD))
    world.sweep(at(3600))
    (told,) = (detail for _, detail in world.bus.announced if detail.get("result") == "renewed")
    assert told["page"] is True
    assert f"lock it in Zoho, too (mailbox bob@example.com, device {DEVICE})" in told["message"]


@pytest.mark.parametrize("detail", [{"userId": "bob"}, {"serialNumber": "C02"}])
def test_a_lock_without_a_known_device_says_that_every_device_is_to_be_locked_there(detail):
    world = World(known=MOVED)
    told = told_by(world, "User Compromised" if "userId" in detail else "Device Lost", 100, detail)
    which = "bob@example.com, every device" if "userId" in detail else "unknown, every device with serial C02"
    assert (told["result"], told["devices"], told["page"]) == ("locked", 0, True)
    assert f"lock it in exchange-online, too (mailbox {which})" in told["message"]
    assert told["advice"]["command"].startswith("lock it in exchange-online")


def test_a_users_lock_with_known_devices_leaves_it_to_each_of_them():
    world = World(known=MOVED)
    told_by(world, "Device Lost", 0)
    told_by(world, "User Compromised", 100, {"userId": "bob"})
    (told,) = (detail for _, detail in world.bus.announced if detail["devices"] == 1)
    assert told["page"] is False
    assert world.bus.announced[-1][1]["page"] is True


def test_a_release_lets_nobody_in_there_while_an_override_of_somebody_else_denies_it():
    world = World(known=MOVED)
    told_by(world, "Device Lost", 0)
    world.workmail.overrides[KEY] = Override("DENY", "by hand")
    assert "let it in" not in told_by(world, "Device Recovered", 200)["message"]


def test_a_report_after_the_end_of_workmail_is_rejected_at_once():
    settings = ending(ends_at=at(100), moved_to="Zoho")
    for seconds, rejected in ((99, False), (100, True)):
        (command,) = report.read(event("Device Lost", seconds), "m", at(seconds), settings)
        assert isinstance(command, Reject) == rejected
    assert command.because == "WorkMail of main ended at 2026-11-22T07:31:40.000Z: lock it in Zoho"
    told = told_by(World(known=settings), "Device Lost", 100)
    assert (told["result"], told["page"]) == ("rejected", True)
    assert command.because in told["message"]


def test_a_command_that_waited_until_the_end_of_workmail_is_rejected_and_pages():
    world = World(known=ending(ends_at=at(100), moved_to="Zoho"))
    (command,) = report.read(event("Device Lost", 99), "m", at(99), world.settings)
    world.deliver(command, at(100))
    told = world.bus.announced[-1][1]
    assert not world.workmail.overrides
    assert (told["result"], told["page"], told["severity"]) == ("rejected", True, "act now")
    assert "WorkMail of main ended at 2026-11-22T07:31:40.000Z: lock it in Zoho" in told["message"]
