"""The protocol's steps, for one command in its device's group. Each is safe to repeat after a crash anywhere.

1. Who is the user to WorkMail; the device's item (made if missing), the override, the user's item.
2. and 3. Adopt and decide: :func:`device_lockout.decision.decide`.
4. One conditional write to the ledger. From here on the lock can't be lost.
5. At most one write to WorkMail.
6. Record and announce the outcome.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from device_lockout import instant
from device_lockout.command import Command, DeviceCommand, Expire, Lock, Reject, Target, command_id
from device_lockout.decision import Decision, Delete, Put, Rules, decide, must_be_recorded
from device_lockout.errors import RefusedError, RejectedError, UnknownUserError
from device_lockout.outcome import DETAIL_TYPES, Outcome
from device_lockout.override import Override
from device_lockout.record import DeviceRecord, Last, UserRecord
from device_lockout.tag import write_time
from device_lockout.workmail import Sight


class WorkMailParty(Protocol):
    """What the steps need of WorkMail: :class:`device_lockout.workmail.WorkMail`."""

    def user_id(self, organization: str, user: str) -> str: ...
    def get(self, organization: str, user_id: str, device: str) -> Sight: ...
    def put(self, organization: str, user_id: str, device: str, override: Override) -> None: ...
    def delete(self, organization: str, user_id: str, device: str) -> None: ...


class LedgerParty(Protocol):
    """What the steps need of the ledger: :class:`device_lockout.ledger.Ledger`."""

    def open_device(self, organization: str, user_id: str, device: str) -> DeviceRecord: ...
    def user(self, organization: str, user_id: str) -> UserRecord: ...
    def save_device(self, organization: str, user_id: str, device: str, record: DeviceRecord) -> None: ...
    def remember_name(self, organization: str, name: str, user_id: str) -> None: ...
    def user_named(self, organization: str, name: str) -> str | None: ...
    def record_outcome(self, event_id: str, outcome_id: str, told: dict[str, Any], now: datetime) -> dict[str, Any]: ...


class BusParty(Protocol):
    """What the steps need of the bus: :class:`device_lockout.bus.Bus`."""

    def announce(self, detail_type: str, detail: dict[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Parties:
    """The outside parties, and how far our clock may differ from WorkMail's before an expiry is refused."""

    workmail: WorkMailParty
    ledger: LedgerParty
    bus: BusParty
    rules: Rules
    clock_skew: timedelta


def carry_out(command: Command, parties: Parties, now: datetime) -> Outcome:
    """Carry out ``command`` and announce its outcome.

    TransientError: nothing was written to WorkMail, deliver the command again.
    UnansweredError: a write may yet take effect, deliver the command again when it no longer can.
    Permanent errors are outcomes, not exceptions.
    """
    if isinstance(command, Reject):
        outcome = Outcome("rejected", because=command.because, reference=command.cause.reference, page=True)
    else:
        try:
            outcome = _carry_out_on_device(command, parties, now)
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
        "detailType": DETAIL_TYPES[outcome.result],
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
            "page": outcome.page,
            "message": outcome.message(target.device, target.user),
            "before": _shown(outcome.before),
            "after": _shown(outcome.after),
            "times": {
                "happened": instant.write(cause.happened),
                "received": instant.write(cause.received),
                "decided": instant.write(now),
            },
        },
    }


def _carry_out_on_device(command: DeviceCommand, parties: Parties, now: datetime) -> Outcome:
    organization, device = command.target.organization, command.target.device
    user_id = _user_id(command.target, parties)
    if isinstance(command, Lock) and user_id != command.target.user:
        parties.ledger.remember_name(organization, command.target.user, user_id)

    record = parties.ledger.open_device(organization, user_id, device)
    sight = parties.workmail.get(organization, user_id, device)
    record = replace(record, user=parties.ledger.user(organization, user_id))
    if isinstance(command, Expire) and abs(sight.date - now) > parties.clock_skew:
        return Outcome("skipped", because=f"our clock says {write_time(now)}, WorkMail's {write_time(sight.date)}")

    decision = decide(command, sight.override, record, now, parties.rules)
    if must_be_recorded(command, record, decision):
        parties.ledger.save_device(organization, user_id, device, decision.record)
    try:
        match decision.write:
            case Put(override=override):
                parties.workmail.put(organization, user_id, device, override)
            case Delete():
                parties.workmail.delete(organization, user_id, device)
    except (RefusedError, UnknownUserError) as error:
        return _refused(command, parties, user_id, record, decision, str(error))
    return decision.outcome


def _user_id(target: Target, parties: Parties) -> str:
    """WorkMail's ID of the target's user; of a deleted user the one that an earlier report's name stood for."""
    if target.resolved:
        return target.user
    try:
        return parties.workmail.user_id(target.organization, target.user)
    except UnknownUserError:
        known = parties.ledger.user_named(target.organization, target.user)
        if known is None:
            raise
        return known


def _refused(
    command: DeviceCommand, parties: Parties, user_id: str, before: DeviceRecord, decision: Decision, because: str
) -> Outcome:
    """WorkMail will not write for this user now: the claim stays, people are told once, the sweep tries again."""
    told = before.last is not None and before.last.outcome.result == "failed"
    failed = replace(decision.outcome, result="failed", because=because, after=decision.outcome.before, page=True)
    last = decision.record.last
    assert last is not None, "a decision always names its command"
    record = replace(
        decision.record, version=decision.record.version + 1, last=Last(last.command, failed, last.decided_at)
    )
    parties.ledger.save_device(command.target.organization, user_id, command.target.device, record)
    redelivered = before.last is not None and before.last.command == last.command
    return replace(failed, result="skipped") if told and not redelivered else failed


def _shown(override: Override | None) -> dict[str, str | None] | None:
    return None if override is None else {"effect": override.effect, "description": override.description}
