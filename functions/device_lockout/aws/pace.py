"""How fast WorkMail may be called: it publishes no limit, so this process finds one by trying, and holds it.

Additive increase, multiplicative decrease, as in TCP: a call that is taken raises the rate by :data:`RISE`, one that is
throttled widens the gap between calls by :data:`WIDEN`. Of several processes that share a limit the slow ones then
catch up (Chiu and Jain, https://doi.org/10.1016/0169-7552(89)90019-6); were both steps multiplicative, one of them
would end up with next to nothing, and what it holds would wait. At twenty calls a second for each process about one in
twelve is refused, at one a second one in two. Where nothing is throttled there is no gap. Nobody waits for a turn that
would come too late.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from device_lockout.values.errors import NotTriedError

WIDEN = 1.15
RISE = 0.25
"""Calls a second."""

FIRST_GAP = 0.01
"""Seconds, after the first throttled call; a gap that has shrunk below a tenth of it is none."""

WIDEST_GAP = 2.0
"""Seconds: the three calls of a command still fit in a function's time, and what was an outage is soon found over."""

CALL_LASTS = 0.1
"""About as many seconds; so many calls as fit between two turns are under way at a time, and more would only wait."""


Fits = Callable[[float], bool]
"""Whether there is time for what begins in so many seconds."""


class Pace:
    """The turns of one process's calls, over all its threads; ``clock`` and ``sleep`` are in seconds."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.gap = 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0
        self._begun = 0
        self._changed = threading.Condition()

    def turn(self, fits: Fits) -> None:
        """Wait for the next call's turn; NotTriedError, at once, if the call does not fit in when it comes."""
        with self._changed:
            now = self._clock()
            at = max(now, self._next)
            if not fits(at - now):
                raise NotTriedError(f"the turn to call WorkMail would come in {at - now:.1f} s, too late")
            self._next = at + self.gap * random.uniform(0.5, 1.5)  # noqa: S311 (spread, not secrecy)
        if at > now:
            self._sleep(at - now)

    def throttled(self) -> None:
        with self._changed:
            self.gap = min(self.gap * WIDEN or FIRST_GAP, WIDEST_GAP)

    def accepted(self) -> None:
        with self._changed:
            self.gap = self.gap / (1 + RISE * self.gap) if self.gap > FIRST_GAP / 10 else 0.0

    @contextmanager
    def command(self, fits: Fits) -> Iterator[None]:
        """One command under way, no more of them than turns come up for; NotTriedError if its time does not come.

        What has begun is finished first: calls for many commands at a time would come to nothing for most of them.
        """
        with self._changed:
            while self._begun and self._begun * self.gap > CALL_LASTS and fits(0):
                self._changed.wait(1)
            if not fits(0):
                raise NotTriedError("too little time is left to carry out another command")
            self._begun += 1
        try:
            yield
        finally:
            with self._changed:
                self._begun -= 1
                self._changed.notify_all()
