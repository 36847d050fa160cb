"""How a command ended, and how that is told: to the ledger, to other rules on the bus, and to people."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from device_lockout import tag
from device_lockout.override import Override

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

DETAIL_TYPES: dict[Result, str] = {
    "locked": "Device Locked",
    "already-locked": "Device Locked",
    "took-over": "Device Locked",
    "extended": "Lockout Extended",
    "renewed": "Lockout Extended",
    "already-denied": "Already Denied",
    "superseded": "Lockout Superseded",
    "still-locked": "Lockout Superseded",
    "released": "Device Released",
    "nothing-to-release": "Device Released",
    "expired": "Lockout Expired",
    "reasserted": "Tampering Detected",
    "enrolled": "Inventory Updated",
    "retired": "Inventory Updated",
    "rejected": "Lockout Rejected",
    "failed": "Lockout Failed",
}
"""The event that announces each result. ``skipped`` is not announced: the sweep asked and nothing was to be done.

``still-locked`` is told as superseded, not as released: a rule on ``Device Released`` may rely on its word.
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
        """The event that announces this outcome: no word of a release where something denies the device still."""
        if self.result in ("released", "nothing-to-release") and self.after is not None and self.after.effect == "DENY":
            return "Already Denied"
        return DETAIL_TYPES[self.result]

    @property
    def announced(self) -> bool:
        return self.result in DETAIL_TYPES

    def message(self, device: str, user: str) -> str:
        """One sentence for people: what happened to which device, until when, and why."""
        until = (
            "" if self.until is None else f" until {tag.write_time(self.until)}".replace("until hold", "until released")
        )
        said = {
            "locked": f"is locked ({self.why}){until}",
            "extended": f"stays locked; the lock now runs ({self.why}){until}",
            "already-locked": f"was already locked ({self.why}){until}",
            "already-denied": "is denied by an override that is not ours; it was left as it is",
            "superseded": "was left as it is: a newer report decides",
            "rejected": "was not changed: the report was rejected",
            "released": "is released",
            "still-locked": f"stays locked ({self.why}){until}",
            "nothing-to-release": "was not locked by us; nothing to release",
            "expired": "is no longer denied: its time is over",
            "renewed": f"stays locked ({self.why}){until}",
            "reasserted": f"had its lock changed or removed by somebody; it is locked again ({self.why}){until}",
            "took-over": f"is locked ({self.why}){until}",
            "enrolled": "is in the inventory",
            "retired": "is retired in the inventory",
            "skipped": "needed nothing",
            "failed": "could not be changed in WorkMail",
        }[self.result]
        about = f"Device {device} of {user}" if device and user else f"User {user}" if user else "A device"
        notes = [self.because] if self.because else []
        if self.devices is not None:
            notes.append(f"it goes on to {self.devices} known devices")
        if self.verified is False and self.result in ("locked", "extended", "already-locked"):
            notes.append("the device ID is taken on trust, nothing else knows it")
        return f"{about} {said}{': ' if notes else ''}{'; '.join(notes)}."
