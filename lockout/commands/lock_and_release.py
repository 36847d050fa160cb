"""A lock, a release, another end, and the drill. Each is a report on the bus, as any other source's."""

import time
from copy import replace
from datetime import UTC, datetime
from typing import Any

import click

from device_lockout.values.actions import ACTIONS, DETAIL_TYPES
from device_lockout.values.command import Change, Lock
from device_lockout.values.device import DeviceKey
from device_lockout.values.record import Scope
from lockout import lookup, output, sending
from lockout.deployment import Deployment
from lockout.errors import DONE, NO, NOT_YET, USAGE, CommandError
from lockout.lookup import Told
from lockout.sending import How
from lockout.times import When

IN_FORCE = {"locked", "already-locked", "already-denied", "extended", "shortened", "renewed", "took-over"}
LET_IN = {"released", "nothing-to-release"}


@output.command(
    'lockout lock bob ABC123 --ref INC-1234 --note "left in a taxi"',
    "lockout lock dave --all-devices --why compromised --ref CASE-77",
    "lockout lock asset:PHONE-0042 --why stolen --until 2d --dry-run",
)
@click.argument("user")
@click.argument("device", required=False)
@click.option("--all-devices", is_flag=True, help="lock all devices of the user, those to come as well")
@click.option("--why", default="lost", metavar="REASON", help="lost, stolen, compromised or offboarded (lost)")
@click.option("--until", type=When(), metavar="WHEN", help="2d, friday, 2026-12-01; else as long as the reason says")
@click.option("--at", type=When(past=True), metavar="WHEN", help="when it happened, such as 2h for two hours ago")
@sending.change
def lock(deployment: Deployment, how: How, user: str, device: str | None, **given: Any) -> int:
    """Lock a device, or all devices of a user. USER may also be serial:NUMBER or asset:TAG.

    It goes by the bus, as every report. The exit status is 0 once WorkMail denies the device.
    """
    why, scope = given["why"], "user" if given["all_devices"] else "device"
    kinds = {
        row.reason: name for name, row in DETAIL_TYPES.items() if row.reason and ACTIONS[row.action].scope == scope
    }
    if why not in kinds:
        raise CommandError(f"reason {why}: a report about a {scope} can have {', '.join(kinds)}", status=USAGE)
    times = {"reportedAt": given["at"] or datetime.now(UTC), "expiresAt": given["until"]}
    return _send(deployment, kinds[why], _about(user, device, scope) | times, how)


@output.command("lockout release bob ABC123 --ref INC-1234", "lockout release dave --user-locks --ref CASE-77")
@click.argument("user")
@click.argument("device", required=False)
@click.option("--user-locks", is_flag=True, help="end the locks of the whole user, not those of one device")
@sending.change
def release(deployment: Deployment, how: How, user: str, device: str | None, *, user_locks: bool) -> int:
    """Let a device back in, or a user. USER may also be serial:NUMBER or asset:TAG.

    A device's release does not end a lock of its user, nor the other way round. The exit status is 1 if the device is
    still denied afterwards.
    """
    kind, scope = ("User Restored", "user") if user_locks else ("Device Recovered", "device")
    return _send(deployment, kind, _about(user, device, scope), how)


@output.command("lockout extend bob ABC123 --until friday", "lockout extend dave --user-locks --until 30d")
@click.argument("user")
@click.argument("device", required=False)
@click.option("--until", type=When(), required=True, metavar="WHEN", help="2d, friday, 2026-12-01")
@click.option("--user-locks", is_flag=True, help="change the locks of the whole user, not those of one device")
@sending.change
def extend(
    deployment: Deployment, how: How, user: str, device: str | None, until: datetime, *, user_locks: bool
) -> int:
    """Let a lock end later or sooner. Its reason stays, and so do ticket and note unless you give others.

    If the device's lock is one of the whole user, it changes for all of the user's devices.
    """
    now, where = datetime.now(UTC), deployment.organization(how.organization).id
    _about(user, device, "user" if user_locks else "device")
    if user_locks and (known := lookup.user(deployment, where, user)):
        keys = [DeviceKey(where, known.id, lookup.ALL)]
    else:
        keys = lookup.devices(deployment, where, user, device)
    claims = [(key, claim) for key in keys if (claim := deployment.ledger.device(key).wanted(now)) is not None]
    if not claims:
        raise CommandError(f"no lock of {device or user} is in force", f"lockout show {user}")
    key, claim = claims[0]
    kind, named = ("User Lock Changed", None) if claim.scope == "user" else ("Lock Changed", key.device)
    about = {"userId": key.user_id if ":" in user else user, "deviceId": named}
    output.say(f"until now its lock ({claim.why}) lasts: {output.local(claim.until)}")
    return _send(deployment, kind, about | {"expiresAt": until}, replace(how, unverified=True))


