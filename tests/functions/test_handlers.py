"""The Lambda functions, from Lambda's event to the requests that reach AWS, and their logs.

None of our code is replaced. Settings are a file, and resources are named in the environment. AWS answers from memory,
below botocore.
"""

# ruff: noqa: ARG002, N802 (operations have AWS's names, and take what AWS's take)

import importlib
import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import botocore.loaders
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ReadTimeoutError

from device_lockout import wiring
from device_lockout.values import settings
from device_lockout.values.command import Lock, Reassert, Reject, Target, claim_id, group_id
from device_lockout.values.errors import SettingsError
from device_lockout.values.outcome import DRILL
from device_lockout.values.record import Claim
from device_lockout.values.wire import dump, load
from local.in_memory import BOB, DEVICE, ORGANIZATION, SETTINGS, cause
from tests.functions.aws.fake_dynamodb import FakeDynamoDB

HANDLERS = ["route_events", "apply_commands", "sweep_overrides"]
ENVIRONMENT = {
    "POWERTOOLS_METRICS_NAMESPACE": "DeviceLockout",
    "COMMANDS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/commands.fifo",
    "DEAD_COMMANDS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/000000000000/dead-commands.fifo",
    "LEDGER_TABLE": "ledger",
    "LOCKOUT_EVENT_BUS": "device-security",
}
NOW = datetime.now(UTC).replace(microsecond=0)

COUNTS_COLLECTIONS = """
import gc
seen = []
gc.callbacks.append(lambda phase, info: seen.append(phase))
import {handler}, boto3
print(seen.count("stop"))
"""
SERVICES = (f"tests-{number}" for number in itertools.count())
"""Powertools keeps one logger for each service, with the standard output of the first test."""
LOADER = botocore.loaders.create_loader()
"""Loads the services' models once for all tests."""

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


class FakeAWS:
    """Four services of AWS in memory, below botocore.

    ``refuse`` maps an operation to the status and the code of an error. Its value can be a function that returns these,
    or None, for an input.
    """

    def __init__(self):
        self.calls = []
        self.refuse = {}
        self.sent = []
        self.queues = set()
        self.postponed = {}
        self.announced = []
        self.table = FakeDynamoDB()
        self.overrides = {}

    def reply(self, request, **_):
        operation = request.headers["X-Amz-Target"].decode().split(".")[-1]
        asked = json.loads(request.body)
        self.calls.append(operation)
        refused = self.refuse.get(operation)
        refused = refused(asked) if callable(refused) else refused
        if refused:
            return self._answer(request, refused[0], {"__type": refused[1], "message": f"no {operation} for you"})
        try:
            return self._answer(request, 200, getattr(self, operation)(asked))
        except ClientError as error:
            return self._answer(
                request, 400, {"__type": error.response["Error"]["Code"], "Item": error.response.get("Item")}
            )

    def _answer(self, request, status, body):
        date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        answer = AWSResponse(request.url, status, {"Date": date, "Content-Type": "application/x-amz-json-1.0"}, None)
        answer._content = json.dumps(body).encode()
        return answer

    def SendMessageBatch(self, asked):
        self.queues.add(asked["QueueUrl"])
        self.sent += asked["Entries"]
        return {"Successful": [{"Id": one["Id"], "MessageId": "m", "MD5OfMessageBody": ""} for one in asked["Entries"]]}

    def ChangeMessageVisibility(self, asked):
        self.postponed[asked["ReceiptHandle"]] = asked["VisibilityTimeout"]
        return {}

    def GetQueueAttributes(self, asked):
        return {"Attributes": {asked["AttributeNames"][0]: "0"}}

    def PutEvents(self, asked):
        self.announced += [json.loads(entry["Detail"]) for entry in asked["Entries"]]
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]}

    def GetItem(self, asked):
        return self.table.get_item(**asked)

    def PutItem(self, asked):
        return self.table.put_item(**asked)

    def UpdateItem(self, asked):
        return self.table.update_item(**asked)

    def DescribeTable(self, asked):
        return self.table.describe_table(**asked)

    def Query(self, asked):
        return self.table.query(**asked)

    def DescribeUser(self, asked):
        return {"UserId": BOB, "Name": "bob"}

    def GetMobileDeviceAccessOverride(self, asked):
        found = self.overrides.get(asked["DeviceId"].casefold())
        if found is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "Get")
        return found

    def PutMobileDeviceAccessOverride(self, asked):
        self.overrides[asked["DeviceId"].casefold()] = {
            key: asked[key] for key in ("UserId", "DeviceId", "Effect", "Description")
        }
        return {}

    def ListMobileDeviceAccessOverrides(self, asked):
        return {"Overrides": list(self.overrides.values())}


