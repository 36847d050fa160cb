"""The sweep's plan: for every override that stands and every lock that is wanted, what happens and why.

Pure functions of (listing, ledger, policies, now).
The writer decides again on a fresh read: a plan can ask for too much, never do harm.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from device_lockout.override import ListedOverride, Override
from device_lockout.policy import Reason
from device_lockout.record import Claim, DeviceRecord, tag_of
from device_lockout.tag import HOLD, Broken, HandWritten, Reading, Tag, write_time

PERCENT_COUNTS_FROM = 10
"""Below this many removals a percentage says nothing: one lock of two that ends would be half of them."""

Key = tuple[str, str]
"""WorkMail's user ID and the device, case-folded."""


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a plan: what is to happen to a device's override, and why, in words.

    ``over`` is when the reason to act arose; ``stands`` is the override as listed; ``failed`` says that WorkMail
    refused the last try; ``tampered`` that somebody undid a lock that is wanted.
    """

    action: Literal["expire", "reassert"]
    user_id: str
    device: str
    stands: Override | None
    over: datetime
    because: str
    failed: bool = False
    tampered: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A guard's word that nothing may be let back in, and why."""

    guard: Literal["first-run", "gap", "list", "clock", "time", "max-removals", "max-removals-percent"]
    because: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep would do, and what it saw: a count for each kind of override.

    Oldest first; what WorkMail refused the last time comes last, so that it never keeps others from their turn.
    """

    removals: tuple[Item, ...]
    reasserts: tuple[Item, ...]
    seen: Mapping[str, int]

    def refusal(self, max_removals: int, max_removals_percent: int) -> Refusal | None:
        """Why so many may not be let back in at once, or None."""
        removals, ours = len(self.removals), self.seen["ours"]
        if removals > max_removals:
            because = f"{removals} overrides would be let go: expected at most {max_removals} in one plan"
            return Refusal("max-removals", because)
        if removals >= PERCENT_COUNTS_FROM and removals * 100 > max_removals_percent * max(ours, 1):
            because = f"{removals} overrides would be let go, of {ours} that are ours"
            return Refusal("max-removals-percent", f"{because}: expected at most {max_removals_percent} percent")
        return None


def plan(listing: Iterable[ListedOverride], records: Mapping[Key, DeviceRecord], now: datetime, owner: str) -> Plan:
    """Compare all that stands with all that is wanted.

    ``listing`` is read once, as it comes; ``records`` are the devices that the ledger wants something for.
    """
    removals: list[Item] = []
    reasserts: list[Item] = []
    seen = Counter({"ours": 0, "hand-written": 0, "broken": 0, "foreign": 0})
    listed_keys: set[Key] = set()
    for listed in listing:
        key = (listed.user_id, listed.device)
        reading = listed.override.read(owner)
        seen[_kind(reading)] += 1
        if key in records:
            listed_keys.add(key)
        item = _judge(listed, reading, records.get(key, DeviceRecord()), now, owner)
        if item is not None:
            (removals if item.action == "expire" else reasserts).append(item)
    for key in records.keys() - listed_keys:
        item = _missing(key, records[key], now, owner)
        if item is not None:
            reasserts.append(item)
    return Plan(_in_order(removals), _in_order(reasserts), seen)


def _judge(listed: ListedOverride, reading: Reading, record: DeviceRecord, now: datetime, owner: str) -> Item | None:
    """What happens to one override that stands; None to leave it alone."""
    stands, failed = listed.override, record.failed

    def item(action: Literal["expire", "reassert"], over: datetime, because: str, tampered: bool = False) -> Item:
        return Item(action, listed.user_id, listed.device, stands, over, because, failed, tampered)

    if isinstance(reading, HandWritten) and reading.until <= now:
        return item("expire", reading.until, f"a person asked for its removal after {write_time(reading.until)}")
    adopted = record.adopt(reading) if isinstance(reading, Tag) else record
    wanted = adopted.wanted(now)
    if wanted is None:
        if not isinstance(reading, Tag):
            return None
        if reading.until <= now:
            return item("expire", reading.until, f"its time was over at {write_time(reading.until)}")
        return item("expire", reading.at, "the lock that it shows was released")
    if isinstance(reading, Tag):
        if record.claim(reading.id) is None:
            return item("reassert", reading.at, "the ledger does not know this lock of ours")
        if stands.effect == "DENY" and reading == tag_of(wanted, owner, reading.was):
            return None
        because = f"it does not show the lock ({wanted.why}) that is wanted"
        return item("reassert", wanted.at, because, tampered=stands.effect == "ALLOW")
    if stands.effect == "ALLOW":
        because = f"a lock ({wanted.why}) is wanted and an ALLOW stands"
        return item("reassert", wanted.at, because, tampered=record.stood(owner))
    return None


def _missing(key: Key, record: DeviceRecord, now: datetime, owner: str) -> Item | None:
    """What happens where nothing stands."""
    wanted = record.wanted(now)
    if wanted is None:
        return None
    because = f"a lock ({wanted.why}) until {write_time(wanted.until)} is wanted and nothing stands"
    return Item("reassert", *key, None, wanted.at, because, record.failed, tampered=record.stood(owner))


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
    return tuple(sorted(items, key=lambda item: (item.failed, item.over, item.user_id, item.device)))


@dataclass(frozen=True, slots=True)
class Due:
    """That people should look at a lock: it ends soon and lets a device back in, or has been held for long.

    ``id`` is the same in every run for one lock and warning period.
    """

    id: str
    user_id: str
    device: str
    claim: Claim
    because: str


def warnings(records: Mapping[Key, DeviceRecord], reasons: Mapping[str, Reason], now: datetime) -> Iterator[Due]:
    """The warnings that are due: once ahead of an end, and for a lock without one every ``warn_before``."""
    for (user_id, device), record in sorted(records.items()):
        claim = record.wanted(now)
        reason = reasons.get(claim.why) if claim else None
        if claim is None or reason is None or reason.warn_before is None:
            continue
        if claim.until == HOLD:
            periods = (now - claim.at) // reason.warn_before
            if periods:
                because = f"is held ({claim.why}) since {write_time(claim.at.replace(microsecond=0))}, until released"
                yield Due(f"{claim.id} {periods}", user_id, device, claim, because)
        elif claim.until - now <= reason.warn_before:
            because = f"is locked ({claim.why}) until {write_time(claim.until)}, and then let back in"
            yield Due(f"{claim.id} {write_time(claim.until)}", user_id, device, claim, because)
