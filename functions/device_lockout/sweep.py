"""The sweep: list everything, read what is wanted, plan, and enqueue; it never writes to WorkMail.

Guards stop removals only, never the putting back of a lock: whoever is unsure leaves alone, and says so.
"""

import hashlib
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

from device_lockout import instant
from device_lockout.command import Cause, Command, Expire, Reassert, Target
from device_lockout.errors import LockoutError, RefusedError
from device_lockout.outcome import SOURCE
from device_lockout.override import ListedOverride, Override
from device_lockout.parties import BusParty, QueueParty
from device_lockout.plan import Due, Item, Key, Plan, Refusal, plan, record_of, warnings
from device_lockout.record import Claim, DeviceRecord, UserRecord
from device_lockout.settings import Settings
from device_lockout.tag import Tag, write_time

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

SHOWN_ROWS = 5
"""How many rows of the plan an outcome carries; the log has all."""

INVENTORIED = 500
"""How many devices, seen by somebody else's override, one run adds to the inventory; the next goes on after them."""


class WorkMailParty(Protocol):
    """What the sweep needs of WorkMail: :class:`device_lockout.workmail.WorkMail`."""

    def pages(self, organization: str) -> Iterator[tuple[list[ListedOverride], datetime]]: ...


class LedgerParty(Protocol):
    """What the sweep needs of the ledger: :class:`device_lockout.ledger.Ledger`."""

    def users(self, organization: str) -> dict[str, UserRecord]: ...
    def records(self, organization: str, users: Mapping[str, UserRecord]) -> dict[Key, DeviceRecord]: ...
    def inventoried_up_to(self, organization: str) -> Key: ...
    def save_inventoried(self, organization: str, user_id: str, device: str) -> None: ...
    def last_sweep(self, organization: str) -> datetime | None: ...
    def save_sweep(self, organization: str, completed: datetime) -> None: ...
    def saw(self, organization: str, user_id: str, device: str) -> None: ...
    def told_at(self, event_id: str, outcome_id: str) -> datetime | None: ...
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
    users = parties.ledger.users(this.organization)
    records = parties.ledger.records(this.organization, users)
    failures: list[Refusal] = []
    listing = _listing(this, parties.workmail, settings.limits.clock_skew, failures)
    others = _Others(parties.ledger.inventoried_up_to(this.organization))
    planned = plan(others.among(listing, settings.owner), records, users, this.now, settings.owner)

    completed = not failures and planned.repeated is None
    refused = failures[0] if failures else planned.refusal(policy.max_removals, policy.max_removals_percent)
    if policy.mode == "apply":
        refused = refused or _gap(last, this.now, policy.every * policy.report_only_after_missed)
    reasserts = _reasserts(planned, failures, this)
    enqueued = 0
    if policy.mode == "apply":
        if policy.on_tampering == "alert":
            wanted = partial(record_of, records=records, users=users)
            undone, reasserts = _told_apart(reasserts, wanted, settings.limits.writer_timeout, this, parties)
            _alert((item for item in undone if item.stands is not None or completed), wanted, this, parties)
        removals = planned.turn(policy.max_removals) if refused is None else ()
        due = [*reasserts[: policy.max_reasserts], *removals]
        enqueued = _enqueue_in_portions(due, this, parties.queue, policy.portion)
    report = Report(planned, refused, completed, enqueued)
    _announce(report, last, this, parties, policy.mode)
    # Whatever comes from here on may fail: what only a report may precede, a removal after a gap, was reported.
    if policy.mode == "apply":
        if completed:
            parties.ledger.save_sweep(this.organization, this.now)
        open_now = {item.key for item in planned.reasserts}
        _warn((due for due in warnings(records, settings.reasons, this.now) if due.key not in open_now), this, parties)
        _inventory(others.next, this, parties.ledger)
    return report


