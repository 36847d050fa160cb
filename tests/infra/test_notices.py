"""What people read, by mail and in chat, of each outcome that pages."""

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config_reader import event_pattern, loader
from config_reader.loader import Configuration, ConfigurationError, Notify
from device_lockout.protocol import announcement
from device_lockout.values.command import Reject, Target
from device_lockout.values.outcome import Outcome
from infra import notices
from infra.alarms import RUNBOOK
from local.in_memory import ORGANIZATION, at, cause
from tests.infra.conftest import ROOT, Template
from tests.infra.test_stack import targets_of

SAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "samples" / "out").glob("*.json"))}
PAGES = {name: event for name, event in SAMPLES.items() if event["detail"]["page"]}

CHAT = {
    "type": "object",
    "required": ["version", "source", "content"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": "1.0"},
        "source": {"const": "custom"},
        "id": {"$ref": "#/definitions/text"},
        "content": {
            "type": "object",
            "required": ["description"],
            "additionalProperties": False,
            "properties": {
                "textType": {"const": "client-markdown"},
                "title": {"allOf": [{"$ref": "#/definitions/text"}, {"maxLength": 250}]},
                "description": {"allOf": [{"$ref": "#/definitions/text"}, {"maxLength": 8000}]},
                "nextSteps": {"$ref": "#/definitions/texts"},
                "keywords": {"$ref": "#/definitions/texts"},
            },
        },
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: {"$ref": "#/definitions/text"} for name in ("threadId", "summary", "eventType")},
        },
    },
    "definitions": {
        "text": {"type": "string", "minLength": 1},
        "texts": {"type": "array", "items": {"$ref": "#/definitions/text"}},
    },
}
"""https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html"""
is_for_chat = fastjsonschema.compile(CHAT)


def transformed(transformer: dict[str, Any], event: dict[str, Any]) -> str:
    """What a target gets if EventBridge escapes nothing, as it says. It adds quotes to a text that has none."""

    def value(name: str) -> str:
        found: Any = event
        for key in transformer["InputPathsMap"][name].removeprefix("$.").split("."):
            found = found[key]
        assert isinstance(found, str), f"EventBridge has no variable for {name}"
        return found

    def filled(match: re.Match[str]) -> str:
        if match[1]:
            return f'"{value(match[1])}"'
        return re.sub("<(.*?)>", lambda name: value(name[1]), match[0])

    return re.sub(r'"[^"]*"|<(.*?)>', filled, transformer["InputTemplate"])


@pytest.fixture(scope="module")
def template(synthesize: Callable[[Configuration], Template]) -> Template:
    uuid = "0a1b2c3d-0000-4000-8000-000000000000"
    slack = [("slack", {"workspace": "T0123", "channel": channel}) for channel in ("C0456", "C0789")]
    teams = ("teams", {"tenant": uuid, "team": uuid, "channel": "19%3Aab%40thread.tacv2"})
    notify = Notify(("a@example.com",), channels=(*slack, teams))
    return synthesize(replace(loader.load("example"), notices=notify))


def transformer(template: Template, topic: str) -> dict[str, Any]:
    (found,) = (each for each in template.resources["BusPages"]["Properties"]["Targets"] if each["Arn"] == topic)
    assert found["RoleArn"] == "NoticesSender.Arn"
    transformer: dict[str, Any] = found["InputTransformer"]
    return transformer


def test_there_are_samples_that_page() -> None:
    assert {"lockout-rejected", "sweep-refused", "override-left-alone", "tampering-detected"} <= PAGES.keys()


@pytest.mark.parametrize("sample", PAGES)
def test_chat_gets_what_it_can_show_and_one_thread_for_each_lock(template: Template, sample: str) -> None:
    detail = PAGES[sample]["detail"]
    note = json.loads(transformed(transformer(template, "NoticesChat"), PAGES[sample]))
    is_for_chat(note)
    assert note["content"]["description"] == detail["message"]
    assert note["content"]["nextSteps"] == [detail["advice"]["do"], detail["advice"]["command"]]
    if detail.get("lock"):
        assert note["metadata"]["threadId"] == detail["lock"]["id"]


_EVALUATE = """
import json, jsonata, sys
for expression, event in json.load(sys.stdin):
    made = jsonata.Jsonata.jsonata(expression)
    names = made.create_frame()
    names.bind("states", {"input": event})
    print(json.dumps(made.evaluate(None, names)))
"""


