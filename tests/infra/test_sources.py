import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_lockout import mapping
from device_lockout.ledger import WEBHOOK_LIVES
from infra import configuration, event_pattern, sources
from infra.configuration import Configuration, ConfigurationError
from infra.sources import Webhook
from tests.infra.conftest import ROOT, Template

CONFIG = ROOT / "config"
EXAMPLE = (CONFIG / "example.toml").read_text(encoding="utf-8")
SAMPLES = ROOT / "samples"

GOOD = """
[[sources]]
name = "okta"
bus = "aws.partner/okta.com/acme/stream1"
pattern = { "detail-type" = ["SystemLog"], detail = { eventType = [{ prefix = "user." }] } }
action = "lock-user"
reason = "compromised"
user = "detail.target[0].alternateId"
"""


def read(extra: str) -> Configuration:
    return configuration.read(EXAMPLE + extra, "config/x.toml")


def mistakes(extra: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(extra)
    return str(caught.value).splitlines()


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_mapped_source_is_read() -> None:
    source = read(GOOD).sources[-1]
    assert source.settings() == {
        "name": "okta",
        "may": ["lock"],
        "mapping": {
            "action": "lock-user",
            "reason": "compromised",
            "expressions": {"user": "detail.target[0].alternateId"},
        },
    }


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (changed("user.", "us") + "usr = 'x'\n", "sources[3].usr: unknown key (did you mean 'user'?): expected one of"),
        (
            changed("prefix", "prefx"),
            "sources[3].pattern: expected what EventBridge accepts as a pattern: Unrecognized",
        ),
        (changed('["SystemLog"]', "[]"), "sources[3].pattern: expected what EventBridge accepts as a pattern: detail-"),
        (
            changed('bus = "aws.partner/okta.com', 'bus = "okta.com'),
            'sources[3].bus: "okta.com/acme/stream1": expected',
        ),
        (changed('"lock-user"', '"lok-user"'), 'sources[3].action: "lok-user": expected one of lock, release, lock-us'),
        (
            changed('"lock-user"', '"lock"'),
            'sources[3].action: "lock" needs to know of whom: expected expressions for ',
        ),
        (
            changed('"lock-user"', '"enroll"').replace('reason = "compromised"', ""),
            'sources[3].action: "enroll" needs ',
        ),
        (changed('"compromised"', '"hacked"'), 'sources[3].reason: "hacked": expected one of the tables [reasons.…] ('),
        (changed('reason = "compromised"', ""), "sources[3].reason: missing: expected the name of a table [reasons.…]"),
        (
            changed("target[0]", "target[0"),
            'sources[3].user: "detail.target[0.alternateId": expected a JMESPath expres',
        ),
        (
            changed('bus = "aws.partner/okta.com/acme/stream1"', ""),
            'sources[3].pattern: expected source = ["…"] with n',
        ),
        ('[[sources]]\nname = "webhook.x"\nmay = ["lock"]\n', 'sources[3].name: "webhook.x": expected a name of your '),
        (
            '[[sources]]\nname = "x"\nmay = ["lock"]\npublishers = ["bob"]\n',
            'sources[3].publishers[0]: "bob": expected ',
        ),
        (
            '[[webhooks]]\nname = "x"\nauthenticate = "none"\nsecret = "s"\n',
            'webhooks[0].authenticate: "none": expected',
        ),
    ],
)
def test_a_mistake_in_a_source_names_file_key_and_fix(extra: str, expected: str) -> None:
    said = mistakes(extra)
    assert any(line.startswith(f"config/x.toml: {expected}") for line in said), said


def test_five_different_mistakes_in_sources_are_five_messages_of_one_run() -> None:
    extra = """
    [[sources]]
    name = "one"
    bus = "somewhere"
    pattern = { source = ["x"] }
    action = "lock-user"
    reason = "compromised"
    user = "a"
    [[sources]]
    name = "two"
    bus = "default"
    pattern = { source = [{ begins = "x" }] }
    action = "lock-user"
    reason = "compromised"
    user = "a"
    [[sources]]
    name = "three"
    bus = "default"
    pattern = { source = ["x"] }
    action = "lock"
    reason = "compromised"
    user = "a"
    [[sources]]
    name = "four"
    bus = "default"
    pattern = { source = ["x"] }
    action = "release-user"
    user = "a ||"
    [[sources]]
    name = "five"
    bus = "default"
    pattern = { source = ["x"] }
    action = "lock-user"
    reason = "rumour"
    user = "a"
    """
    said = mistakes(extra)
    assert [line.split(": ")[:2] for line in said] == [
        ["config/x.toml", "sources[3].bus"],
        ["config/x.toml", "sources[5].action"],
        ["config/x.toml", "sources[6].user"],
        ["config/x.toml", "sources[4].pattern"],
        ["config/x.toml", "sources[7].reason"],
    ]
    assert all("expected" in line for line in said)


@pytest.mark.parametrize("taken", ["helpdesk", "device-lockout"])
def test_a_pattern_on_our_own_bus_reads_nothing_that_others_answer_for(taken: str) -> None:
    extra = changed('bus = "aws.partner/okta.com/acme/stream1"', "").replace(
        '{ "detail-type"', f'{{ source = ["{taken}"], "detail-type"'
    )
    assert "must not read what others answer for" in mistakes(extra)[0]


