"""The sweep's plan: for every override that stands and every lock that is wanted, what happens and why.

Pure functions of (listing, ledger, policies, now).
The writer decides again on a fresh read: a plan can ask for too much, never do harm.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from device_lockout.override import ListedOverride, Override
from device_lockout.policy import Reason
from device_lockout.record import Claim, DeviceRecord, UserRecord, tag_of
from device_lockout.tag import HOLD, Broken, HandWritten, Reading, Tag, write_time

PERCENT_COUNTS_FROM = 10
"""Below this many removals a percentage says nothing: one lock of two that ends would be half of them."""

Key = tuple[str, str]
"""WorkMail's user ID and the device, case-folded."""


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a plan: what is to happen to a device's override, and why, in words.

    ``over`` is when the reason to act arose; ``stands`` is the override as listed, ``ours`` if its tag is ours;
    ``failed`` is when WorkMail refused the last try, None if it did not; ``tampered`` says that somebody undid a lock
    that is wanted.
    """

    action: Literal["expire", "reassert", "leave"]
    user_id: str
    device: str
    stands: Override | None
    over: datetime
    because: str
    ours: bool = False
    failed: datetime | None = None
    tampered: bool = False

    @property
    def key(self) -> Key:
        return self.user_id, self.device


@dataclass(frozen=True, slots=True)
class Refusal:
    """A guard's word that nothing may be let back in, and why."""

    guard: Literal["first-run", "gap", "organization", "list", "clock", "time", "max-removals", "max-removals-percent"]
    because: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep would do, and what it saw: a count for each kind of override.

    Oldest first; what WorkMail refused the last time comes last, the longest untried of it first, so that it keeps
    nobody from a turn. ``left`` is what a person should look at; ``repeated`` a row that was listed twice.
    """

    removals: tuple[Item, ...]
    reasserts: tuple[Item, ...]
    seen: Mapping[str, int]
    left: tuple[Item, ...] = ()
    repeated: Item | None = None

    def refusal(self, max_removals: int, max_removals_percent: int) -> Refusal | None:
        """Why so many may not be let back in at once, or None.

        What WorkMail refused the last time does not count: it may stay for good, and would keep all others in.
        """
        if self.repeated is not None:
            because = f"WorkMail listed device {self.repeated.device} of {self.repeated.user_id} twice"
            return Refusal("list", because)
        removals = [item for item in self.removals if not item.failed]
        if len(removals) > max_removals:
            because = f"{len(removals)} overrides would be let go: expected at most {max_removals} in one plan"
            return Refusal("max-removals", because)
        ended, ours = sum(item.ours for item in removals), self.seen["ours"]
        if ended >= PERCENT_COUNTS_FROM and ended * 100 > max_removals_percent * ours:
            because = f"{ended} overrides would be let go, of {ours} that are ours"
            return Refusal("max-removals-percent", f"{because}: expected at most {max_removals_percent} percent")
        return None

    def turn(self, max_removals: int) -> tuple[Item, ...]:
        """The removals of one run: of what WorkMail refused the last time, no more than the cap has room for."""
        fresh = sum(not item.failed for item in self.removals)
        return self.removals[: max(fresh, max_removals)]


def plan(
    listing: Iterable[ListedOverride],
    records: Mapping[Key, DeviceRecord],
    users: Mapping[str, UserRecord],
    now: datetime,
    owner: str,
) -> Plan:
    """Compare all that stands with all that is wanted.

    ``listing`` is read once, as it comes; ``records`` are the devices that the ledger wants something for; ``users``
    are those with an item, by WorkMail's ID: their locks hold for a device that only the listing tells of, too.
    """
    items: dict[str, list[Item]] = {"expire": [], "reassert": [], "leave": []}
    seen = Counter({"ours": 0, "hand-written": 0, "broken": 0, "foreign": 0})
    noted: set[Key] = set()
    repeated: Item | None = None
    for listed in listing:
        key = (listed.user_id, listed.device)
        reading = listed.override.read(owner)
        kind = _kind(reading)
        seen[kind] += 1
        record = record_of(key, records, users)
        if key not in records and not record.user.claims and kind == "foreign":
            continue
        item = _judge(listed, reading, record, now, owner)
        if key in noted:
            repeated = repeated or Item("leave", *key, listed.override, now, "it was listed twice")
            continue
        noted.add(key)
        if item is not None:
            items[item.action].append(item)
    for key in records.keys() - noted:
        item = _missing(key, records[key], now, owner)
        if item is not None:
            items["reassert"].append(item)
    removals, reasserts, left = (_in_order(items[action]) for action in ("expire", "reassert", "leave"))
    return Plan(removals, reasserts, seen, left, repeated)


_NOTHING = DeviceRecord()


def record_of(key: Key, records: Mapping[Key, DeviceRecord], users: Mapping[str, UserRecord]) -> DeviceRecord:
    """What is wanted for a device, be it only for its user; for most of an organization's it is nothing."""
    if key in records:
        return records[key]
    return DeviceRecord(user=users[key[0]]) if key[0] in users else _NOTHING


