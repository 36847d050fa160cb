"""Events to commands: each message of the ``reports`` queue is one event, and becomes one command on the queue."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics

from device_lockout import batch, command_queue, report, settings
from device_lockout.command import Command, Reject, command_id
from device_lockout.errors import LockoutError

logger = Logger()
metrics = Metrics()


@cache
def queue() -> command_queue.CommandQueue:
    return command_queue.CommandQueue(settings.environment("COMMANDS_QUEUE_URL"))


def route(message: batch.Message) -> Command:
    """Read one event and enqueue what it asks for, be it only its rejection."""
    command = report.read(message.body, message.id, message.sent, settings.load())
    queue().send([command])
    logger.info(
        "routed",
        event_id=command.cause.event_id,
        command=type(command).__name__,
        command_id=command_id(command),
        because=command.because if isinstance(command, Reject) else None,
    )
    return command


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 (Lambda's signature)
    """Entry point: a batch from ``reports``; what failed comes back alone."""
    queue()  # before there are threads
    routed, failures = batch.side_by_side(batch.read(event), route)
    for command in routed:
        metrics.add_metric(name=f"Routed{type(command).__name__}", unit="Count", value=1)
    batch.count(failures, metrics, datetime.now(UTC))
    for failure in failures:
        unforeseen = None if isinstance(failure.error, LockoutError) else failure.error
        logger.warning(str(failure.error), message_id=failure.message.id, exc_info=unforeseen)
    return batch.answer(failures)