def test_expressions_actions_and_rights_are_called_the_same_here_and_in_the_functions() -> None:
    assert tuple(mapping.FIELDS) == sources.EXPRESSIONS
    assert mapping.Action == sources.Action
    from device_lockout import settings

    assert settings.Act == sources.Act


def test_with_ministack_half_installed_a_pattern_is_still_checked_for_its_shape(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/bin/false")
    monkeypatch.setattr(event_pattern, "MINISTACK", tmp_path)
    assert event_pattern.faults([{"a": "b"}, {}, {"a": {"b": []}}, {"a": ["b"]}]) == [
        "a must be an object or an array",
        "the pattern is an empty object",
        "a.b is an empty list",
        "",
    ]


# Samples


def mapped() -> list[sources.Source]:
    return [source for source in configuration.load("local", CONFIG).sources if source.mapping is not None]


def test_there_is_a_sample_event_for_each_ready_made_source_and_its_pattern_matches_no_other() -> None:
    ready = mapped()
    assert {source.name for source in ready} <= {path.stem for path in SAMPLES.glob("*.json")}
    for source in ready:
        event = json.loads((SAMPLES / f"{source.name}.json").read_text(encoding="utf-8"))
        patterns = [other.mapping.pattern for other in ready if other.mapping]
        matching = event_pattern.matching(patterns, event)
        assert [other.name for other, found in zip(ready, matching, strict=True) if found] == [source.name]


# The stack


def rule(template: Template, name: str) -> dict[str, Any]:
    (found,) = (each for logical, each in template.of_type("Events::Rule").items() if name.replace("-", "") in logical)
    return found


@pytest.mark.slow
def test_a_mapped_source_has_a_rule_on_its_bus_which_says_whose_event_it_is(local_template: Template) -> None:
    for source in mapped():
        assert source.mapping is not None
        found = rule(local_template, f"Mapped{source.name}")
        assert found.get("EventBusName") == {"default": None, None: "Bus"}.get(source.mapping.bus, source.mapping.bus)
        assert found["EventPattern"] == source.mapping.pattern
        (target,) = found["Targets"]
        assert target["Arn"] == "ReportsQueue.Arn"
        assert target["DeadLetterConfig"] == {"Arn": "BusUndeliveredQueue.Arn"}
        template = target["InputTransformer"]["InputTemplate"]
        event = {"source": "x", "detail": {"a": '"'}}
        rendered = json.loads(template.replace("<aws.events.event.json>", json.dumps(event)))
        assert rendered == {"mappedSource": source.name, "event": event}


@pytest.mark.slow
def test_events_that_a_mapped_source_reads_on_our_bus_are_not_unknown(local_template: Template) -> None:
    (match,) = rule(local_template, "UnknownSources")["EventPattern"]["source"]
    assert {"webhook.jamf", "webhook.workspace-one", "helpdesk", "device-lockout"} <= set(match["anything-but"])


@pytest.mark.slow
def test_nobody_else_may_speak_as_the_system_as_a_webhook_or_as_a_source_with_publishers(
    synthesize: Any, deployment: Configuration
) -> None:
    helpdesk = "arn:aws:iam::111122223333:role/helpdesk"
    known = tuple(
        replace(source, publishers=(helpdesk,)) if source.name == "helpdesk" else source
        for source in deployment.sources
    )
    secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:lockout-jamf-AbCdEf"
    template: Template = synthesize(replace(deployment, sources=known, webhooks=(Webhook("jamf", "basic", secret),)))
    policy = template.one("Events::EventBus")["Policy"]
    assert {statement["Effect"] for statement in policy["Statement"]} == {"Deny"}
    reserved = {
        statement["Condition"]["ForAnyValue:StringEquals"]["events:source"][0]: set(
            statement["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]
        )
        for statement in policy["Statement"]
    }
    assert reserved == {
        "device-lockout": {"ApplyCommandsRole.Arn", "SweepOverridesRole.Arn"},
        "helpdesk": {helpdesk},
        "webhook.jamf": {"WebhooksReceiveRole.Arn"},
    }
    assert template.one("Lambda::Url")["AuthType"] == "NONE"
    (receiver,) = (f for f in template.of_type("Lambda::Function").values() if "webhooks" in f["Handler"])
    assert receiver["ReservedConcurrentExecutions"] == 5
    assert receiver["Timeout"] < WEBHOOK_LIVES.total_seconds(), "what it took and did not pass on can come again"
    handlers = {function["Handler"] for function in template.of_type("Lambda::Function").values()}
    assert handlers == {f"{path.stem}.handler" for path in (ROOT / "functions").glob("*.py")}
    allowed = {frozenset(actions): resources for actions, resources in template.statements("WebhooksReceiveRole")}
    assert allowed.pop(frozenset({"logs:CreateLogStream", "logs:PutLogEvents"}))
    assert allowed == {
        frozenset({"events:PutEvents"}): {"Bus.Arn"},
        frozenset({"dynamodb:PutItem"}): {"LedgerTable.Arn"},
        frozenset({"secretsmanager:GetSecretValue"}): {secret},
    }


@pytest.mark.slow
def test_there_is_no_url_unless_a_sender_is_configured(template: Template) -> None:
    assert not template.of_type("Lambda::Url")
