"""`make demo`: a local AWS, and on it, with real events, devices that are locked, released, and let go in time.

Everything shown is checked; the exit status is 0 only if every check passed.
"""

import argparse
import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from local.connection import Connection
from local.deploy import DeploymentError
from local.deployment import REFUSED, Announcements, Deployment, Report, rfc3339
from local.lifecycle import STATE, ServerError
from local.readiness import NotReadyError
from local.up import SynthesisError, alone, stack_name, up

type Json = dict[str, Any]

PATIENCE = 45.0
"""Seconds within which the chain answers a report, a second delivery included: the local queue waits 35 for that."""

SHORT_LIFE = timedelta(seconds=10)
NEXT_SWEEPS = 140.0
"""Seconds: the local sweep runs each minute; where none ran for a while (a laptop slept), the first only reports."""

BY_HAND = (
    ("ana", "DESK", "ALLOW", "CHG-77  approved by Zoë Müller, 受付"),
    ("dave", "LEGAL", "DENY", "legal hold 2026-17, ask Jana before you change this"),
    ("eve", "TABLET", "ALLOW", "lockout/1 is not what this is, it is my tablet"),
)
"""Overrides that people make: the first is covered by a lock and comes back, the others nobody may touch."""


class NotSeenError(Exception):
    """What was waited for did not come; `reasons` are lines about why, as far as logs and announcements tell."""

    def __init__(self, what: str, reasons: list[str]) -> None:
        super().__init__(what)
        self.reasons = reasons


