"""The way in for those who can only call a URL; there is none unless the configuration names such senders."""

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from configuration.loader import Configuration
from infra.function import Function, May
from infra.ledger import Ledger
from infra.notices import Notices
from infra.security_bus import SecurityBus

TIMEOUT = 10
"""Seconds; senders give up about then."""

CONCURRENCY = 5
"""Reserved, so that whoever finds the URL can't use up the account's concurrency, on which the other functions live.
Refused calls take milliseconds: five at a time are hundreds a second.

Lambda keeps at least 100 for functions that reserve none, so a new account, whose limit may be 10, can't deploy this
until its quota "Concurrent executions" is raised:
https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html"""


class Webhooks(Construct):
    """A function with a URL, which lets in whoever shows one of the configured secrets.

    IAM does not ask who calls (senders can't sign as AWS does): the function does, before it looks at anything else.
    Only it may use the `source` of a webhook on the bus (`SecurityBus.reserve`, by the stack).
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        configuration: Configuration,
        package: lambda_.Code,
        bus: SecurityBus,
        ledger: Ledger,
        notices: Notices,
    ) -> None:
        super().__init__(scope, id)
        self.receiver = Function(
            self,
            "Receive",
            name="receive_webhooks",
            package=package,
            timeout=TIMEOUT,
            configuration=configuration,
            environment={"LEDGER_TABLE": ledger.table.table_name},
            may=[
                May(["events:PutEvents"], [bus.bus.event_bus_arn]),
                May(["dynamodb:PutItem"], [ledger.table.table_arn]),
                May(
                    ["secretsmanager:GetSecretValue"],
                    [self._secret(name) for name in sorted({each.secret for each in configuration.webhooks})],
                ),
            ],
        )
        function = self.receiver.function.node.default_child
        assert isinstance(function, lambda_.CfnFunction)
        function.reserved_concurrent_executions = CONCURRENCY
        notices.tell_of(
            self.receiver.alarm(
                "WebhookFailed",
                statistic=cloudwatch.Stats.SUM,
                period=Duration.minutes(5),
                at_least=1,
                said="Webhooks could not be passed on. Their senders are to try again, not all do: see the log of"
                " receive_webhooks for what refused them, the bus, the ledger or Secrets Manager.",
            )
        )
        self.url = self.receiver.function.add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE).url

    def _secret(self, name: str) -> str:
        """The ARN of the secret of that name, in which Secrets Manager puts six characters of its own choice.

        https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_iam-policies.html
        """
        return Stack.of(self).format_arn(
            service="secretsmanager",
            resource="secret",
            resource_name=f"{name}-??????",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
