"""A release is deployed over another and rolled back, with commands in the queue and locks in the ledger each time."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import app
from configuration import loader
from infra import bundling
from local.connection import Connection
from local.deploy import deploy, read
from local.deployment import Deployment, Report
from tests.local.end_to_end.watching import denied, new_device, new_users, recorded, result, seen

NEXT_RELEASE = """

# The next release: more fields in each message and each claim, and a format of its own for a retired device.

_dump_before, _claim_before = dump, FORMS[Claim]
check_format = lambda *_: None


def write_claim(claim):
    return _claim_before.write(claim) | {"ticket": {"url": "https://tickets.example/7"}}


FORMS[Claim] = _claim_before._replace(write=write_claim)


def dump(command):
    body = json.loads(_dump_before(command))
    body["target"]["model"] = "a phone"
    return json.dumps(body | {"hops": 1, "format": 2 if body["command"] == "retire" else 1})
"""
WIRE = "device_lockout/values/wire.py"


@pytest.fixture(scope="module")
def release(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], None]]:
    """Deploys this release, or the next one. In the end this one is deployed."""
    aws = Connection.read(state / "env")
    configuration = loader.load("local")
    this = bundling.package(configuration.settings)
    packages = {"this": this, "next": next_release(this, tmp_path_factory.mktemp("next") / "package.zip")}
    assemblies: dict[str, Path] = {}
    for name, package in packages.items():
        assemblies[name] = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CDK_VALIDATION", "false")
            app.synthesize(configuration, package, assemblies[name])

    def release_(name: str) -> None:
        deploy(read(assemblies[name]), aws)

    yield release_
    release_("this")


def next_release(this: Path, package: Path) -> Path:
    """Write a package with the next release's `wire.py`, and return it."""
    with zipfile.ZipFile(this) as zipped:
        entries = {name: zipped.read(name) for name in zipped.namelist()}
    changed = {WIRE: entries[WIRE] + NEXT_RELEASE.encode()}
    with zipfile.ZipFile(package, "w") as zipped:
        for name, content in (entries | changed | bundling.bytecode(changed)).items():
            zipped.writestr(name, content)
    return package


@contextmanager
def commands_wait(there: Deployment, aws: Connection) -> Iterator[None]:
    """Keep the writer from the queue once it is empty. A command that is tried again would be counted as the test's."""
    seen(there, "all is worked off", there.is_idle)
    functions = aws.client("lambda")
    queue = there.outputs["CommandsQueueUrl"].rsplit("/", 1)[1]
    (mapping,) = (
        each
        for each in functions.list_event_source_mappings()["EventSourceMappings"]
        if each["EventSourceArn"].endswith(f":{queue}")
    )

    def switch(state: str) -> None:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=state == "Enabled")
        seen(there, state, lambda: functions.get_event_source_mapping(UUID=mapping["UUID"])["State"] == state)

    switch("Disabled")
    try:
        yield
    finally:
        switch("Enabled")


def item(there: Deployment, device: str) -> dict[str, Any]:
    """The device's item in the ledger."""
    pages = there.dynamodb.get_paginator("scan").paginate(
        TableName=there.outputs["LedgerTableName"],
        FilterExpression="contains(sk, :device) AND begins_with(sk, :kind)",
        ExpressionAttributeValues={":device": {"S": device.casefold()}, ":kind": {"S": "device#"}},
    )
    (found,) = (each for page in pages for each in page["Items"])
    return dict(found)


def tickets(there: Deployment, device: str) -> list[bool]:
    """Whether each of the device's claims has what the next release writes."""
    return ["ticket" in claim["M"] for claim in item(there, device)["claims"]["L"]]


def lost(there: Deployment) -> dict[str, int]:
    """Dead letters, but for the schedule's: the local AWS stops a sweep whose code is replaced, and AWS does not."""
    return {queue: count for queue, count in there.dead_letters().items() if queue != "MissedSweepsQueueUrl"}


def test_a_release_and_its_rollback_lose_nothing(
    deployment: Deployment, state: Path, release: Callable[[str], None]
) -> None:
    there, aws, began = deployment, Connection.read(state / "env"), datetime.now(UTC)
    (user,) = new_users(there, 1)
    old, waiting, newer, retired = (new_device() for _ in range(4))

    def report(kind: str, device: str, source: str = "helpdesk") -> Report:
        return there.publish(kind, source, userId=user, deviceId=device)

    first = report("Device Lost", old)
    recorded(there, [first])
    with commands_wait(there, aws):
        second = report("Device Lost", waiting)
        seen(there, "a command of this release waits", lambda: there.queued("CommandsQueueUrl") == 1)
        release("next")
    assert result(there, second) == "locked"
    again = report("Device Stolen", old)
    assert result(there, again) == "extended"
    assert tickets(there, waiting) == [True]

    with commands_wait(there, aws):
        third = report("Device Lost", newer)
        retirement = report("Device Retired", retired, "mdm")
        seen(there, "commands of the next release wait", lambda: there.queued("CommandsQueueUrl") == 2)
        release("this")
    assert result(there, third) == "locked", "this release reads what it knows"
    assert tickets(there, newer) == [True], "and keeps what it does not know"
    released = report("Device Recovered", old)
    assert result(there, released) == "released"
    assert tickets(there, old) == [True, True], "a write by this release drops nothing either"
    waits = "the message has format 2: expected at most 1"
    seen(there, waits, lambda: any(waits in line for line in there.log("apply_commands", began)))
    seen(there, "all but the retirement is worked off", lambda: there.queued("CommandsQueueUrl") == 1)
    assert there.outcomes(retirement.event_id) == []
    assert lost(there) == {}

    release("next")
    assert result(there, retirement) == "retired"
    for device in (waiting, newer):
        denied(there, user, device)
    assert there.override(user, old) is None
    seen(there, "all is worked off", there.is_idle)
    assert lost(there) == {}
