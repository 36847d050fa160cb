"""Each permission of each function is needed: it is taken away alone, and something is refused.

What AWS itself does in a function's name is not enforced on the local AWS. `OF_AWS` says what it is for, and
`tests/infra/test_stack.py` that the role has it.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from urllib3.util import make_headers

from config_reader import loader
from device_lockout.inbound import report
from device_lockout.values import wire
from device_lockout.values.command import Command, group_id
from local.deployment import Deployment, rfc3339
from local.up import WEBHOOK_SECRETS
from tests.local.end_to_end.under_stress.test_many_devices import remember
from tests.local.end_to_end.under_stress.test_permissions import listed
from tests.local.end_to_end.watching import new_device, new_users, result, seen
from tests.measured import MEASURED

OF_AWS = {
    "logs:CreateLogStream": "Lambda writes the log.",
    "logs:PutLogEvents": "Lambda writes the log.",
    "sqs:ReceiveMessage": "Lambda polls the queue.",
    "sqs:DeleteMessage": "Lambda deletes what was done.",
    "sqs:GetQueueAttributes of a consumer": "Lambda looks at the queue that it polls.",
    "sqs:SendMessage to missed sweeps": "Lambda dead-letters a run that failed for good.",
}

SETTINGS = loader.load("local").settings


def record(body: str, group: str) -> dict[str, Any]:
    attributes = {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": str(int(datetime.now(UTC).timestamp() * 1000)),
        "MessageGroupId": group,
        "SequenceNumber": "1",
    }
    return {"messageId": uuid4().hex, "receiptHandle": "none", "body": body, "attributes": attributes}


def event(kind: str, source: str, after: int = 0, **detail: str) -> str:
    now = datetime.now(UTC) - timedelta(seconds=10 - after)
    whole = {"id": uuid4().hex, "source": source, "detail-type": kind, "time": now.isoformat()}
    return json.dumps({**whole, "detail": {"reportedAt": rfc3339(now), **detail}})


def command(body: str) -> dict[str, Any]:
    made: Command
    (made,) = report.read(body, uuid4().hex, datetime.now(UTC), SETTINGS)
    return record(wire.dump(made), group_id(made))


def to_route(_: Deployment, _action: str) -> dict[str, Any]:
    return {"Records": [record(event("Device Lost", "helpdesk", userId="ana", deviceId=new_device()), "")]}


def to_apply(there: Deployment, _action: str) -> dict[str, Any]:
    """A lock and its end, a lock of a user who has a device, one by an ID of Identity Center, and two that fail."""
    one, other = new_users(there, 2)
    device, silent = new_device(), new_device()
    user_id = there.workmail.describe_user(OrganizationId=there.organization, UserId=other)["UserId"]
    there.dynamodb.put_item(
        TableName=there.outputs["LedgerTableName"],
        Item={
            "pk": {"S": there.organization},
            "sk": {"S": f"device#{user_id}#{new_device().casefold()}"},
            "known": {"BOOL": True},
        },
    )
    there.control(
        "PUT",
        "settings",
        {
            "faults": {
                "silent": {"kind": "no_answer", "device": silent, "operations": ["GetMobileDeviceAccessOverride"]}
            }
        },
    )
    events = [
        event("Device Lost", "helpdesk", 1, userId=one, deviceId=device),
        event("Device Recovered", "helpdesk", 2, userId=one, deviceId=device),
        event("User Compromised", "siem", userId=other),
        event("Device Lost", "helpdesk", userId=str(uuid4()), deviceId=new_device()),
        event("Device Lost", "helpdesk", userId=one, deviceId=silent),
    ]
    return {"Records": [*map(command, events), record("no command", "nobody")]}


def to_sweep(there: Deployment, action: str) -> dict[str, Any]:
    """There is an override whose end is past, and a new device. Only more than a portion makes it look at the queue."""
    user, other = new_users(there, 2)
    if action == "sqs:GetQueueAttributes":
        result(there, there.publish("User Compromised", "siem", userId=other))
        user_id = there.workmail.describe_user(OrganizationId=there.organization, UserId=other)["UserId"]
        remember(there, user_id, [f"{new_device()}{number:03}" for number in range(SETTINGS.sweep.portion + 1)])
    for description in ("[until=2026-01-01] travel", "a new device"):
        there.workmail.put_mobile_device_access_override(
            OrganizationId=there.organization,
            UserId=user,
            DeviceId=new_device(),
            Effect="ALLOW",
            Description=description,
        )
    return {"organizationId": there.organization}


SENDERS = iter(("auth0", "crowdstrike", "defender", "servicenow"))
"""A sender whose secret this test has not let the function read, for each call."""


def to_receive(_: Deployment, _action: str) -> dict[str, Any]:
    """A body that can't be read, of a known sender: it is noted, and its rejection goes to the bus."""
    sender = next(SENDERS)
    known = json.loads(WEBHOOK_SECRETS[f"lockout-{sender}"])
    asked = {"method": "POST", "path": f"/{sender}", "sourceIp": "127.0.0.1"}
    headers = make_headers(basic_auth=f"{known['username']}:{known['password']}")
    return {"rawPath": f"/{sender}", "requestContext": {"http": asked}, "headers": headers, "body": f"<{uuid4()}>"}


