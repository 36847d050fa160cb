"""Faults that a tester switches on: throttling, latency, errors, missing answers and held requests."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.workmail.shapes import operation_names

type Json = dict[str, Any]

_FILTERS = ("operations", "user", "device")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "throttle": (*_FILTERS, "per_second", "burst"),
    "latency": (*_FILTERS, "ms"),
    "error": (*_FILTERS, "status", "effect", "after_seconds"),
    "no_answer": (*_FILTERS, "effect", "after_seconds"),
    "hold": ("target", "principal", "body", "effect"),
}
_KEYS_OF_ALL = ("kind", "skip", "count", "probability")


@dataclass(slots=True)
class Fault:
    """One fault: what it does, which calls it hits and what it remembers.

    Attributes:
        name: the name that the tester gave it.
        kind: one of
            throttle, which refuses the call,
            latency, which waits first (several add up),
            error, which answers with a 5xx,
            no_answer, which keeps the connection open until the client gives up,
            hold, which does that to a request to any service.
        operations: the operations to hit, None for all. Not for hold.
        user: the user to hit, in any form. Not for hold.
        device: the device to hit. Not for hold.
        target: the header `X-Amz-Target` of requests to hold. S3 does not have it.
        principal: a part of the caller's ARN, for hold.
        body: a part of the request's body in any case, for hold.
        skip: how many calls pass before the first hit; counts down.
        count: how many calls are hit, None for no limit; counts down.
        probability: of a hit, for each call.
        per_second: makes throttle a rate limit.
        burst: the size of the limit's bucket; `per_second` by default.
        ms: the latency in milliseconds.
        status: the HTTP status of error.
        effect: of error, no_answer and hold: not_applied, applied or late.
        after_seconds: when a late effect is applied. For hold that is once the client is gone.
    """

    name: str
    kind: str
    operations: list[str] | None = None
    user: str | None = None
    device: str | None = None
    target: str | None = None
    principal: str | None = None
    body: str | None = None
    skip: int | None = None
    count: int | None = None
    probability: float | None = None
    per_second: float | None = None
    burst: int | None = None
    ms: float = 0
    status: int = 500
    effect: str = "not_applied"
    after_seconds: float = 0
    _dice: random.Random = field(default_factory=random.Random, repr=False)
    _tokens: float | None = field(default=None, repr=False)
    _filled: float = field(default=0, repr=False)

    def seed_dice(self, seed: int) -> None:
        """Seed the dice. Each fault has dice of its own, so faults don't change each other's sequence."""
        self._dice = random.Random(f"{seed}/{self.name}")  # noqa: S311 - reproducible faults, no secrets

    def as_json(self) -> Json:
        """Return the fault as the controls show and accept it, with the rest of `skip` and `count`."""
        keys = (*_KEYS_OF_ALL, *_KEYS[self.kind])
        return {key: getattr(self, key) for key in keys if getattr(self, key) is not None}

    def hits(self, operation: str, user_forms: Iterable[str], device: str | None, now: float) -> bool:
        """Return whether this call is hit, and count it.

        Args:
            operation: the operation's name.
            user_forms: every form of the call's user, in lower case.
            device: the call's device, if it has one.
            now: the time in seconds.
        """
        if self.kind == "hold" or self.count == 0 or (self.operations is not None and operation not in self.operations):
            return False
        if self.user is not None and self.user.lower() not in user_forms:
            return False
        if self.device is not None and (device is None or self.device.lower() != device.lower()):
            return False
        return self._comes_up(now)

    def holds(self, target: str, principal: str, body: str) -> bool:
        """Return whether this request to any service is held, and count it."""
        if self.kind != "hold" or self.count == 0 or target != self.target:
            return False
        if (self.principal or "") not in principal or (self.body or "").lower() not in body.lower():
            return False
        return self._comes_up(0)

    def _comes_up(self, now: float) -> bool:
        """Return whether the next matching call is hit."""
        if self.skip:
            self.skip -= 1
            return False
        if self.per_second is not None and self._token(now):
            return False
        if self.probability is not None and self._dice.random() >= self.probability:
            return False
        if self.count is not None:
            self.count -= 1
        return True

    def _token(self, now: float) -> bool:
        """Take a token from the bucket, if it has one."""
        assert self.per_second is not None
        most = float(self.burst or max(1, self.per_second))
        before = most if self._tokens is None else self._tokens
        self._tokens = min(most, before + max(0, now - self._filled) * self.per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def fault_problems(document: Mapping[str, Any], where: str) -> list[str]:
    """Return what is wrong with a fault's JSON, one line for each unknown key and wrong value."""
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in _KEYS:
        kinds = f"one of {', '.join(_KEYS)} (the fault's name by default)"
        return [f"{where}.kind is {kind!r:.100}; expected {kinds}"]
    known = (*_KEYS_OF_ALL, *_KEYS[kind])
    unknown = (key for key in document if key not in known)
    problems = [f"unknown setting {where}.{key}; expected one of {', '.join(known)}" for key in unknown]
    for key, value in document.items():
        if key in known and (expected := _expected(key, value)):
            problems.append(f"{where}.{key} is {value!r:.100}; expected {expected}")
    if kind == "latency" and "ms" not in document:
        problems.append(f"{where}.ms is missing; expected {_expected('ms', None)}")
    if kind == "hold" and "target" not in document:
        problems.append(f"{where}.target is missing; expected a header, such as DynamoDB_20120810.UpdateItem")
    if kind != "hold" and document.get("effect") == "late" and "after_seconds" not in document:
        problems.append(f"{where}.after_seconds is missing; expected {_expected('after_seconds', None)}")
    if "burst" in document and "per_second" not in document:
        problems.append(f"{where}.burst is given without per_second; expected both")
    return problems


_NUMBERS: Mapping[str, tuple[float, float, str]] = {
    "probability": (0, 1, "a number from 0 to 1"),
    "per_second": (0.001, 1_000_000, "calls a second, 0.001 to 1,000,000"),
    "ms": (0, 900_000, "milliseconds, 0 to 900,000"),
    "after_seconds": (0, 900, "seconds, 0 to 900"),
}
_INTEGERS: Mapping[str, tuple[int, int, str]] = {
    "skip": (0, 2**31, "how many matching calls pass first, 0 or more"),
    "count": (0, 2**31, "how many calls are hit, 0 or more"),
    "burst": (1, 1_000_000, "calls at once, 1 to 1,000,000"),
    "status": (500, 599, "an HTTP status from 500 to 599"),
}


def _expected(key: str, value: object) -> str:
    """Return what is expected of a key if the value is wrong, or an empty string."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in _NUMBERS:
        least, most, words = _NUMBERS[key]
        return "" if number and least <= value <= most else words  # type: ignore[operator]
    if key in _INTEGERS:
        least, most, words = _INTEGERS[key]
        return "" if number and isinstance(value, int) and least <= value <= most else words
    if key == "effect":
        return "" if value in ("applied", "not_applied", "late") else "one of applied, not_applied, late"
    if key == "operations":
        modelled = isinstance(value, list) and value and all(name in operation_names() for name in map(str, value))
        return "" if modelled else "a list of WorkMail operations, such as PutMobileDeviceAccessOverride"
    return "" if isinstance(value, str) and value else "a text"
