"""The stack: what there is, how it is joined, and what each function may do."""

from pathlib import Path

from aws_cdk import App, CfnOutput, Duration, Environment, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_

from configuration.loader import Configuration
from configuration.sources import OUTCOME_SOURCE, WEBHOOK_PREFIX
from infra.function import Function, May
from infra.ledger import Ledger
from infra.notices import Notices
from infra.queues import WorkQueue
from infra.security_bus import SecurityBus
from infra.sweep_schedule import SweepSchedule
from infra.webhooks import Webhooks

ROUTER_TIMEOUT = 30
SWEEP_TIMEOUT = 900
"""Seconds. The sweep has all that Lambda gives; the writer's timeout is short and configured."""

REPORT_RECEIVES = 20
COMMAND_RECEIVES = 200
"""Before a message is dead-lettered. A command that meets a transient error comes back after a delay that grows to
2 to 4 minutes: 200 of those are ten hours, and 200 full visibility timeouts (6 x 60 s + 900 s at most) are three days.
"""

FAILING_PERIOD = Duration.minutes(30)
"""Longer than between two tries of a message, a visibility timeout of 21 minutes at most, so that one that keeps
failing is one alarm and one notice."""


class DeviceLockout(Stack):
    """One deployment, in one region; the account is the one that it is deployed with."""

    def __init__(self, app: App, configuration: Configuration, package: Path) -> None:
        """Describe the deployment; `package` is the zip that all functions run from."""
        super().__init__(
            app,
            f"device-lockout-{configuration.owner}",
            env=Environment(region=configuration.region),
            description=f"WorkMail device lockout: security events become mobile device DENY overrides"
            f" ({configuration.owner})",
            termination_protection=configuration.retain_data,
        )
        limits = configuration.limits
        notices = Notices(self, "Notices", emails=configuration.emails)
        reports = WorkQueue(
            self,
            "Reports",
            notices=notices,
            holds="Reports",
            consumer_timeout=ROUTER_TIMEOUT,
            receives=REPORT_RECEIVES,
        )
        commands = WorkQueue(
            self,
            "Commands",
            notices=notices,
            holds="Commands",
            consumer_timeout=limits.writer_timeout,
            settle=limits.settle,
            receives=COMMAND_RECEIVES,
            fifo=True,
        )
        bus = SecurityBus(self, "Bus", configuration=configuration, reports=reports, notices=notices)
        ledger = Ledger(self, "Ledger", retain=configuration.retain_data)

        organizations = [
            self.format_arn(service="workmail", resource="organization", resource_name=organization.id)
            for organization in configuration.organizations
        ]
        send_commands = May(["sqs:SendMessage"], [commands.queue.queue_arn])
        announce = May(["events:PutEvents"], [bus.bus.event_bus_arn])
        keep_ledger = May(
            ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"],
            [ledger.table.table_arn],
        )
        queue_url = {"COMMANDS_QUEUE_URL": commands.queue.queue_url}
        table_name = {"LEDGER_TABLE": ledger.table.table_name}
        code = lambda_.Code.from_asset(str(package))

        router = Function(
            self,
            "RouteEvents",
            name="route_events",
            package=code,
            timeout=ROUTER_TIMEOUT,
            configuration=configuration,
            environment=queue_url,
            may=[send_commands],
        )
        router.work_off(reports)
        writer = Function(
            self,
            "ApplyCommands",
            name="apply_commands",
            package=code,
            timeout=limits.writer_timeout,
            configuration=configuration,
            environment=queue_url | table_name,
            may=[
                send_commands,
                keep_ledger,
                announce,
                May(
                    [
                        "workmail:DeleteMobileDeviceAccessOverride",
                        "workmail:DescribeUser",
                        "workmail:GetMobileDeviceAccessOverride",
                        "workmail:ListUsers",
                        "workmail:PutMobileDeviceAccessOverride",
                    ],
                    organizations,
                ),
            ],
        )
        writer.work_off(commands, concurrency=limits.writer_concurrency)
        sweep = Function(
            self,
            "SweepOverrides",
            name="sweep_overrides",
            package=code,
            timeout=SWEEP_TIMEOUT,
            configuration=configuration,
            environment=queue_url | table_name,
            may=[
                send_commands,
                keep_ledger,
                announce,
                May(["sqs:GetQueueAttributes"], [commands.queue.queue_arn]),
                May(["workmail:ListMobileDeviceAccessOverrides"], organizations),
            ],
        )
        bus.reserve([OUTCOME_SOURCE], [writer.role.role_arn, sweep.role.role_arn])
        webhooks = (
            Webhooks(
                self, "Webhooks", configuration=configuration, package=code, bus=bus, ledger=ledger, notices=notices
            )
            if configuration.webhooks
            else None
        )
        bus.reserve([f"{WEBHOOK_PREFIX}*"], [webhooks.receiver.role.role_arn] if webhooks else [])
        for function, minutes, what in ((router, 5, "Reports"), (writer, 15, "Commands")):
            failing = function.alarm(
                "FailingFor",
                statistic=cloudwatch.Stats.MAXIMUM,
                period=FAILING_PERIOD,
                at_least=minutes * 60,
                said=f"{what} keep failing. One has for {minutes} minutes; it comes again and is not lost: see the"
                " function's log.",
            )
            notices.tell_of(failing)
        writer.alarm(
            "Paged",
            statistic=cloudwatch.Stats.SUM,
            period=Duration.minutes(5),
            at_least=1,
            said="Outcomes that page people. A lock was rejected or failed, or was tampered with. People are told by"
            " the outcome itself, so this alarm tells nobody: it is for dashboards and for what else watches alarms.",
        )
        schedule = SweepSchedule(self, "Schedule", configuration=configuration, sweep=sweep, notices=notices)

        for name, value in {
            "EventBusName": bus.bus.event_bus_name,
            "OrganizationIds": ",".join(organization.id for organization in configuration.organizations),
            "LedgerTableName": ledger.table.table_name,
            "ReportsQueueUrl": reports.queue.queue_url,
            "CommandsQueueUrl": commands.queue.queue_url,
            "UndeliveredEventsQueueUrl": bus.undelivered.queue.queue_url,
            "DeadReportsQueueUrl": reports.dead_letters.queue.queue_url,
            "DeadCommandsQueueUrl": commands.dead_letters.queue.queue_url,
            "MissedSweepsQueueUrl": schedule.missed.queue.queue_url,
            "RouteEventsFunctionName": router.function.function_name,
            "ApplyCommandsFunctionName": writer.function.function_name,
            "SweepOverridesFunctionName": sweep.function.function_name,
            "NoticesTopicArn": notices.topic.topic_arn,
            **({"WebhooksUrl": webhooks.url} if webhooks else {}),
        }.items():
            CfnOutput(self, name, value=value)
