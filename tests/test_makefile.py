"""What the Makefile would do in a fresh clone, by `make -n`: nothing is installed, nothing runs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
"""Without what the `make` says that may be running these tests."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory with nothing but the Makefile and what it installs from."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


@pytest.fixture
def ready(clone: Path) -> Path:
    """Such a directory after `make check`, as far as make can tell."""
    sources = [path for path in clone.rglob("*") if path.is_file()]
    stamps = [clone / name for name in (".venv/run", ".venv/project", ".venv/client", ".venv/dev")]
    (clone / ".venv").mkdir()
    for number, file in enumerate([*sources, *stamps], 1):
        change(file, number)
    return clone


def change(file: Path, when: int = 1_000) -> None:
    """Make make think that the file was changed at that second."""
    file.touch()
    os.utime(file, (when, when))


def make(directory: Path, *arguments: str) -> str:
    """What make prints there; nothing may go wrong."""
    tried = subprocess.run(
        ["make", *arguments], cwd=directory, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (tried.returncode, tried.stderr) == (0, "")
    return tried.stdout


def installed(planned: str) -> list[str]:
    """Which lists make would install, in its order."""
    return re.findall(r"bin/python requirements/install.py (?:requirements/)?(\S+)", planned)


@pytest.mark.parametrize(
    ("targets", "lists"),
    [
        (["demo", "synth"], ["--project", "local.txt", "run.txt"]),
        (["up"], ["--project", "client.txt", "local.txt", "run.txt"]),
        (
            ["install", "test", "unit", "coverage", "bench", "faults"],
            ["--project", "client.txt", "dev.txt", "local.txt", "run.txt"],
        ),
        (
            ["check", "fix", "verify", "histories", "fuzz", "sbom", "audit"],
            ["--project", "client.txt", "dev.txt", "run.txt"],
        ),
        (["picture"], ["pictures.txt"]),
        (["down", "clean", "shell"], []),
    ],
)
def test_a_target_installs_what_it_runs_on_first_and_nothing_else(
    targets: list[str], lists: list[str], clone: Path
) -> None:
    for target in targets:
        planned = make(clone, "-n", target)
        assert sorted({*installed(planned)}) == lists
        last = planned.rstrip().splitlines()[-1]
        assert target == "install" or not lists or "requirements/install.py" not in last


@pytest.mark.parametrize("changed", ["run.txt", "client.txt", "dev.txt"])
def test_a_changed_list_makes_the_environment_anew(changed: str, ready: Path) -> None:
    assert installed(make(ready, "-n", "check")) == []
    change(ready / "requirements" / changed)
    planned = make(ready, "-n", "check")
    assert "-m venv --clear .venv" in planned
    assert installed(planned) == ["run.txt", "--project", "client.txt", "dev.txt"]


def test_a_changed_project_file_installs_the_project_again_and_nothing_else(ready: Path) -> None:
    change(ready / "pyproject.toml")
    assert installed(make(ready, "-n", "check")) == ["--project"]


def test_the_configuration_may_be_named_in_either_case_and_is_named_back(clone: Path) -> None:
    for arguments, name in (([], "local"), (["config=prod"], "prod"), (["CONFIG=prod"], "prod")):
        planned = make(clone, "-n", "synth", *arguments)
        assert f"app.py --config {name}\n" in planned
        assert f"of config/{name}.toml" in planned


def test_a_missing_python_is_told_once_and_names_no_inner_target(clone: Path, tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("bash", "make"):
        (commands / name).symlink_to(str(shutil.which(name)))
    bare = {"PATH": str(commands), "PYENV_ROOT": "/nonexistent"}
    tried = subprocess.run(["make", "up"], cwd=clone, env=bare, capture_output=True, text=True, check=False)
    assert tried.returncode == 2
    assert tried.stderr.count("Python 3.13 is needed") == 1
    assert ".venv/run" not in tried.stderr


def test_the_shell_of_the_local_aws_has_its_variables_and_none_of_a_profile(ready: Path) -> None:
    (ready / ".local").mkdir()
    assert "No local AWS is up: make up" in shell(ready, "true").stdout
    (ready / ".local" / "env").write_text("AWS_CA_BUNDLE='/a path/ca.pem'\nLOCKOUT_STACK=s\n", encoding="utf-8")
    assert shell(ready, 'echo "$AWS_CA_BUNDLE $LOCKOUT_STACK ${AWS_PROFILE-none}"').stdout.endswith(
        "/a path/ca.pem s none\n"
    )


def shell(directory: Path, command: str) -> "subprocess.CompletedProcess[str]":
    """What `make shell` does with a command typed into it."""
    return subprocess.run(
        ["make", "shell"],
        cwd=directory,
        env=ENVIRONMENT | {"AWS_PROFILE": "mine", "SHELL": "/bin/sh"},
        input=command,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_long_verification_walks_the_histories_too(clone: Path) -> None:
    assert "-m verify.histories 10000" in make(clone, "-n", "verify-long")


@pytest.mark.parametrize("target", ["down", "clean"])
def test_an_installation_that_was_cut_short_is_not_run(target: str, clone: Path) -> None:
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/false")
    assert make(clone, target) == ""
