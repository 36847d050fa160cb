import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from configuration import event_pattern, loader, sources
from configuration.loader import Configuration, ConfigurationError
from configuration.sources import Source, Webhook
from device_lockout.aws.webhook_log import ABANDONED_AFTER
from device_lockout.inbound import event_mapping as mapping
from device_lockout.inbound import report
from device_lockout.values import actions, settings
from device_lockout.values.command import Lock
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

OURS = """
[[sources]]
name = "ours"
pattern = { source = ["x"] }
action = "lock-user"
reason = "compromised"
user = "detail.user"
"""

EXPRESSION = 'sources[3].user: "{}": expected a JMESPath expression, such as detail.user ({})'

WEBHOOK = """
[[webhooks]]
name = "x"
authenticate = "basic"
secret = "lockout-x"
"""


def read(extra: str) -> Configuration:
    return loader.read(EXAMPLE + extra, "config/x.toml")


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
            changed("detail.target[0].alternateId", "foo[?lenght(a) > `1`] | [0]"),
            EXPRESSION.format("foo[?lenght(a) > `1`] | [0]", "there is no function lenght() (did you mean 'length'?)"),
        ),
        (
            changed("detail.target[0].alternateId", "join(detail.a)"),
            EXPRESSION.format("join(detail.a)", "join() takes 2 argument(s), not 1"),
        ),
        (
            changed("detail.target[0].alternateId", "[length(b, c)][0]"),
            EXPRESSION.format("[length(b, c)][0]", "length() takes 1 argument(s), not 2"),
        ),
        (
            changed("detail.target[0].alternateId", "not_null()"),
            EXPRESSION.format("not_null()", "not_null() takes 1 argument(s) or more, not 0"),
        ),
        (
            changed('"detail-type"', '"detail_type"'),
            "sources[3].pattern.detail_type: no event has this (did you mean 'detail-type'?): expected some of source",
        ),
        (
            changed('bus = "aws.partner/okta.com/acme/stream1"', "").replace('"detail-type"', "sorce"),
            "sources[3].pattern.sorce: no event has this (did you mean 'source'?): expected some of source, ",
        ),
        (
            changed('"detail-type" = ["SystemLog"], ', '"$or" = [{ sorce = ["a"] }, { source = ["b"] }], '),
            "sources[3].pattern.sorce: no event has this (did you mean 'source'?): expected some of source, ",
        ),
        (
            GOOD.replace('"okta"', '"a/b"') + GOOD.replace('"okta"', '"a--b"'),
            'sources[].name: "a--b": expected to diff',
        ),
        (
            GOOD + 'publishers = ["arn:aws:iam::111122223333:role/x"]\n',
            "sources[3].publishers: expected none with a bus",
        ),
        (
            '[[sources]]\nname = "x"\nmay = ["lock"]\npublishers = []\n',
            "sources[3].publishers: []: expected one ARN of an IAM role or user or more; left out, anybody may publish",
        ),
        (
            OURS + 'publishers = ["arn:aws:iam::111122223333:role/x"]\n' + OURS.replace('"ours"', '"also"'),
            'sources[4].publishers: expected the same as of source "ours", which reads "x" as well',
        ),
        (
            OURS.replace('["x"]', '["webhook.x"]') + 'publishers = ["arn:aws:iam::111122223333:role/x"]\n' + WEBHOOK,
            'sources[3].publishers: expected none: only the webhook function sends "webhook.x"',
        ),
        (
            OURS.replace('["x"]', '["webhook.x"]') + WEBHOOK.replace('"x"', '"xx"'),
            'sources[3].pattern: "webhook.x": expected the name of a [[webhooks]] behind webhook. (did you mean',
        ),
        (
            OURS.replace('["x"]', '["webhook.x"]'),
            'sources[3].pattern: "webhook.x": expected the name of a [[webhooks]]',
        ),
        (WEBHOOK, 'webhooks[0].name: "x": expected a source with a pattern that reads "webhook.x": nobody would'),
        (
            OURS + WEBHOOK,
            'webhooks[0].name: "x": expected a source with a pattern that reads "webhook.x": nobody would',
        ),
        (
            WEBHOOK.replace('"lockout-x"', '"arn:aws:x"'),
            'webhooks[0].secret: "arn:aws:x": expected the name, not the ARN',
        ),
        (WEBHOOK + 'accept_previous_for = "31d"\n', 'webhooks[0].accept_previous_for: "31d": expected a duration from'),
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
    assert len([line for line in said if ".pattern" in line.split(": ")[1]]) <= 1, "one mistake is one line"


