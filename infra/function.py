"""A Lambda function with the shared package, a role of its own and a log group."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from configuration.loader import Configuration
from infra.notices import Notices
from infra.queues import WorkQueue

CANNOT_RUN = {
    "Errors": "A function failed as a whole. It raised, ran out of time or memory, or could not start",
    "Throttles": "A function was refused an execution. The account or its reservation has none left",
}
"""Metrics of Lambda's own, with the meaning of their alarms. A function that can't run writes no metric and no line.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""


class Grant(NamedTuple):
    """IAM actions that a role is allowed, the ARNs of their resources, and the conditions; None for none."""

    actions: Sequence[str]
    resources: Sequence[str]
    conditions: Mapping[str, Mapping[str, Any]] | None = None


class Function(Construct):
    """The function `functions/NAME.py` with its entry `handler`. `timeout` is in seconds.

    One that calls itself through a queue says so with `recursive`. Else Lambda silently drops its 17th call in a chain.
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html

    The role has no managed policy. CDK's `grant_…` methods would grant more than we call.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        package: lambda_.Code,
        timeout: int,
        configuration: Configuration,
        environment: Mapping[str, str],
        grants: Sequence[Grant],
        recursive: bool = False,
        reserved: int | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._name = name
        self._namespace = configuration.metrics_namespace
        self.log_group = logs.LogGroup(
            self,
            "Log",
            removal_policy=RemovalPolicy.RETAIN if configuration.retain_data else RemovalPolicy.DESTROY,
        )
        log_group = self.log_group.node.default_child
        assert isinstance(log_group, logs.CfnLogGroup)
        log_group.retention_in_days = configuration.log_retention_days
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"Permissions of {name} in {Stack.of(self).stack_name}",
        )
        self.allow(Grant(["logs:CreateLogStream", "logs:PutLogEvents"], [self.log_group.log_group_arn]))
        for grant in grants:
            self.allow(grant)
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"functions/{name}.py",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            code=package,
            handler=f"{name}.handler",
            timeout=Duration.seconds(timeout),
            memory_size=configuration.memory,
            role=self.role,
            log_group=self.log_group,
            recursive_loop=lambda_.RecursiveLoop.ALLOW if recursive else None,
            reserved_concurrent_executions=reserved,
            environment={
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": self._namespace,
                "LOCKOUT_EVENT_BUS": configuration.bus,
                **({} if configuration.log_names else {"LOCKOUT_LOG_KEY": Stack.of(self).stack_id}),
                **environment,
            },
        )

    def allow(self, grant: Grant) -> None:
        """Add a grant to the function's role."""
        self.role.add_to_policy(
            iam.PolicyStatement(
                actions=[*grant.actions], resources=[*grant.resources], conditions=dict(grant.conditions or {}) or None
            )
        )

    def consume(self, work: WorkQueue, *, concurrency: int | None = None) -> lambda_.EventSourceMapping:
        """Call the function with batches of up to ten messages. Its answer names those that failed."""
        self.allow(
            Grant(
                [
                    "sqs:ReceiveMessage",
                    "sqs:DeleteMessage",
                    "sqs:GetQueueAttributes",
                ],
                [work.queue.queue_arn],
            )
        )
        return lambda_.EventSourceMapping(
            self,
            "Work",
            target=self.function,
            event_source_arn=work.queue.queue_arn,
            batch_size=10,
            max_concurrency=concurrency,
            report_batch_item_failures=True,
        )

    def watch(self, notices: Notices, *metrics: str) -> None:
        """Notify people within ten minutes when the function can't run, by these metrics of `CANNOT_RUN`."""
        for metric in metrics:
            said = f"{CANNOT_RUN[metric]}: {self._name}. What it was to do waits."
            self.notify_of(notices, metric, said, of_lambda=True)

    def notify_of(self, notices: Notices, metric: str, description: str, *, of_lambda: bool = False) -> None:
        """Notify people of whatever a metric counts, within five minutes."""
        notices.notify_on(
            self.alarm(
                metric,
                statistic=cloudwatch.Stats.SUM,
                period=Duration.minutes(5),
                threshold=1,
                description=description,
                of_lambda=of_lambda,
            )
        )

    def alarm(
        self,
        metric: str,
        *,
        statistic: str,
        period: Duration,
        threshold: float,
        description: str,
        of_lambda: bool = False,
        missing_for: int = 0,
    ) -> cloudwatch.Alarm:
        """Add an alarm on a metric of the function. It is on while the last period's value reaches the threshold.

        With `missing_for` it is on after so many periods that all stay below the threshold, or have no value.

        The metric is the function's own, or Lambda's.
        https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
        """
        return cloudwatch.Alarm(
            self,
            f"{metric}Missing" if missing_for else metric,
            alarm_description=description,
            metric=cloudwatch.Metric(
                namespace="AWS/Lambda" if of_lambda else self._namespace,
                metric_name=metric,
                dimensions_map={"FunctionName": self.function.function_name} if of_lambda else {"service": self._name},
                period=period,
                statistic=statistic,
            ),
            threshold=threshold,
            evaluation_periods=missing_for or 1,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
            if missing_for
            else cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.BREACHING
            if missing_for
            else cloudwatch.TreatMissingData.NOT_BREACHING,
        )