def _reasserts(planned: Plan, failures: Sequence[Refusal], this: Run) -> list[Item]:
    """The locks to put back, whatever guard refuses removals; none where WorkMail has no such organization to write to.

    Where the list is not whole, what it lacks may well stand: those come after what was seen to be open, in an order
    that falls anew in each run, so that the cap keeps none of them out for good. The writer looks before it writes.
    """
    if any(failure.guard == "organization" for failure in failures):
        return []
    if planned.repeated is None and all(failure.guard == "clock" for failure in failures):
        return [*planned.reasserts]
    unseen = [item for item in planned.reasserts if item.stands is None]
    unseen.sort(key=lambda item: hashlib.sha256(f"{this.id} {item.user_id} {item.device}".encode()).digest())
    return [*(item for item in planned.reasserts if item.stands is not None), *unseen]


def _listing(
    this: Run, workmail: WorkMailParty, clock_skew: timedelta, failures: list[Refusal]
) -> Iterator[ListedOverride]:
    """Everything that stands, page by page.

    What is wrong with the list ends up in ``failures``, and ends the list; clocks that disagree are noted, and it goes
    on: what is to be put back does not depend on them.
    """
    pages = workmail.pages(this.organization)
    first_rows: set[tuple[str, str]] = set()
    while True:
        if not this.enough_time():
            failures.append(Refusal("time", "the run's time ended before the list did"))
            return
        try:
            rows, date = next(pages)
        except StopIteration:
            return
        except RefusedError as error:
            failures.append(Refusal("organization", str(error)))
            return
        except LockoutError as error:
            failures.append(Refusal("list", str(error)))
            return
        ours = this.clock()
        if abs(date - ours) > clock_skew and not failures:
            because = f"our clock says {instant.write(ours)}, WorkMail's {instant.write(date)}"
            failures.append(Refusal("clock", because))
        if rows:
            first = (rows[0].user_id, rows[0].device)
            if first in first_rows:
                failures.append(Refusal("list", f"WorkMail listed the page from device {first[1]} of {first[0]} twice"))
                return
            first_rows.add(first)
        yield from rows


class _Others:
    """Of the overrides in a listing that are not ours, the :data:`INVENTORIED` devices next after one, and around.

    Ours are in the ledger anyway.
    """

    def __init__(self, after: Key) -> None:
        self.next: list[Key] = []
        self._after = after

    def among(self, listing: Iterator[ListedOverride], owner: str) -> Iterator[ListedOverride]:
        """The listing as it is."""
        for listed in listing:
            key = listed.user_id, listed.device
            near = len(self.next) < INVENTORIED or self._turn(key) < self._turn(self.next[-1])
            if near and not isinstance(listed.override.read(owner), Tag):
                insort(self.next, key, key=self._turn)
                del self.next[INVENTORIED:]
            yield listed

    def _turn(self, key: Key) -> tuple[bool, Key]:
        return key <= self._after, key


def _inventory(keys: Iterable[Key], this: Run, ledger: LedgerParty) -> None:
    """Add the devices to the inventory while there is time, and remember how far that went."""
    last = None
    for key in keys:
        if not this.enough_time():
            break
        ledger.saw(this.organization, *key)
        last = key
    if last is not None:
        ledger.save_inventoried(this.organization, *last)


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


def _told_apart(
    items: Sequence[Item],
    wanted: Callable[[Key], DeviceRecord],
    writer_timeout: timedelta,
    this: Run,
    parties: Parties,
) -> tuple[list[Item], list[Item]]:
    """Of ``items``, the locks that somebody undid, to be told of; and those to be put back all the same.

    What the last command is not known to have left standing was not undone, and is put back. A lock whose record
    changed since the list began is neither, for it may have ended; nor one whose command, which may take
    ``writer_timeout``, may have been under way then: the list is older than what it left.
    """
    undone: list[Item] = []
    others = [item for item in items if not item.tampered]
    if len(others) == len(items):
        return undone, others
    ledger = parties.ledger
    users = ledger.users(this.organization)
    records = ledger.records(this.organization, users)
    for item in items:
        record = wanted(item.key)
        if not item.tampered or record_of(item.key, records, users) != record:
            continue
        stood = _stood(record, ledger)
        if stood is None:
            others.append(item)
        elif stood + writer_timeout < this.now:
            undone.append(item)
    return undone, others