class Context:
    """What Lambda tells a function of its invocation."""

    function_name = "tests"
    function_version = "$LATEST"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:000000000000:function:tests"
    aws_request_id = "request-1"

    def __init__(self, seconds_left=900.0):
        self.seconds_left = seconds_left

    def get_remaining_time_in_millis(self):
        return int(self.seconds_left * 1000)


@pytest.fixture
def aws_in_memory(aws, monkeypatch):  # noqa: ARG001 (what boto3 asks of the environment)
    fake = FakeAWS()
    session = boto3.Session()
    session._session.register_component("data_loader", LOADER)
    session.events.register("before-send.*", fake.reply)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    return fake


def forget_clients():
    for made in vars(wiring).values():
        if hasattr(made, "cache_clear"):
            made.cache_clear()


@pytest.fixture
def deployed(aws_in_memory, monkeypatch, tmp_path):  # noqa: ARG001
    """The functions as in a deployment, each freshly imported: ``deployed("route_events")``."""
    (tmp_path / "settings.json").write_text(settings.dump(SETTINGS), encoding="utf-8")
    monkeypatch.setattr(wiring, "PACKAGE", tmp_path)
    forget_clients()
    for name, value in {**ENVIRONMENT, "POWERTOOLS_SERVICE_NAME": next(SERVICES)}.items():
        monkeypatch.setenv(name, value)

    def load_module(name):
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    yield load_module
    forget_clients()


def record(number, body, group="", receives=1, sent=NOW):
    return {
        "messageId": f"message-{number}",
        "receiptHandle": f"receipt-{number}",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(receives),
            "SentTimestamp": str(int(sent.timestamp() * 1000)),
            **({"MessageGroupId": group, "SequenceNumber": str(number)} if group else {}),
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "awsRegion": "eu-west-1",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:queue",
    }


def failed(response):
    return [item["itemIdentifier"] for item in response["batchItemFailures"]]


# The router.


def report(number=0, **changes):
    detail = {"userId": "bob", "deviceId": f"{DEVICE}{number}", **changes}
    return json.dumps(
        {
            "id": f"event-{number}",
            "source": "helpdesk",
            "detail-type": "Device Lost",
            "time": "2099-01-01T00:00:00Z",
            "detail": detail,
        }
    )


def test_each_event_of_a_batch_becomes_a_command_a_bad_one_its_rejection(deployed, aws_in_memory):
    batch = {"Records": [record(0, report(0)), record(1, "lost my phone"), record(2, report(2, userId="Bob Smith"))]}
    response = deployed("route_events").handler(batch, Context())
    assert failed(response) == []
    commands = {(command := load(entry["MessageBody"])).cause.event_id: command for entry in aws_in_memory.sent}
    assert isinstance(commands["event-0"], Lock)
    assert isinstance(commands["message-1"], Reject)
    assert 'detail.userId is "Bob Smith"' in commands["event-2"].because


def test_an_event_happened_no_later_than_the_queue_received_it(deployed, aws_in_memory):
    deployed("route_events").handler({"Records": [record(0, report(0))]}, Context())
    assert load(aws_in_memory.sent[0]["MessageBody"]).cause.happened == NOW


def test_only_the_event_that_could_not_be_sent_on_comes_back_and_the_log_says_why(deployed, aws_in_memory, capsys):
    def refuse(asked):
        return (403, "AccessDenied") if f"{DEVICE}1" in asked["Entries"][0]["MessageBody"] else None

    aws_in_memory.refuse["SendMessageBatch"] = refuse
    half_an_hour_ago = datetime.now(UTC) - timedelta(minutes=30)
    batch = {"Records": [record(number, report(number), sent=half_an_hour_ago) for number in range(3)]}
    assert failed(deployed("route_events").handler(batch, Context())) == ["message-1"]
    assert len(aws_in_memory.sent) == 2
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [warning] = [line for line in logged if line.get("level") == "WARNING"]
    assert "AccessDenied" in warning["message"]
    assert warning["message_id"] == "message-1"
    [metrics] = [line for line in logged if "_aws" in line]
    assert 1800 <= metrics["FailingFor"][0] < 1860


