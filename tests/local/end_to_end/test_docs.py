"""What README.md and docs/ say, held against the project.

A fence marked ``sh`` is run here, one marked ``json`` or ``toml`` is read. A plain fence is for what can't be run here.
The shell of a page starts in what looks like the root of the repository. That of README.md knows nothing of the local
AWS, that of a page in docs/ has read ``.local/env``. test_runbook.py runs the runbook.
"""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from config_reader import loader
from device_lockout.inbound import contract, report
from device_lockout.values import tag
from device_lockout.values.actions import DETAIL_TYPES
from device_lockout.values.command import Reject
from device_lockout.values.outcome import RESULTS, SOURCE
from lockout.__main__ import COMMANDS as LOCKOUT
from tests.local.end_to_end.watching import environment
from tests.local.observing import IN_A_SHELL

ROOT = Path(__file__).parents[3]
RUNBOOK = "docs/runbook.md"
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
FRONT = {path.name: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("*.md"))}
EVERYTHING = "\n".join(PAGES.values())
TARGETS = sorted(
    {
        name
        for text in (PAGES | FRONT).values()
        for name in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE)
    }
)
COMMANDS = sorted({*re.findall(r"`(\.venv/bin/lockout [^`\n]*)`", EVERYTHING)})
TAG = r"^(\[lockout/1 by=(\S+) .*)$"

AWS_ONCE_IT_IS_THERE = """#!/usr/bin/env bash
# The AWS command line, which asks again for what a report has not brought about yet.
errors=$(mktemp)
trap 'cat "$errors" >&2; rm "$errors"' EXIT
deadline=$((SECONDS + 60))
until said=$("{real}" "$@" 2>"$errors"); do
  status=$?
  case "$* $(cat "$errors")" in
    *" get-"*ResourceNotFoundException*) [ $SECONDS -lt $deadline ] && continue ;;
  esac
  exit $status
done
printf '%s\\n' "$said"
"""

PREAMBLE = (
    """trap 'echo "{page}:$LINENO: exit status $?: $BASH_COMMAND" >&2' ERR;"""
    ' make() {{ command make --dry-run "$@" >/dev/null; }};'
)


