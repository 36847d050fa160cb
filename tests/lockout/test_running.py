"""The sweep, dead letters and the doctor over ports and clients in memory."""

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from botocore.exceptions import ClientError

from config_reader import loader
from device_lockout.values import wire
from device_lockout.values.command import Cause, Expire, Reassert, Target
from device_lockout.values.outcome import DRILL
from device_lockout.values.override import Override
from device_lockout.values.settings import Source, Webhook
from local.in_memory import KEY, ORGANIZATION, World, key
from lockout import lookup
from lockout.__main__ import main
from lockout.commands import doctor
from lockout.deployment import DEAD_LETTERS, Deployment
from tests.lockout.conftest import OUTPUTS, Clients, Run

LOCK = ("lock", "bob", "ABC123", "--ref", "INC-1", "--yes", "--unverified")


# The sweep


def test_the_plan_is_the_sweeps_own_and_changes_nothing(run: Run, world: World) -> None:
    world.ledger.swept = datetime.now(UTC)
    run(*LOCK)
    run("lock", "bob", "PHONE2", "--yes", "--unverified")
    del world.workmail.overrides[key("phone2")]
    before = dict(world.workmail.overrides), dict(world.ledger.devices), len(world.ledger.outcomes)
    status, out, err = run("sweep", "plan")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["ACTION", "reassert"]
    assert "0 to let in, 1 to put back, 0 left alone, of 1 override\n" in err
    assert re.search(r"its time was over at \w{3} \d\d", run("sweep", "plan", "--at", "40d")[1]), "in people's time"
    status, out, err = run("sweep", "plan", "--at", "40d", "--json")
    assert [(row["action"], row["user"], row["deviceId"]) for row in json.loads(out)] == [
        ("expire", "bob@example.com", "abc123")
    ]
    assert (status, "guard" in err) == (0, False), "the sweeps until then are taken to complete"
    world.ledger.swept = datetime.now(UTC) - timedelta(days=9)
    status, _, err = run("sweep", "plan", "--at", "40d")
    assert (status, "guard gap would let nothing in" in err) == (1, True)
    assert (world.workmail.overrides, world.ledger.devices, len(world.ledger.outcomes)) == before
    assert world.queue.sent == []
    assert not world.bus.announced[2:]


def test_the_last_sweeps_are_told_newest_first(run: Run, world: World) -> None:
    assert run("sweep", "last") == (1, "", "no sweep ran in thirty days.  lockout doctor\n")
    world.sweep(datetime.now(UTC) - timedelta(minutes=9))
    world.sweep(datetime.now(UTC) - timedelta(minutes=5))
    status, out, _ = run("sweep", "last")
    assert status == 0
    assert [row.split()[6] for row in out.splitlines()[1:]] == ["-", "gap"]


