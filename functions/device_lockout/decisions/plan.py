"""The sweep's plan: what happens to each listed override and each wanted lock, and why.

The plan asks the writer's own write table. The writer decides again on a fresh read, so a plan that asks for too much
does no harm.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from device_lockout.decisions.decision import adoption, write_for
from device_lockout.values.command import Expire, Reassert
from device_lockout.values.device import DeviceKey
from device_lockout.values.lean_dataclass import dataclass
from device_lockout.values.override import ListedOverride, Override
from device_lockout.values.policy import Rules
from device_lockout.values.record import Claim, DeviceRecord, UserRecord
from device_lockout.values.tag import Broken, Foreign, HandWritten, Reading, Tag, write_time

PERCENT_COUNTS_FROM = 10
"""Fewer removals than this have no percentage cap: one lock of two that ends would be half of them."""

Action = Literal["expire", "reassert", "leave"]

KINDS = {Tag: "ours", HandWritten: "hand-written", Broken: "broken", Foreign: "foreign"}
"""What a run counts, by what a description says."""


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a plan."""

    action: Action  # The command to send; ``leave`` sends none and shows the row to people.
    key: DeviceKey
    observed: Override | None  # The override as listed; None if the listing has none.
    due_since: datetime  # When the reason to act arose. Older rows come first.
    because: str  # The reason, in words.
    ours: bool = False  # True if the override has our tag.
    source: str = ""  # The source of the lock that a removal ends; empty if nobody knows.
    failed: datetime | None = None  # When WorkMail refused the last try; None if it did not.
    tampered: bool = False  # True if somebody undid a lock that is wanted.
    unknown: bool = False  # True if the ledger does not know the lock that the override shows.
    untold: bool = False  # True if the override is left alone and no outcome has told of it.


