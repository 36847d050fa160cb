"""A batch of a queue's messages: groups side by side, each group's messages in order; what failed comes back alone.

What Lambda expects of a function that reports failures of single messages:
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from device_lockout.values import instant
from device_lockout.values.errors import NotTriedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from aws_lambda_powertools import Metrics


@dataclass(frozen=True, slots=True)
class Message:
    """A message as Lambda hands it over; one of a standard queue is a group of its own. ``receives`` counts from 1."""

    id: str
    body: str
    group: str
    receipt: str
    receives: int
    sent: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that must come again, and why."""

    message: Message
    error: Exception


def read(event: dict[str, Any]) -> list[Message]:
    """The messages of a Lambda event from SQS, in order (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html)."""
    return [
        Message(
            id=record["messageId"],
            body=record["body"],
            group=record["attributes"].get("MessageGroupId", record["messageId"]),
            receipt=record["receiptHandle"],
            receives=int(record["attributes"]["ApproximateReceiveCount"]),
            sent=instant.from_epoch_milliseconds(record["attributes"]["SentTimestamp"]),
        )
        for record in event["Records"]
    ]


def side_by_side[T](messages: Iterable[Message], do: Callable[[Message], T]) -> tuple[list[T], list[Failure]]:
    """``do`` each message, groups at the same time; what came of those that succeeded, and those that failed.

    What follows a failure in its group is not tried: it would overtake.
    """
    groups: dict[str, list[Message]] = {}
    for message in messages:
        groups.setdefault(message.group, []).append(message)

    def in_order(group: list[Message]) -> tuple[list[T], list[Failure]]:
        done: list[T] = []
        for number, message in enumerate(group):
            try:
                done.append(do(message))
            except Exception as error:  # noqa: BLE001 (whatever it is, the message comes again and others go on)
                behind = NotTriedError(f"it waits behind {message.id}, which failed")
                return done, [Failure(message, error), *(Failure(later, behind) for later in group[number + 1 :])]
        return done, []

    if len(groups) <= 1:
        results = [in_order(group) for group in groups.values()]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(groups)) as pool:
            results = list(pool.map(in_order, groups.values()))
    return [one for done, _ in results for one in done], [one for _, failed in results for one in failed]


def count(failures: Iterable[Failure], metrics: Metrics, now: datetime) -> None:
    """The metric ``FailingFor``: the age in seconds of what failed.

    SQS's own age of the oldest message leaves out those of a standard queue that were received three times:
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    """
    for failure in failures:
        age = (now - failure.message.sent).total_seconds()
        metrics.add_metric(name="FailingFor", unit="Seconds", value=age)


def answer(failures: Iterable[Failure]) -> dict[str, Any]:
    """What the function answers, so that the queue keeps what failed and drops the rest."""
    return {"batchItemFailures": [{"itemIdentifier": failure.message.id} for failure in failures]}
