"""Undo a flood. It releases what one source locked since some time, and drops what was held of that source.

Each release is a report on the bus that ends the locks of that source only. What other sources want stays.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from copy import replace
from datetime import UTC, datetime
from typing import Any

import click

from device_lockout.values import wire
from device_lockout.values.command import claim_id
from device_lockout.values.device import DeviceKey, DeviceName
from device_lockout.values.errors import TransientError, UnreadableError
from device_lockout.values.record import Claim
from lockout import lookup, output, sending
from lockout.commands import dead_letters
from lockout.commands.lock_and_release import LET_IN
from lockout.deployment import UNDER_WAY, Deployment
from lockout.errors import DONE, NO, NOT_YET, CommandError
from lockout.lookup import Told
from lockout.sending import How
from lockout.times import When


@output.command("lockout undo siem --since 2h --dry-run", "lockout undo siem --since 2h --ref INC-7")
@click.argument("whose", metavar="SOURCE")
@click.option("--since", type=When(past=True), required=True, metavar="WHEN", help="2h, 14:00, 2026-12-01T12:00:00Z")
@sending.change
def undo(deployment: Deployment, how: How, whose: str, since: datetime) -> int:
    """Release all that SOURCE locked since then, and drop its held locks. Stop SOURCE first.

    SOURCE is the `source` of its events. Locks of other sources stay. So does a device that SOURCE had locked before:
    the release would end that lock, too. The exit status is 1 if a device was left out, or is as it was.
    """
    now = datetime.now(UTC)
    told = [each for each in deployment.ledger.timeline(since, now) if "result" in each["detail"]]
    flood = [each for each in told if each["detail"]["source"] == whose]
    if not flood:
        known = ", ".join(sorted({each["detail"]["source"] or "?" for each in told})) or "nobody"
        raise CommandError(f"nothing of {whose} was recorded since {output.local(since)}: reports came from {known}")
    ready, left, expected = [], 0, list[Told]()
    for kind, organization, about, older in _releases(deployment, whose, flood, now):
        if older:
            output.line(f"left out, since {whose} had locked it before: {' '.join(about.values())}")
            left += 1
            continue
        detail = about | {"lockedBy": whose, "reportedAt": now}
        release = sending.rehearsed(deployment, kind, detail, replace(how, organization=organization))
        ready.append((kind, *release))
        expected += release[-1]
    for each in expected if how.dry_run else ():
        output.line(f"would be {each['detail']['result']}: {output.in_local_time(each['detail']['message'])}")
    held = sum(each["detail"]["result"] == "held" for each in flood)
    output.say(f"releases, each alone: {len(ready)} ({_counts(expected)}); held locks to drop: {held}")
    if how.dry_run:
        return NO if left else DONE
    if not how.yes:
        sending.confirm("Send these releases, and drop what is held?", "--yes")
    output.say(f"held locks dropped: {_drop(deployment, whose, since)}")
    status = _send(deployment, ready, how)
    if under_way := deployment.waiting(*UNDER_WAY):
        output.say(f"messages under way: {under_way}. If they are of {whose}, call this again later.")
    return NO if left and status == DONE else status


def _releases(
    deployment: Deployment, whose: str, flood: list[Told], now: datetime
) -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """Yield a release for each user, serial number and device with a live lock of the flood.

    That is its detail-type, its organization, who or what it is about, and whether an older lock would end as well.
    """
    ledger, details = deployment.ledger, [each["detail"] for each in flood]
    ours, keys = {claim_id(detail["eventId"]) for detail in details}, lookup.devices_in(flood)
    users = {(each["organizationId"], each["user"]["id"]) for each in details if each["user"]}
    serials = {(each["organizationId"], each["names"].get("serial")) for each in details if each.get("names")}

    def of(claims: Iterable[Claim]) -> set[str]:
        return {claim.id for claim in claims if claim.source == whose}

    def on(key: DeviceKey) -> set[str]:
        return of(claim for claim in ledger.device(key).live(now) if claim.scope == "device")

    for organization, user in sorted(users):
        if (live := of(ledger.user(organization, user).live(now))) & ours:
            yield "User Restored", organization, {"userId": user}, bool(live - ours)
    for organization, serial in sorted(each for each in serials if each[1]):
        name = DeviceName("serial", serial)
        if (live := of(ledger.locks_of(organization, name).live(now))) & ours:
            rows = {row.key for row in ledger.devices_named(organization, name)}
            older = bool(live.union(*map(on, rows)) - ours)
            yield "Device Recovered", organization, {"serialNumber": serial}, older
            keys -= set() if older else rows
    for key in sorted(keys):
        if (live := on(key)) & ours:
            about = {"userId": key.user_id, "deviceId": key.device}
            yield "Device Recovered", key.organization, about, bool(live - ours)


def _drop(deployment: Deployment, whose: str, since: datetime) -> int:
    """Delete what is held of a source from the dead letters, so that nobody sends it back. Return how much it is."""
    count = 0
    for letter in dead_letters.letters(deployment, "commands", 60):
        with suppress(UnreadableError, TransientError):
            command = wire.load(letter["Body"])
            if command.cause.held and command.cause.source == whose and command.cause.received >= since:
                dead_letters.delete(deployment, "commands", letter)
                count += 1
    return count


def _send(deployment: Deployment, ready: list[Any], how: How) -> int:
    """Send the releases, a portion at a time, so that no fresh lock waits for them. Wait for their outcomes."""
    sent: dict[str, int] = {}
    for number, (kind, source, detail, _, expected) in enumerate(ready):
        while number % 10 == 0 and deployment.waiting(*UNDER_WAY) > deployment.settings.sweep.portion:
            time.sleep(sending.LOOK_EVERY)
        sent[sending.publish(deployment, source, kind, detail)] = len(expected)
    told, waits = sending.outcomes(deployment, sent, how.timeout)
    told.sort(key=lookup.time_of)  # of two releases of a device, of its own lock and its user's, the last one counts
    found = [*{(each["detail"]["userId"], each["detail"]["device"]): each for each in told}.values()]
    for each in found:
        if each["detail"]["result"] not in LET_IN:
            output.line(output.in_local_time(each["detail"]["message"]))
    output.line(f"done: {_counts(found)}")
    if waits:
        output.say(f"releases that wait: {waits}.  lockout history --since 10m")
        return NOT_YET
    return DONE if all(each["detail"]["result"] in {*LET_IN, "still-locked"} for each in found) else NO


def _counts(told: list[Told]) -> str:
    """Return how many outcomes there are of each result, in words."""
    counted = Counter(each["detail"]["result"] for each in told)
    return ", ".join(f"{count} {result}" for result, count in counted.most_common()) or "none"
