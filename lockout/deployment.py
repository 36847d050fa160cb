"""One deployment, as its stack publishes it: outputs, and the settings that the functions run with."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property
from typing import Any

from device_lockout.values.settings import SETTINGS_IN_TEMPLATE, Organization, Settings, load
from lockout.errors import USAGE, CommandError

PREFIX = "device-lockout-"
FORWARDS = "UnforwardedEventsQueueUrl"
"""The output of a stack that only forwards to a deployment, which is elsewhere."""

DEAD_LETTERS = {
    "reports": "DeadReportsQueueUrl",
    "commands": "DeadCommandsQueueUrl",
    "undelivered": "UndeliveredEventsQueueUrl",
    "sweeps": "MissedSweepsQueueUrl",
}
"""The dead-letter queues, and the stack's outputs that name them."""

UNDER_WAY = ("ReportsQueueUrl", "CommandsQueueUrl")
"""The outputs with the queues that a report goes through."""

type Clients = Callable[[str], Any]
"""Makes the client of a named service of AWS."""


@dataclass(frozen=True)
class Deployment:
    """A deployed stack, its ``status`` in CloudFormation's word. The gateways are the functions' own."""

    stack: str
    status: str
    outputs: Mapping[str, str]
    settings: Settings
    """What its functions run with."""
    client: Clients = field(repr=False)
    created: datetime | None = None
    """When the stack was made; None if that is not known."""

    @cached_property
    def table(self) -> Any:
        """The ledger's table, for what the ledger gives as values only."""
        from device_lockout.aws.ledger_table import LedgerTable

        return LedgerTable(self.client("dynamodb"), self.outputs["LedgerTableName"])

    @cached_property
    def ledger(self) -> Any:
        from device_lockout.aws.ledger import Ledger

        return Ledger(self.client("dynamodb"), self.outputs["LedgerTableName"])

    @cached_property
    def workmail(self) -> Any:
        from device_lockout.aws.workmail import WorkMail

        return WorkMail(self.client("workmail"))

    @cached_property
    def caller(self) -> str:
        """The ARN of whoever types."""
        return str(self.client("sts").get_caller_identity()["Arn"])

    def put(self, source: str, kind: str, *details: Any, bus: str = "", **more: str) -> list[dict[str, Any]]:
        """Put events on the deployment's bus, or on another. Return EventBridge's answer to each.

        One call takes ten (https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html).
        """
        entry = {"EventBusName": bus or self.outputs["EventBusName"], "Source": source, "DetailType": kind, **more}
        entries = [entry | {"Detail": json.dumps(detail)} for detail in details]
        answers: list[dict[str, Any]] = self.client("events").put_events(Entries=entries)["Entries"]
        return answers

    def listed(self, service: str, operation: str, key: str, **asked: Any) -> Iterator[Any]:
        """Yield what a service lists under a key, from all pages."""
        for page in self.client(service).get_paginator(operation).paginate(**asked):
            yield from page[key]

    def log(self, function: str, pattern: str, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
        """Yield the lines of a function's log that match CloudWatch's filter pattern."""
        name = self.outputs[f"{function}FunctionName"]
        known = self.client("lambda").get_function_configuration(FunctionName=name)
        asked = {"logGroupName": known["LoggingConfig"]["LogGroup"], "filterPattern": pattern}
        asked |= {"startTime": int(since.timestamp() * 1000), "endTime": int(until.timestamp() * 1000)}
        yield from self.listed("logs", "filter_log_events", "events", **asked)

    def waiting(self, *outputs: str) -> int:
        """Return how many messages the queues of these outputs hold, about: those that were received, too."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        ask = self.client("sqs").get_queue_attributes
        answers = [ask(QueueUrl=self.outputs[output], AttributeNames=names) for output in outputs]
        return sum(int(count) for answer in answers for count in answer["Attributes"].values())

    def organization(self, named: str | None) -> Organization:
        """Return the organization of an ID or alias, or the only one.

        Raises CommandError if there is none, or there are several.
        """
        found = self.settings.organization(named)
        if found is None:
            known = ", ".join(each.alias for each in self.settings.organizations)
            raise CommandError(f"organization {named or '?'}: expected one of {known}", "--organization NAME", USAGE)
        return found


def clients() -> Clients:
    """Return what makes boto3 clients. They repeat throttled calls for about a minute: a command line has time.

    The AWS command line takes AWS_REGION, and boto3 alone does not.
    """
    import boto3
    from botocore.config import Config

    session: Any = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    config = Config(retries={"mode": "standard", "total_max_attempts": 10}, max_pool_connections=20)
    return cache(lambda service: session.client(service, config=config))


def find(stack: str | None, client: Clients) -> Deployment:
    """Return the deployment of a stack, which is named in full or by its owner. Without a name it is the only one.

    Raises CommandError if there is no such stack, there are several, or another version of this code deployed it.
    """
    cloudformation = client("cloudformation")
    pages = cloudformation.get_paginator("describe_stacks").paginate()
    there = {each["StackName"]: each for page in pages for each in page["Stacks"]}
    outputs = {
        name: {each["OutputKey"]: each["OutputValue"] for each in known.get("Outputs", [])}
        for name, known in there.items()
    }
    ours = sorted(name for name in there if name.startswith(PREFIX) and FORWARDS not in outputs[name])
    stack = PREFIX + stack.removeprefix(PREFIX) if stack else ours[0] if len(ours) == 1 else None
    if stack is None or stack not in there:
        known = ", ".join(ours) or "none in this account and region"
        what = f"no stack {stack}" if stack else "which deployment?" if ours else "no deployment"
        hint = "lockout --stack NAME …, or AWS_PROFILE and AWS_REGION"
        raise CommandError(f"{what}: there are: {known}", hint, USAGE)
    if not outputs[stack]:
        mend = f"aws cloudformation describe-stack-events --stack-name {stack}"
        raise CommandError(f"{stack} is {there[stack]['StackStatus']}, and publishes nothing yet", mend)
    template = cloudformation.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    body: Any = json.loads(template) if isinstance(template, str) else template
    try:
        settings = load(body["Metadata"][SETTINGS_IN_TEMPLATE])
    except (KeyError, TypeError, ValueError) as error:
        raise CommandError(
            f"{stack} was deployed by another version of this code: it does not publish {error}", "deploy it again"
        ) from error
    status, created = there[stack]["StackStatus"], there[stack].get("CreationTime")
    return Deployment(stack, status, outputs[stack], settings, client, created)
