"""The sweep: list everything, read what is wanted, plan, and enqueue; it never writes to WorkMail.

Guards stop removals only, never the putting back of a lock: whoever is unsure leaves alone, and says so.
"""

import hashlib
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from device_lockout import instant
from device_lockout.command import Cause, Command, Expire, Reassert, Target
from device_lockout.errors import LockoutError, RefusedError
from device_lockout.outcome import SOURCE
from device_lockout.override import ListedOverride
from device_lockout.parties import BusParty, QueueParty
from device_lockout.plan import Due, Item, Key, Plan, Refusal, plan, warnings
from device_lockout.record import DeviceRecord
from device_lockout.settings import Settings
from device_lockout.tag import Tag, write_time

SHOWN_ROWS = 5
"""How many rows of the plan an outcome carries; the log has all."""

INVENTORIED = 500
"""How many devices, seen by somebody else's override, one run adds to the inventory; another run draws others."""


class WorkMailParty(Protocol):
    """What the sweep needs of WorkMail: :class:`device_lockout.workmail.WorkMail`."""

    def pages(self, organization: str) -> Iterator[tuple[list[ListedOverride], datetime]]: ...


class LedgerParty(Protocol):
    """What the sweep needs of the ledger: :class:`device_lockout.ledger.Ledger`."""

    def records(self, organization: str) -> dict[tuple[str, str], DeviceRecord]: ...
    def last_sweep(self, organization: str) -> datetime | None: ...
    def save_sweep(self, organization: str, completed: datetime) -> None: ...
    def saw(self, organization: str, user_id: str, device: str) -> None: ...
    def told(self, event_id: str, outcome_id: str) -> bool: ...
    def record_outcome(self, event_id: str, outcome_id: str, told: dict[str, Any], now: datetime) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the sweep over one organization.

    ``now`` is what the plan decides at; ``clock`` goes on; ``enough_time`` says whether there is time to go on;
    ``pause`` lets a second pass.
    """

    id: str
    organization: str
    now: datetime
    clock: Callable[[], datetime]
    enough_time: Callable[[], bool]
    pause: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Parties:
    """The outside parties."""

    workmail: WorkMailParty
    ledger: LedgerParty
    queue: QueueParty
    bus: BusParty


@dataclass(frozen=True, slots=True)
class Report:
    """How a run went.

    ``refused`` is the guard that let nothing back in, None where none had anything against it; ``completed`` says that
    everything was listed; ``enqueued`` counts commands.
    """

    plan: Plan
    refused: Refusal | None
    completed: bool
    enqueued: int


def run(this: Run, parties: Parties, settings: Settings) -> Report:
    """Sweep one organization once and announce it."""
    policy = settings.sweep
    last = parties.ledger.last_sweep(this.organization)
    records = parties.ledger.records(this.organization)
    failure: list[Refusal] = []
    listing = _listing(this, parties.workmail, settings.limits.clock_skew, failure)
    drawn: list[tuple[str, ListedOverride]] = []
    planned = plan(_drawing(listing, this.id, settings.owner, drawn), records, this.now, settings.owner)

    completed = not failure and planned.repeated is None
    refused = failure[0] if failure else planned.refusal(policy.max_removals, policy.max_removals_percent)
    if policy.mode == "apply":
        refused = refused or _gap(last, this.now, policy.every * policy.report_only_after_missed)
    # Where the list is not whole, what it lacks may well stand.
    reasserts = planned.reasserts if completed else tuple(item for item in planned.reasserts if item.stands)
    enqueued = 0
    if policy.mode == "apply":
        if policy.on_tampering == "alert":
            _alert(_still_so([item for item in reasserts if item.tampered], records, this, parties), this, parties)
            reasserts = tuple(item for item in reasserts if not item.tampered)
        due = reasserts[: policy.max_reasserts] + (planned.turn(policy.max_removals) if refused is None else ())
        enqueued = _enqueue_in_portions(due, this, parties.queue, policy.portion)
    report = Report(planned, refused, completed, enqueued)
    _announce(report, last, this, parties, policy.mode)
    # Whatever comes from here on may fail: what only a report may precede, a removal after a gap, was reported.
    if policy.mode == "apply":
        if completed:
            parties.ledger.save_sweep(this.organization, this.now)
        undone = {(item.user_id, item.device) for item in planned.reasserts}
        _warn((due for due in warnings(records, settings.reasons, this.now) if due.key not in undone), this, parties)
        for _, listed in drawn:
            if this.enough_time():
                parties.ledger.saw(this.organization, listed.user_id, listed.device)
    return report


def _listing(
    this: Run, workmail: WorkMailParty, clock_skew: timedelta, failure: list[Refusal]
) -> Iterator[ListedOverride]:
    """Everything that stands, page by page. What is wrong with the list ends up in ``failure``, and ends the list."""
    pages = workmail.pages(this.organization)
    first_rows: set[tuple[str, str]] = set()
    while True:
        if not this.enough_time():
            failure.append(Refusal("time", "the run's time ended before the list did"))
            return
        try:
            rows, date = next(pages)
        except StopIteration:
            return
        except RefusedError as error:
            failure.append(Refusal("organization", str(error)))
            return
        except LockoutError as error:
            failure.append(Refusal("list", str(error)))
            return
        ours = this.clock()
        if abs(date - ours) > clock_skew:
            because = f"our clock says {instant.write(ours)}, WorkMail's {instant.write(date)}"
            failure.append(Refusal("clock", because))
            return
        if rows:
            first = (rows[0].user_id, rows[0].device)
            if first in first_rows:
                failure.append(Refusal("list", f"WorkMail listed the page from device {first[1]} of {first[0]} twice"))
                return
            first_rows.add(first)
        yield from rows


def _drawing(
    listing: Iterator[ListedOverride], run_id: str, owner: str, drawn: list[tuple[str, ListedOverride]]
) -> Iterator[ListedOverride]:
    """The listing as it is; of the overrides that are not ours so many are kept in ``drawn``, by lot.

    Ours are in the ledger anyway. The lot falls anew in each run, so that all come to their turn without a run having
    to remember, or to ask, which had.
    """
    for listed in listing:
        if not isinstance(listed.override.read(owner), Tag):
            lot = hashlib.sha256(f"{run_id} {listed.user_id} {listed.device}".encode()).hexdigest()
            if len(drawn) < INVENTORIED or lot < drawn[-1][0]:
                insort(drawn, (lot, listed), key=lambda one: one[0])
                del drawn[INVENTORIED:]
        yield listed


def _gap(last: datetime | None, now: datetime, longest: timedelta) -> Refusal | None:
    """Whether sweeps were missed for so long that what has piled up should be looked at first."""
    if last is None:
        return Refusal("first-run", "the ledger knows of no completed sweep: this one only reports")
    if now - last > longest:
        return Refusal("gap", f"no sweep completed since {instant.write(last)}: this one only reports")
    return None


def _enqueue_in_portions(items: Sequence[Item], this: Run, queue: QueueParty, portion: int) -> int:
    """Enqueue so that no more than a portion waits at a time: a fresh lock never waits behind a sweep.

    What the run's time does not suffice for is left to the next run; the first portion always goes.
    """
    enqueued = queue.send([_command(item, this) for item in items[:portion]])
    while enqueued < len(items) and this.enough_time():
        room = portion - queue.waiting()
        if room <= 0:
            this.pause()
            continue
        enqueued += queue.send([_command(item, this) for item in items[enqueued : enqueued + room]])
    return enqueued


def _command(item: Item, this: Run) -> Command:
    """The command for one row of the plan; its ID is the run's, so that the next run's is not taken for a copy."""
    cause = Cause(this.id, SOURCE, "Sweep", happened=this.now, received=this.now)
    target = Target(this.organization, item.user_id, item.device, resolved=True)
    if item.action == "expire":
        assert item.stands is not None, "only what stands can expire"
        return Expire(cause, target, item.stands)
    return Reassert(cause, target)


def _still_so(
    items: Sequence[Item], records: Mapping[Key, DeviceRecord], this: Run, parties: Parties
) -> Iterator[Item]:
    """Those of ``items`` whose lock is wanted as it was when the list began: one that ended since was not undone."""
    if items:
        by_now = parties.ledger.records(this.organization)
        for item in items:
            if by_now.get((item.user_id, item.device)) == records.get((item.user_id, item.device)):
                yield item


def _alert(items: Iterable[Item], this: Run, parties: Parties) -> None:
    """Tell of locks that somebody undid, once for each state that they were found in."""
    for item in items:
        found = "" if item.stands is None else f"{item.stands.effect} {item.stands.description}"
        _tell_once(
            f"{instant.write(item.over)} {found}",
            "Tampering Detected",
            item.user_id,
            item.device,
            f"Device {item.device} of {item.user_id} was left as it is: {item.because}.",
            this,
            parties,
        )


def _warn(due: Iterator[Due], this: Run, parties: Parties) -> None:
    """Tell of locks that end soon or are held for long, once for each warning period, while there is time."""
    for warning in due:
        if not this.enough_time():
            return
        message = f"Device {warning.device} of {warning.user_id} {warning.because}."
        _tell_once(warning.id, "Expiry Due Soon", warning.user_id, warning.device, message, this, parties)


def _tell_once(
    what: str, detail_type: str, user_id: str, device: str, message: str, this: Run, parties: Parties
) -> None:
    """Announce, then remember that it was announced: a crash between the two tells twice, never not at all."""
    event_id = hashlib.sha256(f"{this.organization} {user_id} {device} {detail_type} {what}".encode()).hexdigest()
    if parties.ledger.told(event_id, event_id):
        return
    detail = {
        "id": event_id,
        "organizationId": this.organization,
        "userId": user_id,
        "deviceId": device,
        "page": True,
        "message": message,
        "times": {"decided": instant.write(this.now)},
    }
    parties.bus.announce(detail_type, detail)
    parties.ledger.record_outcome(event_id, event_id, {"detailType": detail_type, "detail": detail}, this.now)


def _announce(report: Report, last: datetime | None, this: Run, parties: Parties, mode: str) -> None:
    """Tell how the run went. A run that can't be completed pages people once, until one is completed again."""
    refused = report.refused
    page = refused is not None and (refused.guard != "first-run" or report.plan.seen["ours"] > 0)
    once = ""
    if refused is not None and not report.completed:
        since = instant.write(last) if last else "ever"
        once = hashlib.sha256(f"{this.organization} {refused.guard} since {since}".encode()).hexdigest()
        page = not parties.ledger.told(once, once)
    kind = "Sweep Completed" if refused is None else "Sweep Refused"
    told = _told(report, this, mode, page)
    parties.bus.announce(kind, told)
    if once and page and mode == "apply":
        parties.ledger.record_outcome(once, once, {"detailType": kind, "detail": told}, this.now)