def test_what_a_pattern_or_an_expression_may_say_is_no_mistake() -> None:
    read(changed('"detail-type" = ["SystemLog"], ', '"$or" = [{ source = ["a"] }, { replay-name = ["b"] }], '))
    read(changed("detail.target[0].alternateId", "not_null(a, b) || merge(c) || sort_by(d, &e)[0:2] | join('', @)"))
    read(OURS.replace('["x"]', '["webhook.x"]') + WEBHOOK + 'accept_previous_for = "1h"\n')


def test_a_webhooks_settings_reach_the_function() -> None:
    known = read(OURS.replace('["x"]', '["webhook.x"]') + WEBHOOK + 'accept_previous_for = "1h"\n')
    expected = settings.Webhook("x", "basic", "lockout-x", timedelta(hours=1))
    assert settings.parse(known.settings()).webhooks == (expected,)
    by_default = read(OURS.replace('["x"]', '["webhook.x"]') + WEBHOOK)
    assert settings.parse(by_default.settings()).webhooks == (replace(expected, accept_previous_for=timedelta()),)


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
    assert actions.Action == sources.Action
    assert actions.Permission == sources.Act


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
    return [source for source in loader.load("local", CONFIG).sources if source.mapping is not None]


def test_there_is_a_sample_event_for_each_ready_made_source_and_its_pattern_matches_no_other() -> None:
    ready = mapped()
    assert {source.name for source in ready} <= {path.stem for path in SAMPLES.glob("*.json")}
    patterns = [source.mapping.pattern for source in ready if source.mapping]
    events = [json.loads((SAMPLES / f"{source.name}.json").read_text(encoding="utf-8")) for source in ready]
    # Ask about all of them at once: a process for each event would take twenty times as long.
    event_pattern._ask((pattern, {**event_pattern._ENVELOPE, **event}) for event in events for pattern in patterns)
    for source, event in zip(ready, events, strict=True):
        matching = event_pattern.matching(patterns, event)
        assert [other.name for other, found in zip(ready, matching, strict=True) if found] == [source.name]


def test_a_finding_that_is_imported_again_happened_when_it_was_created() -> None:
    """Else a product's update of a finding would lock anew a device that was recovered meanwhile."""
    known = settings.parse(loader.load("local", CONFIG).settings())
    event = json.loads((SAMPLES / "security-hub-own-finding.json").read_text(encoding="utf-8"))
    event["detail"]["findings"][0]["UpdatedAt"] = "2026-11-23T10:00:00.000Z"
    received = datetime(2026, 11, 23, 10, tzinfo=UTC)
    body = json.dumps({"mappedSource": "security-hub-own-finding", "event": event})
    command = report.read(body, "again", received, known)
    assert isinstance(command, Lock)
    assert command.claim.at == datetime(2026, 11, 22, 8, 59, 58, 412000, tzinfo=UTC)


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


HELPDESK, SIEM = (f"arn:aws:iam::111122223333:role/{name}" for name in ("helpdesk", "siem"))


def may_put(template: Template, caller: str, *sources: str, own_policy: bool = False) -> bool:
    """Whether the bus takes a call with events of these sources, as IAM decides with the bus's policy.

    `own_policy`: whether the caller's own policies allow it, which suffices within the account.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
    """

    def holds(operator: str, key: str, values: list[str] | str) -> bool:
        match operator:
            case "ForAnyValue:StringEquals":
                return any(source in values for source in sources)
            case "ForAnyValue:StringLike":
                return any(fnmatchcase(source, value) for source in sources for value in values)
            case "ForAllValues:StringEquals":
                return all(source in values for source in sources)
            case "Null":
                return (not sources) is (values == "true")
            case "ArnEquals":
                return caller in values
            case "ArnNotEquals":
                return caller not in values
        raise AssertionError(f"what is {operator} of {key}?")

    effects = set()
    for statement in template.one("Events::EventBus")["Policy"]["Statement"]:
        assert (statement["Principal"], statement["Action"]) == ("*", "events:PutEvents")
        assert statement["Resource"].endswith(":event-bus/device-security")
        conditions = ((o, k, v) for o, keys in statement["Condition"].items() for k, v in keys.items())
        if all(holds(*each) for each in conditions):
            effects.add(statement["Effect"])
    return "Deny" not in effects and (own_policy or "Allow" in effects)


