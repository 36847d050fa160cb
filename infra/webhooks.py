"""The way in for those who can only call a URL; there is none unless the configuration names such senders."""

from aws_cdk import CfnOutput
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.configuration import Configuration
from infra.function import Function, May
from infra.ledger import Ledger
from infra.security_bus import SecurityBus

TIMEOUT = 10
"""Seconds; senders give up about then."""

CONCURRENCY = 5
"""Reserved, so that whoever finds the URL can't use up the account's concurrency, on which the other functions live.
Refused calls take milliseconds: five at a time are hundreds a second."""


class Webhooks(Construct):
    """A function with a URL, which lets in whoever shows one of the configured secrets.

    IAM does not ask who calls (senders can't sign as AWS does): the function does, before it looks at anything else.
    Only it may use the `source` of a webhook on the bus.
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
                May(["secretsmanager:GetSecretValue"], sorted({each.secret for each in configuration.webhooks})),
            ],
        )
        function = self.receiver.function.node.default_child
        assert isinstance(function, lambda_.CfnFunction)
        function.reserved_concurrent_executions = CONCURRENCY
        for webhook in configuration.webhooks:
            bus.reserve(webhook.source, [self.receiver.role.role_arn])
        url = self.receiver.function.add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE)
        CfnOutput(self, "Url", value=url.url, description="POST to this, with the sender's name as the path")
