"""What is to be done about one device, or one user's devices, as it travels on the command queue."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self

from device_lockout.values.device import DeviceKey, DeviceName
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, Scope


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

    @classmethod
    def of(cls, key: DeviceKey) -> Self:
        """Return the resolved target for a device."""
        return cls(key.organization, key.user_id, key.device, resolved=True)

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
Kind = Literal["lock", "release", "expire", "reassert", "enroll", "retire", "reject"]
KINDS: dict[type[Command], Kind] = {
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
    parts = [command.cause.event_id, KINDS[type(command)], target.organization, target.user, target.device]
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
