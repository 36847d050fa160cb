"""The sweep: read what is wanted, list every override, plan, and send commands. It never writes to WorkMail.

A guard stops removals: an unsure sweep lets nothing back in. Only a missing organization stops reasserts as well, and
a ledger that was set back: it may know locks that were released since. Then a person decides.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import chain, islice
from typing import Any

from device_lockout.decisions.plan import Item, Plan, Refusal, plan, record_of
from device_lockout.decisions.warnings import Due, warnings
from device_lockout.protocol import announcement
from device_lockout.protocol.listing import InventoryWindow, list_overrides
from device_lockout.protocol.ports import Ports, QueuePort
from device_lockout.protocol.sweep_run import Run, SweepResult
from device_lockout.values import instant
from device_lockout.values.advice import advise
from device_lockout.values.command import LEDGER_ACCEPTED, Cause, Command, Expire, Reassert, Target
from device_lockout.values.device import DeviceKey
from device_lockout.values.outcome import SOURCE
from device_lockout.values.override import UNREADABLE_DATE
from device_lockout.values.record import DeviceRecord, LastSweep, UserRecord
from device_lockout.values.settings import Settings

MOST_WARNINGS = 10  # Warnings that page in one run. More would hide each other.

__all__ = ["Run", "SweepResult", "run"]


def run(this: Run, ports: Ports, settings: Settings) -> SweepResult:
    """Sweep one organization once and announce it."""
    policy = settings.sweep
    last = ports.ledger.last_sweep(this.organization)
    users = ports.ledger.users(this.organization)
    records = ports.ledger.records(this.organization, users)
    failures: list[Refusal] = []
    listing = list_overrides(this, ports.workmail, settings.limits.clock_skew, failures)
    window = InventoryWindow(ports.ledger.inventoried_up_to(this.organization))
    first = list(islice(listing, 1))  # with it comes WorkMail's time
    # Where our clock and WorkMail's disagree the earlier one counts, for every lock to last.
    times = [failure.service_time for failure in failures if failure.service_time not in (None, UNREADABLE_DATE)]
    now = min([this.now, *filter(None, times)])
    planned = plan(window.watch(chain(first, listing), settings.owner), records, users, now, settings.rules)

    completed = not failures and planned.repeated is None
    refused = failures[0] if failures else None
    set_back = _set_back(last, planned, this)
    if policy.mode == "apply":
        refused = set_back or refused or _gap(last, this, policy.every * policy.report_only_after_missed)
    # Caps come last: they hold the locks of some sources only.
    refused = refused or planned.refusal(policy.max_removals, policy.max_removals_percent)
    reasserts = [] if set_back else _reasserts(planned, failures, this)
    enqueued = 0
    if policy.mode == "apply":
        removals = planned.removals_of_one_run(policy.max_removals, refused)
        due = [*reasserts[: policy.max_reasserts], *removals]
        commands = [_command(item, this, page=item.unknown and last is not None and not this.accepted) for item in due]
        enqueued = _enqueue_in_portions(commands, this, ports.queue, policy.portion)
    result = SweepResult(planned, refused, completed, enqueued)
    organization = settings.organization(this.organization)
    assert organization is not None, "the sweep is of a configured organization"
    _announce(result, last, this, ports, policy.mode, organization.alias)
    # Announce the run before it is saved: after a gap, people get a plan to read before the next run removes any.
    if policy.mode == "apply":
        if completed and not set_back:
            ports.ledger.save_sweep(this.organization, this.now)
        open_now = {item.key for item in planned.reasserts}
        _tell_left_alone([*planned.left, *planned.reasserts], records, users, this, ports)
        due_now = warnings(records, settings.reasons, now, organization.ends_at)
        _warn((due for due in due_now if due.key not in open_now), this, ports)
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


def _set_back(last: LastSweep | None, planned: Plan, this: Run) -> Refusal | None:
    """Return a refusal if the ledger is another table than at the last complete sweep, and no person accepted it."""
    if last is None or last.here or this.accepted:
        return None
    because = (
        f"the ledger is another table than at the last complete sweep ({instant.write(last.began)}), and it may know"
        f" locks that were released since. Nothing was put back either: {len(planned.reasserts)} locks would be, and"
        f" {len(planned.removals)} overrides would be let go"
    )
    return Refusal("set-back", because)


def _gap(last: LastSweep | None, this: Run, longest: timedelta) -> Refusal | None:
    """Return a refusal if no sweep completed for ``longest``. Somebody should look at what piled up first."""
    if last is None:
        return Refusal("first-run", "the ledger knows of no completed sweep: this one only reports")
    if this.now - last.began > longest and not this.accepted:
        return Refusal("gap", f"no sweep completed since {instant.write(last.began)}: this one only reports")
    return None


def _enqueue_in_portions(commands: Sequence[Command], this: Run, queue: QueuePort, portion: int) -> int:
    """Enqueue commands and return how many. At most ``portion`` of them wait at a time, so no fresh lock waits long.

    The first portion always goes. The next run does what this one has no time for.
    """
    enqueued = queue.send(commands[:portion])
    while enqueued < len(commands) and this.enough_time():
        room = portion - queue.waiting()
        if room <= 0:
            this.pause()
            continue
        enqueued += queue.send(commands[enqueued : enqueued + room])
    return enqueued


def _command(item: Item, this: Run, *, page: bool) -> Command:
    """Return the command for one row of the plan. Its event ID is the run's, so it is no copy of an earlier run's."""
    kind = LEDGER_ACCEPTED if this.accepted else "Sweep"
    cause = Cause(this.id, SOURCE, kind, happened=this.now, received=this.now, page=page)
    target = Target.of(item.key)
    if item.action == "expire":
        assert item.observed is not None, "only a listed override can expire"
        return Expire(cause, target, item.observed)
    return Reassert(cause, target)


def _warn(due: Iterator[Due], this: Run, ports: Ports) -> None:
    """Announce locks that end soon or have been held for long. Each warning period has one announcement.

    Only the first :data:`MOST_WARNINGS` page. The last of these says how many follow.
    """
    fresh: list[dict[str, Any]] = []
    for warning in due:
        if not this.enough_time():
            break
        said = f"Device {warning.key.device} of {warning.key.user_id} {warning.because}."
        about = warning.key, warning.claim, warning.observed
        told = announcement.of_lock(warning.id, warning.detail_type, *about, said, this)
        if not _was_announced(told, ports):
            fresh.append(told)
    for number, told in enumerate(fresh, 1):
        if number > MOST_WARNINGS:
            told["detail"] |= {"page": False, **advise(told["detailType"], page=False)}
        if number == MOST_WARNINGS < len(fresh):
            told["detail"]["message"] += f" So it is with {len(fresh) - number} more, which page nobody."
        _announce_once(told, this, ports)


def _tell_left_alone(
    items: Sequence[Item],
    records: Mapping[DeviceKey, DeviceRecord],
    users: Mapping[str, UserRecord],
    this: Run,
    ports: Ports,
) -> None:
    """Announce overrides that are left alone and that no outcome has told of. Each text has one announcement."""
    for item in items:
        if not item.untold or item.observed is None:
            continue
        if not this.enough_time():
            return
        said = f"The override of device {item.key.device} of {item.key.user_id} was left alone: {item.because}."
        about = item.key, record_of(item.key, records, users).wanted(this.now), item.observed
        told = announcement.of_lock(str(item.observed.fields()), "Override Left Alone", *about, said, this)
        if not _was_announced(told, ports):
            _announce_once(told, this, ports)


def _was_announced(told: dict[str, Any], ports: Ports) -> bool:
    return ports.ledger.outcome(told["detail"]["id"], told["detail"]["id"]) is not None


def _announce_once(told: dict[str, Any], this: Run, ports: Ports) -> None:
    """Announce a warning, then record it. A crash in between announces it twice, and never loses it."""
    ports.bus.announce(told["detailType"], told["detail"])
    ports.ledger.record_outcome(told["detail"]["id"], told["detail"]["id"], told, this.now)


def _announce(result: SweepResult, last: LastSweep | None, this: Run, ports: Ports, mode: str, called: str) -> None:
    """Announce the run and record it. Of several incomplete runs only the first pages, until one is complete again."""
    refused = result.refused
    page = refused is not None and (refused.guard != "first-run" or result.plan.seen["ours"] > 0)
    once = ""
    if refused is not None and not result.completed:
        since = instant.write(last.began) if last else "ever"
        once = hashlib.sha256(f"{this.organization} {refused.guard} since {since}".encode()).hexdigest()
        page = ports.ledger.outcome(once, once) is None
    told = announcement.of_run(result, this, mode, called, page=page)
    ports.bus.announce(told["detailType"], told["detail"])
    ports.ledger.record_outcome(this.id, told["detail"]["id"], told, this.now)
    if once and page and mode == "apply":
        ports.ledger.record_outcome(once, once, told, this.now)
