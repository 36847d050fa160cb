"""The rate of calls to WorkMail, which publishes no limit. This process finds one by trying, and keeps to it.

It uses additive increase and multiplicative decrease, as TCP does. An accepted call raises the rate by
:data:`RATE_STEP`. A throttled call widens the gap between calls by :data:`GAP_FACTOR`. Processes that share a limit
come to share it evenly. With two multiplicative steps one of them could starve, and its commands would wait
(Chiu and Jain, https://doi.org/10.1016/0169-7552(89)90019-6).

At twenty calls a second for each process, about one call in twelve is refused. At one a second it is every second call.
Without throttling there is no gap. No call waits for a turn that would come too late.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from device_lockout.values.errors import NotTriedError

GAP_FACTOR = 1.15
RATE_STEP = 0.25  # Calls a second.

FIRST_GAP = 0.01  # Seconds, after the first throttled call. A gap that shrinks below a tenth of this ends.

WIDEST_GAP = 2.0
"""Seconds. A command's calls still fit in the function's time, and the end of an outage is noticed soon."""

CALL_SECONDS = 0.1  # Assumed seconds per call. It bounds the number of commands in flight.


EnoughTime = Callable[[float], bool]  # Says whether there is enough time for work that begins in that many seconds.


class Pace:
    """The turns of one process's calls, over all its threads. ``clock`` and ``sleep`` are in seconds."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.gap = 0.0
        self._clock = clock
        self._sleep = sleep
        self._next_turn = 0.0
        self._in_flight = 0
        self._changed = threading.Condition()

    def wait_for_turn(self, enough_time: EnoughTime) -> None:
        """Wait until the next call may be made.

        Raises:
            NotTriedError: The turn would come too late. Raised at once, and others may have the turn.
        """
        with self._changed:
            now = self._clock()
            at = max(now, self._next_turn)
            if not enough_time(at - now):
                raise NotTriedError(f"the turn to call WorkMail would come in {at - now:.1f} s, too late")
            self._next_turn = at + self.gap * random.uniform(0.5, 1.5)  # noqa: S311 (spread, not secrecy)
        if at > now:
            self._sleep(at - now)

    def throttled(self) -> None:
        """Widen the gap: WorkMail refused a call for its rate."""
        with self._changed:
            self.gap = min(self.gap * GAP_FACTOR or FIRST_GAP, WIDEST_GAP)

    def accepted(self) -> None:
        """Narrow the gap: WorkMail took a call."""
        with self._changed:
            self.gap = self.gap / (1 + RATE_STEP * self.gap) if self.gap > FIRST_GAP / 10 else 0.0

    @contextmanager
    def command(self, enough_time: EnoughTime) -> Iterator[None]:
        """Hold one command's place among those in flight, after waiting for it.

        There are no more places than turns for their calls. Started commands therefore finish before others start.

        Raises:
            NotTriedError: Too little time is left.
        """
        with self._changed:
            while self._in_flight and self._in_flight * self.gap > CALL_SECONDS and enough_time(0):
                self._changed.wait(1)
            if not enough_time(0):
                raise NotTriedError("too little time is left to carry out another command")
            self._in_flight += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()
