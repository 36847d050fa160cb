"""The event bus: who may use it, and where its events go."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Aws, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from configuration.loader import Configuration
from configuration.sources import DEFAULT_BUS, Route
from device_lockout.values import outcome
from device_lockout.values.settings import Source
from infra.notices import Notices
from infra.queues import DeadLetters, WorkQueue

ROOM_FOR_RULES = 6_500
"""Bytes. A queue's policy has 8,192 in all, enough for about fifty sources.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html"""
REST_OF_ARN = 60
"""Bytes of a rule's ARN before its name, with quotes and a comma: partition, region and account."""

DELIVERY_AGE = Duration.hours(24)
DELIVERY_ATTEMPTS = 185
"""EventBridge's maximum retries of a delivery.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html"""


class SecurityBus(Construct):
    """The bus with its policy and its rules.

    Each source has a rule that sends its events to the reports queue. A rule of the contract matches the source alone.
    So an event with a misspelt detail-type reaches the router, which rejects it. Another rule sends events of unknown
    sources there. A mapped source's rule adds the source's name, so only EventBridge evaluates patterns.

    The queues' policies allow exactly these rules: another rule of the same prefix would walk round the bus. A rule
    waits for the policy, since EventBridge does not retry without permission.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html

    No rule takes what an archive replays: its events happened long ago and were answered.

    Raises:
        ValueError: There are more rules than a queue's policy has room for.
    """

    def __init__(
        self, scope: Construct, id: str, *, configuration: Configuration, reports: WorkQueue, notices: Notices
    ) -> None:
        super().__init__(scope, id)
        self.bus = events.EventBus(
            self,
            "Bus",
            event_bus_name=configuration.bus,
            description=f"Security events for device lockout ({configuration.settings.owner}), and its outcomes",
        )
        self.undelivered = DeadLetters(
            self, "Undelivered", notices=notices, contents="Events that a rule could not deliver for a day"
        )
        self._statements: list[dict[str, Any]] = []
        self._partners = {
            name: events.CfnEventBus(self, f"Partner-{name}", name=name, event_source_name=name)
            for name in configuration.partner_buses
        }
        self._rules: dict[str, list[str]] = {}
        names_of: dict[tuple[str, ...], list[str]] = {}
        for source in configuration.settings.sources:
            route = configuration.routes[source.name]
            self._add_source_rule(source, route, reports.queue)
            names = names_of.setdefault(route.publishers, [])
            names += [name for name in route.on_own_bus if name not in names]
        for publishers, names in names_of.items():
            if publishers:
                self.reserve(names, publishers)
                self._allow(names, publishers)
        known = dict.fromkeys(name for route in configuration.routes.values() for name in route.on_own_bus)
        self._add_rule(
            "UnknownSources",
            "Events of unknown sources, which the router rejects",
            None,
            {"source": [{"anything-but": [*known, outcome.SOURCE]}]},
            reports.queue,
        )
        self._add_rule(
            "Pages",
            "Messages of outcomes that need attention",
            None,
            {"source": [outcome.SOURCE], "detail": {"page": [True]}},
            notices.topic,
        )

    def watch(self, writer_role: str, reports: sqs.Queue) -> None:
        """Let the router know of each change of an override that CloudTrail saw and that is not the writer's.

        IAM users and root have no session's issuer, and `anything-but` does not match what is absent.
        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
        """
        issuer = ({"anything-but": [writer_role]}, {"exists": False})
        self._add_rule(
            "TamperWatch",
            "Overrides that somebody else changed",
            DEFAULT_BUS,
            {
                "source": ["aws.workmail"],
                "detail-type": ["AWS API Call via CloudTrail"],
                "detail": {
                    "eventSource": ["workmail.amazonaws.com"],
                    "eventName": ["PutMobileDeviceAccessOverride", "DeleteMobileDeviceAccessOverride"],
                    "errorCode": [{"exists": False}],
                    "$or": [{"userIdentity": {"sessionContext": {"sessionIssuer": {"arn": [of]}}}} for of in issuer],
                },
            },
            reports,
            outcome.SOURCE,
        )

    def allow_rules(self, reports: sqs.Queue) -> None:
        """Allow the rules that there are by now to send to their queues, and no others."""
        let_rules_send(reports, self._rules["Reports"])
        let_rules_send(self.undelivered.queue, [*self._rules["Reports"], *self._rules["Notices"]])

    def reserve(self, sources: Sequence[str], publishers: Sequence[str]) -> None:
        """Deny events of these sources to everybody but these IAM principals, whatever their own policies say.

        Without publishers, deny them to everybody. A source may end in the wildcard `*`.
        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html#eb-events-pattern-example
        """
        like = "StringLike" if any(source.endswith("*") for source in sources) else "StringEquals"
        others = {"ArnNotEquals": {"aws:PrincipalArn": [*publishers]}} if publishers else {}
        self._add_statement("Deny", {f"ForAnyValue:{like}": {"events:source": [*sources]}, **others})

    def _allow(self, sources: Sequence[str], publishers: Sequence[str]) -> None:
        """Allow these IAM principals of any account to put events of these sources, and no others, on the bus.

        `ForAllValues` is also true for a call without a source, so `Null` excludes such calls.
        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
        """
        self._add_statement(
            "Allow",
            {
                "ForAllValues:StringEquals": {"events:source": [*sources]},
                "Null": {"events:source": "false"},
                "ArnEquals": {"aws:PrincipalArn": [*publishers]},
            },
        )

    def _add_statement(self, effect: str, conditions: Mapping[str, Any]) -> None:
        """Add a statement on `events:PutEvents` to the policy of the bus."""
        self._statements.append(
            {
                "Sid": f"{effect}{len(self._statements)}",
                "Effect": effect,
                "Principal": "*",
                "Action": "events:PutEvents",
                "Resource": f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:event-bus/{self._name}",
                "Condition": conditions,
            }
        )
        bus = self.bus.node.default_child
        assert isinstance(bus, events.CfnEventBus)
        bus.policy = {"Version": "2012-10-17", "Statement": self._statements}

    @property
    def _name(self) -> str:
        bus = self.bus.node.default_child
        assert isinstance(bus, events.CfnEventBus)
        return bus.name

    def _add_source_rule(self, source: Source, route: Route, reports: sqs.Queue) -> None:
        name = source.name
        if source.mapping is None:
            self._add_rule(f"Reports-{name}", f"Reports by {name}", route.bus, route.pattern, reports)
            return
        rule = self._add_rule(
            f"Mapped-{name}", f"Events of the mapped source {name}", route.bus, route.pattern, reports, name
        )
        if route.bus in self._partners:
            rule.add_resource_dependency(self._partners[route.bus])

    def _add_rule(
        self,
        id: str,
        description: str,
        bus: str | None,
        pattern: Mapping[str, Any],
        target: sqs.Queue | sns.Topic,
        mapped_source: str | None = None,
    ) -> events.CfnRule:
        """Add a rule to a bus (None: ours). It sends whole events to a queue, or an outcome's message to the topic.

        With `mapped_source` the queue gets that name beside the event.

        The message is a JSON string, in quotes. An input template would not escape quotes within the message.
        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html#eb-transform-input-issues

        CDK's own `Rule` supports only part of the pattern language. Its targets also add a statement per rule to the
        queue's policy, and SQS allows 20.
        """
        to_people = isinstance(target, sns.Topic)
        transformed = events.CfnRule.InputTransformerProperty(
            input_template=f'{{"mappedSource":{json.dumps(mapped_source)},"event":<aws.events.event.json>}}'
        )
        name, kind = rule_name(self, id), "Notices" if to_people else "Reports"
        prefix = f"{self._name}/" if bus is None else "" if bus == DEFAULT_BUS else f"{bus}/"
        self._rules.setdefault(kind, []).append(rule_arn(prefix + name))
        rule = events.CfnRule(
            self,
            id,
            name=name,
            description=description,
            event_bus_name=self.bus.event_bus_name if bus is None else None if bus == DEFAULT_BUS else bus,
            event_pattern={"replay-name": [{"exists": False}], **pattern},
            targets=[
                events.CfnRule.TargetProperty(
                    id=kind,
                    arn=target.topic_arn if isinstance(target, sns.Topic) else target.queue_arn,
                    input_path="$.detail.message" if to_people else None,
                    input_transformer=transformed if mapped_source is not None else None,
                    **delivery(self.undelivered.queue),
                )
            ],
        )
        for destination in (target, self.undelivered.queue):
            rule.node.add_dependency(destination.node.find_child("Policy"))
        return rule


