"""The record of calls: the last so many, each with an index that never changes, for tests and for people."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

type Json = dict[str, Any]

_TEXT_KEPT = 1_024


@dataclass(slots=True)
class Call:
    """One call of the API, filled in as it goes on.

    `status` and `error` are None until it is answered; `effect` says what a fault did with it: applied, not_applied,
    late (not yet applied) or applied_late; `faults` are the names of those that hit it.
    """

    index: int
    time: datetime
    operation: str
    principal: str | None
    request: Mapping[str, Any]
    status: int | None = None
    error: str | None = None
    message: str | None = None
    effect: str | None = None
    faults: tuple[str, ...] = ()

    def as_json(self) -> Json:
        """The call as the control shows it."""
        shown: Json = {
            "index": self.index,
            "time": self.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "operation": self.operation,
            "principal": self.principal,
            "request": self.request,
            "status": self.status,
            "error": self.error,
        }
        extras = {"message": self.message, "effect": self.effect, "faults": list(self.faults)}
        return shown | {name: value for name, value in extras.items() if value}


class Calls:
    """The last `keep` calls."""

    def __init__(self, keep: int) -> None:
        self._calls: deque[Call] = deque(maxlen=keep)
        self._next = 0

    @property
    def next_index(self) -> int:
        """The index that the next call will get; also how many there were."""
        return self._next

    def add(self, time: datetime, operation: str, principal: str | None, request: Mapping[str, Any]) -> Call:
        """Records a call that has just arrived."""
        call = Call(self._next, time, operation, principal, request)
        self._next += 1
        self._calls.append(call)
        return call

    def keep(self, most: int) -> None:
        """Changes how many are kept."""
        if most != self._calls.maxlen:
            self._calls = deque(self._calls, maxlen=most)

    def since(self, index: int) -> Iterator[Call]:
        """The kept calls from an index on."""
        return islice(self._calls, max(0, index - self.first_index), None)

    @property
    def first_index(self) -> int:
        """The index of the oldest call that is kept."""
        return self._next - len(self._calls)


def clipped(value: Any) -> Any:
    """A request as it is recorded: very long texts and lists are cut, so that the record stays small."""
    if isinstance(value, str) and len(value) > _TEXT_KEPT:
        return f"{value[:_TEXT_KEPT]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {clipped(name): clipped(member) for name, member in islice(value.items(), 50)}
    if isinstance(value, list):
        return [clipped(item) for item in value[:50]]
    return value