def mailed(events: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The subject and the body that the state machine makes of each event, by MiniStack's JSONata."""
    asked = [
        (notices.IN_EVENT.format(notices.MAIL[name]), event) for event in events for name in ("Subject", "Message")
    ]
    python = event_pattern.MINISTACK / "bin" / "python"
    words = [python, "-I", "-c", _EVALUATE]
    done = subprocess.run(words, input=json.dumps(asked), capture_output=True, text=True, check=True)
    made = [*map(json.loads, done.stdout.splitlines())]
    return [*zip(made[::2], made[1::2], strict=True)]


def test_a_mail_has_a_subject_and_a_line_for_each_thing() -> None:
    for event, (subject, body) in zip(PAGES.values(), mailed([*PAGES.values()]), strict=True):
        detail = event["detail"]
        who = (detail.get("user") or {}).get("email") or detail.get("userId")
        ticket = detail.get("reference") or (detail.get("lock") or {}).get("reference")
        about = " ".join(filter(None, (ticket, detail.get("deviceId"), who)))
        assert subject == f"{detail['severity']}: {detail['advice']['title']}{', ' * bool(about)}{about}"[:99]
        assert body.splitlines() == [
            detail["message"],
            *detail.get("items", ()),
            "",
            f"Do: {detail['advice']['do']}",
            f"Type: {detail['advice']['command']}",
            "",
            f"{event['detail-type']}, event {detail['eventId']}, {event['time']}",
        ]


def test_the_state_machine_makes_that_mail_and_tries_again(template: Template) -> None:
    machine = template.one("StepFunctions::StateMachine")
    assert (machine["StateMachineType"], machine["RoleArn"]) == ("EXPRESS", "NoticesPublisher.Arn")
    definition = json.loads(machine["DefinitionString"])
    assert definition["QueryLanguage"] == "JSONata"
    (send,) = definition["States"].values()
    assert send["Resource"] == "arn:AWS::Partition:states:::sns:publish"
    assert send["Arguments"] == {"TopicArn": "NoticesTopic"} | {
        name: f"{{% {notices.IN_EVENT.format(words)} %}}" for name, words in notices.MAIL.items()
    }
    (retry,) = send["Retry"]
    assert retry["ErrorEquals"] == ["States.ALL"]
    waits = [retry["IntervalSeconds"] * retry["BackoffRate"] ** number for number in range(retry["MaxAttempts"])]
    assert 200 < sum(waits) < 300, "an express execution lasts for five minutes at most"
    (target, _) = template.resources["BusPages"]["Properties"]["Targets"]
    assert (target["Arn"], "InputTransformer" in target) == ("NoticesMail.Arn", False)


NASTY = st.text(st.sampled_from('a"\\<>{}\n\r\t\0$&') | st.characters(exclude_categories=["Cs"]))


def nasty(because: str, user: str, ticket: str) -> dict[str, Any]:
    command = Reject(replace(cause("e-1", at(0)), reference=ticket), Target(ORGANIZATION, user, user), because)
    outcome = Outcome("rejected", because=because, reference=ticket, page=True)
    told = announcement.of_outcome(command, outcome, at(0))
    return {"detail-type": told["detailType"], "time": "2026-11-22T07:30:00Z", "detail": told["detail"]}


@given(because=NASTY, user=NASTY, ticket=NASTY)
def test_whatever_strangers_write_stays_a_message_in_chat(because: str, user: str, ticket: str) -> None:
    template = json.dumps(notices.CHAT).replace('"<', "<").replace('>"', ">")
    event = nasty(because, user, ticket)
    is_for_chat(json.loads(transformed({"InputPathsMap": notices.PATHS, "InputTemplate": template}, event)))


@given(st.lists(st.tuples(NASTY, NASTY, NASTY), min_size=1, max_size=20))
@settings(max_examples=5, deadline=None)
def test_whatever_strangers_write_sns_takes_the_mail(said: list[tuple[str, str, str]]) -> None:
    events = [nasty(*each) for each in said]
    for event, (subject, body) in zip(events, mailed(events), strict=True):
        assert re.fullmatch(r"[ -~]{1,99}", subject)
        assert body.startswith(f"{event['detail']['message']}\n")


def test_chat_may_do_nothing_and_only_the_stack_publishes_there(template: Template) -> None:
    slack, teams = (template.of_type(f"Chatbot::{kind}ChannelConfiguration") for kind in ("Slack", "MicrosoftTeams"))
    assert {(each["SlackWorkspaceId"], each["SlackChannelId"]) for each in slack.values()} == {
        ("T0123", "C0456"),
        ("T0123", "C0789"),
    }
    channels = [*slack.values(), *teams.values()]
    assert len({each["ConfigurationName"] for each in channels}) == len(channels) == 3
    for each in channels:
        assert each["SnsTopicArns"] == ["NoticesChat"]
        assert each["GuardrailPolicies"] == ["arn:AWS::Partition:iam::aws:policy/AWSDenyAll"]
        assert each["IamRoleArn"] == "NoticesChatRole.Arn"
    assert list(template.statements("NoticesChatRole")) == []
    assert "ManagedPolicyArns" not in template.resources["NoticesChatRole"]["Properties"]
    assert list(template.statements("NoticesPublisher")) == [(frozenset({"sns:Publish"}), frozenset({"NoticesTopic"}))]
    assert set(template.statements("NoticesSender")) == {
        (frozenset({"sns:Publish"}), frozenset({"NoticesChat"})),
        (frozenset({"states:StartExecution"}), frozenset({"NoticesMail.Arn"})),
    }
    policies = template.of_type("SNS::TopicPolicy").values()
    allowed = [one for each in policies for one in each["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"]
    assert [one["Principal"] for one in allowed] == [{"Service": "cloudwatch.amazonaws.com"}] * 2


def test_alarms_go_to_chat_too(template: Template) -> None:
    alarms = template.of_type("CloudWatch::Alarm").values()
    assert {tuple(alarm.get("AlarmActions", ())) for alarm in alarms} == {(), ("NoticesTopic", "NoticesChat")}


@pytest.fixture(scope="module")
def with_a_digest(synthesize: Callable[[Configuration], Template]) -> Template:
    drill = '[drill]\nevery = "1 hour"\nuser = "bob"\ndevice = "DRILL0001"\n'
    return synthesize(loader.read(EXAMPLE + 'digest = "08:05"\n' + drill, "config/x.toml"))


def test_a_digest_comes_once_a_day_in_place_of_all_that_is_for_today(with_a_digest: Template) -> None:
    schedule = with_a_digest.resources["ScheduleDigest"]["Properties"]
    assert (schedule["ScheduleExpression"], schedule["Target"]["Arn"]) == (
        "cron(5 8 * * ? *)",
        "SweepOverridesFunction.Arn",
    )
    assert json.loads(schedule["Target"]["Input"]) == {"digest": "<aws.scheduler.scheduled-time>"}
    read = (frozenset({"dynamodb:Query"}), frozenset({"LedgerTable.Arn/index/timeline"}))
    assert read in list(with_a_digest.statements("SweepOverridesRole"))
    for event in PAGES.values():
        now = event["detail"]["severity"] == "act now" or event["detail-type"] == "Daily Digest"
        assert targets_of(with_a_digest, event) == ["NoticesMail.Arn"] * now, event["detail-type"]
        drilled = event | {"detail": event["detail"] | {"device": "drill0001"}}
        assert targets_of(with_a_digest, drilled) == ["NoticesMail.Arn"] * (event["detail-type"] == "Daily Digest")


def test_without_a_digest_all_that_pages_comes_at_once(with_a_drill: Template) -> None:
    assert "ScheduleDigest" not in with_a_drill.resources
    for event in PAGES.values():
        assert targets_of(with_a_drill, event) == ["NoticesMail.Arn"]


CHANNELS = """
slack = [{ workspace = "T0123456789", channel = "C0123456789" }]

[[notify.teams]]
tenant = "0a1b2c3d-0000-4000-8000-000000000000"
team = "1a1b2c3d-0000-4000-8000-000000000000"
channel = "19%3Aab_c-d%40thread.tacv2"
"""
EXAMPLE = (Path(loader.DIRECTORY) / "example.toml").read_text(encoding="utf-8")


def test_channels_are_read() -> None:
    (slack, teams) = loader.read(EXAMPLE + CHANNELS, "config/x.toml").notices.channels
    assert slack == ("slack", {"workspace": "T0123456789", "channel": "C0123456789"})
    assert teams[1]["channel"] == "19%3Aab_c-d%40thread.tacv2"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("T0123456789", "acme", 'notify.slack[0].workspace: "acme": expected an ID that matches T'),
        ("C0123456789", "#security", 'notify.slack[0].channel: "#security": expected an ID that matches'),
        ("%40thread", "@thread", 'notify.teams[0].channel: "19%3Aab_c-d@thread.tacv2": expected an ID'),
        ("0a1b2c3d-0000", "acme", 'notify.teams[0].tenant: "acme-4000-8000-000000000000": expected an ID'),
        ("channel =", "chanel =", "notify.slack[0].channel: missing"),
    ],
)
def test_a_mistake_about_a_channel_is_told(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        loader.read(EXAMPLE + CHANNELS.replace(old, new), "config/x.toml")
    assert said in str(told.value)


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("which", ["with_a_drill", "local_template"])
def test_each_alarm_names_its_section_of_the_runbook_and_has_a_name_that_people_can_read(
    request: pytest.FixtureRequest, which: str
) -> None:
    found: Template = request.getfixturevalue(which)
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    sections = {slug(heading) for heading in re.findall(r"^## (.+)$", runbook, re.MULTILINE)}
    alarms = found.of_type("CloudWatch::Alarm").values()
    named = {alarm["AlarmDescription"].partition(" docs/runbook.md#")[2] for alarm in alarms}
    assert named <= sections
    assert {*RUNBOOK.values()} - {"when-a-drill-fails"} <= named
    names = [alarm["AlarmName"] for alarm in alarms]
    assert len({*names}) == len(names)
    assert all(re.fullmatch(r"device-lockout-[a-z]+( [A-Za-z-]+)+", name) for name in names)
    for alarm in alarms:
        assert alarm.get("OKActions") == alarm.get("AlarmActions"), "people hear when it is over"


@pytest.fixture(scope="module")
def with_a_drill(synthesize: Callable[[Configuration], Template]) -> Template:
    drill = '[drill]\nevery = "1 hour"\nuser = "bob"\ndevice = "DRILL0001"\n'
    return synthesize(loader.read(EXAMPLE + drill, "config/x.toml"))
