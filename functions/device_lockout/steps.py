"""The protocol's steps, for one command in its group. Each is safe to repeat after a crash anywhere.

1. Who is the user to WorkMail; the device's item (made if missing), the override, the user's item.
2. and 3. Adopt and decide: :func:`device_lockout.decision.decide`.
4. One conditional write to the ledger. From here on the lock can't be lost.
5. At most one write to WorkMail.
6. Record and announce the outcome.

A command that names no device is looked up and sent on instead: :mod:`device_lockout.fan_out`.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from device_lockout import fan_out, instant
from device_lockout.command import (
    Cause,
    Command,
    DeviceCommand,
    Enroll,
    Expire,
    Lock,
    Reassert,
    Reject,
    Release,
    Retire,
    command_id,
)
from device_lockout.decision import Decision, Delete, Put, decide, must_be_recorded
from device_lockout.errors import RejectedError, UnknownUserError
from device_lockout.outcome import SOURCE, Outcome
from device_lockout.parties import Parties
from device_lockout.record import DeviceRecord, Last
from device_lockout.tag import write_time
from device_lockout.workmail import Sight


def carry_out(command: Command, parties: Parties, now: datetime) -> Outcome:
    """Carry out ``command`` and announce its outcome.

    TransientError: nothing was written to WorkMail, deliver the command again.
    UnansweredError: a write may yet take effect, deliver the command again when it no longer can.
    Permanent errors are outcomes, not exceptions.
    """
    try:
        outcome = _dispatch(command, parties, now)
    except RejectedError as error:
        outcome = Outcome("rejected", because=str(error), reference=command.cause.reference, page=True)
    if outcome.announced:
        told = parties.ledger.record_outcome(
            command.cause.event_id, command_id(command), tell(command, outcome, now), now
        )
        parties.bus.announce(told["detailType"], told["detail"])
    return outcome


def tell(command: Command, outcome: Outcome, now: datetime) -> dict[str, Any]:
    """The event that announces ``outcome``: its detail-type and its detail, whose ID every repetition shares."""
    cause, target = command.cause, command.target
    return {
        "detailType": outcome.detail_type,
        "detail": {
            "id": command_id(command),
            "eventId": cause.event_id,
            "source": cause.source,
            "organizationId": target.organization,
            "userId": target.user,
            "deviceId": target.device,
            "result": outcome.result,
            "reason": outcome.why,
            "until": write_time(outcome.until) if outcome.until else None,
            "reference": outcome.reference,
            "verified": outcome.verified,
            "devices": outcome.devices,
            "page": outcome.page,
            "message": f"{outcome.message(target.device, target.user)} ({_report(cause)})",
            "before": outcome.before.fields() if outcome.before else None,
            "after": outcome.after.fields() if outcome.after else None,
            "times": {
                "happened": instant.write(cause.happened),
                "received": instant.write(cause.received),
                "decided": instant.write(now),
            },
        },
    }


def _dispatch(command: Command, parties: Parties, now: datetime) -> Outcome:
    match command:
        case Reject(because=because):
            return Outcome("rejected", because=because, reference=command.cause.reference, page=True)
        case Lock() | Release() | Retire() if not command.target.found and command.target.names:
            return fan_out.send_on(command, parties)
        case Lock() | Release() if not command.target.found:
            return fan_out.to_all_devices(command, parties, now)
        case Enroll():
            return _enroll(command, parties, now)
        case Retire():
            return _retire(command, parties)
        case _:
            return _on_device(command, parties, now)


def _enroll(command: Enroll, parties: Parties, now: datetime) -> Outcome:
    """Write the device's item, and only then look at the user's: a lock of the user misses no device."""
    user_id = fan_out.user_id(command, parties)
    target = replace(command.target, user=user_id, resolved=True)
    if not parties.ledger.enroll(target.organization, user_id, target.device, target.names, command.cause.happened):
        return _inventory_knows_better(command)
    outcome = _on_device(Reassert(command.cause, target), parties, now)
    return replace(outcome, result="enrolled") if outcome.result == "skipped" else outcome


def _retire(command: Retire, parties: Parties) -> Outcome:
    """The inventory only: a lock of the device, or of its user, holds on."""
    target = command.target
    user_id = fan_out.user_id(command, parties)
    if not parties.ledger.retire(target.organization, user_id, target.device, command.cause.happened):
        return _inventory_knows_better(command)
    return Outcome("retired", reference=command.cause.reference)


def _inventory_knows_better(command: Enroll | Retire) -> Outcome:
    return Outcome("superseded", because="the inventory heard later news of it", reference=command.cause.reference)


def _on_device(command: DeviceCommand, parties: Parties, now: datetime) -> Outcome:
    organization, device = command.target.organization, command.target.device
    user_id = fan_out.user_id(command, parties)
    record = parties.ledger.open_device(organization, user_id, device)
    gone = ""
    try:
        sight = parties.workmail.get(organization, user_id, device)
    except UnknownUserError as error:
        if isinstance(command, Lock):
            raise
        gone, sight = str(error), Sight(None, now)
    record = replace(record, user=parties.ledger.user(organization, user_id))
    decision = decide(command, sight.override, record, now, parties.rules)
    if gone:
        decision = replace(decision, record=replace(decision.record, prior=record.prior))
    unsure = gone
    if not gone and decision.write is not None and abs(sight.date - now) > parties.clock_skew:
        unsure = f"our clock says {write_time(now)}, WorkMail's {write_time(sight.date)}"
    if isinstance(command, Expire) and unsure:
        return _failed(command, parties, user_id, record, replace(decision, record=record), unsure, now)
    if must_be_recorded(command, record, decision, parties.rules.owner):
        parties.ledger.save_device(organization, user_id, device, decision.record)
    try:
        if gone and decision.write is not None:
            raise UnknownUserError(gone)
        match decision.write:
            case Put(override=override):
                parties.workmail.put(organization, user_id, device, override)
            case Delete():
                parties.workmail.delete(organization, user_id, device)
    except RejectedError as error:
        saved = replace(decision, record=replace(decision.record, version=decision.record.version + 1))
        return _failed(command, parties, user_id, record, saved, str(error), now)
    return decision.outcome


def _failed(
    command: DeviceCommand,
    parties: Parties,
    user_id: str,
    before: DeviceRecord,
    decision: Decision,
    because: str,
    now: datetime,
) -> Outcome:
    """WorkMail will not write for this user now: the claim stays, people are told once, the sweep tries again.

    Once is once for each report; only the sweep's own tries are passed over in silence.

    ``decision.record`` is the device's item as it now is in the ledger.
    """
    failed = replace(decision.outcome, result="failed", because=because, after=decision.outcome.before, page=True)
    tried = before.last if before.last is not None and before.last.command == command_id(command) else None
    last = Last(command_id(command), command.cause.event_id, failed, tried.decided_at if tried else now)
    parties.ledger.save_device(
        command.target.organization, user_id, command.target.device, replace(decision.record, last=last)
    )
    again = before.failed and tried is None and command.cause.source == SOURCE
    return replace(failed, result="skipped") if again else failed


def _report(cause: Cause) -> str:
    """Which report it is about, for whoever has only the message."""
    return ", ".join(filter(None, (f"event {cause.event_id} from {cause.source}", cause.reference)))
