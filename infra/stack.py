"""The stack: its resources, how they are connected, and what each function may do."""

from datetime import timedelta
from functools import partial
from pathlib import Path

from aws_cdk import App, CfnOutput, Environment, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_

from config_reader.bus_limits import stack_name
from config_reader.loader import Configuration
from device_lockout.values import outcome
from device_lockout.values.settings import SETTINGS_IN_TEMPLATE, WEBHOOK_PREFIX, dump
from infra import bundling, policy_limits
from infra.alarms import add_alarm, explain_alarms
from infra.dashboard import add_dashboard
from infra.drill import Drill
from infra.function import CANNOT_RUN, Function
from infra.ledger import TIMELINE, Ledger
from infra.notices import Notices
from infra.policies import add_policies
from infra.queues import WorkQueue
from infra.roles import grant
from infra.security_bus import SecurityBus
from infra.sweep_schedule import SweepSchedule
from infra.tags_and_key import finish
from infra.webhooks import Webhooks

SECOND = timedelta(seconds=1)

ROUTER_TIMEOUT = 30  # Seconds.

SWEEP_TIMEOUT = 900  # Seconds, the most that Lambda allows.

REPORT_RECEIVES = 20  # Receives of a report before it is dead-lettered.

COMMAND_RECEIVES = 200
"""Receives of a command before it is dead-lettered.

After transient errors a command returns after 3 minutes on average, so 200 receives take ten hours. 200 full visibility
timeouts take three days: one is at most 6 x 60 s + 900 s.
"""

FAILING_PERIOD = 30
"""Minutes, longer than the maximum retry gap (21 minutes). So one failing message raises one alarm and one notice."""


