"""The writer in process: a queue with the groups of SQS FIFO, and workers that each stand for a function environment.

A worker handles a batch as `apply_commands` does, with the real gateway to WorkMail. Ledger and bus are in memory. A
batch that overruns the function's time is killed and makes no more calls. It comes back after its visibility timeout,
and a new environment takes the worker's place.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bench.emulator import CALL_TIMEOUT, Emulator
from device_lockout.aws import sqs_batch, workmail
from device_lockout.aws.call_rate import EnoughTime, Pace
from device_lockout.protocol import steps
from device_lockout.protocol.ports import Ports
from device_lockout.protocol.redelivery import delay_after
from device_lockout.values import command, wire
from device_lockout.values.command import Command
from device_lockout.values.policy import Rules
from local.in_memory import MOST_RECEIVES, Call, FakeBus, FakeLedger, Killed, Wire

BATCH = 10
WRITER_TIMEOUT = 15.0
SETTLE = timedelta(minutes=1)
VISIBILITY = 6 * WRITER_TIMEOUT + SETTLE.total_seconds()
"""Seconds, as in the stack: six times the function's time, and the time until an unanswered write has settled."""
RULES = Rules("local", max_event_age=timedelta(days=30), clock_skew=timedelta(minutes=1))


@dataclass
class Queue:
    """SQS FIFO as the writer sees it. One worker at a time has a group. Receives are counted."""

    dead: list[sqs_batch.Message] = field(default_factory=list)
    receives: Counter[int] = field(default_factory=Counter)
    _groups: dict[str, deque[sqs_batch.Message]] = field(default_factory=dict)
    _ready: deque[str] = field(default_factory=deque)
    _known: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _left: int = 0

    def hold(self, command: Command) -> None:
        raise AssertionError(f"no bench floods: {command}")

    def send(self, commands: Iterable[Command]) -> int:
        """Enqueue commands. Copies are dropped."""
        sent = 0
        with self._changed:
            for each in commands:
                sent += 1
                identity = command.command_id(each)
                if identity in self._known:
                    continue
                self._known.add(identity)
                group = command.group_id(each)
                now = datetime.now(UTC)
                message = sqs_batch.Message(str(uuid.uuid4()), wire.dump(each), group, "", 0, now)
                self._left += 1
                waiting = self._groups.setdefault(group, deque())
                waiting.append(message)
                if len(waiting) == 1:
                    self._ready.append(group)
            self._changed.notify_all()
        return sent

    def waiting(self) -> int:
        with self._changed:
            return len(self._ready)

    def left(self) -> int:
        with self._changed:
            return self._left

    def receive(self) -> list[sqs_batch.Message]:
        """Return up to ten messages, each the first of a free group, or none after a second of waiting."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready, timeout=1)
            groups = [self._ready.popleft() for _ in range(min(BATCH, len(self._ready)))]
            taken = []
            for group in groups:
                message = self._groups[group][0]
                self._groups[group][0] = message = replace(message, receives=message.receives + 1)
                taken.append(message)
            return taken

    def settle(self, messages: list[sqs_batch.Message], delays: dict[str, timedelta]) -> None:
        """Drop the messages that succeeded. The others come back after their delays, or die after the last receive."""
        with self._changed:
            for message in messages:
                if message.id in delays and message.receives < MOST_RECEIVES:
                    timer = threading.Timer(delays[message.id].total_seconds(), self._back, [message.group])
                    timer.daemon = True
                    timer.start()
                    continue
                if message.id in delays:
                    self.dead.append(message)
                self.receives[message.receives] += 1
                self._left -= 1
                self._groups[message.group].popleft()
                if self._groups[message.group]:
                    self._ready.append(message.group)
            self._changed.notify_all()

    def _back(self, group: str) -> None:
        with self._changed:
            self._ready.append(group)
            self._changed.notify_all()


@dataclass
class Calls:
    """WorkMail's answers and the killed invocations.

    Attributes:
        accepted: When each accepted call was answered.
        throttled: How many calls were throttled.
        killed: How many invocations overran their time.
    """

    accepted: list[float] = field(default_factory=list)
    throttled: int = 0
    killed: int = 0

    def count(self, http_response: Any, parsed: Any, **_: Any) -> None:
        if parsed.get("Error", {}).get("Code") == "ThrottlingException":
            self.throttled += 1
        elif http_response.status_code < 500:
            self.accepted.append(time.monotonic())


@contextmanager
def writers(emulator: Emulator, environments: int) -> Iterator[tuple[Queue, FakeLedger, Calls]]:
    """Run environments of the writer on one queue until the context ends."""
    wire = Wire()
    queue, ledger, calls = Queue(), FakeLedger(wire), Calls()
    stop = threading.Event()
    threads = [
        threading.Thread(target=_work, args=(emulator, queue, ledger, FakeBus(wire), calls, stop))
        for _ in range(environments)
    ]
    for thread in threads:
        thread.start()
    try:
        yield queue, ledger, calls
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class _Invocation(Wire):
    """One batch's time, and its wire to ledger and bus, which ends with the time."""

    def __init__(self) -> None:
        super().__init__()
        self._deadline = time.monotonic() + WRITER_TIMEOUT

    def enough_time(self, calls: int, wait: float) -> bool:
        """Return whether there is time for that many calls to WorkMail after ``wait`` seconds."""
        return self._deadline - time.monotonic() > wait + calls * CALL_TIMEOUT.total_seconds()

    def go_on(self, **_: Any) -> None:
        if time.monotonic() > self._deadline:
            raise Killed

    def pass_on(self, name: str, call: Call) -> Any:
        del name
        self.go_on()
        return call()


