"""The floor of a cold start: a handler that makes a function's calls at its first event with boto3, and nothing else.

`cold_start` starts it from our package. Our functions can be faster only where they change how Python runs: they look
for no garbage before their first message.
"""

import os
from contextlib import suppress
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics

logger, metrics = Logger(), Metrics()

ORGANIZATION = "m-5eed5eed5eed5eed5eed5eed5eed5eed"
KEY = {"pk": {"S": "0"}, "sk": {"S": "0"}}
CHANGE = {"UpdateExpression": "SET a = :a", "ExpressionAttributeValues": {":a": {"N": "1"}}}
EVENT = {"Source": "floor", "DetailType": "Floor", "Detail": "{}"}


def handler(event: dict[str, str], context: object) -> None:
    """Make the calls of the function that ``event`` names."""
    del context
    {"route_events": _route_events, "apply_commands": _apply_commands, "sweep_overrides": _sweep_overrides}[
        event["floor"]
    ]()


def _route_events() -> None:
    entry: Any = {"Id": "0", "MessageBody": "{}", "MessageGroupId": "1", "MessageDeduplicationId": "1"}
    boto3.client("sqs").send_message_batch(QueueUrl=os.environ["COMMANDS_QUEUE_URL"], Entries=[entry])


def _apply_commands() -> None:
    workmail, ledger, bus = _clients()
    one = {"OrganizationId": ORGANIZATION, "UserId": "bob", "DeviceId": "FLOOR"}
    ledger.get_item(TableName="ledger", Key=KEY)
    ledger.update_item(TableName="ledger", Key=KEY, **CHANGE)
    ledger.get_item(TableName="ledger", Key=KEY)
    workmail.describe_user(OrganizationId=ORGANIZATION, UserId="bob")
    ledger.update_item(TableName="ledger", Key=KEY, **CHANGE)
    ledger.update_item(TableName="ledger", Key=KEY, **CHANGE)
    with suppress(workmail.exceptions.ResourceNotFoundException):
        workmail.get_mobile_device_access_override(**one)
    ledger.get_item(TableName="ledger", Key=KEY)
    ledger.update_item(TableName="ledger", Key=KEY, **CHANGE)
    workmail.put_mobile_device_access_override(**one, Effect="DENY")
    ledger.put_item(TableName="ledger", Item=KEY)
    bus.put_events(Entries=[EVENT])


def _sweep_overrides() -> None:
    workmail, ledger, bus = _clients()
    ledger.get_item(TableName="ledger", Key=KEY)
    ledger.describe_table(TableName="ledger")
    for _ in range(2):
        condition = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": "0"}}}
        ledger.query(TableName="ledger", **condition)
    ledger.get_item(TableName="ledger", Key=KEY)
    workmail.list_mobile_device_access_overrides(OrganizationId=ORGANIZATION)
    bus.put_events(Entries=[EVENT])
    ledger.put_item(TableName="ledger", Item=KEY)
    ledger.update_item(TableName="ledger", Key=KEY, **CHANGE)


def _clients() -> tuple[Any, Any, Any]:
    return boto3.client("workmail"), boto3.client("dynamodb"), boto3.client("events")