def test_an_event_that_is_not_meant_is_counted_and_no_command_is(deployed, aws_in_memory, capsys, tmp_path):
    mapping = settings.EventMapping("lock-user", "lost", {"user": "detail.user"}, when="detail.meant")
    picky = settings.Source("picky", frozenset({"lock"}), mapping)
    (tmp_path / "settings.json").write_text(settings.dump(replace(SETTINGS, sources=(picky,))), encoding="utf-8")
    events = [{"id": f"event-{meant}", "detail": {"user": "bob", "meant": meant}} for meant in (False, True, None)]
    bodies = [json.dumps({"mappedSource": "picky", "event": event}) for event in events]
    batch = {"Records": [record(number, body) for number, body in enumerate(bodies)]}
    assert failed(deployed("route_events").handler(batch, Context())) == []
    [metrics] = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "_aws" in line]
    assert (metrics["NotMeant"], metrics["RoutedLock"], len(aws_in_memory.sent)) == ([1.0, 1.0], [1.0], 1)


def test_the_router_touches_nothing_but_the_queue(deployed, aws_in_memory):
    deployed("route_events").handler({"Records": [record(0, report(0))]}, Context())
    assert set(aws_in_memory.calls) == {"SendMessageBatch"}


def test_a_floods_locks_are_sent_to_a_group_of_their_own(deployed, aws_in_memory, tmp_path):
    few = replace(SETTINGS, sources=tuple(replace(source, locks_per_hour=3) for source in SETTINGS.sources))
    (tmp_path / "settings.json").write_text(settings.dump(few), encoding="utf-8")
    router = deployed("route_events")
    for number in range(5):
        assert failed(router.handler({"Records": [record(number, report(number))]}, Context())) == []
    groups = [entry["MessageGroupId"] for entry in aws_in_memory.sent]
    assert groups == [
        *(group_id(load(entry["MessageBody"])) for entry in aws_in_memory.sent[:3]),
        *["flood#helpdesk#lock"] * 2,
    ]


# The writer.


def lock(number, device=DEVICE, when=NOW):
    claim = Claim(claim_id(f"event-{number}"), "device", "lost", when, NOW + timedelta(days=30), source="helpdesk")
    told = replace(cause(f"event-{number}", when), detail_type="Device Lost")
    return Lock(told, Target(ORGANIZATION, "bob", device), claim)


def commands_batch(*commands, receives=1):
    return {"Records": [record(n, dump(command), group_id(command), receives) for n, command in enumerate(commands)]}


def test_a_batch_of_locks_denies_each_device_and_tells_of_each(deployed, aws_in_memory, capsys):
    writer = deployed("apply_commands")
    batch = commands_batch(*(lock(number, f"{DEVICE}{number}") for number in range(10)))
    assert failed(writer.handler(batch, Context())) == []
    assert {override["Effect"] for override in aws_in_memory.overrides.values()} == {"DENY"}
    assert len(aws_in_memory.overrides) == 10
    assert {detail["result"] for detail in aws_in_memory.announced} == {"locked"}
    out = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [metrics] = [line for line in out if "_aws" in line]
    times = [detail["times"] for detail in aws_in_memory.announced]
    took = [datetime.fromisoformat(each["written"]) - datetime.fromisoformat(each["received"]) for each in times]
    assert sorted(metrics["ReportToDeny"]) == pytest.approx(
        sorted(each / timedelta(milliseconds=1) for each in took), abs=1
    )
    assert len(took) == 10
    assert sum(metrics["locked"]) == sum(metrics["locked-lost"]) == 10
    assert "Paged" not in metrics
    said = [line for line in out if line.get("result") == "locked"]
    assert {line["event_id"] for line in said} == {f"event-{number}" for number in range(10)}


