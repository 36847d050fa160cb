"""The gateway to the deployment's event bus: it takes outcomes, and the bodies of webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from device_lockout.aws.client_config import BRIEF
from device_lockout.values import wire
from device_lockout.values.errors import TransientError
from device_lockout.values.outcome import SOURCE

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

OPERATIONS = ("events:PutEvents",)


def client() -> EventBridgeClient:
    return boto3.client("events", config=BRIEF)


class Bus:
    """The deployment's own event bus."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    def announce(self, detail_type: str, detail: dict[str, Any]) -> None:
        """Put an event under our own source, which no rule takes as input. Errors are those of :meth:`put`."""
        self.put(SOURCE, detail_type, detail)

    def put(self, source: str, detail_type: str, detail: dict[str, Any]) -> str:
        """Put one event on the bus. Return the ID that the bus gave it.

        Raises:
            TransientError: The bus did not take the event. PutEvents itself can fail without an error.
        """
        entry = {
            "EventBusName": self._name,
            "Source": source,
            "DetailType": detail_type,
            "Detail": wire.compact(detail),
        }
        try:
            answer = self._client.put_events(Entries=[entry])  # type: ignore[list-item]
        except (ClientError, BotoCoreError) as error:
            raise TransientError(f"announce {detail_type}: {error}") from error
        result = answer["Entries"][0]
        if answer["FailedEntryCount"]:
            raise TransientError(f"announce {detail_type}: {result.get('ErrorCode')}: {result.get('ErrorMessage')}")
        return str(result["EventId"])
