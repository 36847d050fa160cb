"""What the runbook says, held against the project: its commands run, and it leaves out no guard."""

import os
import re
import subprocess
import typing
from pathlib import Path

from device_lockout import plan

ROOT = Path(__file__).parents[3]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL)


def test_the_commands_of_the_runbook_run(state: Path, tmp_path: Path) -> None:
    definition, *commands = BLOCKS
    assert len(commands) == 5
    for command in commands:
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"set -a; . {state / 'env'}; set +a\n{definition}\n{command}"],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, (command, ran.stderr)
        assert 'FailedEntryCount": 1' not in ran.stdout
        assert "FunctionError" not in ran.stdout, command
    assert "Overrides" in (tmp_path / "overrides.json").read_text()
    assert '"completed": true' in (tmp_path / "sweep.json").read_text()


def test_every_guard_of_the_sweep_is_in_the_runbook() -> None:
    guards = typing.get_args(typing.get_type_hints(plan.Refusal)["guard"])
    assert guards
    assert [guard for guard in guards if f"`{guard}`" not in RUNBOOK] == []
