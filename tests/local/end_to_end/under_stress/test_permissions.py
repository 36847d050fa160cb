"""The stack's roles are needed: without a permission, reports wait, and it is said in plain words why."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

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
    iam = deployment.aws.client("iam")
    iam.create_user(UserName="insider")
    everything = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_user_policy(UserName="insider", PolicyName="queues", PolicyDocument=policy)
    key = iam.create_access_key(UserName="insider")["AccessKey"]
    credentials = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
    insider = replace(deployment.aws, **credentials).client("sqs")
    for output in (name for name in deployment.outputs if name.endswith("QueueUrl")):
        url = deployment.outputs[output]
        fifo = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if url.endswith(".fifo") else {}
        with pytest.raises(ClientError, match="AccessDenied"):
            insider.send_message(QueueUrl=url, MessageBody="{}", **fifo)
        with pytest.raises(ClientError, match="AccessDenied"):
            insider.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "{}", **fifo}])
