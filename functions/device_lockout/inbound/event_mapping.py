"""Other people's events, read as ours: JMESPath expressions that pick a report's fields out of any event.

A configured source names an action and an expression for each field it can tell. What the expressions find is held to
the same schema as an event of the contract; a fault names the expression and what it found.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from device_lockout.values import instant
from device_lockout.values.settings import EventMapping

FIELDS = {
    "organization": "organizationId",
    "user": "userId",
    "device": "deviceId",
    "serial_number": "serialNumber",
    "asset_tag": "assetTag",
    "time": "reportedAt",
    "reference": "reference",
    "note": "note",
}
"""What an expression is called in the configuration, and the field of the contract that it fills."""

CUT = {"reference": 64, "note": 500}
"""Texts for people are cut to the contract's length: a long ticket number is no reason to leave a device open."""

MOST_SAID = 200
"""Characters of what JMESPath says of a failure: it may quote all that was found."""


def detail(mapping: EventMapping, event: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The fields of the contract as this mapping finds them in ``event``; what it does not find is left out.

    And, in words, the expressions that can't be evaluated on this event: a function of JMESPath that is given what
    it does not take, say. Not all of these are JMESPath's own errors: ``contains('text', `1`)`` is a TypeError.
    """
    found: dict[str, Any] = {}
    faults = []
    for name, text in mapping.expressions.items():
        try:
            found[FIELDS[name]] = jmespath.search(text, event)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            said = " ".join(str(error).split())[:MOST_SAID]
            faults.append(f"{name} = {text!r} can't be evaluated on this event: {said}")
    if type(found.get("reportedAt")) in (int, float):
        found["reportedAt"] = _from_epoch(found["reportedAt"])
    for name, limit in CUT.items():
        if isinstance(found.get(name), str):
            found[name] = found[name][:limit]
    return {name: value for name, value in found.items() if value is not None}, faults


def named(mapping: EventMapping, field: str) -> str | None:
    """How the configuration calls the expression behind a field of the contract, with its text; None if none."""
    for name, contract_name in FIELDS.items():
        if contract_name == field and name in mapping.expressions:
            return f"{name} = {mapping.expressions[name]!r}"
    return None


def _from_epoch(number: float) -> str | float:
    """Seconds or milliseconds since 1970, as several senders count, in the contract's form."""
    try:
        seconds = number / 1000 if number > 100_000_000_000 else number
        return instant.write(datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds))
    except (OverflowError, ValueError):
        return number
