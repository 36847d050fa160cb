"""The writer killed in the middle of its steps, with `kill -9`: what it had begun is finished by another, once.

It is killed while one of its calls is held: each before it was passed on; each that changes something also when that
is done and only the answer is missing; and WorkMail's write also so that it is done when the writer is dead already.
That is every place between two of its steps.
"""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from secrets import token_hex
from typing import Any

from local.deployment import Announcements, Deployment, Report
from local.workmail.seeding import user_id_of
from tests.local.end_to_end.watching import denied, new_device, new_users, recorded, seen
from tests.local.observing import processes
from tests.measured import MEASURED

type Json = dict[str, Any]

ALLOWED = {"Effect": "ALLOW", "Description": "approved – by hand,  twice"}
LOST, RECOVERED = "Device Lost", "Device Recovered"
AT_ONCE = 6
"""So many crashes together at first, each on a device of its own: more would not all be held within the second for
which the writer waits for WorkMail. What was missed is tried again in smaller parts, at last one by one."""
TRIES = 30


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the writer makes for one device: the `nth` of its `target` with that text in its body."""

    target: str
    body: str = "{device}"
    nth: int = 0
    changes: bool = True


def calls(kind: str, write: str) -> list[Call]:
    """All calls that the writer makes for a report, in order."""
    return [
        Call("WorkMailService.DescribeUser", "{user}", changes=False),
        *([Call("DynamoDB_20120810.UpdateItem", "name#{user}")] if kind == LOST else []),
        Call("DynamoDB_20120810.UpdateItem"),  # the device's item, made if it is missing
        Call("WorkMailService.GetMobileDeviceAccessOverride", changes=False),
        Call("DynamoDB_20120810.GetItem", "{user_id}", changes=False),
        Call("DynamoDB_20120810.UpdateItem", nth=1),  # what was decided
        Call(f"WorkMailService.{write}MobileDeviceAccessOverride"),
        Call("DynamoDB_20120810.PutItem"),  # the outcome
        Call("AWSEvents.PutEvents"),
    ]


@dataclass(frozen=True, slots=True)
class Crash:
    """What is reported over what stands, and at which call, with which effect, the writer is held and killed."""

    kind: str
    over: Json | None
    call: Call
    effect: str


def crashes() -> Iterator[Crash]:
    """Every place to be killed at, for a lock over an ALLOW and its release; without one where the writes differ."""
    for kind in (LOST, RECOVERED):
        for over in (ALLOWED, None):
            write = "Put" if over or kind == LOST else "Delete"
            for call in calls(kind, write):
                writes = write in call.target
                if over or writes:
                    effects = ["not_applied", *(["applied"] if call.changes else []), *(["late"] if writes else [])]
                    yield from (Crash(kind, over, call, effect) for effect in effects)


@dataclass(frozen=True, slots=True)
class Try:
    """One try to kill the writer at a place, on a device and a user of its own; `before` is what was reported first."""

    crash: Crash
    user: str
    device: str
    before: Report | None = None

    def hold(self, role: str) -> Json:
        """The fault that holds the writer there, once."""
        call = self.crash.call
        body = call.body.format(device=self.device, user=self.user, user_id=user_id_of(self.user))
        which = {"target": call.target, "principal": f":assumed-role/{role}/", "body": body, "skip": call.nth}
        return {"kind": "hold", **which, "effect": self.crash.effect, "count": 1}


def test_a_killed_writer_leaves_nothing_half_done(deployment: Deployment, state: Path) -> None:
    there = deployment
    announcements = Announcements(there, f"crashes-{token_hex(4)}")
    wanted = list(crashes())
    missing = wanted
    all_reports: dict[str, Report] = {}
    tried: list[Try] = []
    for again in range(TRIES):
        tries = prepared(there, announcements, missing)
        tried += tries
        missing = []
        for together in batched(tries, max(1, AT_ONCE - again), strict=False):
            reports, missed = kill_while_held(there, state, together)
            all_reports |= reports
            missing += [each.crash for each in missed]
        if not missing:
            break
    MEASURED.append(f"writers killed at a call: {len(wanted) - len(missing)} of {len(wanted)}, in {len(tried)} tries")
    assert missing == []

    reports = [*all_reports.values(), *(each.before for each in tried if each.before)]
    recorded(there, reports)
    locked = [each for each in tried if each.crash.kind == LOST]
    for each in locked:
        assert denied(there, each.user, each.device).was == ("allow" if each.crash.over else "none")
    released = [there.publish(RECOVERED, userId=each.user, deviceId=each.device) for each in locked]
    recorded(there, released)
    for each in tried:
        stands = there.override(each.user, each.device)
        assert (stands and {name: stands[name] for name in ALLOWED}) == each.crash.over, each
    seen(there, "all is worked off", there.is_idle)

    heard = announcements.heard()
    announcements.close()
    for report in (*reports, *released):
        (outcome,) = there.outcomes(report.event_id)
        assert outcome["detail"]["result"] == ("locked" if report.detail_type == LOST else "released")
        announced = [event["detail"] for event in heard if event["detail"].get("eventId") == report.event_id]
        assert announced
        assert all(detail == announced[0] for detail in announced)
        assert announced[0]["id"] == outcome["detail"]["id"]
        assert announced[0]["result"] == outcome["detail"]["result"]
    assert there.dead_letters() == {}


def prepared(there: Deployment, announcements: Announcements, crashes: list[Crash]) -> list[Try]:
    """A device for each, with what stands there before; what is to be released was reported, and that is over."""
    tries = []
    for crash, user in zip(crashes, new_users(there, len(crashes)), strict=True):
        device = new_device()
        if crash.over is not None:
            there.workmail.put_mobile_device_access_override(
                OrganizationId=there.organization, UserId=user, DeviceId=device, **crash.over
            )
        before = there.publish(LOST, userId=user, deviceId=device) if crash.kind == RECOVERED else None
        tries.append(Try(crash, user, device, before))
    wanted = {each.before.event_id for each in tries if each.before}
    seen(there, "locks", lambda: wanted <= {event["detail"].get("eventId") for event in announcements.heard()})
    return tries


def kill_while_held(there: Deployment, state: Path, tries: tuple[Try, ...]) -> tuple[Mapping[str, Report], list[Try]]:
    """Report all devices and kill the writers when each is held; the reports, and the tries whose kill did not hit.

    The processes are stopped before the last look at who is held, so that none goes on between it and its death.
    The writer gives up on a call after a while, a second for WorkMail; then that try is not held any more, and missed.
    """
    function = there.functions.get_function_configuration(FunctionName=there.outputs["ApplyCommandsFunctionName"])
    role = function["Role"].rpartition("/")[2]
    there.control("PUT", "settings", {"faults": {each.device: each.hold(role) for each in tries}})
    reports = {each.device: there.publish(each.crash.kind, userId=each.user, deviceId=each.device) for each in tries}

    def all_are_held_or_one_gave_up() -> set[str] | None:
        faults = there.control("GET", "settings")["faults"]
        were = {each.device for each in tries if faults[each.device]["count"] == 0}
        now = held(there)
        return were if were - now or len(now) == len(tries) else None

    were = seen(there, f"writers are held at {tries}", all_are_held_or_one_gave_up, every=0.02)
    writers = [number for number, line in processes() if str(state) in line and "ApplyCommands" in line]
    signalled(writers, signal.SIGSTOP)
    hit = held(there) & were
    signalled(writers, signal.SIGKILL)
    seen(there, "their calls are over", lambda: not hit & held(there), every=0.02)
    there.control("PUT", "settings", {"faults": {each.device: None for each in tries}})
    return reports, [each for each in tries if each.device not in hit]


def held(there: Deployment) -> set[str]:
    """The devices with a call that is held now."""
    return set(json.loads(there.aws.control("GET", "/_local/held")[1]))


def signalled(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)