def test_a_sweep_is_asked_for_and_waited_for(
    run: Run, world: World, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def invoke(**request: Any) -> None:
        asked.append(request)
        if len(asked) < 3:
            world.ledger.swept = datetime.now(UTC) if len(asked) == 1 else None
            world.sweep(datetime.now(UTC))

    monkeypatch.setattr(clients, "invoke", invoke, raising=False)
    assert run("sweep", "now")[0] == 0
    time.sleep(0.01)
    run(*LOCK)
    time.sleep(0.01)
    assert run("sweep", "now")[0] == 1, "a guard refuses the first run"
    time.sleep(0.01)
    assert run("sweep", "now", "--timeout", "0.1")[0] == 3
    assert json.loads(asked[0]["Payload"]) == {"organizationId": ORGANIZATION}
    assert asked[0]["InvocationType"] == "Event"


# Dead letters

CAUSE = Cause("run 1", "device-lockout", "Sweep", datetime.now(UTC), datetime.now(UTC))
EVENT = {"id": "e1", "source": "aws.ds-data", "detail-type": "AWS API Call", "detail": {"x": "\x1b[2J"}}


class Sqs:
    """Queues by the last part of their URLs."""

    def __init__(self) -> None:
        self.queues: dict[str, list[dict[str, Any]]] = {name: [] for name in DEAD_LETTERS.values()}
        self.sent: list[dict[str, Any]] = []

    def add(self, output: str, body: str, **attributes: str) -> None:
        number = sum(map(len, self.queues.values()))
        texts = {name: {"StringValue": value} for name, value in attributes.items()}
        letter = {"MessageId": f"m{number}", "ReceiptHandle": f"r{number}", "Body": body, "MessageAttributes": texts}
        self.queues[output].append({**letter, "Attributes": {"SentTimestamp": "1764230400000", "MessageGroupId": "g"}})

    def receive_message(self, QueueUrl: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"Messages": list(self.queues[QueueUrl.rpartition("/")[2]])}

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        queue = self.queues[QueueUrl.rpartition("/")[2]]
        queue[:] = [letter for letter in queue if letter["ReceiptHandle"] != ReceiptHandle]

    def send_message(self, **request: Any) -> None:
        self.sent.append(request)

    def publish(self, **request: Any) -> None:
        self.sent.append(request)

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        self.sent += Entries
        return {"Entries": [{"EventId": "e"} if "ours" in each["EventBusName"] else {} for each in Entries]}

    def invoke(self, **request: Any) -> None:
        self.sent.append(request)

    def list_targets_by_rule(self, Rule: str, EventBusName: str = "default") -> dict[str, Any]:  # noqa: N803
        assert (Rule, EventBusName) == ("device-lockout-local-dir-0a1b", "default")
        template = '{"mappedSource":"directory-user-disabled","event":<aws.events.event.json>}'
        return {"Targets": [{"Arn": "q", "InputTransformer": {"InputTemplate": template}}]}


@pytest.fixture
def sqs(there: Deployment) -> Sqs:
    made = Sqs()
    more = {name: f"https://sqs/{name}" for name in ("ReportsQueueUrl", "CommandsQueueUrl", "NoticesTopicArn")}
    outputs = OUTPUTS | more | {"SweepOverridesFunctionName": "sweep"}
    vars(there).update(outputs=outputs, client=lambda _: made)
    rule = "arn:aws:events:eu-west-1:1:rule/device-lockout-local-dir-0a1b"
    made.add("DeadReportsQueueUrl", "no JSON \x1b[2J")
    made.add("DeadCommandsQueueUrl", wire.dump(Expire(CAUSE, Target.of(KEY), Override("DENY", "x"))))
    made.add("DeadCommandsQueueUrl", wire.dump(Reassert(CAUSE, Target.of(KEY))))
    made.add("UndeliveredEventsQueueUrl", json.dumps(EVENT), RULE_ARN=rule, TARGET_ARN="q", ERROR_MESSAGE="no")
    detail = {"message": 'it says "no"', "severity": "act now", "advice": {"title": "A report was rejected"}}
    notice, machine = json.dumps({"detail": detail}), "arn:aws:states:eu-west-1:1:stateMachine:mail"
    made.add("UndeliveredEventsQueueUrl", notice, RULE_ARN="x", TARGET_ARN=machine)
    made.add("MissedSweepsQueueUrl", json.dumps({"requestPayload": {"organizationId": ORGANIZATION}}))
    return made


@pytest.mark.usefixtures("sqs")
def test_dead_letters_are_told_in_words(run: Run) -> None:
    status, out, _ = run("dead", "show")
    assert status == 1
    words = [line.split(maxsplit=7)[-1] for line in out.splitlines()[1:]]
    assert words[0] == "no event: no JSON \\u001b[2J"
    assert words[1].startswith("ends the override of device androidc0ffee of ")
    assert words[2].startswith("puts back what is wanted of device androidc0ffee of ")
    assert words[3].startswith("AWS API Call of aws.ds-data: ")
    rows = json.loads(run("dead", "show", "--queue", "undelivered", "--json")[1])
    assert rows[0]["why"] == "no"


def test_an_outcome_for_another_bus_goes_there_again_and_stays_if_that_refuses(run: Run, sqs: Sqs) -> None:
    told = {"source": "device-lockout", "detail-type": "Device Locked", "time": "2026-11-22T07:30:00Z", "detail": {}}
    for bus in ("ours", "theirs"):
        arn = f"arn:aws:events:eu-west-1:1:event-bus/{bus}"
        sqs.add("UndeliveredEventsQueueUrl", json.dumps(told), TARGET_ARN=arn)
    status, _, err = run("dead", "send-back", "--queue", "undelivered", "--yes")
    assert (status, "event-bus/theirs did not take an outcome" in err) == (1, True)
    assert [each["EventBusName"][-4:] for each in sqs.sent if "EventBusName" in each] == ["ours", "eirs"]
    assert [each["Source"] for each in sqs.sent if "Source" in each] == ["device-lockout"] * 2
    assert len(sqs.queues["UndeliveredEventsQueueUrl"]) == 1


def test_a_letter_that_can_not_go_back_stays_and_keeps_no_other(run: Run, sqs: Sqs) -> None:
    for queue in sqs.queues.values():
        queue.clear()
    sqs.add("UndeliveredEventsQueueUrl", "[1]")
    sqs.add("MissedSweepsQueueUrl", "nonsense")
    sqs.add("MissedSweepsQueueUrl", json.dumps({"organizationId": ORGANIZATION}))
    status, out, err = run("dead", "send-back", "--yes")
    assert (status, len(out.splitlines()), len(sqs.sent)) == (1, 1, 1)
    assert err.splitlines() == [
        "undelivered: m0 stays: it is nothing that could go back",
        "sweeps: m1 stays: it is nothing that could go back",
        "sent back: 1",
    ]


def test_dead_letters_go_back_where_they_were_going(run: Run, sqs: Sqs) -> None:
    assert run("dead", "send-back")[0] == 2, "there is no terminal to ask at"
    assert sqs.sent == []
    status, _, err = run("dead", "send-back", "--yes")
    assert (status, "sent back: 6" in err) == (0, True)
    report, expire, reassert, mapped, notice, sweep = sqs.sent
    assert report == {"QueueUrl": "https://sqs/ReportsQueueUrl", "MessageBody": "no JSON \x1b[2J"}
    assert (expire["QueueUrl"], expire["MessageGroupId"]) == ("https://sqs/CommandsQueueUrl", "g")
    assert expire["MessageDeduplicationId"] != reassert["MessageDeduplicationId"]
    assert json.loads(mapped["MessageBody"]) == {"mappedSource": "directory-user-disabled", "event": EVENT}
    subject = "act now: A report was rejected"
    assert notice == {"TopicArn": "https://sqs/NoticesTopicArn", "Subject": subject, "Message": 'it says "no"'}
    assert json.loads(sweep["Payload"]) == {"organizationId": ORGANIZATION}
    sqs.add("MissedSweepsQueueUrl", json.dumps({"requestPayload": {"digest": "2026-11-22T08:00:00Z"}}))
    assert run("dead", "send-back", "--yes")[0] == 0
    assert json.loads(sqs.sent[-1]["Payload"]) == {"digest": "2026-11-22T08:00:00Z"}
    assert not any(sqs.queues.values())
    assert run("dead", "show")[:2] == (0, "")


# The doctor


SUBSCRIBED = {"Endpoint": "a@b.example", "Protocol": "email", "SubscriptionArn": "arn:aws:sns:x"}


class Account:
    """Every client that the doctor uses, over an account where all is well."""

    def __init__(self) -> None:
        self.events: Any = ClientError({"Error": {"Code": "AccessDeniedException"}}, "PutEvents")
        self.mappings = [{"State": "Enabled", "UUID": "u"}]
        self.schedules = [{"Name": "main", "State": "ENABLED", "Target": {"Arn": "arn:aws:lambda:::function:sweep"}}]
        self.subscriptions = [SUBSCRIBED]
        self.authenticated = "true"
        self.rules: list[dict[str, Any]] = [{"Effect": "ALLOW", "DeviceTypes": []}]
        self.alarms = [{"StateValue": "OK", "AlarmDescription": "Reports that failed"}]
        self.webhook = 401
        self.messages = "0"
        self.at_once = 1000
        self.drift = {"StackDriftStatus": "IN_SYNC"}
        self.indexes = [{"IndexName": "timeline", "IndexStatus": "ACTIVE"}]

    def __call__(self, _: str) -> "Account":
        return self

    def get_paginator(self, operation: str) -> Any:
        pages: dict[str, Any] = {
            "list_schedules": {"Schedules": self.schedules},
            "list_subscriptions_by_topic": {"Subscriptions": self.subscriptions},
            "describe_alarms": {"MetricAlarms": self.alarms},
        }

        class Pages:
            def paginate(self, **_: Any) -> list[Any]:
                return [pages[operation]]

        return Pages()

    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803
        return {"Stacks": [{"StackName": StackName, "DriftInformation": self.drift}]}

    def get_account_settings(self) -> Any:
        return {"AccountLimit": {"ConcurrentExecutions": self.at_once}}

    def list_event_source_mappings(self, **_: Any) -> Any:
        return {"EventSourceMappings": self.mappings}

    def put_events(self, **_: Any) -> Any:
        if self.events is None:
            return {"Entries": [{"EventId": "e"}]}
        raise self.events

    def get_queue_attributes(self, **_: Any) -> Any:
        return {"Attributes": {"ApproximateNumberOfMessages": self.messages}}

    def describe_table(self, TableName: str) -> Any:  # noqa: N803
        assert TableName == "ledger"
        return {"Table": {"GlobalSecondaryIndexes": self.indexes} if self.indexes else {}}

    def invoke(self, FunctionName: str, Payload: str) -> Any:  # noqa: N803
        asked = json.loads(Payload)
        assert (FunctionName, asked["rawPath"][0]) == ("receiver", "/")
        return {"Payload": BytesIO(json.dumps({"statusCode": self.webhook}).encode())}

    def get_subscription_attributes(self, SubscriptionArn: str) -> Any:  # noqa: N803
        assert SubscriptionArn == SUBSCRIBED["SubscriptionArn"]
        return {"Attributes": {"ConfirmationWasAuthenticated": self.authenticated}}

    def list_mobile_device_access_rules(self, OrganizationId: str) -> Any:  # noqa: N803
        assert OrganizationId == ORGANIZATION
        return {"Rules": self.rules}


@pytest.fixture
def account(there: Deployment, world: World) -> Account:
    made = Account()
    names = ("RouteEventsFunctionName", "ApplyCommandsFunctionName", "NoticesTopicArn")
    outputs = OUTPUTS | dict.fromkeys(names, "x") | {"SweepOverridesFunctionName": "sweep"}
    outputs["ReceiveWebhooksFunctionName"] = "receiver"
    webhooks = (Webhook("jamf", "basic", "lockout-jamf"),)
    vars(there).update(outputs=outputs, client=made, settings=replace(there.settings, webhooks=webhooks))
    world.ledger.swept = datetime.now(UTC)
    return made


def states(run: Run, *words: str) -> tuple[int, dict[str, str]]:
    status, out, _ = run("doctor", "--json", *words)
    return status, {row["found"]: row["mend"] for row in json.loads(out) if row["state"] == "wrong"}


@pytest.mark.usefixtures("account")
def test_a_whole_deployment_is_called_whole(run: Run) -> None:
    assert states(run) == (0, {})
    assert "WorkMail of main ends on 01 " in run("doctor")[1]


@pytest.mark.parametrize(
    ("breaks", "found", "mend"),
    [
        ({"events": None}, "the bus does not refuse an event of source device-lockout", "describe-event-bus"),
        ({"mappings": [{"State": "Disabled", "UUID": "u"}]}, "RouteEvents takes its queue: Disabled", "--uuid u"),
        ({"mappings": []}, "ApplyCommands takes its queue: Missing", "update-event-source-mapping"),
        ({"at_once": 10}, "functions that may run at once in this account: 10 (100 at least)", "L-B99A9384"),
        ({"schedules": []}, "schedules: 0 of 1", "deploy"),
        ({"drift": {"StackDriftStatus": "DRIFTED"}}, "drift from the template: DRIFTED", "resource-drifts"),
        ({"subscriptions": []}, "nobody is told of anything", "aws sns subscribe"),
        (
            {"subscriptions": [SUBSCRIBED | {"SubscriptionArn": "PendingConfirmation"}]},
            "a@b.example has not confirmed its subscription",
            "confirm-subscription --authenticate-on-unsubscribe true --topic-arn x --token TOKEN",
        ),
        (
            {"authenticated": "false"},
            "a@b.example gets notices, until anybody who has a mail clicks its link",
            "confirm-subscription --authenticate-on-unsubscribe true --topic-arn x --token TOKEN",
        ),
        ({"alarms": [{"StateValue": "ALARM", "AlarmDescription": "Reports"}]}, "alarm is on: Reports", "runbook"),
        ({"alarms": []}, "alarms that are on: 0 of 0", ""),
        ({"webhook": 503}, "secret lockout-jamf of webhook jamf is missing, short or malformed", "put-secret-value"),
        ({"messages": "1"}, "dead letters: 4", "lockout dead show"),
        ({"indexes": []}, "the ledger's index of what happened: missing", "update-table --table-name ledger"),
        (
            {"indexes": [{"IndexName": "timeline", "IndexStatus": "CREATING"}]},
            "the ledger's index of what happened: C",
            "",
        ),
    ],
)
def test_what_is_not_whole_comes_with_the_command_that_mends_it(
    run: Run, account: Account, breaks: dict[str, Any], found: str, mend: str
) -> None:
    vars(account).update(breaks)
    status, wrong = states(run)
    assert status == 1
    assert any(said.startswith(found) and mend in command for said, command in wrong.items()), wrong


def test_a_drift_that_nobody_looked_for_is_noted(run: Run, account: Account) -> None:
    account.drift = {}
    assert (
        "drift from the template: NOT_CHECKED  aws cloudformation detect-stack-drift --stack-name" in run("doctor")[1]
    )


def test_chat_that_gets_nothing_is_wrong(run: Run, account: Account, there: Deployment) -> None:
    vars(there)["outputs"] = {**there.outputs, "ChatTopicArn": "chat"}
    assert states(run) == (0, {})
    assert "mail alone" not in run("doctor")[1]
    account.subscriptions = []
    assert "chat gets none: no channel subscribed" in states(run)[1]


def test_a_drill_has_two_schedules_of_its_own_and_comes(
    run: Run, account: Account, there: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    drill = Source(DRILL, frozenset({"lock", "release"}))
    vars(there)["settings"] = replace(there.settings, sources=(*there.settings.sources, drill))
    assert [*states(run)[1]] == ["schedules: 1 of 3", "last drill: none in two days"]
    monkeypatch.setattr(lookup, "drilled", lambda *_: (True, "last drill: locked in 2.5 s, 72 min ago", ""))
    bus = {"Arn": "arn:aws:events:::event-bus/device-security"}
    account.schedules += [
        {"Name": name, "State": "ENABLED", "Target": bus} for name in ("DrillLost", "DrillFound", "x")
    ]
    assert states(run) == (0, {})
    account.schedules[1]["State"] = "DISABLED"
    assert "schedule DrillLost: DISABLED" in states(run)[1]


def test_mail_alone_is_noted(run: Run, account: Account) -> None:
    assert "mail alone" in run("doctor")[1]
    account.subscriptions.append({"Endpoint": "https://x", "Protocol": "https", "SubscriptionArn": "arn:aws:sns:y"})
    assert "mail alone" not in run("doctor")[1]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "deny every device: only an ALLOW lets one in"),
        ([{"Effect": "ALLOW"}], "allow every device: only a DENY keeps one out"),
        ([{"Effect": "ALLOW"}, {"Effect": "DENY", "Name": "DefaultDenyAll"}], "deny every device"),
        ([{"Effect": "ALLOW"}, {"Effect": "DENY", "DeviceTypes": ["x"]}], "tell devices apart"),
        ([{"Effect": "ALLOW", "NotDeviceModels": ["x"]}], "tell devices apart"),
        ([{"Effect": "DENY", "NotDeviceModels": ["x"]}], "deny every device"),
    ],
)
def test_what_an_override_means_is_told_by_the_access_rules(
    run: Run, account: Account, rules: list[dict[str, Any]], said: str
) -> None:
    account.rules = rules
    assert f"access rules of main {said}" in run("doctor")[1]


