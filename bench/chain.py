"""The whole chain on the local AWS: seconds from a report on the bus to its Put, and locks a second.

The reference chain has the same hops: rule, queue, function, FIFO queue, function. Its handlers only log a line.
"""

import json
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from bench import Figures
from local import lifecycle
from local.deployment import Deployment
from local.up import operator, stack_name, up

LOGS_A_LINE = """
import json, time
def handler(event, context):
    print("LINE", event["Records"][0]["body"][:2000].encode().hex(), time.time())
    return {"batchItemFailures": []}
"""

CHANGE: dict[str, Any] = {
    "UpdateExpression": "SET #version = :version",
    "ExpressionAttributeNames": {"#version": "version"},
    "ExpressionAttributeValues": {":version": {"N": "1"}},
}


def measure(reports: int, burst: int) -> Figures:
    """Measure the median of single reports and the rate of a burst, on a local AWS of their own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        state = Path(directory)
        try:
            up(state)
            server = lifecycle.find(state)
            assert server is not None, "it was just started"
            there = Deployment.find(operator(server), stack_name(state))
            empty, bare, more = _Empty(there), _bare_calls(there), _protocols_calls(there)
            rounds = []
            for number in range(reports + 1):
                rounds.append((_ours(there, number), empty.seconds(number), _seconds(bare), _seconds(more)))
                while not there.is_idle():  # the tamper watch looks at the bare Put
                    time.sleep(0.05)
            del rounds[0]  # it found environments cold
            figures = {
                "warm_over_floor": statistics.median(took / (hops + six) for took, hops, six, _ in rounds),
                "warm_over_calls": statistics.median(took / (hops + six + four) for took, hops, six, four in rounds),
                "warm_ratio": statistics.median(took / hops for took, hops, _, _ in rounds),
                "warm_floor_ratio": statistics.median((hops + six) / hops for _, hops, six, _ in rounds),
                "warm_ms": statistics.median(took for took, _, _, _ in rounds) * 1000,
                "warm_empty_ms": statistics.median(hops for _, hops, _, _ in rounds) * 1000,
                "warm_bare_calls_ms": statistics.median(six for _, _, six, _ in rounds) * 1000,
                "warm_protocols_calls_ms": statistics.median(four for _, _, _, four in rounds) * 1000,
            }
            return figures | _burst(there, burst)
        finally:
            lifecycle.stop(state)


def _ours(there: Deployment, number: int) -> float:
    """Return the seconds from the event to the Put in the emulator's record."""
    device = f"WARM{number}"
    sent = time.time()
    there.publish("Device Lost", userId="bob", deviceId=device)
    while not (puts := there.calls(operation="PutMobileDeviceAccessOverride", device=device)):
        time.sleep(0.02)
        assert time.time() < sent + 60, f"{device} was not locked in a minute"
    return datetime.fromisoformat(puts[0]["time"]).timestamp() - sent


def _bare_calls(there: Deployment) -> list[Callable[[], Any]]:
    """Return a lock's six calls up to its Put, in the protocol's order, to be made without our functions.

    The calls look up the user, create the device's item, read the override, read the user's item, save the claim and
    write the override.
    """
    workmail, ledger = there.aws.client("workmail"), there.aws.client("dynamodb")
    one = {"OrganizationId": there.organization, "UserId": "bob", "DeviceId": "WARM0"}
    item = _item(there)
    return [
        partial(workmail.describe_user, OrganizationId=there.organization, UserId="bob"),
        partial(ledger.update_item, **item, **CHANGE),
        partial(workmail.get_mobile_device_access_override, **one),
        partial(ledger.get_item, **item, ConsistentRead=True),
        partial(ledger.update_item, **item, **CHANGE),
        partial(workmail.put_mobile_device_access_override, **one, Effect="DENY"),
    ]


