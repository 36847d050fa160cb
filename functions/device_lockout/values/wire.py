"""Values as JSON: commands on the queue, claims and overrides in the ledger, details on the bus.

Two releases meet in the queue and in the ledger, since a deployment or a rollback empties neither. So a reader takes
the default for a field that it misses and ignores one that it does not know. What the ledger keeps, it hands on.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from types import UnionType
from typing import Any

from device_lockout.values import instant
from device_lockout.values.command import (
    KINDS,
    Cause,
    Change,
    Command,
    Enroll,
    Expire,
    Lock,
    Reassert,
    Reject,
    Release,
    Retire,
    Target,
)
from device_lockout.values.device import DeviceName
from device_lockout.values.errors import TransientError, UnreadableError
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, Ending, Scope
from device_lockout.values.tag import read_time, write_time

FORMAT = 1
"""The newest format of messages and of the ledger's items that this release reads.

A writer gives the oldest format that is safe to read. A new field needs no new one if a reader that ignores it locks
no less and lets no more back in. Anything else does, such as a field that narrows a release, or another command.
"""

MAX_ERROR_LENGTH = 500
"""What is said of a message that can't be read may quote it."""


def compact(detail: Any) -> str:
    """Return ``detail`` as JSON for the bus, without spaces.

    Raises:
        ValueError: It has a number that JSON can't write, such as infinity.
    """
    return json.dumps(detail, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dump(command: Command) -> str:
    """Return ``command`` as the JSON text of its message."""
    body: dict[str, Any] = {
        "format": FORMAT,
        "command": KINDS[type(command)],
        "cause": {
            "eventId": command.cause.event_id,
            "source": command.cause.source,
            "detailType": command.cause.detail_type,
            "happened": instant.write(command.cause.happened),
            "received": instant.write(command.cause.received),
            "reference": command.cause.reference,
            "reader": command.cause.reader,
            "correction": command.cause.correction,
            "part": command.cause.part,
            "page": command.cause.page,
            "reporter": command.cause.reporter,
        },
        "target": {
            "organization": command.target.organization,
            "user": command.target.user,
            "device": command.target.device,
            "names": {name.kind: name.value for name in command.target.names},
            "resolved": command.target.resolved,
            "after": command.target.after,
        },
    }
    match command:
        case Lock(claim=claim, force=force):
            body["claim"] = dump_claim(claim)
            body["force"] = force
        case Release(ending=ending):
            body["ending"] = dump_ending(ending)
        case Change(ending=ending, claim=claim, longer=longer):
            body |= {"ending": dump_ending(ending), "claim": dump_claim(claim), "longer": longer}
        case Expire(planned=planned):
            body["planned"] = planned.fields()
        case Reject(because=because):
            body["because"] = because
        case Reassert() | Enroll() | Retire():
            pass
    return json.dumps(body)


def load(text: str) -> Command:
    """Return the command in a message that :func:`dump` wrote.

    Raises:
        TransientError: A newer release wrote it, in a format of its own.
        UnreadableError: No release wrote this message.
    """
    try:
        body = json.loads(text)
        check_format(body, "the message")
        command = _load(body)
        wrong = list(_unfit(command))
        if isinstance(command, Lock | Change) and read_time(write_time(command.claim.until)) != command.claim.until:
            wrong.append("until")
        if wrong:
            raise ValueError(f"{', '.join(wrong)} is not as it was written")
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise UnreadableError(f"the message is no command: {error!r}"[:MAX_ERROR_LENGTH]) from error
    return command


def _unfit(part: Any) -> Iterator[str]:
    """Yield the name of each field with a value of another type, or with half of a surrogate pair.

    No store takes such a half. A field whose type is neither a class nor a union of classes holds texts or parts.
    """
    for field in fields_of(part):
        value, kind = getattr(part, field.name), field.type
        for each in value if isinstance(value, tuple | frozenset) else [value]:
            if is_dataclass(each):
                yield from _unfit(each)
            elif not isinstance(each, kind if isinstance(kind, type | UnionType) else str) or (
                isinstance(each, str) and not each.isascii() and each != each.encode(errors="replace").decode()
            ):
                yield field.name


def check_format(fields: Mapping[str, Any], what: str) -> None:
    """Check that this release can read a message, or an item of the ledger. Without a format it has the first one.

    Raises:
        TransientError: It has a newer format. It waits for a release that reads it, and people are told.
    """
    written = fields.get("format", 1)
    if type(written) is not int:
        raise TypeError(f"format is {written!r}: expected a whole number")
    if written > FORMAT:
        raise TransientError(
            f"{what} has format {written}: expected at most {FORMAT}. Deploy the release that wrote it, or a later one"
        )


def _load(body: Any) -> Command:
    cause = Cause(
        event_id=body["cause"]["eventId"],
        source=body["cause"]["source"],
        detail_type=body["cause"]["detailType"],
        happened=instant.read(body["cause"]["happened"]),
        received=instant.read(body["cause"]["received"]),
        reference=body["cause"]["reference"],
        reader=body["cause"]["reader"],
        correction=body["cause"].get("correction", ""),
        part=body["cause"].get("part", 0),
        page=body["cause"].get("page", False),
        reporter=body["cause"].get("reporter", ""),
    )
    target = Target(
        organization=body["target"]["organization"],
        user=body["target"]["user"],
        device=body["target"]["device"],
        names=tuple(DeviceName(kind, value) for kind, value in body["target"]["names"].items()),
        resolved=body["target"]["resolved"],
        after=body["target"]["after"],
    )
    match body["command"]:
        case "lock":
            return Lock(cause, target, load_claim(body["claim"]), body["force"])
        case "release":
            return Release(cause, target, load_ending(body["ending"]))
        case "change":
            ending, claim = load_ending(body["ending"]), load_claim(body["claim"])
            return Change(cause, target, ending, claim, body["longer"])
        case "expire":
            return Expire(cause, target, load_override(body["planned"]))
        case "reassert":
            return Reassert(cause, target)
        case "enroll":
            return Enroll(cause, target)
        case "retire":
            return Retire(cause, target)
        case "reject":
            return Reject(cause, target, body["because"])
        case other:
            raise ValueError(f"command is {other!r}: expected one of {', '.join(KINDS.values())}")


def dump_claim(claim: Claim) -> dict[str, Any]:
    """Return ``claim`` as fields, as the queue and the ledger have it."""
    return _beyond(claim.beyond) | {
        "id": claim.id,
        "scope": claim.scope,
        "why": claim.why,
        "at": instant.write(claim.at),
        "until": write_time(claim.until),
        "reference": claim.reference,
        "note": claim.note,
        "source": claim.source,
    }


def load_claim(fields: dict[str, Any]) -> Claim:
    """Return the claim that :func:`dump_claim` wrote."""
    return Claim(
        id=fields["id"],
        scope=load_scope(fields["scope"]),
        why=fields["why"],
        at=instant.read(fields["at"]),
        until=read_time(fields["until"]),
        reference=fields["reference"],
        note=fields["note"],
        source=fields.get("source", ""),
        beyond=_written_beyond(fields, _OF_CLAIM),
    )


def dump_ending(ending: Ending) -> dict[str, Any]:
    """Return which locks a release ends, as the queue and the ledger have it."""
    ours = {"scope": ending.scope, "reasons": sorted(ending.reasons), "source": ending.source}
    return _beyond(ending.beyond) | ours


def load_ending(fields: dict[str, Any]) -> Ending:
    """Return what :func:`dump_ending` wrote. The ledger has the time of the release with it."""
    return Ending(
        scope=load_scope(fields["scope"]),
        reasons=frozenset(fields["reasons"]),
        source=fields["source"],
        beyond=_written_beyond(fields, _OF_ENDING),
    )


_OF_CLAIM = {field.name for field in fields_of(Claim)}
_OF_ENDING = {field.name for field in fields_of(Ending)} | {"at"}


def _written_beyond(fields: dict[str, Any], known: set[str]) -> str:
    """Return the fields that are not ``known``, as JSON; empty for none."""
    beyond = fields.keys() - known
    return json.dumps({name: fields[name] for name in sorted(beyond)}) if beyond else ""


def _beyond(text: str) -> dict[str, Any]:
    """Return the fields that :func:`_written_beyond` kept."""
    return dict(json.loads(text)) if text else {}


def load_scope(text: str) -> Scope:
    """Return ``text`` as a scope.

    Raises:
        ValueError: It is neither ``device`` nor ``user``.
    """
    match text:
        case "device":
            return "device"
        case "user":
            return "user"
    raise ValueError(f"scope is {text!r}: expected device or user")


def load_override(fields: dict[str, str | None]) -> Override:
    """Return the override in ``{"effect": …, "description": …}``.

    Raises:
        ValueError: The effect is neither ``ALLOW`` nor ``DENY``.
    """
    match fields["effect"]:
        case "ALLOW":
            return Override("ALLOW", fields["description"])
        case "DENY":
            return Override("DENY", fields["description"])
    raise ValueError(f"effect is {fields['effect']!r}: expected ALLOW or DENY")
