"""Dataclasses as what JSON has, and back. The types of their fields say how.

A time is RFC 3339 in UTC, to the millisecond. A lock's end, the field ``until``, is as in the tag: in whole seconds, or
``hold``. A duration is in seconds, and a set is a sorted list.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin

from device_lockout.values import instant
from device_lockout.values.tag import read_time, write_time


class Form(NamedTuple):
    """How values of a type are written, and read. To read what was not written so raises ValueError or TypeError."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


FORMS: dict[Any, Form] = {
    datetime: Form(instant.write, instant.read),
    timedelta: Form(timedelta.total_seconds, lambda seconds: timedelta(seconds=seconds)),
}
"""The forms of types of which :func:`form` does not know enough."""


def form(kind: Any, name: str = "value") -> Form:
    """Return the form of a type. Faults call the value by ``name``."""
    if kind is datetime and name == "until":
        return Form(write_time, read_time)
    if kind in FORMS:
        return FORMS[kind]
    if is_dataclass(kind):
        return of_fields(kind)
    if isinstance(kind, UnionType):  # X | None
        some = form(get_args(kind)[0], name)
        return Form(
            lambda value: None if value is None else some.write(value),
            lambda plain: None if plain is None else some.read(plain),
        )
    container, of = get_origin(kind), get_args(kind)
    if container in (tuple, frozenset):
        each, ordered = form(of[0], name), list if container is tuple else sorted
        return Form(lambda value: ordered(map(each.write, value)), lambda plain: container(map(each.read, plain)))
    if container is dict:
        named = form(of[1], name)
        return Form(
            lambda value: {key: named.write(each) for key, each in value.items()},
            lambda plain: {key: named.read(each) for key, each in plain.items()},
        )
    return Form(lambda value: value, partial(_fit, str if container is Literal else kind, name))


def of_fields(
    kind: Any,
    key: Callable[[str], str] = str,
    may_lack: Collection[str] | None = None,
    without: Collection[str] = (),
) -> Form:
    """Return the form of a dataclass: its fields by their keys.

    Its field ``beyond`` is the JSON of what stands under other keys. What it ``may_lack`` takes its default where it is
    missing; None is for all fields that have one. It is written ``without`` some fields.
    """

    @cache
    def parts() -> list[tuple[str, str, Form, bool]]:
        return [
            (
                each.name,
                key(each.name),
                form(each.type, each.name),
                (each.default is not MISSING or each.default_factory is not MISSING)
                if may_lack is None
                else each.name in may_lack,
            )
            for each in fields(kind)
            if each.name not in (*without, "beyond")
        ]

    def write(value: Any) -> dict[str, Any]:
        own = {written: of.write(getattr(value, name)) for name, written, of, _ in parts()}
        return json.loads(value.beyond) | own if getattr(value, "beyond", "") else own

    def read(plain: Any) -> Any:
        found = {
            name: of.read(plain[written]) for name, written, of, optional in parts() if not optional or written in plain
        }
        if hasattr(kind, "beyond"):
            others = sorted(plain.keys() - {written for _, written, _, _ in parts()}) if len(plain) > len(found) else []
            found["beyond"] = json.dumps({other: plain[other] for other in others}) if others else ""
        return kind(**found)

    return Form(write, read)


def _fit(kind: type, name: str, plain: Any) -> Any:
    """Return a value of this very type, without half of a surrogate pair, which no store takes."""
    halved = isinstance(plain, str) and not plain.isascii() and plain != plain.encode(errors="replace").decode()
    if halved or not isinstance(plain, kind):
        raise ValueError(f"{name} is not as it was written")
    return plain
