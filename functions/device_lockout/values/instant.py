"""Instants on the wire: RFC 3339 in UTC. Milliseconds keep events of one second in order."""

import re
from datetime import UTC, datetime, timedelta

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
"""Python reads more of ISO 8601, such as weeks and +00:90. Other validators of the contract refuse that."""


def write(instant: datetime) -> str:
    """Return an instant as text, such as ``2026-11-22T07:30:00.125Z``."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read(text: str) -> datetime:
    """Return the instant in ``text``, cut to milliseconds.

    Raises:
        ValueError: The text is not RFC 3339 with an offset.
    """
    if _RFC_3339.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time with an offset, such as 2026-11-22T07:30:00.125Z")
    instant = datetime.fromisoformat(text.upper()).astimezone(UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def from_epoch_milliseconds(milliseconds: int | str) -> datetime:
    """Return the instant of a count of milliseconds since 1970, as SQS writes it."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(milliseconds))


def whole_seconds_up(instant: datetime) -> datetime:
    """Return ``instant`` rounded up to a whole second, so that no lock is shorter than asked for.

    The last second that Python knows is rounded down.
    """
    whole = instant.replace(microsecond=0)
    try:
        return whole if whole == instant else whole + timedelta(seconds=1)
    except OverflowError:
        return whole
