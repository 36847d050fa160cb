"""The forwarder's stack, and what the deployment's stack has for it."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import app
from config_reader.loader import Configuration, ConfigurationError
from tests.infra.conftest import ROOT, Template, read_template
from tests.infra.test_stack import depends_on, matches, queue_policy, rule_arn, senders

BUS = "arn:AWS::Partition:events:eu-west-1:123456789012:event-bus/device-security"
ROLE = "arn:aws:iam::444455556666:role/device-lockout-prod-security"


@pytest.fixture(scope="module")
def forwarder(forwarded: Configuration, tmp_path_factory: pytest.TempPathFactory) -> Template:
    directory = tmp_path_factory.mktemp("forwarder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CDK_VALIDATION", "false")
        app.forward(forwarded, "security", directory)
    return read_template(directory)


def test_the_forwarder_has_the_tags_and_a_boundary_and_key_of_its_own_account(
    forwarded: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"arn:aws:kms:us-east-1:444455556666:key/mrk-{'0' * 32}"
    boundary = "arn:aws:iam::444455556666:policy/boundary"
    own = replace(forwarded.forwarders[0], permissions_boundary=boundary, encryption_key=key)
    monkeypatch.setenv("CDK_VALIDATION", "false")
    app.forward(replace(forwarded, forwarders=(own,), tags={"CostCenter": "4711"}), "security", tmp_path)
    made = read_template(tmp_path)
    assert made.one("IAM::Role")["PermissionsBoundary"] == boundary
    assert made.one("SQS::Queue")["KmsMasterKeyId"] == made.one("SNS::Topic")["KmsMasterKeyId"] == key
    tags = {tag["Key"]: tag["Value"] for tag in made.one("SQS::Queue")["Tags"]}
    assert tags == {"CostCenter": "4711", "device-lockout": "prod"}


def test_outcomes_go_to_another_bus_under_a_role_that_may_do_nothing_else(
    forwarded: Configuration, synthesize: Callable[[Configuration], Template]
) -> None:
    bus = "arn:aws:events:us-east-1:444455556666:event-bus/soc"
    made = synthesize(replace(forwarded, forward_outcomes=bus))
    ((name, rule),) = (
        (name, rule) for name, rule in made.of_type("Events::Rule").items() if "Outcomes" in rule["Name"]
    )
    assert rule["EventPattern"] == {"source": ["device-lockout"], "replay-name": [{"exists": False}]}
    (target,) = rule["Targets"]
    role = target["RoleArn"].removesuffix(".Arn")
    assert (target["Arn"], target["DeadLetterConfig"]) == (bus, {"Arn": "BusUndeliveredQueue.Arn"})
    assert [*made.statements(role)] == [(frozenset({"events:PutEvents"}), frozenset({bus}))]
    assert role in depends_on(made, name)
    assert rule_arn(rule) in senders(made, "BusUndeliveredQueue")
    assert rule_arn(rule) not in senders(made, "ReportsQueue")


@pytest.fixture(scope="module")
def deployed(forwarded: Configuration, synthesize: Callable[[Configuration], Template]) -> Template:
    return synthesize(forwarded)


def test_the_forwarder_sends_what_the_source_wants_to_the_deployments_bus(forwarder: Template) -> None:
    ((name, rule),) = forwarder.of_type("Events::Rule").items()
    assert "EventBusName" not in rule, "the default bus"
    event: dict[str, Any] = {
        "source": "aws.securityhub",
        "account": "444455556666",
        "detail": {"actionName": "Lock device"},
    }
    assert matches(rule["EventPattern"], event)
    assert not matches(rule["EventPattern"], event | {"detail": {"actionName": "Other"}})
    assert not matches(rule["EventPattern"], event | {"replay-name": "r"})
    (target,) = rule["Targets"]
    assert (target["Arn"], target["RoleArn"]) == (BUS, "Role.Arn")
    assert target["DeadLetterConfig"] == {"Arn": "UnforwardedQueue.Arn"}
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
    assert {"Role", "UnforwardedQueuePolicy"} <= depends_on(forwarder, name)


def test_the_role_may_put_events_on_that_bus_and_nothing_else(forwarder: Template) -> None:
    role = forwarder.one("IAM::Role")
    assert role["RoleName"] == "device-lockout-prod-security"
    (trusted,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"Service": "events.amazonaws.com"}
    assert trusted["Condition"] == {"StringEquals": {"aws:SourceAccount": "AWS::AccountId"}}
    assert [*forwarder.statements("Role")] == [(frozenset({"events:PutEvents"}), frozenset({BUS}))]


def test_the_dead_letter_queue_takes_from_the_rule_and_tells_people(forwarder: Template) -> None:
    assert senders(forwarder, "UnforwardedQueue") == [rule_arn(forwarder.one("Events::Rule"))]
    statements = {one.get("Sid"): one for one in queue_policy(forwarder, "UnforwardedQueue")}
    others = statements["OnlyTheStackAndOperatorsSend"]["Condition"]["ArnNotLike"]
    assert others == {"aws:PrincipalArn": ["arn:aws:iam::*:role/nobody"]}, "an operator sends it on as a report"
    alarm = forwarder.one("CloudWatch::Alarm")
    assert alarm["AlarmActions"] == ["NoticesTopic"]
    subject = alarm["AlarmDescription"].partition(".")[0]
    assert f"| {subject} |" in (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert [each["Endpoint"] for each in forwarder.of_type("SNS::Subscription").values()] == ["security@example.com"]


def test_the_deployments_bus_takes_these_events_from_the_forwarders_role_alone(deployed: Template) -> None:
    about = [
        statement
        for statement in deployed.one("Events::EventBus")["Policy"]["Statement"]
        if "aws.securityhub" in str(statement["Condition"])
    ]
    deny, allow = sorted(about, key=lambda statement: statement["Effect"], reverse=True)
    assert deny["Condition"]["ArnNotLike"] == {"aws:PrincipalArn": [ROLE]}
    assert allow["Condition"]["ArnLike"] == {"aws:PrincipalArn": [ROLE]}
    assert allow["Condition"]["ForAllValues:StringEquals"] == {"events:source": ["aws.securityhub"]}


def test_the_deployments_rule_reads_them_from_its_own_bus(deployed: Template) -> None:
    (rule,) = (rule for rule in deployed.of_type("Events::Rule").values() if "hub-lock" in rule["Name"])
    assert rule["EventBusName"] == "Bus"
    (unknown,) = (rule for rule in deployed.of_type("Events::Rule").values() if "UnknownSources" in rule["Name"])
    assert "aws.securityhub" in unknown["EventPattern"]["source"][0]["anything-but"]


def test_names_fit_for_the_longest_owner_forwarder_and_source(forwarded: Configuration, tmp_path: Path) -> None:
    from config_reader import loader

    text = (loader.DIRECTORY / "example.toml").read_text(encoding="utf-8").replace('"prod"', f'"{"o" * 20}"')
    more = """
[[sources]]
name = "SOURCE"
forwarders = ["FORWARDER"]
pattern = { source = ["x"], account = ["444455556666"] }
realm = "account"
action = "lock-user"
reason = "compromised"
user = "detail.user"
[[forwarders]]
name = "FORWARDER"
account = "444455556666"
region = "us-east-1"
"""
    more = more.replace("SOURCE", "s" * 64).replace("FORWARDER", "f" * 16)
    longest = loader.read(f'account = "123456789012"\n{text}{more}', "x")
    app.forward(longest, "f" * 16, tmp_path)
    template = read_template(tmp_path)
    assert re.fullmatch(r"[\w.-]{1,64}", template.one("Events::Rule")["Name"])
    assert len(template.one("IAM::Role")["RoleName"]) <= 64


def test_an_unknown_forwarder_is_named_with_the_known_ones(forwarded: Configuration, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no forwarder 'securty' \(did you mean 'security'\?\)"):
        app.forward(forwarded, "securty", tmp_path)