class Demonstration:
    """One showing, on devices of its own; it counts what it checks."""

    def __init__(self, there: Deployment) -> None:
        self.there = there
        self.began = datetime.now(UTC)
        self.run = secrets.token_hex(3).upper()
        self.announcements = Announcements(there, f"demonstration-{self.run}")
        self.locked: list[tuple[str, str]] = []
        self.checks = 0
        self.failures = 0

    def show(self) -> bool:
        """Show everything, remove what was made for it, and answer whether all was as expected."""
        before: dict[str, Json] = {}
        after: dict[str, Json] = {}
        try:
            self.make_overrides_by_hand()
            before = self.standing()
            self.story()
        except NotSeenError as not_seen:
            self.fail(f"expected, and not seen: {not_seen}")
            for reason in not_seen.reasons:
                tell(f"       {reason}")
            tell("       The rest of the demonstration is left out.")
        finally:
            after = self.standing()
            self.clean_up()
        self.compare(before, after)
        return self.failures == 0

    # --- the story ------------------------------------------------------------------------------------------------

    def story(self) -> None:
        """Everything that is shown, the short lock first: the sweep ends it while the others are on."""
        untouched = {device: self.there.override(user, self.device(device)) for user, device, *_ in BY_HAND[1:]}
        short_lived = self.a_lock_with_a_short_life()
        lost = self.a_lost_device()
        self.the_same_report_again(lost)
        self.an_allowed_device_is_stolen_and_found()
        self.a_malformed_report()
        self.the_sweep_lets_go(short_lived)
        title("What people made by hand")
        for user, device, effect, _ in BY_HAND[1:]:
            what = f"{user}'s {effect} on {self.device(device)} is as it was, its dates included"
            self.check(what, untouched[device], self.there.override(user, self.device(device)), show=False)

    def a_lock_with_a_short_life(self) -> Report:
        expires = rfc3339(datetime.now(UTC) + SHORT_LIFE)
        title(f"A lock with a short life, until {expires}: more of it below")
        return self.lock("Device Lost", "carla", "WATCH", expiresAt=expires, reference="INC-1")

    def a_lost_device(self) -> Report:
        title("bob's phone is reported as lost")
        report = self.lock("Device Lost", "bob", "PHONE", reference="INC-2", note="left in a taxi")
        description = (self.there.override("bob", self.device("PHONE")) or {})["Description"]
        tag = re.match(r"\[lockout/1 by=(\S+) why=(\S+) until=(\S+) at=\S+ id=[0-9a-f]{8} was=(\S+)\] ", description)
        owner, why, until, was = tag.groups() if tag else (None, None, None, None)
        self.check("its tag says whose it is, and why", "local lost", f"{owner} {why}")
        self.check("its tag says what stood there before", "none", was)
        lasts = datetime.fromisoformat(until or rfc3339()) - datetime.fromisoformat(report.detail["reportedAt"])
        self.check("it lasts as long as this reason's locks do, in days", 30, lasts.days)
        return report

    def the_same_report_again(self, report: Report) -> None:
        user, device = report.detail["userId"], report.detail["deviceId"]
        title("The same report comes again")
        stood = self.there.override(user, device)
        self.there.deliver_again(report)
        self.wait("the router has seen both copies", lambda: self.there.routed(self.began)[report.event_id] > 1)
        earlier = rfc3339(datetime.fromisoformat(report.detail["reportedAt"]) - timedelta(seconds=5))
        began = time.monotonic()
        again = self.there.publish("Device Lost", "mdm", userId=user, deviceId=device, reportedAt=earlier)
        outcome = self.outcome(again)
        self.check("the MDM reports the same loss, too", "already-locked", outcome["result"], began)
        self.check("the first event, delivered twice: outcomes recorded", 1, len(self.there.outcomes(report.event_id)))
        self.check("writes to WorkMail after these three reports", 1, len(self.there.writes(device)))
        stands = self.there.override(user, device)
        self.check("the override is as it was, its dates included", stood, stands, show=False)

    def an_allowed_device_is_stolen_and_found(self) -> None:
        title("ana's computer, allowed by an administrator, is reported as stolen, and found again")
        device = self.device("DESK")
        allowed = self.there.override("ana", device) or {}
        self.lock("Device Stolen", "ana", "DESK", reference="INC-3")
        denied = self.there.override("ana", device) or {}
        self.check("its tag says what stood there before", True, " was=allow] " in denied["Description"], show=False)
        began = time.monotonic()
        found = self.there.publish("Device Recovered", userId="ana", deviceId=device, reference="INC-3")
        self.wait("the ALLOW comes back", lambda: (self.there.override("ana", device) or {})["Effect"] == "ALLOW")
        back = self.there.override("ana", device) or {}
        self.check("the ALLOW is back", "ALLOW", back["Effect"], began)
        same = back["Description"].encode() == allowed["Description"].encode()
        self.check(f"its description is the same to the byte: {back['Description']}", True, same, show=False)
        self.check("announced", "released", self.outcome(found)["result"])

    def a_malformed_report(self) -> None:
        title("A report with four mistakes")
        device = f"{self.run}-PHONE"
        began = time.monotonic()
        report = self.there.publish("Device Lost", userID="eve", deviceId=device, expiresAt="Friday", reference="INC-4")
        outcome = self.outcome(report)
        self.check("announced", "rejected", outcome["result"], began)
        for fault in outcome["message"].rstrip(".").split("; "):
            tell(f"       {fault}")
        missed = [field for field in ("userID", "userId", "deviceId", "expiresAt") if field not in outcome["message"]]
        self.check("mistakes that the message does not name", 0, len(missed))
        self.check("somebody is paged", "yes", "yes" if outcome["page"] else "no")
        self.check("calls to WorkMail about it", 0, len(self.there.calls(device=device)))

    def the_sweep_lets_go(self, report: Report) -> None:
        user, device, expires = (report.detail[name] for name in ("userId", "deviceId", "expiresAt"))
        title(f"The lock with the short life, over at {expires}")
        tell("       … waiting for the scheduled sweep, which runs each minute")
        self.wait("the sweep removes it", lambda: self.there.override(user, device) is None, NEXT_SWEEPS)
        late = (datetime.now(UTC) - datetime.fromisoformat(expires)).total_seconds()
        stands = self.there.override(user, device)
        self.check(f"what stands for {device}, {late:.1f} s after the end of its lock", "nothing", stands or "nothing")
        expired = self.wait("its end is announced", lambda: self.heard(deviceId=device.lower(), result="expired"))
        self.check("announced", "Lockout Expired", expired["detail-type"])
        run = expired["detail"]["eventId"]
        sweep = self.wait("the sweep behind it is announced", lambda: self.heard(eventId=run))
        self.check("by what a run of the schedule planned", "Sweep Completed", sweep["detail-type"])
        tell(f"       {sweep['detail']['message']}")

    # --- the pieces that it is told with --------------------------------------------------------------------------

    def device(self, name: str) -> str:
        """A device ID of this showing."""
        return f"DEMO{self.run}{name}"

    def make_overrides_by_hand(self) -> None:
        """Put what an administrator has put into WorkMail before any of this."""
        for user, name, effect, description in BY_HAND:
            self.there.workmail.put_mobile_device_access_override(
                OrganizationId=self.there.organization,
                UserId=user,
                DeviceId=self.device(name),
                Effect=effect,
                Description=description,
            )

    def lock(self, detail_type: str, user: str, name: str, **detail: str) -> Report:
        """Report a device, wait until it is denied, and check how that was announced."""
        device = self.device(name)
        began = time.monotonic()
        report = self.there.publish(detail_type, userId=user, deviceId=device, **detail)
        self.locked.append((user, device))
        stands = self.wait(f"{device} is denied", lambda: self.denied(user, device))
        self.check(f"{user}'s {device}", "DENY", stands["Effect"], began)
        tell(f"       {stands['Description']}")
        self.check("announced", "locked", self.outcome(report)["result"])
        return report

    def denied(self, user: str, device: str) -> Json | None:
        """The override of a device if it is a DENY."""
        stands = self.there.override(user, device)
        return stands if stands and stands["Effect"] == "DENY" else None

    def outcome(self, report: Report) -> Json:
        """How a report ended, as announced on the bus."""
        heard = self.wait(
            f"the outcome of report {report.event_id} is announced", lambda: self.heard(eventId=report.event_id)
        )
        detail: Json = heard["detail"]
        return detail

    def heard(self, **members: str) -> Json | None:
        """The first announcement with these members in its detail."""
        return next((event for event in self.announcements.heard() if members.items() <= event["detail"].items()), None)

    def wait[T](self, what: str, look: Callable[[], T | None], patience: float = PATIENCE) -> T:
        """What `look` finds; NotSeenError if that is nothing for `patience` seconds, or if IAM stands in the way."""
        began = asked = time.monotonic()
        while not (found := look()):
            now = time.monotonic()
            if now - began > patience:
                raise NotSeenError(f"{what} within {patience:.0f} s", self.reasons())
            if now - asked > 3:
                asked = now
                reasons = self.reasons()
                if any(reason.startswith(REFUSED) for reason in reasons):
                    raise NotSeenError(what, reasons)
            time.sleep(0.02)
        return found

    def reasons(self) -> list[str]:
        """What the logs, the queues and the announcements say about what goes wrong."""
        return self.there.troubles(self.began) + [
            f"{event['detail-type']}: {event['detail']['message']}"
            for event in self.announcements.heard()
            if event["detail-type"] in ("Sweep Refused", "Lockout Failed", "Lockout Rejected")
        ]

    def check(self, what: str, expected: object, found: object, began: float | None = None, show: bool = True) -> None:
        """Say what was found, how long after `began`; a failed check is said and counted, and the story goes on."""
        took = "" if began is None else f"  ({time.monotonic() - began:.2f} s)"
        if expected != found:
            self.fail(f"{what}: expected {expected}, found {found}")
            return
        self.checks += 1
        tell(f"  {colour('ok', 32)}   {what}{f': {found}' * show}{took}")

    def fail(self, what: str) -> None:
        self.checks += 1
        self.failures += 1
        tell(f"  {colour('FAILED', 31)}   {what}")

    def standing(self) -> dict[str, Json]:
        """What stands for this showing's devices, by device."""
        listed = {override["DeviceId"].upper(): override for override in self.there.overrides()}
        return {device: override for device, override in listed.items() if device.startswith(self.device(""))}

    def compare(self, before: dict[str, Json], after: dict[str, Json]) -> None:
        """The closing table: each device's override before and after."""
        title("Overrides before and after; what was made for this is removed again")
        by_hand = {(user, self.device(name)) for user, name, *_ in BY_HAND}
        for user, device in sorted(by_hand | set(self.locked)):
            for label, when, standing in ((f"{user:<6} {device}", "before", before), ("", "after", after)):
                row = standing.get(device)
                said = f"{row['Effect']:<5} {row.get('Description', '')}" if row else "nothing"
                tell(f"  {label:<26} {when:<6}  {said}")

    def clean_up(self) -> None:
        """Release what is locked, delete what was made by hand, stop listening."""
        for user, device in self.locked:
            self.there.publish("Device Recovered", userId=user, deviceId=device, reference="end of demonstration")
        deadline = time.monotonic() + (0 if self.failures else PATIENCE)
        while time.monotonic() < deadline and any(self.denied(user, device) for user, device in self.locked):
            time.sleep(0.05)
        for user, name, *_ in BY_HAND:
            self.there.workmail.delete_mobile_device_access_override(
                OrganizationId=self.there.organization, UserId=user, DeviceId=self.device(name)
            )
        self.announcements.close()


