"""Mappings of other people's events: JMESPath expressions that find a report's fields in any event.

A configured source has an action, and an expression for each field that its events contain. The schema of the contract
checks what the expressions find. A fault names the expression and what it found.
"""

from collections.abc import Mapping
from typing import Any

from jmespath.exceptions import JMESPathError, JMESPathTypeError

from device_lockout.values import mapping_expression
from device_lockout.values.advice import shown
from device_lockout.values.settings import FIELDS, EventMapping

MAX_ERROR_LENGTH = 200  # Longer messages of JMESPath are cut, because they may quote all that was found.


def elements(mapping: EventMapping, event: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the events to read: none that is not meant, one, or one for each element of a list.

    Each of several is the whole event with the element under the key ``each``. Beside them comes every fault.
    """
    if mapping.when:
        meant, fault = _search("when", mapping.when, event)
        if fault or (not meant and not _is_number(meant)):
            return [event] if fault else [], [fault] if fault else []
    if not mapping.each:
        return [event], []
    found, fault = _search("each", mapping.each, event)
    if not fault and not isinstance(found, list):
        fault = f"each = {mapping.each!r} found {type(found).__name__}: expected a list"
    elif not fault and not 1 <= len(found) <= mapping.at_most:
        fault = f"each = {mapping.each!r} found {len(found)} elements: expected 1 to {mapping.at_most}"
    return ([event], [fault]) if fault else ([{**event, "each": element} for element in found], [])


def detail(mapping: EventMapping, event: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the contract's fields that the mapping finds in ``event``, and the faults of expressions by field."""
    found: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, text in mapping.expressions.items():
        found[FIELDS[name]], fault = _search(name, text, event)
        if fault:
            faults[FIELDS[name]] = fault
    return found, faults


def describe(mapping: EventMapping, field: str) -> str | None:
    """Return the name and text of the expression behind a field of the contract, or None if there is none."""
    for name, contract_name in FIELDS.items():
        if contract_name == field and name in mapping.expressions:
            return f"{name} = {mapping.expressions[name]!r}"
    return None


def _is_number(value: Any) -> bool:
    """Return whether a value is a number. JMESPath takes each for true, even 0."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _search(name: str, text: str, event: Mapping[str, Any]) -> tuple[Any, str]:
    """Return what an expression finds, and its fault if it can't be evaluated on this event.

    A function on a wrong type is an example. Some failures are not JMESPath's own errors: ``contains('text', `1`)`` is
    a TypeError.
    """
    try:
        return mapping_expression.search(text, event), ""
    except (JMESPathError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        if isinstance(error, JMESPathTypeError):
            error.current_value = shown(str(error.current_value))
        message = " ".join(str(error).split())[:MAX_ERROR_LENGTH]
        return None, f"{name} = {text!r} can't be evaluated on this event: {message}"
