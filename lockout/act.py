"""Changes: a lock, a release, another end. Each is a report on the bus, as any other source's."""

import json
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click

from device_lockout.inbound import report
from device_lockout.values import instant
from device_lockout.values.actions import ACTIONS, DETAIL_TYPES, Permission
from device_lockout.values.command import Change, Command, Lock, Reject
from device_lockout.values.record import Scope
from device_lockout.values.settings import Settings, Source
from lockout import answers, finding, rehearsal
from lockout.deployment import Deployment
from lockout.errors import DONE, NO, NOT_YET, USAGE, CommandError
from lockout.finding import Told
from lockout.when import When

IN_FORCE = {"locked", "already-locked", "already-denied", "extended", "shortened", "renewed", "took-over"}
LET_IN = {"released", "nothing-to-release"}
LOOK_EVERY = 0.2
"""Seconds between two looks for an outcome."""


@dataclass(frozen=True, slots=True)
class How:
    """The options that all changes have."""

    organization: str | None = None
    ref: str | None = None
    note: str | None = None
    yes: bool = False
    dry_run: bool = False
    no_wait: bool = False
    timeout: float = 60
    source: str | None = None
    unverified: bool = False


_OPTIONS = (
    click.option("--ref", metavar="TICKET", help="the ticket's number"),
    click.option("--note", metavar="TEXT", help="words for people, in the override's description"),
    click.option("--organization", metavar="NAME", help="which one, if there are several"),
    click.option("--yes", is_flag=True, help="do not ask"),
    click.option("--unverified", is_flag=True, help="do not ask about a device that nothing knows"),
    click.option("--dry-run", is_flag=True, help="say what would be decided now; send nothing"),
    click.option("--no-wait", is_flag=True, help="send the report, and do not wait for its outcome"),
    click.option("--timeout", default=60.0, metavar="SECONDS", help="how long to wait for the outcome (60)"),
    click.option("--source", metavar="NAME", help="report as this source (operator, or the first that may)"),
)


def changes(command: Any) -> Any:
    """Add the options of :class:`How`, and gather them into one."""

    @wraps(command)
    def gathered(deployment: Deployment, **given: Any) -> int:
        how = How(**{name: given.pop(name) for name in How.__slots__})
        return int(command(deployment, how, **given))

    wrapped: Any = gathered
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return click.pass_obj(wrapped)


@click.command(
    epilog=answers.examples(
        'lockout lock bob ABC123 --ref INC-1234 --note "left in a taxi"',
        "lockout lock dave --all-devices --why compromised --ref CASE-77",
        "lockout lock asset:PHONE-0042 --why stolen --until 2d --dry-run",
    )
)
@click.argument("user")
@click.argument("device", required=False)
@click.option("--all-devices", is_flag=True, help="lock all devices of the user, those to come as well")
@click.option("--why", default="lost", metavar="REASON", help="lost, stolen, compromised or offboarded (lost)")
@click.option("--until", type=When(), metavar="WHEN", help="2d, friday, 2026-12-01; else as long as the reason says")
@click.option("--at", type=When(past=True), metavar="WHEN", help="when it happened, such as 2h for two hours ago")
@changes
def lock(deployment: Deployment, how: How, user: str, device: str | None, **given: Any) -> int:
    """Lock a device, or all devices of a user. USER may also be serial:NUMBER or asset:TAG.

    It goes by the bus, as every report. The exit status is 0 once WorkMail denies the device.
    """
    whole = given["all_devices"]
    times = {"reportedAt": given["at"] or datetime.now(UTC), "expiresAt": given["until"]}
    kind = _detail_type(given["why"], "user" if whole else "device")
    return send(deployment, kind, _about(user, device, whole=whole) | times, how)


@click.command(
    epilog=answers.examples(
        "lockout release bob ABC123 --ref INC-1234", "lockout release dave --user-locks --ref CASE-77"
    )
)
@click.argument("user")
@click.argument("device", required=False)
@click.option("--user-locks", is_flag=True, help="end the locks of the whole user, not those of one device")
@changes
def release(deployment: Deployment, how: How, user: str, device: str | None, *, user_locks: bool) -> int:
    """Let a device back in, or a user. USER may also be serial:NUMBER or asset:TAG.

    A device's release does not end a lock of its user, nor the other way round. The exit status is 1 if the device is
    still denied afterwards.
    """
    kind = "User Restored" if user_locks else "Device Recovered"
    return send(deployment, kind, _about(user, device, whole=user_locks) | {"reportedAt": datetime.now(UTC)}, how)


