"""A batch of SQS messages: groups in parallel, the messages of a group in order, and each failure returned alone.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from device_lockout.values import instant
from device_lockout.values.errors import LockoutError, NotTriedError
from device_lockout.values.lean_dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from aws_lambda_powertools import Metrics


@dataclass(frozen=True, slots=True)
class Message:
    """A message as Lambda delivers it."""

    id: str  # SQS's message ID.
    body: str  # The text that was sent.
    # The message group. In a standard queue each message is a group of its own: SQS's groups are there for fairness.
    group: str
    receipt: str  # The receipt handle of this delivery.
    receives: int  # How often the message was delivered, this time included.
    sent: datetime  # When SQS received it.


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that must be delivered again, and why."""

    message: Message
    error: Exception

    @property
    def unforeseen(self) -> Exception | None:
        """The error, for its trace in the log, unless it is one of those that we raise on purpose."""
        return None if isinstance(self.error, LockoutError) else self.error


def read(event: dict[str, Any]) -> list[Message]:
    """Return the messages of a Lambda event in order.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """
    return [
        Message(
            id=record["messageId"],
            body=record["body"],
            group=record["attributes"]["MessageGroupId"]
            if "SequenceNumber" in record["attributes"]
            else record["messageId"],
            receipt=record["receiptHandle"],
            receives=int(record["attributes"]["ApproximateReceiveCount"]),
            sent=instant.from_epoch_milliseconds(record["attributes"]["SentTimestamp"]),
        )
        for record in event["Records"]
    ]


def process_groups[T](messages: Iterable[Message], handle: Callable[[Message], T]) -> tuple[list[T], list[Failure]]:
    """Call ``handle`` with each message, groups in parallel. Return the results and the failures.

    After a failure the rest of its group fails untried, because a later message must not overtake an earlier one.
    """
    groups: dict[str, list[Message]] = {}
    for message in messages:
        groups.setdefault(message.group, []).append(message)

    def in_order(group: list[Message]) -> tuple[list[T], list[Failure]]:
        results: list[T] = []
        for number, message in enumerate(group):
            try:
                results.append(handle(message))
            except Exception as error:  # noqa: BLE001 (any error: the message comes again, the others go on)
                behind = NotTriedError(f"it waits behind {message.id}, which failed")
                return results, [Failure(message, error), *(Failure(later, behind) for later in group[number + 1 :])]
        return results, []

    if len(groups) <= 1:
        processed = [in_order(group) for group in groups.values()]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(groups)) as pool:
            processed = list(pool.map(in_order, groups.values()))
    return [one for results, _ in processed for one in results], [one for _, failed in processed for one in failed]


def count_failures(failures: Iterable[Failure], metrics: Metrics, now: datetime) -> None:
    """Add the metric ``FailingFor``: each failed message's age in seconds.

    SQS's own age of the oldest message ignores a standard queue's messages after three receives.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    """
    for failure in failures:
        age = (now - failure.message.sent).total_seconds()
        metrics.add_metric(name="FailingFor", unit="Seconds", value=age)


def response(failures: Iterable[Failure]) -> dict[str, Any]:
    """Return the function's response. The queue keeps the failed messages and deletes the others."""
    return {"batchItemFailures": [{"itemIdentifier": failure.message.id} for failure in failures]}
