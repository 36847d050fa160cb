"""One test for each repair of local/repairs.py; each fails on MiniStack as it comes."""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3
from botocore.exceptions import ClientError

from local.connection import Connection
from local.lifecycle import Server
from tests.local.observing import ACCOUNT, Queue, eventually, invoke

pytestmark = pytest.mark.local_aws


@pytest.mark.parametrize("key", ["test", ACCOUNT])
def test_only_its_own_key_is_the_root_user(aws: Connection, key: str) -> None:
    impostor = Connection(aws.endpoint, aws.ca, key, "test")
    with pytest.raises(ClientError, match="security token included in the request is invalid"):
        impostor.client("sqs").list_queues()


def test_sqs_batch_calls_need_the_single_call_permission(
    queue: Callable[..., Queue], user: Callable[..., Connection]
) -> None:
    target = queue()
    sender = user({"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": target.arn}).client("sqs")
    entries = [{"Id": str(n), "MessageBody": "x"} for n in range(2)]
    assert len(sender.send_message_batch(QueueUrl=target.url, Entries=entries)["Successful"]) == 2
    with pytest.raises(ClientError, match="sqs:DeleteMessage "):
        sender.delete_message_batch(QueueUrl=target.url, Entries=[{"Id": "0", "ReceiptHandle": "x"}])


def test_resources_of_requests_end_as_in_policies(aws: Connection, name: str, user: Callable[..., Connection]) -> None:
    template = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    mine = aws.client("cloudformation").create_stack(StackName=name, TemplateBody=template)["StackId"]
    reader = user({"Effect": "Allow", "Action": "cloudformation:GetTemplate", "Resource": mine}).client(
        "cloudformation"
    )
    assert "Queue" in str(reader.get_template(StackName=name)["TemplateBody"])
    aws.client("cloudformation").create_stack(StackName=f"{name}-other", TemplateBody=template)
    with pytest.raises(ClientError, match="cloudformation:GetTemplate"):
        reader.get_template(StackName=f"{name}-other")


def test_who_describes_a_bus_needs_the_permission_for_the_bus(
    aws: Connection, name: str, user: Callable[..., Connection]
) -> None:
    buses = [aws.client("events").create_event_bus(Name=f"{name}{end}")["EventBusArn"] for end in ("", "-other")]
    reader = user({"Effect": "Allow", "Action": "events:DescribeEventBus", "Resource": buses[0]}).client("events")
    assert reader.describe_event_bus(Name=name)["Arn"] == buses[0]
    with pytest.raises(ClientError, match="events:DescribeEventBus"):
        reader.describe_event_bus(Name=f"{name}-other")


@pytest.mark.parametrize("on_own_bus", [True, False])
def test_who_asks_for_a_rules_targets_needs_the_permission_for_the_rule(
    aws: Connection, name: str, user: Callable[..., Connection], on_own_bus: bool
) -> None:
    events, where = aws.client("events"), {"EventBusName": name} if on_own_bus else {}
    if on_own_bus:
        events.create_event_bus(Name=name)
    rules = [f"{name}{end}" for end in ("", "-other")]
    for rule in rules:
        events.put_rule(Name=rule, EventPattern='{"source":["x"]}', **where)
    arn = f"arn:aws:events:{aws.region}:{ACCOUNT}:rule/{f'{name}/' if on_own_bus else ''}{name}"
    reader = user({"Effect": "Allow", "Action": "events:ListTargetsByRule", "Resource": arn}).client("events")
    assert reader.list_targets_by_rule(Rule=name, **where)["Targets"] == []
    with pytest.raises(ClientError, match="events:ListTargetsByRule"):
        reader.list_targets_by_rule(Rule=rules[1], **where)


