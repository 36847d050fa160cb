"""The event bus: who may report on it, what becomes of what nobody expects, and which outcomes page people."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aws_cdk import Aws, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from configuration.loader import Configuration
from configuration.sources import DEFAULT_BUS, OUTCOME_SOURCE, Source
from infra.notices import Notices
from infra.queues import DeadLetters, WorkQueue

DELIVERY_AGE = Duration.hours(24)
DELIVERY_ATTEMPTS = 185
"""How long and how often EventBridge tries to deliver, the most that it offers:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html"""


class SecurityBus(Construct):
    """The bus, one rule per source to the reports queue, and the rules for everything else that is put on it.

    A rule of the contract asks for a source and no more: an event with a misspelt detail-type reaches the router,
    which rejects it. So does one with a misspelt source. A mapped source's rule, on whichever bus, says to the router
    whose event it is, so that patterns are evaluated by EventBridge alone.

    The names of all rules begin with the stack's, and the queues let rules of such names send: a rule that is added
    may deliver from its first event on, since EventBridge does not try again where it has no permission, and the
    policies stay the same however many rules there are (SQS takes 8,192 bytes).
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html
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
        self._statements: list[dict[str, Any]] = []
        self._partners = {
            name: events.CfnEventBus(self, f"Partner-{name}", name=name, event_source_name=name)
            for name in configuration.partner_buses
        }
        buses = dict.fromkeys(source.mapping.bus for source in configuration.sources if source.mapping is not None)
        self._let_rules_send(reports.queue, {None, *buses})
        self._let_rules_send(self.undelivered.queue, {None, *buses})
        may_use: dict[tuple[str, ...], list[str]] = {}
        for source in configuration.sources:
            self._source_rule(source, reports.queue)
            names = may_use.setdefault(source.publishers, [])
            names += [name for name in source.on_our_bus if name not in names]
        for publishers, names in may_use.items():
            if publishers:
                self.reserve(names, publishers)
                self._admit(names, publishers)
        known = dict.fromkeys(name for source in configuration.sources for name in source.on_our_bus)
        self._rule(
            "UnknownSources",
            "Events by nobody that we know, to be rejected where people see it",
            None,
            {"source": [{"anything-but": [*known, OUTCOME_SOURCE]}]},
            reports.queue,
        )
        self._rule(
            "Pages",
            "Outcomes that somebody should look at, in their own words",
            None,
            {"source": [OUTCOME_SOURCE], "detail": {"page": [True]}},
            notices.topic,
        )

    def reserve(self, sources: Sequence[str], publishers: Sequence[str]) -> None:
        """Let nobody but these IAM principals put events of these sources on the bus, whatever their own policies say.

        Without publishers, nobody at all. A source may end in `*`, for anything.
        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html#eb-events-pattern-example
        """
        like = "StringLike" if any(source.endswith("*") for source in sources) else "StringEquals"
        others = {"ArnNotEquals": {"aws:PrincipalArn": [*publishers]}} if publishers else {}
        self._say("Deny", {f"ForAnyValue:{like}": {"events:source": [*sources]}, **others})

    def _admit(self, sources: Sequence[str], publishers: Sequence[str]) -> None:
        """Let these IAM principals, of whatever account, put events of these sources and of no other on the bus.

        A call without any source, for which "all of its sources" would be true, is not one of theirs:
        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
        """
        self._say(
            "Allow",
            {
                "ForAllValues:StringEquals": {"events:source": [*sources]},
                "Null": {"events:source": "false"},
                "ArnEquals": {"aws:PrincipalArn": [*publishers]},
            },
        )

    def _say(self, effect: str, conditions: Mapping[str, Any]) -> None:
        """Add a statement about putting events on the bus to its policy."""
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

    def _source_rule(self, source: Source, reports: sqs.Queue) -> None:
        mapping = source.mapping
        if mapping is None:
            self._rule(f"Reports-{source.name}", f"Reports by {source.name}", None, {"source": [source.name]}, reports)
            return
        rule = self._rule(
            f"Mapped-{source.name}", f"Events read as {source.name}", mapping.bus, mapping.pattern, reports, source.name
        )
        if mapping.bus in self._partners:
            rule.add_resource_dependency(self._partners[mapping.bus])

    def _rule(
        self,
        id: str,
        description: str,
        bus: str | None,
        pattern: Mapping[str, Any],
        to: sqs.Queue | sns.Topic,
        mapped: str | None = None,
    ) -> events.CfnRule:
        """A rule of the bus (None: ours) that sends events to a queue, with the name of a mapped source, or to people.

        People get an outcome's message as JSON writes it, in quotes: put into a text by a template, quotes within the
        message would stay as they are, and break it.
        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html#eb-transform-input-issues

        Not CDK's `Rule`: it knows only part of the pattern language, and its targets give each rule a statement in the
        queue's policy, of which SQS takes 20.
        """
        people = isinstance(to, sns.Topic)
        transformed = events.CfnRule.InputTransformerProperty(
            input_template=f'{{"mappedSource":{json.dumps(mapped)},"event":<aws.events.event.json>}}'
        )
        rule = events.CfnRule(
            self,
            id,
            name=self._rule_name(id),
            description=description,
            event_bus_name=self.bus.event_bus_name if bus is None else None if bus == DEFAULT_BUS else bus,
            event_pattern=pattern,
            targets=[
                events.CfnRule.TargetProperty(
                    id="Notices" if people else "Reports",
                    arn=to.topic_arn if isinstance(to, sns.Topic) else to.queue_arn,
                    input_path="$.detail.message" if people else None,
                    input_transformer=transformed if mapped is not None else None,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self.undelivered.queue.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=int(DELIVERY_AGE.to_seconds()),
                        maximum_retry_attempts=DELIVERY_ATTEMPTS,
                    ),
                )
            ],
        )
        for each in (to, self.undelivered.queue):
            rule.node.add_dependency(each.node.find_child("Policy"))
        return rule

    def _rule_name(self, id: str) -> str:
        """At most 64 of the characters that a rule's name may have; no other stack's rule on the bus is called so."""
        stack = Stack.of(self).stack_name
        digest = hashlib.sha256(f"{stack}/{id}".encode()).hexdigest()[:8]
        readable = re.sub(r"[^\w.-]", "-", id.partition("-")[2] or id, flags=re.ASCII)
        return f"{stack}-{readable[: 64 - len(stack) - len(digest) - 2]}-{digest}"

    def _let_rules_send(self, queue: sqs.Queue, buses: Iterable[str | None]) -> None:
        """Let the stack's rules on these buses (None: ours) send to the queue, and nobody else's."""
        places = [f"{self._name}/" if bus is None else "" if bus == DEFAULT_BUS else f"{bus}/" for bus in buses]
        rules = f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:rule"
        allowed = [f"{rules}/{place}{Stack.of(self).stack_name}-*" for place in sorted(places)]
        queue.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[queue.queue_arn],
                conditions={"ArnLike": {"aws:SourceArn": allowed}},
            )
        )
