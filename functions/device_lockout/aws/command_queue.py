"""The gateway to the command queue: SQS FIFO, with one message group for each device."""

from __future__ import annotations

import threading
from itertools import batched
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from device_lockout.aws.client_config import BRIEF
from device_lockout.values.command import command_id, group_id
from device_lockout.values.errors import TransientError
from device_lockout.values.wire import dump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from mypy_boto3_sqs import SQSClient

    from device_lockout.values.command import Command

OPERATIONS = ("sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:SendMessageBatch")
"""IAM has no action for batches: ``sqs:SendMessage`` allows them."""

BATCH = 10
"""The most entries of one batch call (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html)."""


def client() -> SQSClient:
    return boto3.client("sqs", config=BRIEF)


class CommandQueue:
    """The commands that wait for the writer. The client is made at its first use: most commands send no others."""

    def __init__(self, url: str, dead_letters: str = "", make_client: Callable[[], SQSClient] = client) -> None:
        self._url = url
        self._dead_letters = dead_letters
        self._make_client = make_client
        self._made: SQSClient | None = None
        self._making = threading.Lock()

    @property
    def _client(self) -> SQSClient:
        with self._making:
            if self._made is None:
                self._made = self._make_client()
            return self._made

    def send(self, commands: Iterable[Command], group: Callable[[Command], str] = group_id) -> int:
        """Enqueue each command in its group, or in another one. Return their number.

        Sending again is harmless. The queue drops a copy within five minutes, and the writer recognises a later one.

        Raises:
            TransientError: The queue did not take all of them.
        """
        sent = 0
        for batch in batched(commands, BATCH, strict=False):
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": dump(command),
                    "MessageGroupId": group(command),
                    "MessageDeduplicationId": command_id(command),
                }
                for number, command in enumerate(batch)
            ]
            self._send_batch(self._url, entries)
            sent += len(entries)
        return sent

    def _send_batch(self, url: str, entries: list[dict[str, str]]) -> None:
        try:
            answer = self._client.send_message_batch(QueueUrl=url, Entries=entries)  # type: ignore[arg-type]
        except (ClientError, BotoCoreError) as error:
            raise TransientError(f"enqueue {len(entries)} commands: {error}") from error
        failed = answer.get("Failed", [])
        if failed:
            raise TransientError(f"enqueue {len(failed)} of {len(entries)} commands: {failed[0].get('Message')}")

    def waiting(self) -> int:
        """Return SQS's approximate count of the commands that no writer has received yet."""
        answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def bury(self, body: str, group: str, message_id: str) -> None:
        """Send a message that can't be read to the dead letters, so that its group goes on. An alarm tells people.

        Raises:
            TransientError: SQS did not take it. Its group waits.
        """
        entry = {"Id": "0", "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": message_id}
        self._send_batch(self._dead_letters, [entry])

    def hold(self, command: Command) -> None:
        """Send a command to the dead letters, for a person to send back or to delete. An alarm tells people.

        Raises:
            TransientError: SQS did not take it.
        """
        self.bury(dump(command), group_id(command), command_id(command))

    def postpone(self, receipt_handle: str, delay: timedelta) -> None:
        """Deliver a message again after ``delay``, in whole seconds up to 12 hours.

        Raises:
            TransientError: SQS refused. The message comes back after the visibility timeout.
        """
        try:
            self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=int(delay.total_seconds())
            )
        except (ClientError, BotoCoreError) as error:
            raise TransientError(f"postpone a message by {delay}: {error}") from error