def test_conditions_know_the_sources_and_the_items_of_a_request(
    aws: Connection, name: str, user: Callable[..., Connection]
) -> None:
    aws.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    sources = {"ForAllValues:StringLike": {"events:source": ["webhook.*"]}, "Null": {"events:source": "false"}}
    keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["webhook#*"]}}
    sender = user(
        {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*", "Condition": sources},
        {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*", "Condition": keys},
    )
    events, table = sender.client("events"), sender.client("dynamodb")
    entry = {"DetailType": "x", "Detail": "{}"}
    events.put_events(Entries=[{**entry, "Source": "webhook.jamf"}])
    with pytest.raises(ClientError, match="events:PutEvents "):
        events.put_events(Entries=[{**entry, "Source": "webhook.jamf"}, {**entry, "Source": "helpdesk"}])
    table.put_item(TableName=name, Item={"pk": {"S": "webhook#jamf"}})
    with pytest.raises(ClientError, match="dynamodb:PutItem "):
        table.put_item(TableName=name, Item={"pk": {"S": "m-1"}})


def test_conditions_know_the_caller(
    aws: Connection, queue: Callable[..., Queue], user: Callable[..., Connection]
) -> None:
    target = queue()
    sender = user({"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": target.arn}).client("sqs")
    sender.send_message(QueueUrl=target.url, MessageBody="x")
    others = {
        "Bool": {"aws:PrincipalIsAWSService": "false"},
        "ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/x"},
    }
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:SendMessage",
        "Resource": target.arn,
        "Condition": others,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    aws.client("sqs").set_queue_attributes(QueueUrl=target.url, Attributes={"Policy": policy})
    with pytest.raises(ClientError, match="AccessDenied"):
        sender.send_message(QueueUrl=target.url, MessageBody="x")


def test_put_events_keeps_the_time_it_is_given(
    aws: Connection, name: str, queue: Callable[..., Queue], rule: Callable[..., None]
) -> None:
    target = queue()
    target.let_rules_send()
    rule({"Arn": target.arn})
    entry = {"Source": name, "DetailType": "Test", "Detail": "{}"}
    given = datetime(2020, 2, 29, 12, tzinfo=UTC)
    answer = aws.client("events").put_events(Entries=[{**entry, "Time": given}, entry])
    assert [*answer] == ["FailedEntryCount", "Entries", "ResponseMetadata"]
    events = [json.loads(target.receive()["Body"]) for _ in answer["Entries"]]
    assert [event["id"] for event in events] == [entry["EventId"] for entry in answer["Entries"]]
    assert events[0]["time"] == "2020-02-29T12:00:00Z"
    assert abs(datetime.fromisoformat(events[1]["time"]) - datetime.now(UTC)).total_seconds() < 10


@pytest.mark.parametrize("may", [True, False])
def test_rules_put_events_on_buses_of_other_regions_if_the_role_may(
    aws: Connection,
    queue: Callable[..., Queue],
    rule: Callable[..., None],
    put_event: Callable[..., None],
    name: str,
    may: bool,
) -> None:
    elsewhere = replace(aws, region="us-east-1")
    bus = elsewhere.client("events").create_event_bus(Name=name)["EventBusArn"]
    arrived = Queue(elsewhere, name, {})
    arrived.arn = arrived.arn.replace("eu-west-1", "us-east-1")
    arrived.let_rules_send()
    there = {"Name": name, "EventBusName": name}
    elsewhere.client("events").put_rule(**there, EventPattern=json.dumps({"source": [name]}))
    elsewhere.client("events").put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "queue", "Arn": arrived.arn}])
    allow = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": bus if may else f"{bus}-other"}
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "*"}]}
    role = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    aws.client("iam").put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=policy)
    dead_letters = queue("-dlq")
    dead_letters.let_rules_send()
    rule({"Arn": bus, "RoleArn": role, "DeadLetterConfig": {"Arn": dead_letters.arn}})
    put_event({"number": 7})
    message = (arrived if may else dead_letters).receive()
    assert json.loads(message["Body"])["detail"] == {"number": 7}


