"""Turn events into commands. A message of the ``reports`` queue is one event, which may make several reports."""

from datetime import UTC, datetime
from typing import Any

from device_lockout import wiring
from device_lockout.aws import sqs_batch
from device_lockout.inbound import report
from device_lockout.protocol.flood import Seen
from device_lockout.values.command import Command, Reject, command_id

logger, metrics = wiring.logger_and_metrics()
seen = Seen()


def route(message: sqs_batch.Message) -> tuple[Command, ...]:
    """Read one event and enqueue its commands. The command of a bad report is its rejection."""
    commands = report.read(message.body, message.id, message.sent, wiring.settings())
    rules, now = wiring.settings().rules, datetime.now(UTC)
    wiring.command_queue().send(commands, lambda command: seen.group(command, rules, now))
    for command in commands:
        logger.info(
            "routed",
            event_id=command.cause.event_id,
            command=type(command).__name__,
            command_id=command_id(command),
            because=command.because if isinstance(command, Reject) else None,
            about=command.target.identities,
        )
    return commands


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 (Lambda's signature)
    """Take a batch from ``reports``. Only failed messages come back."""
    wiring.command_queue()  # made before any thread needs it
    routed, failures = sqs_batch.process_groups(sqs_batch.read(event), route)
    for commands in routed:
        if not commands:
            metrics.add_metric(name="NotMeant", unit="Count", value=1)
        for command in commands:
            metrics.add_metric(name=f"Routed{type(command).__name__}", unit="Count", value=1)
    sqs_batch.count_failures(failures, metrics, datetime.now(UTC))
    for failure in failures:
        logger.warning(str(failure.error), message_id=failure.message.id, exc_info=failure.unforeseen)
    return sqs_batch.response(failures)
