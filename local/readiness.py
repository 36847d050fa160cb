"""Checks that a deployed stack works: its mappings poll and its functions start."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from local.connection import Connection

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

ENVIRONMENTS = 2
"""How many environments of a mapped function are started. A second event often comes during the first."""


class NotReadyError(Exception):
    """A part of the deployed stack does not work. The message says which."""


def check(aws: Connection, stack: str, timeout: float = 120) -> None:
    """Wait until every function is active and every mapping enabled.

    Raises NotReadyError after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while waiting_for := [*inactive(aws, stack)]:
        if time.monotonic() > deadline:
            raise NotReadyError(f"after {timeout:.0f} s: {'; '.join(waiting_for)}")
        time.sleep(0.1)


def inactive(aws: Connection, stack: str) -> Iterator[str]:
    """Yield what is not yet active or enabled, and its state."""
    functions: LambdaClient = aws.client("lambda")
    for name in physical_names(aws, stack, "AWS::Lambda::Function"):
        function = functions.get_function_configuration(FunctionName=name)
        if function["State"] != "Active" or function.get("LastUpdateStatus", "Successful") != "Successful":
            yield f"function {name} is {function['State']}, its last update {function.get('LastUpdateStatus')}"
    for uuid in physical_names(aws, stack, "AWS::Lambda::EventSourceMapping"):
        mapping = functions.get_event_source_mapping(UUID=uuid)
        if mapping["State"] != "Enabled":
            yield f"the mapping of {mapping['EventSourceArn']} is {mapping['State']}"


def warm(aws: Connection, stack: str) -> None:
    """Start environments of each mapped function, and run each function with a schedule once.

    Raises NotReadyError with the function's error if one fails.
    """
    functions: LambdaClient = aws.client("lambda")
    for uuid in physical_names(aws, stack, "AWS::Lambda::EventSourceMapping"):
        function = functions.get_event_source_mapping(UUID=uuid)["FunctionArn"]
        query = urlencode({"function": function, "count": ENVIRONMENTS})
        status, text = aws.control("POST", f"/_local/environments?{query}")
        if status != 200:
            raise NotReadyError(f"function {function} does not start: {text}")
    scheduler: EventBridgeSchedulerClient = aws.client("scheduler")
    for schedule in physical_names(aws, stack, "AWS::Scheduler::Schedule"):
        target = scheduler.get_schedule(Name=schedule)["Target"]
        if ":function:" not in target["Arn"] or "<aws.scheduler" in target["Input"]:
            continue  # a drill's, or the digest's
        ran = functions.invoke(FunctionName=target["Arn"], Payload=target.get("Input", "{}").encode())
        if "FunctionError" in ran:
            raise NotReadyError(f"the target of schedule {schedule} failed: {ran['Payload'].read().decode()}")


def physical_names(aws: Connection, stack: str, kind: str) -> list[str]:
    """Return the physical names of the stack's resources of a kind."""
    cloudformation: CloudFormationClient = aws.client("cloudformation")
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return [
        resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == kind
    ]
