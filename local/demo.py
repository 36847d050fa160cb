"""`make demo`: start a local AWS and show on it how devices are locked, released and expired by real events.

Everything that is shown is checked. The exit status is 0 only if every check passed.
"""

import argparse
import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from local.connection import Connection
from local.deploy import DeploymentError
from local.deployment import REFUSED, Announcements, Deployment, Report, pause, rfc3339
from local.lifecycle import STATE, ServerError
from local.readiness import NotReadyError
from local.up import SynthesisError, one_at_a_time, stack_name, up

type Json = dict[str, Any]

TIMEOUT = 180.0
"""Seconds for the answer to a report. A slow or busy machine may need several deliveries, one each 35 seconds."""

SWEEP_TIMEOUT = 300.0
"""Seconds for two sweeps, of which one runs each minute. After a long pause the first one only reports."""

SHORT_LIFE = timedelta(seconds=10)

BY_HAND = (
    ("ana", "DESK", "ALLOW", "CHG-77  approved by Zoë Müller, 受付"),
    ("dave", "LEGAL", "DENY", "legal hold 2026-17, ask Jana before you change this"),
    ("eve", "TABLET", "ALLOW", "lockout/1 is not what this is, it is my tablet"),
)
"""Overrides that people make. A lock replaces the first for a while; the others must never change."""


class NotSeenError(Exception):
    """Something did not happen in time. `reasons` are lines about why, from logs and announcements."""

    def __init__(self, what: str, reasons: list[str]) -> None:
        super().__init__(what)
        self.reasons = reasons


