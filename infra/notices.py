"""The topics that notify people of alarms, and of outcomes that need their attention: one for mail, one for chat."""

import json
from functools import cached_property
from typing import Any

from aws_cdk import Aws, Stack
from aws_cdk import aws_chatbot as chatbot
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from config_reader.loader import Notify
from infra.roles import add_role, grant

PATHS = {
    "type": "$.detail-type",
    "time": "$.time",
    **{name: f"$.detail.{name}" for name in ("id", "eventId", "severity", "message", "thread")},
    **{name: f"$.detail.advice.{name}" for name in ("title", "do", "command")},
}
"""What a notice says. Each is a text in every outcome that pages, and EventBridge has nothing in it to escape."""

MAIL = (
    "<title> (<severity>)",
    "<message>",
    "Do: <do>",
    "Type: <command>",
    "<type>, event <eventId>, <time>",
)
"""The lines of a mail. EventBridge demands that each is in quotes."""

CHAT = {
    "version": "1.0",
    "source": "custom",
    "id": "<id>",
    "content": {
        "textType": "client-markdown",
        "title": "<title>",
        "description": "<message>",
        "nextSteps": ["<do>", "<command>"],
        "keywords": ["<severity>", "<type>"],
    },
    "metadata": {"threadId": "<thread>", "summary": "<title>", "eventType": "<type>"},
}
"""A message in chat. Any other text would be dropped without an error.

https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
"""


CHANNELS: dict[str, tuple[Any, dict[str, str]]] = {
    "slack": (
        chatbot.CfnSlackChannelConfiguration,
        {"workspace": "slack_workspace_id", "channel": "slack_channel_id"},
    ),
    "teams": (
        chatbot.CfnMicrosoftTeamsChannelConfiguration,
        {"tenant": "teams_tenant_id", "team": "team_id", "channel": "teams_channel_id"},
    ),
}


class Notices(Construct):
    """The topic for people, and one for chat. This account's alarms may publish, and rules with the role `publisher`.

    A topic of the configuration's keeps its own policy and subscribers.

    Without a customer's key the topics are not encrypted at rest. CloudWatch can't publish under the key that AWS
    manages for SNS. Messages name a user and a device and have no secrets.
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
    """

    def __init__(self, scope: Construct, id: str, *, notify: Notify) -> None:
        super().__init__(scope, id)
        self.topic: sns.ITopic
        if notify.topic:
            self.topic = sns.Topic.from_topic_arn(self, "Topic", notify.topic)
        else:
            self.topic = self._topic("Topic")
            for email in notify.emails:
                self.topic.add_subscription(subscriptions.EmailSubscription(email))
            for url in notify.urls:
                self.topic.add_subscription(subscriptions.UrlSubscription(url))
        self._ways = {"Notices": (self.topic, "\n".join(map(json.dumps, MAIL)))}
        if notify.channels:
            # A variable outside quotes becomes a JSON string.
            template = json.dumps(CHAT).replace('"<', "<").replace('>"', ">")
            self._ways["Chat"] = (self._topic("Chat"), template)
            self._add_channels(notify)

    @cached_property
    def publisher(self) -> iam.Role:
        """The role for rules that send notices. Only who may pass it, in this account, can give it to a rule.

        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
        """
        publish = grant(["sns:Publish"], [topic.topic_arn for topic, _ in self._ways.values()])
        return add_role(self, "Publisher", "events", "Permission of the rule that sends notices", publish)

    def targets(self, **delivery: Any) -> list[events.CfnRule.TargetProperty]:
        """Return the targets of a rule on outcomes that page."""
        return [
            events.CfnRule.TargetProperty(
                id=way,
                arn=topic.topic_arn,
                role_arn=self.publisher.role_arn,
                input_transformer=events.CfnRule.InputTransformerProperty(
                    input_paths_map={name: path for name, path in PATHS.items() if f"<{name}>" in template},
                    input_template=template,
                ),
                **delivery,
            )
            for way, (topic, template) in self._ways.items()
        ]

    def notify_on(self, alarm: cloudwatch.Alarm) -> None:
        """Notify people when the alarm goes off, and when it is over."""
        for topic, _ in self._ways.values():
            alarm.add_alarm_action(actions.SnsAction(topic))
            alarm.add_ok_action(actions.SnsAction(topic))

    def _topic(self, id: str) -> sns.Topic:
        topic = sns.Topic(self, id, display_name="Device lockout", enforce_ssl=True)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        return topic

    def _add_channels(self, notify: Notify) -> None:
        """Add the channels. Nothing can be done to the account from there: neither role nor guardrail allows it."""
        role = add_role(self, "ChatRole", "chatbot", "Permits nothing: chat only reads")
        common: dict[str, Any] = {
            "iam_role_arn": role.role_arn,
            "sns_topic_arns": [self._ways["Chat"][0].topic_arn],
            "guardrail_policies": [f"arn:{Aws.PARTITION}:iam::aws:policy/AWSDenyAll"],
        }
        for number, (kind, ids) in enumerate(notify.channels, 1):
            channel, names = CHANNELS[kind]
            named: dict[str, Any] = {names[key]: value for key, value in ids.items()}
            name = f"{Stack.of(self).stack_name}-{kind}-{number}"
            channel(self, f"Channel{number}", configuration_name=name, **common, **named)
