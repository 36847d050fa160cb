"""Instants on the wire: RFC 3339, UTC, to the millisecond, so that events within one second keep their order."""

import re
from datetime import UTC, datetime, timedelta

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
"""Python reads much more of ISO 8601 (weeks, no seconds, no hyphens), which other validators of the contract refuse."""


def write(instant: datetime) -> str:
    """``2026-11-22T07:30:00.125Z``."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read(text: str) -> datetime:
    """The instant that ``text`` names, cut to milliseconds; ValueError unless it is RFC 3339 with an offset."""
    if _RFC_3339.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time with an offset, such as 2026-11-22T07:30:00.125Z")
    instant = datetime.fromisoformat(text.upper()).astimezone(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def from_epoch_milliseconds(milliseconds: int | str) -> datetime:
    """The instant that SQS writes as a decimal count of milliseconds since 1970."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(milliseconds))


def whole_seconds_up(instant: datetime) -> datetime:
    """``instant`` rounded up to a whole second, so that a lock is never shorter than what was asked for.

    Only the last second there is is rounded down.
    """
    whole = instant.replace(microsecond=0)
    try:
        return whole if whole == instant else whole + timedelta(seconds=1)
    except OverflowError:
        return whole