Guard = Literal[
    "first-run", "gap", "set-back", "organization", "list", "clock", "time", "max-removals", "max-removals-percent"
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A guard's refusal to let anything back in, and why."""

    guard: Guard
    because: str  # The reason, in words.
    service_time: datetime | None = None  # The service's time, for ``clock``.
    sources: frozenset[str] = frozenset()  # The sources whose locks stay. Others still end. Empty if nothing ends.


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep would do, oldest first.

    Rows that WorkMail refused the last time come last, the longest untried first. So they delay no other row.
    """

    removals: tuple[Item, ...]  # Overrides to expire.
    reasserts: tuple[Item, ...]  # Locks to put back, or changes to note.
    seen: Mapping[str, int]  # How many overrides of each kind were listed.
    left: tuple[Item, ...] = ()  # Rows that a person should look at.
    repeated: DeviceKey | None = None  # The first device that was listed twice; None if there is none.

    def refusal(self, max_removals: int, max_removals_percent: int) -> Refusal | None:
        """Return why so many overrides may not be removed at once, or None.

        The caps hold for the locks of each source, so that a flood from one does not keep another's in. Rows that
        WorkMail refused the last time don't count. They may stay for good and would keep all others in.
        """
        if self.repeated is not None:
            because = f"WorkMail listed device {self.repeated.device} of {self.repeated.user_id} twice"
            return Refusal("list", because)
        sources = sorted({item.source for item in self.removals})
        by_source = (self._refusal_of(source, max_removals, max_removals_percent) for source in sources)
        refused = [each for each in by_source if each is not None]
        if not refused:
            return None
        because = "; ".join(each.because for each in refused)
        return replace(refused[0], because=because, sources=frozenset().union(*(each.sources for each in refused)))

    def _refusal_of(self, source: str, max_removals: int, max_removals_percent: int) -> Refusal | None:
        removals = [item for item in self.removals if item.source == source and not item.failed]
        ended, ours = sum(item.ours for item in removals), self.seen["ours"]
        of = f" of {source}" if source else ""
        if len(removals) > max_removals:
            because = f"{len(removals)} overrides{of} would be let go: expected at most {max_removals} in one plan"
            return Refusal("max-removals", because, sources=frozenset({source}))
        if ended >= PERCENT_COUNTS_FROM and ended * 100 > max_removals_percent * ours:
            because = f"{ended} overrides{of} would be let go, of {ours} that are ours"
            because = f"{because}: expected at most {max_removals_percent} percent"
            return Refusal("max-removals-percent", because, sources=frozenset({source}))
        return None

    def removals_of_one_run(self, max_removals: int, refused: Refusal | None = None) -> tuple[Item, ...]:
        """Return the removals for one run. Those that WorkMail refused fill only the room that the cap leaves."""
        if refused is not None and not refused.sources:
            return ()
        held = refused.sources if refused is not None else ()
        removals = tuple(item for item in self.removals if item.source not in held)
        fresh = sum(not item.failed for item in removals)
        return removals[: max(fresh, max_removals)]


def plan(
    listing: Iterable[ListedOverride],
    records: Mapping[DeviceKey, DeviceRecord],
    users: Mapping[str, UserRecord],
    now: datetime,
    rules: Rules,
) -> Plan:
    """Compare all overrides of an organization, read once as they come, with all wanted locks.

    ``records`` are the devices that the ledger wants something for, and ``users`` those with an item, by WorkMail's ID.
    Their locks cover devices that only the listing knows.
    """
    items: dict[Action, list[Item]] = {"expire": [], "reassert": [], "leave": []}
    seen = Counter(dict.fromkeys(KINDS.values(), 0))
    noted: set[DeviceKey] = set()
    repeated: DeviceKey | None = None
    for listed in listing:
        key = listed.key
        reading = listed.override.read(rules.owner)
        kind = KINDS[type(reading)]
        seen[kind] += 1
        record = record_of(key, records, users)
        if key not in records and not record.user.claims and kind == "foreign":
            continue
        item = _judge(listed, reading, record, now, rules)
        if key in noted:
            repeated = repeated or key
            continue
        noted.add(key)
        if item is not None:
            items[item.action].append(item)
    for key in records.keys() - noted:
        item = _missing(key, records[key], now, rules.owner)
        if item is not None:
            items["reassert"].append(item)
    removals, reasserts, left = (_in_order(items[action]) for action in ("expire", "reassert", "leave"))
    return Plan(removals, reasserts, seen, left, repeated)


def record_of(
    key: DeviceKey, records: Mapping[DeviceKey, DeviceRecord], users: Mapping[str, UserRecord]
) -> DeviceRecord:
    """Return what is wanted for a device, if only for its user. Most devices have an empty record."""
    if key in records:
        return records[key]
    return DeviceRecord(user=users.get(key.user_id, UserRecord()))


def _judge(listed: ListedOverride, reading: Reading, record: DeviceRecord, now: datetime, rules: Rules) -> Item | None:
    """Return what happens to one listed override, or None if it is as it should be."""
    observed = listed.override
    owner = rules.owner
    adopted = record.adopt(observed, reading, now, rules) if isinstance(reading, Tag) else record
    wanted = adopted.wanted(now)

    def item(action: Action, due_since: datetime, because: str, *, tampered: bool = False, **marks: bool) -> Item:
        shown = adopted.shown_by(reading) if isinstance(reading, Tag) else ()
        source = next((claim.source for claim in shown), "")
        ours = isinstance(reading, Tag)
        failed = _failed(record)
        return Item(action, listed.key, observed, due_since, because, ours, source, failed, tampered, **marks)

    if wanted is not None:
        write, _ = write_for(Reassert, observed, reading, adopted, wanted, now, owner)
        unknown = isinstance(reading, Tag) and not record.shown_by(reading)
        if unknown and record.last is not None and record.last.refused(observed):
            because = "it has our tag, and the ledger does not know its lock: its user is exempt, or its record is full"
            return None if observed.effect == "DENY" else item("leave", now, because, untold=True)
        because = _why_reassert(record, adopted, reading, wanted, differs=write is not None)
        if because:
            tampered = write is not None and not unknown and record.undone(observed, owner)
            return item("reassert", wanted.at, because, tampered=tampered, unknown=unknown)
        if isinstance(reading, Tag):
            return None
    write, _ = write_for(Expire, observed, reading, adopted, wanted, now, owner)
    if write is not None:
        return item("expire", *_end(reading, now))
    replaced = record.ours_was_left(owner) and observed.effect == "DENY"
    told = record.last.outcome if record.last is not None else None
    untold = replaced or told is None or told.after != observed or not told.announced
    if wanted is not None and replaced:
        because = f"somebody else's DENY took the place of a lock ({wanted.why}): to be noted"
        return item("reassert", wanted.at, because, untold=True)
    if isinstance(reading, Broken):
        return item("leave", now, f"its tag can't be read: {reading.fault}", untold=True)
    if wanted is not None:
        because = f"a lock ({wanted.why}) is wanted, and a DENY that is not ours stands"
        return item("leave", wanted.at, because, untold=untold)
    if observed.effect == "DENY" and isinstance(reading, Foreign) and record.last is not None and untold:
        return item("leave", now, "a DENY that is not ours took the place of a lock that is over", untold=True)
    return None


def _why_reassert(
    record: DeviceRecord, adopted: DeviceRecord, reading: Reading, wanted: Claim, *, differs: bool
) -> str:
    """Return why the writer must look at an override where a lock is wanted, or an empty text.

    ``differs`` says that the override is to be written anew.
    """
    if not isinstance(reading, Tag):
        return f"a lock ({wanted.why}) is wanted and an ALLOW stands" if differs else ""
    if not record.shown_by(reading):
        return "the ledger does not know this lock of ours"
    if differs:
        return f"it does not show the lock ({wanted.why}) that is wanted"
    news = adoption(record, adopted, reading)
    return news.because if news else ""


def _end(reading: Reading, now: datetime) -> tuple[datetime, str]:
    """Return since when an override is to be removed, and why."""
    if isinstance(reading, HandWritten):
        return reading.until, f"a person asked for its removal after {write_time(reading.until)}"
    assert isinstance(reading, Tag), "only hand-written ends and our own locks expire"
    if reading.until <= now:
        return reading.until, f"its time was over at {write_time(reading.until)}"
    return reading.at, "the lock that it shows was released"


def _missing(key: DeviceKey, record: DeviceRecord, now: datetime, owner: str) -> Item | None:
    """Return what happens to a device that the listing lacks."""
    wanted = record.wanted(now)
    write, _ = write_for(Reassert, None, None, record, wanted, now, owner)
    if wanted is None or write is None:
        return None
    because = f"a lock ({wanted.why}) until {write_time(wanted.until)} is wanted and nothing stands"
    tampered = record.undone(None, owner)
    return Item("reassert", key, None, wanted.at, because, failed=_failed(record), tampered=tampered)


def _failed(record: DeviceRecord) -> datetime | None:
    """Return when WorkMail refused to write for the device, if the last try ended so."""
    return record.last.decided_at if record.last is not None and record.failed else None


def _in_order(items: list[Item]) -> tuple[Item, ...]:
    never = datetime.min.replace(tzinfo=UTC)
    return tuple(sorted(items, key=lambda item: (item.failed or never, item.due_since, item.key)))
