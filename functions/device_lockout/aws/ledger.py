"""The gateway to the ledger: one DynamoDB table that remembers what is wanted, and how every event ended.

| pk | sk | holds |
|---|---|---|
| organization | ``device#USER-ID#DEVICE`` | claims, releases, prior override, last decision, inventory, version |
| organization | ``user#USER-ID`` | claims, newest release, version that hold for every device of the user |
| organization | ``name#NAME`` | the user ID behind a name that a report used |
| organization | ``serial#NUMBER#USER-ID#DEVICE`` | whose device has, or had, it; ``asset#`` the same |
| organization | ``sweep`` | when the last sweep completed |
| organization | ``inventory`` | after which device the next sweep goes on to look for ones to add |
| ``webhook#SENDER`` | signature | whether a signed request was passed on; expires |
| ``event#EVENT-ID`` | outcome ID | how the event ended for one device; expires |

User IDs are WorkMail's; devices and names are case-folded. Reads are strongly consistent; only outcomes expire.
IAM: ``dynamodb:GetItem``, ``PutItem``, ``UpdateItem``, ``Query`` on the table.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from device_lockout.aws.client_config import BRIEF
from device_lockout.values import instant
from device_lockout.values.device import DeviceKey, DeviceName, NamedDevice, NameKind
from device_lockout.values.errors import TransientError
from device_lockout.values.outcome import Outcome
from device_lockout.values.record import DeviceRecord, Last, Released, UserRecord
from device_lockout.values.tag import read_time, write_time
from device_lockout.values.wire import dump_claim, load_claim, load_override

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from device_lockout.values.override import Override

OUTCOMES_KEPT = timedelta(days=400)

WEBHOOK_LIVES = timedelta(seconds=20)
"""Longer than the function that takes webhooks may run for one."""

_serialize = TypeSerializer().serialize


class _Deserializer(TypeDeserializer):
    """All our numbers are whole; boto3's Decimal would be no JSON when an outcome that was kept is announced again."""

    def _deserialize_n(self, value: str) -> Any:
        return int(value)


_deserialize = _Deserializer().deserialize


def client() -> DynamoDBClient:
    return boto3.client("dynamodb", config=BRIEF)


