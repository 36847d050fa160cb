"""What came in: an event from the bus, checked against the contract and read into a command.

A report is judged whole: every fault that it has is named at once, and a report with a fault asks for nothing.
"""

import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

from device_lockout import instant
from device_lockout.command import Cause, Command, Lock, Reject, Release, Target, claim_id
from device_lockout.record import Claim
from device_lockout.settings import Act, Settings

SCHEMAS = Path(__file__).parent.parent / "schemas"


@dataclass(frozen=True, slots=True)
class Kind:
    """What one detail-type of the contract asks for; ``reason`` is a lock's."""

    schema: str
    act: Act
    reason: str = ""


KINDS = {
    "Device Lost": Kind("device-lost.json", "lock", "lost"),
    "Device Stolen": Kind("device-stolen.json", "lock", "stolen"),
    "Device Compromised": Kind("device-compromised.json", "lock", "compromised"),
    "Device Recovered": Kind("device-recovered.json", "release"),
}
"""The contract, version 1: detail-type to meaning."""


def read(body: str, message_id: str, received: datetime, settings: Settings) -> Command:
    """The command that an event asks for, or the rejection that names everything wrong with it.

    ``body`` is the event as EventBridge delivers it; ``message_id`` and ``received`` are SQS's own, and stand in for an
    ID and a time that the event does not have.

    When it happened is the earlier of what the producer says (``reportedAt``, else the envelope's ``time``) and
    ``received``: producers set the first two, nobody sets the third, so nobody speaks from the future.
    """
    event = _parse(body)
    detail = event.get("detail")
    fields: dict[str, Any] = detail if isinstance(detail, dict) else {}
    faults = list(_envelope_faults(event, settings))
    kind = KINDS.get(str(event.get("detail-type")))
    if kind is not None:
        faults += _schema_faults(kind.schema, detail)
    reported = _time(fields.get("reportedAt")) or _time(event.get("time")) or received
    cause = Cause(
        event_id=_text(event.get("id")) or message_id,
        source=_text(event.get("source")),
        detail_type=_text(event.get("detail-type")),
        happened=min(reported, received),
        received=received,
        reference=_text(fields.get("reference"))[:64],
    )
    alias = fields.get("organizationId")
    organization = settings.organization(alias if isinstance(alias, str) else None)
    if organization is None:
        known = ", ".join(f"{known.id} ({known.alias})" for known in settings.organizations)
        faults.append(f"detail.organizationId is {_shown(alias)}: expected one of {known}")
    target = Target(
        organization=organization.id if organization else "",
        user=_text(fields.get("userId"))[:256],
        device=_text(fields.get("deviceId"))[:32],
    )
    if cause.happened < received - settings.limits.max_event_age:
        faults.append(
            f"the event happened at {instant.write(cause.happened)}:"
            f" expected no more than {settings.limits.max_event_age.days} days before it was received"
        )
    if kind is None or faults:
        return Reject(cause, target, "; ".join(faults))
    if kind.act == "release":
        return Release(cause, target, "device")

    reason = settings.reasons[kind.reason]
    until = reason.until(cause.happened)
    if "expiresAt" in fields:
        until = instant.whole_seconds_up(instant.read(fields["expiresAt"]))
        fault = reason.fault(cause.happened, until)
        if fault:
            return Reject(cause, target, f"detail.expiresAt is {_shown(fields['expiresAt'])}: {fault}")
    claim = Claim(
        id=claim_id(cause.event_id),
        scope="device",
        why=reason.name,
        at=cause.happened,
        until=until,
        reference=cause.reference,
        note=_text(fields.get("note")),
    )
    return Lock(cause, target, claim)


def _parse(body: str) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _envelope_faults(event: dict[str, Any], settings: Settings) -> Iterator[str]:
    """Faults of the event's envelope: who sent it, and as what."""
    if not event:
        yield "the message is not a JSON object: expected an event as EventBridge delivers it"
        return
    if not _text(event.get("id")):
        yield f"id is {_shown(event.get('id'))}: expected the event's ID"
    source = settings.source(_text(event.get("source")))
    if source is None:
        known = ", ".join(known.name for known in settings.sources)
        yield f"source is {_shown(event.get('source'))}: expected one that the configuration names ({known})"
    name = _text(event.get("detail-type"))
    kind = KINDS.get(name)
    if kind is None:
        known = ", ".join(KINDS)
        yield f"detail-type is {_shown(event.get('detail-type'))}: expected one of {known}{_meant(name, KINDS)}"
    elif source is not None and kind.act not in source.may:
        allowed = " and ".join(sorted(source.may))
        yield f"source {source.name} asks to {kind.act} with {name}: the configuration lets it {allowed} only"


def _schema_faults(schema: str, detail: object) -> Iterator[str]:
    """Everything about ``detail`` that the schema refuses, one sentence a field."""
    definition, validate = _validator(schema)
    faults = []
    try:
        validate(detail)
    except fastjsonschema.JsonSchemaValuesException as refused:
        faults = refused.errors
    seen = set()
    for fault in faults:
        path = ".".join(["detail", *fault.path[1:]])
        if fault.rule == "required":
            for name in definition["required"]:
                if name not in fault.value:
                    yield f"{path}.{name} is missing: expected {definition['properties'][name]['description']}"
        elif fault.rule == "additionalProperties":
            for name in fault.value:
                if name not in definition["properties"]:
                    yield f"{path}.{name} is unknown: expected only {', '.join(definition['properties'])}" + _meant(
                        name, definition["properties"]
                    )
        elif path == "detail":
            yield f"detail is {_shown(detail)}: expected an object"
        elif path not in seen:
            seen.add(path)
            yield f"{path} is {_shown(fault.value)}: expected {definition['properties'][fault.path[1]]['description']}"


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


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _shown(value: object) -> str:
    """``value`` as a person recognises it, cut to 100 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return "missing" if value is None else text if len(text) <= 100 else f"{text[:99]}…"


def _meant(name: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
