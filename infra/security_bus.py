"""The event bus: who may report on it, what becomes of what nobody expects, and which outcomes page people."""

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from infra.configuration import OUTCOME_SOURCE, Configuration
from infra.notices import Notices
from infra.queues import DeadLetters, WorkQueue

DELIVERY_AGE = Duration.hours(24)
DELIVERY_ATTEMPTS = 185
"""How long and how often EventBridge tries to deliver, the most that it offers:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html"""


class SecurityBus(Construct):
    """The bus, one rule per source to the reports queue, and the rules for everything else that is put on it.

    A rule asks for a source and no more: an event with a misspelt detail-type reaches the router, which rejects it.
    So does one with a misspelt source.
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
        sources = [source.name for source in configuration.sources]
        for source in sources:
            self._rule(
                f"Reports-{source}",
                f"Reports by {source}",
                events.EventPattern(source=[source]),
                self._to_queue(reports),
            )
        self._rule(
            "UnknownSources",
            "Events by nobody that we know, to be rejected where people see it",
            events.EventPattern(source=events.Match.anything_but(*sources, OUTCOME_SOURCE)),
            self._to_queue(reports),
        )
        self._rule(
            "Pages",
            "Outcomes that somebody should look at, in their own words",
            events.EventPattern(source=[OUTCOME_SOURCE], detail={"page": [True]}),
            targets.SnsTopic(
                notices.topic,
                message=events.RuleTargetInput.from_text(events.EventField.from_path("$.detail.message")),
                dead_letter_queue=self.undelivered.queue,
                max_event_age=DELIVERY_AGE,
                retry_attempts=DELIVERY_ATTEMPTS,
            ),
        )

    def _to_queue(self, work: WorkQueue) -> targets.SqsQueue:
        return targets.SqsQueue(
            work.queue,
            dead_letter_queue=self.undelivered.queue,
            max_event_age=DELIVERY_AGE,
            retry_attempts=DELIVERY_ATTEMPTS,
        )

    def _rule(self, id: str, description: str, pattern: events.EventPattern, target: events.IRuleTarget) -> None:
        events.Rule(self, id, event_bus=self.bus, description=description, event_pattern=pattern, targets=[target])