class Ledger:
    """The ledger's items as values. Every error of DynamoDB is a TransientError: nothing is done without a record."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def open_device(self, key: DeviceKey) -> DeviceRecord:
        """The device's own item, made if it was missing; its user's item is not in it yet."""
        answer = self._call(
            "update_item",
            Key=_key(*_place(key)),
            UpdateExpression="SET #version = if_not_exists(#version, :new)",
            ExpressionAttributeNames={"#version": "version"},
            ExpressionAttributeValues=_item({":new": 0}),
            ReturnValues="ALL_NEW",
        )
        return _load_device(_values(answer["Attributes"]))

    def user(self, organization: str, user_id: str) -> UserRecord:
        """The user's item; an empty record where there is none."""
        return _load_user(self._get(organization, f"user#{user_id}"))

    def list_device(self, key: DeviceKey, happened: datetime, *, retired: bool) -> dict[NameKind, str] | None:
        """Put the device in the inventory, or mark it as retired. Return the names kept for it, by kind.

        Return None, and change nothing, if an event newer than ``happened`` spoke of the device.
        """
        values = {"retired": True} if retired else {"known": True, "retired": False}
        item = self._set_unless_newer(*_place(key), values, happened)
        return None if item is None else dict(item.get("names", {}))

    def save_names(self, key: DeviceKey, names: Mapping[NameKind, str]) -> None:
        """Keep a device's names, by kind, with the device."""
        self._set(*_place(key), {"names": dict(names)})

    def save_named(self, name: DeviceName, row: NamedDevice) -> None:
        """Write a device's row under a name, unless an event newer than ``row.heard`` wrote it."""
        self._set_unless_newer(row.key.organization, _name_row(name, row.key), {"former": row.former}, row.heard)

    def saw(self, key: DeviceKey) -> None:
        """Put a device in the inventory that an override tells of. What is known of it stays."""
        self._set(*_place(key), {"known": True})

    def devices_of(self, organization: str, user_id: str) -> Iterator[DeviceKey]:
        """Yield the user's devices, read page by page, retired ones too.

        An inventory loses sight of a device that leaves management, but the device may still have its mail.
        """
        for item in self._query(organization, f"device#{user_id}#"):
            yield _device_key(organization, item)

    def devices_named(self, organization: str, name: DeviceName) -> list[NamedDevice]:
        """Return all devices that the inventory ever had under ``name``."""
        return [
            NamedDevice(
                DeviceKey(organization, user_id, device),
                former=bool(item["former"]),
                heard=instant.read(item["inventoried"]),
            )
            for item in self._query(organization, f"{name.kind}#{name.value.casefold()}#")
            for _, _, user_id, device in [item["sk"].split("#", 3)]
        ]

    def save_user(self, organization: str, user_id: str, record: UserRecord) -> None:
        """Write the user's item; TransientError unless its version is still the one that was read."""
        values = {
            "claims": [dump_claim(claim) for claim in record.claims],
            "released": instant.write(record.released) if record.released else None,
            "version": record.version + 1,
        }
        self._set(organization, f"user#{user_id}", values, if_version=record.version)

    def save_device(self, key: DeviceKey, record: DeviceRecord) -> None:
        """Write the device's own item; TransientError unless its version is still the one that was read."""
        values = {
            "claims": [dump_claim(claim) for claim in record.claims],
            "released": {
                scope: instant.write(released)
                for scope, released in (("device", record.released.device), ("user", record.released.user))
                if released is not None
            },
            "prior": record.prior.fields() if record.prior else None,
            "last": _dump_last(record.last) if record.last else None,
            "known": record.known,
            "version": record.version + 1,
        }
        self._set(*_place(key), values, if_version=record.version)

    def remember_name(self, organization: str, name: str, user_id: str) -> None:
        """Keep which user a report meant by ``name``, so that a release finds a user who is deleted by then."""
        self._put(organization, f"name#{name.casefold()}", {"userId": user_id})

    def user_named(self, organization: str, name: str) -> str | None:
        """The user ID that an earlier report's ``name`` stood for."""
        item = self._get(organization, f"name#{name.casefold()}")
        return str(item["userId"]) if item else None

    def record_outcome(self, event_id: str, outcome_id: str, told: dict[str, Any], now: datetime) -> dict[str, Any]:
        """Keep what is to be announced of an outcome; answers what was kept first, if this one was recorded before."""
        item = {"told": told, "at": instant.write(now), "expires": int((now + OUTCOMES_KEPT).timestamp())}
        try:
            self._call(
                "put_item",
                Item={**_key(f"event#{event_id}", outcome_id), **_item(item)},
                ConditionExpression="attribute_not_exists(pk)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except _ConditionError as error:
            kept: dict[str, Any] = error.item["told"]
            return kept
        return told

    def told_at(self, event_id: str, outcome_id: str) -> datetime | None:
        """The ``now`` that the outcome was first recorded with; None if it was not."""
        item = self._get(f"event#{event_id}", outcome_id)
        return instant.read(item["at"]) if item else None

    def users(self, organization: str) -> dict[str, UserRecord]:
        """Every user who was ever locked or released, by user ID."""
        return {item["sk"].removeprefix("user#"): _load_user(item) for item in self._query(organization, "user#")}

    def records(self, organization: str, users: Mapping[str, UserRecord]) -> dict[DeviceKey, DeviceRecord]:
        """Every device with a claim or a failed last try, its user's record merged in.

        ``users`` as they were read before.
        """
        records: dict[DeviceKey, DeviceRecord] = {}
        for item in self._query(organization, "device#"):
            key = _device_key(organization, item)
            user = users.get(key.user_id, UserRecord())
            record = replace(_load_device(item), user=user)
            if record.claims or user.claims or record.failed:
                records[key] = record
        return records

    def take_webhook(self, sender: str, signature: str, until: datetime, now: datetime) -> bool:
        """Note that a signed request is about to be passed on; False if it was passed on before.

        TransientError while another function may be at it: what is not passed on for longer than one lives can be taken
        again, since that one crashed. After ``until`` the note may go: the request is too old by then.
        """
        item = {"passed": False, "begun": int(now.timestamp()), "expires": int(until.timestamp()) + 1}
        try:
            self._call(
                "put_item",
                Item={**_key(f"webhook#{sender}", signature), **_item(item)},
                ConditionExpression="attribute_not_exists(pk) OR (passed = :no AND begun < :crashed)",
                ExpressionAttributeValues=_item({":no": False, ":crashed": int((now - WEBHOOK_LIVES).timestamp())}),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except _ConditionError as error:
            if not error.item["passed"]:
                raise TransientError("the same request is being passed on") from error
            return False
        return True

    def note_webhook(self, sender: str, signature: str, until: datetime, *, passed: bool) -> None:
        """Note whether a signed request was passed on: if so it is refused from now on, else it may come again."""
        item = {"passed": passed, "begun": 0, "expires": int(until.timestamp()) + 1}
        self._put(f"webhook#{sender}", signature, item)

    def last_sweep(self, organization: str) -> datetime | None:
        """When the organization's last sweep completed; None before the first that this very table saw.

        A table restored from a backup has another name, so that the first sweep with it is one after a loss.
        """
        item = self._get(organization, "sweep")
        return instant.read(item["completed"]) if item.get("table") == self._table else None

    def save_sweep(self, organization: str, completed: datetime) -> None:
        self._put(organization, "sweep", {"completed": instant.write(completed), "table": self._table})

    def inventoried_up_to(self, organization: str) -> DeviceKey:
        """The last device that a sweep added to the inventory; empty ones before the first."""
        item = self._get(organization, "inventory")
        return DeviceKey(organization, item.get("userId", ""), item.get("device", ""))

    def save_inventoried(self, key: DeviceKey) -> None:
        self._put(key.organization, "inventory", {"userId": key.user_id, "device": key.device})

    def _get(self, pk: str, sk: str) -> dict[str, Any]:
        answer = self._call("get_item", Key=_key(pk, sk), ConsistentRead=True)
        return _values(answer.get("Item", {}))

    def _put(self, pk: str, sk: str, values: dict[str, Any]) -> None:
        self._call("put_item", Item={**_key(pk, sk), **_item(values)})

    def _set(self, pk: str, sk: str, values: dict[str, Any], if_version: int | None = None) -> None:
        """Set attributes of an item, made if it was missing; always by alias, since DynamoDB reserves many words."""
        condition: dict[str, Any] = {}
        if if_version is not None:
            missing_too = "attribute_not_exists(#version) OR " if if_version == 0 else ""
            condition = {"ConditionExpression": f"{missing_too}#version = :read"}
        read = {} if if_version is None else {":read": if_version}
        try:
            self._call(
                "update_item",
                Key=_key(pk, sk),
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
                ExpressionAttributeNames={f"#{name}": name for name in values},
                ExpressionAttributeValues=_item({f":{name}": value for name, value in values.items()} | read),
                **condition,
            )
        except _ConditionError as error:
            raise TransientError(f"{sk} was changed in the ledger since it was read") from error

    def _set_unless_newer(self, pk: str, sk: str, values: dict[str, Any], happened: datetime) -> dict[str, Any] | None:
        """Set attributes of an inventory row. Return the row; None if a newer event than ``happened`` wrote it."""
        values = {**values, "inventoried": instant.write(happened)}
        try:
            answer = self._call(
                "update_item",
                Key=_key(pk, sk),
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
                ConditionExpression="attribute_not_exists(#inventoried) OR #inventoried <= :inventoried",
                ExpressionAttributeNames={f"#{name}": name for name in values},
                ExpressionAttributeValues=_item({f":{name}": value for name, value in values.items()}),
                ReturnValues="ALL_NEW",
            )
        except _ConditionError:
            return None
        return _values(answer["Attributes"])

    def _query(self, pk: str, prefix: str) -> Iterator[dict[str, Any]]:
        more: dict[str, Any] = {}
        while True:
            answer = self._call(
                "query",
                KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
                ExpressionAttributeValues=_item({":pk": pk, ":prefix": prefix}),
                ConsistentRead=True,
                **more,
            )
            yield from (_values(item) for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _call(self, operation: str, **parameters: Any) -> Any:
        try:
            return getattr(self._client, operation)(TableName=self._table, **parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                answer: Any = error.response
                raise _ConditionError(_values(answer.get("Item", {}))) from error
            raise TransientError(f"ledger: {error}") from error
        except BotoCoreError as error:
            raise TransientError(f"ledger: {error}") from error


class _ConditionError(TransientError):
    def __init__(self, item: dict[str, Any]) -> None:
        super().__init__("the item is not as the condition asks")
        self.item = item


def _place(key: DeviceKey) -> tuple[str, str]:
    """Return where a device's item is: partition and sort key."""
    return key.organization, f"device#{key.user_id}#{key.device}"


def _device_key(organization: str, item: dict[str, Any]) -> DeviceKey:
    """The inverse of :func:`_place`."""
    _, user_id, device = item["sk"].split("#", 2)
    return DeviceKey(organization, user_id, device)


def _name_row(name: DeviceName, key: DeviceKey) -> str:
    return f"{name.kind}#{name.value.casefold()}#{key.user_id}#{key.device}"


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _item(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _serialize(value) for name, value in values.items()}


def _values(item: dict[str, Any]) -> dict[str, Any]:
    return {name: _deserialize(value) for name, value in item.items()}


def _load_device(item: dict[str, Any]) -> DeviceRecord:
    released, last = item.get("released") or {}, item.get("last")
    return DeviceRecord(
        claims=tuple(load_claim(fields) for fields in item.get("claims", ())),
        released=Released(
            device=instant.read(released["device"]) if "device" in released else None,
            user=instant.read(released["user"]) if "user" in released else None,
        ),
        prior=_load_override(item.get("prior")),
        last=_load_last(last) if last else None,
        known=bool(item.get("known")),
        version=int(item.get("version", 0)),
    )


def _load_user(item: dict[str, Any]) -> UserRecord:
    return UserRecord(
        claims=tuple(load_claim(fields) for fields in item.get("claims", ())),
        released=instant.read(item["released"]) if item.get("released") else None,
        version=int(item.get("version", 0)),
    )


def _dump_last(last: Last) -> dict[str, Any]:
    outcome = last.outcome
    return {
        "command": last.command,
        "eventId": last.event_id,
        "decidedAt": instant.write(last.decided_at),
        "outcome": {
            "result": outcome.result,
            "because": outcome.because,
            "why": outcome.why,
            "until": write_time(outcome.until) if outcome.until else None,
            "reference": outcome.reference,
            "before": outcome.before.fields() if outcome.before else None,
            "after": outcome.after.fields() if outcome.after else None,
            "page": outcome.page,
            "verified": outcome.verified,
        },
    }


def _load_last(fields: dict[str, Any]) -> Last:
    outcome = fields["outcome"]
    return Last(
        command=fields["command"],
        event_id=fields["eventId"],
        decided_at=instant.read(fields["decidedAt"]),
        outcome=Outcome(
            result=outcome["result"],
            because=outcome["because"],
            why=outcome["why"],
            until=read_time(outcome["until"]) if outcome["until"] else None,
            reference=outcome["reference"],
            before=_load_override(outcome["before"]),
            after=_load_override(outcome["after"]),
            page=outcome["page"],
            verified=outcome["verified"],
        ),
    )


def _load_override(fields: dict[str, Any] | None) -> Override | None:
    return None if fields is None else load_override(fields)
