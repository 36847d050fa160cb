"""A Lambda function as all of ours are: one package, its own role that may do what is written and no more, its log."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from configuration.loader import Configuration
from infra.queues import WorkQueue


class May(NamedTuple):
    """Actions that a function may take, and on what."""

    actions: Sequence[str]
    resources: Sequence[str]


class Function(Construct):
    """The function `functions/NAME.py` with its entry `handler`; `timeout` is in seconds.

    Its role is granted no managed policy. CDK's `grant_…` methods are not used: they grant more than we call.
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
        may: Sequence[May],
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
        log_group.retention_in_days = configuration.limits.log_retention_days
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"What {name} of {Stack.of(self).stack_name} may do",
        )
        self.allow(May(["logs:CreateLogStream", "logs:PutLogEvents"], [self.log_group.log_group_arn]))
        for each in may:
            self.allow(each)
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"functions/{name}.py",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            code=package,
            handler=f"{name}.handler",
            timeout=Duration.seconds(timeout),
            memory_size=configuration.limits.memory,
            role=self.role,
            log_group=self.log_group,
            environment={
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": self._namespace,
                "LOCKOUT_EVENT_BUS": configuration.bus,
                **environment,
            },
        )

    def allow(self, may: May) -> None:
        """Let the function do this too."""
        self.role.add_to_policy(iam.PolicyStatement(actions=[*may.actions], resources=[*may.resources]))

    def work_off(self, work: WorkQueue, *, concurrency: int | None = None) -> None:
        """Be called with batches of up to ten of the queue's messages, and say of each whether it is done."""
        self.allow(
            May(
                [
                    "sqs:ReceiveMessage",
                    "sqs:DeleteMessage",
                    "sqs:GetQueueAttributes",
                    "sqs:ChangeMessageVisibility",
                ],
                [work.queue.queue_arn],
            )
        )
        lambda_.EventSourceMapping(
            self,
            "Work",
            target=self.function,
            event_source_arn=work.queue.queue_arn,
            batch_size=10,
            max_concurrency=concurrency,
            report_batch_item_failures=True,
        )

    def alarm(self, metric: str, *, statistic: str, period: Duration, at_least: float, said: str) -> cloudwatch.Alarm:
        """An alarm that is on while a metric of the function's own was so high within the period until now.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
        """
        return cloudwatch.Alarm(
            self,
            metric,
            alarm_description=said,
            metric=cloudwatch.Metric(
                namespace=self._namespace,
                metric_name=metric,
                dimensions_map={"service": self._name},
                period=period,
                statistic=statistic,
            ),
            threshold=at_least,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
