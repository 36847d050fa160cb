"""What the README says, held against the project: its commands run, its names exist."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from device_lockout.inbound import contract
from device_lockout.values import outcome, tag
from device_lockout.values.actions import DETAIL_TYPES
from tests.local.end_to_end.watching import environment
from tests.local.observing import IN_A_SHELL

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
TARGETS = sorted(set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", README, re.MULTILINE)))


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_that_the_readme_names_is_there(target: str) -> None:
    tried = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr


def test_every_shell_line_of_the_readme_is_run_by_some_test() -> None:
    known = ("make ", "set -a; . .local/env; set +a", ".venv/bin/")
    assert [line for line in BLOCKS if not line.startswith(known)] == []


def test_the_commands_of_the_readme_run_and_lock_the_device(state: Path) -> None:
    sourced = f"set -a; . {state / 'env'}; set +a; "
    lines = [line for line in BLOCKS if line.startswith(".venv/bin/")]
    assert lines
    deadline = time.monotonic() + 60
    for line in lines:
        while True:
            ran = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", sourced + line],
                cwd=ROOT,
                env=os.environ | IN_A_SHELL,
                capture_output=True,
                text=True,
                check=False,
            )
            reading = " get-" in line and "ResourceNotFoundException" in ran.stderr
            if not (reading and time.monotonic() < deadline):
                break
        assert ran.returncode == 0, ran.stderr
    assert '"DENY"' in ran.stdout


def test_what_the_readme_says_of_the_command_line_is_what_it_does(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "devices.csv"
    file.write_text("userId,deviceId\nbob,READMEDEVICE\n")
    meant = {"NAME": "local", "EVENT.json": "samples/okta-suspicious-activity.json", "FILE.csv": str(file)}
    commands = re.findall(r"`(\.venv/bin/python -m lockout [^`]*)`", README)
    assert [command.split()[3] for command in commands] == ["try-mapping", "inventory", "export"]
    for command in commands:
        words = [meant.get(word, word) for word in command.split()]
        ran = subprocess.run(words, cwd=ROOT, env=environment(state), capture_output=True, text=True, check=False)
        assert ran.returncode == 0, (command, ran.stderr)
        assert ran.stdout


def test_the_sample_that_the_readme_quotes_is_the_one_in_the_file() -> None:
    (quoted,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert quoted == (ROOT / "samples" / "device-lost.json").read_text(encoding="utf-8")


def test_the_cdk_command_line_that_the_readme_names_knows_the_assembly_that_the_library_writes(state: Path) -> None:
    (named,) = {*re.findall(r"npx aws-cdk@([0-9.]+) ", README)}
    oldest = json.loads((state / "cdk.out" / "manifest.json").read_text())["minimumCliVersion"]
    assert [*map(int, named.split("."))] >= [*map(int, oldest.split("."))]
    assert "npx aws-cdk " not in README


def test_the_check_of_the_bus_policy_is_a_call_that_only_the_policy_refuses(state: Path) -> None:
    """MiniStack takes the policy and does not enforce it, so here the event is taken."""
    (line,) = re.findall(r"^ +(aws events put-events .*)$", README, re.MULTILINE)
    ran = subprocess.run(
        ["bash", "-c", f".venv/bin/{line}"], cwd=ROOT, env=environment(state), capture_output=True, check=False
    )
    assert json.loads(ran.stdout)["FailedEntryCount"] == 0, ran.stderr
    assert f'"Source": "{outcome.SOURCE}"' in line


def test_boto3_works_in_a_shell_that_has_read_the_environment(state: Path) -> None:
    asks = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
    ran = subprocess.run(
        ["bash", "-euc", f'set -a; . {state / "env"}; set +a; exec .venv/bin/python -c "$0"', asks],
        cwd=ROOT,
        env=os.environ | IN_A_SHELL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout.strip(), ran.stderr) == ("arn:aws:iam::000000000000:user/operator", "")


def test_the_readme_names_every_detail_type_field_and_outcome() -> None:
    schemas = [
        json.loads((contract.SCHEMAS / kind.schema).read_text(encoding="utf-8")) for kind in DETAIL_TYPES.values()
    ]
    fields = {field for schema in schemas for field in schema["properties"]}
    for name in [*DETAIL_TYPES, *fields, *outcome.DETAIL_TYPES.values(), "Sweep Completed", "Sweep Refused"]:
        assert f"`{name}`" in README, name


def test_the_example_of_a_tag_is_one() -> None:
    example = next(line for line in README.splitlines() if line.startswith("[lockout/1 "))
    assert isinstance(tag.read(example, owner="prod"), tag.Tag)
