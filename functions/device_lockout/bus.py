"""The gateway to the event bus, where outcomes are announced. IAM: ``events:PutEvents`` on our own bus."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from device_lockout.errors import TransientError
from device_lockout.outcome import SOURCE

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


def client() -> EventBridgeClient:
    return boto3.client("events")


class Bus:
    """The bus on which we speak of ourselves, under a source that no rule of ours takes as input."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    def announce(self, detail_type: str, detail: dict[str, Any]) -> None:
        """Put one event on the bus; TransientError unless the bus took it (PutEvents can fail without raising)."""
        entry = {"EventBusName": self._name, "Source": SOURCE, "DetailType": detail_type, "Detail": json.dumps(detail)}
        try:
            answer = self._client.put_events(Entries=[entry])  # type: ignore[list-item]
        except (ClientError, BotoCoreError) as error:
            raise TransientError(f"announce {detail_type}: {error}") from error
        if answer["FailedEntryCount"]:
            failure = answer["Entries"][0]
            raise TransientError(f"announce {detail_type}: {failure.get('ErrorCode')}: {failure.get('ErrorMessage')}")
