"""The events of webhooks that were passed on, so that none is passed on twice. They are in the ledger's table."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from device_lockout.aws.ledger_table import ConditionFailedError, LedgerTable
from device_lockout.values.errors import TransientError

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

ABANDONED_AFTER = timedelta(seconds=20)
"""A request begun this long ago and not finished belongs to a crashed function. Longer than the function's timeout."""


class WebhookLog:
    """One item for each event of a sender that may come again. A key names the request and the place in it."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._table = LedgerTable(client, table)

    def begin(self, sender: str, key: str, until: datetime, now: datetime) -> bool:
        """Note that an event is about to be passed on. Return False if it was passed on before.

        After ``until`` the note does not count. DynamoDB deletes it some days later:
        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html

        Raises:
            TransientError: Another function may be passing it on.
        """
        item = {"passed": False, "begun": int(now.timestamp()), "expires": int(until.timestamp()) + 1}
        try:
            self._table.put(
                f"webhook#{sender}",
                key,
                item,
                "attribute_not_exists(pk) OR expires < :now OR (passed = :no AND begun < :crashed)",
                now=int(now.timestamp()),
                no=False,
                crashed=int((now - ABANDONED_AFTER).timestamp()),
            )
        except ConditionFailedError as error:
            if not error.item["passed"]:
                raise TransientError("the same event is being passed on") from error
            return False
        return True

    def finish(self, sender: str, key: str, until: datetime, *, passed: bool) -> None:
        """Note whether an event was passed on. If not, it may be sent again."""
        item = {"passed": passed, "begun": 0, "expires": int(until.timestamp()) + 1}
        self._table.put(f"webhook#{sender}", key, item)
