"""A release is deployed over another and rolled back, with reports, commands and locks of either each time."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import app
from config_reader import loader
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

NEW_SOURCE = """
[[sources]]
name = "asset-desk"
pattern = { source = ["asset-desk"] }
action = "lock"
reason = "lost"
publishers = "anyone"
user = "detail.who"
device = "detail.phone"
"""
UNKNOWN = "expected a source with an action in the configuration"


@pytest.fixture(scope="module")
def release(
    deployment: Deployment, state: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], None]]:
    """Deploys this release, the next one, or that one's rules alone. In the end this one is deployed.

    Meanwhile a report that failed comes again in ten seconds, and not in three minutes.
    """
    sqs, again = deployment.sqs, {"QueueUrl": deployment.outputs["ReportsQueueUrl"]}
    usual = sqs.get_queue_attributes(**again, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(**again, Attributes={"VisibilityTimeout": "10"})
    aws = Connection.read(state / "env")
    text = (loader.DIRECTORY / "local.toml").read_text(encoding="utf-8")
    local, with_source = loader.read(text, "local"), loader.read(text + NEW_SOURCE, "next")
    this, package = (bundling.package(each.settings) for each in (local, with_source))
    then = next_release(package, tmp_path_factory.mktemp("next") / "package.zip")
    assemblies: dict[str, Path] = {}
    for name, configuration, package in (
        ("this", local, this),
        ("next", with_source, then),
        ("rules of the next", with_source, this),
    ):
        assemblies[name] = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CDK_VALIDATION", "false")
            app.synthesize(configuration, package, assemblies[name])

    def release_(name: str) -> None:
        deploy(read(assemblies[name]), aws)

    yield release_
    release_("this")
    sqs.set_queue_attributes(**again, Attributes=usual)


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
def waiting(there: Deployment, aws: Connection, output: str) -> Iterator[None]:
    """Keep a queue's function from it."""
    functions = aws.client("lambda")
    queue = there.outputs[output].rsplit("/", 1)[1]
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


def waits(there: Deployment, reports: int, commands: int) -> None:
    """Wait until exactly so many reports and commands do."""
    for output, count in (("ReportsQueueUrl", reports), ("CommandsQueueUrl", commands)):
        seen(there, f"{count} in {output}", lambda output=output, count=count: there.queued(output) == count)


def logged(there: Deployment, function: str, words: str, since: datetime) -> None:
    seen(there, words, lambda: any(words in line for line in there.log(function, since)))


def phone_gone(there: Deployment, user: str, device: str) -> Report:
    """Publish an event of the source that only the next release knows."""
    return there.publish("Phone Gone", "asset-desk", who=user, phone=device)


def test_a_report_of_a_source_that_the_running_code_does_not_know_waits_until_it_does(
    deployment: Deployment, release: Callable[[str], None]
) -> None:
    there, began = deployment, datetime.now(UTC)
    (user,), device = new_users(there, 1), new_device()
    release("rules of the next")
    gone = phone_gone(there, user, device)
    logged(there, "route_events", UNKNOWN, began)
    assert (there.queued("ReportsQueueUrl"), there.outcomes(gone.event_id), lost(there)) == (1, [], {})
    release("next")
    assert result(there, gone) == "locked"
    denied(there, user, device)
    waits(there, 0, 0)


def test_a_release_and_its_rollback_lose_nothing(
    deployment: Deployment, state: Path, release: Callable[[str], None]
) -> None:
    there, aws, began = deployment, Connection.read(state / "env"), datetime.now(UTC)
    (user,) = new_users(there, 1)
    old, waited, read_later, newer, newer_still, unknown, retired = (new_device() for _ in range(7))
    release("this")

    def report(kind: str, device: str, source: str = "helpdesk") -> Report:
        return there.publish(kind, source, userId=user, deviceId=device)

    first = report("Device Lost", old)
    recorded(there, [first])
    waits(there, 0, 0)  # a command that is tried again would be counted as the test's
    with waiting(there, aws, "CommandsQueueUrl"):
        second = report("Device Lost", waited)
        waits(there, 0, 1)
        with waiting(there, aws, "ReportsQueueUrl"):
            third = report("Device Lost", read_later)
            waits(there, 1, 1)
            release("next")
    assert (result(there, second), result(there, third)) == ("locked", "locked")
    again = report("Device Stolen", old)
    assert result(there, again) == "extended"
    assert tickets(there, waited) == [True]

    waits(there, 0, 0)
    with waiting(there, aws, "CommandsQueueUrl"):
        fourth = report("Device Lost", newer)
        retirement = report("Device Retired", retired, "mdm")
        waits(there, 0, 2)
        with waiting(there, aws, "ReportsQueueUrl"):
            fifth = report("Device Lost", newer_still)
            gone = phone_gone(there, user, unknown)
            waits(there, 2, 2)
            release("this")
    assert (result(there, fourth), result(there, fifth)) == ("locked", "locked"), "this release reads what it knows"
    assert tickets(there, newer) == [True], "and keeps what it does not know"
    released = report("Device Recovered", old)
    assert result(there, released) == "released"
    assert tickets(there, old) == [True, True], "a write by this release drops nothing either"
    logged(there, "apply_commands", "the message has format 2: expected at most 1", began)
    logged(there, "route_events", UNKNOWN, began)
    waits(there, 1, 1)
    assert there.outcomes(retirement.event_id) == there.outcomes(gone.event_id) == []
    assert lost(there) == {}

    release("next")
    assert (result(there, retirement), result(there, gone)) == ("retired", "locked")
    for device in (waited, read_later, newer, newer_still, unknown):
        denied(there, user, device)
    assert there.override(user, old) is None
    waits(there, 0, 0)
    assert lost(there) == {}
