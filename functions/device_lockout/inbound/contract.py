"""The fields of the contract: checks a detail against its schema. Each fault names the field and its value.

fastjsonschema does this, too. To compile the schemas took 7 ms of each cold start, and its faults had to be put into
our words field by field. A test compares what the two accept.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

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
    if not isinstance(detail, dict):
        yield f"detail is {display(detail)}: expected an object"
        return
    definition = _definition(schema)
    properties = definition["properties"]
    ways = definition.get("anyOf", ())
    if ways and not any(detail.keys() >= set(way["required"]) for way in ways):
        asked = [name for name in NAMING if mapping is not None and event_mapping.describe(mapping, name)]
        missing = [name for name in asked or NAMING[:2] if name not in detail]
        nowhere = " and ".join(found(name, None, mapping) for name in missing)
        yield f"no device is named ({nowhere}): expected userId with deviceId, or serialNumber, or assetTag"
    for name in definition.get("required", ()):
        if name not in detail:
            yield f"{found(name, None, mapping)}: expected {properties[name]['description']}"
    for name, rules in properties.items():
        if name in detail and not _fits(detail[name], rules):
            yield f"{found(name, detail[name], mapping)}: expected {rules['description']}"
    for number, name in enumerate(name for name in detail if name not in properties):
        hint = suggestion(name, properties) if number < MAX_FAULTS else ""
        yield f"detail.{shown(name)} is unknown: expected only {', '.join(properties)}{hint}"


def _fits(value: object, rules: dict[str, Any]) -> bool:
    """Return whether a field's rules take its value. The schemas have texts only, and no other keywords than these."""
    return (
        isinstance(value, str)
        and value == rules.get("const", value)
        and rules.get("minLength", 0) <= len(value) <= rules.get("maxLength", len(value))
        and ("pattern" not in rules or re.fullmatch(rules["pattern"], value) is not None)
        and ("format" not in rules or parse_time(value) is not None)
    )


def found(field: str, value: object, mapping: EventMapping | None) -> str:
    """Return the beginning of a fault: where the field was looked for, and what was there."""
    if mapping is None:
        return f"detail.{field} is {display(value)}"
    where = event_mapping.describe(mapping, field) or f"{field}, for which the mapping has no expression,"
    return f"{where} found {'nothing' if value is None else display(value)}"


@cache
def _definition(schema: str) -> dict[str, Any]:
    """Return a schema, read once."""
    definition: dict[str, Any] = json.loads((SCHEMAS / schema).read_text(encoding="utf-8"))
    return definition


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
    import difflib  # most reports are right, and need no hint

    near = difflib.get_close_matches(name[:64], known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