class Block(NamedTuple):
    """A fenced block: its page, the line of its first line, what the fence says it is."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str, language: str) -> Iterator[Block]:
    for found in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", PAGES[page], re.DOTALL | re.MULTILINE):
        if found[2] == language:
            yield Block(page, PAGES[page][: found.start(3)].count("\n") + 1, language, found[3])


def of_every_page(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, language)]


def script(page: str) -> str:
    """What the page has a shell do; each command in the line that it has on the page."""
    lines = [""] * (PAGES[page].count("\n") + 1)
    for block in blocks(page, "sh"):
        lines[block.line - 1 : block.line - 1 + block.text.count("\n")] = block.text.splitlines()
    assert not lines[0], "a page begins with its title"
    return "\n".join([PREAMBLE.format(page=page), *lines[1:]])


@pytest.fixture
def root(state: Path, tmp_path: Path) -> Path:
    """What looks like the root of the repository, after `make up`."""
    there = tmp_path / "repository"
    hidden = {".local", ".venv", ".git", "cdk.out"}
    local = [path for name in ("asset", "ministack") if (path := ROOT / ".local" / name).exists()]
    for directory, entries in {
        there: [path for path in ROOT.iterdir() if path.name not in hidden],
        there / ".local": [*local, *(path for path in state.iterdir() if path.name not in ("asset", "ministack"))],
        there / ".venv": [path for path in (ROOT / ".venv").iterdir() if path.name != "bin"],
        there / ".venv" / "bin": [path for path in (ROOT / ".venv" / "bin").iterdir() if path.name != "aws"],
    }.items():
        directory.mkdir()
        for path in entries:
            (directory / path.name).symlink_to(path)
    command = there / ".venv" / "bin" / "aws"
    command.write_text(AWS_ONCE_IT_IS_THERE.replace("{real}", str(ROOT / ".venv" / "bin" / "aws")))
    command.chmod(0o755)
    return there


@pytest.mark.parametrize("page", [page for page in PAGES if page != RUNBOOK and any(blocks(page, "sh"))])
def test_the_commands_of_a_page_run_from_its_first_to_its_last(page: str, state: Path, root: Path) -> None:
    known = os.environ | IN_A_SHELL if page == "README.md" else environment(state) | {"LOCKOUT_CONFIG": "local"}
    (root / "commands").write_text(script(page))
    ran = subprocess.run(
        ["bash", "-eEuo", "pipefail", "commands"],
        cwd=root,
        env={name: value for name, value in known.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    if page == "README.md":
        assert '"DENY"' in ran.stdout, "the report in the README locks the device"


@pytest.mark.parametrize("page", PAGES)
def test_every_fence_is_closed_and_says_what_is_known(page: str) -> None:
    fences = re.findall(r"^ *```(.*)$", PAGES[page], re.MULTILINE)
    assert fences[1::2] == [""] * (len(fences) // 2), "a fence that is not closed"
    assert {*fences[::2]} <= {"", "sh", "json", "toml", "text"}


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_that_a_page_names_is_there(target: str) -> None:
    tried = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr


@pytest.mark.parametrize("page", PAGES | FRONT)
def test_every_link_to_a_file_leads_to_one_and_to_a_heading_that_it_has(page: str) -> None:
    text = re.sub(r"^( *)```.*?^\1```$|`[^`\n]*`", "", (PAGES | FRONT)[page], flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\((?![a-z]+:)([^)]*)\)", text):
        name, _, heading = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
            assert heading in anchors, f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES | FRONT)
def test_every_file_that_a_page_names_with_its_folder_is_there(page: str) -> None:
    named = re.findall(r"`([a-z_.-]+/[a-z_/.-]+\.[a-z]+)`", (PAGES | FRONT)[page])
    roots = (ROOT, ROOT / "functions", ROOT / "functions" / "device_lockout")
    made_here = (".local/", "cdk.out/")
    missing = [name for name in named if not any((root / name).exists() for root in roots)]
    assert [name for name in missing if not name.startswith(made_here)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_page_says_of_the_command_line_is_what_it_does(command: str, state: Path, tmp_path: Path) -> None:
    file = tmp_path / "devices.csv"
    file.write_text("userId,deviceId\nbob,READMEDEVICE\n")
    meant = {"NAME": "local", "EVENT.json": "samples/okta-suspicious-activity.json", "FILE.csv": str(file)}
    words = [meant.get(word, word) for word in command.split()]
    ran = subprocess.run(words, cwd=ROOT, env=environment(state), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, (command, ran.stderr)
    assert ran.stdout


def test_the_pages_name_every_command_of_the_operators_command_line() -> None:
    named = {*re.findall(r"\blockout ([a-z]+)", EVERYTHING)}
    assert {name for section in LOCKOUT.values() for name in section} <= named


@pytest.mark.parametrize("block", of_every_page("toml"), ids=str)
def test_every_fragment_of_a_configuration_is_toml(block: Block) -> None:
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("block", of_every_page("json"), ids=str)
def test_every_event_that_a_page_quotes_is_one_that_the_router_takes(block: Block) -> None:
    quoted = json.loads(block.text)
    for entry in quoted if isinstance(quoted, list) else []:
        detail = json.loads(entry["Detail"])
        event = {"id": "e", "source": entry["Source"], "detail-type": entry["DetailType"], "detail": detail}
        received = datetime.fromisoformat(detail["reportedAt"]) + timedelta(seconds=1)
        (command,) = report.read(json.dumps(event), "m", received, loader.load("local").settings)
        assert not isinstance(command, Reject), f"{block}: {entry['DetailType']}: {command.because}"
        assert command.cause.happened == datetime.fromisoformat(detail["reportedAt"]).astimezone(UTC)


def test_the_event_that_the_readme_quotes_is_the_one_in_the_file() -> None:
    (quoted,) = blocks("README.md", "json")
    assert quoted.text == (ROOT / "samples" / "device-lost.json").read_text(encoding="utf-8")


def test_the_cdk_command_line_that_is_pinned_knows_the_assembly_that_the_library_writes(state: Path) -> None:
    named = json.loads((ROOT / "package.json").read_text())["devDependencies"]["aws-cdk"]
    oldest = json.loads((state / "cdk.out" / "manifest.json").read_text())["minimumCliVersion"]
    assert [*map(int, named.split("."))] >= [*map(int, oldest.split("."))]
    assert "npx aws-cdk" not in EVERYTHING, "it would fetch any version"


def test_the_check_of_the_bus_policy_is_a_call_that_only_the_policy_refuses(state: Path) -> None:
    """MiniStack takes the policy and does not enforce it, so here the event is taken."""
    (line,) = {*re.findall(rf'^ *(aws events put-events .*"Source": "{SOURCE}".*)$', EVERYTHING, re.MULTILINE)}
    ran = subprocess.run(
        ["bash", "-c", f".venv/bin/{line}"], cwd=ROOT, env=environment(state), capture_output=True, check=False
    )
    assert json.loads(ran.stdout)["FailedEntryCount"] == 0, ran.stderr


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


def test_the_pages_name_every_detail_type_field_and_outcome() -> None:
    schemas = [
        json.loads((contract.SCHEMAS / kind.schema).read_text(encoding="utf-8")) for kind in DETAIL_TYPES.values()
    ]
    fields = {field for schema in schemas for field in schema["properties"]}
    names = {
        *DETAIL_TYPES,
        *fields,
        *(each.detail_type for each in RESULTS.values() if each.detail_type),
        "Sweep Completed",
        "Sweep Refused",
    }
    assert sorted(name for name in names if f"`{name}`" not in EVERYTHING) == []


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if re.search(TAG, text, re.MULTILINE)])
def test_the_first_example_of_a_tag_on_a_page_is_one(page: str) -> None:
    example, owner = re.findall(TAG, PAGES[page], re.MULTILINE)[0]
    assert isinstance(tag.read(example, owner), tag.Tag)
