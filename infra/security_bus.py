"""The event bus: who may report on it, what becomes of what nobody expects, and which outcomes page people."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Aws, Duration, IResolvable
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.configuration import Configuration
from infra.notices import Notices
from infra.queues import DeadLetters, WorkQueue
from infra.sources import DEFAULT_BUS, OUTCOME_SOURCE, Source

DELIVERY_AGE = Duration.hours(24)
DELIVERY_ATTEMPTS = 185
"""How long and how often EventBridge tries to deliver, the most that it offers:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html"""


class SecurityBus(Construct):
    """The bus, one rule per source to the reports queue, and the rules for everything else that is put on it.

    A rule of the contract asks for a source and no more: an event with a misspelt detail-type reaches the router,
    which rejects it. So does one with a misspelt source. A mapped source's rule, on whichever bus, says to the router
    whose event it is, so that patterns are evaluated by EventBridge alone.
    """

    def __init__(
        self, scope: Construct, id: str, *, configuration: Configuration, reports: WorkQueue, notices: Notices
    ) -> None:
        super().__init__(scope, id)
        self.bus = events.EventBus(
            self,
            "Bus",
            event_bus_name=configuration.bus,
            description=f"Security events for device lockout ({configuration.owner}), and its outcomes",
        )
        self.undelivered = DeadLetters(
            self, "Undelivered", notices=notices, holds="Events that a rule could not deliver for a day"
        )
        self._reserved: list[dict[str, Any]] = []
        self._partners = {
            name: events.CfnEventBus(self, f"Partner-{name}", name=name, event_source_name=name)
            for name in configuration.partner_buses
        }
        rules = [self._source_rule(source, reports) for source in configuration.sources]
        for source in configuration.sources:
            if source.publishers:
                self.reserve(source.name, source.publishers)
        known = dict.fromkeys(name for source in configuration.sources for name in source.on_our_bus)
        rules.append(
            self._rule(
                "UnknownSources",
                "Events by nobody that we know, to be rejected where people see it",
                None,
                {"source": [{"anything-but": [*known, OUTCOME_SOURCE]}]},
                reports,
            )
        )
        _let_rules_send(reports.queue, rules)
        _let_rules_send(self.undelivered.queue, rules)
        events.Rule(
            self,
            "Pages",
            event_bus=self.bus,
            description="Outcomes that somebody should look at, in their own words",
            event_pattern=events.EventPattern(source=[OUTCOME_SOURCE], detail={"page": [True]}),
            targets=[
                targets.SnsTopic(
                    notices.topic,
                    message=events.RuleTargetInput.from_text(events.EventField.from_path("$.detail.message")),
                    dead_letter_queue=self.undelivered.queue,
                    max_event_age=DELIVERY_AGE,
                    retry_attempts=DELIVERY_ATTEMPTS,
                )
            ],
        )

    def reserve(self, source: str, publishers: Sequence[str]) -> None:
        """Let nobody but these IAM principals put events of `source` on the bus, whatever their own policies say.

        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html#eb-events-pattern-example
        """
        self._reserved.append(
            {
                "Sid": f"Reserved{len(self._reserved)}",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "events:PutEvents",
                "Resource": f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:event-bus/{self._name}",
                "Condition": {
                    "ForAnyValue:StringEquals": {"events:source": [source]},
                    "ArnNotEquals": {"aws:PrincipalArn": [*publishers]},
                },
            }
        )
        bus = self.bus.node.default_child
        assert isinstance(bus, events.CfnEventBus)
        bus.policy = {"Version": "2012-10-17", "Statement": self._reserved}

    @property
    def _name(self) -> str:
        bus = self.bus.node.default_child
        assert isinstance(bus, events.CfnEventBus)
        return bus.name

    def _source_rule(self, source: Source, reports: WorkQueue) -> events.CfnRule:
        mapping = source.mapping
        if mapping is None:
            pattern: dict[str, Any] = {"source": [source.name]}
            return self._rule(f"Reports-{source.name}", f"Reports by {source.name}", None, pattern, reports)
        rule = self._rule(
            f"Mapped-{source.name}", f"Events read as {source.name}", mapping.bus, mapping.pattern, reports, source.name
        )
        if mapping.bus in self._partners:
            rule.add_resource_dependency(self._partners[mapping.bus])
        return rule

    def _rule(
        self,
        id: str,
        description: str,
        bus: str | None,
        pattern: Mapping[str, Any],
        reports: WorkQueue,
        mapped: str | None = None,
    ) -> events.CfnRule:
        """A rule of the bus (None: ours) that sends events to the reports queue, with the name of a mapped source.

        Not CDK's `Rule`: it knows only part of the pattern language, and its targets give each rule a statement in the
        queue's policy, of which SQS takes 20:
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html
        """
        transformed: IResolvable | events.CfnRule.InputTransformerProperty | None = None
        if mapped is not None:
            transformed = events.CfnRule.InputTransformerProperty(
                input_template=f'{{"mappedSource":{json.dumps(mapped)},"event":<aws.events.event.json>}}'
            )
        return events.CfnRule(
            self,
            id,
            description=description,
            event_bus_name=self.bus.event_bus_name if bus is None else None if bus == DEFAULT_BUS else bus,
            event_pattern=pattern,
            targets=[
                events.CfnRule.TargetProperty(
                    id="Reports",
                    arn=reports.queue.queue_arn,
                    input_transformer=transformed,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self.undelivered.queue.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=int(DELIVERY_AGE.to_seconds()),
                        maximum_retry_attempts=DELIVERY_ATTEMPTS,
                    ),
                )
            ],
        )


def _let_rules_send(queue: sqs.Queue, rules: Sequence[events.CfnRule]) -> None:
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            conditions={"ArnEquals": {"aws:SourceArn": [rule.attr_arn for rule in rules]}},
        )
    )