def _judge(listed: ListedOverride, reading: Reading, record: DeviceRecord, now: datetime, owner: str) -> Item | None:
    """What happens to one override that stands; None where it is as it should be."""
    stands, ours = listed.override, isinstance(reading, Tag)

    def item(
        action: Literal["expire", "reassert", "leave"], over: datetime, because: str, tampered: bool = False
    ) -> Item:
        return Item(action, listed.user_id, listed.device, stands, over, because, ours, _failed(record), tampered)

    adopted = record.adopt(reading) if isinstance(reading, Tag) else record
    wanted = adopted.wanted(now)
    if wanted is not None and stands.effect == "ALLOW" and not isinstance(reading, Tag):
        because = f"a lock ({wanted.why}) is wanted and an ALLOW stands"
        return item("reassert", wanted.at, because, tampered=record.undone(stands, owner))
    if isinstance(reading, HandWritten) and reading.until <= now:
        return item("expire", reading.until, f"a person asked for its removal after {write_time(reading.until)}")
    if isinstance(reading, Tag):
        if wanted is not None:
            return _shown(item, reading, stands, record, wanted, owner)
        if reading.until <= now:
            return item("expire", reading.until, f"its time was over at {write_time(reading.until)}")
        return item("expire", reading.at, "the lock that it shows was released")
    if wanted is not None and record.ours_was_left(owner):
        return item("reassert", wanted.at, f"somebody else's DENY took the place of a lock ({wanted.why}): to be noted")
    if isinstance(reading, Broken):
        return item("leave", now, f"its tag can't be read: {reading.fault}")
    if wanted is not None:
        return item("leave", wanted.at, f"a lock ({wanted.why}) is wanted, and a DENY that is not ours stands")
    return None


def _shown(
    item: Callable[..., Item], reading: Tag, stands: Override, record: DeviceRecord, wanted: Claim, owner: str
) -> Item | None:
    """What happens to an override of ours while a lock is wanted."""
    shown = record.shown_by(reading)
    if not shown:
        return item("reassert", reading.at, "the ledger does not know this lock of ours")
    if stands.effect != "DENY" or reading != tag_of(wanted, owner, reading.was):
        because = f"it does not show the lock ({wanted.why}) that is wanted"
        return item("reassert", wanted.at, because, tampered=record.undone(stands, owner))
    for known in shown:
        if known.until != reading.until:
            because = f"a person changed its end from {write_time(known.until)} to {write_time(reading.until)}"
            return item("reassert", wanted.at, because)
    return None


def _missing(key: Key, record: DeviceRecord, now: datetime, owner: str) -> Item | None:
    """What happens where nothing stands."""
    wanted = record.wanted(now)
    if wanted is None:
        return None
    because = f"a lock ({wanted.why}) until {write_time(wanted.until)} is wanted and nothing stands"
    tampered = record.undone(None, owner)
    return Item("reassert", *key, None, wanted.at, because, failed=_failed(record), tampered=tampered)


def _failed(record: DeviceRecord) -> datetime | None:
    """When WorkMail refused to write for the device, if that is how the last try ended."""
    return record.last.decided_at if record.last is not None and record.failed else None


def _kind(reading: Reading) -> str:
    match reading:
        case Tag():
            return "ours"
        case HandWritten():
            return "hand-written"
        case Broken():
            return "broken"
        case _:
            return "foreign"


def _in_order(items: list[Item]) -> tuple[Item, ...]:
    never = datetime.min.replace(tzinfo=UTC)
    return tuple(sorted(items, key=lambda item: (item.failed or never, item.over, item.user_id, item.device)))


@dataclass(frozen=True, slots=True)
class Due:
    """That people should look at a lock: it ends soon and lets a device back in, or has been held for long.

    ``id`` is the same in every run for one lock and warning period; ``stands`` is what the last command left standing.
    """

    id: str
    user_id: str
    device: str
    claim: Claim
    stands: Override | None
    because: str

    @property
    def key(self) -> Key:
        return self.user_id, self.device


def warnings(records: Mapping[Key, DeviceRecord], reasons: Mapping[str, Reason], now: datetime) -> Iterator[Due]:
    """The warnings that are due: once ahead of an end, and for a lock without one every ``warn_before``."""
    for (user_id, device), record in sorted(records.items()):
        claim = record.wanted(now)
        reason = reasons.get(claim.why) if claim else None
        if claim is None or reason is None or reason.warn_before is None:
            continue
        stands = record.last.outcome.after if record.last else None
        if claim.until == HOLD:
            periods = (now - claim.at) // reason.warn_before
            if periods:
                because = f"is held ({claim.why}) since {write_time(claim.at.replace(microsecond=0))}, until released"
                yield Due(f"{claim.id} {periods}", user_id, device, claim, stands, because)
        elif claim.until - now <= reason.warn_before:
            because = f"is locked ({claim.why}) until {write_time(claim.until)}, and then let back in"
            yield Due(f"{claim.id} {write_time(claim.until)}", user_id, device, claim, stands, because)
