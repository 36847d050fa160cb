r"""Checks of values against the service model inside botocore, compiled once into closures.

The model is botocore's `workmail` 2017-10-01, whichever botocore is installed.
Complaints are worded as AWS words them: "Value 'x' at 'Y' failed to satisfy constraint: Member must …".
Differences from a Java service that matter here are bridged: patterns match the whole value, classes such as `\w`
are ASCII, lengths count characters (Smithy's Unicode scalar values), null members count as absent, unknown ones pass.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StructureShape

type Check = Callable[[object, str, list[str]], None]
"""Adds to the list one complaint for each constraint that the value, found at the named place, does not satisfy."""

_SHOWN_CHARACTERS = 300


@cache
def service_model() -> ServiceModel:
    """WorkMail's model, from the botocore that is installed here."""
    return botocore.session.get_session().get_service_model("workmail")


def complaint(value: object, where: str, constraint: str) -> str:
    """One unsatisfied constraint in AWS's words; very long values are cut."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]}… ({len(text)} characters)"
    return f"Value '{text}' at '{where}' failed to satisfy constraint: {constraint}"


def compile_check(shape: Shape) -> Check:
    """The check of one shape of the model, everything under it included."""
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
    raise NotImplementedError(f"shape {shape.name} is a {shape.type_name}: no operation of the emulator uses that")


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


@dataclass(frozen=True, slots=True)
class Operation:
    """One modelled operation: how its requests and answers are checked, and which errors it may answer."""

    name: str
    check_request: Check
    check_answer: Check
    errors: frozenset[str]
    writes: bool

    def complaints(self, request: Mapping[str, Any]) -> list[str]:
        """Every constraint of the model that the request does not satisfy, in the model's order."""
        found: list[str] = []
        self.check_request(request, "", found)
        return found

    def answer_complaints(self, answer: Mapping[str, Any]) -> list[str]:
        """Every constraint of the model that the answer does not satisfy, members unknown to the model included."""
        found: list[str] = []
        self.check_answer(answer, "", found)
        return found


@cache
def operation(name: str) -> Operation:
    """The named operation; KeyError where the emulator's botocore does not model it."""
    if name not in operation_names():
        raise KeyError(name)
    model: OperationModel = service_model().operation_model(name)
    return Operation(
        name=name,
        check_request=_members_of(model.input_shape),
        check_answer=_members_of(model.output_shape),
        errors=frozenset(shape.name for shape in model.error_shapes),
        writes=not name.startswith(("Get", "List", "Describe")),
    )


def _members_of(shape: StructureShape | None) -> Check:
    return compile_check(shape) if shape else _no_members


def _no_members(value: object, where: str, complaints: list[str]) -> None:
    if value != {}:
        complaints.append(complaint(value, where, "Member must be empty"))


@cache
def operation_names() -> frozenset[str]:
    """All operations that the model has, served here or not."""
    return frozenset(service_model().operation_names)


def member_check(shape_name: str, member: str) -> Check:
    """The check of one member of a named structure, for values that enter by another door than the API."""
    shape = service_model().shape_for(shape_name)
    assert isinstance(shape, StructureShape)
    return compile_check(shape.members[member])
