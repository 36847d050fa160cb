"""Managed policies for people and producers, to attach to their roles. The functions have roles of their own."""

from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs

from infra.function import Function
from infra.ledger import TIMELINE, Ledger
from infra.roles import grant, only
from infra.security_bus import SecurityBus, rule_arn

LISTS = (
    "cloudformation:DescribeStacks",
    "cloudtrail:LookupEvents",
    "cloudwatch:DescribeAlarms",
    "lambda:GetAccountSettings",
    "lambda:ListEventSourceMappings",
    "scheduler:ListSchedules",
    "sns:GetSubscriptionAttributes",
)
"""What IAM can't allow for one resource only."""

READS = (
    "DescribeUser",
    "GetMobileDeviceAccessOverride",
    "ListMobileDeviceAccessOverrides",
    "ListMobileDeviceAccessRules",
    "ListUsers",
)
"""What a reader asks of WorkMail."""


def add_policies(
    stack: Stack,
    *,
    bus: SecurityBus,
    ledger: Ledger,
    queues: Sequence[sqs.Queue],
    dead_letters: Sequence[sqs.Queue],
    functions: Sequence[Function],
    sweep: Function,
    writers_work: str,
    organizations: Sequence[str],
    topics: Sequence[str],
    receiver: Function | None,
) -> dict[str, str]:
    """Add the policies and return their ARNs by the name of the output.

    A reader answers what the runbook asks. An operator is a reader who does what it says, too. An eraser is a reader
    who forgets people: it alone changes the ledger beside the functions, and could let a device in. A producer puts
    events, of whatever source the bus lets it.

    `writers_work` is the ARN of the mapping whose pause stops every change, and `topics` those of notices. A reader may
    call the `receiver` of webhooks, as anybody may by its URL, and so learns whether a secret is as it should be.

    IAM takes 6,144 characters of each. So no policy grows with the webhooks. See :mod:`infra.policy_limits`.
    """
    dead = [queue.queue_arn for queue in dead_letters]
    every = [*(queue.queue_arn for queue in queues), *dead]
    put = grant(["events:PutEvents"], [bus.bus.event_bus_arn])
    read = [
        grant(LISTS, ["*"]),
        grant(["cloudformation:GetTemplate"], [stack.stack_id]),
        grant(["events:DescribeEventBus"], [bus.bus.event_bus_arn]),
        grant(
            ["dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:Query"],
            [ledger.table.table_arn, f"{ledger.table.table_arn}/index/{TIMELINE}"],
        ),
        grant(["lambda:GetFunctionConfiguration"], [each.function.function_arn for each in functions]),
        grant(["logs:FilterLogEvents"], [each.log_group.log_group_arn for each in functions]),
        *([grant(["lambda:InvokeFunction"], [receiver.function.function_arn])] if receiver else []),
        grant(["sns:ListSubscriptionsByTopic"], topics),
        grant(["sqs:GetQueueAttributes"], every),
        grant(["sqs:ReceiveMessage"], dead),
        grant([f"workmail:{name}" for name in READS], organizations),
    ]
    operate = [
        grant(["events:ListTargetsByRule"], [rule_arn("*")]),
        grant(["events:PutEvents"], [bus.bus.event_bus_arn, *bus.forwards_to]),
        grant(["lambda:InvokeFunction"], [sweep.function.function_arn]),
        grant(["lambda:GetEventSourceMapping", "lambda:UpdateEventSourceMapping"], [writers_work]),
        grant(["sns:Publish"], topics[:1]),
        grant(["sqs:DeleteMessage", "sqs:PurgeQueue", "sqs:SendMessage"], every),
    ]
    of_people = only("dynamodb:LeadingKeys", "event#*", f"m-{'?' * 32}")  # the ID of an organization
    erase = grant(["dynamodb:DeleteItem", "dynamodb:UpdateItem"], [ledger.table.table_arn], of_people)
    return {
        f"{name}Arn": iam.ManagedPolicy(
            stack,
            name,
            description=f"{description} {stack.stack_name}",
            document=iam.PolicyDocument(statements=statements, minimize=True),
        ).managed_policy_arn
        for name, description, statements in (
            ("ReaderPolicy", "Read what became of reports in", read),
            ("OperatorPolicy", "Do what the runbook says with", [*read, *operate]),
            ("EraserPolicy", "Forget people in", [*read, erase]),
            ("ProducerPolicy", "Report to", [put]),
        )
    }
