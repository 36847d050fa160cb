"""What EventBridge and SQS take of a deployment: the policy of the bus, the patterns and the names of its rules.

The loader measures them, so that a configuration which AWS would refuse is a mistake with a figure. `infra` makes the
template of the same parts.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from config_reader.sources import DEFAULT_BUS, Route
from device_lockout.values import outcome
from device_lockout.values.settings import WEBHOOK_PREFIX

if TYPE_CHECKING:
    from config_reader.loader import Configuration

BUS_POLICY = 10_240
"""Characters of a bus's policy. https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html"""

PATTERN = 2_048
"""Characters of a rule's pattern. The same page."""

ARNS_OF_A_QUEUE = 6_500
"""Characters of rules' and operators' ARNs in a queue's policy. It has 8,192 in all, enough for about fifty sources.

So no bus comes to have the 300 rules that EventBridge allows.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html
"""

_ACCOUNT = "0" * 12
_ROLE = f"arn:aws:iam::{_ACCOUNT}:role/{'r' * 64}"
"""A role of the stack. CloudFormation makes its name, of 64 characters at most."""


def stack_name(owner: str) -> str:
    return f"device-lockout-{owner}"


def rule_name(stack: str, id: str) -> str:  # noqa: A002 (as constructs call it)
    """Return a valid name of at most 64 characters. No other stack's rule on the bus has it."""
    digest = hashlib.sha256(f"{stack}/{id}".encode()).hexdigest()[:8]
    readable = re.sub(r"[^\w.-]", "-", id.partition("-")[2] or id, flags=re.ASCII)
    return f"{stack}-{readable[: 64 - len(stack) - len(digest) - 2]}-{digest}"


def rule_id(name: str, *, mapped: bool) -> str:
    """Return the ID of the construct of a source's rule."""
    return f"{'Mapped' if mapped else 'Reports'}-{name}"


def rule_arn(rule: str, bus: str, *, partition: str, region: str, account: str) -> str:
    """Return the ARN of a rule.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
    """
    return f"arn:{partition}:events:{region}:{account}:rule/{'' if bus == DEFAULT_BUS else f'{bus}/'}{rule}"


def pattern_of(pattern: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule's pattern. No rule takes what an archive replays: its events happened long ago."""
    return {"replay-name": [{"exists": False}], **pattern}


def unknown_sources(routes: Mapping[str, Route]) -> dict[str, Any]:
    """Return the pattern of events on the deployment's own bus that no source reads."""
    known = dict.fromkeys(name for route in routes.values() for name in route.on_own_bus)
    return {"source": [{"anything-but": [*known, outcome.SOURCE]}]}


def published(routes: Mapping[str, Route]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], str]]:
    """Yield what the policy must say of the sources: their names, with their publishers and organization."""
    names: dict[tuple[tuple[str, ...], str], dict[str, None]] = {}
    for route in routes.values():
        if route.publishers or route.organization:
            names.setdefault((route.publishers, route.organization), {}).update(dict.fromkeys(route.on_own_bus))
    for (publishers, organization), sources in names.items():
        yield tuple(sources), publishers, organization


def reserved(sources: Sequence[str], publishers: Sequence[str], organization: str = "") -> dict[str, Any]:
    """Return the conditions to deny events of these sources to all but these IAM principals or an organization's.

    Without either, they are denied to everybody. A source may end in the wildcard `*`.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html#eb-events-pattern-example
    """
    like = "StringLike" if any(source.endswith("*") for source in sources) else "StringEquals"
    return {
        f"ForAnyValue:{like}": {"events:source": [*sources]},
        **({"ArnNotLike": {"aws:PrincipalArn": [*publishers]}} if publishers else {}),
        **({"StringNotEquals": {"aws:PrincipalOrgID": organization}} if organization else {}),
    }


