"""The overrides of one organization: exact reads, and a list that may lag behind them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count, takewhile

from local.workmail.ordered_keys import Key, OrderedKeys, by_device, by_user


@dataclass(frozen=True, slots=True)
class Override:
    """What stands on one (user, device).

    `device` is in the case to be answered; the three dates are seconds since 1970, to the millisecond:
    first put, last put that counts as a change, last change of the description.
    """

    user: str
    device: str
    effect: str
    description: str | None
    created: float
    modified: float
    described: float


class Overrides:
    """Overrides by key, and their listing, by user or by device, which shows a change after the delay given with it.

    A listing costs what its page holds, however many overrides there are.
    """

    def __init__(self) -> None:
        self._current: dict[Key, Override] = {}
        self._by_user = OrderedKeys(by_user)
        self._by_device = OrderedKeys(by_device)
        # Only while the list lags: what it still shows for a key, and the changes that it will show later.
        self._shown: dict[Key, Override | None] = {}
        self._unseen: list[tuple[float, int, Key, Override | None]] = []
        self._waiting: dict[Key, int] = {}
        self._order_of_changes = count()
        self.removals = 0

    def __len__(self) -> int:
        return len(self._current)

    def get(self, key: Key) -> Override | None:
        """What stands on the key now, whatever the list shows."""
        return self._current.get(key)

    def put(self, key: Key, override: Override, now: float, delay: float = 0) -> None:
        """Sets what stands on the key; the list shows it `delay` seconds later."""
        self.settle(now)
        before = self._current.get(key)
        self._current[key] = override
        self._change(key, before, override, now, delay)

    def remove(self, key: Key, now: float, delay: float = 0) -> Override | None:
        """Removes and returns what stands on the key, if anything does."""
        self.settle(now)
        before = self._current.pop(key, None)
        if before is not None:
            self.removals += 1
            self._change(key, before, None, now, delay)
        return before

    def put_all(self, items: Iterable[tuple[Key, Override]]) -> None:
        """Sets very many at once, listed at once."""
        fresh = dict(items)
        unlisted = [key for key in fresh if self._listed(key) is None]
        self._current |= fresh
        for key in fresh.keys() & self._shown.keys():
            self._shown[key] = fresh[key]
        self._by_user.add_all(unlisted)
        self._by_device.add_all(unlisted)

    def of_user(self, user: str) -> list[Key]:
        """All keys of one user that stand now."""
        listed = takewhile(lambda key: key[0] == user, self._by_user.after((user, "")))
        unlisted = (key for key in self._shown if key[0] == user)
        return [key for key in dict.fromkeys((*listed, *unlisted)) if key in self._current]

    def listed(self, user: str | None, device: str | None, after: Key | None, now: float) -> Iterator[Override]:
        """What the list shows of a user, of a device, of both or of all, strictly after a key.

        Ordered by user and device; with a device only, by user.
        """
        self.settle(now)
        if user is not None and device is not None:
            key = (user, device)
            shown = self._listed(key) if after is None or after < key else None
            return iter(() if shown is None else (shown,))
        return (self._expect(key) for key in self._keys(user, device, after))

    def listed_from(self, user: str | None, device: str | None, offset: int, now: float) -> Iterator[Override]:
        """The same, but for the first `offset`, whichever they are by now."""
        self.settle(now)
        if user is not None and device is not None:
            return self.listed(user, device, None, now) if offset == 0 else iter(())
        if device is not None:
            keys = self._by_device.from_rank(self._by_device.rank((device, "")) + offset)
            return (self._expect(key) for key in takewhile(lambda key: key[1] == device, keys))
        if user is not None:
            keys = self._by_user.from_rank(self._by_user.rank((user, "")) + offset)
            return (self._expect(key) for key in takewhile(lambda key: key[0] == user, keys))
        return (self._expect(key) for key in self._by_user.from_rank(offset))

    def settle(self, now: float) -> None:
        """Makes the list show the changes whose delay is over."""
        while self._unseen and self._unseen[0][0] <= now:
            _, _, key, shown = heappop(self._unseen)
            self._waiting[key] -= 1
            if self._waiting[key]:
                self._shown[key] = shown
            else:
                del self._waiting[key], self._shown[key]
            self._index(key)

    def _change(self, key: Key, before: Override | None, after: Override | None, now: float, delay: float) -> None:
        if not delay and key not in self._waiting:
            if (before is None) != (after is None):
                self._index(key)
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

    def _index(self, key: Key) -> None:
        if self._listed(key) is None:
            self._by_user.discard(key)
            self._by_device.discard(key)
        else:
            self._by_user.add(key)
            self._by_device.add(key)

    def _keys(self, user: str | None, device: str | None, after: Key | None) -> Iterator[Key]:
        if device is not None:
            start = by_device(after) if after else (device, "")
            return takewhile(lambda key: key[1] == device, self._by_device.after(start))
        if user is not None:
            return takewhile(lambda key: key[0] == user, self._by_user.after(after or (user, "")))
        return self._by_user.after(after or ("", ""))
