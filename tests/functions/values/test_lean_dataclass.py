"""The values' own dataclass does what Python's does, but for the check at run time that nothing changes."""

import dataclasses
import pickle
import re
from dataclasses import field, replace
from typing import Any

import pytest

from device_lockout.values.lean_dataclass import dataclass
from infra.bundling import FUNCTIONS


@dataclass(frozen=True, slots=True)
class Point:
    """A value with a default, and a field that does not count in comparisons."""

    x: int
    y: int = 0
    label: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Marked(Point):
    """The same fields, but another class, and one field more."""

    mark: str = ""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A value without fields."""


def test_values_are_equal_by_their_class_and_the_fields_that_count() -> None:
    assert Point(1, 2, "a") == Point(1, 2, "b")
    assert Point(1, 2) != Point(2, 1)
    assert Nothing() == Nothing()
    different: list[tuple[Any, Any]] = [(Point(1), Marked(1)), (Marked(1), Point(1)), (Point(1), (1, 0))]
    assert all(one != other for one, other in different)


def test_every_value_of_the_functions_is_made_so() -> None:
    made_otherwise = re.compile(r"^from dataclasses import .*\bdataclass\b|^import dataclasses$", re.MULTILINE)
    sources = {path.name: path.read_text(encoding="utf-8") for path in FUNCTIONS.rglob("*.py")}
    assert [name for name, source in sources.items() if made_otherwise.search(source)] == ["lean_dataclass.py"]


def test_equal_values_have_one_hash() -> None:
    assert {Point(1, 2, "a"), Point(1, 2, "b"), Marked(1, 2), Nothing(), Nothing()} == {
        Point(1, 2),
        Marked(1, 2),
        Nothing(),
    }


def test_a_value_shows_its_fields_and_has_nothing_besides() -> None:
    assert repr(Marked(1, mark="m")) == "Marked(x=1, y=0, label='', mark='m')"
    assert repr(Nothing()) == "Nothing()"
    with pytest.raises(AttributeError, match="z"):
        Point(1).z = 2  # type: ignore[attr-defined]


def test_the_library_knows_it_as_one_of_its_own() -> None:
    assert replace(Point(1, 2), y=3) == Point(1, 3)
    assert [each.name for each in dataclasses.fields(Marked)] == ["x", "y", "label", "mark"]
    assert pickle.loads(pickle.dumps(Marked(1, 2, mark="m"))) == Marked(1, 2, mark="m")
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