def _stood(record: DeviceRecord, ledger: LedgerParty) -> datetime | None:
    """When what the last command was to leave is known to have stood: as its outcome was told; None if it is not known.

    What that command found, and left as it was, had stood before it was recorded: that is long ago.
    """
    last = record.last
    if last is None or last.outcome.before == last.outcome.after:
        return _LONG_AGO
    return ledger.told_at(last.event_id, last.command)


def _alert(items: Iterable[Item], wanted: Callable[[Key], DeviceRecord], this: Run, parties: Parties) -> None:
    """Tell of locks that somebody undid, once for each time that one was set and each state that it was found in."""
    for item in items:
        last, claim = wanted(item.key).last, wanted(item.key).wanted(this.now)
        assert claim is not None, "only what is wanted is to be put back"
        message = f"Device {item.device} of {item.user_id} was left as it is: {item.because}."
        detail = _about_lock(item.key, claim, message, last.outcome.after if last else None, item.stands)
        found = None if item.stands is None else item.stands.fields()
        set_at = instant.write(last.decided_at if last else claim.at)
        _tell_once(f"{set_at} {found}", "Tampering Detected", detail, this, parties)


def _warn(due: Iterator[Due], this: Run, parties: Parties) -> None:
    """Tell of locks that end soon or are held for long, once for each warning period, while there is time."""
    for warning in due:
        if not this.enough_time():
            return
        message = f"Device {warning.device} of {warning.user_id} {warning.because}."
        detail = _about_lock(warning.key, warning.claim, message, warning.stands, warning.stands)
        _tell_once(warning.id, "Expiry Due Soon", detail, this, parties)


def _about_lock(
    key: Key, claim: Claim, message: str, before: Override | None, after: Override | None
) -> dict[str, Any]:
    """What is told of a lock beside whose run found it: the fields that the outcome of a command has, too."""
    user_id, device = key
    return {
        "userId": user_id,
        "deviceId": device,
        "reason": claim.why,
        "until": write_time(claim.until),
        "reference": claim.reference,
        "before": before.fields() if before else None,
        "after": after.fields() if after else None,
        "page": True,
        "message": message,
    }


def _tell_once(what: str, detail_type: str, about: dict[str, Any], this: Run, parties: Parties) -> None:
    """Announce, then remember that it was announced: a crash between the two tells twice, never not at all."""
    which = f"{this.organization} {about['userId']} {about['deviceId']} {detail_type} {what}"
    told_id = hashlib.sha256(which.encode()).hexdigest()
    if parties.ledger.told_at(told_id, told_id):
        return
    detail = {**_of_run(told_id, this), **about, "times": {"decided": instant.write(this.now)}}
    parties.bus.announce(detail_type, detail)
    parties.ledger.record_outcome(told_id, told_id, {"detailType": detail_type, "detail": detail}, this.now)


def _of_run(told_id: str, this: Run) -> dict[str, Any]:
    """What says which run it was that found what is told."""
    return {"id": told_id, "eventId": this.id, "source": SOURCE, "organizationId": this.organization}


def _announce(report: Report, last: datetime | None, this: Run, parties: Parties, mode: str) -> None:
    """Tell how the run went. A run that can't be completed pages people once, until one is completed again."""
    refused = report.refused
    page = refused is not None and (refused.guard != "first-run" or report.plan.seen["ours"] > 0)
    once = ""
    if refused is not None and not report.completed:
        since = instant.write(last) if last else "ever"
        once = hashlib.sha256(f"{this.organization} {refused.guard} since {since}".encode()).hexdigest()
        page = parties.ledger.told_at(once, once) is None
    kind = "Sweep Completed" if refused is None else "Sweep Refused"
    told = _told(report, this, mode, page)
    parties.bus.announce(kind, told)
    if once and page and mode == "apply":
        parties.ledger.record_outcome(once, once, {"detailType": kind, "detail": told}, this.now)


def _told(report: Report, this: Run, mode: str, page: bool) -> dict[str, Any]:
    """The detail of the event that announces a run: counts, and the first rows of the plan."""
    rows = [*report.plan.removals, *report.plan.reasserts, *report.plan.left]
    return {
        **_of_run(hashlib.sha256(f"{this.id} {this.organization}".encode()).hexdigest(), this),
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
