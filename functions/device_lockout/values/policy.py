"""What the configuration says about locks: how long they last, and what a decision may forget."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Literal

from device_lockout.values.instant import whole_seconds_up
from device_lockout.values.lean_dataclass import dataclass
from device_lockout.values.mailbox_move import Moved
from device_lockout.values.tag import HOLD, write_time

MOST_CLAIMS = 100
"""The most claims that an item keeps, except those that no other outlasts.

A source that reports a device every minute would fill the item. Then not even a release could be recorded.
DynamoDB takes 400 KB for an item, and a claim with the longest words takes 1.4 KB:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
"""


LOCKS_PER_HOUR = 100  # How many locks a source may ask for in an hour unless the configuration says otherwise.
NO_MORE_CLAIMS = 200
"""Another lock of an item with so many is rejected, and pages. It is locked anyway, and a release still finds room."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The policy for locks with one reason."""

    name: str  # The reason's name, in the tag as ``why``.
    lock_for: timedelta | None  # How long a lock lasts if the report does not say. None: until released.
    at_most: timedelta | None  # The longest lock that a report may ask for. None: until released.
    # How long before a lock ends people are warned. For a lock that only a release ends, how often they are reminded.
    # None: never.
    warn_before: timedelta | None = None

    def until(self, at: datetime) -> datetime:
        """Return when a lock for an event of ``at`` ends if the report does not say, in whole seconds."""
        return HOLD if self.lock_for is None else whole_seconds_up(at + self.lock_for)

    def fault(self, at: datetime, expires_at: datetime) -> str | None:
        """Return what is wrong with the end that a report asks for, in words, or None."""
        if expires_at <= at:
            return f"expected a time after the event itself, {write_time(at)}"
        if self.at_most is not None and expires_at > whole_seconds_up(at + self.at_most):
            latest = write_time(whole_seconds_up(at + self.at_most))
            return f"expected at the latest {latest}, the most that reason {self.name} allows"
        return None


HonouredEdits = Literal["all", "longer", "none"]
"""Which ends count that people write into our tags. The others are undone."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a decision takes from the configuration."""

    owner: str  # The deployment's name in its tags.
    max_event_age: timedelta  # Older events are rejected, so a claim that ended longer ago may be forgotten.
    clock_skew: timedelta  # Nothing expires if WorkMail's clock and ours differ by more.
    exempt: frozenset[str] = frozenset()  # The names, case-folded, of users whom only ``force`` locks.
    honoured_edits: HonouredEdits = "all"  # Which ends count that people write into our tags.
    adopts_unknown: bool = True  # Whether a lock is taken over from a tag that the ledger does not know.
    sources: frozenset[str] = frozenset()  # The names of the configured sources.
    # How many locks each source may ask for in an hour.
    locks_per_hour: Mapping[str, int] = field(default_factory=dict[str, int])
    pages: int | None = None  # How many outcomes page in five minutes before the rest are summed up. None: all do.
    # When the WorkMail of organizations ends, by ID, and what is said of a command from then on.
    ends: Mapping[str, tuple[datetime, str]] = field(default_factory=dict[str, tuple[datetime, str]])
    moved: Mapping[str, Moved] = field(default_factory=dict[str, Moved])  # The moves of organizations, by ID.
    # The longest lock that a report may ask for, by reason.
    at_most: Mapping[str, timedelta] = field(default_factory=dict[str, timedelta])
    most_claims: int = MOST_CLAIMS  # Of more claims than these, the oldest that another outlasts are forgotten.
    no_more_claims: int = NO_MORE_CLAIMS  # A lock of an item with so many is rejected.

    def honours(self, before: datetime, after: datetime) -> bool:
        """Return whether a person may change a lock's end from ``before`` to ``after``."""
        return self.honoured_edits == "all" or (self.honoured_edits == "longer" and after > before)
