"""What the Makefile would do in a fresh clone, by `make -n`: nothing is installed, nothing runs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
"""Without what the `make` says that may be running these tests."""


def make(directory: Path, *arguments: str) -> str:
    """What make prints in a directory with nothing but the Makefile and the lists of requirements."""
    shutil.copy(ROOT / "Makefile", directory)
    shutil.copytree(ROOT / "requirements", directory / "requirements")
    tried = subprocess.run(
        ["make", *arguments], cwd=directory, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (tried.returncode, tried.stderr) == (0, "")
    return tried.stdout


@pytest.mark.parametrize("target", ["demo", "up", "test", "unit", "coverage", "bench", "synth", "faults"])
def test_what_asks_ministack_installs_it_first(target: str, tmp_path: Path) -> None:
    planned = make(tmp_path, "-n", target)
    for environment in (".venv", ".local/ministack"):
        assert f"{environment}/bin/python -m pip" in planned
        assert f"touch {environment}/installed" in planned


def test_the_long_verification_walks_the_histories_too(tmp_path: Path) -> None:
    assert "-m verify.histories 10000" in make(tmp_path, "-n", "verify-long")


@pytest.mark.parametrize("target", ["down", "clean"])
def test_an_installation_that_was_cut_short_is_not_run(target: str, tmp_path: Path) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/false")
    assert make(tmp_path, target) == ""
