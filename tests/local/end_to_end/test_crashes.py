"""The writer killed in the middle of its steps, with `kill -9`: what it had begun is finished by another, once."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from local.deployment import Announcements, Deployment, Report
from tests.local.end_to_end.watching import MEASURED, STARTED, denied, new_device, new_users, seen
from tests.local.observing import processes

type Json = dict[str, Any]

ALLOWED = {"Effect": "ALLOW", "Description": "approved – by hand,  twice"}


@dataclass(frozen=True, slots=True)
class Crash:
    """Where the writer is held and killed: a call of WorkMail that does not answer, and what it does nevertheless."""

    kind: str
    operation: str
    effect: str
    over: Json | None = None

    @property
    def fault(self) -> Json:
        late = {"after_seconds": 3} if self.effect == "late" else {}
        return {"kind": "no_answer", "operations": [self.operation], "effect": self.effect, "count": 1, **late}


PUT, DELETE = "PutMobileDeviceAccessOverride", "DeleteMobileDeviceAccessOverride"
HELD = (
    Crash("Device Lost", "DescribeUser", "not_applied"),  # before anything
    Crash("Device Lost", "GetMobileDeviceAccessOverride", "not_applied"),  # the ledger has an item, nothing in it
    Crash("Device Lost", PUT, "not_applied"),  # decided and recorded, not done
    Crash("Device Lost", PUT, "applied"),  # done, not announced
    Crash("Device Lost", PUT, "late"),  # its last call still on the way when it is dead
    Crash("Device Lost", PUT, "applied", over=ALLOWED),
    Crash("Device Recovered", DELETE, "applied"),
    Crash("Device Recovered", PUT, "applied", over=ALLOWED),
)
ANSWERED = 4
"""Kills just after WorkMail's answer: before the outcome is recorded, before it is announced, or before SQS knows."""


def test_a_killed_writer_leaves_nothing_half_done(deployment: Deployment, state: Path) -> None:
    there = deployment
    announcements = Announcements(there, f"crashes-{token_hex(4)}")
    cases = [(crash, user, new_device()) for crash, user in zip(HELD, new_users(there, len(HELD)), strict=True)]
    for crash, user, device in cases:
        if crash.over is not None:
            put(there, user, device, crash.over)
        if crash.kind == "Device Recovered":
            there.publish("Device Lost", userId=user, deviceId=device)
    for crash, user, device in cases:
        if crash.kind == "Device Recovered":
            denied(there, user, device)

    reports = [crash_while_held(there, state, crash, user, device) for crash, user, device in cases]
    (user,) = new_users(there, 1)
    reports += [crash_once_answered(there, state, user) for _ in range(ANSWERED)]
    seen(there, "all is worked off", there.is_idle, seconds=180)

    for crash, user, device in cases:
        if crash.kind == "Device Lost":
            assert denied(there, user, device).was == ("allow" if crash.over else "none")
        else:
            stands = there.override(user, device)
            assert (stands and {name: stands[name] for name in ALLOWED}) == crash.over
    heard = announcements.heard()
    announcements.close()
    for report in reports:
        (outcome,) = there.outcomes(report.event_id)
        announced = [event["detail"] for event in heard if event["detail"].get("eventId") == report.event_id]
        assert announced
        assert all(detail == announced[0] for detail in announced)
        assert announced[0]["result"] == outcome["detail"]["result"]
        assert outcome["detail"]["result"] == ("locked" if report.detail_type == "Device Lost" else "released")
    assert there.dead_letters() == {}
    # Held for a second only: on a machine that is too slow, one may have gone on before it was killed.
    said = "\n".join(line for line in there.log("apply_commands", STARTED) if "Read timeout" in line)
    in_time = [crash for crash, user, device in cases if user not in said and device not in said]
    MEASURED.append(f"writers killed while held at a call: {len(in_time)} of {len(cases)}")
    assert len(in_time) > len(cases) / 2


def put(there: Deployment, user: str, device: str, override: Json) -> None:
    there.workmail.put_mobile_device_access_override(
        OrganizationId=there.organization, UserId=user, DeviceId=device, **override
    )


def crash_while_held(there: Deployment, state: Path, crash: Crash, user: str, device: str) -> Report:
    """Kill the writer while it waits for an answer that does not come."""
    name, since = f"hold {device}", next_call(there)
    there.control("PUT", "settings", {"faults": {name: {**crash.fault, "user": user}}})
    report = there.publish(crash.kind, userId=user, deviceId=device)
    seen(there, f"the writer is held at {crash}", lambda: hit(there, since, crash.operation, name), every=0.02)
    assert kill_writers(state)
    there.control("PUT", "settings", {"faults": {name: None}})
    return report


def crash_once_answered(there: Deployment, state: Path, user: str) -> Report:
    """Kill the writer as soon as its Put is done."""
    device, since = new_device(), next_call(there)
    report = there.publish("Device Lost", userId=user, deviceId=device)
    seen(there, f"{device} is put", lambda: there.calls(since=since, operation=PUT, device=device), every=0)
    kill_writers(state)
    return report


def next_call(there: Deployment) -> str:
    """The number that the next call of WorkMail gets."""
    return str(max((call["index"] for call in there.calls()), default=-1) + 1)


def hit(there: Deployment, since: str, operation: str, fault: str) -> bool:
    return any(fault in call.get("faults", ()) for call in there.calls(since=since, operation=operation))


def kill_writers(state: Path) -> int:
    """Kill every process of the writer, and count them."""
    killed = 0
    for number, command in processes():
        if str(state) in command and "ApplyCommands" in command:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
                killed += 1
    return killed
