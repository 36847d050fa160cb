"""Commands to WorkMail: the only function that changes overrides. A device's commands come one at a time, in order."""

import random
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics

from device_lockout import batch, bus, command, command_queue, ledger, settings, steps, workmail
from device_lockout.errors import LockoutError, NotTriedError, UnansweredError
from device_lockout.outcome import Outcome
from device_lockout.pace import Fits, Pace
from device_lockout.parties import Parties

LONGEST_DELAY = timedelta(minutes=4)
"""Between two tries of a command that keeps failing: after an outage no device stays open for longer than that.

With the queue's 200 receives it is tried for half a day.
"""

TIMES_AT_ONCE = 10
"""How often a command comes back at once that was not tried; then it waits like any other."""

MOST_CALLS_TO_WORKMAIL = 3
"""That one command makes: who is the user, what stands, one write."""

logger = Logger()
metrics = Metrics()
pace = Pace()
"""Found in one batch, it holds for the next."""


@cache
def clients() -> tuple[Any, Any, Any]:
    """The clients of WorkMail, the ledger and the bus, which one environment keeps from batch to batch."""
    return workmail.client(settings.load().limits.workmail_timeout, attempts=1), ledger.client(), bus.client()


@cache
def queue() -> command_queue.CommandQueue:
    return command_queue.CommandQueue(settings.environment("COMMANDS_QUEUE_URL"))


def parties(fits: Fits) -> Parties:
    """The outside parties for one batch; ``fits`` says whether a call to WorkMail fits in."""
    of_workmail, of_ledger, of_bus = clients()
    known = settings.load()
    return Parties(
        workmail=workmail.WorkMail(of_workmail, pace, fits),
        ledger=ledger.Ledger(of_ledger, settings.environment("LEDGER_TABLE")),
        queue=queue(),
        bus=bus.Bus(of_bus, settings.environment("LOCKOUT_EVENT_BUS")),
        rules=known.rules,
        clock_skew=known.limits.clock_skew,
    )


def apply(message: batch.Message, parties: Parties, fits: Fits) -> tuple[command.Cause, Outcome]:
    """Carry out one command, unless so little time is left that the function could be killed in the middle of it."""
    asked = command.load(message.body)
    with pace.command(fits):
        outcome = steps.carry_out(asked, parties, datetime.now(UTC))
    logger.info(
        outcome.message(asked.target.device, asked.target.user),
        event_id=asked.cause.event_id,
        command_id=command.command_id(asked),
        command=type(asked).__name__,
        result=outcome.result,
        organization=asked.target.organization,
    )
    return asked.cause, outcome


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Entry point: a batch from ``commands.fifo``; what failed comes back later, in order, without the others."""
    call = settings.load().limits.workmail_timeout.total_seconds()

    def fit(calls: int, wait: float) -> bool:
        return bool(context.get_remaining_time_in_millis() > (wait + calls * call) * 1000)

    outside = parties(partial(fit, 1))
    whole = partial(fit, MOST_CALLS_TO_WORKMAIL)
    applied, failures = batch.side_by_side(batch.read(event), lambda message: apply(message, outside, whole))
    now = datetime.now(UTC)
    for cause, outcome in applied:
        metrics.add_metric(name=outcome.result, unit="Count", value=1)
        if outcome.page:
            metrics.add_metric(name="Paged", unit="Count", value=1)
        if outcome.result == "locked":
            metrics.add_metric(name=f"locked-{outcome.why}", unit="Count", value=1)
            elapsed = (now - cause.received).total_seconds()
            metrics.add_metric(name="ReportToDeny", unit="Milliseconds", value=elapsed * 1000)
    batch.count(failures, metrics, now)
    delays: dict[str, timedelta] = {}
    for failure in failures:
        delay = delays.setdefault(failure.message.group, delay_after(failure.error, failure.message.receives))
        unforeseen = None if isinstance(failure.error, LockoutError) else failure.error
        logger.warning(
            str(failure.error),
            message_id=failure.message.id,
            receives=failure.message.receives,
            again_in=str(delay),
            exc_info=unforeseen,
        )
        try:
            queue().postpone(failure.message.receipt, delay)
        except LockoutError as error:
            logger.warning(str(error), message_id=failure.message.id)
    return batch.answer(failures)


def delay_after(error: BaseException | None, receives: int) -> timedelta:
    """When a command that failed for the ``receives``-th time comes back; all of its device's group waits with it.

    An unanswered write may take effect until it has settled. What was not tried comes back at once: another device of
    its batch was slow. Everything else doubles its delay from two seconds, spread so that an outage does not end in a
    stampede.
    """
    if isinstance(error, UnansweredError):
        return settings.load().limits.settle
    if isinstance(error, NotTriedError):
        receives -= TIMES_AT_ONCE
    longest = min(LONGEST_DELAY.total_seconds(), 2.0**receives)
    return timedelta(seconds=random.uniform(longest / 2, longest) if receives > 0 else 0)  # noqa: S311 (as above)
