"""What came in: an event from the bus, checked against the contract and read into a command.

A report is judged whole: every fault that it has is named at once, and a report with a fault asks for nothing.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

from device_lockout import instant
from device_lockout.command import (
    Cause,
    Command,
    DeviceName,
    Enroll,
    Lock,
    Reject,
    Release,
    Retire,
    Target,
    claim_id,
)
from device_lockout.mapping import Action, Mapping
from device_lockout.policy import Reason
from device_lockout.record import Claim, Scope
from device_lockout.settings import Act, Settings, Source

SCHEMAS = Path(__file__).parent.parent / "schemas"
MOST_FAULTS = 30
"""That one rejection names: more than the contract has fields."""
MOST_CHARACTERS = 16_000
"""Of a rejection's reason: short enough for queue, ledger, bus and a notice in any alphabet."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of event asks for: the schema of its detail, what its source must be allowed, a lock's reason."""

    schema: str
    action: Action
    reason: str = ""

    @property
    def needs(self) -> Act:
        return "inventory" if self.action in ("enroll", "retire") else "release" if "release" in self.action else "lock"

    @property
    def scope(self) -> Scope:
        return "user" if self.action in ("lock-user", "release-user") else "device"


KINDS = {
    "Device Lost": Kind("device-lost.json", "lock", "lost"),
    "Device Stolen": Kind("device-stolen.json", "lock", "stolen"),
    "Device Compromised": Kind("device-compromised.json", "lock", "compromised"),
    "Device Recovered": Kind("device-recovered.json", "release"),
    "Device Enrolled": Kind("device-enrolled.json", "enroll"),
    "Device Retired": Kind("device-retired.json", "retire"),
    "User Compromised": Kind("user-compromised.json", "lock-user", "compromised"),
    "User Offboarded": Kind("user-offboarded.json", "lock-user", "offboarded"),
    "User Restored": Kind("user-restored.json", "release-user"),
}
"""The contract, version 1: detail-type to meaning."""

_SCHEMAS_OF_ACTIONS: dict[Action, str] = {kind.action: kind.schema for kind in reversed(KINDS.values())}


def read(body: str, message_id: str, received: datetime, settings: Settings) -> Command:
    """The command that an event asks for, or the rejection that names everything wrong with it.

    ``body`` is the event as EventBridge delivers it or, from a source with a mapping, ``{"mappedSource", "event"}``;
    ``message_id`` and ``received`` are SQS's own, and stand in for an ID and a time that the event does not have.

    When it happened is the earlier of what the producer says (``reportedAt``, else the envelope's ``time``) and
    ``received``: producers set the first two, nobody sets the third, so nobody speaks from the future.
    """
    event = _parse(body)
    mapped = settings.source(_text(event.get("mappedSource")))
    if mapped is not None and mapped.mapping is not None and isinstance(event.get("event"), dict):
        event, mapping = event["event"], mapped.mapping
        kind: Kind | None = Kind(_SCHEMAS_OF_ACTIONS[mapping.action], mapping.action, mapping.reason)
        source: Source | None = mapped
        detail: object
        detail, faults = mapping.detail(event)
    else:
        mapping = None
        kind, detail = KINDS.get(_text(event.get("detail-type"))), event.get("detail")
        known = settings.source(_text(event.get("source")))
        source = known if known is not None and known.mapping is None else None
        faults = list(_envelope_faults(event, kind, source, settings))
    if kind is not None:
        faults += _schema_faults(kind.schema, detail, mapping)

    fields: dict[str, Any] = detail if isinstance(detail, dict) else {}
    reported = _time(fields.get("reportedAt")) or _time(event.get("time")) or received
    cause = Cause(
        event_id=_event_id(event) or message_id,
        source=_text(event.get("source")),
        detail_type=_text(event.get("detail-type")),
        happened=min(reported, received),
        received=received,
        reference=_text(fields.get("reference"), 64),
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
    if reason is not None and _time(fields.get("expiresAt")) is not None:
        fault = reason.fault(cause.happened, _end(fields, reason, cause.happened))
        if fault:
            faults.append(f"detail.expiresAt is {_shown(fields['expiresAt'])}: {fault}")
    if faults or kind is None or source is None:
        if len(faults) > MOST_FAULTS:
            faults[MOST_FAULTS:] = [f"and {len(faults) - MOST_FAULTS} faults more"]
        return Reject(cause, target, _text("; ".join(faults), MOST_CHARACTERS))
    match kind.action:
        case "release" | "release-user":
            return Release(cause, target, kind.scope)
        case "enroll":
            return Enroll(cause, target)
        case "retire":
            return Retire(cause, target)
        case "lock" | "lock-user":
            return _lock(cause, target, kind, fields, settings.reasons[kind.reason], "force" in source.may)


def _lock(cause: Cause, target: Target, kind: Kind, fields: dict[str, Any], reason: Reason, force: bool) -> Lock:
    """The lock that a report without faults asks for."""
    claim = Claim(
        id=claim_id(cause.event_id),
        scope=kind.scope,
        why=reason.name,
        at=cause.happened,
        until=_end(fields, reason, cause.happened),
        reference=cause.reference,
        note=_text(fields.get("note"), 500),
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
    faults.append(f"detail.organizationId is {_shown(named)}: expected one of {known}")
    return ""


def _target(fields: dict[str, Any], organization: str, kind: Kind | None) -> Target:
    """What a report is about; where it says which device of whom, its other names are for the inventory only."""
    device, user = _text(fields.get("deviceId"), 64), _text(fields.get("userId"))
    serial, asset = _text(fields.get("serialNumber"), 64), _text(fields.get("assetTag"), 64)
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
    event: dict[str, Any], kind: Kind | None, source: Source | None, settings: Settings
) -> Iterator[str]:
    """Faults of the event's envelope: who sent it, and as what."""
    if not event:
        yield "the message is not a JSON object: expected an event as EventBridge delivers it"
        return
    if not _event_id(event):
        yield f"id is {_shown(event.get('id'))}: expected the event's ID"
    if source is None:
        known = {known.name: known for known in settings.sources if known.mapping is None}
        said = event.get("source")
        yield (
            f"source is {_shown(said)}: expected one that the configuration names ({', '.join(known)})"
            f"{_meant(_text(said), known)}"
        )
    name = event.get("detail-type")
    if kind is None:
        yield f"detail-type is {_shown(name)}: expected one of {', '.join(KINDS)}{_meant(_text(name), KINDS)}"
    elif source is not None and kind.needs not in source.may:
        allowed = " and ".join(sorted(source.may))
        yield f"source {source.name} sent {name}, which takes {kind.needs}: the configuration lets it {allowed} only"


def _schema_faults(schema: str, detail: object, mapping: Mapping | None) -> Iterator[str]:
    """Everything about ``detail`` that the schema refuses, one sentence a field."""
    definition, validate = _validator(schema)
    faults = []
    try:
        validate(detail)
    except fastjsonschema.JsonSchemaValuesException as refused:
        faults = refused.errors
    properties = definition["properties"]
    seen = set()
    for fault in faults:
        field = str(fault.path[1]) if len(fault.path) > 1 else ""
        if field:
            if field not in seen:
                seen.add(field)
                yield f"{_found(field, fault.value, mapping)}: expected {properties[field]['description']}"
        elif fault.rule == "required":
            for name in definition["required"]:
                if name not in fault.value:
                    yield f"{_found(name, None, mapping)}: expected {properties[name]['description']}"
        elif fault.rule == "anyOf":
            missing = [name for name in ("userId", "deviceId") if name not in fault.value]
            found = " and ".join(_found(name, None, mapping) for name in missing)
            yield f"no device is named ({found}): expected userId with deviceId, or serialNumber, or assetTag"
        elif fault.rule == "additionalProperties":
            known = ", ".join(properties)
            for number, name in enumerate(name for name in fault.value if name not in properties):
                meant = _meant(name, properties) if number < MOST_FAULTS else ""
                yield f"detail.{_text(name, 64)} is unknown: expected only {known}{meant}"
        else:
            yield f"detail is {_shown(detail)}: expected an object"


def _found(field: str, value: object, mapping: Mapping | None) -> str:
    """How a fault about ``field`` begins: where it was looked for, and what was there."""
    if mapping is None:
        return f"detail.{field} is {_shown(value)}"
    where = mapping.named(field) or f"{field}, for which the mapping has no expression,"
    return f"{where} found {'nothing' if value is None else _shown(value)}"


@cache
def _validator(schema: str) -> tuple[dict[str, Any], Callable[[object], object]]:
    """A schema and the function compiled from it, which collects every fault rather than stop at the first."""
    definition = json.loads((SCHEMAS / schema).read_text(encoding="utf-8"))
    return definition, fastjsonschema.compile(definition, formats={"date-time": _is_time}, fast_fail=False)


def _is_time(text: str) -> bool:
    return _time(text) is not None


def _time(value: object) -> datetime | None:
    try:
        return instant.read(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _text(value: object, limit: int = 256) -> str:
    """``value`` if it is a text, else none; one over the limit is cut and ends in …, so that it names nothing else."""
    text = value if isinstance(value, str) else ""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _shown(value: object) -> str:
    """``value`` as a person recognises it, cut to 100 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return "missing" if value is None else text if len(text) <= 100 else f"{text[:99]}…"


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name[:64], known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
