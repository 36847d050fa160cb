"""A deployed stack from outside: what goes in, and what comes of it. For the demo and for tests."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Self
from urllib.parse import urlencode

from boto3.dynamodb.types import TypeDeserializer
from botocore.config import Config

from local.account import ACCOUNT, REGION
from local.connection import Connection

type Json = dict[str, Any]

FUNCTIONS: Final = ("route_events", "apply_commands", "sweep_overrides")

SWEEP_SECONDS: Final = 900
"""A sweep takes no longer. botocore would ask for a second one after a minute."""

REFUSED: Final = "IAM refuses"
"""How a trouble begins that does not end by waiting."""


@dataclass(frozen=True, slots=True)
class Report:
    """An event that the bus has accepted."""

    event_id: str
    source: str
    detail_type: str
    detail: Mapping[str, Any]

    @property
    def body(self) -> str:
        """The event as a rule delivers it.

        https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
        """
        return json.dumps(
            {
                "version": "0",
                "id": self.event_id,
                "source": self.source,
                "detail-type": self.detail_type,
                "account": ACCOUNT,
                "region": REGION,
                "time": self.detail["reportedAt"],
                "resources": [],
                "detail": self.detail,
            }
        )


class Deployment:
    """One deployed stack, seen by an operator with all permissions. Methods can be called from several threads."""

    def __init__(self, aws: Connection, organization: str, outputs: Mapping[str, str]) -> None:
        self.aws = aws
        self.organization = organization
        self.outputs = outputs
        self.workmail = aws.client("workmail")
        self.events = aws.client("events")
        self.sqs = aws.client("sqs")
        self.dynamodb = aws.client("dynamodb")
        self.logs = aws.client("logs")
        self.functions = aws.client("lambda", Config(read_timeout=SWEEP_SECONDS))

    @classmethod
    def find(cls, aws: Connection, stack: str) -> Self:
        """Find the deployment of a stack, which must have one organization."""
        described = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
        return cls(aws, outputs["OrganizationIds"], outputs)

    # --- what goes in ---------------------------------------------------------------------------------------------

    def publish(self, detail_type: str, source: str = "helpdesk", **detail: Any) -> Report:
        """Put one event on the bus. `reportedAt` is now by default."""
        return self.publish_all([(detail_type, source, detail)])[0]

    def publish_all(self, events: list[tuple[str, str, Json]]) -> list[Report]:
        """Put events on the bus, each as detail-type, source and detail. Raises if the bus refuses one."""
        reports: list[Report] = []
        for start in range(0, len(events), 10):
            dated = [
                (kind, source, {"reportedAt": rfc3339(), **detail}) for kind, source, detail in events[start:][:10]
            ]
            answer = self.events.put_events(
                Entries=[
                    {
                        "EventBusName": self.outputs["EventBusName"],
                        "Source": source,
                        "DetailType": kind,
                        "Detail": json.dumps(detail),
                    }
                    for kind, source, detail in dated
                ]
            )
            if answer["FailedEntryCount"]:
                raise RuntimeError(f"the bus refused events: {answer['Entries']}")
            reports += [
                Report(entry["EventId"], source, kind, detail)
                for entry, (kind, source, detail) in zip(answer["Entries"], dated, strict=True)
            ]
        return reports

    def deliver_again(self, report: Report) -> None:
        """Deliver the same event once more, as EventBridge and SQS may."""
        self.sqs.send_message(QueueUrl=self.outputs["ReportsQueueUrl"], MessageBody=report.body)

    def sweep(self, **more: str) -> Json:
        """Run the sweep now, with more in its event if given, and return its answer."""
        ran = self.functions.invoke(
            FunctionName=self.outputs["SweepOverridesFunctionName"],
            Payload=json.dumps({"organizationId": self.organization, **more}).encode(),
        )
        answer: Json = json.loads(ran["Payload"].read())
        if "FunctionError" in ran:
            raise RuntimeError(f"the sweep failed: {answer}")
        return answer

    # --- what comes of it -----------------------------------------------------------------------------------------

    def override(self, user: str, device: str) -> Json | None:
        """Return the override of a device with its dates, None if there is none."""
        try:
            found = self.workmail.get_mobile_device_access_override(
                OrganizationId=self.organization, UserId=user, DeviceId=device
            )
        except self.workmail.exceptions.ResourceNotFoundException:
            return None
        return {name: value for name, value in found.items() if name != "ResponseMetadata"}

    def overrides(self) -> Iterator[Json]:
        """Yield every override of the organization."""
        more: Json = {}
        while True:
            page = self.workmail.list_mobile_device_access_overrides(
                OrganizationId=self.organization, MaxResults=100, **more
            )
            yield from page["Overrides"]
            if "NextToken" not in page:
                return
            more = {"NextToken": page["NextToken"]}

    def outcomes(self, event_id: str) -> list[Json]:
        """Return an event's outcomes in the ledger, one for each device, with detail-type and detail."""
        items = self.dynamodb.query(
            TableName=self.outputs["LedgerTableName"],
            KeyConditionExpression="pk = :event",
            ExpressionAttributeValues={":event": {"S": f"event#{event_id}"}},
            ConsistentRead=True,
        )["Items"]
        read = TypeDeserializer().deserialize
        return [read(item["told"]) for item in items]

    def calls(self, **filters: str) -> list[Json]:
        """Return the recorded calls to WorkMail that match all filters, such as `device`, `operation` and `since`."""
        found: list[Json] = []
        since = int(filters.pop("since", 0))
        while True:
            page = self.control("GET", f"calls?{urlencode({**filters, 'since': since})}")
            found += page["calls"]
            if page["next"] <= since:
                return found
            since = page["next"]

    def writes(self, device: str) -> list[Json]:
        """Return the functions' Puts and Deletes of a device's override, successful or not."""
        return [
            call
            for call in self.calls(device=device)
            if call["operation"].startswith(("Put", "Delete")) and ":assumed-role/" in str(call["principal"])
        ]

    def control(self, method: str, path: str, body: Json | None = None) -> Json:
        """Call a control of the emulator. Raises with its answer if it refuses."""
        content = None if body is None else json.dumps(body).encode()
        status, text = self.aws.control(method, f"/_emulator/{path}", content)
        if status != 200:
            raise RuntimeError(f"{method} /_emulator/{path}: {text}")
        answer: Json = json.loads(text)
        return answer

    def queued(self, output: str) -> int:
        """Return the number of messages in the queue of an output, those in flight included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.outputs[output], AttributeNames=names)
        return sum(int(value) for value in answer["Attributes"].values())

    def is_idle(self) -> bool:
        """Return whether no report and no command waits or is in progress. The local SQS counts exactly."""
        return self.queued("ReportsQueueUrl") == 0 and self.queued("CommandsQueueUrl") == 0

    def dead_letters(self) -> dict[str, int]:
        """Return the number of messages in each dead-letter queue that is not empty."""
        names = [name for name in self.outputs if name.startswith(("Dead", "Undelivered", "Missed"))]
        return {name: count for name in names if (count := self.queued(name))}

    def log(self, function: str, since: datetime) -> Iterator[str]:
        """Yield the lines of a function's log since an instant.

        MiniStack answers with 10,000 lines at most and no next page, so ask from as late an instant as will do.
        """
        pages = self.logs.get_paginator("filter_log_events").paginate(
            logGroupName=self.log_groups[function], startTime=int(since.timestamp() * 1000)
        )
        for page in pages:
            for event in page["events"]:
                yield event["message"].strip()

    def routed(self, since: datetime) -> Counter[str]:
        """Count the copies of each event, by ID, that the router has passed on, according to its log."""
        lines = (json.loads(line) for line in self.log("route_events", since) if '"message":"routed"' in line)
        return Counter(line["event_id"] for line in lines)

    def troubles(self, since: datetime) -> list[str]:
        """Return in sentences what logs and queues say is wrong or waiting, the worst first."""
        refusals, others = [], []
        for function in FUNCTIONS:
            for message in filter(None, map(complaint, self.log(function, since))):
                others.append(f"The log of {function}: {message}")
                if refused := re.search(r"not authorized to perform: (\S+)(?: on resource: (\S+))?", message):
                    on = f" on {refused[2]}" if refused[2] else ""
                    refusals.append(f"{REFUSED} {function} the action {refused[1]}{on}.")
        for output, kind in (("ReportsQueueUrl", "reports"), ("CommandsQueueUrl", "commands")):
            if count := self.queued(output):
                others.append(f"In the queue of {kind}, to be tried again: {count}. None is lost.")
        others += [f"Messages in {queue}: {count}." for queue, count in self.dead_letters().items()]
        return list(dict.fromkeys(refusals + others))

    @cached_property
    def log_groups(self) -> dict[str, str]:
        """The log group of each function."""
        groups = {}
        for function in FUNCTIONS:
            name = self.outputs[f"{function.title().replace('_', '')}FunctionName"]
            settings = self.functions.get_function_configuration(FunctionName=name)
            groups[function] = settings["LoggingConfig"]["LogGroup"]
        return groups


class Announcements:
    """Collects what the deployment announces on its bus, with a rule and a queue of its own."""

    def __init__(self, deployment: Deployment, name: str) -> None:
        self._deployment = deployment
        self._name = name
        self._heard: dict[str, Json] = {}
        sqs, bus = deployment.sqs, deployment.outputs["EventBusName"]
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
        rules_may_send = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [rules_may_send]})
        self._queue = sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
        pattern = json.dumps({"source": ["device-lockout"]})
        deployment.events.put_rule(Name=name, EventBusName=bus, EventPattern=pattern)
        deployment.events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])

    def heard(self) -> list[Json]:
        """Return the events that were announced so far, in order of arrival."""
        sqs = self._deployment.sqs
        while messages := sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                event = json.loads(message["Body"])
                self._heard[event["id"]] = event
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ]
            sqs.delete_message_batch(QueueUrl=self._queue, Entries=entries)
        return list(self._heard.values())

    def close(self) -> None:
        """Remove the rule and the queue."""
        events, bus = self._deployment.events, self._deployment.outputs["EventBusName"]
        events.remove_targets(Rule=self._name, EventBusName=bus, Ids=["queue"])
        events.delete_rule(Name=self._name, EventBusName=bus)
        self._deployment.sqs.delete_queue(QueueUrl=self._queue)


def pause(waited: float, shortest: float = 0.1, longest: float = 2.0) -> float:
    """Return the seconds until the next look at something: a tenth of those waited so far.

    Each look takes some of the server's time, and what takes long should not take longer by it.
    """
    return min(max(shortest, waited / 10), longest)


def complaint(line: str) -> str | None:
    """Return what went wrong according to a line of a function's log, None if nothing did."""
    try:
        entry = json.loads(line)
    except ValueError:
        wrong = re.search(r"\[ERROR\]|Task timed out|Traceback", line)
        return line if wrong else None
    if isinstance(entry, dict) and entry.get("level") in ("WARNING", "ERROR", "CRITICAL"):
        return str(entry["message"])
    return None


def rfc3339(time: datetime | None = None) -> str:
    """Return a time, now by default, to the millisecond as events have it."""
    return (time or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
