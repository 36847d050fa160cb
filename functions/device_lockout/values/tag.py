"""The codec for descriptions: who set a lock, why, and until when, in one line that people can read too.

The description of a lock begins with its tag. A note may follow after one space:

>>> from datetime import UTC, datetime
>>> tag = Tag(
...     owner="prod", why="lost", id="9f3c2a1b", was="none",
...     at=datetime(2026, 11, 22, 7, 30, tzinfo=UTC), until=datetime(2026, 12, 22, 7, 30, tzinfo=UTC),
... )
>>> write(tag, "INC-1234 left in a taxi")  # doctest: +NORMALIZE_WHITESPACE
'[lockout/1 by=prod why=lost until=2026-12-22T07:30:00Z at=2026-11-22T07:30:00Z id=9f3c2a1b was=none]
 INC-1234 left in a taxi'
>>> read(write(tag), owner="prod") == tag
True
>>> read("[until=2026-12-01] travel phone", owner="prod")
HandWritten(until=datetime.datetime(2026, 12, 2, 0, 0, tzinfo=datetime.timezone.utc))

A description is printable ASCII and has at most 256 characters, which is WorkMail's limit
(https://docs.aws.amazon.com/workmail/latest/APIReference/API_PutMobileDeviceAccessOverride.html).
AWS does not say whether it counts characters or bytes. In ASCII they are the same.
"""

import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from device_lockout.values.lean_dataclass import dataclass

