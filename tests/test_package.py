"""The project as a package: what its installation finds, and what its wheel holds."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(command: list[object], directory: Path, **environment: str) -> str:
    ran = subprocess.run(
        command, cwd=directory, env=ENVIRONMENT | environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_command_runs_in_any_directory(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("lockout")
    assert run([command, "--help"], tmp_path).startswith("Usage: lockout ")


def test_every_module_of_the_project_is_found_in_any_directory(tmp_path: Path) -> None:
    run([sys.executable, "-c", "import app, infra.bundling, local.up, verify.world, apply_commands"], tmp_path)


def test_the_wheel_holds_what_the_command_needs_and_nothing_else(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "unpacked")
    folders = {path.name for path in (tmp_path / "unpacked").iterdir() if path.suffix != ".dist-info"}
    assert folders == {"lockout", "config_reader", "device_lockout", "schemas"}
    assert {path.name for path in (tmp_path / "unpacked" / "lockout" / "commands").iterdir()} >= {
        "report.html",
        "evidence.txt",
    }
    (tmp_path / "config").symlink_to(ROOT / "config")
    code = "import lockout, sys; print(lockout.__file__); from lockout.__main__ import main; sys.exit(main())"
    event = ROOT / "samples" / "okta-suspicious-activity.json"
    said = run([sys.executable, "-c", code, "mapping", "try", event], tmp_path, PYTHONPATH=str(tmp_path / "unpacked"))
    assert said.startswith(str(tmp_path / "unpacked"))
    assert "locks all devices of " in said
