"""The record of calls, for tests and for people. Each call has an index that never changes."""

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
    """One call of the API, filled in as it proceeds.

    Attributes:
        index: counts all calls from 0.
        time: when it arrived.
        operation: its name, empty if the request names none.
        principal: the caller's ARN, or the access key of the signature.
        request: the request, with long texts and lists cut.
        status: the HTTP status, None until it is answered.
        error: the error code, if it was refused.
        message: the error message, if it was refused.
        effect: what a fault did with it: applied, not_applied, late (not applied yet) or applied_late. After an
            operation that failed without an answer, `refused` and the error code.
        faults: the names of the faults that hit it.
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
        """Return the call as the control shows it."""
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
        """The index of the next call, which is also the number of calls so far."""
        return self._next

    def add(self, time: datetime, operation: str, principal: str | None, request: Mapping[str, Any]) -> Call:
        """Record a call that has just arrived."""
        call = Call(self._next, time, operation, principal, request)
        self._next += 1
        self._calls.append(call)
        return call

    def keep(self, limit: int) -> None:
        """Change how many calls are kept."""
        if limit != self._calls.maxlen:
            self._calls = deque(self._calls, maxlen=limit)

    def since(self, index: int) -> Iterator[Call]:
        """Return the kept calls from an index on."""
        return islice(self._calls, max(0, index - self.first_index), None)

    @property
    def first_index(self) -> int:
        """The index of the oldest kept call."""
        return self._next - len(self._calls)


def clipped(value: Any) -> Any:
    """Return a request with very long texts and lists cut, to keep the record small."""
    if isinstance(value, str) and len(value) > _TEXT_KEPT:
        return f"{value[:_TEXT_KEPT]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {clipped(name): clipped(member) for name, member in islice(value.items(), 50)}
    if isinstance(value, list):
        return [clipped(item) for item in value[:50]]
    return value
