"""Read TOML and report all mistakes at once, each with its place, its value and what is expected.

A trial with pydantic 2 gave the same message for most mistakes, and a JSON Schema for editors. It was no shorter. The
package's values know nothing of pydantic, so its models repeat them. Some messages were worse:

- Checks across keys run only if each key of the table is right. They stop at the first mistake. An empty
  ``publishers`` under a reserved name was missed until the name was right. So were ``publishers`` beside a ``bus`` in
  a lock without a ``reason``.
- ``log_retention_days = 90.0`` was accepted as 90.
"""

import difflib
import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))

type Reader[Value] = Callable[["CheckedTable"], Value]
"""Makes a value from a table. It reads every key that the table may have."""

_LONGEST = 3650 * DAY
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_PERIODS = {"minute": MINUTE, "hour": HOUR, "day": DAY}


class CheckedTable:
    """A TOML table that is read key by key. A key that nobody reads is a mistake.

    After a wrong value, reading goes on with a harmless value of the right type.
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
        """Whether every value read so far is as expected."""
        return not self._refused

    def wrong(self, key: str, said: str) -> None:
        """Report a mistake at ``key``. An empty key means the table itself."""
        self._refused.add(key)
        self._report(self._at(key), said)

    def refuse(self, key: str, expected: str) -> None:
        """Report the value of ``key`` as wrong, unless it was reported before."""
        if key not in self._refused:
            self.wrong(key, f"{self.written(key)}: expected {expected}")

    def written(self, key: str) -> str:
        """Return the value of ``key`` as JSON, which is nearly TOML."""
        return json.dumps(self._values.get(key), ensure_ascii=False, default=str)

    def whole[Value](self, reader: Reader[Value]) -> Value:
        """Return the reader's value of this table. Report the keys that it did not read."""
        value = reader(self)
        for key in self._values:
            if key not in self._asked:
                self.wrong(key, f"unknown key{meant(key, self._asked)}: expected one of {', '.join(self._asked)}")
        return value

    def unique(self, list_key: str, key: str, values: Iterable[str]) -> None:
        """Report each value that occurs more than once. Empty values were reported before."""
        where = f"{list_key}[].{key}" if list_key else key
        for value in [value for value, count in Counter(values).items() if value and count > 1]:
            self.wrong(where, f"{json.dumps(value)}: expected no value twice")

    def says(self, key: str, word: str) -> bool:
        """Return whether the value is this word. If it is not, another method must read it."""
        if self._values.get(key) != word:
            return False
        self._asked.append(key)
        return True

    def text(self, key: str, pattern: str, expected: str) -> str:
        return self._read(key, expected, "", lambda value: isinstance(value, str) and re.fullmatch(pattern, value))

    def texts(self, key: str, pattern: str, expected: str) -> tuple[str, ...]:
        values: list[Any] = self._read(key, f"a list, each {expected}", [], lambda value: isinstance(value, list))
        for position, value in enumerate(values):
            if not (isinstance(value, str) and re.fullmatch(pattern, value)):
                self.wrong(f"{key}[{position}]", f"{json.dumps(value, default=str)}: expected {expected}")
        return tuple(value for value in values if isinstance(value, str))

    def mapping(self, key: str, expected: str) -> dict[str, Any]:
        """Return a table that is not empty. Its contents are not checked."""
        return self._read(key, expected, {}, lambda value: isinstance(value, dict) and value)

    def boolean(self, key: str) -> bool:
        return self._read(key, "true or false", False, lambda value: isinstance(value, bool))

    def number(self, key: str, least: int, most: int) -> int:
        expected = f"a whole number from {least} to {most}"
        return self._read(key, expected, least, lambda value: type(value) is int and least <= value <= most)

    def seconds(self, key: str, least: int, most: int) -> timedelta:
        """Return a duration that is written as a whole number of seconds."""
        return self.number(key, least, most) * SECOND

    def choice[Choice: str | int](self, key: str, choices: Sequence[Choice]) -> Choice:
        expected = f"one of {', '.join(map(str, choices))}"
        kind = type(choices[0])
        return self._read(key, expected, choices[0], lambda value: type(value) is kind and value in choices)

    def choices[Choice: str](self, key: str, choices: Sequence[Choice]) -> frozenset[Choice]:
        expected = f"a list of one or more of {', '.join(choices)}, each at most once"
        return frozenset(
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

    def duration(self, key: str, *, shortest: timedelta = SECOND, longest: timedelta = _LONGEST) -> timedelta:
        """Return a duration such as "30d"."""
        expected = f'a duration from "{_short(shortest)}" to "{_short(longest)}", in s, m, h or d'
        return self._duration(key, expected, shortest, longest)

    def span(self, key: str) -> timedelta | None:
        """Return a duration, or None for "hold"."""
        if self._values.get(key) == "hold":
            self._asked.append(key)
            return None
        expected = f'"hold" (until released), or a duration from "1s" to "{_short(_LONGEST)}", in s, m, h or d'
        return self._duration(key, expected, SECOND, _LONGEST)

    def instant(self, key: str) -> datetime:
        """Return a date and time with an offset."""
        expected = "a date and time with an offset, such as 2027-04-01T00:00:00Z"
        harmless = datetime.max.replace(tzinfo=UTC)
        return self._read(key, expected, harmless, lambda value: isinstance(value, datetime) and value.tzinfo)

    def period(self, key: str, *, longest: timedelta) -> timedelta:
        """Return a period such as "1 hour" or "15 minutes"."""

        def period(value: object) -> timedelta:
            match = re.fullmatch(r"([1-9][0-9]{0,3}) (minute|hour|day)s?", value) if isinstance(value, str) else None
            return int(match[1]) * _PERIODS[match[2]] if match else timedelta()

        expected = f'"N minutes", "N hours" or "N days", at most {longest.days} days'
        return period(self._read(key, expected, "1 minute", lambda value: timedelta() < period(value) <= longest))

    def table[Value](self, key: str, reader: Reader[Value]) -> Value:
        """Return the reader's value of the table [key]. A missing table is one mistake, whatever belongs in it."""
        values: dict[str, Any] | None = self._read(
            key, f"a table [{self._at(key)}]", None, lambda value: isinstance(value, dict)
        )
        below = CheckedTable({}, "", lambda _key, _said: None) if values is None else self.below(key, values)
        return below.whole(reader)

    def tables[Value](self, key: str, reader: Reader[Value]) -> tuple[Value, ...]:
        """Return the reader's value of each table [[key]]. There must be at least one."""
        values: list[dict[str, Any]] = self._read(
            key,
            f"one or more tables [[{key}]]",
            [],
            lambda value: isinstance(value, list) and value and all(isinstance(each, dict) for each in value),
        )
        return tuple(self.below(f"{key}[{position}]", value).whole(reader) for position, value in enumerate(values))

    def named_tables[Value](self, reader: Callable[[str, "CheckedTable"], Value]) -> tuple[Value, ...]:
        """Return the reader's value of each table in this one. The reader gets the table's name, too."""
        return tuple(self.table(name, functools.partial(reader, name)) for name in self._values)

    def named_texts(self, names: str, expected_name: str, values: str, expected: str) -> dict[str, str]:
        """Return each text in this table under its name. Both must match."""
        for name in self._values:
            if not re.fullmatch(names, name):
                self.wrong(name, f"expected a name of {expected_name}")
        return {name: self.text(name, values, expected) for name in self._values}

    def _duration(self, key: str, expected: str, shortest: timedelta, longest: timedelta) -> timedelta:
        def good(value: object) -> bool:
            found = _time(value)
            return found is not None and shortest <= found <= longest

        return _time(self._read(key, expected, _short(shortest), good)) or shortest

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

    def below(self, key: str, values: dict[str, Any]) -> "CheckedTable":
        """Return a table in this one, at ``key``."""
        return CheckedTable(values, self._at(key), self._report)

    def _at(self, key: str) -> str:
        return ".".join(part for part in (self._path, key) if part)


def _time(written: object) -> timedelta | None:
    """Return the duration of a text such as "30d". Return None for anything else."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", written) if isinstance(written, str) else None
    return int(match[1]) * _UNITS[match[2]] if match else None


def _short(time: timedelta) -> str:
    return next(f"{time // size}{unit}" for unit, size in reversed(_UNITS.items()) if not time % size)


def meant(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean …?)" with the known word that is close to ``word``. Without one, return ""."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
