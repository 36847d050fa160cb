"""The sweep's schedules, and the alarms for organizations that are not swept."""

import json
import math
from datetime import timedelta

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from config_reader.loader import Configuration
from infra.alarms import add_alarm
from infra.function import Function
from infra.notices import Notices
from infra.queues import DeadLetters
from infra.roles import add_role, grant

RETRIES = 2  # Retries of a call that could not be delivered, and of a run that failed. The next period sweeps anyway.

_HOUR, _DAY = 3600, 86400
_MINUTE = timedelta(minutes=1)


class SweepSchedule(Construct):
    """One schedule per organization, which calls the sweep with `{"organizationId": …}`.

    Calls that can't be delivered and runs that fail for good are dead-lettered. An organization's alarm goes off after
    two periods without a completed sweep, and after an hour at the earliest. One more may call it for the digest.
    """

    def __init__(
        self, scope: Construct, id: str, *, configuration: Configuration, sweep: Function, notices: Notices
    ) -> None:
        super().__init__(scope, id)
        self.missed = DeadLetters(self, "Missed", notices=notices, contents="Sweeps that did not run, or failed")
        call_sweep = grant(["lambda:InvokeFunction"], [sweep.function.function_arn])
        send_missed = grant(["sqs:SendMessage"], [self.missed.queue.queue_arn])
        said = "Permissions of the schedules of the sweep"
        self._sweep = sweep
        self._role = add_role(self, "Role", "scheduler", said, call_sweep, send_missed, own_account=True)

        self.missed.reserve([self._role.role_arn, sweep.role.role_arn], configuration.operators)

        # The call is asynchronous. Once it is delivered, Lambda retries the run and dead-letters it.
        sweep.role.add_to_policy(send_missed)
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
        every = Duration.minutes(configuration.settings.sweep.every // _MINUTE)
        # CloudWatch evaluates periods of an hour or more over at most 7 days. The longest period is a day.
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
        period = min(max(every.to_seconds(), _HOUR), _DAY)
        for organization in configuration.settings.organizations:
            self._call(
                f"Every-{organization.alias}",
                f"Sweep of {organization.alias}, {organization.id}",
                scheduler.ScheduleExpression.rate(every).expression_string,
                {"organizationId": organization.id},
            )
            completed = cloudwatch.Metric(
                namespace=configuration.metrics_namespace,
                metric_name="SweepCompleted",
                dimensions_map={"service": "sweep_overrides", "organization": organization.id},
                period=Duration.seconds(period),
                statistic=cloudwatch.Stats.SUM,
            )
            said = (
                f"No completed sweep of {organization.alias} ({organization.id}). Nothing expires and nothing is put"
                " back there. Look for the last Sweep Refused, or read the log of SweepOverrides."
            )
            periods = math.ceil(2 * every.to_seconds() / period)
            add_alarm(self, f"Unswept-{organization.alias}", completed, said, notices, missing_for=periods)
        if configuration.notices.digest:
            hour, minute = configuration.notices.digest.split(":")
            # https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
            ends = {"digest": "<aws.scheduler.scheduled-time>"}
            self._call("Digest", "Digest of the day", f"cron({int(minute)} {int(hour)} * * ? *)", ends)

    def _call(self, id: str, description: str, expression: str, event: dict[str, str]) -> None:
        schedule = scheduler.CfnSchedule(
            self,
            id,
            description=description,
            schedule_expression=expression,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=self._sweep.function.function_arn,
                role_arn=self._role.role_arn,
                input=json.dumps(event),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=_HOUR, maximum_retry_attempts=RETRIES
                ),
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=self.missed.queue.queue_arn),
            ),
        )
        schedule.node.add_dependency(self._role)  # and on the role's policy, so that the first call is allowed
