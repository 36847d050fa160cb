"""The sweep: list everything, read what is wanted, plan, and enqueue; it never writes to WorkMail.

Guards stop removals only, never the putting back of a lock: whoever is unsure leaves alone, and says so.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from device_lockout import instant
from device_lockout.command import Cause, Command, Expire, Reassert, Target
from device_lockout.errors import LockoutError
from device_lockout.outcome import SOURCE
from device_lockout.override import ListedOverride
from device_lockout.parties import BusParty, QueueParty
from device_lockout.plan import Item, Plan, plan
from device_lockout.record import DeviceRecord
from device_lockout.settings import Settings

SHOWN_ROWS = 5
"""How many rows of the plan an outcome carries; the log has all."""


class WorkMailParty(Protocol):
    """What the sweep needs of WorkMail: :class:`device_lockout.workmail.WorkMail`."""

    def pages(self, organization: str) -> Iterator[tuple[list[ListedOverride], datetime]]: ...


class LedgerParty(Protocol):
    """What the sweep needs of the ledger: :class:`device_lockout.ledger.Ledger`."""

    def records(self, organization: str) -> dict[tuple[str, str], DeviceRecord]: ...
    def last_sweep(self, organization: str) -> datetime | None: ...
    def save_sweep(self, organization: str, completed: datetime) -> None: ...


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the sweep over one organization.

    ``now`` is what the plan decides at; ``clock`` goes on; ``enough_time`` says whether there is time for another page.
    """

    id: str
    organization: str
    now: datetime
    clock: Callable[[], datetime]
    enough_time: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Parties:
    """The outside parties."""

    workmail: WorkMailParty
    ledger: LedgerParty
    queue: QueueParty
    bus: BusParty


@dataclass(frozen=True, slots=True)
class Report:
    """How a run went. ``refused`` says why nothing was let back in; None where the guards had nothing against it."""

    plan: Plan
    refused: str | None
    enqueued: int
    completed: bool


def run(this: Run, parties: Parties, settings: Settings) -> Report:
    """Sweep one organization once and announce it."""
    last = parties.ledger.last_sweep(this.organization)
    records = parties.ledger.records(this.organization)
    failure: list[str] = []
    planned = plan(
        _listing(this, parties.workmail, settings.limits.clock_skew, failure), records, this.now, settings.owner
    )
    policy = settings.sweep
    completed = not failure
    refused = failure[0] if failure else planned.refusal(policy.max_removals, policy.max_removals_percent)
    if refused is None and last is not None and this.now - last > policy.every * policy.report_only_after_missed:
        refused = f"no sweep completed since {instant.write(last)}: this one only reports"
    reasserts = planned.reasserts if completed else tuple(item for item in planned.reasserts if item.stands)
    items: tuple[Item, ...] = ()
    if policy.mode == "apply":
        items = reasserts[: policy.max_reasserts] + (planned.removals[: policy.portion] if refused is None else ())
        parties.queue.send([_command(item, this) for item in items])
    if completed:
        parties.ledger.save_sweep(this.organization, this.now)
    report = Report(planned, refused, len(items), completed)
    _announce(report, this, parties.bus, policy.mode)
    return report


def _listing(this: Run, workmail: WorkMailParty, clock_skew: timedelta, failure: list[str]) -> Iterator[ListedOverride]:
    """Everything that stands, page by page. What is wrong with the list ends up in ``failure``, and ends the list."""
    pages = workmail.pages(this.organization)
    while True:
        if not this.enough_time():
            failure.append("the run's time ended before the list did")
            return
        try:
            rows, date = next(pages)
        except StopIteration:
            return
        except LockoutError as error:
            failure.append(str(error))
            return
        ours = this.clock()
        if abs(date - ours) > clock_skew:
            failure.append(f"our clock says {instant.write(ours)}, WorkMail's {instant.write(date)}: nothing is let go")
            return
        yield from rows


def _command(item: Item, this: Run) -> Command:
    """The command for one row of the plan; its ID is the run's, so that the next run's is not taken for a copy."""
    cause = Cause(this.id, SOURCE, "Sweep", happened=this.now, received=this.now)
    target = Target(this.organization, item.user_id, item.device, resolved=True)
    if item.action == "expire":
        assert item.stands is not None, "only what stands can expire"
        return Expire(cause, target, item.stands)
    return Reassert(cause, target)


def _announce(report: Report, this: Run, bus: BusParty, mode: str) -> None:
    rows = [*report.plan.removals, *report.plan.reasserts]
    detail = {
        "id": hashlib.sha256(f"{this.id} {this.organization}".encode()).hexdigest(),
        "runId": this.id,
        "organizationId": this.organization,
        "mode": mode,
        "completed": report.completed,
        "refused": report.refused,
        "page": report.refused is not None,
        "message": _message(report, this),
        "seen": dict(report.plan.seen),
        "removals": len(report.plan.removals),
        "reasserts": len(report.plan.reasserts),
        "enqueued": report.enqueued,
        "first": [row(item) for item in rows[:SHOWN_ROWS]],
        "times": {"started": instant.write(this.now), "done": instant.write(this.clock())},
    }
    bus.announce("Sweep Completed" if report.refused is None else "Sweep Refused", detail)


def row(item: Item) -> dict[str, str]:
    """One row of a plan as the log and the outcome show it."""
    return {
        "action": item.action,
        "userId": item.user_id,
        "deviceId": item.device,
        "over": instant.write(item.over),
        "because": item.because,
    }


def _message(report: Report, this: Run) -> str:
    if report.refused is not None:
        return f"The sweep of {this.organization} let nothing back in: {report.refused}."
    return (
        f"The sweep of {this.organization} saw {sum(report.plan.seen.values())} overrides:"
        f" {len(report.plan.removals)} to expire, {len(report.plan.reasserts)} to put back."
    )