DESCRIPTION_LIMIT = 256
SHOWN_NOTE = 176  # The most characters that a description has room for after the shortest tag.
HOLD = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The ``until`` of a lock that only a release ends. It is written as ``hold`` and outlasts every other."""

OWNER_PATTERN = r"[a-z0-9][a-z0-9-]{0,19}"
REASON_PATTERN = r"[a-z][a-z0-9-]{0,15}"

Was = Literal["none", "allow"]


@dataclass(frozen=True, slots=True)
class Tag:
    """The description of one of our own locks. Times are aware UTC in whole seconds."""

    owner: str  # The deployment's name.
    why: str  # The reason.
    until: datetime  # When the lock ends, or :data:`HOLD`.
    at: datetime  # When the event behind the lock happened.
    id: str  # The first 8 hex digits of the SHA-256 of that event's ID.
    was: Was  # What the lock covers: ``none``, or an ``allow`` that comes back afterwards.


@dataclass(frozen=True, slots=True)
class HandWritten:
    """A description in which a person asks for the override's removal after ``until``."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else's description: no marker, another deployment's, or another version of the tag."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A description with a marker that can't be read. The override is left alone and reported."""

    fault: str  # Why it can't be read.
    id: str = ""  # The tag's ``id``, if that can be read; else empty. It tells whether the ledger knows the lock.
    ours: bool = False  # Whether it names this deployment.
    was: Was = "none"  # The tag's ``was``; ``none`` if that can't be read.


Reading = Tag | HandWritten | Foreign | Broken

_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
PREFIX = "[lockout/"  # How the description begins of an override that any deployment tagged.
# Patterns, here and elsewhere, are compiled when they are first used: most starts of a function need few of them.
_OPENING = r"\[lockout/(?P<version>0|[1-9][0-9]{0,3})(?=[ \]])"
_OWNER = rf"\[lockout/1 by=(?P<owner>{OWNER_PATTERN}) "
_TAG = (
    rf"\[lockout/1 by=(?P<owner>{OWNER_PATTERN}) why=(?P<why>{REASON_PATTERN}) until=(?P<until>{_TIME}|{_DAY}|hold)"
    rf" at=(?P<at>{_TIME}) id=(?P<id>[0-9a-f]{{8}}) was=(?P<was>none|allow)\](?s:(?: .*)?)"
)
_ID = r"\bid=(?P<id>[0-9a-f]{8})\b"
_HAND_WRITTEN = rf"\[until=(?:(?P<day>{_DAY})|(?P<time>{_TIME}))\]"
_MEANT_AS_TAG = r"(?i)lockout\W{0,3}[0-9]*\s+by\W{0,3}(?P<owner>[a-z0-9-]+)"
_MEANT_AS_HAND_WRITTEN = (
    r"(?i)\buntil\s*[=:]|[\[({<]\W*(?:(?:u(?:nti|nit|itn|tni|ti|ni)l+|unti|ntil+)(?![a-z])"
    r"|[until][until1|]{2,7}\W*\d{1,4}[-./]\d\d?[-./]\d)"
)
"""What a person may have meant as a tag, or as ``[until=…]``, in whatever letters and brackets, behind other words or
unseen characters. Before a day any word of its letters counts. Taken for somebody's own words it would stay for ever,
untold."""
NO_END = "it does not begin with a day such as [until=2026-12-01] or an instant such as [until=2026-12-01T12:00:00Z]"
"""The fault of an end that a person wrote."""


def write(tag: Tag, note: str = "") -> str:
    """Return the description for ``tag``: at most 256 printable ASCII characters. Only the note is ever cut."""
    head = (
        f"[lockout/1 by={tag.owner} why={tag.why} until={write_time(tag.until)} at={write_time(tag.at)}"
        f" id={tag.id} was={tag.was}]"
    )
    text = "".join(character if " " <= character <= "~" else "?" for character in " ".join(note.split()))
    return f"{head} {text}"[:DESCRIPTION_LIMIT].rstrip()


def read(description: str | None, owner: str) -> Reading:
    """Return what a description says to the deployment called ``owner``. The reader is strict and never raises."""
    text = description or ""
    reading = _read(text, owner)
    if isinstance(reading, Broken):
        known, meant = re.search(_ID, text), _meant_as_tag(text)
        return replace(
            reading,
            id=known["id"] if known else "",
            ours=meant is not None and meant["owner"] == owner,
            was="allow" if " was=allow" in text else "none",
        )
    return reading


def _read(text: str, owner: str) -> Reading:
    if text.startswith("[until="):
        return _read_hand_written(text)
    if not text.startswith(PREFIX):
        meant = _meant_as_tag(text)
        if meant is not None:
            return Broken("it does not begin with [lockout/1 by=") if meant["owner"] == owner else Foreign()
        seen = _as_seen(text)
        marked = any(each in seen for each in "=:[({<")  # what the pattern needs; a sweep reads a million others
        return Broken(NO_END) if marked and re.search(_MEANT_AS_HAND_WRITTEN, seen) else Foreign()
    opening = re.match(_OPENING, text)
    if opening is None:
        return Broken("no version follows [lockout/")
    if opening["version"] != "1":
        return Foreign()
    written_by = re.match(_OWNER, text)
    if written_by is None:
        return Broken("no owner follows [lockout/1 by=")
    if written_by["owner"] != owner:
        return Foreign()
    fields = re.fullmatch(_TAG, text)
    if fields is None:
        return Broken("the fields after by= are not why= until= at= id= was=] in that order and form")
    try:
        return Tag(
            owner=fields["owner"],
            why=fields["why"],
            until=_end_of(fields["until"]) if len(fields["until"]) == len("2026-12-01") else read_time(fields["until"]),
            at=read_time(fields["at"]),
            id=fields["id"],
            was="allow" if fields["was"] == "allow" else "none",
        )
    except (ValueError, OverflowError) as error:
        return Broken(f"until={fields['until']} at={fields['at']}: {error}")


def write_time(time: datetime) -> str:
    """Return ``time`` in whole seconds as the tag has it; ``hold`` for :data:`HOLD`."""
    return "hold" if time == HOLD else time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def until(time: datetime) -> str:
    """Return an end as people read it: ``until`` and the time, or ``until released`` for :data:`HOLD`."""
    return "until released" if time == HOLD else f"until {write_time(time)}"


def read_time(text: str) -> datetime:
    """Return the time that :func:`write_time` wrote.

    Raises:
        ValueError: There is no such time, or it is :data:`HOLD` in digits.
    """
    if text == "hold":
        return HOLD
    time = datetime.fromisoformat(text)
    if time == HOLD:
        raise ValueError(f"{text} is written hold")
    return time


def _meant_as_tag(text: str) -> re.Match[str] | None:
    seen = _as_seen(text)
    return re.search(_MEANT_AS_TAG, seen) if "lockout" in seen.casefold() else None


def _as_seen(text: str) -> str:
    """Return a text as people see it: without what is not shown, and in ASCII's letters where it has others' forms."""
    if text.isascii():
        return text
    return "".join(each for each in unicodedata.normalize("NFKC", text) if unicodedata.category(each) != "Cf")


def _read_hand_written(text: str) -> HandWritten | Broken:
    asked = re.match(_HAND_WRITTEN, text)
    if asked is None:
        return Broken(NO_END)
    try:
        if asked["time"]:
            return HandWritten(read_time(asked["time"]))
        return HandWritten(_end_of(asked["day"]))
    except (ValueError, OverflowError) as error:
        return Broken(f"until={asked['time'] or asked['day']}: {error}")


def _end_of(day: str) -> datetime:
    """Return the end of a day in UTC, as people mean it who write a day alone."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
