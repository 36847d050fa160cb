import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import lifecycle, server
from local.connection import Connection
from local.lifecycle import ServerError
from local.up import operator
from tests.local.observing import eventually, invoke, make_function, processes, processes_of

pytestmark = pytest.mark.local_aws

IDLE = "def handler(event, context):\n    return __file__\n"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    lifecycle.stop(tmp_path)


def run_a_function(aws: Connection, source: str = IDLE) -> Any:
    make_function(aws, "idle", source)
    return invoke(aws, "idle")


def test_stopping_leaves_no_process_and_no_temporary_file(state: Path, machines_temporary_directory: Path) -> None:
    started = lifecycle.start(state)
    assert str(state) in run_a_function(operator(started))
    assert len(processes_of(state)) == 2  # the server and the function's environment
    assert list(state.glob("tmp-*"))

    assert lifecycle.stop(state)

    assert processes_of(state) == []
    assert not list(state.glob("tmp-*"))
    assert [*machines_temporary_directory.iterdir()] == []
    assert lifecycle.find(state) is None


def test_a_server_whose_state_directory_is_removed_leaves_with_its_functions(state: Path) -> None:
    run_a_function(operator(lifecycle.start(state)))
    eventually(lambda: removed(state))
    eventually(lambda: not processes_of(state))


def test_a_server_whose_state_directory_was_made_anew_leaves_it_to_the_next(state: Path) -> None:
    first = lifecycle.start(state)
    os.kill(first.pid, signal.SIGSTOP)  # so that it looks only when the next one is there
    eventually(lambda: removed(state))
    state.mkdir()
    second = lifecycle.start(state)
    os.kill(first.pid, signal.SIGCONT)
    eventually(lambda: first.pid not in [number for number, line in processes() if str(state) in line])
    assert lifecycle.find(state) == second
    assert run_a_function(operator(second))


def removed(directory: Path) -> bool:
    """Remove a directory in which others write; False if they did meanwhile."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def test_two_servers_live_side_by_side(state: Path, server: lifecycle.Server) -> None:
    other = lifecycle.start(state)
    assert other.endpoint != server.endpoint
    lifecycle.stop(state)
    assert lifecycle.find(server.state) == server
    assert operator(server).client("sts").get_caller_identity()["Arn"].endswith(":user/operator")


def test_stopping_what_does_not_run_is_no_error(state: Path) -> None:
    assert not lifecycle.stop(state)


def test_a_killed_server_is_not_found_and_what_it_left_is_removed(state: Path) -> None:
    started = lifecycle.start(state)
    run_a_function(operator(started))
    os.kill(started.pid, signal.SIGKILL)
    eventually(lambda: not processes_of(state))
    assert lifecycle.find(state) is None
    assert not lifecycle.stop(state)
    assert not list(state.glob("tmp-*"))


def test_a_process_that_has_got_the_number_of_a_dead_server_is_left_alone(state: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        (state / "server.lock").write_text(f"{innocent.pid}\n")
        assert not lifecycle.stop(state)
        assert innocent.poll() is None
        innocent.communicate(b"\n")
    assert innocent.returncode == 0


def test_a_server_that_hangs_is_killed(state: Path) -> None:
    started = lifecycle.start(state)
    run_a_function(operator(started))
    os.kill(started.pid, signal.SIGSTOP)
    assert lifecycle.stop(state, grace=0.2)
    eventually(lambda: not processes_of(state))


def test_a_second_server_for_the_same_state_is_refused(state: Path) -> None:
    lifecycle.start(state)
    with pytest.raises(ServerError, match="is already running"):
        lifecycle.start(state)


def test_another_version_of_ministack_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"MiniStack 1\.5\.34 is installed, but local/repairs\.py repairs 1\.5\.33"):
        server.refuse_other_versions("1.5.34")


def test_functions_inherit_nothing_of_the_machines_aws_settings(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = dict.fromkeys(
        ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "AWS_PROFILE", "HTTPS_PROXY"), "wrong"
    )
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    started = lifecycle.start(state)
    seen = run_a_function(operator(started), "import os\ndef handler(*_):\n    return dict(os.environ)\n")
    assert "wrong" not in seen.values()
    assert seen["AWS_CA_BUNDLE"] == str(state / "ca.pem")
    assert seen["AWS_ENDPOINT_URL"] == started.endpoint