def title(text: str) -> None:
    tell(f"\n{colour(text, 1)}")


def tell(text: str) -> None:
    print(text, flush=True)


def colour(text: str, number: int) -> str:
    """The text in a terminal's colour, where the output is a terminal that wants colours (https://no-color.org)."""
    return f"\033[{number}m{text}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def main() -> None:
    """Bring everything up, show it, and exit with 0 if all of it was as expected."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal can show every description
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--state", type=Path, default=STATE, help="directory of the local AWS (default: %(default)s)")
    state: Path = parser.parse_args().state.resolve()
    began = time.monotonic()
    try:
        with alone(state):
            up(state)
    except (ServerError, SynthesisError, DeploymentError, NotReadyError) as error:
        sys.exit(f"make demo: {error}")
    demonstration = Demonstration(Deployment.find(Connection.read(state / "env"), stack_name(state)))
    try:
        succeeded = demonstration.show()
    except KeyboardInterrupt:
        sys.exit("make demo: interrupted")
    took = time.monotonic() - began
    if succeeded:
        tell(f"\n{demonstration.checks} checks, all as expected, in {took:.0f} s.")
    else:
        sys.exit(f"\n{demonstration.failures} of {demonstration.checks} checks failed, in {took:.0f} s.")


if __name__ == "__main__":
    main()