class DeviceLockout(Stack):
    """One deployment in one region. The credentials that deploy it decide the account."""

    def __init__(self, app: App, configuration: Configuration, package: Path) -> None:
        """Describe the deployment. `package` is the zip that all functions run from."""
        super().__init__(
            app,
            stack_name(configuration.settings.owner),
            env=Environment(account=configuration.account, region=configuration.region),
            description=f"WorkMail device lockout: security events become mobile device DENY overrides"
            f" ({configuration.settings.owner})",
            termination_protection=configuration.retain_data,
        )
        settings = configuration.settings
        # The command line runs with what the functions run with. It is a text, since CDK drops each null of an object.
        self.template_options.metadata = {SETTINGS_IN_TEMPLATE: dump(settings)}
        writer_timeout = settings.limits.writer_timeout // SECOND
        notices = Notices(self, "Notices", notify=configuration.notices)
        reports = WorkQueue(
            self,
            "Reports",
            notices=notices,
            contents="Reports",
            consumer_timeout=ROUTER_TIMEOUT,
            receives=REPORT_RECEIVES,
        )
        commands = WorkQueue(
            self,
            "Commands",
            notices=notices,
            contents="Commands",
            consumer_timeout=writer_timeout,
            settle=settings.limits.settle // SECOND,
            receives=COMMAND_RECEIVES,
            fifo=True,
        )
        bus = SecurityBus(self, "Bus", configuration=configuration, reports=reports, notices=notices)
        ledger = Ledger(self, "Ledger", retain=configuration.retain_data, adopt=configuration.ledger_table)

        organizations = [
            self.format_arn(service="workmail", resource="organization", resource_name=organization.id)
            for organization in settings.organizations
        ]
        send_commands = grant(["sqs:SendMessage"], [commands.queue.queue_arn])
        announce = grant(["events:PutEvents"], [bus.bus.event_bus_arn])
        keep_ledger = grant(
            ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"],
            [ledger.table.table_arn],
        )
        queue_url = {"COMMANDS_QUEUE_URL": commands.queue.queue_url}
        table_name = {"LEDGER_TABLE": ledger.table.table_name}
        code = lambda_.Code.from_asset(str(package), asset_hash=bundling.fingerprint(package))

        function = partial(Function, self, package=code, configuration=configuration)
        reserved = configuration.reserve_concurrency
        router = function(
            "RouteEvents",
            name="route_events",
            timeout=ROUTER_TIMEOUT,
            environment=queue_url,
            grants=[send_commands],
            reserved=configuration.router_concurrency if reserved else None,
        )
        router.consume(reports, concurrency=configuration.router_concurrency)
        writer = function(
            "ApplyCommands",
            name="apply_commands",
            timeout=writer_timeout,
            environment=queue_url | table_name | {"DEAD_COMMANDS_QUEUE_URL": commands.dead_letters.queue.queue_url},
            grants=[
                send_commands,
                grant(["sqs:SendMessage"], [commands.dead_letters.queue.queue_arn]),
                grant(["sqs:ChangeMessageVisibility"], [commands.queue.queue_arn]),
                keep_ledger,
                announce,
                grant(
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
            recursive=True,
            reserved=configuration.writer_concurrency if reserved else None,
        )
        work = writer.consume(commands, concurrency=configuration.writer_concurrency)
        sweep = function(
            "SweepOverrides",
            name="sweep_overrides",
            timeout=SWEEP_TIMEOUT,
            environment=queue_url | table_name,
            grants=[
                send_commands,
                keep_ledger,
                grant(["dynamodb:DescribeTable"], [ledger.table.table_arn]),
                announce,
                grant(["sqs:GetQueueAttributes"], [commands.queue.queue_arn]),
                grant(["workmail:ListMobileDeviceAccessOverrides"], organizations),
                *(
                    [grant(["dynamodb:Query"], [f"{ledger.table.table_arn}/index/{TIMELINE}"])]
                    if configuration.notices.digest
                    else []
                ),
            ],
        )
        roles = [each.role.role_arn for each in (router, writer, sweep)]
        commands.reserve(roles, configuration.operators)
        reports.reserve([], configuration.operators)
        bus.undelivered.reserve([], configuration.operators)
        if configuration.tamper_watch:
            bus.watch(writer.role.role_arn)
        bus.connect(router.function)
        bus.reserve([outcome.SOURCE], [writer.role.role_arn, sweep.role.role_arn])
        webhooks = (
            Webhooks(
                self, "Webhooks", configuration=configuration, package=code, bus=bus, ledger=ledger, notices=notices
            )
            if settings.webhooks
            else None
        )
        if configuration.drill:
            drill = Drill(self, "Drill", canary=configuration.drill, bus=bus.bus, writer=writer, notices=notices)
            bus.reserve([outcome.DRILL], [drill.role.role_arn])
        bus.reserve([f"{WEBHOOK_PREFIX}*"], [webhooks.receiver.role.role_arn] if webhooks else [])
        for consumer, minutes, contents in ((router, 5, "Reports"), (writer, 15, "Commands")):
            consumer.alarm(
                "FailingFor",
                f"{contents} keep failing. One has failed for {minutes} minutes."
                " It is retried and not lost. See the function's log.",
                notices,
                statistic=cloudwatch.Stats.MAXIMUM,
                minutes=FAILING_PERIOD,
                threshold=minutes * 60,
            )
        functions = [router, writer, sweep, *([webhooks.receiver] if webhooks else [])]
        for each in (router, writer, sweep):
            each.watch(notices, *CANNOT_RUN)
        if webhooks:
            webhooks.receiver.watch(notices, "Errors")  # it has an alarm on throttles of its own
        writer.alarm(
            "RecursiveInvocationsDropped",
            "Lambda cut a chain of commands off. Devices of a user may be left unlocked. Set the recursive loop of"
            " ApplyCommands to Allow again.",
            notices,
        )
        writer.alarm(
            "held",
            "Locks are held. A source asked for more than it may in an hour. They wait among the dead commands.",
            notices,
        )
        writer.alarm(
            "Paged",
            "Outcomes that page people. For example, a lock was rejected, failed or was tampered with."
            " People are notified by the outcome itself. This alarm notifies nobody. It is for dashboards.",
            None,
        )
        unsent = cloudwatch.Metric(
            namespace="AWS/States",
            metric_name="ExecutionsFailed",
            dimensions_map={"StateMachineArn": notices.mail.attr_arn},
            statistic=cloudwatch.Stats.SUM,
        )
        said = "Mails could not be sent. Outcomes that page may have reached nobody. See lockout status."
        add_alarm(self, "Unsent", unsent, said, notices)
        schedule = SweepSchedule(self, "Schedule", configuration=configuration, sweep=sweep, notices=notices)
        queues = [reports.queue, commands.queue]
        dead = [each.queue for each in (bus.undelivered, reports.dead_letters, commands.dead_letters, schedule.missed)]
        if configuration.dashboard:
            add_dashboard(self, configuration, functions, queues, dead)
        policies = add_policies(
            self,
            bus=bus,
            ledger=ledger,
            queues=queues,
            dead_letters=dead,
            functions=functions,
            sweep=sweep,
            writers_work=work.event_source_mapping_arn,
            organizations=organizations,
            topics=[each.topic_arn for each in (notices.topic, notices.chat) if each],
            receiver=webhooks.receiver if webhooks else None,
        )

        for name, value in {
            "EventBusName": bus.bus.event_bus_name,
            "OrganizationIds": ",".join(organization.id for organization in settings.organizations),
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
            **({"ChatTopicArn": notices.chat.topic_arn} if notices.chat else {}),
            **(webhooks.outputs if webhooks else {}),
            **policies,
        }.items():
            CfnOutput(self, name, value=value)
        explain_alarms(self)
        boundary, key = configuration.permissions_boundary, configuration.encryption_key
        finish(self, settings.owner, configuration.tags, boundary, key)
        policy_limits.check(self, configuration.bus)