def test_a_lock_in_another_group_than_its_own_is_sent_on_there(deployed, aws_in_memory):
    batch = {"Records": [record(0, dump(lock(0)), "flood#helpdesk#lock")]}
    assert failed(deployed("apply_commands").handler(batch, Context())) == []
    assert (aws_in_memory.overrides, aws_in_memory.announced) == ({}, [])
    assert [entry["MessageGroupId"] for entry in aws_in_memory.sent] == [group_id(lock(0))]
    assert aws_in_memory.queues == {ENVIRONMENT["COMMANDS_QUEUE_URL"]}


def test_two_batches_that_come_together_look_the_same_user_up_once(deployed, aws_in_memory):
    writer = deployed("apply_commands")
    for number in range(2):
        assert failed(writer.handler(commands_batch(lock(number, f"{DEVICE}{number}")), Context())) == []
    assert len(aws_in_memory.overrides) == 2
    assert aws_in_memory.calls.count("DescribeUser") == 1


def test_a_drill_is_measured_by_itself_and_not_counted_as_a_lock(deployed, aws_in_memory, capsys, tmp_path):
    drilled = replace(SETTINGS, sources=(*SETTINGS.sources, settings.Source(DRILL, frozenset({"lock", "release"}))))
    (tmp_path / "settings.json").write_text(settings.dump(drilled), encoding="utf-8")
    writer = deployed("apply_commands")
    drill = lock(0)
    drill = replace(drill, cause=replace(drill.cause, source=DRILL), claim=replace(drill.claim, source=DRILL))
    unlocked = replace(lock(1), target=Target(ORGANIZATION, "bob", "OTHER"))
    assert failed(writer.handler(commands_batch(drill, unlocked), Context())) == []
    assert len(aws_in_memory.overrides) == 2
    [metrics] = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "_aws" in line]
    assert (len(metrics["DrillToDeny"]), metrics["locked"], len(metrics["ReportToDeny"])) == (1, [1.0], 1)


def test_a_rejection_and_what_fails_are_counted_for_the_alarms(deployed, aws_in_memory, capsys):
    aws_in_memory.refuse["GetMobileDeviceAccessOverride"] = (400, "AccessDeniedException")
    an_hour_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    refused = Reject(cause("event-1", NOW), Target(ORGANIZATION, "", ""), "no such user")
    batch = commands_batch(lock(0, when=an_hour_ago), refused)
    batch["Records"][0]["attributes"]["SentTimestamp"] = str(int(an_hour_ago.timestamp() * 1000))
    assert failed(deployed("apply_commands").handler(batch, Context())) == ["message-0"]
    [metrics] = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "_aws" in line]
    assert metrics["Paged"] == metrics["rejected"] == [1.0]
    [age] = metrics["FailingFor"]
    assert 3600 <= age < 3660


def test_a_message_that_can_not_be_postponed_keeps_nothing_else_from_being_so(deployed, aws_in_memory):
    aws_in_memory.refuse["GetMobileDeviceAccessOverride"] = (400, "AccessDeniedException")
    aws_in_memory.refuse["ChangeMessageVisibility"] = lambda asked: (
        (400, "ReceiptHandleIsInvalid") if asked["ReceiptHandle"] == "receipt-0" else None
    )
    response = deployed("apply_commands").handler(commands_batch(lock(0), lock(1, "other")), Context())
    assert failed(response) == ["message-0", "message-1"], "they come back, this one when its visibility ends"
    assert set(aws_in_memory.postponed) == {"receipt-1"}


def test_one_devices_trouble_holds_back_its_own_group_only(deployed, aws_in_memory):
    aws_in_memory.refuse["GetMobileDeviceAccessOverride"] = lambda asked: (
        (400, "AccessDeniedException") if asked["DeviceId"] == "sick" else None
    )
    sick, behind, well = lock(0, "sick"), lock(1, "sick"), lock(2, "well")
    response = deployed("apply_commands").handler(commands_batch(sick, behind, well), Context())
    assert failed(response) == ["message-0", "message-1"]
    assert set(aws_in_memory.overrides) == {"well"}
    assert set(aws_in_memory.postponed) == {"receipt-0", "receipt-1"}
    assert aws_in_memory.postponed["receipt-0"] == aws_in_memory.postponed["receipt-1"] <= 2
    assert aws_in_memory.calls.count("GetMobileDeviceAccessOverride") == 2, "what is behind was not tried"


