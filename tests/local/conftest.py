import json
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local import lifecycle
from local.connection import Connection
from local.lifecycle import Server
from local.up import operator
from tests.local.observing import Queue, make_function


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = tmp_path_factory.mktemp("state")
    yield lifecycle.start(state)
    lifecycle.stop(state)


@pytest.fixture(scope="session")
def aws(server: Server) -> Connection:
    return operator(server)


@pytest.fixture
def name() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def machines_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory in the place of /tmp, for this process and those that it starts."""
    directory = tmp_path / "machine"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return directory


@pytest.fixture
def user(aws: Connection, name: str) -> Callable[..., Connection]:
    """A connection as an IAM user who may do what the statements say."""

    def make(*statements: dict[str, Any]) -> Connection:
        iam = aws.client("iam")
        iam.create_user(UserName=name)
        if statements:
            policy = {"Version": "2012-10-17", "Statement": list(statements)}
            iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return Connection(aws.endpoint, aws.ca, key["AccessKeyId"], key["SecretAccessKey"])

    return make


@pytest.fixture
def function(aws: Connection, name: str) -> Callable[..., str]:
    """A Python function of the given source; returns its ARN."""

    def make(source: str, **more: Any) -> str:
        return make_function(aws, name, source, **more)

    return make


@pytest.fixture
def queue(aws: Connection, name: str) -> Callable[..., Queue]:
    def make(suffix: str = "", **attributes: str) -> Queue:
        return Queue(aws, f"{name}{suffix}", attributes)

    return make


@pytest.fixture
def rule(aws: Connection, name: str) -> Callable[..., None]:
    """A rule on the default bus for events whose source is the test's name."""

    def make(target: dict[str, Any]) -> None:
        events = aws.client("events")
        events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
        events.put_targets(Rule=name, Targets=[{"Id": "target", **target}])

    return make


@pytest.fixture
def put_event(aws: Connection, name: str) -> Callable[..., None]:
    def put(detail: dict[str, Any] | None = None, **more: Any) -> None:
        entry = {"Source": name, "DetailType": "Test", "Detail": json.dumps(detail or {}), **more}
        assert aws.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0

    return put
