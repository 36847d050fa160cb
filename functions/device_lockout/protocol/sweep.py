"""The sweep: list everything, read what is wanted, plan, and enqueue; it never writes to WorkMail.

Guards stop removals only, never the putting back of a lock: whoever is unsure leaves alone, and says so.
"""

import hashlib
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from device_lockout.decisions.plan import Item, Plan, Refusal, plan, record_of
from device_lockout.decisions.warnings import Due, warnings
from device_lockout.protocol.ports import LedgerPort, Ports, QueuePort, WorkMailPort
from device_lockout.values import instant
from device_lockout.values.command import Cause, Command, Expire, Reassert, Target
from device_lockout.values.device import DeviceKey
from device_lockout.values.errors import LockoutError, RefusedError
from device_lockout.values.outcome import SOURCE
from device_lockout.values.override import ListedOverride, Override
from device_lockout.values.record import Claim, DeviceRecord
from device_lockout.values.settings import Settings
from device_lockout.values.tag import Tag, write_time

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

SHOWN_ROWS = 5
"""How many rows of the plan an outcome carries; the log has all."""

INVENTORIED = 500
"""How many devices, seen by somebody else's override, one run adds to the inventory; the next goes on after them."""


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
class SweepResult:
    """How a run went.

    ``refused`` is the guard that let nothing back in, None where none had anything against it; ``completed`` says that
    everything was listed; ``enqueued`` counts commands.
    """

    plan: Plan
    refused: Refusal | None
    completed: bool
    enqueued: int


def run(this: Run, ports: Ports, settings: Settings) -> SweepResult:
    """Sweep one organization once and announce it."""
    policy = settings.sweep
    last = ports.ledger.last_sweep(this.organization)
    users = ports.ledger.users(this.organization)
    records = ports.ledger.records(this.organization, users)
    failures: list[Refusal] = []
    listing = _listing(this, ports.workmail, settings.limits.clock_skew, failures)
    others = _Others(ports.ledger.inventoried_up_to(this.organization))
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
            undone, reasserts = _split_tampered(reasserts, wanted, settings.limits.writer_timeout, this, ports)
            _alert((item for item in undone if item.observed is not None or completed), wanted, this, ports)
        removals = planned.removals_of_one_run(policy.max_removals) if refused is None else ()
        due = [*reasserts[: policy.max_reasserts], *removals]
        enqueued = _enqueue_in_portions(due, this, ports.queue, policy.portion)
    result = SweepResult(planned, refused, completed, enqueued)
    _announce(result, last, this, ports, policy.mode)
    # Whatever comes from here on may fail: what only a report may precede, a removal after a gap, was reported.
    if policy.mode == "apply":
        if completed:
            ports.ledger.save_sweep(this.organization, this.now)
        open_now = {item.key for item in planned.reasserts}
        _warn((due for due in warnings(records, settings.reasons, this.now) if due.key not in open_now), this, ports)
        _inventory(others.next, this, ports.ledger)
    return result


def _reasserts(planned: Plan, failures: Sequence[Refusal], this: Run) -> list[Item]:
    """The locks to put back, whatever guard refuses removals; none where WorkMail has no such organization to write to.

    Where the list is not whole, what it lacks may well stand: those come after what was seen to be open, in an order
    that falls anew in each run, so that the cap keeps none of them out for good. The writer looks before it writes.
    """
    if any(failure.guard == "organization" for failure in failures):
        return []
    if planned.repeated is None and all(failure.guard == "clock" for failure in failures):
        return [*planned.reasserts]
    unseen = [item for item in planned.reasserts if item.observed is None]
    unseen.sort(key=lambda item: hashlib.sha256(f"{this.id} {item.key.user_id} {item.key.device}".encode()).digest())
    return [*(item for item in planned.reasserts if item.observed is not None), *unseen]


