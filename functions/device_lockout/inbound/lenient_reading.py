"""What senders really write, put into the contract's form before its schema checks it.

Words for people and times never refuse a lock: what can't be used is left out, and the outcome says so. A name that
says which device or user is meant stays as it is, for the schema to judge. An empty field is an absent one, and so is a
device's name that says that there is none.
"""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from device_lockout.values import instant

LENGTHS = {"reference": 64, "reporter": 256, "note": 500}
"""The most characters of each text for people. Longer ones are cut."""

_NOTHING = r"(?i)unknown|none|null|nan|n/?a|[-0]+"
"""What many senders write for a name that they don't have. Devices that share it have nothing in common."""
_OFFSET = r"([+-](?:[01]\d|2[0-3]))(?::?([0-5]\d))?"
_ISO = rf"(?ai)(\d{{4}}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{{1,20}}))? ?(?:(Z|UTC|GMT)|{_OFFSET})"
_MAIL = (
    r"(?ai)(?:([a-z]{3}), )?(\d{1,2} [a-z]{3} \d{4} \d\d:\d\d(?::\d\d)?)"
    rf" (?:(?!-0000){_OFFSET}|GMT|UTC?)(?: \([a-z]+\))?"
)
"""RFC 2822, and UTC by name. There ``-0000`` says that the offset is unknown."""
_DAY = r"(?a)\d{4}-\d\d-\d\d"
_COUNT = r"(?a)\d{10,13}(?:\.\d{1,9})?"
_MILLISECONDS_FROM = 100_000_000_000
"""A smaller count since 1970 is in seconds. As seconds this one is in the year 5138, as milliseconds in 1973."""
_FIRST = datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
"""The billionth second since 1970. What is before it is no time: where some clock begins, or a count of something."""


def tidy(detail: dict[str, Any], *, forgive: bool) -> tuple[dict[str, Any], list[str]]:
    """Return ``detail`` in the contract's form, and a sentence for each value that was left out.

    Args:
        detail: The event's detail, or what a mapping found.
        forgive: Whether a time that can't be read is left out. Otherwise it stays, and the schema refuses it: a wrong
            time of a release could let a device in.
    """
    tidied = {name: value for name, value in detail.items() if value is not None and value != ""}
    if version := _words(tidied.get("schemaVersion")):
        tidied["schemaVersion"] = version
    left_out = []
    for name in ("deviceId", "serialNumber", "assetTag"):
        if re.fullmatch(_NOTHING, str(tidied.get(name, ""))):
            left_out.append(f"{name} was left out, since {tidied[name]} says that there is none")
            del tidied[name]
    for name, limit in LENGTHS.items():
        if name in tidied:
            words = _words(tidied[name])
            if words:
                tidied[name] = words[:limit]
            else:
                left_out.append(f"{name} was left out, since it is no text")
                del tidied[name]
    times = {
        "reportedAt": (read_time, "the event's own time counts"),
        "expiresAt": (_read_end, "the lock lasts as its reason says"),
    }
    for name, (read, instead) in times.items():
        if name in tidied:
            time = read(tidied[name])
            if time is not None:
                tidied[name] = instant.write(time)
            elif forgive:
                left_out.append(f"{name} can't be read as a time with an offset, so {instead}")
                del tidied[name]
    return tidied, left_out


def read_time(value: object) -> datetime | None:
    """Return the instant that ``value`` names, cut to milliseconds, or None if it names none for certain.

    It is RFC 3339, which may have a blank for the ``T``, a blank before the offset, an offset without a colon or of
    hours alone, and any number of digits after the second. Or it is RFC 2822, on the right day of the week, or a count
    of seconds or milliseconds since 1970, as a number or a text. A text without an offset names no instant, and nothing
    before :data:`_FIRST` does, such as the year 1 of a field that nobody set.
    """
    try:
        time = _read(value)
    except (ValueError, OverflowError):
        return None
    return time if time is not None and time >= _FIRST else None


def _read(value: object) -> datetime | None:
    if isinstance(value, str):
        written = value.strip()
        if found := re.fullmatch(_ISO, written):
            day, time, fraction, zulu, hours, minutes = found.groups()
            offset = "+00:00" if zulu else f"{hours}:{minutes or '00'}"
            return instant.read(f"{day}T{time}.{(fraction or '0')[:9]}{offset}")
        if found := re.fullmatch(_MAIL, written):
            weekday, time, hours, minutes = found.groups()
            read = parsedate_to_datetime(f"{time} {hours or '+00'}{minutes or '00'}")
            return read.astimezone(UTC) if (weekday or f"{read:%a}").title() == f"{read:%a}" else None
        value = float(written) if re.fullmatch(_COUNT, written) else None
    if not isinstance(value, int | float):
        return None
    return instant.from_epoch_milliseconds(int(value if value >= _MILLISECONDS_FROM else value * 1000))


def _read_end(value: object) -> datetime | None:
    """Return the instant as :func:`read_time` does. A day alone means its end in UTC."""
    if isinstance(value, str) and re.fullmatch(_DAY, value.strip()):
        start = read_time(f"{value.strip()}T00:00:00Z")
        try:
            return start and start + timedelta(days=1)
        except OverflowError:
            return None
    return read_time(value)


def _words(value: object) -> str:
    """Return a text for people. Numbers become text; nothing else does."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