def allowed(sources: Sequence[str], publishers: Sequence[str], organization: str = "") -> Iterator[dict[str, Any]]:
    """Yield the conditions to allow these principals of any account to put events of these sources, and no others.

    `ForAllValues` is also true for a call without a source, so `Null` excludes such calls.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
    """
    those: dict[str, Any] = {
        "ForAllValues:StringEquals": {"events:source": [*sources]},
        "Null": {"events:source": "false"},
    }
    if publishers:
        yield {**those, "ArnLike": {"aws:PrincipalArn": [*publishers]}}
    if organization:
        yield {**those, "StringEquals": {"aws:PrincipalOrgID": organization}}


def statement(effect: str, number: int, conditions: Mapping[str, Any], bus_arn: str) -> dict[str, Any]:
    """Return a statement on `events:PutEvents` of the policy of the bus."""
    return {
        "Sid": f"{effect}{number}",
        "Effect": effect,
        "Principal": "*",
        "Action": "events:PutEvents",
        "Resource": bus_arn,
        "Condition": conditions,
    }


def problems(configuration: "Configuration") -> Iterator[str]:
    """Yield what AWS would refuse at the deployment, as `key: figure and limit`."""
    routes, stack = configuration.routes, stack_name(configuration.settings.owner)
    policy = _policy(configuration)
    if policy > BUS_POLICY:
        yield (
            f"sources[].publishers: the policy of the bus takes {policy:,} characters: expected at most {BUS_POLICY:,},"
            " so fewer sources with publishers of their own, publishers with a wildcard, or publishers_organization"
        )
    patterns = {f"sources[].pattern of {name!r}": route.pattern for name, route in routes.items()}
    for key, pattern in {**patterns, "sources[].name": unknown_sources(routes)}.items():
        taken = len(json.dumps(pattern_of(pattern), separators=(",", ":"), ensure_ascii=False))
        if taken > PATTERN:
            what = "the pattern of unknown sources, which lists all names," if key == "sources[].name" else "it"
            shorter = "fewer or shorter names" if key == "sources[].name" else "a shorter pattern or two sources"
            yield f"{key}: {what} takes {taken:,} characters: expected at most {PATTERN:,}, so {shorter}"
    rules = {
        rule_id(source.name, mapped=source.mapping is not None): routes[source.name].bus or configuration.bus
        for source in configuration.settings.sources
    }
    rules |= {"UnknownSources": configuration.bus, "Pages": configuration.bus}
    if configuration.tamper_watch:
        rules["TamperWatch"] = DEFAULT_BUS
    arns = [
        rule_arn(rule_name(stack, rule), bus, partition="aws", region=configuration.region, account=_ACCOUNT)
        for rule, bus in rules.items()
    ]
    taken = sum(len(arn) + len('"",') for arn in [*arns, *configuration.operators])
    if taken > ARNS_OF_A_QUEUE:
        yield (
            f"sources: the ARNs of {len(arns)} rules and {len(configuration.operators)} operators take {taken:,}"
            f" characters of a queue's policy: expected at most {ARNS_OF_A_QUEUE:,}, so fewer sources or shorter names"
        )


def _policy(configuration: "Configuration") -> int:
    """Return the characters of the policy of the bus, with the longest names that CloudFormation can make."""
    bus = f"arn:aws:events:{configuration.region}:{_ACCOUNT}:event-bus/{configuration.bus}"
    conditions = [
        ("Deny", reserved([outcome.SOURCE], [_ROLE, _ROLE])),
        ("Deny", reserved([f"{WEBHOOK_PREFIX}*"], [_ROLE] if configuration.settings.webhooks else [])),
    ]
    if configuration.drill:
        conditions.append(("Deny", reserved([outcome.DRILL], [_ROLE])))
    for group in published(configuration.routes):
        conditions += [("Deny", reserved(*group)), *(("Allow", each) for each in allowed(*group))]
    statements = [statement(effect, number, each, bus) for number, (effect, each) in enumerate(conditions)]
    return len(json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":")))
