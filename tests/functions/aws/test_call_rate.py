"""The rate of calls to WorkMail."""

import random
import statistics
import threading

import pytest

from device_lockout.aws.call_rate import WIDEST_GAP, Pace
from device_lockout.values.errors import NotTriedError


class Limited:
    """A service that limits its calls a second. Time passes only by sleeping."""

    def __init__(self, per_second):
        self.now = 0.0
        self.per_second, self.tokens = per_second, 1.0
        self.taken = self.refused = 0

    def sleep(self, seconds):
        self.now += seconds
        self.tokens = min(self.per_second, self.tokens + seconds * self.per_second)

    def call(self, pace):
        self.sleep(0.001)
        if self.tokens >= 1:
            self.tokens -= 1
            self.taken += 1
            pace.accepted()
        else:
            self.refused += 1
            pace.throttled()


@pytest.mark.parametrize("per_second", [10, 100, 500])
def test_it_finds_the_rate_that_is_accepted_and_holds_it_with_few_refusals(per_second):
    service = Limited(per_second)
    pace = Pace(clock=lambda: service.now, sleep=service.sleep)
    for _ in range(2000):
        pace.wait_for_turn(lambda _: True)
        service.call(pace)
    began, taken, refused = service.now, service.taken, service.refused
    for _ in range(3000):
        pace.wait_for_turn(lambda _: True)
        service.call(pace)
    assert service.taken - taken > 0.95 * per_second * (service.now - began)
    assert service.refused - refused < 0.2 * (service.taken - taken)


def test_where_nothing_is_throttled_there_is_no_gap():
    slept = []
    pace = Pace(sleep=slept.append)
    for _ in range(100):
        pace.wait_for_turn(lambda _: True)
        pace.accepted()
    assert slept == []


def test_after_a_throttled_time_the_gap_closes_again():
    pace = Pace(sleep=lambda _: None)
    for _ in range(100):
        pace.throttled()
    assert pace.gap == WIDEST_GAP
    for _ in range(5000):
        pace.accepted()
    assert pace.gap == 0


def test_processes_that_share_a_limit_come_to_share_it_evenly():
    random.seed(3)
    service = Limited(40)
    waits = []
    fast, slow = (Pace(clock=lambda: service.now, sleep=waits.append) for _ in range(2))
    for _ in range(100):
        slow.throttled()
    due = {fast: 0.0, slow: 0.0}
    rates = {fast: [], slow: []}
    while service.taken < 10_000:
        pace = min(due, key=due.get)
        service.sleep(max(0.0, due[pace] - service.now))
        service.call(pace)
        for each in due:
            rates[each].append(1 / (each.gap or 0.001))
        pace.wait_for_turn(lambda _: True)
        due[pace] = service.now + (waits.pop() if waits else 0.0)
    assert service.taken / service.now > 0.95 * 40
    means = [statistics.mean(rates[each][5000:]) for each in due]
    assert min(means) > 0.6 * max(means)


def test_nobody_waits_for_a_turn_that_would_come_too_late_and_it_is_left_to_others():
    slept = []
    pace = Pace(clock=lambda: 0.0, sleep=slept.append)
    for _ in range(100):
        pace.throttled()
    for _ in range(5):
        pace.wait_for_turn(lambda _: True)
    assert max(slept) > 2 * WIDEST_GAP
    taken = len(slept)
    for _ in range(50):
        with pytest.raises(NotTriedError, match="too late"):
            pace.wait_for_turn(lambda wait: wait < 1)
    assert len(slept) == taken
    pace.wait_for_turn(lambda _: True)
    assert slept[-1] < 6 * 1.5 * WIDEST_GAP, "the fifty took no turns"


def test_as_many_commands_as_turns_come_up_for_are_under_way_at_a_time():
    pace = Pace()
    most = threading.Barrier(10, timeout=5)

    def carry_out(wait):
        with pace.command(lambda _: True):
            wait()

    threads = [threading.Thread(target=carry_out, args=(most.wait,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not most.broken, "with no gap all ten at once"

    for _ in range(100):
        pace.throttled()
    entered, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def held():
        entered.release()
        assert go_on.acquire(timeout=10)

    threads = [threading.Thread(target=carry_out, args=(held,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert entered.acquire(timeout=10)
        assert not entered.acquire(timeout=0.05), "no second one while the first is under way"
        go_on.release()
    for thread in threads:
        thread.join(10)


def test_a_command_whose_time_does_not_come_is_not_tried():
    with pytest.raises(NotTriedError, match="too little time"), Pace().command(lambda _: False):
        pytest.fail("it began")
