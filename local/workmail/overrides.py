"""The overrides of one organization: exact reads, and a listing that may lag behind them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count, takewhile

from sortedcontainers import SortedList

type Key = tuple[str, str]
"""(user ID, device ID folded to lower case)."""


@dataclass(frozen=True, slots=True)
class Override:
    """The override of one user and device.

    Attributes:
        user: the user's ID.
        device: the device ID in the case that answers have.
        effect: ALLOW or DENY.
        description: None if it has none.
        created: the first Put, in seconds since 1970 to the millisecond.
        modified: the last Put that counts as a change.
        described: the last change of the description.
    """

    user: str
    device: str
    effect: str
    description: str | None
    created: float
    modified: float
    described: float


class Overrides:
    """Overrides by key, with a listing that shows each change after a delay.

    A page costs two binary searches and its rows, however many overrides there are.
    """

    def __init__(self) -> None:
        self._current: dict[Key, Override] = {}
        self._by_user: SortedList[Key] = SortedList()
        self._by_device: SortedList[Key] = SortedList()  # has (device, user)
        # While the listing lags: what it still shows, and the changes that it does not show yet.
        self._shown: dict[Key, Override | None] = {}
        self._unseen: list[tuple[float, int, Key, Override | None]] = []
        self._waiting: dict[Key, int] = {}
        self._order_of_changes = count()
        self.removals = 0

    def __len__(self) -> int:
        return len(self._current)

    def get(self, key: Key) -> Override | None:
        """Return the override that is in force now, whatever the listing shows."""
        return self._current.get(key)

    def put(self, key: Key, override: Override, now: float, delay: float = 0) -> None:
        """Set an override; the listing shows it `delay` seconds later."""
        self.settle(now)
        before = self._current.get(key)
        self._current[key] = override
        self._change(key, before, override, now, delay)

    def remove(self, key: Key, now: float, delay: float = 0) -> Override | None:
        """Remove and return an override, if there is one."""
        self.settle(now)
        before = self._current.pop(key, None)
        if before is not None:
            self.removals += 1
            self._change(key, before, None, now, delay)
        return before

    def put_all(self, items: Iterable[tuple[Key, Override]]) -> None:
        """Set many overrides; the listing shows them at once."""
        fresh = dict(items)
        unlisted = [key for key in fresh if self._listed(key) is None]
        self._current |= fresh
        for key in fresh.keys() & self._shown.keys():
            self._shown[key] = fresh[key]
        self._by_user.update(unlisted)
        self._by_device.update(map(_swapped, unlisted))

    def of_user(self, user: str) -> list[Key]:
        """Return the keys of one user's overrides."""
        listed = takewhile(lambda key: key[0] == user, self._by_user.irange((user, "")))
        unlisted = (key for key in self._shown if key[0] == user)
        return [key for key in dict.fromkeys((*listed, *unlisted)) if key in self._current]

    def listed(self, user: str | None, device: str | None, after: Key | None, now: float) -> Iterator[Override]:
        """Return the listed overrides after a key, filtered by user, by device, by both or not at all.

        They are ordered by user and device, or by user alone for one device.
        """
        self.settle(now)
        if user is not None and device is not None:
            shown = self._listed((user, device)) if after is None or after < (user, device) else None
            return iter(() if shown is None else (shown,))
        if device is not None:
            start = (device, "") if after is None else _swapped(after)
            found = self._by_device.irange(start, inclusive=(False, False))
            return (self._expect(_swapped(key)) for key in takewhile(lambda key: key[0] == device, found))
        start = after or (user or "", "")
        keys = self._by_user.irange(start, inclusive=(False, False))
        if user is not None:
            keys = takewhile(lambda key: key[0] == user, keys)
        return map(self._expect, keys)

    def listed_from(self, user: str | None, device: str | None, offset: int, now: float) -> Iterator[Override]:
        """Return the listed overrides after the first `offset` rows."""
        self.settle(now)
        if user is not None and device is not None:
            return self.listed(user, device, None, now) if offset == 0 else iter(())
        if device is not None:
            found = self._by_device.islice(self._by_device.bisect_right((device, "")) + offset)
            return (self._expect(_swapped(key)) for key in takewhile(lambda key: key[0] == device, found))
        first = 0 if user is None else self._by_user.bisect_right((user, ""))
        keys = self._by_user.islice(first + offset)
        if user is not None:
            keys = takewhile(lambda key: key[0] == user, keys)
        return map(self._expect, keys)

    def settle(self, now: float) -> None:
        """Let the listing show the changes whose delay is over."""
        while self._unseen and self._unseen[0][0] <= now:
            _, _, key, shown = heappop(self._unseen)
            was_listed = self._listed(key) is not None
            self._waiting[key] -= 1
            if self._waiting[key]:
                self._shown[key] = shown
            else:
                del self._waiting[key], self._shown[key]
            self._index(key, was_listed)

    def _change(self, key: Key, before: Override | None, after: Override | None, now: float, delay: float) -> None:
        if not delay and key not in self._waiting:
            self._index(key, before is not None)
            return
        self._shown.setdefault(key, before)
        self._waiting[key] = self._waiting.get(key, 0) + 1
        heappush(self._unseen, (now + delay, next(self._order_of_changes), key, after))

    def _listed(self, key: Key) -> Override | None:
        return self._shown[key] if key in self._shown else self._current.get(key)

    def _expect(self, key: Key) -> Override:
        shown = self._listed(key)
        assert shown is not None, f"the index lists {key}, where nothing is shown"
        return shown

    def _index(self, key: Key, was_listed: bool) -> None:
        """Bring both orders in line with what is listed now."""
        is_listed = self._listed(key) is not None
        if is_listed and not was_listed:
            self._by_user.add(key)
            self._by_device.add(_swapped(key))
        elif was_listed and not is_listed:
            self._by_user.remove(key)
            self._by_device.remove(_swapped(key))


def _swapped(key: Key) -> Key:
    return key[1], key[0]