def test_a_refusal_by_iam_is_logged_in_words_that_name_it(deployed, aws_in_memory, capsys):
    aws_in_memory.refuse["PutMobileDeviceAccessOverride"] = (403, "AccessDeniedException")
    assert failed(deployed("apply_commands").handler(commands_batch(lock(0)), Context())) == ["message-0"]
    assert aws_in_memory.announced == [], "the report waits"
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [warning] = [line for line in logged if line.get("level") == "WARNING"]
    assert "put DENY on" in warning["message"]
    assert "AccessDeniedException" in warning["message"]
    aws_in_memory.refuse.clear()
    assert failed(deployed("apply_commands").handler(commands_batch(lock(0), receives=2), Context())) == []
    assert [detail["result"] for detail in aws_in_memory.announced] == ["locked"]


def hangs(_):
    raise ReadTimeoutError(endpoint_url="https://workmail.eu-west-1.amazonaws.com")


@pytest.mark.parametrize("answer", [(500, "InternalFailure"), hangs], ids=["server error", "no answer"])
def test_an_unanswered_write_is_sent_once_and_comes_back_when_it_has_settled(deployed, aws_in_memory, answer):
    aws_in_memory.refuse["PutMobileDeviceAccessOverride"] = answer
    deployed("apply_commands").handler(commands_batch(lock(0)), Context())
    assert aws_in_memory.postponed == {"receipt-0": 60}
    assert aws_in_memory.calls.count("PutMobileDeviceAccessOverride") == 1, "a retry of botocore's could land late"


@pytest.mark.parametrize("poison", ['{"command": "dance"}', "lost my phone", "[]", "null", "{}", "[" * 100_000])
def test_what_is_no_command_goes_to_the_dead_letters_and_its_group_goes_on(deployed, aws_in_memory, poison):
    batch = commands_batch(*[lock(0)] * 4, lock(1))
    for bad in batch["Records"][:4]:
        bad["body"] = poison
    assert failed(deployed("apply_commands").handler(batch, Context())) == []
    assert set(aws_in_memory.overrides) == {DEVICE}, "the theft behind them is not kept waiting"
    buried = [entry for entry in aws_in_memory.sent if entry["MessageBody"] == poison]
    assert len({entry["MessageDeduplicationId"] for entry in buried}) == 4
    assert aws_in_memory.queues == {ENVIRONMENT["DEAD_COMMANDS_QUEUE_URL"]}


def test_a_command_of_a_newer_release_comes_back_and_is_not_buried(deployed, aws_in_memory):
    """After a rollback. Its group waits for the release that reads it, and the alarm on failing commands tells."""
    batch = commands_batch(lock(0), lock(1, "other"))
    newer = batch["Records"][0]
    newer["body"] = json.dumps(json.loads(newer["body"]) | {"format": 2})
    assert failed(deployed("apply_commands").handler(batch, Context())) == ["message-0"]
    assert set(aws_in_memory.overrides) == {"other"}
    assert not aws_in_memory.sent
    assert aws_in_memory.postponed.keys() == {"receipt-0"}


def test_what_can_not_be_buried_comes_back(deployed, aws_in_memory):
    aws_in_memory.refuse["SendMessageBatch"] = (403, "AccessDenied")
    batch = commands_batch(lock(0))
    batch["Records"][0]["body"] = "poison"
    assert failed(deployed("apply_commands").handler(batch, Context())) == ["message-0"]


def test_a_command_that_the_router_would_not_make_is_told_without_its_words_and_not_carried_out(
    deployed, aws_in_memory
):
    smuggled = lock(0)
    evil = "sign in at https://evil.example"
    told = replace(smuggled.cause, source=evil, reference=evil, event_id=evil)
    batch = commands_batch(replace(smuggled, cause=told), replace(smuggled, force=True), lock(2, "other"))
    assert failed(deployed("apply_commands").handler(batch, Context())) == []
    assert set(aws_in_memory.overrides) == {"other"}
    rejections = [detail for detail in aws_in_memory.announced if detail["result"] == "rejected"]
    assert [detail["page"] for detail in rejections] == [True, False], "one in an hour: nobody is buried under pages"
    assert evil not in json.dumps(rejections)


