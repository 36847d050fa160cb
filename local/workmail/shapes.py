r"""Checks of values against botocore's service model, compiled once into closures.

The model is `workmail` 2017-10-01 of the installed botocore.
Complaints have AWS's words: "Value 'x' at 'Y' failed to satisfy constraint: Member must …".

The checks behave as AWS's Java services do:

- A pattern matches the whole value. Classes such as `\w` are ASCII.
- A length counts characters (in Smithy, Unicode scalar values).
- A null member is absent. An unknown member passes.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache

import botocore.session
from botocore.model import ListShape, ServiceModel, Shape, StructureShape

type Check = Callable[[object, str, list[str]], None]
"""Takes a value, its place and a list. It adds a complaint to the list for each unsatisfied constraint."""

_SHOWN_CHARACTERS = 300


@cache
def service_model() -> ServiceModel:
    """Return WorkMail's model from the installed botocore."""
    return botocore.session.get_session().get_service_model("workmail")


def complaint(value: object, where: str, constraint: str) -> str:
    """Return AWS's words for an unsatisfied constraint. A very long value is cut."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]}… ({len(text)} characters)"
    return f"Value '{text}' at '{where}' failed to satisfy constraint: {constraint}"


def compile_check(shape: Shape) -> Check:
    """Return the check of a shape with everything under it."""
    match shape.type_name:
        case "structure":
            assert isinstance(shape, StructureShape)
            return _structure(shape)
        case "list":
            assert isinstance(shape, ListShape)
            return _list(shape)
        case "string":
            return _string(shape)
        case "integer" | "long":
            return _number(shape, (int,), "an integer")
        case "timestamp" | "float" | "double":
            return _number(shape, (int, float), "a number")
        case "boolean":
            return _boolean
    raise NotImplementedError(f"shape {shape.name} is a {shape.type_name}, which no operation here uses")


def _structure(shape: StructureShape) -> Check:
    required = frozenset(shape.required_members)
    members = tuple((name, name in required, compile_check(member)) for name, member in shape.members.items())

    def check(value: object, where: str, complaints: list[str]) -> None:
        if not isinstance(value, Mapping):
            complaints.append(complaint(value, where or shape.name, "Member must be a structure"))
            return
        for name, needed, check_member in members:
            member = value.get(name)
            if member is not None:
                check_member(member, f"{where}.{name}" if where else name, complaints)
            elif needed:
                place = f"{where}.{name}" if where else name
                complaints.append(complaint("null", place, "Member must not be null"))

    return check


def _list(shape: ListShape) -> Check:
    check_item = compile_check(shape.member)
    least, most = shape.metadata.get("min"), shape.metadata.get("max")

    def check(value: object, where: str, complaints: list[str]) -> None:
        if not isinstance(value, list):
            complaints.append(complaint(value, where, "Member must be a list"))
            return
        _bounds(len(value), value, where, complaints, least, most, "have length")
        for position, item in enumerate(value, start=1):
            check_item(item, f"{where}.{position}", complaints)

    return check


def _string(shape: Shape) -> Check:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    allowed = tuple(shape.metadata.get("enum", ()))
    pattern = shape.metadata.get("pattern")
    matches = re.compile(pattern, re.ASCII).fullmatch if pattern else None

    def check(value: object, where: str, complaints: list[str]) -> None:
        if not isinstance(value, str):
            complaints.append(complaint(value, where, "Member must be a string"))
            return
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            complaints.append(complaint(ascii(value), where, "Member must be well-formed Unicode"))
            return
        _bounds(len(value), value, where, complaints, least, most, "have length")
        if matches and not matches(value):
            complaints.append(complaint(value, where, f"Member must satisfy regular expression pattern: {pattern}"))
        if allowed and value not in allowed:
            complaints.append(complaint(value, where, f"Member must satisfy enum value set: [{', '.join(allowed)}]"))

    return check


def _number(shape: Shape, types: tuple[type, ...], name: str) -> Check:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")

    def check(value: object, where: str, complaints: list[str]) -> None:
        if isinstance(value, bool) or not isinstance(value, types):
            complaints.append(complaint(value, where, f"Member must be {name}"))
            return
        assert isinstance(value, int | float)
        _bounds(value, value, where, complaints, least, most, "have value")

    return check


def _boolean(value: object, where: str, complaints: list[str]) -> None:
    if not isinstance(value, bool):
        complaints.append(complaint(value, where, "Member must be a boolean"))


def _bounds(
    size: float, value: object, where: str, complaints: list[str], least: int | None, most: int | None, what: str
) -> None:
    if least is not None and size < least:
        complaints.append(complaint(value, where, f"Member must {what} greater than or equal to {least}"))
    if most is not None and size > most:
        complaints.append(complaint(value, where, f"Member must {what} less than or equal to {most}"))


@cache
def request_check(operation: str) -> Check:
    """Return the check of an operation's whole request."""
    shape = service_model().operation_model(operation).input_shape
    assert shape is not None, f"{operation} takes no input"
    return compile_check(shape)


@cache
def operation_names() -> frozenset[str]:
    """Return all operations in the model, served here or not."""
    return frozenset(service_model().operation_names)


def member_check(shape_name: str, member: str) -> Check:
    """Return the check of one member of a structure, for values that don't come through the API."""
    shape = service_model().shape_for(shape_name)
    assert isinstance(shape, StructureShape)
    return compile_check(shape.members[member])
