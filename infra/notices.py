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
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from config_reader.loader import Notify
from infra.roles import add_role, grant

PATHS = {
    "type": "$.detail-type",
    **{name: f"$.detail.{name}" for name in ("id", "severity", "message", "thread")},
    **{name: f"$.detail.advice.{name}" for name in ("title", "do", "command")},
}
"""What chat shows. Each is a text in every outcome that pages, and EventBridge has nothing in it to escape."""

_TICKET, _WHO = "reference ? reference : lock.reference", "user.email ? user.email : userId"
_ABOUT = f"$join([{_TICKET}, deviceId, {_WHO}][$ != ''], ' ')"
_LINES = (
    "message",
    "items",
    "''",
    "'Do: ' & advice.do",
    "'Type: ' & advice.command",
    "''",
    "$type & ', event ' & eventId & ', ' & $time",
)
IN_EVENT = "($type := $states.input.`detail-type`; $time := $states.input.time; $states.input.detail.({}))"
SUBJECT = f"$join([severity & ': ' & advice.title, {_ABOUT}][$ != ''], ', ')"
MAIL = {
    "Subject": f"$substring($replace({SUBJECT}, /[^ -~]/, '?'), 0, 99)",
    "Message": f"$join([{', '.join(_LINES)}], '\\n')",
}
"""A mail's subject and body, in JSONata. SNS takes 99 characters of ASCII as a subject, and EventBridge gives it none.

https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
"""

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
    """The topic for people, and one for chat. This account's alarms may publish there, and what the stack sends.

    A state machine makes a mail of each outcome that pages: what EventBridge writes has quotes, and no subject.

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
        self.chat = self._topic("Chat") if notify.channels else None
        if self.chat:
            self._add_channels(notify, self.chat)

    @cached_property
    def mail(self) -> stepfunctions.CfnStateMachine:
        """The state machine that makes a mail of an outcome. It tries for four minutes.

        Its role is its own: only who may pass that, in this account, can give it to another.
        """
        said = "Permission of the state machine that writes mails"
        role = add_role(
            self, "Publisher", "states", said, grant(["sns:Publish"], [self.topic.topic_arn]), own_account=True
        )
        send = {
            "Type": "Task",
            "Resource": f"arn:{Aws.PARTITION}:states:::sns:publish",
            "Arguments": {
                "TopicArn": self.topic.topic_arn,
                **{field: f"{{% {IN_EVENT.format(words)} %}}" for field, words in MAIL.items()},
            },
            "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "BackoffRate": 2, "MaxAttempts": 7}],
            "End": True,
        }
        machine = stepfunctions.CfnStateMachine(
            self,
            "Mail",
            state_machine_type="EXPRESS",
            role_arn=role.role_arn,
            definition_string=Stack.of(self).to_json_string(
                {"QueryLanguage": "JSONata", "StartAt": "Send", "States": {"Send": send}}
            ),
        )
        machine.node.add_dependency(role)
        return machine

    @cached_property
    def sender(self) -> iam.Role:
        """The role of the rule that sends notices.

        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
        """
        grants = [grant(["states:StartExecution"], [self.mail.attr_arn])]
        grants += [grant(["sns:Publish"], [self.chat.topic_arn])] if self.chat else []
        return add_role(self, "Sender", "events", "Permissions of the rule that sends notices", *grants)

    def targets(self, **delivery: Any) -> list[events.CfnRule.TargetProperty]:
        """Return the targets of a rule on outcomes that page."""
        role = self.sender.role_arn
        found = [events.CfnRule.TargetProperty(id="Notices", arn=self.mail.attr_arn, role_arn=role, **delivery)]
        if self.chat:
            # A variable outside quotes becomes a JSON string.
            template = json.dumps(CHAT).replace('"<', "<").replace('>"', ">")
            transformer = events.CfnRule.InputTransformerProperty(input_paths_map=PATHS, input_template=template)
            chat: Any = {"id": "Chat", "arn": self.chat.topic_arn, "role_arn": role, "input_transformer": transformer}
            found.append(events.CfnRule.TargetProperty(**chat, **delivery))
        return found

    def notify_on(self, alarm: cloudwatch.Alarm) -> None:
        """Notify people when the alarm goes off, and when it is over."""
        for topic in filter(None, (self.topic, self.chat)):
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

    def _add_channels(self, notify: Notify, topic: sns.ITopic) -> None:
        """Add the channels. Nothing can be done to the account from there: neither role nor guardrail allows it."""
        role = add_role(self, "ChatRole", "chatbot", "Permits nothing: chat only reads")
        common: dict[str, Any] = {
            "iam_role_arn": role.role_arn,
            "sns_topic_arns": [topic.topic_arn],
            "guardrail_policies": [f"arn:{Aws.PARTITION}:iam::aws:policy/AWSDenyAll"],
        }
        for number, (kind, ids) in enumerate(notify.channels, 1):
            channel, names = CHANNELS[kind]
            named: dict[str, Any] = {names[key]: value for key, value in ids.items()}
            name = f"{Stack.of(self).stack_name}-{kind}-{number}"
            channel(self, f"Channel{number}", configuration_name=name, **common, **named)
