"""When the sweep runs: one schedule per organization, and the alarms for an organization that is not swept."""

import json
import math

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from configuration.loader import Configuration
from infra.function import Function, May
from infra.notices import Notices
from infra.queues import DeadLetters

RETRIES = 2
"""Of a call that could not be delivered, and of a run that raised: the next period brings another run anyway."""

_HOUR, _DAY = 3600, 86400


class SweepSchedule(Construct):
    """Calls the sweep with `{"organizationId": …}`; a run that can't be delivered or fails for good is dead-lettered.

    An organization's alarm goes off when two periods, and at least an hour, bring no completed sweep.
    """

    def __init__(
        self, scope: Construct, id: str, *, configuration: Configuration, sweep: Function, notices: Notices
    ) -> None:
        super().__init__(scope, id)
        self.missed = DeadLetters(self, "Missed", notices=notices, holds="Sweeps that did not run, or failed")
        role = iam.Role(
            self,
            "Role",
            description="What the schedules of the sweep may do",
            # https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
            ),
        )
        may_send = May(["sqs:SendMessage"], [self.missed.queue.queue_arn])
        for each in (May(["lambda:InvokeFunction"], [sweep.function.function_arn]), may_send):
            role.add_to_policy(iam.PolicyStatement(actions=[*each.actions], resources=[*each.resources]))

        # Scheduler calls asynchronously: past the delivery, retries and dead letters are Lambda's.
        sweep.allow(may_send)
        lambda_.CfnEventInvokeConfig(
            self,
            "Runs",
            function_name=sweep.function.function_name,
            qualifier="$LATEST",
            maximum_retry_attempts=RETRIES,
            maximum_event_age_in_seconds=_HOUR,
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=self.missed.queue.queue_arn)
            ),
        )
        for organization in configuration.organizations:
            schedule = scheduler.CfnSchedule(
                self,
                f"Every-{organization.alias}",
                description=f"Sweep of {organization.alias}, {organization.id}",
                schedule_expression=configuration.sweep.schedule,
                flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
                target=scheduler.CfnSchedule.TargetProperty(
                    arn=sweep.function.function_arn,
                    role_arn=role.role_arn,
                    input=json.dumps({"organizationId": organization.id}),
                    retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=_HOUR, maximum_retry_attempts=RETRIES
                    ),
                    dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=self.missed.queue.queue_arn),
                ),
            )
            schedule.node.add_dependency(role)  # and with it on its policy: no run before it may call
            # CloudWatch looks back 7 days at most, in periods of an hour to a day:
            # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
            period = min(max(configuration.sweep.every, _HOUR), _DAY)
            alarm = cloudwatch.Alarm(
                self,
                f"Unswept-{organization.alias}",
                alarm_description=f"No completed sweep of {organization.alias} ({organization.id}): nothing expires and"
                " nothing is put back there. Look for refused sweeps among the outcomes, and in the sweep's log.",
                metric=cloudwatch.Metric(
                    namespace=configuration.metrics_namespace,
                    metric_name="SweepCompleted",
                    dimensions_map={"service": "sweep_overrides", "organization": organization.id},
                    period=Duration.seconds(period),
                    statistic=cloudwatch.Stats.SUM,
                ),
                threshold=1,
                evaluation_periods=math.ceil(2 * configuration.sweep.every / period),
                comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
                treat_missing_data=cloudwatch.TreatMissingData.BREACHING,
            )
            notices.tell_of(alarm)
