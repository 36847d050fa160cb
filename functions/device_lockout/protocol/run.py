"""One run of the sweep: what it is given, and how it goes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from device_lockout.decisions.plan import Plan, Refusal


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the sweep over one organization.

    Attributes:
        id: The run's ID. Its commands and announcements have it as event ID.
        organization: WorkMail's organization ID.
        now: When the run began. The plan decides at this time.
        clock: Returns the time as it goes on.
        enough_time: Returns whether there is time to go on.
        pause: Waits for a second.
        accepted: Whether a person said that the ledger's table is right, although it is another than before.
    """

    id: str
    organization: str
    now: datetime
    clock: Callable[[], datetime]
    enough_time: Callable[[], bool]
    pause: Callable[[], None]
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class SweepResult:
    """How a run went.

    Attributes:
        plan: All that the run would do.
        refused: The guard that stopped all removals; None if none did.
        completed: Whether the whole list was seen, and clocks agreed.
        enqueued: How many commands were sent.
    """

    plan: Plan
    refused: Refusal | None
    completed: bool
    enqueued: int
