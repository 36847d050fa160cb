"""Times as people type them: ``friday``, ``2d``, ``18:00``, ``2026-12-01``, or RFC 3339."""

import re
from datetime import UTC, datetime, timedelta

import click

from device_lockout.values import instant

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SPAN = re.compile(r"\+?(\d{1,5})([mhdw])", re.ASCII)
_LENGTHS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_CLOCK = re.compile(r"(?:(\S+) )?(\d{1,2}):(\d\d)", re.ASCII)

EXPECTED = "expected a time such as 2d, friday, 18:00, 'friday 18:00', 2026-12-01 or 2026-12-01T12:00:00Z"


def read(text: str, now: datetime, *, past: bool = False) -> datetime:
    """Return the instant that a person means. Days and clocks are those of this machine's time zone.

    A day alone means its end, or with ``past`` its beginning. ``past`` looks back, also for spans and weekdays.

    Raises ValueError if the text means no time.
    """
    words = text.strip().casefold()
    if span := _SPAN.fullmatch(words):
        length = int(span[1]) * _LENGTHS[span[2]]
        return now - length if past else now + length
    try:
        if clock := _CLOCK.fullmatch(words):
            at = _day(clock[1] or "today", now, past=past).replace(hour=int(clock[2]), minute=int(clock[3]))
            again = 7 * any(name.startswith(clock[1]) for name in _DAYS) if clock[1] else 1
            if (at.astimezone() <= now) != past:
                at += timedelta(days=-again if past else again)
        else:
            at = _day(words, now, past=past) + (timedelta() if past else timedelta(days=1))
        return at.astimezone(UTC)
    except ValueError:
        pass
    try:
        return instant.read(text.strip())
    except ValueError:
        raise ValueError(f"{text!r}: {EXPECTED}") from None


def _day(words: str, now: datetime, *, past: bool) -> datetime:
    """Return the beginning of a day, without a zone. Raises ValueError if it is none."""
    today = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if words in ("today", "tomorrow", "yesterday"):
        return today + timedelta(days={"today": 0, "tomorrow": 1, "yesterday": -1}[words])
    names = [number for number, name in enumerate(_DAYS) if len(words) >= 3 and name.startswith(words)]
    if names:
        ahead = (names[0] - today.weekday()) % 7
        return today + timedelta(days=ahead - 7 if past and ahead else ahead)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", words, re.ASCII):
        raise ValueError(words)
    return datetime.strptime(words, "%Y-%m-%d")  # noqa: DTZ007 (a local day)


class When(click.ParamType[datetime]):
    """A time, as an option of a command."""

    name = "time"

    def __init__(self, *, past: bool = False) -> None:
        self._past = past

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return read(value, datetime.now(UTC), past=self._past)
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)
