"""Commands to WorkMail: the only function that changes overrides. A device's commands come one at a time, in order."""

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import SqsFifoPartialProcessor, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSEvent, SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from device_lockout import bus, command, command_queue, ledger, settings, steps, workmail
from device_lockout.errors import LockoutError, NotTriedError, UnansweredError
from device_lockout.parties import Parties

LONGEST_DELAY = timedelta(minutes=15)
"""Between two tries of a command that keeps failing; with the queue's 60 receives it is tried for half a day."""

MOST_CALLS_TO_WORKMAIL = 3
"""That one command makes: who is the user, what stands, one write."""

logger = Logger()
metrics = Metrics()
processor = SqsFifoPartialProcessor(skip_group_on_error=True)
processor.raise_on_entire_batch_failure = False


@cache
def queue() -> command_queue.CommandQueue:
    return command_queue.CommandQueue(command_queue.client(), settings.environment("COMMANDS_QUEUE_URL"))


@cache
def parties() -> Parties:
    known = settings.load()
    return Parties(
        workmail=workmail.WorkMail(workmail.client(known.limits.workmail_timeout, attempts=1)),
        ledger=ledger.Ledger(ledger.client(), settings.environment("LEDGER_TABLE")),
        queue=queue(),
        bus=bus.Bus(bus.client(), settings.environment("LOCKOUT_EVENT_BUS")),
        rules=known.rules,
        clock_skew=known.limits.clock_skew,
    )


def apply(record: SQSRecord, lambda_context: LambdaContext) -> None:
    """Carry out one command, unless so little time is left that the function could be killed in the middle of it."""
    if lambda_context.get_remaining_time_in_millis() < MOST_CALLS_TO_WORKMAIL * _milliseconds(
        settings.load().limits.workmail_timeout
    ):
        raise NotTriedError("too little time is left to carry out another command")
    asked = command.load(record.body)
    outcome = steps.carry_out(asked, parties(), datetime.now(UTC))
    logger.info(
        outcome.message(asked.target.device, asked.target.user),
        event_id=asked.cause.event_id,
        command_id=command.command_id(asked),
        command=type(asked).__name__,
        result=outcome.result,
        organization=asked.target.organization,
    )
    metrics.add_metric(name=outcome.result, unit=MetricUnit.Count, value=1)
    if outcome.result == "locked":
        elapsed = datetime.now(UTC) - asked.cause.received
        metrics.add_metric(name="ReportToDeny", unit=MetricUnit.Milliseconds, value=_milliseconds(elapsed))


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Entry point: a batch from ``commands.fifo``; what failed comes back later, in order, without the others."""
    response = process_partial_response(event=event, record_handler=apply, processor=processor, context=context)
    failures = dict(
        zip((item["itemIdentifier"] for item in response["batchItemFailures"]), processor.exceptions, strict=True)
    )
    delays: dict[str, timedelta] = {}
    for record in SQSEvent(event).records:
        if record.message_id not in failures:
            continue
        error = failures[record.message_id][1]
        receives = int(record.attributes.approximate_receive_count)
        delay = delays.setdefault(str(record.attributes.message_group_id), delay_after(error, receives))
        unforeseen = None if isinstance(error, LockoutError) else error
        logger.warning(
            str(error), message_id=record.message_id, receives=receives, again_in=str(delay), exc_info=unforeseen
        )
        queue().postpone(record.receipt_handle, delay)
    return response


def delay_after(error: BaseException | None, receives: int) -> timedelta:
    """When a command that failed for the ``receives``-th time comes back; all of its device's group waits with it.

    An unanswered write may take effect until it has settled. What was not tried comes back at once: another device of
    its batch was slow. Everything else doubles its delay from two seconds, spread so that an outage does not end in a
    stampede.
    """
    if isinstance(error, UnansweredError):
        return settings.load().limits.settle
    if isinstance(error, NotTriedError):
        return timedelta(0)
    longest = min(LONGEST_DELAY.total_seconds(), 2.0**receives)
    return timedelta(seconds=random.uniform(longest / 2, longest))  # noqa: S311 (spread, not secrecy)


def _milliseconds(duration: timedelta) -> float:
    return duration.total_seconds() * 1000