def delivery(undelivered: sqs.Queue) -> dict[str, Any]:
    """Return what each rule's target has: a day of tries, and then a dead-letter queue."""
    return {
        "dead_letter_config": events.CfnRule.DeadLetterConfigProperty(arn=undelivered.queue_arn),
        "retry_policy": events.CfnRule.RetryPolicyProperty(
            maximum_event_age_in_seconds=int(DELIVERY_AGE.to_seconds()), maximum_retry_attempts=DELIVERY_ATTEMPTS
        ),
    }


def rule_name(scope: Construct, id: str) -> str:
    """Return a valid name of at most 64 characters. No other stack's rule on the bus has it."""
    stack = Stack.of(scope).stack_name
    digest = hashlib.sha256(f"{stack}/{id}".encode()).hexdigest()[:8]
    readable = re.sub(r"[^\w.-]", "-", id.partition("-")[2] or id, flags=re.ASCII)
    return f"{stack}-{readable[: 64 - len(stack) - len(digest) - 2]}-{digest}"


def rule_arn(name: str) -> str:
    """Return the ARN of a rule. On another bus than the default one, that bus and a slash precede its name."""
    return f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:rule/{name}"


def let_rules_send(queue: sqs.Queue, rules: Sequence[str]) -> None:
    """Allow these rules to send to the queue."""
    taken = sum(len(rule.rpartition(":rule/")[2]) + REST_OF_ARN for rule in rules)
    if taken > ROOM_FOR_RULES:
        raise ValueError(
            f"{queue.node.path}: the ARNs of {len(rules)} rules take {taken} bytes of the queue's policy: expected"
            f" at most {ROOM_FOR_RULES}, so fewer sources or shorter names"
        )
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            conditions={"ArnEquals": {"aws:SourceArn": [*rules]}},
        )
    )
