"""The rules, the bus policy and the webhook function that sources and senders are given."""

import json
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest

from config_reader import event_pattern, loader
from config_reader.loader import Configuration
from config_reader.sources import Route
from device_lockout.aws.webhook_log import ABANDONED_AFTER
from device_lockout.values.settings import EventMapping, Source, Webhook
from tests.infra.conftest import ROOT, Template

pytestmark = pytest.mark.slow


def rule(template: Template, name: str) -> dict[str, Any]:
    (found,) = (each for logical, each in template.of_type("Events::Rule").items() if name.replace("-", "") in logical)
    return found


def test_a_mapped_source_has_a_rule_on_its_bus_which_says_whose_event_it_is(local_template: Template) -> None:
    local = loader.load("local")
    for source in [source for source in local.settings.sources if source.mapping is not None]:
        route = local.routes[source.name]
        found = rule(local_template, f"Mapped{source.name}")
        assert found.get("EventBusName") == {"default": None, None: "Bus"}.get(route.bus, route.bus)
        assert found["EventPattern"] == {"replay-name": [{"exists": False}], **route.pattern}
        (target,) = found["Targets"]
        assert target["Arn"] == "ReportsQueue.Arn"
        assert target["DeadLetterConfig"] == {"Arn": "BusUndeliveredQueue.Arn"}
        template = target["InputTransformer"]["InputTemplate"]
        event = {"source": "x", "detail": {"a": '"'}}
        rendered = json.loads(template.replace("<aws.events.event.json>", json.dumps(event)))
        assert rendered == {"mappedSource": source.name, "event": event}


def test_events_that_a_mapped_source_reads_on_our_bus_are_not_unknown(local_template: Template) -> None:
    (match,) = rule(local_template, "UnknownSources")["EventPattern"]["source"]
    assert {"webhook.jamf", "webhook.workspace-one", "helpdesk", "device-lockout"} <= set(match["anything-but"])


HELPDESK, SIEM = (f"arn:aws:iam::111122223333:role/{name}" for name in ("helpdesk", "siem"))


def may_put(template: Template, caller: str, *sources: str, own_policy: bool = False, organization: str = "") -> bool:
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
            case "ArnLike":
                return any(fnmatchcase(caller, value) for value in values)
            case "ArnNotLike":
                return not any(fnmatchcase(caller, value) for value in values)
            case "StringEquals":
                return organization == values
            case "StringNotEquals":
                return organization != values
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
    mapping = EventMapping("lock-user", "compromised", {"user": "detail.user"})
    mapped = tuple(Source(name, frozenset({"lock"}), mapping) for name in ("alerting", "jamf"))
    settings = replace(
        deployment.settings,
        sources=(*deployment.settings.sources, *mapped),
        webhooks=(Webhook("jamf", "basic", "lockout/jamf"),),
    )
    routes = {
        **deployment.routes,
        "helpdesk": replace(deployment.routes["helpdesk"], publishers=(HELPDESK,)),
        "alerting": Route({"source": ["alerts"]}, publishers=(HELPDESK, SIEM)),
        "jamf": Route({"source": ["webhook.jamf"]}),
    }
    template: Template = synthesize(replace(deployment, settings=settings, routes=routes))
    return template


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


def test_publishers_may_be_an_organization_or_have_a_wildcard(synthesize: Any, deployment: Configuration) -> None:
    routes = {
        **deployment.routes,
        "siem": Route({"source": ["siem"]}, organization="o-a1b2c3d4e5"),
        "helpdesk": Route({"source": ["helpdesk"]}, publishers=("arn:aws:iam::111122223333:role/help*",)),
        "inventory": Route({"source": ["inventory"]}, publishers=(SIEM,), organization="o-a1b2c3d4e5"),
    }
    bus = synthesize(replace(deployment, routes=routes))
    stranger = "arn:aws:iam::999999999999:role/x"
    assert may_put(bus, stranger, "siem", organization="o-a1b2c3d4e5")
    assert not may_put(bus, stranger, "siem", organization="o-0000000000", own_policy=True)
    assert not may_put(bus, stranger, "siem", own_policy=True), "an account of no organization"
    assert may_put(bus, HELPDESK, "helpdesk")
    assert not may_put(bus, SIEM, "helpdesk", own_policy=True)
    assert may_put(bus, SIEM, "inventory")
    assert may_put(bus, stranger, "inventory", organization="o-a1b2c3d4e5"), "either is enough"
    assert not may_put(bus, stranger, "inventory", own_policy=True)


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


def test_the_webhook_function_puts_only_its_own_events_and_writes_only_its_own_items(
    with_publishers: Template,
) -> None:
    policies = with_publishers.of_type("IAM::Policy").values()
    (policy,) = (one for one in policies if one["Roles"] == ["WebhooksReceiveRole"])
    statements = policy["PolicyDocument"]["Statement"]
    conditions = {one["Action"]: one.get("Condition") for one in statements if isinstance(one["Action"], str)}
    assert conditions == {
        "events:PutEvents": {
            "ForAllValues:StringLike": {"events:source": ["webhook.*"]},
            "Null": {"events:source": "false"},
        },
        "dynamodb:PutItem": {
            "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["webhook#*"]},
            "Null": {"dynamodb:LeadingKeys": "false"},
        },
        "secretsmanager:GetSecretValue": None,
    }


def test_there_is_no_url_unless_a_sender_is_configured(template: Template) -> None:
    assert not template.of_type("Lambda::Url")
    assert "WebhooksUrl" not in template.outputs


WRITER = {
    "userIdentity": {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"arn": "ApplyCommandsRole.Arn"}}}
}
ADMIN = {
    "userIdentity": {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::1:role/admin"}}}
}
IAM_USER = {"userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::1:user/eve"}}
PUT, DELETE = "PutMobileDeviceAccessOverride", "DeleteMobileDeviceAccessOverride"


@pytest.mark.parametrize(
    ("detail", "watched"),
    [
        ({"eventName": DELETE, **ADMIN}, True),
        ({"eventName": PUT, **ADMIN}, True),
        ({"eventName": DELETE, **IAM_USER}, True),
        ({"eventName": DELETE, **WRITER}, False),
        ({"eventName": PUT, **ADMIN, "errorCode": "AccessDenied"}, False),
        ({"eventName": "DescribeUser", **ADMIN}, False),
    ],
)
def test_the_tamper_watch_takes_changes_that_succeeded_and_are_not_the_writers(
    template: Template, detail: dict[str, Any], watched: bool
) -> None:
    pattern = rule(template, "TamperWatch")["EventPattern"]
    event = {"source": "aws.workmail", "detail-type": "AWS API Call via CloudTrail"}
    event["detail"] = {"eventSource": "workmail.amazonaws.com", **detail}
    assert event_pattern.matching([pattern], event) == [watched]


def test_without_the_tamper_watch_there_is_no_rule_on_the_default_bus(
    synthesize: Callable[[Configuration], Template], deployment: Configuration
) -> None:
    template = synthesize(replace(deployment, tamper_watch=False))
    assert not [name for name in template.of_type("Events::Rule") if "TamperWatch" in name]