def _listing(
    this: Run, workmail: WorkMailPort, clock_skew: timedelta, failures: list[Refusal]
) -> Iterator[ListedOverride]:
    """Everything that stands, page by page.

    What is wrong with the list ends up in ``failures``, and ends the list; clocks that disagree are noted, and it goes
    on: what is to be put back does not depend on them.
    """
    pages = workmail.pages(this.organization)
    first_rows: set[DeviceKey] = set()
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
            first = rows[0].key
            if first in first_rows:
                failures.append(
                    Refusal("list", f"WorkMail listed the page from device {first.device} of {first.user_id} twice")
                )
                return
            first_rows.add(first)
        yield from rows


class _Others:
    """Of the overrides in a listing that are not ours, the :data:`INVENTORIED` devices next after one, and around.

    Ours are in the ledger anyway.
    """

    def __init__(self, after: DeviceKey) -> None:
        self.next: list[DeviceKey] = []
        self._after = after

    def among(self, listing: Iterator[ListedOverride], owner: str) -> Iterator[ListedOverride]:
        """The listing as it is."""
        for listed in listing:
            key = listed.key
            near = len(self.next) < INVENTORIED or self._order(key) < self._order(self.next[-1])
            if near and not isinstance(listed.override.read(owner), Tag):
                insort(self.next, key, key=self._order)
                del self.next[INVENTORIED:]
            yield listed

    def _order(self, key: DeviceKey) -> tuple[bool, DeviceKey]:
        return key <= self._after, key


def _inventory(keys: Iterable[DeviceKey], this: Run, ledger: LedgerPort) -> None:
    """Add the devices to the inventory while there is time, and remember how far that went."""
    last = None
    for key in keys:
        if not this.enough_time():
            break
        ledger.saw(key)
        last = key
    if last is not None:
        ledger.save_inventoried(last)


def _gap(last: datetime | None, now: datetime, longest: timedelta) -> Refusal | None:
    """Whether sweeps were missed for so long that what has piled up should be looked at first."""
    if last is None:
        return Refusal("first-run", "the ledger knows of no completed sweep: this one only reports")
    if now - last > longest:
        return Refusal("gap", f"no sweep completed since {instant.write(last)}: this one only reports")
    return None


def _enqueue_in_portions(items: Sequence[Item], this: Run, queue: QueuePort, portion: int) -> int:
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
    target = Target.of(item.key)
    if item.action == "expire":
        assert item.observed is not None, "only what stands can expire"
        return Expire(cause, target, item.observed)
    return Reassert(cause, target)


