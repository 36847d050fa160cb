"""The ledger's DynamoDB table: items as dicts of Python values, conditional writes, and queries page by page."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from device_lockout.aws.client_config import BRIEF
from device_lockout.values.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

TIMELINE = "timeline"  # The index of outcomes: partition key ``month``, sort key ``at``.

OPERATIONS = ("dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem")

_serialize = TypeSerializer().serialize


class _Deserializer(TypeDeserializer):
    """Reads numbers as int. All of ours are whole, and JSON can't hold boto3's Decimal."""

    def _deserialize_n(self, value: str) -> Any:
        return int(value)


_deserialize = _Deserializer().deserialize


def client() -> DynamoDBClient:
    return boto3.client("dynamodb", config=BRIEF)


class ConditionFailedError(TransientError):
    """A write's condition did not hold.

    Attributes:
        item: The item that the condition met, from :meth:`LedgerTable.put`. Otherwise empty.
    """

    def __init__(self, item: dict[str, Any]) -> None:
        super().__init__("the ledger's item does not meet the write's condition")
        self.item = item


class LedgerTable:
    """A table with partition key ``pk`` and sort key ``sk``.

    Reads are strongly consistent. Every error of DynamoDB is a TransientError: nothing is done without a record.
    """

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client = client
        self.name = name

    @cached_property
    def id(self) -> str:
        """The table's ID, asked for once. A restored table has another, even under the same name.

        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html
        """
        return str(self._call("describe_table")["Table"]["TableId"])

    def get(self, pk: str, sk: str) -> dict[str, Any]:
        """Return an item, or an empty dict if there is none."""
        answer = self._call("get_item", Key=_key(pk, sk), ConsistentRead=True)
        return _decode(answer.get("Item", {}))

    def get_or_create(self, pk: str, sk: str, initial: Mapping[str, Any]) -> dict[str, Any]:
        """Return an item, with ``initial`` for each of those attributes that it lacks."""
        return self._update(pk, sk, initial, value="if_not_exists(#{0}, :{0})")

    def put(self, pk: str, sk: str, values: Mapping[str, Any], condition: str = "", **compared: Any) -> None:
        """Replace an item. ``compared`` are the values in the condition, by their placeholders without the colon.

        Raises:
            ConditionFailedError: The present item does not meet ``condition``. The error holds that item.
        """
        conditional: dict[str, Any] = {}
        if condition:
            conditional = {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        if compared:
            conditional["ExpressionAttributeValues"] = _placed(compared)
        self._call("put_item", Item={**_key(pk, sk), **_encode(values)}, **conditional)

    def set(
        self,
        pk: str,
        sk: str,
        values: Mapping[str, Any],
        if_version: int | None = None,
        condition: str = "",
        **compared: Any,
    ) -> None:
        """Set attributes of an item. Create the item if it is missing.

        A ``condition`` is as of :meth:`put`, with a ``#`` before attributes, which must be among ``values``.

        Raises:
            ConditionFailedError: The item does not meet it, or its version is not ``if_version``. A missing item has
                version 0.
        """
        if if_version is not None:
            or_missing = "attribute_not_exists(#version) OR " if if_version == 0 else ""
            condition, compared = f"{or_missing}#version = :read", {"read": if_version}
        self._update(pk, sk, values, condition, answers=False, **compared)

    def set_unless_later(self, pk: str, sk: str, values: Mapping[str, Any], clock: str) -> dict[str, Any] | None:
        """Set attributes of an item, unless the item's ``clock`` attribute is later than the one in ``values``.

        Return the item after the write, or None if nothing was written.
        """
        try:
            return self._update(pk, sk, values, f"attribute_not_exists(#{clock}) OR #{clock} <= :{clock}")
        except ConditionFailedError:
            return None

    def add_member(self, pk: str, sk: str, member: str, most: int, *, expires: int) -> bool:
        """Add a text to the set of an item, which may be new. Return False if the set has ``most`` others."""
        values = {"one": {member}, "is": member, "most": most, "expires": expires}
        try:
            self._call(
                "update_item",
                Key=_key(pk, sk),
                UpdateExpression="ADD #set :one SET #expires = :expires",
                ConditionExpression="attribute_not_exists(#set) OR size(#set) < :most OR contains(#set, :is)",
                ExpressionAttributeNames={"#set": "members", "#expires": "expires"},
                ExpressionAttributeValues=_placed(values),
            )
        except ConditionFailedError:
            return False
        return True

    def query(self, pk: str, prefix: str) -> Iterator[dict[str, Any]]:
        """Yield the items of a partition whose sort key begins with ``prefix``."""
        condition = "pk = :pk AND begins_with(sk, :prefix)" if prefix else "pk = :pk"
        compared = {"pk": pk} | ({"prefix": prefix} if prefix else {})
        return self._query(condition, compared, ConsistentRead=True)

    def timeline(
        self, month: str, between: tuple[str, str], word: str, *, newest_first: bool
    ) -> Iterator[dict[str, Any]]:
        """Yield the items of a month in order of ``at``; with ``word``, those whose list ``words`` has it."""
        names = {"#month": "month", "#at": "at"}  # DynamoDB reserves both words
        compared = {"month": month, "since": between[0], "until": between[1]}
        found: dict[str, Any] = {}
        if word:
            names["#words"], compared["word"] = "words", word
            found = {"FilterExpression": "contains(#words, :word)"}
        return self._query(
            "#month = :month AND #at BETWEEN :since AND :until",
            compared,
            IndexName=TIMELINE,
            ExpressionAttributeNames=names,
            ScanIndexForward=not newest_first,
            **found,
        )

    def _query(self, condition: str, compared: Mapping[str, str], **rest: Any) -> Iterator[dict[str, Any]]:
        more: dict[str, Any] = {}
        while True:
            answer = self._call(
                "query",
                KeyConditionExpression=condition,
                ExpressionAttributeValues=_placed(compared),
                **rest,
                **more,
            )
            yield from (_decode(item) for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _update(
        self,
        pk: str,
        sk: str,
        values: Mapping[str, Any],
        condition: str = "",
        value: str = ":{0}",
        answers: bool = True,
        **compared: Any,
    ) -> dict[str, Any]:
        """Update an item, and return it if it ``answers``. Attributes go by alias, because many words are reserved."""
        answer = self._call(
            "update_item",
            Key=_key(pk, sk),
            UpdateExpression="SET " + ", ".join(f"#{name} = {value.format(name)}" for name in values),
            **({"ConditionExpression": condition} if condition else {}),
            ExpressionAttributeNames={f"#{name}": name for name in values},
            ExpressionAttributeValues=_placed({**values, **compared}),
            **({"ReturnValues": "ALL_NEW"} if answers else {}),
        )
        return _decode(answer.get("Attributes", {}))

    def _call(self, operation: str, **parameters: Any) -> Any:
        try:
            return getattr(self._client, operation)(TableName=self.name, **parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                answer: Any = error.response
                raise ConditionFailedError(_decode(answer.get("Item", {}))) from error
            raise TransientError(f"ledger: {error}") from error
        except BotoCoreError as error:
            raise TransientError(f"ledger: {error}") from error


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _encode(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _serialize(value) for name, value in values.items()}


def _placed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by their placeholders in an expression."""
    return _encode({f":{name}": value for name, value in values.items()})


def _decode(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _deserialize(value) for name, value in item.items()}
