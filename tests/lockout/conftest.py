"""A deployment in memory: the ports of :mod:`local.in_memory`, and a bus that delivers what is put on it."""

import json
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from device_lockout.inbound import report
from device_lockout.values import wire
from device_lockout.values.command import Command, command_id
from local.in_memory import World
from lockout.__main__ import main
from lockout.deployment import Deployment

OUTPUTS = {"EventBusName": "device-security", "LedgerTableName": "ledger", "SweepOverridesFunctionName": "f"} | {
    name: f"https://sqs/{name}"
    for name in (
        "ReportsQueueUrl",
        "CommandsQueueUrl",
        "DeadReportsQueueUrl",
        "DeadCommandsQueueUrl",
        "UndeliveredEventsQueueUrl",
        "MissedSweepsQueueUrl",
    )
}


class Clients:
    """Clients of AWS's services. Each is an object with the calls that a command makes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[dict[str, Any]] = []
        self.delivers = True
        self.dead = 0
        self.letters: list[Command] = []

    def __call__(self, service: str) -> Any:
        assert service in ("events", "sts", "sqs", "lambda"), service
        return self

    def describe_event_bus(self, Name: str) -> None:  # noqa: N803
        assert Name == "device-security"

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": "arn:aws:iam::000000000000:user/ops"}

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {"Attributes": {"ApproximateNumberOfMessages": str(self.dead)}}

    def receive_message(self, QueueUrl: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        assert QueueUrl == OUTPUTS["DeadCommandsQueueUrl"]
        letters = [(command_id(command), wire.dump(command)) for command in self.letters]
        return {"Messages": [{"MessageId": name, "ReceiptHandle": name, "Body": body} for name, body in letters]}

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        assert QueueUrl == OUTPUTS["DeadCommandsQueueUrl"]
        self.letters = [command for command in self.letters if command_id(command) != ReceiptHandle]

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        (entry,) = Entries
        self.sent.append(entry)
        event = str(uuid.uuid4())
        if self.delivers:
            body = {"id": event, "source": entry["Source"], "detail-type": entry["DetailType"]}
            body["detail"] = json.loads(entry["Detail"])
            now = datetime.now(UTC)
            for command in report.read(json.dumps(body), "m", now, self.world.settings):
                self.world.deliver(command, now)
        return {"Entries": [{"EventId": event}], "FailedEntryCount": 0}


@pytest.fixture
def world() -> World:
    world = World()
    world.workmail.now = datetime.now(UTC)
    return world


@pytest.fixture
def clients(world: World) -> Clients:
    return Clients(world)


@pytest.fixture
def there(world: World, clients: Clients) -> Deployment:
    deployment = Deployment("device-lockout-local", "UPDATE_COMPLETE", OUTPUTS, world.settings, clients)
    vars(deployment).update(workmail=world.workmail, ledger=world.ledger)  # the cached properties
    return deployment


type Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(there: Deployment, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; returns its status, and what it printed and said."""

    def ran(*words: str) -> tuple[int, str, str]:
        status = main([*words], there)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return status, said.out, said.err

    return ran


@pytest.fixture
def answers_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal at which somebody types y to every question."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_, **__: True)
