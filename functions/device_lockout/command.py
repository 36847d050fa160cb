"""What is to be done about one device, or one user's devices, as it travels on the command queue."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from device_lockout import instant
from device_lockout.override import Override
from device_lockout.record import Claim, Scope
from device_lockout.tag import read_time, write_time


@dataclass(frozen=True, slots=True)
class Cause:
    """The event, or the sweep run, behind a command.

    ``happened`` is when it happened as the order of events counts it; ``received`` is when SQS took it in;
    ``reader`` is the configured source that read somebody else's event: several may read the same one.
    """

    event_id: str
    source: str
    detail_type: str
    happened: datetime
    received: datetime
    reference: str = ""
    reader: str = ""


@dataclass(frozen=True, slots=True)
class DeviceName:
    """A name that the inventory knows devices by; compared case-folded."""

    kind: Literal["serial", "asset"]
    value: str


@dataclass(frozen=True, slots=True)
class NamedDevice:
    """A device that the inventory has, or had, under a name; ``former`` if it is retired or was enrolled anew since.

    ``heard`` is when what the inventory knows of this happened.
    """

    user_id: str
    device: str
    former: bool
    heard: datetime


@dataclass(frozen=True, slots=True)
class Target:
    """The device that a command is about, or what it is named by until it is looked up.

    ``user`` is any name that WorkMail knows the user by; ``resolved`` says that it is WorkMail's own user ID.
    Without a ``device`` or the ``user`` whose it is, ``names`` (of one device) are looked up in the inventory; without
    those too, the command is about the user and all devices of that user: with ``after``, only about those that come
    after it.
    """

    organization: str
    user: str
    device: str = ""
    names: tuple[DeviceName, ...] = ()
    resolved: bool = False
    after: str = ""

    @property
    def found(self) -> bool:
        """Whether it says which device: nothing has to be looked up."""
        return bool(self.device) and bool(self.user or not self.names)


@dataclass(frozen=True, slots=True)
class Lock:
    """Deny the device, or all devices of the user, until ``claim.until``; ``force`` where the user is exempt, too."""

    cause: Cause
    target: Target
    claim: Claim
    force: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """End the locks of ``scope`` that happened before ``cause.happened``."""

    cause: Cause
    target: Target
    scope: Scope


@dataclass(frozen=True, slots=True)
class Expire:
    """Remove the override if it still is what the sweep ``planned`` to remove."""

    cause: Cause
    target: Target
    planned: Override


@dataclass(frozen=True, slots=True)
class Reassert:
    """Make WorkMail agree with what is wanted."""

    cause: Cause
    target: Target


@dataclass(frozen=True, slots=True)
class Enroll:
    """Remember that the user has the device, under the target's names; a lock of the user holds for it from then on."""

    cause: Cause
    target: Target


@dataclass(frozen=True, slots=True)
class Retire:
    """Remember that the user no longer has the device; its locks and their ends are not touched."""

    cause: Cause
    target: Target


@dataclass(frozen=True, slots=True)
class Reject:
    """Record and announce a report that asks for nothing that can be done; WorkMail is not touched."""

    cause: Cause
    target: Target
    because: str


DeviceCommand = Lock | Release | Expire | Reassert
"""What is decided for a device on what stands and what is wanted."""
Command = DeviceCommand | Enroll | Retire | Reject
_Kind = Literal["lock", "release", "expire", "reassert", "enroll", "retire", "reject"]
_KINDS: dict[type[Command], _Kind] = {
    Lock: "lock",
    Release: "release",
    Expire: "expire",
    Reassert: "reassert",
    Enroll: "enroll",
    Retire: "retire",
    Reject: "reject",
}


def claim_id(event_id: str) -> str:
    """The ID under which a lock goes in the tag: the first 8 hex digits of the SHA-256 of its event's ID."""
    return hashlib.sha256(event_id.encode()).hexdigest()[:8]


