"""When a failed command comes back."""

from datetime import timedelta
from functools import partial

from device_lockout.protocol import redelivery
from device_lockout.values.errors import NotTriedError, TransientError, UnansweredError

delay_after = partial(redelivery.delay_after, settle=timedelta(seconds=60))


def test_the_delay_doubles_from_two_seconds_to_four_minutes():
    for receives in range(1, 201):
        longest = min(2.0**receives, 240)
        for _ in range(20):
            assert longest / 2 <= delay_after(TransientError("no"), receives).total_seconds() <= longest
    assert delay_after(UnansweredError("no"), 1) == delay_after(UnansweredError("no"), 50) == timedelta(seconds=60)
    spread = {delay_after(KeyError("unforeseen"), 5) for _ in range(20)}
    assert len(spread) > 10, "spread, so that an outage does not end in a stampede"


def test_what_was_not_tried_comes_back_at_once_but_not_for_ever():
    assert delay_after(NotTriedError("no time"), 1) == timedelta(0)
    assert delay_after(NotTriedError("no time"), 30) > timedelta(seconds=1)


def test_all_that_waits_to_be_delivered_fits_in_a_queues_memory():
    longest = sum((delay_after(TransientError("no"), receives) for receives in range(1, 201)), timedelta())
    assert timedelta(hours=5) < longest < timedelta(days=1), "tried for half a day, kept for fourteen"
