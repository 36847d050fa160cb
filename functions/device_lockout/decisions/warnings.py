"""The warnings that people get ahead of an end, and the reminders of a lock that has none."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from device_lockout.values.device import DeviceKey
from device_lockout.values.lean_dataclass import dataclass
from device_lockout.values.override import Override
from device_lockout.values.policy import Reason
from device_lockout.values.record import Claim, DeviceRecord
from device_lockout.values.tag import HOLD, until, write_time

BEFORE_THE_END = timedelta(days=90)  # So long before WorkMail's end people are warned of each lock that outlasts it.


@dataclass(frozen=True, slots=True)
class Due:
    """A warning about a lock that ends soon, that has been held for long, or that outlasts WorkMail."""

    id: str  # The same in every run for one lock and warning period.
    key: DeviceKey
    claim: Claim  # The lock.
    observed: Override | None  # What the last command left in WorkMail.
    because: str  # What people are told, in words.
    detail_type: str = "Expiry Due Soon"  # The event's detail-type.


def warnings(
    records: Mapping[DeviceKey, DeviceRecord], reasons: Mapping[str, Reason], now: datetime, ends_at: datetime
) -> Iterator[Due]:
    """Yield the warnings that are due: once ahead of an end, and for a held lock every ``warn_before``.

    A lock that outlasts WorkMail's end at ``ends_at`` has one warning more.
    """
    for key, record in sorted(records.items()):
        claim = record.wanted(now)
        if claim is None:
            continue
        observed = record.last.outcome.after if record.last else None
        if ends_at - now <= BEFORE_THE_END and claim.until > ends_at:
            because = f"is locked ({claim.why}) {until(claim.until)}, but its WorkMail ends at {write_time(ends_at)}"
            yield Due(f"{claim.id} {write_time(ends_at)}", key, claim, observed, because, "Lock Outlasts WorkMail")
        reason = reasons.get(claim.why)
        if reason is None or reason.warn_before is None:
            continue
        if claim.until == HOLD:
            periods = (now - claim.at) // reason.warn_before
            if periods:
                because = f"is held ({claim.why}) since {write_time(claim.at.replace(microsecond=0))}, until released"
                yield Due(f"{claim.id} {periods}", key, claim, observed, because)
        elif claim.until - now <= reason.warn_before:
            because = f"is locked ({claim.why}) until {write_time(claim.until)}, and then let back in"
            yield Due(f"{claim.id} {write_time(claim.until)}", key, claim, observed, because)
