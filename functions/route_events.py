"""Events to commands: each message of the ``reports`` queue is one event, and becomes one command on the queue."""

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from device_lockout import command_queue, instant, report, settings
from device_lockout.command import Reject, command_id
from device_lockout.errors import LockoutError

logger = Logger()
metrics = Metrics()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


@cache
def queue() -> command_queue.CommandQueue:
    return command_queue.CommandQueue(command_queue.client(), settings.environment("COMMANDS_QUEUE_URL"))


def route(record: SQSRecord) -> None:
    """Read one event and enqueue what it asks for, be it only its rejection."""
    received = instant.from_epoch_milliseconds(record.attributes.sent_timestamp)
    command = report.read(record.body, record.message_id, received, settings.load())
    queue().send([command])
    logger.info(
        "routed",
        event_id=command.cause.event_id,
        command=type(command).__name__,
        command_id=command_id(command),
        because=command.because if isinstance(command, Reject) else None,
    )
    metrics.add_metric(name=f"Routed{type(command).__name__}", unit=MetricUnit.Count, value=1)


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Entry point: a batch from ``reports``; what failed comes back alone."""
    response = process_partial_response(event=event, record_handler=route, processor=processor, context=context)
    for failure, (_, error, _) in zip(response["batchItemFailures"], processor.exceptions, strict=True):
        unforeseen = None if isinstance(error, LockoutError) else error
        logger.warning(str(error), message_id=failure["itemIdentifier"], exc_info=unforeseen)
    return response
