"""The topic that notifies people of alarms, and of outcomes that need their attention."""

from functools import cached_property

from aws_cdk import Aws
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from configuration.loader import Notify


class Notices(Construct):
    """The topic. This account's alarms may publish to it, and rules that the role `publisher` is given to.

    A topic of the configuration's keeps its own policy and subscribers.

    Without a customer's key the topic is not encrypted at rest. CloudWatch can't publish under the key that AWS manages
    for SNS. Messages name a user and a device and have no secrets.
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
    """

    def __init__(self, scope: Construct, id: str, *, notify: Notify) -> None:
        super().__init__(scope, id)
        self.topic: sns.ITopic
        if notify.topic:
            self.topic = sns.Topic.from_topic_arn(self, "Topic", notify.topic)
        else:
            self.topic = sns.Topic(self, "Topic", display_name="Device lockout", enforce_ssl=True)
            for email in notify.emails:
                self.topic.add_subscription(subscriptions.EmailSubscription(email))
            for url in notify.urls:
                self.topic.add_subscription(subscriptions.UrlSubscription(url))
            self.topic.add_to_resource_policy(
                iam.PolicyStatement(
                    principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                    actions=["sns:Publish"],
                    resources=[self.topic.topic_arn],
                    conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
                )
            )

    @cached_property
    def publisher(self) -> iam.Role:
        """The role for rules that send notices. Only who may pass it, in this account, can give it to a rule.

        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
        """
        role = iam.Role(
            self,
            "Publisher",
            assumed_by=iam.ServicePrincipal("events.amazonaws.com"),
            description="Permission of the rule that sends notices",
        )
        role.add_to_policy(iam.PolicyStatement(actions=["sns:Publish"], resources=[self.topic.topic_arn]))
        return role

    def notify_on(self, alarm: cloudwatch.Alarm) -> None:
        """Notify people when the alarm goes off."""
        alarm.add_alarm_action(actions.SnsAction(self.topic))
