"""A Lambda function with the shared package, a role of its own, a log group and alarms."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from config_reader.loader import Configuration
from infra.alarms import add_alarm
from infra.notices import Notices
from infra.queues import WorkQueue
from infra.roles import add_role, grant

CANNOT_RUN = {
    "Errors": "A function failed as a whole. It raised, ran out of time or memory, or could not start",
    "Throttles": "A function was refused an execution. The account or its reservation has none left",
}
"""Metrics of Lambda's own, with the meaning of their alarms. A function that can't run writes no metric and no line.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""

LAMBDAS_OWN = {*CANNOT_RUN, "RecursiveInvocationsDropped"}
"""The metrics that Lambda writes about a function. Any other is written by the function itself."""


class Function(Construct):
    """The function `functions/NAME.py` with its entry `handler`. `timeout` is in seconds.

    One that calls itself through a queue says so with `recursive`. Else Lambda silently drops its 17th call in a chain.
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
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
        grants: Sequence[iam.PolicyStatement],
        recursive: bool = False,
        reserved: int | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._name = name
        self._namespace = configuration.metrics_namespace
        kept = RemovalPolicy.RETAIN if configuration.retain_data else RemovalPolicy.DESTROY
        self.log_group = logs.LogGroup(self, "Log", removal_policy=kept)
        log_group = self.log_group.node.default_child
        assert isinstance(log_group, logs.CfnLogGroup)
        log_group.retention_in_days = configuration.log_retention_days
        write_log = grant(["logs:CreateLogStream", "logs:PutLogEvents"], [self.log_group.log_group_arn])
        described = f"Permissions of {name} in {Stack.of(self).stack_name}"
        self.role = add_role(self, "Role", "lambda", described, write_log, *grants)
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

    def consume(self, work: WorkQueue, *, concurrency: int | None = None) -> lambda_.EventSourceMapping:
        """Call the function with batches of up to ten messages. Its answer names those that failed."""
        take = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        self.role.add_to_policy(grant(take, [work.queue.queue_arn]))
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
            self.alarm(metric, f"{CANNOT_RUN[metric]}: {self._name}. What it was to do waits.", notices)

    def alarm(
        self,
        metric: str,
        description: str,
        notices: Notices | None,
        *,
        statistic: str = cloudwatch.Stats.SUM,
        minutes: int = 5,
        threshold: float = 1,
        missing_for: int = 0,
    ) -> None:
        """Add an alarm on a metric of the function over periods of so many minutes: see :func:`add_alarm`."""
        of_lambda = metric in LAMBDAS_OWN
        values = cloudwatch.Metric(
            namespace="AWS/Lambda" if of_lambda else self._namespace,
            metric_name=metric,
            dimensions_map={"FunctionName": self.function.function_name} if of_lambda else {"service": self._name},
            period=Duration.minutes(minutes),
            statistic=statistic,
        )
        name = f"{metric}Missing" if missing_for else metric
        add_alarm(self, name, values, description, notices, threshold=threshold, missing_for=missing_for)