def test_cloudformation_gives_a_bus_its_policy(aws: Connection, name: str) -> None:
    deny = {"Sid": "No", "Effect": "Deny", "Principal": "*", "Action": "events:PutEvents", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [deny]}
    bus = {"Type": "AWS::Events::EventBus", "Properties": {"Name": name, "Policy": policy}}
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Bus": bus}}))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert json.loads(aws.client("events").describe_event_bus(Name=name)["Policy"]) == policy


@pytest.mark.parametrize(("exists", "code"), [(True, "NO_PERMISSIONS"), (False, "RESOURCE_NOT_FOUND")])
def test_rules_need_permission_and_have_dead_letter_queues(
    queue: Callable[..., Queue],
    rule: Callable[..., None],
    put_event: Callable[..., None],
    name: str,
    exists: bool,
    code: str,
) -> None:
    dead_letters = queue("-dlq")
    dead_letters.let_rules_send()
    target = queue() if exists else None
    rule({"Arn": f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{name}", "DeadLetterConfig": {"Arn": dead_letters.arn}})
    put_event({"number": 7})
    message = dead_letters.receive()
    assert json.loads(message["Body"])["detail"] == {"number": 7}
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == code
    assert message["MessageAttributes"]["RULE_ARN"]["StringValue"].endswith(f":rule/{name}")
    if target is not None:
        target.let_rules_send()
        put_event({"number": 8})
        assert json.loads(target.receive()["Body"])["detail"] == {"number": 8}


def test_schedules_put_events(
    aws: Connection, queue: Callable[..., Queue], rule: Callable[..., None], name: str
) -> None:
    target = queue()
    target.let_rules_send()
    policy = json.loads(
        aws.client("sqs").get_queue_attributes(QueueUrl=target.url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    )
    tls = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": target.arn}
    policy["Statement"].append(tls | {"Condition": {"Bool": {"aws:SecureTransport": "false"}}})
    aws.client("sqs").set_queue_attributes(QueueUrl=target.url, Attributes={"Policy": json.dumps(policy)})
    rule({"Arn": target.arn})
    bus = f"arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/default"
    allow = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": bus}
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "*"}]}
    role = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    aws.client("iam").put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=policy)
    now = datetime.now(UTC)
    aws.client("scheduler").create_schedule(
        Name=f"{name}-schedule",
        ScheduleExpression=f"at({now:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": bus,
            "RoleArn": role,
            "EventBridgeParameters": {"Source": name, "DetailType": "Drill"},
            "Input": json.dumps({"at": "<aws.scheduler.scheduled-time>"}),
        },
    )
    event = json.loads(target.receive()["Body"])
    assert (event["source"], event["detail-type"]) == (name, "Drill")
    assert abs(datetime.fromisoformat(event["detail"]["at"]) - now).total_seconds() < 30


def test_cloudtrail_looks_up_what_it_tells(aws: Connection, name: str, user: Callable[..., Connection]) -> None:
    put = "PutMobileDeviceAccessOverride"
    may = {"Effect": "Allow", "Action": [f"workmail:{put}", "cloudtrail:LookupEvents"], "Resource": "*"}
    somebody = user(may)
    assert aws.client("events").describe_event_bus()["Name"] == "default", "MiniStack makes it with its first use"
    began, words = datetime.now(UTC) - timedelta(seconds=1), {"OrganizationId": f"m-{0:032}", "UserId": name}
    for number in range(51):
        with pytest.raises(ClientError, match="OrganizationNotFound"):
            somebody.client("workmail").put_mobile_device_access_override(**words, DeviceId=f"D{number}", Effect="DENY")
    asked = {"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": put}], "StartTime": began}
    pages = [*somebody.client("cloudtrail").get_paginator("lookup_events").paginate(**asked)]
    calls = [json.loads(event["CloudTrailEvent"]) for page in pages for event in page["Events"]]
    mine = [call for call in calls if call["requestParameters"]["userId"] == name]
    assert [call["requestParameters"]["deviceId"] for call in mine] == [f"D{number}" for number in range(51)][::-1]
    assert {call["userIdentity"]["arn"] for call in mine} == {f"arn:aws:iam::{ACCOUNT}:user/{name}"}
    assert len(pages) > 1


