"""The topic that notifies people of alarms, and of outcomes that need their attention."""

from collections.abc import Iterable

from aws_cdk import Aws
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct


class Notices(Construct):
    """The topic. EventBridge rules and this account's alarms may publish to it.

    The rules of any account may: EventBridge supports no condition in a topic's policy. Somebody who knows the topic's
    name could send a false notice.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions

    The topic is not encrypted at rest. EventBridge and CloudWatch can't publish under the key that AWS manages for SNS.
    Messages name a user and a device and have no secrets.
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
    """

    def __init__(self, scope: Construct, id: str, *, emails: Iterable[str]) -> None:
        super().__init__(scope, id)
        self.topic = sns.Topic(self, "Topic", display_name="Device lockout", enforce_ssl=True)
        for email in emails:
            self.topic.add_subscription(subscriptions.EmailSubscription(email))
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
            )
        )
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )

    def notify_on(self, alarm: cloudwatch.Alarm) -> None:
        """Notify people when the alarm goes off."""
        alarm.add_alarm_action(actions.SnsAction(self.topic))