def _split_tampered(
    items: Sequence[Item],
    wanted: Callable[[DeviceKey], DeviceRecord],
    writer_timeout: timedelta,
    this: Run,
    ports: Ports,
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
    ledger = ports.ledger
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


def _stood(record: DeviceRecord, ledger: LedgerPort) -> datetime | None:
    """When what the last command was to leave is known to have stood: as its outcome was told; None if it is not known.

    What that command found, and left as it was, had stood before it was recorded: that is long ago.
    """
    last = record.last
    if last is None or last.outcome.before == last.outcome.after:
        return _LONG_AGO
    return ledger.told_at(last.event_id, last.command)


def _alert(items: Iterable[Item], wanted: Callable[[DeviceKey], DeviceRecord], this: Run, ports: Ports) -> None:
    """Tell of locks that somebody undid, once for each time that one was set and each state that it was found in."""
    for item in items:
        last, claim = wanted(item.key).last, wanted(item.key).wanted(this.now)
        assert claim is not None, "only what is wanted is to be put back"
        message = f"Device {item.key.device} of {item.key.user_id} was left as it is: {item.because}."
        detail = _about_lock(item.key, claim, message, last.outcome.after if last else None, item.observed)
        found = None if item.observed is None else item.observed.fields()
        set_at = instant.write(last.decided_at if last else claim.at)
        _announce_once(f"{set_at} {found}", "Tampering Detected", detail, this, ports)


def _warn(due: Iterator[Due], this: Run, ports: Ports) -> None:
    """Tell of locks that end soon or are held for long, once for each warning period, while there is time."""
    for warning in due:
        if not this.enough_time():
            return
        message = f"Device {warning.key.device} of {warning.key.user_id} {warning.because}."
        detail = _about_lock(warning.key, warning.claim, message, warning.observed, warning.observed)
        _announce_once(warning.id, "Expiry Due Soon", detail, this, ports)


def _about_lock(
    key: DeviceKey, claim: Claim, message: str, before: Override | None, after: Override | None
) -> dict[str, Any]:
    """What is told of a lock beside whose run found it: the fields that the outcome of a command has, too."""
    return {
        "userId": key.user_id,
        "deviceId": key.device,
        "reason": claim.why,
        "until": write_time(claim.until),
        "reference": claim.reference,
        "before": before.fields() if before else None,
        "after": after.fields() if after else None,
        "page": True,
        "message": message,
    }


def _announce_once(what: str, detail_type: str, about: dict[str, Any], this: Run, ports: Ports) -> None:
    """Announce, then remember that it was announced: a crash between the two tells twice, never not at all."""
    which = f"{this.organization} {about['userId']} {about['deviceId']} {detail_type} {what}"
    told_id = hashlib.sha256(which.encode()).hexdigest()
    if ports.ledger.told_at(told_id, told_id):
        return
    detail = {**_of_run(told_id, this), **about, "times": {"decided": instant.write(this.now)}}
    ports.bus.announce(detail_type, detail)
    ports.ledger.record_outcome(told_id, told_id, {"detailType": detail_type, "detail": detail}, this.now)


def _of_run(told_id: str, this: Run) -> dict[str, Any]:
    """What says which run it was that found what is told."""
    return {"id": told_id, "eventId": this.id, "source": SOURCE, "organizationId": this.organization}


def _announce(result: SweepResult, last: datetime | None, this: Run, ports: Ports, mode: str) -> None:
    """Tell how the run went. A run that can't be completed pages people once, until one is completed again."""
    refused = result.refused
    page = refused is not None and (refused.guard != "first-run" or result.plan.seen["ours"] > 0)
    once = ""
    if refused is not None and not result.completed:
        since = instant.write(last) if last else "ever"
        once = hashlib.sha256(f"{this.organization} {refused.guard} since {since}".encode()).hexdigest()
        page = ports.ledger.told_at(once, once) is None
    kind = "Sweep Completed" if refused is None else "Sweep Refused"
    told = _told(result, this, mode, page)
    ports.bus.announce(kind, told)
    if once and page and mode == "apply":
        ports.ledger.record_outcome(once, once, {"detailType": kind, "detail": told}, this.now)


def _told(result: SweepResult, this: Run, mode: str, page: bool) -> dict[str, Any]:
    """The detail of the event that announces a run: counts, and the first rows of the plan."""
    rows = [*result.plan.removals, *result.plan.reasserts, *result.plan.left]
    return {
        **_of_run(hashlib.sha256(f"{this.id} {this.organization}".encode()).hexdigest(), this),
        "mode": mode,
        "completed": result.completed,
        "guard": result.refused.guard if result.refused else None,
        "page": page,
        "message": _message(result, this, mode),
        "seen": dict(result.plan.seen),
        "removals": len(result.plan.removals),
        "reasserts": len(result.plan.reasserts),
        "left": len(result.plan.left),
        "enqueued": result.enqueued,
        "first": [row(item) for item in rows[:SHOWN_ROWS]],
        "times": {"started": instant.write(this.now), "done": instant.write(this.clock())},
    }


def row(item: Item) -> dict[str, str]:
    """One row of a plan as the log and the outcome show it."""
    return {
        "action": item.action,
        "userId": item.key.user_id,
        "deviceId": item.key.device,
        "over": write_time(item.due_since),
        "because": item.because,
    }


def _message(result: SweepResult, this: Run, mode: str) -> str:
    if result.refused is not None:
        return f"The sweep of {this.organization} let nothing back in: {result.refused.because}."
    seen, asked = sum(result.plan.seen.values()), len(result.plan.removals) + len(result.plan.reasserts)
    if mode == "report":
        rest = "; it only reports"
    else:
        rest = f"; {asked - result.enqueued} of them not in this run" if result.enqueued < asked else ""
    return (
        f"The sweep of {this.organization} saw {seen} overrides:"
        f" {len(result.plan.removals)} to expire, {len(result.plan.reasserts)} to put back{rest}."
    )
