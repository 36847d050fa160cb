"""What came in: an event from the bus, checked against the contract and read into a command.

A report is judged whole: every fault that it has is named at once, and a report with a fault asks for nothing.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from device_lockout.inbound import contract, event_mapping
from device_lockout.inbound.contract import MOST_FAULTS, meant, shown, text, time
from device_lockout.values import instant
from device_lockout.values.actions import ACTIONS, DETAIL_TYPES, DetailType
from device_lockout.values.command import Cause, Command, Enroll, Lock, Reject, Release, Retire, Target, claim_id
from device_lockout.values.device import DeviceName
from device_lockout.values.policy import Reason
from device_lockout.values.record import Claim
from device_lockout.values.settings import Settings, Source

MOST_CHARACTERS = 16_000
"""Of a rejection's reason: short enough for queue, ledger, bus and a notice in any alphabet."""


def read(body: str, message_id: str, received: datetime, settings: Settings) -> Command:
    """The command that an event asks for, or the rejection that names everything wrong with it.

    ``body`` is the event as EventBridge delivers it or, from a source with a mapping, ``{"mappedSource", "event"}``;
    ``message_id`` and ``received`` are SQS's own, and stand in for an ID and a time that the event does not have.

    When it happened is the earlier of what the producer says (``reportedAt``, else the envelope's ``time``) and
    ``received``: producers set the first two, nobody sets the third, so nobody speaks from the future.
    """
    event = _parse(body)
    mapped = settings.source(text(event.get("mappedSource")))
    if mapped is not None and mapped.mapping is not None and isinstance(event.get("event"), dict):
        event, mapping = event["event"], mapped.mapping
        kind: DetailType | None = DetailType(mapping.action, ACTIONS[mapping.action].schema, mapping.reason)
        source: Source | None = mapped
        detail: object
        detail, faults = event_mapping.detail(mapping, event)
    else:
        mapping = None
        kind, detail = DETAIL_TYPES.get(text(event.get("detail-type"))), event.get("detail")
        known = settings.source(text(event.get("source")))
        source = known if known is not None and known.mapping is None else None
        faults = list(_envelope_faults(event, kind, source, settings))
    if kind is not None:
        faults += contract.faults(kind.schema, detail, mapping)

    fields: dict[str, Any] = detail if isinstance(detail, dict) else {}
    reported = time(fields.get("reportedAt")) or time(event.get("time")) or received
    cause = Cause(
        event_id=_event_id(event) or message_id,
        source=text(event.get("source")),
        detail_type=text(event.get("detail-type")),
        happened=min(reported, received),
        received=received,
        reference=text(fields.get("reference"), 64),
        reader=source.name if mapping is not None and source is not None else "",
    )
    organization = _organization(fields.get("organizationId"), settings, faults)
    if cause.happened < received - settings.limits.max_event_age:
        faults.append(
            f"the event happened at {instant.write(cause.happened)}:"
            f" expected no more than {settings.limits.max_event_age.days} days before it was received"
        )
    target = _target(fields, organization, kind)
    reason = settings.reasons.get(kind.reason) if kind is not None else None
    if reason is not None and time(fields.get("expiresAt")) is not None:
        fault = reason.fault(cause.happened, _end(fields, reason, cause.happened))
        if fault:
            faults.append(f"detail.expiresAt is {shown(fields['expiresAt'])}: {fault}")
    if faults or kind is None or source is None:
        if len(faults) > MOST_FAULTS:
            faults[MOST_FAULTS:] = [f"and {len(faults) - MOST_FAULTS} faults more"]
        return Reject(cause, target, text("; ".join(faults), MOST_CHARACTERS))
    match kind.action:
        case "release" | "release-user":
            return Release(cause, target, ACTIONS[kind.action].scope)
        case "enroll":
            return Enroll(cause, target)
        case "retire":
            return Retire(cause, target)
        case "lock" | "lock-user":
            return _lock(cause, target, kind, fields, settings.reasons[kind.reason], "force" in source.may)


def _lock(cause: Cause, target: Target, kind: DetailType, fields: dict[str, Any], reason: Reason, force: bool) -> Lock:
    """The lock that a report without faults asks for."""
    claim = Claim(
        id=claim_id(cause.event_id),
        scope=ACTIONS[kind.action].scope,
        why=reason.name,
        at=cause.happened,
        until=_end(fields, reason, cause.happened),
        reference=cause.reference,
        note=text(fields.get("note"), 500),
    )
    return Lock(cause, target, claim, force)


def _end(fields: dict[str, Any], reason: Reason, happened: datetime) -> datetime:
    """When a lock ends: as the report asks, or as its reason says."""
    asked = fields.get("expiresAt")
    return reason.until(happened) if asked is None else instant.whole_seconds_up(instant.read(asked))


def _organization(named: object, settings: Settings, faults: list[str]) -> str:
    """The ID of the organization that a report names; where it names none that is known, a fault more and no ID."""
    organization = settings.organization(named if isinstance(named, str) else None)
    if organization is not None:
        return organization.id
    known = ", ".join(f"{known.id} ({known.alias})" for known in settings.organizations)
    faults.append(f"detail.organizationId is {shown(named)}: expected one of {known}")
    return ""


def _target(fields: dict[str, Any], organization: str, kind: DetailType | None) -> Target:
    """What a report is about; where it says which device of whom, its other names are for the inventory only."""
    device, user = text(fields.get("deviceId"), 64), text(fields.get("userId"))
    serial, asset = text(fields.get("serialNumber"), 64), text(fields.get("assetTag"), 64)
    names: tuple[DeviceName, ...] = ()
    if not (device and user) or (kind is not None and kind.action == "enroll"):
        names = (DeviceName("serial", serial),) * bool(serial) + (DeviceName("asset", asset),) * bool(asset)
    return Target(organization, user, device, names)


def _parse(body: str) -> dict[str, Any]:
    """The event in ``body``; halves of surrogate pairs, which JSON can spell and no store takes, are question marks."""
    try:
        event = json.loads(json.dumps(json.loads(body), ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _event_id(event: dict[str, Any]) -> str:
    """The event's ID, none where it can't be one; never a part of it, by which two events would be taken for one."""
    name = event.get("id")
    return name if isinstance(name, str) and len(name) <= 256 else ""


def _envelope_faults(
    event: dict[str, Any], kind: DetailType | None, source: Source | None, settings: Settings
) -> Iterator[str]:
    """Faults of the event's envelope: who sent it, and as what."""
    if not event:
        yield "the message is not a JSON object: expected an event as EventBridge delivers it"
        return
    if not _event_id(event):
        yield f"id is {shown(event.get('id'))}: expected the event's ID"
    if source is None:
        known = {known.name: known for known in settings.sources if known.mapping is None}
        said = event.get("source")
        yield (
            f"source is {shown(said)}: expected one that the configuration names ({', '.join(known)})"
            f"{meant(text(said), known)}"
        )
    name = event.get("detail-type")
    if kind is None:
        known_names = ", ".join(DETAIL_TYPES)
        yield f"detail-type is {shown(name)}: expected one of {known_names}{meant(text(name), DETAIL_TYPES)}"
    elif source is not None and (needed := ACTIONS[kind.action].permission) not in source.may:
        allowed = " and ".join(sorted(source.may))
        yield f"source {source.name} sent {name}, which takes {needed}: the configuration lets it {allowed} only"
