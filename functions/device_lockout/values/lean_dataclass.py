"""``dataclass(frozen=True, slots=True)`` at a third of its cost, for the values in this package.

A function's start makes forty such classes, and a sweep of a million overrides makes millions of instances. Python's
own decorator writes and compiles six methods for each class, and a frozen instance sets each field through a call. Here
the classes share all methods but ``__init__``. That a value never changes is checked by mypy alone.
"""

import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 (mypy takes it for Python's own)
else:

    def dataclass(*, frozen: bool, slots: bool) -> Any:
        """Return the decorator. ``frozen`` and ``slots`` are what mypy reads."""
        assert (frozen, slots) == (True, True), "expected a frozen class with slots"
        return _made


def _made(cls: Any) -> Any:
    cls.__eq__, cls.__hash__, cls.__repr__ = _eq, _hash, _repr
    made: Any = dataclasses.dataclass(eq=False, repr=False, slots=True)(cls)
    made.compared = attrgetter("__class__", *(each.name for each in dataclasses.fields(made) if each.compare))
    return made


def _eq(self: Any, other: Any) -> Any:
    return self.compared(self) == other.compared(other) if self.__class__ is other.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(self.compared(self))


def _repr(self: Any) -> str:
    fields = (f"{each.name}={getattr(self, each.name)!r}" for each in dataclasses.fields(self))
    return f"{type(self).__qualname__}({', '.join(fields)})"
