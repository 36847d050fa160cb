"""One run of the sweep: what it is given, and how it goes."""

from collections.abc import Callable
from datetime import datetime

from device_lockout.decisions.plan import Plan, Refusal
from device_lockout.values.lean_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the sweep over one organization."""

    id: str  # The run's ID. Its commands and announcements have it as event ID.
    organization: str  # WorkMail's organization ID.
    now: datetime  # When the run began. The plan decides at this time.
    clock: Callable[[], datetime]  # Returns the time as it goes on.
    enough_time: Callable[[], bool]  # Returns whether there is time to go on.
    pause: Callable[[], None]  # Waits for a second.
    accepted: bool = False  # Whether a person said that the ledger's table is right, although it is another than before


@dataclass(frozen=True, slots=True)
class SweepResult:
    """How a run went."""

    plan: Plan  # All that the run would do.
    refused: Refusal | None  # The guard that stopped all removals; None if none did.
    completed: bool  # Whether the whole list was seen, and clocks agreed.
    enqueued: int  # How many commands were sent.
