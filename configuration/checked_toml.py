"""Reading TOML so that every mistake is found in one go, each with its place, its value and what was expected."""

import difflib
import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

Span = int | Literal["hold"]
"""A duration in whole seconds, or "hold": until released."""

MINUTE, HOUR, DAY = 60, 3600, 86400

type Reader[Value] = Callable[["CheckedTable"], Value]
"""Makes a value of a table, asking it for every key that may be there."""

_LONGEST = 3650 * DAY
_UNITS = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}


class CheckedTable:
    """One TOML table being read: each key asked for is checked and noted, and what nobody asked for is a mistake.

    A wrong value is reported and stands as something harmless of the right type, so that reading goes on.
    """

    def __init__(self, values: dict[str, Any], path: str, report: Callable[[str, str], None]) -> None:
        self._values = values
        self._path = path
        self._report = report
        self._asked: list[str] = []
        self._refused: set[str] = set()

    def __contains__(self, key: str) -> bool:
        if key not in self._values:
            self._asked.append(key)
        return key in self._values

    @property
    def sound(self) -> bool:
        """Whether every value read so far was as expected."""
        return not self._refused

    def wrong(self, key: str, said: str) -> None:
        """Report a mistake at `key` of this table, or with "" at the table itself."""
        self._refused.add(key)
        self._report(self._at(key), said)

    def refuse(self, key: str, expected: str) -> None:
        """Report the value of `key` as not what is expected, once."""
        if key not in self._refused:
            self.wrong(key, f"{self.written(key)}: expected {expected}")

    def written(self, key: str) -> str:
        """The value of `key`, much as it stands in the file."""
        return json.dumps(self._values.get(key), ensure_ascii=False, default=str)

    def whole[Value](self, reader: Reader[Value]) -> Value:
        """What `reader` makes of this table; the keys that it did not ask for are mistakes."""
        value = reader(self)
        for key in self._values:
            if key not in self._asked:
                self.wrong(key, f"unknown key{meant(key, self._asked)}: expected one of {', '.join(self._asked)}")
        return value

    def unique(self, list_key: str, key: str, values: Iterable[str]) -> None:
        """Report what occurs more than once among values already read (empty ones were reported when read)."""
        where = f"{list_key}[].{key}" if list_key else key
        for value in [value for value, count in Counter(values).items() if value and count > 1]:
            self.wrong(where, f"{json.dumps(value)}: expected no value twice")

    def text(self, key: str, pattern: str, expected: str) -> str:
        return self._read(key, expected, "", lambda value: isinstance(value, str) and re.fullmatch(pattern, value))

    def texts(self, key: str, pattern: str, expected: str) -> tuple[str, ...]:
        values: list[Any] = self._read(key, f"a list, each {expected}", [], lambda value: isinstance(value, list))
        for position, value in enumerate(values):
            if not (isinstance(value, str) and re.fullmatch(pattern, value)):
                self.wrong(f"{key}[{position}]", f"{json.dumps(value, default=str)}: expected {expected}")
        return tuple(value for value in values if isinstance(value, str))

    def mapping(self, key: str, expected: str) -> dict[str, Any]:
        """A table whose keys are not ours to check."""
        return self._read(key, expected, {}, lambda value: isinstance(value, dict) and value)

    def boolean(self, key: str) -> bool:
        return self._read(key, "true or false", False, lambda value: isinstance(value, bool))

    def number(self, key: str, least: int, most: int) -> int:
        expected = f"a whole number from {least} to {most}"
        return self._read(key, expected, least, lambda value: type(value) is int and least <= value <= most)

    def choice[Choice: str | int](self, key: str, choices: Sequence[Choice]) -> Choice:
        expected = f"one of {', '.join(map(str, choices))}"
        kind = type(choices[0])
        return self._read(key, expected, choices[0], lambda value: type(value) is kind and value in choices)

    def choices[Choice: str](self, key: str, choices: Sequence[Choice]) -> tuple[Choice, ...]:
        expected = f"a list of one or more of {', '.join(choices)}, none twice"
        return tuple(
            self._read(
                key,
                expected,
                [],
                lambda value: (
                    isinstance(value, list)
                    and 0 < len(value) == len({str(each) for each in value})
                    and all(each in choices for each in value)
                ),
            )
        )

    def duration(self, key: str, *, shortest: int = 1, longest: int = _LONGEST) -> int:
        """A duration such as "30d", in seconds."""
        expected = f'a duration from "{_short(shortest)}" to "{_short(longest)}", in s, m, h or d'
        written = self._read(
            key,
            expected,
            _short(shortest),
            lambda value: (seconds := _seconds(value)) is not None and shortest <= seconds <= longest,
        )
        return _seconds(written) or shortest

    def span(self, key: str) -> Span:
        """A duration in seconds, or "hold"."""
        if self._values.get(key) == "hold":
            self._asked.append(key)
            return "hold"
        expected = f'"hold" (until released), or a duration from "1s" to "{_short(_LONGEST)}", in s, m, h or d'
        written = self._read(
            key,
            expected,
            "1s",
            lambda value: (seconds := _seconds(value)) is not None and 1 <= seconds <= _LONGEST,
        )
        return _seconds(written) or 1

    def period(self, key: str, *, longest: int) -> int:
        """A period such as "1 hour" or "15 minutes", in seconds."""
        units = {"minute": MINUTE, "hour": HOUR, "day": DAY}

        def seconds(value: object) -> int:
            match = re.fullmatch(r"([1-9][0-9]{0,3}) (minute|hour|day)s?", value) if isinstance(value, str) else None
            return int(match[1]) * units[match[2]] if match else 0

        expected = f'"N minutes", "N hours" or "N days", at most {longest // DAY} days'
        return seconds(self._read(key, expected, "1 minute", lambda value: 0 < seconds(value) <= longest))

    def table[Value](self, key: str, reader: Reader[Value]) -> Value:
        """The table [key]; where there is none, that is the one mistake, and nothing in it is missed."""
        values: dict[str, Any] | None = self._read(
            key, f"a table [{self._at(key)}]", None, lambda value: isinstance(value, dict)
        )
        below = CheckedTable({}, "", lambda _key, _said: None) if values is None else self._below(key, values)
        return below.whole(reader)

    def tables[Value](self, key: str, reader: Reader[Value]) -> tuple[Value, ...]:
        """The tables [[key]], at least one."""
        values: list[dict[str, Any]] = self._read(
            key,
            f"one or more tables [[{key}]]",
            [],
            lambda value: isinstance(value, list) and value and all(isinstance(each, dict) for each in value),
        )
        return tuple(self._below(f"{key}[{position}]", value).whole(reader) for position, value in enumerate(values))

    def named_tables[Value](self, reader: Callable[[str, "CheckedTable"], Value]) -> tuple[Value, ...]:
        """The tables that this one is made of, each with its name."""
        return tuple(self.table(name, functools.partial(reader, name)) for name in self._values)

    def _read[Value](self, key: str, expected: str, harmless: Value, good: Callable[[Any], object]) -> Value:
        self._asked.append(key)
        if key not in self._values:
            self.wrong(key, f"missing: expected {expected}")
            return harmless
        if not good(self._values[key]):
            self.refuse(key, expected)
            return harmless
        value: Value = self._values[key]
        return value

    def _below(self, key: str, values: dict[str, Any]) -> "CheckedTable":
        return CheckedTable(values, self._at(key), self._report)

    def _at(self, key: str) -> str:
        return ".".join(part for part in (self._path, key) if part)


def _seconds(written: object) -> int | None:
    """Seconds of a duration such as "30d"; None if it is none."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", written) if isinstance(written, str) else None
    return int(match[1]) * _UNITS[match[2]] if match else None


def _short(seconds: int) -> str:
    return next(f"{seconds // size}{unit}" for unit, size in reversed(_UNITS.items()) if seconds % size == 0)


def meant(word: str, known: Iterable[str]) -> str:
    """A question to append to a message, if something known is close to the word; else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