@pytest.fixture(scope="module")
def with_publishers(synthesize: Any, deployment: Configuration) -> Template:
    """The helpdesk has publishers, as has a mapped source on our bus; there is a webhook."""
    mapping = sources.Mapping(None, {"source": ["alerts"]}, "lock-user", "compromised", {"user": "detail.user"})
    of_webhook = replace(mapping, pattern={"source": ["webhook.jamf"]})
    known = (
        *(replace(each, publishers=(HELPDESK,) if each.name == "helpdesk" else ()) for each in deployment.sources),
        Source("alerting", ("lock",), (HELPDESK, SIEM), mapping),
        Source("jamf", ("lock",), (), of_webhook),
    )
    webhooks = (Webhook("jamf", "basic", "lockout/jamf"),)
    template: Template = synthesize(replace(deployment, sources=known, webhooks=webhooks))
    return template


@pytest.mark.slow
def test_only_publishers_may_use_a_sources_name_and_need_no_more_than_the_bus_policy(with_publishers: Template) -> None:
    bus = with_publishers
    assert may_put(bus, HELPDESK, "helpdesk")
    assert may_put(bus, HELPDESK, "alerts", "alerts")
    assert may_put(bus, SIEM, "alerts")
    assert not may_put(bus, SIEM, "helpdesk", own_policy=True)
    assert not may_put(bus, SIEM, "alerts", "helpdesk", own_policy=True)
    assert not may_put(bus, HELPDESK), "no source at all"
    assert not may_put(bus, HELPDESK, "helpdesk", "siem"), "a publisher of one source may not use others"
    assert not may_put(bus, SIEM, "siem"), "it has no publishers: who may is up to IAM"
    assert may_put(bus, SIEM, "siem", own_policy=True)


@pytest.mark.slow
def test_nobody_else_may_speak_as_the_system_or_as_a_webhook(with_publishers: Template, template: Template) -> None:
    writer, receiver = "ApplyCommandsRole.Arn", "WebhooksReceiveRole.Arn"
    assert may_put(with_publishers, writer, "device-lockout", own_policy=True)
    assert may_put(with_publishers, "SweepOverridesRole.Arn", "device-lockout", own_policy=True)
    assert may_put(with_publishers, receiver, "webhook.jamf", own_policy=True)
    for name in ("device-lockout", "webhook.jamf", "webhook.other"):
        assert not may_put(with_publishers, HELPDESK, name, own_policy=True)
        assert not may_put(with_publishers, HELPDESK, "helpdesk", name, own_policy=True)
    for role in (HELPDESK, *(f"{name}.Arn" for name in template.of_type("IAM::Role"))):
        assert not may_put(template, role, "webhook.jamf", own_policy=True), "there is no webhook function"


@pytest.mark.slow
def test_the_webhook_function_has_a_url_and_may_read_the_senders_secrets_and_no_others(
    with_publishers: Template,
) -> None:
    template = with_publishers
    assert template.one("Lambda::Url")["AuthType"] == "NONE"
    assert template.outputs["WebhooksUrl"]["Value"] == "WebhooksReceiveFunctionFunctionUrl.FunctionUrl"
    (receiver,) = (f for f in template.of_type("Lambda::Function").values() if "webhooks" in f["Handler"])
    assert receiver["ReservedConcurrentExecutions"] == 5
    assert receiver["Timeout"] < ABANDONED_AFTER.total_seconds(), "what it took and did not pass on can come again"
    handlers = {function["Handler"] for function in template.of_type("Lambda::Function").values()}
    assert handlers == {f"{path.stem}.handler" for path in (ROOT / "functions").glob("*.py")}
    allowed = {frozenset(actions): resources for actions, resources in template.statements("WebhooksReceiveRole")}
    assert allowed.pop(frozenset({"logs:CreateLogStream", "logs:PutLogEvents"}))
    assert allowed == {
        frozenset({"events:PutEvents"}): {"Bus.Arn"},
        frozenset({"dynamodb:PutItem"}): {"LedgerTable.Arn"},
        frozenset({"secretsmanager:GetSecretValue"}): {
            # Six characters of Secrets Manager's own choice: those of no longer name.
            "arn:AWS::Partition:secretsmanager:eu-west-1:AWS::AccountId:secret:lockout/jamf-??????"
        },
    }


@pytest.mark.slow
def test_there_is_no_url_unless_a_sender_is_configured(template: Template) -> None:
    assert not template.of_type("Lambda::Url")
    assert "WebhooksUrl" not in template.outputs
