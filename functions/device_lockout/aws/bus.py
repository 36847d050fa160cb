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
    """The bus on which we speak of ourselves, and pass on what came in by a webhook."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    def announce(self, detail_type: str, detail: dict[str, Any]) -> None:
        """Tell of ourselves, under a source that no rule of ours takes as input; errors as for :meth:`put`."""
        self.put(SOURCE, detail_type, detail)

    def put(self, source: str, detail_type: str, detail: dict[str, Any]) -> str:
        """Put one event on the bus; TransientError unless the bus took it (PutEvents can fail without raising).

        The ID that the bus gave it is answered.
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
