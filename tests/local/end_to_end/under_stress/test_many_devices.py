"""A user with thousands of devices, some of them from a CSV file, locked and released on the whole chain."""

import os
from collections import Counter
from itertools import batched
from pathlib import Path
from time import monotonic
from typing import Any

from local.deployment import Deployment
from lockout.__main__ import main
from lockout.deployment import find
from tests.local.end_to_end.watching import LONG_DEADLINE, new_users, seen
from tests.measured import MEASURED

DEVICES = int(os.environ.get("DEVICES", "3400"))
"""From 3,200 on Lambda would cut off a chain of commands that it takes for a loop."""


def effects(there: Deployment, user_id: str) -> Counter[str]:
    return Counter(row["Effect"] for row in there.overrides() if row["UserId"] == user_id)


def test_a_user_with_thousands_of_devices_is_locked_and_restored_but_for_three_that_are_lost(
    deployment: Deployment, tmp_path: Path
) -> None:
    there = deployment
    (user,) = new_users(there, 1)
    user_id = there.workmail.describe_user(OrganizationId=there.organization, UserId=user)["UserId"]
    devices = [f"THEA{number:04}" for number in range(DEVICES)]
    allowed = set(devices[:100])
    hers = {"OrganizationId": there.organization, "UserId": user, "Effect": "ALLOW", "Description": "hers"}
    there.control("POST", "seed", {"overrides": [{**hers, "DeviceId": name} for name in allowed]})
    imported = devices[-20:]
    remember(there, user_id, devices[:-20])
    file = tmp_path / "devices.csv"
    file.write_text("userId,deviceId\n" + "".join(f"{user}@example.com,{name}\n" for name in imported))
    assert main(["inventory", "import", str(file)], find("local", there.aws.client)) == 0
    seen(there, "all enrolled", lambda: known(there, user_id) == DEVICES, LONG_DEADLINE)

    lost = {devices[0], devices[500], devices[999]}
    for name in lost:
        there.publish("Device Lost", userId=user, deviceId=name)
    began = monotonic()
    compromised = there.publish("User Compromised", "siem", userId=user)
    seen(there, "all locked", lambda: effects(there, user_id)["DENY"] == DEVICES, LONG_DEADLINE)
    MEASURED.append(f"a user's {DEVICES} devices locked: {monotonic() - began:.0f} s")

    # The sweep may lock some of them first; the event's own commands have said so by then.
    seen(there, "all told of", lambda: len(told(there, compromised.event_id)) == DEVICES + 1, LONG_DEADLINE)
    (summary,) = (each for each in told(there, compromised.event_id) if not each["deviceId"]["S"])
    assert (summary["result"]["S"], summary["devices"]["N"]) == ("locked", str(DEVICES))

    began = monotonic()
    there.publish("User Restored", userId=user)
    seen(there, "all but three back", lambda: effects(there, user_id)["DENY"] == len(lost), LONG_DEADLINE)
    MEASURED.append(f"a user's {DEVICES} devices released: {monotonic() - began:.0f} s")
    rows = [row for row in there.overrides() if row["UserId"] == user_id]
    assert {row["DeviceId"].upper() for row in rows if row["Effect"] == "DENY"} == lost
    back = {row["DeviceId"].upper() for row in rows if (row["Effect"], row.get("Description")) == ("ALLOW", "hers")}
    assert back == allowed - lost
    assert len(rows) == len(allowed | lost)


def told(there: Deployment, event_id: str) -> list[dict[str, Any]]:
    """The details of all outcomes of an event, as DynamoDB spells them."""
    pages = there.dynamodb.get_paginator("query").paginate(
        TableName=there.outputs["LedgerTableName"],
        KeyConditionExpression="pk = :event",
        ExpressionAttributeValues={":event": {"S": f"event#{event_id}"}},
    )
    return [item["told"]["M"]["detail"]["M"] for page in pages for item in page["Items"]]


def remember(there: Deployment, user_id: str, devices: list[str]) -> None:
    """Put devices into the inventory as the sweep does, all at once: a thousand events would say nothing more."""
    for batch in batched(devices, 25, strict=False):
        rows = [
            {
                "pk": {"S": there.organization},
                "sk": {"S": f"device#{user_id}#{name.casefold()}"},
                "known": {"BOOL": True},
            }
            for name in batch
        ]
        asked = {there.outputs["LedgerTableName"]: [{"PutRequest": {"Item": row}} for row in rows]}
        assert not there.dynamodb.batch_write_item(RequestItems=asked)["UnprocessedItems"]


def known(there: Deployment, user_id: str) -> int:
    """How many of the user's devices the ledger has in its inventory."""
    pages = there.dynamodb.get_paginator("query").paginate(
        TableName=there.outputs["LedgerTableName"],
        KeyConditionExpression="pk = :organization AND begins_with(sk, :devices)",
        FilterExpression="known = :yes",
        ExpressionAttributeValues={
            ":organization": {"S": there.organization},
            ":devices": {"S": f"device#{user_id}#"},
            ":yes": {"BOOL": True},
        },
        Select="COUNT",
    )
    return sum(page["Count"] for page in pages)