FUNCTIONS: dict[str, tuple[str, Callable[[Deployment, str], dict[str, Any]]]] = {
    "route_events": ("RouteEvents", to_route),
    "apply_commands": ("ApplyCommands", to_apply),
    "sweep_overrides": ("SweepOverrides", to_sweep),
    "receive_webhooks": ("WebhooksReceive", to_receive),
}
"""A part of each function's name, and what it is called with."""


def permissions(policy: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Each action of each statement."""
    for number, statement in enumerate(policy["Statement"]):
        for action in listed(statement["Action"]):
            yield number, action


def of_aws(number: int, action: str, policy: dict[str, Any]) -> bool:
    """Whether the permission is for what AWS does in the function's name."""
    statement = policy["Statement"][number]
    if action == "sqs:GetQueueAttributes":
        return "sqs:ReceiveMessage" in listed(statement["Action"])
    return action in OF_AWS or (action == "sqs:SendMessage" and "Missed" in str(statement["Resource"]))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_without_any_one_of_its_permissions_a_function_is_refused_something(
    deployment: Deployment, function: str
) -> None:
    there = deployment
    part, work = FUNCTIONS[function]
    pages = there.functions.get_paginator("list_functions").paginate()
    (known,) = (each for page in pages for each in page["Functions"] if part in each["FunctionName"])
    name, role = known["FunctionName"], known["Role"].rpartition("/")[2]
    # New environments: those that run may have read a sender's secret for another test.
    there.functions.update_function_configuration(FunctionName=name, Timeout=known["Timeout"])
    there.functions.get_waiter("function_updated_v2").wait(FunctionName=name)
    iam = there.aws.client("iam")
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    whole = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]

    def refused(payload: dict[str, Any]) -> set[str]:
        """Run the function. What it was refused is in its answer if it raises, and else in its log."""
        began = int(datetime.now(UTC).timestamp() * 1000)
        answer = there.functions.invoke(FunctionName=name, Payload=json.dumps(payload).encode())["Payload"].read()
        pages = there.logs.get_paginator("filter_log_events").paginate(
            logGroupName=known["LoggingConfig"]["LogGroup"], startTime=began
        )
        lines = [event["message"] for page in pages for event in page["events"]]
        raised = re.findall(r"not authorized to perform: ([\w:]+)", "\n".join([*lines, answer.decode()]))
        listed_nothing = ["workmail:ListMobileDeviceAccessOverrides"] * (json.loads(answer).get("guard") == "list")
        return {*raised, *listed_nothing}

    asked = [(number, action) for number, action in permissions(whole) if not of_aws(number, action, whole)]
    needless = []
    try:
        assert refused(work(there, "")) == set(), "with all of them nothing is refused"
        for number, action in asked:
            statements = [dict(each) for each in whole["Statement"]]
            statements[number]["Action"] = [each for each in listed(statements[number]["Action"]) if each != action]
            kept = [each for each in statements if each["Action"]]
            of_digest = "/index/" in str(whole["Statement"][number]["Resource"])
            payload = {"digest": rfc3339()} if of_digest else work(there, action)
            iam.put_role_policy(
                RoleName=role, PolicyName=policy, PolicyDocument=json.dumps({**whole, "Statement": kept})
            )
            if action not in refused(payload):
                needless.append(f"{action} on {whole['Statement'][number]['Resource']}")
            iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(whole))
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(whole))
        there.control("PUT", "settings", {"faults": {"silent": None}})
        there.sqs.purge_queue(QueueUrl=there.outputs["DeadCommandsQueueUrl"])
    assert needless == []
    MEASURED.append(f"permissions of {function} that were taken away alone, each missed: {len(asked)}")
    seen(there, "all is worked off", there.is_idle)