@output.command("lockout drill canary DRILL0001")
@click.argument("user")
@click.argument("device")
@sending.change
def drill(deployment: Deployment, how: How, user: str, device: str) -> int:
    """Lock a device that nobody uses and let it back in, by real events through the whole chain. Say how long it took.

    The exit status is 0 if WorkMail denied the device, and then did not. A locked one is refused: it would be let in.
    """
    now, where = datetime.now(UTC), deployment.organization(how.organization).id
    if any(deployment.ledger.device(key).wanted(now) for key in lookup.devices(deployment, where, user, device)):
        raise CommandError(f"device {device} is locked: a drill would let it in", f"lockout show {user} {device}")
    how = replace(how, yes=True, unverified=True, ref=how.ref or "DRILL")
    about = {"userId": user, "deviceId": device}
    locked = _send(deployment, "Device Lost", about, how)
    return locked if locked != DONE or how.dry_run else _send(deployment, "Device Recovered", about, how)


def _about(user: str, device: str | None, scope: Scope | str) -> dict[str, Any]:
    """Return the fields of the contract that say who or what is meant."""
    kind, _, value = user.partition(":")
    if value and kind in ("serial", "asset"):
        if device is not None:
            raise click.UsageError("expected no device beside a serial number or an asset tag")
        return {"serialNumber" if kind == "serial" else "assetTag": value}
    if (device is None) != (scope == "user"):
        raise click.UsageError("expected a device, or the option for all of the user's devices")
    return {"userId": user, "deviceId": device}


def _send(deployment: Deployment, kind: str, detail: dict[str, Any], how: How) -> int:
    """Rehearse a report, ask, put it on the bus and wait for its outcomes. By default it is reported now."""
    locks = not DETAIL_TYPES[kind].action.startswith("release")
    detail = {"reportedAt": datetime.now(UTC)} | detail
    source, written, command, expected = sending.rehearsed(deployment, kind, detail, how)
    until = f": until {output.local(command.claim.until)}" if isinstance(command, Lock | Change) else ""
    output.say(f"{kind}, as {source.name}{until}")
    rejected = any(told["detail"]["result"] == "rejected" for told in expected)
    for told in expected[:10] if how.dry_run or rejected or not how.yes else ():
        say = output.line if how.dry_run else output.say
        say(f"would be {told['detail']['result']}: {output.in_local_time(told['detail']['message'])}")
    if how.dry_run:
        return _status(expected, locks=locks)
    if rejected:
        raise CommandError("nothing was sent: it would be rejected")
    _ask(expected, deployment, how)
    sent = time.monotonic()
    event = sending.publish(deployment, source, kind, written)
    output.say(f"sent, event {event}")
    found, waits = sending.outcomes(deployment, {event: len(expected)}, how.timeout)
    if waits:
        output.say(f"no outcome within {how.timeout:.0f} s: the report waits.  lockout history {event}")
        return NOT_YET
    took = time.monotonic() - sent
    for told in found:
        output.line(output.in_local_time(told["detail"]["message"]))
    output.say(f"{took:.1f} s after the report")
    status = _status(found, locks=locks)
    if status == DONE and any(told["detail"]["result"] == "locked" and told["detail"]["device"] for told in found):
        output.say("It reaches the device within 5 minutes. IMAP, EWS and webmail go on: reset the password too.")
    return status


def _ask(expected: list[Told], deployment: Deployment, how: How) -> None:
    """Ask before a change, and first about a device that nothing but this command knows."""
    details = [told["detail"] for told in expected if told["detail"]["result"] in IN_FORCE]
    unknown = [it for it in details if it["verified"] is False or it["devices"] == 0]
    if unknown and not how.unverified:
        if unknown[0]["devices"] is None:
            user = (unknown[0]["user"] or {}).get("id")
            devices = deployment.ledger.devices_of(unknown[0]["organizationId"], user)
            output.say(
                f"Nothing knows a device {unknown[0]['deviceId']} of this user (known are:"
                f" {', '.join(key.device for key in devices) or 'none'})."
                " WorkMail would take the lock without an error, and it would lock nothing."
            )
        sending.confirm("Lock it all the same?", "--unverified")
    if not how.yes:
        sending.confirm("Send this report?", "--yes")


def _status(found: list[Told], *, locks: bool) -> int:
    """Return whether all devices are as they were asked to be."""
    good = IN_FORCE if locks else LET_IN
    bad = (
        told["detail"]["result"] not in good or (not locks and told["detailType"] == "Already Denied") for told in found
    )
    return DONE if found and not any(bad) else NO
