import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import demo, lifecycle, up
from local.connection import Connection
from tests.local.observing import IN_A_SHELL, processes_of

pytestmark = [pytest.mark.local_aws, pytest.mark.slow]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    lifecycle.stop(tmp_path)


def test_up_and_up_again_and_down(
    state: Path, machines_temporary_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "STACK_INPUTS", ("app.py",))
    up.up(state)
    server, environment = lifecycle.find(state), (state / "env").read_text()
    assert server is not None

    with monkeypatch.context() as patched:
        patched.delattr(up, "synthesize")  # nothing changed: not even synthesized
        up.up(state)
    monkeypatch.setattr(up, "synthesize", lambda output: output)  # as it was
    monkeypatch.setattr(up, "STACK_INPUTS", ("README.md",))  # something changed, though nothing in the template
    up.up(state)
    assert lifecycle.find(state) == server
    assert (state / "env").read_text() == environment
    assert_any_client_works(state / "env")

    Connection.read(state / "env").client("cloudformation").delete_stack(StackName=up.stack_name(state))
    up.up(state)  # somebody deleted it by hand
    assert lifecycle.find(state) == server
    assert_any_client_works(state / "env")

    (state / "server.inputs").write_text("of another version")
    up.up(state)
    assert lifecycle.find(state) != server
    assert_any_client_works(state / "env")

    assert lifecycle.stop(state)
    assert processes_of(state) == []
    assert not [*state.glob("tmp-*")]
    assert not (state / "env").exists()
    assert [*machines_temporary_directory.iterdir()] == []


def assert_any_client_works(environment: Path) -> None:
    """boto3 with what the file says, and the AWS CLI with the file in its environment, whatever the shell has."""
    variables = dict(line.split("=", 1) for line in environment.read_text().splitlines())
    stacks = Connection.read(environment).client("cloudformation").describe_stacks()["Stacks"]
    assert [stack["StackName"] for stack in stacks] == [variables["LOCKOUT_STACK"]]
    machine = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | IN_A_SHELL
    listed = subprocess.run(
        [
            *(Path(sys.executable).with_name("aws"), "workmail", "list-mobile-device-access-overrides"),
            *("--organization-id", variables["LOCKOUT_ORGANIZATION_ID"], "--query", "Overrides", "--output", "json"),
        ],
        env={**machine, **{name: value.strip("'") for name, value in variables.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (listed.stdout.strip(), listed.stderr) == ("[]", "")


def test_a_stack_that_can_not_be_synthesized_says_why(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "ROOT", state)
    (state / "app.py").write_text("import sys; sys.exit('config/local.toml: owner is 7, expected is text')\n")
    with pytest.raises(up.SynthesisError, match=r"could not be synthesized:\nconfig/local\.toml: owner is 7"):
        up.synthesize(state / "out")


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (KeyboardInterrupt(), "interrupted; make up goes on, and make down stops what runs"),
        (OSError(30, "Read-only file system", "x"), "Read-only file system"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
    ids=["Ctrl-C", "a read-only disk", "a full disk"],
)
@pytest.mark.parametrize(("module", "name"), [(up, "make up"), (demo, "make demo")], ids=["up", "demo"])
def test_what_ends_it_early_is_told_in_one_line(
    module: Any, name: str, happens: BaseException, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Path) -> None:
        raise happens

    monkeypatch.setattr(sys, "argv", ["demo", "--state", str(tmp_path)])
    monkeypatch.setattr(module, "STATE", tmp_path)
    monkeypatch.setattr(module, "up", fails)
    with pytest.raises(SystemExit) as ended:
        module.main()
    (line,) = str(ended.value).strip().splitlines()
    assert line.startswith(f"{name}: ")
    assert said in line or (name == "make demo" and "make down stops what runs" in line)