@pytest.mark.parametrize("seconds_left", [0.0, 5.0, 12.0])
def test_a_command_is_not_begun_when_the_time_might_not_suffice(deployed, aws_in_memory, seconds_left):
    response = deployed("apply_commands").handler(commands_batch(lock(0)), Context(seconds_left))
    assert failed(response) == ["message-0"]
    assert aws_in_memory.calls == ["ChangeMessageVisibility"]
    assert aws_in_memory.postponed == {"receipt-0": 0}, "it comes back at once, to a fresh invocation"


def test_a_command_is_begun_when_the_time_suffices_for_its_calls(deployed):
    assert failed(deployed("apply_commands").handler(commands_batch(lock(0)), Context(12.1))) == []


# The sweep.


def test_a_sweep_lists_and_asks_and_changes_nothing(deployed, aws_in_memory, capsys):
    writer = deployed("apply_commands")
    writer.handler(commands_batch(lock(0), lock(1, "other")), Context())
    sweeper = deployed("sweep_overrides")
    assert sweeper.handler({"organizationId": ORGANIZATION}, Context()) == {
        "completed": True,
        "guard": "first-run",
        "enqueued": 0,
    }
    del aws_in_memory.overrides["other"]
    aws_in_memory.calls.clear()
    capsys.readouterr()
    answer = sweeper.handler({"organizationId": ORGANIZATION}, Context())
    assert answer == {"completed": True, "guard": None, "enqueued": 1}
    [metrics] = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if "_aws" in line]
    assert (metrics["SweepCompleted"], metrics["LocksStanding"], metrics["Enqueued"]) == ([1.0], [1.0], [1.0])
    assert 0 < metrics["SweepDuration"][0] < 60
    [command] = [load(entry["MessageBody"]) for entry in aws_in_memory.sent]
    assert isinstance(command, Reassert)
    assert command.target.device == "other"
    assert not {"PutMobileDeviceAccessOverride", "DeleteMobileDeviceAccessOverride"} & set(aws_in_memory.calls)


def test_the_day_is_told_by_what_was_for_today_in_it(deployed, aws_in_memory):
    known = lock(0)
    of_nobody = Lock(
        replace(known.cause, detail_type="User Compromised"),
        Target(ORGANIZATION, "bob"),
        replace(known.claim, scope="user", why="compromised"),
    )
    for each in (of_nobody, lock(1)):  # in one batch the device could be known before its user is locked
        deployed("apply_commands").handler(commands_batch(each), Context())
    aws_in_memory.announced.clear()
    aws_in_memory.calls.clear()
    sweeper, now = deployed("sweep_overrides"), datetime.now(UTC).replace(microsecond=0)
    for hours, found in ((-1, False), (1, True), (1, True), (23, True), (25, False)):
        asked = {"digest": (now + timedelta(hours=hours)).isoformat()}
        assert sweeper.handler(asked, Context()) == {"digest": found}, hours
    assert {*aws_in_memory.calls} == {"Query", "PutEvents"}, "it sweeps nothing"
    told, again, other = aws_in_memory.announced
    assert told == again != other, "Lambda may repeat it"
    assert (told["count"], told["message"]) == (1, "For today: A lock may leave a device out (1).")
    assert "no device of this user is known" in told["items"][0]


def test_a_sweep_that_lambda_tries_again_is_another_run(deployed, aws_in_memory, monkeypatch):
    """Lambda repeats a run under its request ID. The queue would drop its commands as copies."""
    deployed("apply_commands").handler(commands_batch(lock(0)), Context())
    sweeper = deployed("sweep_overrides")
    sweeper.handler({"organizationId": ORGANIZATION}, Context())
    aws_in_memory.overrides.clear()
    ids = []
    for second in range(2):
        monkeypatch.setattr(sweeper, "_clock", lambda second=second: NOW + timedelta(seconds=second))
        aws_in_memory.sent.clear()
        assert sweeper.handler({"organizationId": ORGANIZATION}, Context())["enqueued"] == 1
        ids.append(aws_in_memory.sent[0]["MessageDeduplicationId"])
    assert ids[0] != ids[1]