def _told(report: Report, this: Run, mode: str, page: bool) -> dict[str, Any]:
    """The detail of the event that announces a run: counts, and the first rows of the plan."""
    rows = [*report.plan.removals, *report.plan.reasserts, *report.plan.left]
    return {
        "id": hashlib.sha256(f"{this.id} {this.organization}".encode()).hexdigest(),
        "runId": this.id,
        "organizationId": this.organization,
        "mode": mode,
        "completed": report.completed,
        "guard": report.refused.guard if report.refused else None,
        "page": page,
        "message": _message(report, this, mode),
        "seen": dict(report.plan.seen),
        "removals": len(report.plan.removals),
        "reasserts": len(report.plan.reasserts),
        "left": len(report.plan.left),
        "enqueued": report.enqueued,
        "first": [row(item) for item in rows[:SHOWN_ROWS]],
        "times": {"started": instant.write(this.now), "done": instant.write(this.clock())},
    }


def row(item: Item) -> dict[str, str]:
    """One row of a plan as the log and the outcome show it."""
    return {
        "action": item.action,
        "userId": item.user_id,
        "deviceId": item.device,
        "over": write_time(item.over),
        "because": item.because,
    }


def _message(report: Report, this: Run, mode: str) -> str:
    if report.refused is not None:
        return f"The sweep of {this.organization} let nothing back in: {report.refused.because}."
    seen, asked = sum(report.plan.seen.values()), len(report.plan.removals) + len(report.plan.reasserts)
    if mode == "report":
        rest = "; it only reports"
    else:
        rest = f"; {asked - report.enqueued} of them not in this run" if report.enqueued < asked else ""
    return (
        f"The sweep of {this.organization} saw {seen} overrides:"
        f" {len(report.plan.removals)} to expire, {len(report.plan.reasserts)} to put back{rest}."
    )
