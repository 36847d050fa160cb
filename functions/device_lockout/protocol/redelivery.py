"""When a command that failed comes back."""

import random
from datetime import timedelta

from device_lockout.values.errors import NotTriedError, UnansweredError

LONGEST_DELAY = timedelta(minutes=4)
"""The longest delay between two tries. After an outage no device stays open for longer than that.

With the queue's 200 receives a command is tried for half a day.
"""

IMMEDIATE_RETURNS = 10
"""How many times a command that was not tried comes back at once. After that it waits like any other."""


def delay_after(error: BaseException | None, receives: int, settle: timedelta) -> timedelta:
    """Return when a command comes back that failed for the ``receives``-th time. Its device's group waits with it.

    An unanswered write may take effect until ``settle`` has passed. A command that was not tried comes back at once:
    another device of its batch was slow. Any other delay doubles from two seconds. It is spread, so that an outage
    does not end in a stampede.
    """
    if isinstance(error, UnansweredError):
        return settle
    if isinstance(error, NotTriedError):
        receives -= IMMEDIATE_RETURNS
    longest = min(LONGEST_DELAY.total_seconds(), 2.0**receives)
    return timedelta(seconds=random.uniform(longest / 2, longest) if receives > 0 else 0)  # noqa: S311 (no secret)
