"""The stack's roles are needed: without a permission, reports wait, and it is said in plain words why."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.connection import Connection
from local.deployment import Deployment
from local.lifecycle import ROOT
from tests.local.end_to_end.watching import denied, new_device, new_users, seen


def test_without_permission_for_workmail_a_report_waits_and_the_demonstration_says_why(
    deployment: Deployment, state: Path
) -> None:
    there, began, device = deployment, datetime.now(UTC), new_device()
    (user,) = new_users(there, 1)
    with taken_away(there, "ApplyCommandsFunctionName", "workmail:"):
        there.publish("Device Lost", userId=user, deviceId=device)
        wrong = "IAM refuses apply_commands the action workmail:DescribeUser"
        seen(there, "the log says why", lambda: any(trouble.startswith(wrong) for trouble in there.troubles(began)))
        shown = subprocess.run(
            [sys.executable, "-m", "local.demo", "--state", state],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert shown.returncode == 1
        assert wrong in shown.stdout
        assert "In the queue of commands, to be tried again:" in shown.stdout
        assert "checks failed" in shown.stderr
        assert there.override(user, device) is None
    denied(there, user, device)
    assert there.dead_letters() == {}


def test_without_permission_for_the_queue_of_commands_a_report_waits(deployment: Deployment) -> None:
    there, began, device = deployment, datetime.now(UTC), new_device()
    (user,) = new_users(there, 1)
    with taken_away(there, "RouteEventsFunctionName", "sqs:SendMessage"):
        there.publish("Device Lost", userId=user, deviceId=device)
        wrong = "IAM refuses route_events the action sqs:SendMessage"
        seen(there, "the log says why", lambda: any(trouble.startswith(wrong) for trouble in there.troubles(began)))
        assert there.queued("ReportsQueueUrl") == 1
        assert there.override(user, device) is None
    assert there.dead_letters() == {}
    there.sqs.purge_queue(QueueUrl=there.outputs["ReportsQueueUrl"])  # it would come back after three minutes


@contextmanager
def taken_away(there: Deployment, function: str, action: str) -> Iterator[None]:
    """A function's role without its statements on actions that begin so."""
    role = there.functions.get_function_configuration(FunctionName=there.outputs[function])["Role"].rpartition("/")[2]
    iam = there.aws.client("iam")
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    whole = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    kept = [
        statement
        for statement in whole["Statement"]
        if not any(each.startswith(action) for each in listed(statement["Action"]))
    ]
    assert len(kept) == len(whole["Statement"]) - 1
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps({**whole, "Statement": kept}))
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(whole))


def listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions


def test_who_may_send_to_any_queue_can_not_walk_round_the_bus(deployment: Deployment) -> None:
    """An insider with `sqs:*`. Only the stack's rules, its functions and the named operators send."""
    everything = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    insider = user(deployment, "insider", [everything]).client("sqs")
    for output in (name for name in deployment.outputs if name.endswith("QueueUrl")):
        url = deployment.outputs[output]
        fifo = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if url.endswith(".fifo") else {}
        with pytest.raises(ClientError, match="AccessDenied"):
            insider.send_message(QueueUrl=url, MessageBody="{}", **fifo)
        with pytest.raises(ClientError, match="AccessDenied"):
            insider.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "{}", **fifo}])


def test_who_has_the_rights_of_the_receiver_of_webhooks_writes_no_lock_and_speaks_as_nobody_else(
    deployment: Deployment,
) -> None:
    there, iam = deployment, deployment.aws.client("iam")
    function = there.functions.get_function_configuration(FunctionName=there.outputs["ReceiveWebhooksFunctionName"])
    role = function["Role"].rpartition("/")[2]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    rights = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
    taken_over = user(there, "taken-over", rights)
    table, events = taken_over.client("dynamodb"), taken_over.client("events")

    def write(key: str) -> None:
        item = {"pk": {"S": key}, "sk": {"S": f"device#bob#{new_device()}"}, "expires": {"N": "1"}}
        table.put_item(TableName=there.outputs["LedgerTableName"], Item=item)

    write("webhook#jamf")
    for key in (there.organization, "event#1", "locks#helpdesk"):
        with pytest.raises(ClientError, match="AccessDenied"):
            write(key)
    for source in ("helpdesk", "operator", "device-lockout", "lockout-drill"):
        entry = {"EventBusName": there.outputs["EventBusName"], "DetailType": "Device Recovered", "Detail": "{}"}
        with pytest.raises(ClientError, match="AccessDenied"):
            events.put_events(Entries=[{**entry, "Source": source}])


def user(there: Deployment, name: str, statements: list[Any]) -> Connection:
    """The connection of a new IAM user with these statements and no others."""
    iam = there.aws.client("iam")
    iam.create_user(UserName=name)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return replace(there.aws, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])