def _protocols_calls(there: Deployment) -> list[Callable[[], Any]]:
    """Return the four that come before these: docs/performance-and-cost.md says what each is for.

    The router enqueues the command. The writer asks for a recorded outcome, counts the lock of its source, and asks
    whom the name meant before.
    """
    ledger, sqs, item = there.aws.client("dynamodb"), there.aws.client("sqs"), _item(there)
    queue = sqs.create_queue(
        QueueName="unread.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    )["QueueUrl"]
    entry = {"Id": "0", "MessageBody": "{}", "MessageGroupId": "unread"}
    return [
        partial(sqs.send_message_batch, QueueUrl=queue, Entries=[entry]),
        partial(ledger.get_item, **item, ConsistentRead=True),
        partial(ledger.update_item, **item, **CHANGE),
        partial(ledger.get_item, **item, ConsistentRead=True),
    ]


def _item(there: Deployment) -> dict[str, Any]:
    return {"TableName": there.outputs["LedgerTableName"], "Key": {"pk": {"S": "bench"}, "sk": {"S": "bench"}}}


def _seconds(calls: list[Callable[[], Any]]) -> float:
    started = time.perf_counter()
    for call in calls:
        call()
    return time.perf_counter() - started


def _burst(there: Deployment, reports: int) -> Figures:
    """Measure the rate of many reports at once, and what was lost. WorkMail has no limit here.

    The local AWS itself is the limit, at about 300 requests a second. A lock takes about fifteen of them.
    """
    started = time.monotonic()
    for first in range(0, reports, 10):
        devices = (f"CHAIN{number}" for number in range(first, min(first + 10, reports)))
        there.publish_all([("Device Lost", "helpdesk", {"userId": "bob", "deviceId": name}) for name in devices])
    while _denied(there) < reports:
        time.sleep(0.5)
        assert time.monotonic() < started + 300, f"{_denied(there)} of {reports} were locked in five minutes"
    return {
        "chain_locks_per_s": reports / (time.monotonic() - started),
        "chain_lost": reports - _denied(there),
        "chain_dead_lettered": sum(there.dead_letters().values()),
    }


def _denied(there: Deployment) -> int:
    return sum(row["DeviceId"].casefold().startswith("chain") and row["Effect"] == "DENY" for row in there.overrides())


class _Empty:
    """The reference chain. Each of its two hops is timed to a line in its function's log."""

    def __init__(self, there: Deployment) -> None:
        self._there = there
        sqs, events = there.aws.client("sqs"), there.aws.client("events")
        self._sqs, self._events = sqs, events
        reports = sqs.create_queue(QueueName="empty")["QueueUrl"]
        self._commands = sqs.create_queue(
            QueueName="empty.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        )["QueueUrl"]
        rule = {"Name": "empty", "EventPattern": json.dumps({"source": ["empty"]})}
        events.put_rule(**rule)
        events.put_targets(Rule="empty", Targets=[{"Id": "queue", "Arn": _arn(sqs, reports)}])
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": _arn(sqs, reports),
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=reports, Attributes={"Policy": policy})
        self._function("empty-router", _arn(sqs, reports))
        self._function("empty-writer", _arn(sqs, self._commands))

    def seconds(self, number: int) -> float:
        """Return the seconds from an event to the first function's line, plus those from a message to the second's."""
        total = 0.0
        for function in ("empty-router", "empty-writer"):
            sent = time.time()
            mark = f"mark-{number}-{function}"
            if function == "empty-router":
                entry = {"Source": "empty", "DetailType": "Empty", "Detail": json.dumps({"mark": mark})}
                self._events.put_events(Entries=[entry])
            else:
                body = json.dumps({"mark": mark})
                self._sqs.send_message(QueueUrl=self._commands, MessageBody=body, MessageGroupId="empty")
            total += self._logged(function, mark) - sent
        return total

    def _logged(self, function: str, mark: str) -> float:
        logs = self._there.aws.client("logs")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for event in logs.filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]:
                for line in event["message"].splitlines():
                    if line.startswith("LINE") and mark in bytes.fromhex(line.split()[1]).decode(errors="replace"):
                        return float(line.split()[2])
            time.sleep(0.05)
        raise AssertionError(f"{function} logged no {mark}")

    def _function(self, name: str, queue_arn: str) -> None:
        iam, functions = self._there.aws.client("iam"), self._there.aws.client("lambda")
        self._there.aws.client("logs").create_log_group(logGroupName=f"/aws/lambda/{name}")
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        allowed: dict[str, Any] = {"Effect": "Allow", "Action": ["sqs:*", "logs:*"], "Resource": "*"}
        iam.put_role_policy(
            RoleName=name,
            PolicyName="may",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
        )
        package = BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("function.py", LOGS_A_LINE)
        functions.create_function(
            FunctionName=name,
            Role=role,
            Runtime="python3.13",
            Handler="function.handler",
            Timeout=10,
            Code={"ZipFile": package.getvalue()},
        )
        functions.create_event_source_mapping(
            FunctionName=name,
            EventSourceArn=queue_arn,
            BatchSize=10,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )


def _arn(sqs: Any, url: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])