@click.command(epilog=answers.examples("lockout extend bob ABC123 --until friday"))
@click.argument("user")
@click.argument("device")
@click.option("--until", type=When(), required=True, metavar="WHEN", help="2d, friday, 2026-12-01")
@changes
def extend(deployment: Deployment, how: How, user: str, device: str, until: datetime) -> int:
    """Let a lock end later or sooner. Its reason stays, and so do ticket and note unless you give others.

    A lock of the whole user changes for all of the user's devices.
    """
    now = datetime.now(UTC)
    keys = finding.devices(deployment, deployment.organization(how.organization).id, user, device)
    claims = [(key, claim) for key in keys if (claim := deployment.ledger.device(key).wanted(now)) is not None]
    if not claims:
        raise CommandError(f"no lock of {device} is in force", f"lockout show {user} {device}")
    key, claim = claims[0]
    whole = claim.scope == "user"
    detail = _about(key.user_id if ":" in user else user, None if whole else key.device, whole=whole)
    kind = "User Lock Changed" if whole else "Lock Changed"
    answers.say(f"its lock ({claim.why}) lasts now: {answers.local(claim.until)}")
    return send(deployment, kind, detail | {"reportedAt": now, "expiresAt": until}, replace(how, unverified=True))


@click.command(epilog=answers.examples("lockout drill canary DRILL0001"))
@click.argument("user")
@click.argument("device")
@changes
def drill(deployment: Deployment, how: How, user: str, device: str) -> int:
    """Lock a device that nobody uses and let it back in, by real events through the whole chain. Say how long it took.

    The exit status is 0 if WorkMail denied the device, and then did not.
    """
    how = replace(how, yes=True, unverified=True, ref=how.ref or "DRILL")
    about = {"userId": user, "deviceId": device}
    locked = send(deployment, "Device Lost", about | {"reportedAt": datetime.now(UTC)}, how)
    if locked != DONE or how.dry_run:
        return locked
    return send(deployment, "Device Recovered", about | {"reportedAt": datetime.now(UTC)}, how)


def _about(user: str, device: str | None, *, whole: bool) -> dict[str, Any]:
    """Return the fields of the contract that say who or what is meant."""
    kind, _, value = user.partition(":")
    if value and kind in ("serial", "asset"):
        return {"serialNumber" if kind == "serial" else "assetTag": value}
    if (device is not None) == whole:
        raise click.UsageError("expected a device, or the option for all of the user's devices")
    return {"userId": user} | ({"deviceId": device} if device is not None else {})


def _detail_type(why: str, scope: Scope) -> str:
    kinds = {
        row.reason: name for name, row in DETAIL_TYPES.items() if row.reason and ACTIONS[row.action].scope == scope
    }
    if why not in kinds:
        raise CommandError(f"reason {why}: a report about a {scope} can have {', '.join(kinds)}", status=USAGE)
    return kinds[why]


def _limited(source: Source) -> bool:
    return bool(source.releases) or source.releases_own_only or "lock" not in source.may


def source_for(settings: Settings, permission: Permission, named: str | None) -> Source:
    """Return who reports: the source of that name, else ``operator``, else the first that may without limits.

    Raises:
        CommandError: No source of the contract may.
    """
    able = [source for source in settings.sources if source.mapping is None and permission in source.may]
    able.sort(key=lambda each: (each.name != "operator", _limited(each)))
    for source in able:
        if named in (None, source.name):
            return source
    known = ", ".join(source.name for source in able) or "none"
    raise CommandError(f"source {named or '?'}: those that may {permission} are: {known}", "--source NAME", USAGE)


def rehearsed(
    deployment: Deployment, kind: str, detail: dict[str, Any], how: How
) -> tuple[Source, dict[str, Any], Command, list[Told]]:
    """Return who would report, the report's detail, its command, and what would be announced of it.

    Raises:
        CommandError: The report would be rejected.
    """
    source = source_for(deployment.settings, ACTIONS[DETAIL_TYPES[kind].action].permission, how.source)
    where = deployment.organization(how.organization).id
    detail |= {"organizationId": where, "reporter": deployment.caller}
    detail |= {name: words for name, words in (("reference", how.ref), ("note", how.note)) if words}
    written = {
        name: instant.write(each) if isinstance(each, datetime) else each for name, each in detail.items() if each
    }
    now = datetime.now(UTC)
    event = {"id": "rehearsal", "source": source.name, "detail-type": kind, "detail": written}
    (command,) = report.read(json.dumps(event), "rehearsal", now, deployment.settings)
    if isinstance(command, Reject):
        raise CommandError(command.because)
    return source, written, command, rehearsal.of_command(command, deployment, now)


