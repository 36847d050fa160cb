"""How a command ended, and how that is told: to the ledger, to other rules on the bus, and to people."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from device_lockout.values import tag
from device_lockout.values.override import Override

SOURCE = "device-lockout"
"""The ``source`` of our own events, which no rule of ours takes as input."""

Result = Literal[
    "locked",
    "extended",
    "already-locked",
    "already-denied",
    "superseded",
    "rejected",
    "released",
    "still-locked",
    "nothing-to-release",
    "expired",
    "renewed",
    "reasserted",
    "took-over",
    "enrolled",
    "retired",
    "skipped",
    "failed",
]


class Announced(NamedTuple):
    """How a result is announced: the event's detail-type (None: not at all) and what people read of the device.

    ``{why}`` and ``{until}`` in the sentence stand for the lock's.
    """

    detail_type: str | None
    sentence: str


RESULTS: dict[Result, Announced] = {
    "locked": Announced("Device Locked", "is locked ({why}){until}"),
    "already-locked": Announced("Device Locked", "was already locked ({why}){until}"),
    "took-over": Announced("Device Locked", "is locked ({why}){until}"),
    "extended": Announced("Lockout Extended", "stays locked; the lock now runs ({why}){until}"),
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
    "enrolled": Announced("Inventory Updated", "is in the inventory"),
    "retired": Announced("Inventory Updated", "is retired in the inventory"),
    "rejected": Announced("Lockout Rejected", "was not changed: the report was rejected"),
    "failed": Announced("Lockout Failed", "could not be changed in WorkMail"),
    "skipped": Announced(None, "needed nothing"),
}
"""Every result, in one table.

``skipped`` is not announced: the sweep asked, and nothing was to be done. ``still-locked`` is announced as superseded,
not as released: rules on ``Device Released`` may rely on its word.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one command for one device.

    ``because`` completes the message for people; ``why`` and ``until`` are those of the lock it is about;
    ``reference`` is the report's; ``before`` and ``after`` are the override as read and as it should stand now;
    ``page`` asks for somebody's attention; ``verified`` says whether anything but the report's word tells that the
    device exists (a wrong ID locks nothing, and nobody notices); ``devices`` is how many a user's command went on to.
    """

    result: Result
    because: str = ""
    why: str = ""
    until: datetime | None = None
    reference: str = ""
    before: Override | None = None
    after: Override | None = None
    page: bool = False
    verified: bool | None = None
    devices: int | None = None

    @property
    def detail_type(self) -> str:
        """The detail-type of the event that announces this outcome. A release is not announced over a DENY."""
        if self.result in ("released", "nothing-to-release") and self.after is not None and self.after.effect == "DENY":
            return "Already Denied"
        return RESULTS[self.result].detail_type or ""

    @property
    def announced(self) -> bool:
        return RESULTS[self.result].detail_type is not None

    def message(self, device: str, user: str) -> str:
        """Return one sentence for people: what happened to which device, until when, and why."""
        until = (
            "" if self.until is None else f" until {tag.write_time(self.until)}".replace("until hold", "until released")
        )
        said = RESULTS[self.result].sentence.format(why=self.why, until=until)
        about = f"Device {device} of {user}" if device and user else f"User {user}" if user else "A device"
        notes = [self.because] if self.because else []
        if self.devices is not None:
            notes.append(f"it goes on to {self.devices} known devices")
        if self.verified is False and self.result in ("locked", "extended", "already-locked"):
            notes.append("the device ID is taken on trust, nothing else knows it")
        return f"{about} {said}{': ' if notes else ''}{'; '.join(notes)}."
