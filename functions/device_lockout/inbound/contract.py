"""The fields of the contract: checks a detail against its schema. Each fault names the field and its value."""

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
from device_lockout.values.advice import shown
from device_lockout.values.settings import EventMapping

SCHEMAS = Path(__file__).parent.parent.parent / "schemas" / "in"
NAMING = ("userId", "deviceId", "serialNumber", "assetTag")  # The fields that say which device is meant.
MAX_FAULTS = 30  # The most faults in one rejection. The contract has fewer fields.


def faults(schema: str, detail: object, mapping: EventMapping | None) -> Iterator[str]:
    """Yield everything that the schema refuses in ``detail``, in one sentence for each field.

    Args:
        schema: The name of a file in :data:`SCHEMAS`.
        detail: The event's detail, or what a mapping found.
        mapping: The mapping, or None for an event of the contract. It decides how a fault names the field.
    """
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
            asked = [name for name in NAMING if mapping is not None and event_mapping.describe(mapping, name)]
            missing = [name for name in asked or NAMING[:2] if name not in fault.value]
            found = " and ".join(_found(name, None, mapping) for name in missing)
            yield f"no device is named ({found}): expected userId with deviceId, or serialNumber, or assetTag"
        elif fault.rule == "additionalProperties":
            known = ", ".join(properties)
            for number, name in enumerate(name for name in fault.value if name not in properties):
                hint = suggestion(name, properties) if number < MAX_FAULTS else ""
                yield f"detail.{shown(name)} is unknown: expected only {known}{hint}"
        else:
            yield f"detail is {display(detail)}: expected an object"


def _found(field: str, value: object, mapping: EventMapping | None) -> str:
    """Return the beginning of a fault: where the field was looked for, and what was there."""
    if mapping is None:
        return f"detail.{field} is {display(value)}"
    where = event_mapping.describe(mapping, field) or f"{field}, for which the mapping has no expression,"
    return f"{where} found {'nothing' if value is None else display(value)}"


@cache
def _validator(schema: str) -> tuple[dict[str, Any], Callable[[object], object]]:
    """Return a schema and its compiled function, which collects every fault before it raises."""
    definition = json.loads((SCHEMAS / schema).read_text(encoding="utf-8"))
    times = {"date-time": lambda value: parse_time(value) is not None}
    return definition, fastjsonschema.compile(definition, formats=times, fast_fail=False)


def parse_time(value: object) -> datetime | None:
    """Return the instant in ``value``, or None if that is not an RFC 3339 time with an offset."""
    try:
        return instant.read(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def text(value: object, limit: int = 256) -> str:
    """Return ``value`` if it is a text, otherwise an empty one.

    A text over ``limit`` characters is cut and ends in "…", so that it can't be taken for another name.
    """
    whole = value if isinstance(value, str) else ""
    return whole if len(whole) <= limit else f"{whole[: limit - 1]}…"


def display(value: object) -> str:
    """Return ``value`` as JSON, as far as a page shows a stranger's words. None is "missing"."""
    written = json.dumps(value, default=str)  # a mapping's `&name` finds what is no JSON
    words = written[1:-1] if isinstance(value, str) else written
    return "missing" if value is None else written if shown(words) == words else shown(words)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean …?)" with the most similar known name, or an empty text."""
    near = difflib.get_close_matches(name[:64], known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
