"""A function that can't run says nothing itself. Somebody hears of it all the same, whatever the cause."""

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from local.account import ACCOUNT, REGION
from local.deployment import Deployment
from tests.local.end_to_end.under_stress.test_many_devices import effects, remember
from tests.local.end_to_end.watching import new_device, new_users, seen

TEN_MINUTES = 600


class Pager:
    """A queue that gets the notices, as a person would."""

    def __init__(self, there: Deployment) -> None:
        name = f"pager-{token_hex(4)}"
        self._there = there
        may_send = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [{**may_send, "Resource": "*"}]})
        self._url = there.sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
        self._sns = there.aws.client("sns")
        self._subscription = self._sns.subscribe(
            TopicArn=there.outputs["NoticesTopicArn"],
            Protocol="sqs",
            Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        self._heard: list[str] = []

    def heard(self, alarm: str) -> str | None:
        """The notice of an alarm, once it came."""
        messages = self._there.sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", [])
        self._heard += [json.loads(message["Body"])["Message"] for message in messages]
        over = re.compile(r'"NewStateValue": ?"OK"')
        return next((notice for notice in self._heard if alarm in notice and not over.search(notice)), None)

    def close(self) -> None:
        self._sns.unsubscribe(SubscriptionArn=self._subscription)
        self._there.sqs.delete_queue(QueueUrl=self._url)


@pytest.fixture
def pager(deployment: Deployment) -> Iterator[Pager]:
    made = Pager(deployment)
    yield made
    made.close()


def test_a_page_is_a_mail_of_several_lines_that_a_person_can_act_on(
    deployment: Deployment, mail: Callable[[], list[str]]
) -> None:
    there, device = deployment, new_device()
    event = there.publish("Device Lost", userId="nobody", deviceId=device, reference='INC "7" \\').event_id
    notice = seen(there, "a notice", lambda: next((each for each in mail() if f"event {event}" in each), None))
    subject, message, _, do, command, _, rest = notice.splitlines()
    assert subject == f'act now: A report was rejected, INC "7" \\ {device} nobody'
    assert message.startswith(f"Device {device} of nobody was not changed: the report was rejected: ")
    assert message.endswith(f"(event {event} from helpdesk, INC '7' /)")
    assert do.startswith("Do: Correct the report")
    assert command == f"Type: lockout lock nobody {device} --ref TICKET"
    assert rest.startswith(f"Lockout Rejected, event {event}, 20")


def alarm_on(there: Deployment, metric: str, function: str) -> dict[str, Any]:
    """The alarm on a metric of Lambda's, silent again."""
    cloudwatch = there.aws.client("cloudwatch")
    pages = cloudwatch.get_paginator("describe_alarms").paginate()
    dimension = {"Name": "FunctionName", "Value": there.outputs[function]}
    (alarm,) = (
        alarm
        for page in pages
        for alarm in page["MetricAlarms"]
        if (alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"]) == ("AWS/Lambda", metric, [dimension])
    )
    cloudwatch.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="OK", StateReason="a test begins")
    return dict(alarm)


@contextmanager
def changed(there: Deployment, **settings: Any) -> Iterator[None]:
    """The router with another configuration."""
    name = there.outputs["RouteEventsFunctionName"]
    now = there.functions.get_function_configuration(FunctionName=name)
    before = {key: now[key] for key in settings}
    there.functions.update_function_configuration(FunctionName=name, **settings)
    try:
        yield
    finally:
        there.functions.update_function_configuration(FunctionName=name, **before)


@contextmanager
def a_broken_package(there: Deployment) -> Iterator[None]:
    with changed(there, Handler="missing.handler"):
        yield


@contextmanager
def a_missing_variable(there: Deployment) -> Iterator[None]:
    name = there.outputs["RouteEventsFunctionName"]
    now = there.functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    with changed(there, Environment={"Variables": {k: v for k, v in now.items() if k != "COMMANDS_QUEUE_URL"}}):
        yield


@contextmanager
def a_time_out(there: Deployment) -> Iterator[None]:
    hold = {"kind": "hold", "target": "AmazonSQS.SendMessageBatch"}
    there.control("PUT", "settings", {"faults": {"queue": hold}})
    try:
        with changed(there, Timeout=2):
            yield
    finally:
        there.control("PUT", "settings", {"faults": {"queue": None}})


@contextmanager
def no_execution_left(there: Deployment) -> Iterator[None]:
    name = there.outputs["RouteEventsFunctionName"]
    there.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        yield
    finally:
        there.functions.delete_function_concurrency(FunctionName=name)


@pytest.mark.parametrize(
    ("cause", "metric"),
    [
        (a_broken_package, "Errors"),
        (a_missing_variable, "Errors"),
        (a_time_out, "Errors"),
        (no_execution_left, "Throttles"),
    ],
)
def test_somebody_hears_within_ten_minutes_that_a_function_can_not_run(
    deployment: Deployment, pager: Pager, cause: Callable[[Deployment], Any], metric: str
) -> None:
    there, device = deployment, new_device()
    (user,) = new_users(there, 1)
    alarm = alarm_on(there, metric, "RouteEventsFunctionName")
    assert alarm["Period"] * alarm["EvaluationPeriods"] < TEN_MINUTES, "the local AWS doesn't wait for the period's end"
    with cause(there):
        there.publish("Device Lost", userId=user, deviceId=device)
        notice = seen(there, f"a notice of {metric}", lambda: pager.heard(alarm["AlarmName"]))
    assert "route_events. What it was to do waits." in notice
    assert there.override(user, device) is None
    assert there.queued("ReportsQueueUrl") == 1, "the report is not lost"
    assert there.dead_letters() == {}
    there.sqs.purge_queue(QueueUrl=there.outputs["ReportsQueueUrl"])  # it would come back after three minutes


DEVICES, PORTION = 60, 3
"""A chain of more than sixteen runs, as of 3,400 devices in portions of 200."""


@contextmanager
def small_portions(there: Deployment, state: Path) -> Iterator[None]:
    """The writer with a package that sends commands to a few devices at a time."""
    writer = there.outputs["ApplyCommandsFunctionName"]
    (package,) = (state / "cdk.out").glob("asset.*.zip")
    module, patched = "device_lockout/protocol/fan_out", BytesIO()
    with zipfile.ZipFile(package) as whole, zipfile.ZipFile(patched, "w", zipfile.ZIP_DEFLATED) as changed:
        for name in whole.namelist():
            content = whole.read(name)
            if name == f"{module}.py":
                content = content.replace(b"PORTION = 200", f"PORTION = {PORTION}".encode())
                assert content != whole.read(name)
            if "/fan_out.cpython" not in name:
                changed.writestr(name, content)
    there.functions.update_function_code(FunctionName=writer, ZipFile=patched.getvalue())
    try:
        yield
    finally:
        there.functions.update_function_code(FunctionName=writer, ZipFile=package.read_bytes())


@pytest.mark.parametrize("allowed", [True, False])
def test_a_user_with_many_devices_is_locked_whole_since_the_writer_may_call_itself_and_else_somebody_hears(
    deployment: Deployment, state: Path, pager: Pager, allowed: bool
) -> None:
    there = deployment
    (user,) = new_users(there, 1)
    user_id = there.workmail.describe_user(OrganizationId=there.organization, UserId=user)["UserId"]
    remember(there, user_id, [f"{new_device()}{number:03}" for number in range(DEVICES)])
    writer = there.outputs["ApplyCommandsFunctionName"]
    assert there.functions.get_function_recursion_config(FunctionName=writer)["RecursiveLoop"] == "Allow"
    alarm = alarm_on(there, "RecursiveInvocationsDropped", "ApplyCommandsFunctionName")
    with small_portions(there, state):
        if not allowed:
            there.functions.put_function_recursion_config(FunctionName=writer, RecursiveLoop="Terminate")
        try:
            there.publish("User Compromised", "siem", userId=user)
            if not allowed:
                notice = seen(there, "a notice of the dropped call", lambda: pager.heard(alarm["AlarmName"]))
                assert "Lambda cut a chain of commands off" in notice
        finally:
            there.functions.put_function_recursion_config(FunctionName=writer, RecursiveLoop="Allow")
        seen(there, "all are locked", lambda: effects(there, user_id)["DENY"] == DEVICES)
        seen(there, "all is worked off", there.is_idle)
    assert pager.heard(alarm["AlarmName"]) is None or not allowed
    assert there.dead_letters() == {}