def test_targets_invoke_functions_asynchronously(
    function: Callable[..., str],
    queue: Callable[..., Queue],
    rule: Callable[..., None],
    put_event: Callable[..., None],
) -> None:
    dead_letters = queue()
    source = "def handler(event, context):\n    raise RuntimeError('always')\n"
    rule({"Arn": function(source, DeadLetterConfig={"TargetArn": dead_letters.arn})})
    put_event({"number": 7})
    failure = json.loads(dead_letters.receive()["Body"])
    assert failure["requestPayload"]["detail"] == {"number": 7}
    assert failure["requestContext"]["approximateInvokeCount"] == 3


def test_function_urls_of_type_none_need_no_signature(aws: Connection, name: str, function: Callable[..., str]) -> None:
    function("def handler(event, context):\n    return event['rawPath']\n")
    functions = aws.client("lambda")
    url = functions.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]

    def call() -> tuple[int, bytes]:
        pool = urllib3.PoolManager(ca_certs=str(aws.ca))
        headers = {"host": urlsplit(url).netloc}
        answer = pool.request("POST", f"{aws.endpoint}/who", headers=headers, retries=False)
        return answer.status, answer.data

    assert call()[0] == 403
    everybody = {"Principal": "*", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"}
    functions.add_permission(FunctionName=name, StatementId="everybody", **everybody)
    assert call() == (200, b"/who")
    functions.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    assert call()[0] == 403


def test_cloudformation_enables_time_to_live_and_recovery(aws: Connection, name: str) -> None:
    def template(attribute: str, recovery: bool) -> str:
        key = {"AttributeName": "pk", "AttributeType": "S"}
        properties = {
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [key],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "TimeToLiveSpecification": {"AttributeName": attribute, "Enabled": True},
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": recovery},
        }
        return json.dumps({"Resources": {"Table": {"Type": "AWS::DynamoDB::Table", "Properties": properties}}})

    def settings() -> tuple[str, str]:
        table = aws.client("dynamodb")
        expiry = table.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        backups = table.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        recovery = backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
        assert expiry["TimeToLiveStatus"] == "ENABLED"
        return expiry["AttributeName"], recovery

    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName=name, TemplateBody=template("expires", recovery=True))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert settings() == ("expires", "ENABLED")
    cloudformation.update_stack(StackName=name, TemplateBody=template("until", recovery=False))
    cloudformation.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert settings() == ("until", "DISABLED")


def test_rules_on_partner_buses_have_tags(aws: Connection, name: str) -> None:
    events, bus = aws.client("events"), f"aws.partner/okta.com/acme/{name}"
    events.create_event_bus(Name=bus, EventSourceName=bus)
    arn = events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps({"source": ["x"]}))["RuleArn"]
    events.tag_resource(ResourceARN=arn, Tags=[{"Key": "a", "Value": "b"}])
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "a", "Value": "b"}]


def test_standard_queues_are_fair(aws: Connection, name: str, queue: Callable[..., Queue]) -> None:
    target, events = queue(), aws.client("events")
    target.let_rules_send()
    for source in ("loud", "quiet"):
        rule = f"{name}-{source}"
        events.put_rule(Name=rule, EventPattern=json.dumps({"source": [f"{name}.{source}"]}))
        to = {"Id": "queue", "Arn": target.arn, "SqsParameters": {"MessageGroupId": source}}
        events.put_targets(Rule=rule, Targets=[to])
    for source in ("loud", "loud", "loud", "quiet"):
        events.put_events(Entries=[{"Source": f"{name}.{source}", "DetailType": "x", "Detail": "{}"}])
    attributes = ["ApproximateNumberOfMessages"]
    eventually(
        lambda: (
            target.client.get_queue_attributes(QueueUrl=target.url, AttributeNames=attributes)["Attributes"]
            == {attributes[0]: "4"}
        )
    )
    received = [target.client.receive_message(QueueUrl=target.url)["Messages"][0]["Body"] for _ in range(4)]
    assert [json.loads(body)["source"].rpartition(".")[2] for body in received] == ["loud", "quiet", "loud", "loud"]


