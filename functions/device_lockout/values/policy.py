"""How long a lock lasts: per reason, from the configuration; nothing here has a default."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from device_lockout.values.instant import whole_seconds_up
from device_lockout.values.tag import HOLD, write_time

MOST_CLAIMS = 100
"""That an item keeps, but for those that none outlasts. A source that reports a device anew every minute would fill the
item, and then not even a release could be recorded: DynamoDB takes 400 KB, and a claim with the longest note has 3.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
"""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason's policy. A duration of None means until released.

    ``lock_for`` is how long a lock lasts when the report does not say; ``at_most`` bounds what a report may ask for;
    ``warn_before`` is how long before an expiry people are warned that a device will be let back in, and how often they
    are reminded of a lock that only a release ends; None for never.
    """

    name: str
    lock_for: timedelta | None
    at_most: timedelta | None
    warn_before: timedelta | None = None

    def until(self, at: datetime) -> datetime:
        """When a lock for an event of ``at`` ends, in whole seconds, if the report does not say."""
        return HOLD if self.lock_for is None else whole_seconds_up(at + self.lock_for)

    def fault(self, at: datetime, expires_at: datetime) -> str | None:
        """What is wrong with a report's own ``expires_at``, in words, or None."""
        if expires_at <= at:
            return f"expected a time after the event itself, {write_time(at)}"
        if self.at_most is not None and expires_at > whole_seconds_up(at + self.at_most):
            latest = write_time(whole_seconds_up(at + self.at_most))
            return f"expected at the latest {latest}, the most that reason {self.name} allows"
        return None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a decision takes from the configuration.

    ``owner`` is the deployment's name in its tags; claims over or released for ``max_event_age`` are forgotten, since
    an event that old is refused anyway; ``exempt`` are the names, case-folded, of users whom only force locks;
    of more than ``most_claims`` the oldest are forgotten that another outlasts.
    """

    owner: str
    max_event_age: timedelta
    clock_skew: timedelta
    exempt: frozenset[str] = frozenset()
    most_claims: int = MOST_CLAIMS