@pytest.mark.usefixtures("account")
def test_sweeps_clocks_stack_and_configuration_are_looked_at(run: Run, world: World, there: Deployment) -> None:
    world.ledger.swept = None
    world.workmail.now = datetime.now(UTC) - timedelta(hours=1)
    vars(there)["status"] = "UPDATE_ROLLBACK_COMPLETE"
    status, wrong = states(run, "--config", "local")
    assert status == 1
    assert [*wrong] == [
        "stack device-lockout-local: UPDATE_ROLLBACK_COMPLETE",
        "last sweep of main: never",
        "WorkMail's clock and this one in main: 3600 s apart",
        "config/local.toml is not what is deployed",
    ]
    vars(there)["settings"] = loader.load("local").settings
    assert "config/local.toml is not what is deployed" not in states(run, "--config", "local")[1]


def test_what_can_not_be_asked_is_wrong(run: Run, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListEventSourceMappings")

    monkeypatch.setattr(account, "list_event_source_mappings", refuse)
    assert "queue consumers: AWS does not allow ListEventSourceMappings: no" in states(run)[1]


def test_every_check_of_the_doctor_is_made() -> None:
    made = {name for name, each in vars(doctor).items() if name.startswith("_") and callable(each)}
    assert made - {"_answered", "_settings"} - {each.__name__ for each in doctor.CHECKS} == set()


def test_a_drill_locks_and_lets_in(run: Run, world: World) -> None:
    status, out, _ = run("drill", "bob", "DRILL1")
    assert status == 0
    assert [line.split(" is ")[1].split()[0].strip(".") for line in out.splitlines()] == ["locked", "released"]
    assert not world.workmail.overrides
    assert main(["drill", "nobody", "DRILL1"], None) != 0


def test_a_drill_lets_no_device_in_that_somebody_locked(run: Run, clients: Clients) -> None:
    run("lock", "bob", "ABC123", "--yes", "--unverified")
    status, out, err = run("drill", "bob", "abc123")
    assert (status, out, len(clients.sent)) == (1, "", 1)
    assert "is locked: a drill would let it in" in err