class Demo:
    """One run of the demo, on devices of its own. It counts its checks."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.began = datetime.now(UTC)
        self.run = secrets.token_hex(3).upper()
        self.announcements = Announcements(deployment, f"demo-{self.run}")
        self.locked: list[tuple[str, str]] = []
        self.checks = 0
        self.failures = 0

    def show(self) -> bool:
        """Show everything, remove what the demo made, and return whether every check passed."""
        before: dict[str, Json] = {}
        after: dict[str, Json] = {}
        try:
            self.make_overrides_by_hand()
            before = self.current_overrides()
            self.show_sections()
        except NotSeenError as not_seen:
            self.fail(f"did not happen: {not_seen}")
            for reason in not_seen.reasons:
                tell(f"       {reason}")
            tell("       The rest of the demo is skipped.")
        finally:
            after = self.current_overrides()
            self.clean_up()
        self.compare(before, after)
        return self.failures == 0

    # --- the sections ---------------------------------------------------------------------------------------------

    def show_sections(self) -> None:
        """Show each section. The short lock comes first, because it must end before the last ones."""
        untouched = {device: self.deployment.override(user, self.device(device)) for user, device, *_ in BY_HAND[1:]}
        short_lock = self.short_lock()
        lost = self.lost_device()
        self.repeated_report(lost)
        self.allowed_device_stolen_and_found()
        self.malformed_report()
        self.expiry(short_lock)
        title("Overrides that people made by hand")
        for user, device, effect, _ in BY_HAND[1:]:
            what = f"{user}'s {effect} on {self.device(device)} is unchanged, dates included"
            self.check(what, untouched[device], self.deployment.override(user, self.device(device)), show=False)

    def short_lock(self) -> Report:
        expires = rfc3339(datetime.now(UTC) + SHORT_LIFE)
        title(f"carla's watch is locked for a short time, until {expires}")
        return self.lock("Device Lost", "carla", "WATCH", expiresAt=expires, reference="INC-1")

    def lost_device(self) -> Report:
        title("bob's phone is reported lost")
        report = self.lock("Device Lost", "bob", "PHONE", reference="INC-2", note="left in a taxi")
        description = (self.deployment.override("bob", self.device("PHONE")) or {})["Description"]
        tag = re.match(r"\[lockout/1 by=(\S+) why=(\S+) until=(\S+) at=\S+ id=[0-9a-f]{8} was=(\S+)\] ", description)
        owner, why, until, was = tag.groups() if tag else (None, None, None, None)
        self.check("the tag's owner and reason", "local lost", f"{owner} {why}")
        self.check("the tag's override before the lock", "none", was)
        lasts = datetime.fromisoformat(until or rfc3339()) - datetime.fromisoformat(report.detail["reportedAt"])
        self.check("the lock's length in days", 30, lasts.days)
        return report

    def repeated_report(self, report: Report) -> None:
        user, device = report.detail["userId"], report.detail["deviceId"]
        title("The same loss is reported again")
        before = self.deployment.override(user, device)
        self.deployment.deliver_again(report)
        self.wait("the router has seen both copies", lambda: self.deployment.routed(self.began)[report.event_id] > 1)
        earlier = rfc3339(datetime.fromisoformat(report.detail["reportedAt"]) - timedelta(seconds=5))
        began = time.monotonic()
        again = self.deployment.publish("Device Lost", "mdm", userId=user, deviceId=device, reportedAt=earlier)
        outcome = self.outcome(again)
        self.check("the outcome of the MDM's report", "already-locked", outcome["result"], began)
        self.check("outcomes of the event that came twice", 1, len(self.deployment.outcomes(report.event_id)))
        self.check("writes to WorkMail after all three", 1, len(self.deployment.writes(device)))
        after = self.deployment.override(user, device)
        self.check("the override is unchanged, dates included", before, after, show=False)

    def allowed_device_stolen_and_found(self) -> None:
        title("ana's computer, allowed by an administrator, is reported stolen and then found")
        device = self.device("DESK")
        allowed = self.deployment.override("ana", device) or {}
        self.lock("Device Stolen", "ana", "DESK", reference="INC-3")
        denied = self.deployment.override("ana", device) or {}
        self.check("the tag remembers the ALLOW", True, " was=allow] " in denied["Description"], show=False)
        began = time.monotonic()
        found = self.deployment.publish("Device Recovered", userId="ana", deviceId=device, reference="INC-3")
        self.wait("the ALLOW is back", lambda: (self.deployment.override("ana", device) or {})["Effect"] == "ALLOW")
        back = self.deployment.override("ana", device) or {}
        self.check("the override once it is found", "ALLOW", back["Effect"], began)
        same = back["Description"].encode() == allowed["Description"].encode()
        self.check(f"its description is the same, byte for byte: {back['Description']}", True, same, show=False)
        self.check("the announced outcome", "released", self.outcome(found)["result"])

    def malformed_report(self) -> None:
        title("A report with four mistakes is rejected")
        device = f"{self.run}-PHONE"
        began = time.monotonic()
        report = self.deployment.publish(
            "Device Lost", userID="eve", deviceId=device, organizationId="nowhere", reference="INC-4"
        )
        outcome = self.outcome(report)
        self.check("the announced outcome", "rejected", outcome["result"], began)
        for mistake in outcome["message"].rstrip(".").split("; "):
            tell(f"       {mistake}")
        missing = [
            field for field in ("userID", "userId", "deviceId", "organizationId") if field not in outcome["message"]
        ]
        self.check("mistakes that the message leaves out", 0, len(missing))
        self.check("the outcome pages somebody", "yes", "yes" if outcome["page"] else "no")
        self.check("calls to WorkMail about it", 0, len(self.deployment.calls(device=device)))

    def expiry(self, report: Report) -> None:
        user, device, expires = (report.detail[name] for name in ("userId", "deviceId", "expiresAt"))
        title(f"The lock with the short life ends at {expires}")
        ended = datetime.fromisoformat(expires) + timedelta(seconds=1)  # a tag's end is a whole second, rounded up
        self.wait("it ends", lambda: datetime.now(UTC) > ended)
        tell("       the sweep runs now, and each minute without being asked")
        with suppress(self.deployment.functions.exceptions.TooManyRequestsException):  # it is running
            self.deployment.sweep()
        self.wait(
            "the sweep removes it",
            lambda: self.deployment.override(user, device) is None,
            SWEEP_TIMEOUT,
        )
        late = (datetime.now(UTC) - datetime.fromisoformat(expires)).total_seconds()
        override = self.deployment.override(user, device)
        self.check(f"{user}'s {device}, {late:.1f} s later", "no override", override or "no override")
        expired = self.wait("its end is announced", lambda: self.announced(deviceId=device.lower(), result="expired"))
        self.check("the announced end", "Lockout Expired", expired["detail-type"])
        run = expired["detail"]["eventId"]
        sweep = self.wait("the sweep is announced", lambda: self.announced(eventId=run))
        self.check("the announced sweep", "Sweep Completed", sweep["detail-type"])
        tell(f"       {sweep['detail']['message']}")

    # --- the parts of a section -----------------------------------------------------------------------------------

    def device(self, name: str) -> str:
        """Return the ID of a device in this run."""
        return f"DEMO{self.run}{name}"

    def make_overrides_by_hand(self) -> None:
        """Put the overrides that an administrator made before."""
        for user, name, effect, description in BY_HAND:
            self.deployment.workmail.put_mobile_device_access_override(
                OrganizationId=self.deployment.organization,
                UserId=user,
                DeviceId=self.device(name),
                Effect=effect,
                Description=description,
            )

    def lock(self, detail_type: str, user: str, name: str, **detail: str) -> Report:
        """Report a device, wait until it is denied, and check the outcome."""
        device = self.device(name)
        began = time.monotonic()
        report = self.deployment.publish(detail_type, userId=user, deviceId=device, **detail)
        self.locked.append((user, device))
        override = self.wait(f"{device} is denied", lambda: self.denied(user, device))
        self.check(f"{user}'s {device}", "DENY", override["Effect"], began)
        tell(f"       {override['Description']}")
        self.check("the announced outcome", "locked", self.outcome(report)["result"])
        return report

    def denied(self, user: str, device: str) -> Json | None:
        """Return the override of a device if it is a DENY."""
        override = self.deployment.override(user, device)
        return override if override and override["Effect"] == "DENY" else None

    def outcome(self, report: Report) -> Json:
        """Return the outcome of a report once it is announced on the bus."""
        event = self.wait(
            f"the outcome of report {report.event_id} is announced", lambda: self.announced(eventId=report.event_id)
        )
        detail: Json = event["detail"]
        return detail

    def announced(self, **members: str) -> Json | None:
        """Return the first announcement whose detail has these members."""
        return next((event for event in self.announcements.heard() if members.items() <= event["detail"].items()), None)

    def wait[T](self, what: str, condition: Callable[[], T | None], timeout: float = TIMEOUT) -> T:
        """Return what the condition returns once that is true. Say what is awaited if it takes two seconds.

        Raises NotSeenError after `timeout` seconds, or if IAM refuses something.
        """
        began = looked_for_reasons = time.monotonic()
        said = False
        while not (found := condition()):
            now = time.monotonic()
            if now - began > 2 and not said:
                said = True
                tell(f"       … waiting until {what}")
            if now - began > timeout:
                raise NotSeenError(f"{what} within {timeout:.0f} s", self.reasons())
            if now - looked_for_reasons > 3:
                looked_for_reasons = now
                reasons = self.reasons()
                if any(reason.startswith(REFUSED) for reason in reasons):
                    raise NotSeenError(what, reasons)
            time.sleep(pause(now - began, shortest=0.02, longest=1))
        return found

    def reasons(self) -> list[str]:
        """Return what logs, queues and announcements say is wrong."""
        return self.deployment.troubles(self.began) + [
            f"{event['detail-type']}: {event['detail']['message']}"
            for event in self.announcements.heard()
            if event["detail-type"] in ("Sweep Refused", "Lockout Failed", "Lockout Rejected")
        ]

    def check(self, what: str, expected: object, found: object, began: float | None = None, show: bool = True) -> None:
        """Print what was found, and how long after `began`. A failed check is printed and counted."""
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

    def current_overrides(self) -> dict[str, Json]:
        """Return the overrides of this run's devices, by device."""
        listed = {override["DeviceId"].upper(): override for override in self.deployment.overrides()}
        return {device: override for device, override in listed.items() if device.startswith(self.device(""))}

    def compare(self, before: dict[str, Json], after: dict[str, Json]) -> None:
        """Print each device's override before and after."""
        title("All overrides before and after; the demo has removed them now")
        by_hand = {(user, self.device(name)) for user, name, *_ in BY_HAND}
        for user, device in sorted(by_hand | set(self.locked)):
            for label, when, overrides in ((f"{user:<6} {device}", "before", before), ("", "after", after)):
                override = overrides.get(device)
                words = f"{override['Effect']:<5} {override.get('Description', '')}" if override else "none"
                tell(f"  {label:<26} {when:<6}  {words}")

    def clean_up(self) -> None:
        """Release the locks, delete the overrides made by hand and the ledger's items of all, and stop listening."""
        for user, device in self.locked:
            self.deployment.publish("Device Recovered", userId=user, deviceId=device, reference="end of the demo")
        if not self.failures:
            with suppress(NotSeenError):
                self.wait(
                    "all locks are released", lambda: not any(self.denied(user, device) for user, device in self.locked)
                )
        for user, name, *_ in BY_HAND:
            self.deployment.workmail.delete_mobile_device_access_override(
                OrganizationId=self.deployment.organization, UserId=user, DeviceId=self.device(name)
            )
        # Otherwise these devices would be in the inventory for ever, and a user's lock would reach them.
        table, begins = self.deployment.outputs["LedgerTableName"], {":begins": {"S": self.device("").lower()}}
        pages = self.deployment.dynamodb.get_paginator("scan").paginate(
            TableName=table, FilterExpression="contains(sk, :begins)", ExpressionAttributeValues=begins
        )
        for item in (item for page in pages for item in page["Items"]):
            self.deployment.dynamodb.delete_item(TableName=table, Key={name: item[name] for name in ("pk", "sk")})
        self.announcements.close()


