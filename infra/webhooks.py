"""The URL for senders that can't put events on a bus."""

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from config_reader.loader import Configuration
from device_lockout.values.settings import WEBHOOK_PREFIX
from infra.function import Function
from infra.ledger import Ledger
from infra.notices import Notices
from infra.roles import grant, only
from infra.security_bus import SecurityBus

TIMEOUT = 10  # Seconds. Senders give up after about as long.

CONCURRENCY = 5
"""Reserved executions. Strangers who find the URL can't use up the account's concurrency with more.

Lambda takes ten times as many requests a second, which are 50, and answers 429 to more:
https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html#urls-throttling

Lambda leaves at least 100 executions unreserved. A new account may have a quota of 10, and must raise "Concurrent
executions" first.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
"""


class Webhooks(Construct):
    """A function with a URL. The configuration must name a sender.

    Senders can't sign requests for IAM, so the URL is open. The function checks the sender's secret before anything
    else. The stack reserves the sources `webhook.*` on the bus for this function. It may put no other events there, and
    write no other items of the ledger:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
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
        # Secrets Manager ends the ARN of a secret with six random characters.
        # https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_iam-policies.html
        secrets = [
            Stack.of(self).format_arn(
                service="secretsmanager",
                resource="secret",
                resource_name=f"{name}-??????",
                arn_format=ArnFormat.COLON_RESOURCE_NAME,
            )
            for name in sorted({webhook.secret for webhook in configuration.settings.webhooks})
        ]
        self.receiver = Function(
            self,
            "Receive",
            name="receive_webhooks",
            package=package,
            timeout=TIMEOUT,
            configuration=configuration,
            environment={"LEDGER_TABLE": ledger.table.table_name},
            reserved=CONCURRENCY,
            grants=[
                grant(["events:PutEvents"], [bus.bus.event_bus_arn], only("events:source", f"{WEBHOOK_PREFIX}*")),
                grant(["dynamodb:PutItem"], [ledger.table.table_arn], only("dynamodb:LeadingKeys", "webhook#*")),
                grant(["secretsmanager:GetSecretValue"], secrets),
            ],
        )
        for metric, said in {
            "WebhookFailed": "Webhooks could not be passed on. The senders got a 503, and some will not try again. The"
            " log of receive_webhooks says what refused: the bus, the ledger or Secrets Manager.",
            "SenderRefused": "Webhooks of a known sender were refused. Its secret or its clock may be wrong, and what"
            " it reports is lost. Or a stranger uses its name. The log of receive_webhooks has the reason.",
            "Throttles": f"Webhooks were throttled. More than {CONCURRENCY} came at a time, or {10 * CONCURRENCY} in a"
            " second. The senders got a 429, and some will not try again.",
        }.items():
            self.receiver.alarm(metric, said, notices)
        function = self.receiver.function
        url = function.add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE).url
        self.outputs = {"WebhooksUrl": url, "ReceiveWebhooksFunctionName": function.function_name}