def test_a_ledger_that_was_set_back_waits_for_a_persons_word(deployed, aws_in_memory):
    sweeper = deployed("sweep_overrides")
    sweeper.handler({"organizationId": ORGANIZATION}, Context())
    deployed("apply_commands").handler(commands_batch(lock(0)), Context())
    aws_in_memory.overrides.clear()
    aws_in_memory.table.id = "another"
    waits = {"completed": True, "guard": "set-back", "enqueued": 0}
    assert sweeper.handler({"organizationId": ORGANIZATION}, Context()) == waits
    for wrong in ("another table", "", True, 7):
        with pytest.raises(SettingsError, match=r"acceptLedger is .*: expected ledger, the ledger's table"):
            sweeper.handler({"organizationId": ORGANIZATION, "acceptLedger": wrong}, Context())
    assert sweeper.handler({"organizationId": ORGANIZATION}, Context()) == waits
    word = {"organizationId": ORGANIZATION, "acceptLedger": "ledger"}
    assert sweeper.handler(word, Context()) == {"completed": True, "guard": None, "enqueued": 1}
    assert sweeper.handler({"organizationId": ORGANIZATION}, Context())["guard"] is None


@pytest.mark.parametrize("organization", ["", "m-0", None, "\x1b[2J", f"m-{'0' * 32}"])
def test_a_sweep_of_no_organization_of_ours_is_refused_before_anything_is_read(deployed, aws_in_memory, organization):
    with pytest.raises(SettingsError, match="expected one of the configuration's") as refused:
        deployed("sweep_overrides").handler({"organizationId": organization}, Context())
    assert "\x1b" not in str(refused.value)
    assert aws_in_memory.calls == []


def test_a_sweep_without_the_time_to_list_says_so(deployed):
    answer = deployed("sweep_overrides").handler({"organizationId": ORGANIZATION}, Context(seconds_left=100))
    assert (answer["completed"], answer["guard"]) == (False, "time")


# What is missing.

NEEDED = [
    ("route_events", "COMMANDS_QUEUE_URL"),
    ("apply_commands", "COMMANDS_QUEUE_URL"),
    ("apply_commands", "LEDGER_TABLE"),
    ("apply_commands", "LOCKOUT_EVENT_BUS"),
    ("sweep_overrides", "COMMANDS_QUEUE_URL"),
    ("sweep_overrides", "LEDGER_TABLE"),
    ("sweep_overrides", "LOCKOUT_EVENT_BUS"),
]
EVENTS = {
    "route_events": {"Records": [record(0, report(0))]},
    "apply_commands": commands_batch(lock(0)),
    "sweep_overrides": {"organizationId": ORGANIZATION},
}


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize(("name", "variable"), NEEDED)
def test_a_missing_variable_of_the_environment_is_named(deployed, monkeypatch, name, variable, value):
    function = deployed(name)
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"environment variable {variable} is not set: expected the value"):
        function.handler(EVENTS[name], Context())


@pytest.mark.parametrize("name", HANDLERS)
def test_missing_settings_are_named_and_nothing_is_lost(deployed, tmp_path, name, capsys):
    (tmp_path / "settings.json").unlink()
    try:
        response = deployed(name).handler(EVENTS[name], Context())
    except SettingsError as error:
        said = str(error)
    else:
        assert failed(response) == ["message-0"]
        said = capsys.readouterr().out
    assert "settings.json is missing: expected the settings that the build writes" in said


WRITTEN = json.loads(settings.dump(SETTINGS))


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", json.dumps({**WRITTEN, "owner": None, "sweep": {}}), json.dumps({**WRITTEN, "limits": 7})]
)
def test_settings_that_can_not_be_read_say_where_they_are(deployed, tmp_path, text):
    (tmp_path / "settings.json").write_text(text, encoding="utf-8")
    deployed("apply_commands")
    with pytest.raises(SettingsError, match=r"settings\.json can't be read .*: build the package again"):
        wiring.settings()


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_start_hardly_looks_for_garbage(handler: str) -> None:
    """Else it does so thirty times."""
    started = subprocess.run(
        [sys.executable, "-c", COUNTS_COLLECTIONS.format(handler=handler)],
        env={"AWS_DEFAULT_REGION": "eu-west-1", "PYTHONPATH": os.pathsep.join(sys.path), **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(started.stdout) <= 4
