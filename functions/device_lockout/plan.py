"""The sweep's plan: for every override that stands and every lock that is wanted, what happens and why.

A pure function of (listing, ledger, policy, now).
The writer decides again on a fresh read: a plan can ask for too much, never do harm.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from device_lockout.override import ListedOverride, Override
from device_lockout.record import DeviceRecord, tag_of
from device_lockout.tag import Broken, HandWritten, Reading, Tag, write_time

PERCENT_COUNTS_FROM = 10
"""Below this many removals a percentage says nothing: one lock of two that ends would be half of them."""


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a plan: what is to happen to a device's override, and why, in words.

    ``over`` is when the reason to act arose; ``stands`` is the override as listed.
    """

    action: Literal["expire", "reassert"]
    user_id: str
    device: str
    stands: Override | None
    over: datetime
    because: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep would do, oldest first, and what it saw: a count for each kind of override."""

    removals: tuple[Item, ...]
    reasserts: tuple[Item, ...]
    seen: Mapping[str, int]

    def refusal(self, max_removals: int, max_removals_percent: int) -> str | None:
        """Why nothing of this plan may be let back in, or None."""
        removals, ours = len(self.removals), self.seen["ours"]
        if removals > max_removals:
            return f"{removals} overrides would be let go: expected at most {max_removals} in one plan"
        if removals >= PERCENT_COUNTS_FROM and removals * 100 > max_removals_percent * max(ours, 1):
            return (
                f"{removals} overrides would be let go, of {ours} that are ours:"
                f" expected at most {max_removals_percent} percent in one plan"
            )
        return None


def plan(
    listing: Iterable[ListedOverride],
    records: Mapping[tuple[str, str], DeviceRecord],
    now: datetime,
    owner: str,
) -> Plan:
    """Compare all that stands with all that is wanted.

    ``listing`` is read once, as it comes; ``records`` are the devices with claims, by (user ID, device).
    """
    removals: list[Item] = []
    reasserts: list[Item] = []
    seen = Counter({"ours": 0, "hand-written": 0, "broken": 0, "foreign": 0})
    unseen = dict(records)
    for listed in listing:
        key = (listed.user_id, listed.device)
        record = unseen.pop(key, None) or records.get(key, DeviceRecord())
        reading = listed.override.read(owner)
        seen[_kind(reading)] += 1
        item = _judge(listed, reading, record, now, owner)
        if item is not None:
            (removals if item.action == "expire" else reasserts).append(item)
    for (user_id, device), record in unseen.items():
        wanted = record.wanted(now)
        if wanted is not None:
            because = f"a lock ({wanted.why}) until {write_time(wanted.until)} is wanted and nothing stands"
            reasserts.append(Item("reassert", user_id, device, None, wanted.at, because))
    return Plan(_oldest_first(removals), _oldest_first(reasserts), dict(sorted(seen.items())))


def _judge(listed: ListedOverride, reading: Reading, record: DeviceRecord, now: datetime, owner: str) -> Item | None:
    """What happens to one override that stands; None to leave it alone."""
    stands = listed.override

    def item(action: Literal["expire", "reassert"], over: datetime, because: str) -> Item:
        return Item(action, listed.user_id, listed.device, stands, over, because)

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
        return item("reassert", wanted.at, f"it does not show the lock ({wanted.why}) that is wanted")
    if stands.effect == "ALLOW":
        return item("reassert", wanted.at, f"a lock ({wanted.why}) is wanted and an ALLOW stands")
    return None


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


def _oldest_first(items: list[Item]) -> tuple[Item, ...]:
    return tuple(sorted(items, key=lambda item: (item.over, item.user_id, item.device)))
