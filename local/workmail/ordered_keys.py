"""Keys kept in order while they come and go, so that any page of a million starts after two binary searches."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

type Key = tuple[str, str]
"""(user ID, device ID case-folded)."""

_BLOCK = 1024


def by_user(key: Key) -> Key:
    """Orders by user, then device."""
    return key


def by_device(key: Key) -> Key:
    """Orders by device, then user."""
    return key[1], key[0]


class OrderedKeys:
    """A set of keys in the given order, in blocks of at most 2,048, so that a change moves one block only.

    Positions (`start`, and what `rank` counts) are in the *order's* terms: `order(key)`, not `key`.
    """

    def __init__(self, order: Callable[[Key], Key]) -> None:
        self._order = order
        self._blocks: list[list[Key]] = []
        self._lasts: list[Key] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, key: Key) -> None:
        """Adds a key; one that is there already stays as it is."""
        position = self._order(key)
        if not self._blocks:
            self._blocks, self._lasts, self._size = [[key]], [position], 1
            return
        at = min(bisect_left(self._lasts, position), len(self._blocks) - 1)
        block = self._blocks[at]
        index = bisect_left(block, position, key=self._order)
        if index < len(block) and block[index] == key:
            return
        block.insert(index, key)
        self._size += 1
        if len(block) > 2 * _BLOCK:
            self._blocks[at : at + 1] = [block[:_BLOCK], block[_BLOCK:]]
            self._lasts.insert(at, self._order(block[_BLOCK - 1]))
            at += 1
        self._lasts[at] = self._order(self._blocks[at][-1])

    def add_all(self, keys: Iterable[Key]) -> None:
        """Adds many keys, none of which is there yet; where they are very many, all blocks are cut anew at once."""
        fresh = sorted(keys, key=self._order)
        if len(fresh) * 8 < self._size or len(fresh) < _BLOCK:
            for key in fresh:
                self.add(key)
            return
        everything = [*chain.from_iterable(self._blocks), *fresh]
        everything.sort(key=self._order)  # two sorted runs: a merge
        self._blocks = [everything[start : start + _BLOCK] for start in range(0, len(everything), _BLOCK)]
        self._lasts = [self._order(block[-1]) for block in self._blocks]
        self._size = len(everything)

    def discard(self, key: Key) -> None:
        """Removes a key, if it is there."""
        position = self._order(key)
        at = bisect_left(self._lasts, position)
        if at == len(self._blocks):
            return
        block = self._blocks[at]
        index = bisect_left(block, position, key=self._order)
        if block[index] != key:
            return
        del block[index]
        self._size -= 1
        if block:
            self._lasts[at] = self._order(block[-1])
        else:
            del self._blocks[at], self._lasts[at]

    def after(self, start: Key) -> Iterator[Key]:
        """The keys strictly after a position, which need not be one of theirs."""
        at = bisect_right(self._lasts, start)
        if at == len(self._blocks):
            return iter(())
        index = bisect_right(self._blocks[at], start, key=self._order)
        return chain(self._blocks[at][index:], chain.from_iterable(islice(self._blocks, at + 1, None)))

    def rank(self, start: Key) -> int:
        """How many keys are not after a position."""
        at = bisect_right(self._lasts, start)
        before = sum(map(len, self._blocks[:at]))
        return before + (bisect_right(self._blocks[at], start, key=self._order) if at < len(self._blocks) else 0)

    def from_rank(self, rank: int) -> Iterator[Key]:
        """The keys but for the first `rank`."""
        for at, block in enumerate(self._blocks):
            if rank < len(block):
                return chain(block[rank:], chain.from_iterable(islice(self._blocks, at + 1, None)))
            rank -= len(block)
        return iter(())