def _work(
    emulator: Emulator,
    queue: Queue,
    ledger: FakeLedger,
    bus: FakeBus,
    calls: Calls,
    stop: threading.Event,
) -> None:
    """Run one environment after the other, each until it is killed."""
    while not stop.is_set():
        client, pace, recent = emulator.client(), Pace(), workmail.RecentUsers()
        client.meta.events.register("after-call.workmail", calls.count)
        lives = True
        while lives and not stop.is_set():
            if messages := queue.receive():
                lives = _invoke(messages, client, pace, recent, queue, ledger, bus)
                calls.killed += not lives


def _invoke(
    messages: list[sqs_batch.Message],
    client: Any,
    pace: Pace,
    recent: workmail.RecentUsers,
    queue: Queue,
    ledger: FakeLedger,
    bus: FakeBus,
) -> bool:
    """Carry out one batch. Return False if it overran the function's time."""
    invocation = _Invocation()
    client.meta.events.register("before-call.workmail", invocation.go_on, unique_id="time")
    gateway = workmail.WorkMail(client, pace, partial(invocation.enough_time, 1), recent)
    ours, told = replace(ledger, wire=invocation), replace(bus, wire=invocation)
    ports = Ports(gateway, ours, queue, told)
    answers: list[dict[str, timedelta]] = []

    def handle() -> None:
        with suppress(Killed):
            whole = partial(invocation.enough_time, command.CALLS_OF_A_COMMAND)
            answers.append(_carry_out(messages, ports, pace, whole))

    handling = threading.Thread(target=handle, daemon=True)
    handling.start()
    handling.join(WRITER_TIMEOUT)
    if handling.is_alive() or not answers:
        queue.settle(messages, {each.id: timedelta(seconds=VISIBILITY - WRITER_TIMEOUT) for each in messages})
        return False
    client.meta.events.unregister("before-call.workmail", unique_id="time")
    queue.settle(messages, answers[0])
    return True


def _carry_out(
    messages: list[sqs_batch.Message],
    ports: Ports,
    pace: Pace,
    enough_time: EnoughTime,
) -> dict[str, timedelta]:
    """Carry out a batch's commands. Return the delays of those that failed, by message."""

    def do(message: sqs_batch.Message) -> None:
        with pace.command(enough_time):
            steps.carry_out(wire.load(message.body), ports, RULES, datetime.now(UTC))

    _, failures = sqs_batch.process_groups(messages, do)
    return {failure.message.id: delay_after(failure.error, failure.message.receives, SETTLE) for failure in failures}
