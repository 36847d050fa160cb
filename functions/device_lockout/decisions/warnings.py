"""The warnings that people get ahead of an end, and the reminders of a lock that has none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from device_lockout.values.device import DeviceKey
from device_lockout.values.override import Override
from device_lockout.values.policy import Reason
from device_lockout.values.record import Claim, DeviceRecord
from device_lockout.values.tag import HOLD, write_time


@dataclass(frozen=True, slots=True)
class Due:
    """A warning about a lock that ends soon, or that has been held for long.

    Attributes:
        id: The same in every run for one lock and warning period.
        key: The device.
        claim: The lock.
        observed: What the last command left in WorkMail.
        because: What people are told, in words.
    """

    id: str
    key: DeviceKey
    claim: Claim
    observed: Override | None
    because: str


def warnings(records: Mapping[DeviceKey, DeviceRecord], reasons: Mapping[str, Reason], now: datetime) -> Iterator[Due]:
    """Yield the warnings that are due: once ahead of an end, and for a held lock every ``warn_before``."""
    for key, record in sorted(records.items()):
        claim = record.wanted(now)
        reason = reasons.get(claim.why) if claim else None
        if claim is None or reason is None or reason.warn_before is None:
            continue
        observed = record.last.outcome.after if record.last else None
        if claim.until == HOLD:
            periods = (now - claim.at) // reason.warn_before
            if periods:
                because = f"is held ({claim.why}) since {write_time(claim.at.replace(microsecond=0))}, until released"
                yield Due(f"{claim.id} {periods}", key, claim, observed, because)
        elif claim.until - now <= reason.warn_before:
            because = f"is locked ({claim.why}) until {write_time(claim.until)}, and then let back in"
            yield Due(f"{claim.id} {write_time(claim.until)}", key, claim, observed, because)
