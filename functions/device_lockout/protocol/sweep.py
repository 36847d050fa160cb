"""The sweep: read what is wanted, list every override, plan, and send commands. It never writes to WorkMail.

A guard stops removals: an unsure sweep lets nothing back in. Only a missing organization stops reasserts as well.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from device_lockout.decisions.plan import Item, Plan, Refusal, plan, record_of
from device_lockout.decisions.warnings import Due, warnings
from device_lockout.protocol import announcement
from device_lockout.protocol.listing import InventoryWindow, list_overrides
from device_lockout.protocol.ports import LedgerPort, Ports, QueuePort
from device_lockout.protocol.run import Run, SweepResult
from device_lockout.values import instant
from device_lockout.values.command import Cause, Command, Expire, Reassert, Target
from device_lockout.values.device import DeviceKey
from device_lockout.values.outcome import SOURCE
from device_lockout.values.record import DeviceRecord
from device_lockout.values.settings import Settings

__all__ = ["Run", "SweepResult", "run"]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def run(this: Run, ports: Ports, settings: Settings) -> SweepResult:
    """Sweep one organization once and announce it."""
    policy = settings.sweep
    last = ports.ledger.last_sweep(this.organization)
    users = ports.ledger.users(this.organization)
    records = ports.ledger.records(this.organization, users)
    failures: list[Refusal] = []
    listing = list_overrides(this, ports.workmail, settings.limits.clock_skew, failures)
    window = InventoryWindow(ports.ledger.inventoried_up_to(this.organization))
    planned = plan(window.watch(listing, settings.owner), records, users, this.now, settings.owner)

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
    # Announce the run before it is saved: after a gap, people get a plan to read before the next run removes any.
    if policy.mode == "apply":
        if completed:
            ports.ledger.save_sweep(this.organization, this.now)
        open_now = {item.key for item in planned.reasserts}
        _warn((due for due in warnings(records, settings.reasons, this.now) if due.key not in open_now), this, ports)
        window.save(this, ports.ledger)
    return result


def _reasserts(planned: Plan, failures: Sequence[Refusal], this: Run) -> list[Item]:
    """Return the locks to put back, whatever guard refuses removals. A missing organization has none.

    An incomplete list may lack overrides that exist. So devices that the list shows open come first, then those that
    it lacks. The order of the latter is new in each run, so that the cap keeps none out for good. The writer reads
    again before it writes.
    """
    if any(failure.guard == "organization" for failure in failures):
        return []
    if planned.repeated is None and all(failure.guard == "clock" for failure in failures):
        return [*planned.reasserts]
    unseen = [item for item in planned.reasserts if item.observed is None]
    unseen.sort(key=lambda item: hashlib.sha256(f"{this.id} {item.key.user_id} {item.key.device}".encode()).digest())
    return [*(item for item in planned.reasserts if item.observed is not None), *unseen]


def _gap(last: datetime | None, now: datetime, longest: timedelta) -> Refusal | None:
    """Return a refusal if no sweep completed for ``longest``. Somebody should look at what piled up first."""
    if last is None:
        return Refusal("first-run", "the ledger knows of no completed sweep: this one only reports")
    if now - last > longest:
        return Refusal("gap", f"no sweep completed since {instant.write(last)}: this one only reports")
    return None


def _enqueue_in_portions(items: Sequence[Item], this: Run, queue: QueuePort, portion: int) -> int:
    """Enqueue commands and return how many. At most ``portion`` of them wait at a time, so no fresh lock waits long.

    The first portion always goes. The next run does what this one has no time for.
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
    """Return the command for one row of the plan. Its event ID is the run's, so it is no copy of an earlier run's."""
    cause = Cause(this.id, SOURCE, "Sweep", happened=this.now, received=this.now)
    target = Target.of(item.key)
    if item.action == "expire":
        assert item.observed is not None, "only a listed override can expire"
        return Expire(cause, target, item.observed)
    return Reassert(cause, target)


def _split_tampered(
    items: Sequence[Item],
    wanted: Callable[[DeviceKey], DeviceRecord],
    writer_timeout: timedelta,
    this: Run,
    ports: Ports,
) -> tuple[list[Item], list[Item]]:
    """Split ``items`` into the locks that somebody undid, to alert of, and the others, to put back.

    Call it tampering only if the lock was confirmed set more than ``writer_timeout`` before the listing, and its record
    is unchanged. A lock that was never confirmed is put back. A newer lock or a changed record is in neither list: the
    listing may be older.
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
        set_at = _stood(record, ledger)
        if set_at is None:
            others.append(item)
        elif set_at + writer_timeout < this.now:
            undone.append(item)
    return undone, others


def _stood(record: DeviceRecord, ledger: LedgerPort) -> datetime | None:
    """Return when the last command's override was confirmed set, by its recorded outcome; None if it was not.

    An override that the command left as it was had been set long before.
    """
    last = record.last
    if last is None or last.outcome.before == last.outcome.after:
        return _LONG_AGO
    return ledger.told_at(last.event_id, last.command)


def _alert(items: Iterable[Item], wanted: Callable[[DeviceKey], DeviceRecord], this: Run, ports: Ports) -> None:
    """Announce locks that somebody undid. One is announced again if it was set anew, or is found in another state."""
    for item in items:
        last, claim = wanted(item.key).last, wanted(item.key).wanted(this.now)
        assert claim is not None, "only a wanted lock is put back"
        found = None if item.observed is None else item.observed.fields()
        set_at = instant.write(last.decided_at if last else claim.at)
        lock = announcement.undone_lock(item, claim, last)
        _announce_once(f"{set_at} {found}", "Tampering Detected", lock, this, ports)


def _warn(due: Iterator[Due], this: Run, ports: Ports) -> None:
    """Announce locks that end soon or have been held for long. Each warning period has one announcement."""
    for warning in due:
        if not this.enough_time():
            return
        _announce_once(warning.id, "Expiry Due Soon", announcement.due_lock(warning), this, ports)


def _announce_once(occasion: str, detail_type: str, lock: dict[str, Any], this: Run, ports: Ports) -> None:
    """Announce a warning, then record it. A crash in between announces it twice, and never loses it."""
    told = announcement.of_lock(occasion, detail_type, lock, this)
    told_id = told["detail"]["id"]
    if ports.ledger.told_at(told_id, told_id):
        return
    ports.bus.announce(told["detailType"], told["detail"])
    ports.ledger.record_outcome(told_id, told_id, told, this.now)


def _announce(result: SweepResult, last: datetime | None, this: Run, ports: Ports, mode: str) -> None:
    """Announce the run. Of several incomplete runs only the first pages, until a run is complete again."""
    refused = result.refused
    page = refused is not None and (refused.guard != "first-run" or result.plan.seen["ours"] > 0)
    once = ""
    if refused is not None and not result.completed:
        since = instant.write(last) if last else "ever"
        once = hashlib.sha256(f"{this.organization} {refused.guard} since {since}".encode()).hexdigest()
        page = ports.ledger.told_at(once, once) is None
    told = announcement.of_run(result, this, mode, page=page)
    ports.bus.announce(told["detailType"], told["detail"])
    if once and page and mode == "apply":
        ports.ledger.record_outcome(once, once, told, this.now)
