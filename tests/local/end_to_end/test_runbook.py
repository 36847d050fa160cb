"""What the runbook says, held against the project: its commands run, and it leaves out no alarm and no guard."""

import csv
import json
import os
import re
import subprocess
import typing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from device_lockout.decisions import plan
from local.deployment import Deployment
from tests.local.end_to_end.watching import denied, new_device, new_users, seen

ROOT = Path(__file__).parents[3]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", RUNBOOK, re.DOTALL | re.MULTILINE)
DEFINITION, *COMMANDS = (text for language, text in FENCES if language == "sh")
ONLY_ON_AWS = [text for language, text in FENCES if not language]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in RUNBOOK.splitlines() if line[:2] == "| "]
PAGING = ("Lockout Rejected", "Lockout Failed", "Tampering Detected", "Expiry Due Soon", "Sweep Refused")


@pytest.fixture
def run(state: Path, tmp_path: Path) -> typing.Callable[[str], str]:
    """Runs a command of the runbook in what looks like the root of the repository; returns what it prints."""
    for name in ("config", "functions", "infra", "lockout", "samples", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)

    def ran(command: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"set -a; . {state / 'env'}; set +a\n{DEFINITION}\n{command}"],
            cwd=tmp_path,
            env={**os.environ, "LOCKOUT_CONFIG": "local", "PATH": f".venv/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    return ran


SWEEP = '$LOCKOUT_ORGANIZATION_ID\\"}" |'
"""What only the command that asks for a sweep has."""


def chosen(word: str) -> str:
    """The one command that has this word."""
    (command,) = (command for command in COMMANDS if word in command)
    return command


def test_every_command_of_the_runbook_is_run_by_a_test_here() -> None:
    words = (
        "lockout export",
        "dynamodb query",
        "receive-message",
        "put-events",
        SWEEP,
        "filter-log",
        "get-item",
        "lockout handover",
        "acceptLedger",
    )
    assert [chosen(word) for word in words] == COMMANDS


def test_the_export_has_all_that_stands_and_not_the_first_hundred(
    run: typing.Callable[[str], str], deployment: Deployment, tmp_path: Path
) -> None:
    (name,) = new_users(deployment, 1)
    user = deployment.workmail.describe_user(OrganizationId=deployment.organization, UserId=name)["UserId"]
    devices = [f"export{number:03}" for number in range(120)]
    words = {"OrganizationId": deployment.organization, "UserId": user, "Effect": "ALLOW", "Description": "by hand"}
    deployment.control("POST", "seed", {"overrides": [{**words, "DeviceId": device} for device in devices]})
    run(chosen("lockout export"))
    rows = list(csv.DictReader((tmp_path / "overrides.csv").read_text().splitlines()))
    seeded = [row for row in rows if row["userId"] == user]
    assert [row["deviceId"] for row in seeded] == devices
    assert {(row["userName"], row["email"], row["kind"]) for row in seeded} == {
        (name, f"{name}@example.com", "foreign")
    }
    assert "priorEffect" in rows[0], "the stack's outputs name the ledger"
    assert {row["deviceId"] for row in json.loads((tmp_path / "overrides.json").read_text())} >= {*devices}


def test_the_hand_over_finds_the_stacks_ledger_and_writes_all_files(
    run: typing.Callable[[str], str], deployment: Deployment, tmp_path: Path
) -> None:
    device = new_device()
    deployment.publish("Device Lost", userId="bob", deviceId=device)
    denied(deployment, "bob", device)
    run(chosen("lockout handover"))
    (over,) = tmp_path.glob("handover-*")
    blocked = list(csv.DictReader((over / "exchange-blocked.csv").read_text().splitlines()))
    (row,) = (row for row in blocked if row["deviceId"] == device.lower())
    assert (row["mailbox"], row["why"], row["kind"]) == ("bob@example.com", "lost", "ours")
    deployment.publish("Device Recovered", userId="bob", deviceId=device)


@pytest.mark.parametrize("word", ["dynamodb query", "receive-message"])
def test_what_only_asks_is_answered(run: typing.Callable[[str], str], word: str) -> None:
    run(chosen(word))


def test_a_device_is_let_back_in(run: typing.Callable[[str], str]) -> None:
    assert json.loads(run(chosen("put-events")))["FailedEntryCount"] == 0


def test_a_sweep_is_asked_for_and_seen_to_complete(run: typing.Callable[[str], str], deployment: Deployment) -> None:
    asked = datetime.now(UTC)
    assert json.loads(run(chosen(SWEEP)))["StatusCode"] == 202

    def completed() -> bool:
        said = json.loads(run(chosen("get-item")))
        return said is not None and datetime.fromisoformat(said) > asked

    seen(deployment, "a sweep that began later is the newest completed", completed)
    seen(deployment, "its end in the log", lambda: "swept" in run(chosen("filter-log")))


def test_a_ledger_that_was_set_back_is_accepted(run: typing.Callable[[str], str], deployment: Deployment) -> None:
    deployment.dynamodb.update_item(
        TableName=deployment.outputs["LedgerTableName"],
        Key={"pk": {"S": deployment.organization}, "sk": {"S": "sweep"}},
        UpdateExpression="SET #table = :other",
        ExpressionAttributeNames={"#table": "table"},
        ExpressionAttributeValues={":other": {"S": "the table before"}},
    )
    assert deployment.sweep()["guard"] == "set-back"
    assert json.loads(run(chosen("acceptLedger")))["StatusCode"] == 202
    seen(deployment, "a sweep that needs no word", lambda: deployment.sweep()["guard"] != "set-back")


def test_what_only_aws_can_do_is_what_the_command_line_takes(run: typing.Callable[[str], str]) -> None:
    """Not carried out: the stack is everybody's, and MiniStack moves no dead letters."""
    assert len(ONLY_ON_AWS) == 2
    for block in ONLY_ON_AWS:
        calls = [line for line in block.splitlines() if line.startswith("aws ")]
        helpers = [line for line in block.splitlines() if line not in calls]
        assert len(calls) == 2
        for call in calls:
            run("\n".join([*helpers, f"{call} --generate-cli-skeleton output"]))


def test_every_alarm_is_in_the_runbook(state: Path) -> None:
    (template,) = (state / "cdk.out").glob("*.template.json")
    resources = json.loads(template.read_text())["Resources"].values()
    told = [
        resource["Properties"]["AlarmDescription"]
        for resource in resources
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]
    names = tuple(name for row in ROWS for name in row[0].split(", "))
    assert len(told) >= 7
    assert [description for description in told if not description.startswith(names)] == []


def test_every_outcome_that_pages_is_in_the_runbook() -> None:
    assert {f"`{outcome}`" for outcome in PAGING} <= {row[0] for row in ROWS}


def test_every_guard_of_the_sweep_is_in_the_runbook() -> None:
    guards = typing.get_args(typing.get_type_hints(plan.Refusal)["guard"])
    assert guards
    assert [guard for guard in guards if f"`{guard}`" not in RUNBOOK] == []
