"""What the runbook says, held against the project: its commands run, and it leaves out no alarm and no guard."""

import csv
import json
import os
import re
import subprocess
import typing
from pathlib import Path

import pytest

from device_lockout.decisions import plan
from local.deployment import Deployment
from tests.local.end_to_end.watching import denied, new_device, new_users

ROOT = Path(__file__).parents[3]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", RUNBOOK, re.DOTALL | re.MULTILINE)
DEFINITION, *COMMANDS = (text for language, text in FENCES if language == "sh")
ASKED = [line for text in COMMANDS for line in ([text] if text.startswith("aws ") else text.splitlines())]
"""Each command of the page, in its order."""
ONLY_ON_AWS = [text for language, text in FENCES if not language]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in RUNBOOK.splitlines() if line[:2] == "| "]
PAGING = ("Lockout Rejected", "Lockout Failed", "Tampering Detected", "Expiry Due Soon", "Sweep Refused")


@pytest.fixture
def run(state: Path, tmp_path: Path) -> typing.Callable[[str], str]:
    """Runs a command of the runbook in what looks like the root of the repository; returns what it prints."""
    for name in ("config", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)

    def ran(command: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"set -a; . {state / 'env'}; set +a\n{DEFINITION}\n{command}"],
            cwd=tmp_path,
            env={**os.environ, "PATH": f".venv/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or (done.returncode == 1 and "lockout: " not in done.stderr), (command, done.stderr)
        return done.stdout

    return ran


def test_every_command_of_the_runbook_does_what_it_says(
    run: typing.Callable[[str], str], deployment: Deployment, tmp_path: Path
) -> None:
    """In the order of the page. The exit status 1 is an answer, too: no."""
    deployment.publish("Device Lost", userId="bob", deviceId="ABC123", reference="INC-1234")
    denied(deployment, "bob", "ABC123")
    said = {command: run(command) for command in ASKED}
    assert {command.split()[1] for command in ASKED if command.startswith("lockout ")} == {
        *(
            "doctor",
            "status",
            "history",
            "show",
            "export",
            "dead",
            "lock",
            "release",
            "extend",
            "sweep",
            "handover",
            "evidence",
        )
    }
    assert "(lost) until" in said['lockout lock bob ABC123 --ref INC-1234 --note "left in a taxi" --yes --unverified']
    assert "is released" in said["lockout release bob ABC123 --ref INC-1234 --yes"]
    assert "stays locked" in said["lockout extend bob ABC123 --until 60d --yes"]
    assert "The sweep of" in said["lockout sweep now"]
    assert "The sweep of" in said["lockout sweep now --accept-ledger"]
    (rotated,) = (out for command, out in said.items() if "put-secret-value" in command)
    assert re.search(r'"username": "lockout", "password": "\w{32}"', rotated)
    assert (tmp_path / "INC-1234.zip").exists()
    assert (tmp_path / "overrides.csv").read_text().startswith("organizationId,")


def test_the_export_has_all_that_stands_and_not_the_first_hundred(
    run: typing.Callable[[str], str], deployment: Deployment, tmp_path: Path
) -> None:
    (name,) = new_users(deployment, 1)
    user = deployment.workmail.describe_user(OrganizationId=deployment.organization, UserId=name)["UserId"]
    devices = [f"export{number:03}" for number in range(120)]
    words = {"OrganizationId": deployment.organization, "UserId": user, "Effect": "ALLOW", "Description": "by hand"}
    deployment.control("POST", "seed", {"overrides": [{**words, "DeviceId": device} for device in devices]})
    for command in ASKED:
        if "export" in command:
            run(command)
    rows = list(csv.DictReader((tmp_path / "overrides.csv").read_text().splitlines()))
    seeded = [row for row in rows if row["userId"] == user]
    assert [row["deviceId"] for row in seeded] == devices
    assert {(row["userName"], row["email"], row["kind"]) for row in seeded} == {
        (name, f"{name}@example.com", "foreign")
    }
    assert {row["deviceId"] for row in json.loads((tmp_path / "overrides.json").read_text())} >= {*devices}


def test_the_hand_over_finds_the_stacks_ledger_and_writes_all_files(
    run: typing.Callable[[str], str], deployment: Deployment, tmp_path: Path
) -> None:
    device = new_device()
    deployment.publish("Device Lost", userId="bob", deviceId=device)
    denied(deployment, "bob", device)
    run(next(command for command in ASKED if "handover" in command))
    (over,) = tmp_path.glob("handover-*")
    blocked = list(csv.DictReader((over / "exchange-blocked.csv").read_text().splitlines()))
    (row,) = (row for row in blocked if row["deviceId"] == device.lower())
    assert (row["mailbox"], row["why"], row["kind"]) == ("bob@example.com", "lost", "ours")
    deployment.publish("Device Recovered", userId="bob", deviceId=device)


def test_what_only_aws_can_do_is_what_the_command_line_takes(run: typing.Callable[[str], str]) -> None:
    """Not carried out: the stack is everybody's."""
    assert len(ONLY_ON_AWS) == 1
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
