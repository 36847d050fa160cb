"""The event bus: who may use it, and where its events go."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Aws, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct, IConstruct

from config_reader import bus_limits
from config_reader.loader import Configuration
from config_reader.sources import DEFAULT_BUS, Route
from device_lockout.values import outcome
from device_lockout.values.settings import Source
from infra.notices import Notices
from infra.queues import DeadLetters, WorkQueue
from infra.roles import add_role, grant

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

    Notices go out under a role. A statement of the topic's for rules would be for the rules of any account.

    The loader has measured the policies and the patterns: see :mod:`config_reader.bus_limits`.
    """

    def __init__(
        self, scope: Construct, id: str, *, configuration: Configuration, reports: WorkQueue, notices: Notices
    ) -> None:
        super().__init__(scope, id)
        said = f"Security events for device lockout ({configuration.settings.owner}), and its outcomes"
        self.bus = events.EventBus(self, "Bus", event_bus_name=configuration.bus, description=said)
        made = self.bus.node.default_child
        assert isinstance(made, events.CfnEventBus)
        self._made, self._reports = made, reports.queue
        self.undelivered = DeadLetters(
            self, "Undelivered", notices=notices, contents="Events that a rule could not deliver for a day"
        )
        self._statements: list[dict[str, Any]] = []
        self._partners = {
            name: events.CfnEventBus(self, f"Partner-{name}", name=name, event_source_name=name)
            for name in configuration.partner_buses
        }
        self._rules: list[str] = []
        self._report_rules: list[str] = []
        self._source_rules = [
            self._add_source_rule(source, configuration.routes[source.name])
            for source in configuration.settings.sources
        ]
        for who in bus_limits.published(configuration.routes):
            self.reserve(*who)
            for conditions in bus_limits.allowed(*who):
                self._add_statement("Allow", conditions)
        unknown = self._add_report_rule(
            "UnknownSources",
            "Events of unknown sources, which the router rejects",
            None,
            bus_limits.unknown_sources(configuration.routes),
        )
        unknown.node.add_dependency(*self._source_rules)  # it leaves a new source out once that has its rule
        # The drill's device has alarms of its own.
        quiet = [configuration.drill.device.casefold()] if configuration.drill else []
        others: list[Any] = [{"device": [{"exists": False}]}, {"device": [{"anything-but": quiet}]}] if quiet else [{}]
        if configuration.notices.digest:  # which has a count, and comes in place of all that is for today
            others = [*({"severity": ["act now"], **each} for each in others), {"count": [{"exists": True}]}]
        self._add_rule(
            "Pages",
            "Messages of outcomes that need attention",
            None,
            {"source": [outcome.SOURCE], "detail": {"page": [True], **({"$or": others} if others != [{}] else {})}},
            notices.targets(**delivery(self.undelivered.queue)),
            notices.sender,
        )
        self.forwards_to = [configuration.forward_outcomes] if configuration.forward_outcomes else []
        for to in self.forwards_to:
            # That bus must let the role put events.
            # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html
            said = "Permission of the rule that sends outcomes on"
            role = add_role(self, "OutcomesRole", "events", said, grant(["events:PutEvents"], [to]))
            target = events.CfnRule.TargetProperty(
                id="Bus", arn=to, role_arn=role.role_arn, **delivery(self.undelivered.queue)
            )
            self._add_rule("Outcomes", "Outcomes, to another bus", None, {"source": [outcome.SOURCE]}, [target], role)

    def watch(self, writer_role: str) -> None:
        """Let the router know of each change of an override that CloudTrail saw and that is not the writer's.

        IAM users and root have no session's issuer, and `anything-but` does not match what is absent.
        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
        """
        issuer = ({"anything-but": [writer_role]}, {"exists": False})
        watch = self._add_report_rule(
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
            outcome.SOURCE,
        )
        self._source_rules.append(watch)

    def reserve(self, sources: Sequence[str], publishers: Sequence[str], organization: str = "") -> None:
        """Deny events of these sources to all but these principals, whatever their own policies say."""
        self._add_statement("Deny", bus_limits.reserved(sources, publishers, organization))

    def connect(self, router: Construct) -> None:
        """Allow the rules that there are by now to send to their queues, and no others.

        Create and change them after the router: its code knows whose events they send.
        """
        let_rules_send(self._reports, self._report_rules)
        let_rules_send(self.undelivered.queue, self._rules)
        for rule in self._source_rules:
            rule.node.add_dependency(router)

    def _add_statement(self, effect: str, conditions: Mapping[str, Any]) -> None:
        arn = f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:event-bus/{self._made.name}"
        self._statements.append(bus_limits.statement(effect, len(self._statements), conditions, arn))
        self._made.policy = {"Version": "2012-10-17", "Statement": self._statements}

    def _add_source_rule(self, source: Source, route: Route) -> events.CfnRule:
        name, mapped = source.name, source.mapping is not None
        rule = self._add_report_rule(
            bus_limits.rule_id(name, mapped=mapped),
            f"Events of the mapped source {name}" if mapped else f"Reports by {name}",
            route.bus,
            route.pattern,
            name if mapped else None,
        )
        if route.bus in self._partners:
            rule.add_resource_dependency(self._partners[route.bus])
        return rule

    def _add_report_rule(
        self,
        id: str,
        description: str,
        bus: str | None,
        pattern: Mapping[str, Any],
        mapped_source: str | None = None,
    ) -> events.CfnRule:
        """Add a rule that sends whole events to the queue. A mapped source's name comes beside them.

        Each rule's events are a group, so that those of one that has many keep no others waiting:
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
        """
        transformed = events.CfnRule.InputTransformerProperty(
            input_template=f'{{"mappedSource":{json.dumps(mapped_source)},"event":<aws.events.event.json>}}'
        )
        target = events.CfnRule.TargetProperty(
            id="Reports",
            arn=self._reports.queue_arn,
            input_transformer=transformed if mapped_source is not None else None,
            sqs_parameters=events.CfnRule.SqsParametersProperty(message_group_id=id),
            **delivery(self.undelivered.queue),
        )
        rule = self._add_rule(id, description, bus, pattern, [target], self._reports.node.find_child("Policy"))
        self._report_rules.append(self._rules[-1])
        return rule

    def _add_rule(
        self,
        id: str,
        description: str,
        bus: str | None,
        pattern: Mapping[str, Any],
        targets: Sequence[events.CfnRule.TargetProperty],
        permission: IConstruct,
    ) -> events.CfnRule:
        """Add a rule to a bus (None: ours), after the policy or the role that lets it send.

        CDK's own `Rule` supports only part of the pattern language. Its targets also add a statement per rule to the
        queue's policy, and SQS allows 20.
        """
        name = rule_name(self, id)
        self._rules.append(rule_arn(name, bus or self._made.name))
        rule = events.CfnRule(
            self,
            id,
            name=name,
            description=description,
            event_bus_name=self.bus.event_bus_name if bus is None else None if bus == DEFAULT_BUS else bus,
            event_pattern=bus_limits.pattern_of(pattern),
            targets=targets,
        )
        rule.node.add_dependency(self.undelivered.queue.node.find_child("Policy"), permission)
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
    return bus_limits.rule_name(Stack.of(scope).stack_name, id)


def rule_arn(name: str, bus: str = DEFAULT_BUS) -> str:
    return bus_limits.rule_arn(name, bus, partition=Aws.PARTITION, region=Aws.REGION, account=Aws.ACCOUNT_ID)


def let_rules_send(queue: sqs.Queue, rules: Sequence[str]) -> None:
    """Allow these rules to send to the queue."""
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            conditions={"ArnEquals": {"aws:SourceArn": [*rules]}},
        )
    )