def send(deployment: Deployment, kind: str, detail: dict[str, Any], how: How) -> int:
    """Rehearse a report, ask, put it on the bus and wait for its outcomes."""
    locks = not DETAIL_TYPES[kind].action.startswith("release")
    source, written, command, expected = rehearsed(deployment, kind, detail, how)
    until = f": until {answers.local(command.claim.until)}" if isinstance(command, Lock | Change) else ""
    answers.say(f"{kind}, as {source.name}{until}")
    for told in expected[:10]:
        say = answers.line if how.dry_run else answers.say
        say(f"would be {told['detail']['result']}: {told['detail']['message']}")
    if how.dry_run:
        return _status(expected, locks=locks)
    if any(told["detail"]["result"] == "rejected" for told in expected):
        raise CommandError("nothing was sent: it would be rejected")
    _ask(expected, deployment, written["organizationId"], how)
    sent = time.monotonic()
    event_id = publish(deployment, source.name, kind, written)
    answers.say(f"sent, event {event_id}")
    return NOT_YET if how.no_wait else _wait(deployment, event_id, sent, len(expected), how, locks=locks)


def _ask(expected: list[Told], deployment: Deployment, organization: str, how: How) -> None:
    """Ask before a change, and first about a device that nothing but this command knows."""
    for told in expected:
        detail = told["detail"]
        if (
            how.unverified
            or detail["result"] not in IN_FORCE
            or not (detail["verified"] is False or detail["devices"] == 0)
        ):
            continue
        if detail["devices"] is None:
            user = (detail["user"] or {}).get("id")
            known = ", ".join(key.device for key in deployment.ledger.devices_of(organization, user)) or "none"
            answers.say(
                f"Nothing knows a device {detail['deviceId']} of this user (known are: {known})."
                " WorkMail would take the lock without an error, and it would lock nothing."
            )
        confirm("Lock it all the same?", "--unverified")
        break
    if not how.yes:
        confirm("Send this report?", "--yes")


def confirm(question: str, option: str) -> None:
    """Ask at a terminal. Elsewhere the command must say so by an option."""
    if not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask at", f"the option {option}", USAGE)
    click.confirm(question, abort=True, err=True)


def publish(deployment: Deployment, source: str, kind: str, detail: dict[str, Any]) -> str:
    """Put a report on the bus, once the bus is known to be there. Return the event's ID.

    To a bus that does not exist EventBridge answers success, and nothing happens.
    """
    events = deployment.client("events")
    events.describe_event_bus(Name=deployment.bus)
    entry = {"EventBusName": deployment.bus, "Source": source, "DetailType": kind, "Detail": json.dumps(detail)}
    (answer,) = events.put_events(Entries=[entry])["Entries"]
    if "EventId" not in answer:
        raise CommandError(f"the bus did not take the report: {answer.get('ErrorCode')}: {answer.get('ErrorMessage')}")
    return str(answer["EventId"])


def _wait(deployment: Deployment, event: str, sent: float, expected: int, how: How, *, locks: bool) -> int:
    """Wait for an event's outcomes. They are as many as the rehearsal had, or a rejection."""
    found: list[Told] = []
    while len(found) < expected and not any(told["detail"]["result"] == "rejected" for told in found):
        if time.monotonic() - sent > how.timeout:
            answers.say(f"no outcome within {how.timeout:.0f} s: the report waits.  lockout history {event}")
            return NOT_YET
        time.sleep(LOOK_EVERY)
        found = deployment.ledger.outcomes_of(event)
    took = time.monotonic() - sent
    for told in found:
        answers.line(told["detail"]["message"])
    answers.say(f"{took:.1f} s after the report")
    status = _status(found, locks=locks)
    if locks and status == DONE:
        answers.say("It reaches the device within 5 minutes. IMAP, EWS and webmail go on: reset the password too.")
    return status


def _status(found: list[Told], *, locks: bool) -> int:
    """Return whether all devices are as they were asked to be."""
    good = [
        told["detail"]["result"] in (IN_FORCE if locks else LET_IN)
        and (locks or told["detailType"] != "Already Denied")
        for told in found
    ]
    return DONE if good and all(good) else NO
