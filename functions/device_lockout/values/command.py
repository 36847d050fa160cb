"""Commands: what to do about one device, or about all devices of a user. They travel on the command queue."""

import hashlib
import json
from datetime import datetime
from typing import Self

from device_lockout.values.device import DeviceKey, DeviceName
from device_lockout.values.lean_dataclass import dataclass
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, Ending

CALLS_OF_A_COMMAND = 3
"""The most calls to WorkMail that one command makes: describe the user, get the override, write once."""

WATCH = "Tamper Watch"  # The detail-type behind a command of the tamper watch.

LEDGER_ACCEPTED = "Ledger Accepted"
"""The ``detail_type`` of a sweep's commands after a person accepted a ledger that was set back."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The event behind a command, or the run of the sweep."""

    event_id: str  # The event's ID, or the run's.
    source: str  # The event's ``source``.
    detail_type: str  # The event's detail-type.
    happened: datetime  # When it happened; the order of events goes by it.
    received: datetime  # When SQS received it.
    reference: str = ""  # The report's ticket number; empty for none.
    # The configured source whose mapping read the event; empty for an event of the contract. Several sources may read
    # one event.
    reader: str = ""
    # What else people should know of it, in words: what of the report was left out or read otherwise than it says, or
    # who changed an override. Empty for nothing.
    correction: str = ""
    part: int = 0  # Which of the several reports of the event this is, counted from 1; 0 if it is the only one.
    page: bool = False  # Whether people are told of the outcome, whatever it is.
    reporter: str = ""  # The person who asked, as the report says; empty if it does not say.
    held: bool = False  # Whether it was held. If it comes back, a person let it through.


@dataclass(frozen=True, slots=True)
class Target:
    """The device that a command is about, or the names to look it up by.

    Without names and without a device the command is about all devices of the user.
    """

    organization: str  # WorkMail's organization ID.
    user: str  # Any name by which WorkMail knows the user; may be empty if there are names.
    device: str = ""  # The device ID; empty if it is unknown.
    # The device's names in the inventory. They are looked up unless user and device are both known; else they say how
    # it was found.
    names: tuple[DeviceName, ...] = ()
    resolved: bool = False  # Whether ``user`` is WorkMail's own user ID.
    after: str = ""  # Only the user's devices after this ID are left to do; empty for all.

    @classmethod
    def of(cls, key: DeviceKey) -> Self:
        """Return the resolved target for a device."""
        return cls(key.organization, key.user_id, key.device, resolved=True)

    @property
    def is_hardware(self) -> bool:
        """Whether a serial number alone says what is meant: the hardware, under whatever device IDs it has mail."""
        return not (self.user or self.device) and [name.kind for name in self.names] == ["serial"]

    @property
    def identities(self) -> tuple[str, ...]:
        """Every name of a person or a device in it. The log has hashes for them."""
        return (self.user, self.device, *(name.value for name in self.names))

    @property
    def found(self) -> bool:
        """Whether the device is known, so that nothing has to be looked up."""
        return bool(self.device) and bool(self.user or not self.names)


@dataclass(frozen=True, slots=True)
class _Command:
    """What every command has."""

    cause: Cause
    target: Target


@dataclass(frozen=True, slots=True)
class Lock(_Command):
    """Deny the device, or all devices of the user, until ``claim.until``. Only ``force`` locks an exempt user."""

    claim: Claim
    force: bool = False


@dataclass(frozen=True, slots=True)
class Release(_Command):
    """End the locks of the kind ``ending`` that happened before ``cause.happened``."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class Change(_Command):
    """Let one lock with another end take the place of those of the kind ``ending`` that happened before."""

    ending: Ending
    claim: Claim  # The new lock. Its reason, and where it has none its reference and note, are those of the longest.
    longer: bool  # Whether it may end later than they do. It may always end sooner.


@dataclass(frozen=True, slots=True)
class Expire(_Command):
    """Remove the override if it is still the one that the sweep ``planned`` to remove."""

    planned: Override


@dataclass(frozen=True, slots=True)
class Reassert(_Command):
    """Make WorkMail agree with the ledger."""


@dataclass(frozen=True, slots=True)
class Enroll(_Command):
    """Put the device in the inventory, under the target's names. From then on a lock of its user holds for it."""


@dataclass(frozen=True, slots=True)
class Retire(_Command):
    """Mark the device as retired in the inventory. Its locks stay as they are."""


@dataclass(frozen=True, slots=True)
class Reject(_Command):
    """Record and announce that a report can't be carried out, ``because`` of its faults. WorkMail is not touched."""

    because: str


DeviceCommand = Lock | Release | Change | Expire | Reassert
"""The commands that are decided on a device's override and its record."""
Command = DeviceCommand | Enroll | Retire | Reject
KINDS: dict[type[Command], str] = {
    kind: kind.__name__.lower() for kind in (Lock, Release, Change, Expire, Reassert, Enroll, Retire, Reject)
}
"""What a message calls each command."""


def claim_id(event_id: str) -> str:
    """Return a lock's ID in the tag: the first 8 hex digits of the SHA-256 of its event's ID."""
    return hashlib.sha256(event_id.encode()).hexdigest()[:8]


def command_id(command: Command) -> str:
    """Return what every copy of a report has in common, and no other report: 64 hex digits.

    It is the deduplication ID on the queue and the ID of the outcome. What the report was read as is no part of it: a
    copy that is rejected, since it is too old by now, is the report that was answered.
    """
    target = command.target
    parts = [command.cause.event_id, target.organization, target.user, target.device]
    parts += [f"{name.kind} {name.value}" for name in target.names if not target.resolved]
    parts += [f"after {target.after}"] if target.after else []
    parts += [f"read by {command.cause.reader}"] if command.cause.reader else []
    parts += [f"part {command.cause.part}"] if command.cause.part else []
    return hashlib.sha256(json.dumps([part.casefold() for part in parts]).encode()).hexdigest()


def group_id(command: Command) -> str:
    """Return the message group: of the device, of the name to look up, or of the user.

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