def title(text: str) -> None:
    tell(f"\n{colour(text, 1)}")


def tell(text: str) -> None:
    print(text, flush=True)


def colour(text: str, number: int) -> str:
    """Return the text in a colour, if the output is a terminal that wants colours (https://no-color.org)."""
    return f"\033[{number}m{text}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def main() -> None:
    """Bring everything up, show it, and exit with 0 if every check passed."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal can show every description
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--state", type=Path, default=STATE, help="directory of the local AWS (default: %(default)s)")
    state: Path = parser.parse_args().state.resolve()
    began = time.monotonic()
    try:
        with one_at_a_time(state):
            up(state)
    except (ServerError, SynthesisError, DeploymentError, NotReadyError, OSError) as error:
        sys.exit(f"make demo: {error}")
    except KeyboardInterrupt:
        sys.exit("\nmake demo: interrupted; make down stops what runs")
    demo = Demo(Deployment.find(Connection.read(state / "env"), stack_name(state)))
    try:
        succeeded = demo.show()
    except KeyboardInterrupt:
        sys.exit("\nmake demo: interrupted; make down stops the local AWS")
    took = time.monotonic() - began
    if succeeded:
        tell(f"\n{demo.checks} checks, all as expected, in {took:.0f} s.")
        tell("The local AWS goes on: `make shell` is a shell in it, and `make down` stops it.")
    else:
        sys.exit(f"\n{demo.failures} of {demo.checks} checks failed, in {took:.0f} s.")


if __name__ == "__main__":
    main()
