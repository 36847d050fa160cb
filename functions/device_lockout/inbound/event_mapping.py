"""Mappings of other people's events: JMESPath expressions that find a report's fields in any event.

A configured source has an action, and an expression for each field that its events contain. The schema of the contract
checks what the expressions find. A fault names the expression and what it found.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from device_lockout.values import instant
from device_lockout.values.settings import FIELDS, EventMapping

MAX_LENGTHS = {"reference": 64, "note": 500}
"""Longer texts for people are cut. A long ticket number is no reason to leave a device open."""

MAX_ERROR_LENGTH = 200
"""Longer messages of JMESPath are cut, because they may quote all that was found."""


def detail(mapping: EventMapping, event: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the contract's fields that the mapping finds in ``event``, and a fault for each expression that fails.

    An expression fails if JMESPath can't evaluate it on this event, for instance a function on a wrong type. Some
    failures are not JMESPath's own errors: ``contains('text', `1`)`` is a TypeError.
    """
    found: dict[str, Any] = {}
    faults = []
    for name, text in mapping.expressions.items():
        try:
            found[FIELDS[name]] = jmespath.search(text, event)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            message = " ".join(str(error).split())[:MAX_ERROR_LENGTH]
            faults.append(f"{name} = {text!r} can't be evaluated on this event: {message}")
    if type(found.get("reportedAt")) in (int, float):
        found["reportedAt"] = _from_epoch(found["reportedAt"])
    for name, limit in MAX_LENGTHS.items():
        if isinstance(found.get(name), str):
            found[name] = found[name][:limit]
    return {name: value for name, value in found.items() if value is not None}, faults


def describe(mapping: EventMapping, field: str) -> str | None:
    """Return the name and text of the expression behind a field of the contract, or None if there is none."""
    for name, contract_name in FIELDS.items():
        if contract_name == field and name in mapping.expressions:
            return f"{name} = {mapping.expressions[name]!r}"
    return None


def _from_epoch(number: float) -> str | float:
    """Return a count of seconds or milliseconds since 1970 in the contract's form."""
    try:
        seconds = number / 1000 if number > 100_000_000_000 else number
        return instant.write(datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds))
    except (OverflowError, ValueError):
        return number
