"""The contract's fields: what a schema has against an event's detail, in words that name the field and the value."""

import difflib
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

from device_lockout.inbound import event_mapping
from device_lockout.values import instant
from device_lockout.values.settings import EventMapping

SCHEMAS = Path(__file__).parent.parent.parent / "schemas" / "in"
MOST_FAULTS = 30
"""The most faults that one rejection names. The contract has fewer fields."""


def faults(schema: str, detail: object, mapping: EventMapping | None) -> Iterator[str]:
    """Everything about ``detail`` that the schema refuses, one sentence a field."""
    definition, validate = _validator(schema)
    refused_fields = []
    try:
        validate(detail)
    except fastjsonschema.JsonSchemaValuesException as refused:
        refused_fields = refused.errors
    properties = definition["properties"]
    seen = set()
    for fault in refused_fields:
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
                hint = meant(name, properties) if number < MOST_FAULTS else ""
                yield f"detail.{text(name, 64)} is unknown: expected only {known}{hint}"
        else:
            yield f"detail is {shown(detail)}: expected an object"


def _found(field: str, value: object, mapping: EventMapping | None) -> str:
    """How a fault about ``field`` begins: where it was looked for, and what was there."""
    if mapping is None:
        return f"detail.{field} is {shown(value)}"
    where = event_mapping.named(mapping, field) or f"{field}, for which the mapping has no expression,"
    return f"{where} found {'nothing' if value is None else shown(value)}"


@cache
def _validator(schema: str) -> tuple[dict[str, Any], Callable[[object], object]]:
    """A schema and the function compiled from it, which collects every fault rather than stop at the first."""
    definition = json.loads((SCHEMAS / schema).read_text(encoding="utf-8"))
    return definition, fastjsonschema.compile(definition, formats={"date-time": _is_time}, fast_fail=False)


def _is_time(value: str) -> bool:
    return time(value) is not None


def time(value: object) -> datetime | None:
    try:
        return instant.read(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def text(value: object, limit: int = 256) -> str:
    """``value`` if it is a text, else none; one over the limit is cut and ends in …, so that it names nothing else."""
    whole = value if isinstance(value, str) else ""
    return whole if len(whole) <= limit else f"{whole[: limit - 1]}…"


def shown(value: object) -> str:
    """``value`` as a person recognises it, cut to 100 characters."""
    written = json.dumps(value, ensure_ascii=False)
    return "missing" if value is None else written if len(written) <= 100 else f"{written[:99]}…"


def meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name[:64], known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