def test_fifo_groups_are_processed_in_parallel(
    aws: Connection, name: str, function: Callable[..., str], tmp_path: Path
) -> None:
    source = f"""
import time, pathlib
def handler(event, context):
    for record in event["Records"]:
        began = time.time()
        time.sleep(0.5)
        line = " ".join([record["attributes"]["MessageGroupId"], record["body"], str(began), str(time.time())])
        with pathlib.Path({str(tmp_path / "log")!r}).open("a") as log:
            print(line, file=log)
"""
    groups, each = 4, 3
    target = Queue(aws, f"{name}.fifo", {"FifoQueue": "true", "VisibilityTimeout": "60"})
    for number in range(each):
        for group in range(groups):
            target.client.send_message(
                QueueUrl=target.url,
                MessageBody=str(number),
                MessageGroupId=f"g{group}",
                MessageDeduplicationId=f"{number}-{group}",
            )
    aws.client("lambda").create_event_source_mapping(
        EventSourceArn=target.arn,
        FunctionName=function(source),
        BatchSize=1,
        ScalingConfig={"MaximumConcurrency": groups},
    )
    log = tmp_path / "log"
    eventually(lambda: log.exists() and len(log.read_text().splitlines()) == groups * each)
    runs = [line.split() for line in log.read_text().splitlines()]
    by_group = {group: [run for run in runs if run[0] == group] for group in {run[0] for run in runs}}
    for in_group in by_group.values():
        assert [run[1] for run in in_group] == ["0", "1", "2"]
        assert all(float(earlier[3]) <= float(later[2]) for earlier, later in itertools.pairwise(in_group))
    starts, ends = sorted(float(run[2]) for run in runs), sorted(float(run[3]) for run in runs)
    at_once = max(sum(s <= t for s in starts) - sum(e <= t for e in ends) for t in starts)
    assert 2 <= at_once <= groups


def send_after(aws: Connection, target: Queue, calls: int) -> None:
    sender = aws.client("sqs")
    sender.meta.events.register(
        "before-call.sqs.SendMessage",
        lambda params, **_: params["headers"].update({"X-Ministack-Invoke-Depth": str(calls)}),
    )
    sender.send_message(QueueUrl=target.url, MessageBody=f"call {calls + 1}")


