"""How a command ends: the results, the events that announce them, and the sentences for people."""

from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from device_lockout.values import tag
from device_lockout.values.advice import shown
from device_lockout.values.device import User
from device_lockout.values.lean_dataclass import dataclass
from device_lockout.values.override import Override

if TYPE_CHECKING:
    from device_lockout.values.record import Claim

SOURCE = "device-lockout"  # The ``source`` of the deployment's own events. No configured source may have this name.

DRILL = "lockout-drill"
"""The ``source`` of the drill's events, which are not counted as reports. No configured source may have this name."""

_OfReport = Literal["already-locked", "extended", "locked", "nothing-to-release", "released", "shortened"]
_OfSweep = Literal["adopted", "contested", "expired", "reasserted", "renewed", "took-over"]
_OfInventory = Literal["enrolled", "retired"]
_Unchanged = Literal["already-denied", "failed", "held", "rejected", "skipped", "still-locked", "superseded"]
Result = Literal[_OfReport, _OfSweep, _OfInventory, _Unchanged]


class Announced(NamedTuple):
    """How a result is announced."""

    detail_type: str | None  # The event's detail-type; None if nothing is announced.
    sentence: str  # What people read after the device's name. ``{why}`` and ``{until}`` are the lock's.


RESULTS: dict[Result, Announced] = {
    "locked": Announced("Device Locked", "is locked ({why}){until}"),
    "already-locked": Announced("Device Locked", "was already locked ({why}){until}"),
    "took-over": Announced("Device Locked", "is locked ({why}){until}"),
    "extended": Announced("Lockout Extended", "stays locked; the lock now runs ({why}){until}"),
    "shortened": Announced("Lockout Shortened", "stays locked; the lock now ends sooner ({why}){until}"),
    "renewed": Announced("Lockout Extended", "stays locked ({why}){until}"),
    "already-denied": Announced("Already Denied", "is denied by an override that is not ours; it was left as it is"),
    "superseded": Announced("Lockout Superseded", "was left as it is: a newer report decides"),
    "still-locked": Announced("Lockout Superseded", "stays locked ({why}){until}"),
    "released": Announced("Device Released", "is released"),
    "nothing-to-release": Announced("Device Released", "was not locked by us; nothing to release"),
    "expired": Announced("Lockout Expired", "is no longer denied: its time is over"),
    "reasserted": Announced(
        "Tampering Detected", "had its lock changed or removed by somebody; it is locked again ({why}){until}"
    ),
    "contested": Announced(
        "Tampering Detected", "has its lock undone again and again; the next sweep puts it back ({why}){until}"
    ),
    "adopted": Announced("Lockout Adopted", "stays locked as its tag says ({why}){until}"),
    "enrolled": Announced("Inventory Updated", "is in the inventory"),
    "retired": Announced("Inventory Updated", "is retired in the inventory"),
    "rejected": Announced("Lockout Rejected", "was not changed: the report was rejected"),
    "held": Announced("Lockout Held", "is not locked: too many locks in an hour; a person must let it through"),
    "failed": Announced("Lockout Failed", "could not be changed in WorkMail"),
    "skipped": Announced(None, "needed nothing"),
}
"""Every result.

``skipped`` is not announced: the sweep asked, and there was nothing to do. ``still-locked`` is announced as superseded,
because rules rely on ``Device Released`` to mean released.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one command ended."""

    result: Result
    because: str = ""  # The reason, in words. It completes the message for people.
    why: str = ""  # The reason of the lock in question; empty for none.
    until: datetime | None = None  # When that lock ends; None for no lock.
    reference: str = ""  # The report's ticket number; empty for none.
    before: Override | None = None  # The override as it was read; None for none.
    after: Override | None = None  # The override as the command leaves it; None for none.
    page: bool = False  # Whether people are notified.
    # Whether more than a report says that the device exists. A wrong ID locks nothing, and nobody notices. None if no
    # device was looked at.
    verified: bool | None = None
    devices: int | None = None  # How many devices a user's command goes on to; None for a command about one device.
    user: User | None = None  # WorkMail's user, as far as the command looked it up; None if it did not come to that.
    lock: str = ""  # The ID of the lock that it is about, as in the tag; empty for none.
    ticket: str = ""  # That lock's own ticket number; empty for none. A sweep has no report, and so no other.
    elsewhere: str = ""  # What a person must do where the mailboxes moved to; empty for nothing.
    # The locks in force before and after, as this delivery found and left them, and when WorkMail took its write. They
    # are told, and are no part of what a redelivery repeats.
    claims: "tuple[tuple[Claim, ...], tuple[Claim, ...]]" = field(default=((), ()), compare=False)
    written: datetime | None = field(default=None, compare=False)

    @property
    def detail_type(self) -> str:
        """The detail-type of the event that announces this outcome. Over a DENY a release is ``Already Denied``."""
        if self.result in ("released", "nothing-to-release") and self.after is not None and self.after.effect == "DENY":
            return "Already Denied"
        return RESULTS[self.result].detail_type or ""

    @property
    def announced(self) -> bool:
        return RESULTS[self.result].detail_type is not None

    def message(self, device: str, user: str) -> str:
        """Return one sentence for people: what happened to the device, until when, and why."""
        until = f" {tag.until(self.until)}" if self.until else ""
        said = RESULTS[self.result].sentence.format(why=self.why, until=until)
        if self.result == "expired" and self.before is not None and self.before.effect == "ALLOW":
            said = "has lost its ALLOW: the time that a person wrote there is over"
        device, user = shown(device), shown(user)
        about = f"Device {device} of {user}" if device and user else f"User {user}" if user else "A device"
        notes = [self.because] if self.because else []
        if self.devices:
            notes.append(f"it goes on to {self.devices} known device{'s' * (self.devices != 1)}")
        if self.verified is False and self.result in ("locked", "extended", "already-locked"):
            notes.append("the device ID is taken on trust, nothing else knows it")
        return f"{about} {said}{': ' if notes else ''}{'; '.join(notes)}."
