"""What a deployment of a later release must not lose: the resources that hold state, and an adopted ledger."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import app
from config_reader import loader
from config_reader.loader import Configuration, ConfigurationError, Notify
from tests.infra.conftest import Template, read_template

STATEFUL = {
    "AWS::DynamoDB::Table": {"LedgerTable9343E4AA"},
    "AWS::Events::EventBus": {
        "Bus95A03305",
        "BusPartnerawspartnerauth0comacme0a1b2c3d4e5f60718293a4b5c6d7e8f9auth0logs357B529D",
        "BusPartnerawspartneroktacomacmestream1C812379A",
    },
    "AWS::Lambda::Function": {
        "ApplyCommandsFunction7EC5FBBC",
        "RouteEventsFunction8531AE36",
        "SweepOverridesFunction9213410F",
        "WebhooksReceiveFunction0AA2C41F",
    },
    "AWS::Lambda::Url": {"WebhooksReceiveFunctionFunctionUrl212F1605"},
    "AWS::Logs::LogGroup": {
        "ApplyCommandsLog0AF1AA98",
        "RouteEventsLogD5C703EA",
        "SweepOverridesLogC42D1314",
        "WebhooksReceiveLog8BA96BE5",
    },
    "AWS::SNS::Topic": {"NoticesTopic898AF2CD"},
    "AWS::SQS::Queue": {
        "BusUndeliveredQueue8248BE7F",
        "CommandsDeadLettersQueue1B6A5D38",
        "CommandsQueueDE7D76FB",
        "ReportsDeadLettersQueueDFABD5B4",
        "ReportsQueue58F354F3",
        "ScheduleMissedQueue29F9551D",
    },
}
"""Each resource that holds something or whose address others have, by its logical ID.

A new function behind a URL has a new URL, which each sender of webhooks would have to learn.

If this fails, an upgrade would make a new resource and delete the old one with all that is in it. Keep the old ID with
``override_logical_id``. A new resource is added here; it never changes again.
"""


CHAT = {"AWS::SNS::Topic": {"NoticesChat4AE2D6C7"}}
"""What a deployment with chat has besides."""

FORWARDER = {"AWS::SNS::Topic": {"NoticesTopic898AF2CD"}, "AWS::SQS::Queue": {"UnforwardedQueue0ED6D953"}}
"""The same of a forwarder."""


def logical_ids(template: Template) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    for logical, resource in json.loads(template.text)["Resources"].items():
        if resource["Type"] in STATEFUL:
            kinds.setdefault(resource["Type"], set()).add(logical)
    return kinds


def test_resources_with_state_keep_their_logical_ids(local_template: Template) -> None:
    assert logical_ids(local_template) == STATEFUL


def test_chat_and_a_forwarder_keep_theirs(
    synthesize: Callable[[Configuration], Template],
    deployment: Configuration,
    template: Template,
    forwarded: Configuration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slack = ("slack", {"workspace": "T0123456789", "channel": "C0123456789"})
    chat = logical_ids(synthesize(replace(deployment, notices=Notify(channels=(slack,)))))
    without = logical_ids(template)
    assert {kind: ids - without[kind] for kind, ids in chat.items() if ids != without[kind]} == CHAT
    monkeypatch.setenv("CDK_VALIDATION", "false")
    app.forward(forwarded, "security", tmp_path)
    forwarder = read_template(tmp_path)
    assert logical_ids(forwarder) == FORWARDER
    (queue,) = (each for each in forwarder.resources.values() if each["Type"] == "AWS::SQS::Queue")
    assert queue["UpdateReplacePolicy"] == "Retain"


def test_a_table_or_queue_that_is_replaced_stays_with_all_that_is_in_it(
    template: Template, local_template: Template
) -> None:
    for each in (template, local_template):
        for name, resource in each.resources.items():
            if resource["Type"] in {"AWS::DynamoDB::Table", "AWS::SQS::Queue"}:
                assert resource["UpdateReplacePolicy"] == "Retain", name


@pytest.fixture(scope="module")
def adopting(synthesize: Callable[[Configuration], Template], deployment: Configuration) -> Template:
    return synthesize(replace(deployment, ledger_table="ledger-restored"))


def test_an_adopted_ledger_takes_the_place_of_the_stacks_own(template: Template, adopting: Template) -> None:
    assert adopting.of_type("DynamoDB::Table") == {}
    assert adopting.outputs["LedgerTableName"]["Value"] == "ledger-restored"
    arn = "arn:AWS::Partition:dynamodb:eu-west-1:AWS::AccountId:table/ledger-restored"
    assert template.of_type("IAM::Role").keys() == adopting.of_type("IAM::Role").keys()
    for role in adopting.of_type("IAM::Role"):
        own, adopted = ({*each.statements(role)} for each in (template, adopting))
        assert {(actions, frozenset({arn} if "LedgerTable.Arn" in on else on)) for actions, on in own} == adopted
    for name, function in adopting.of_type("Lambda::Function").items():
        variables = function["Environment"]["Variables"]
        assert variables.get("LEDGER_TABLE", "ledger-restored") == "ledger-restored", name


@pytest.mark.parametrize(
    "name", ["", "le", "led ger", "arn:aws:dynamodb:eu-west-1:111122223333:table/ledger", "x" * 256]
)
def test_the_name_of_a_ledger_is_checked(name: str) -> None:
    text = (loader.DIRECTORY / "example.toml").read_text(encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"ledger_table: .*expected the name of a DynamoDB table"):
        loader.read(f'ledger_table = "{name}"\n{text}', "config/example.toml")


def test_the_ledger_is_the_stacks_own_unless_the_configuration_names_one() -> None:
    text = (loader.DIRECTORY / "example.toml").read_text(encoding="utf-8")
    assert loader.read(text, "config/example.toml").ledger_table == ""
    assert loader.read(f'ledger_table = "moved.ledger-1"\n{text}', "x").ledger_table == "moved.ledger-1"