def test_chains_through_queues_are_counted(
    aws: Connection, name: str, function: Callable[..., str], queue: Callable[..., Queue], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    target = queue(VisibilityTimeout="1")
    arn = function(f"""
def handler(event, context):
    with open({str(log)!r}, "a") as log:
        log.writelines(record["body"] + "\\n" for record in event["Records"])
""")
    aws.client("lambda").create_event_source_mapping(EventSourceArn=target.arn, FunctionName=arn)

    send_after(aws, target, 15)
    eventually(lambda: log.exists() and log.read_text() == "call 16\n")
    send_after(aws, target, 16)
    eventually(lambda: measured(aws, "RecursiveInvocationsDropped", name) >= 2)
    assert log.read_text() == "call 16\n"
    aws.client("lambda").put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    eventually(lambda: log.read_text() == "call 16\ncall 17\n")


def test_the_longest_chain_of_a_batch_counts_for_all_of_it(
    aws: Connection, name: str, function: Callable[..., str], queue: Callable[..., Queue]
) -> None:
    target = queue(VisibilityTimeout="1")
    arn = function("def handler(event, context):\n    return None\n")
    for calls in (0, 16):
        send_after(aws, target, calls)
    aws.client("lambda").create_event_source_mapping(EventSourceArn=target.arn, FunctionName=arn, BatchSize=10)
    eventually(lambda: measured(aws, "RecursiveInvocationsDropped", name) >= 2)
    assert measured(aws, "Invocations", name) == 0


def measured(aws: Connection, metric: str, function: str) -> float:
    """The sum of a metric of Lambda's."""
    now = datetime.now(UTC)
    points = aws.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=metric,
        Dimensions=[{"Name": "FunctionName", "Value": function}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in points)


def test_batches_of_a_queue_are_measured_and_an_alarm_watches_its_own_function(
    aws: Connection, name: str, function: Callable[..., str], queue: Callable[..., Queue]
) -> None:
    target = queue()
    alarms = aws.client("cloudwatch")
    for watched in (name, f"{name}-other"):
        alarms.put_metric_alarm(
            AlarmName=watched,
            Namespace="AWS/Lambda",
            MetricName="Errors",
            Dimensions=[{"Name": "FunctionName", "Value": watched}],
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
        )
    arn = function("def handler(event, context):\n    raise ValueError('asked to')")
    aws.client("lambda").create_event_source_mapping(EventSourceArn=target.arn, FunctionName=arn)
    target.client.send_message(QueueUrl=target.url, MessageBody="x")

    def state(alarm: str) -> str:
        return str(alarms.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"])

    eventually(lambda: state(name) == "ALARM")
    assert measured(aws, "Errors", name) == 1
    assert state(f"{name}-other") != "ALARM"


def test_a_function_without_executions_is_tried_and_throttled(
    aws: Connection, name: str, function: Callable[..., str], queue: Callable[..., Queue]
) -> None:
    """It is the other half of `fifo_groups_are_processed_in_parallel`."""
    target = queue()
    arn = function("def handler(event, context):\n    pass")
    aws.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    aws.client("lambda").create_event_source_mapping(EventSourceArn=target.arn, FunctionName=arn)
    target.client.send_message(QueueUrl=target.url, MessageBody="x")
    eventually(lambda: measured(aws, "Throttles", name) >= 1)
    assert measured(aws, "Errors", name) == 0


def test_exceptions_leave_the_environment_running(aws: Connection, name: str, function: Callable[..., str]) -> None:
    function("""
calls = 0
def handler(event, context):
    global calls
    calls += 1
    if event == "raise":
        raise ValueError("asked to")
    return calls
""")
    assert invoke(aws, name) == 1
    assert invoke(aws, name, "raise")["errorMessage"] == "asked to"
    assert invoke(aws, name) == 3


def test_functions_see_only_their_own_package(aws: Connection, name: str, function: Callable[..., str]) -> None:
    function("""
import importlib.util
def handler(event, context):
    return [module for module in ("ministack", "botocore", "yaml", "function") if importlib.util.find_spec(module)]
""")
    assert invoke(aws, name) == ["function"]


def test_environments_share_one_unpacked_package(
    aws: Connection, name: str, function: Callable[..., str], server: Server
) -> None:
    function("import os, time\ndef handler(e, c):\n    time.sleep(0.2)\n    return os.path.realpath(__file__)\n")
    status, text = aws.control("POST", f"/_local/environments?function={name}&count=3")
    assert (status, text) == (200, "")
    directories = [*server.state.glob(f"tmp-*/ministack-lambda-{name}-*/code")]
    assert len(directories) == 3
    assert {directory.resolve() / "function.py" for directory in directories} == {Path(invoke(aws, name))}


def test_the_documentation_has_every_repair() -> None:
    root = Path(__file__).parent.parent.parent
    source = (root / "local" / "repairs.py").read_text(encoding="utf-8")
    applied = re.findall(r"^    (\w+)\((?:lambda_python)?\)$", source.partition("def only_")[0], re.MULTILINE)
    table = (
        (root / "docs" / "local-aws.md").read_text(encoding="utf-8").partition("## Repairs")[2].partition("\n## ")[0]
    )
    told = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert told == applied
