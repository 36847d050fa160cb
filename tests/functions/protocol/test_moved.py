"""An organization that moved elsewhere, or whose WorkMail ends."""

import json
from dataclasses import replace

import pytest

from device_lockout.inbound import report
from device_lockout.values import instant
from device_lockout.values.command import Reject
from local.in_memory import DAY, DEVICE, SETTINGS, World, at


def ending(**fields):
    (main,) = SETTINGS.organizations
    return replace(SETTINGS, organizations=(replace(main, **fields),))


def event(kind, seconds, source="helpdesk"):
    detail = {"userId": "bob", "deviceId": DEVICE, "reportedAt": instant.write(at(seconds))}
    return json.dumps({"id": f"{kind} {seconds}", "source": source, "detail-type": kind, "detail": detail})


def told_by(world, kind, seconds):
    (command,) = report.read(event(kind, seconds), "m", at(seconds), world.settings)
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


def test_a_report_after_the_end_of_workmail_is_rejected_at_once():
    settings = ending(ends_at=at(100), moved_to="Zoho")
    for seconds, rejected in ((99, False), (100, True)):
        (command,) = report.read(event("Device Lost", seconds), "m", at(seconds), settings)
        assert isinstance(command, Reject) == rejected
    assert command.because == "WorkMail of main ended at 2026-11-22T07:31:40.000Z: lock it in Zoho"