def command_id(command: Command) -> str:
    """The same for every copy of a command, and different for every other: 64 hex digits.

    It is the deduplication ID on the queue and the ID of the outcome.
    """
    target = command.target
    parts = [command.cause.event_id, _KINDS[type(command)], target.organization, target.user, target.device]
    parts += [f"{name.kind} {name.value}" for name in target.names]
    parts += [f"after {target.after}"] if target.after else []
    parts += [f"read by {command.cause.reader}"] if command.cause.reader else []
    return hashlib.sha256(json.dumps([part.casefold() for part in parts]).encode()).hexdigest()


def group_id(command: Command) -> str:
    """The message group: the device's, or that of the name to look up, or the user's.

    SQS hands one group to one consumer at a time, in order
    (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/using-messagegroupid-property.html).
    """
    target = command.target
    if target.found:
        key = ["device", target.device]
    elif target.names:
        key = [target.names[0].kind, target.names[0].value]
    else:
        key = ["user", target.user] if target.user else ["event", command.cause.event_id]
    return hashlib.sha256(json.dumps([target.organization, *key]).casefold().encode()).hexdigest()


def dump(command: Command) -> str:
    """``command`` as the JSON text of its message."""
    body: dict[str, Any] = {
        "command": _KINDS[type(command)],
        "cause": {
            "eventId": command.cause.event_id,
            "source": command.cause.source,
            "detailType": command.cause.detail_type,
            "happened": instant.write(command.cause.happened),
            "received": instant.write(command.cause.received),
            "reference": command.cause.reference,
            "reader": command.cause.reader,
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
        case Release(scope=scope):
            body["scope"] = scope
        case Expire(planned=planned):
            body["planned"] = planned.fields()
        case Reject(because=because):
            body["because"] = because
        case Reassert() | Enroll() | Retire():
            pass
    return json.dumps(body)


def load(text: str) -> Command:
    """The command in a message that :func:`dump` wrote; KeyError or ValueError for anything else."""
    body = json.loads(text)
    cause = Cause(
        event_id=body["cause"]["eventId"],
        source=body["cause"]["source"],
        detail_type=body["cause"]["detailType"],
        happened=instant.read(body["cause"]["happened"]),
        received=instant.read(body["cause"]["received"]),
        reference=body["cause"]["reference"],
        reader=body["cause"]["reader"],
    )
    names = tuple(DeviceName(kind, value) for kind, value in body["target"].pop("names").items())
    target = Target(names=names, **body["target"])
    match body["command"]:
        case "lock":
            return Lock(cause, target, load_claim(body["claim"]), body["force"])
        case "release":
            return Release(cause, target, load_scope(body["scope"]))
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
            raise ValueError(f"command is {other!r}: expected one of {', '.join(_KINDS.values())}")


def dump_claim(claim: Claim) -> dict[str, str]:
    """``claim`` as plain text fields, on the queue and in the ledger alike."""
    return {
        "id": claim.id,
        "scope": claim.scope,
        "why": claim.why,
        "at": instant.write(claim.at),
        "until": write_time(claim.until),
        "reference": claim.reference,
        "note": claim.note,
    }


def load_claim(fields: dict[str, str]) -> Claim:
    """The inverse of :func:`dump_claim`."""
    return Claim(
        id=fields["id"],
        scope=load_scope(fields["scope"]),
        why=fields["why"],
        at=instant.read(fields["at"]),
        until=read_time(fields["until"]),
        reference=fields["reference"],
        note=fields["note"],
    )


def load_scope(text: str) -> Scope:
    """``text`` as a scope; ValueError for any other word."""
    match text:
        case "device":
            return "device"
        case "user":
            return "user"
    raise ValueError(f"scope is {text!r}: expected device or user")


def load_override(fields: dict[str, str | None]) -> Override:
    """The override in ``{"effect": …, "description": …}``; ValueError for an unknown effect."""
    match fields["effect"]:
        case "ALLOW":
            return Override("ALLOW", fields["description"])
        case "DENY":
            return Override("DENY", fields["description"])
    raise ValueError(f"effect is {fields['effect']!r}: expected ALLOW or DENY")
