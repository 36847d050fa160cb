"""Starts, finds and stops the server process of a state directory. Several directories can live side by side.

A running server holds a lock on `server.lock`. A lock can't outlive its process, as a PID file can.
"""

import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from local import certificate

ROOT = Path(__file__).parent.parent
STATE = ROOT / ".local"
SERVER_PYTHON = STATE / "ministack" / "bin" / "python"

SERVER_FILES = ("server.json", "server.inputs", "ca.pem", "certificate.pem", "root.json", "operator.json", "env")
"""Files of a state directory that are useless without their server."""


class ServerError(Exception):
    """The local server did not start. The message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    pid: int
    endpoint: str
    state: Path

    @property
    def ca(self) -> Path:
        """The certificate authority that clients must trust."""
        return self.state / "ca.pem"


def find(state: Path) -> Server | None:
    """Return the running server of a state directory, None if there is none or it is not ready yet."""
    if not is_running(state):
        return None
    try:
        described = json.loads((state / "server.json").read_text())
    except FileNotFoundError:
        return None
    return Server(described["pid"], described["endpoint"], state)


def is_running(state: Path) -> bool:
    """Return whether a server process of the state directory lives, ready or not."""
    try:
        with (state / "server.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def start(state: Path, python: Path = SERVER_PYTHON, timeout: float = 120) -> Server:
    """Start a server in the background and wait until it answers.

    Raises ServerError if it ends instead or is not ready after `timeout` seconds.
    """
    if is_running(state):
        raise ServerError(f"a server of {state} is already running")
    if not python.exists():
        raise ServerError(f"there is no {python}; `make install` creates it")
    certificate.make(state)
    make_root_credentials(state / "root.json")
    log = state / "server.log"
    with log.open("wb") as output:
        launched = subprocess.run(
            [python, "-m", "local.server", "--state", state],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if launched.returncode:
        raise ServerError(f"the local AWS server did not start: {end_of(log)}")
    deadline = time.monotonic() + timeout
    while (server := find(state)) is None:
        if not is_running(state):
            raise ServerError(f"the local AWS server ended while starting, see {log}: {end_of(log)}")
        if time.monotonic() > deadline:
            stop(state)
            raise ServerError(f"the local AWS server was not ready after {timeout:.0f} s, see {log}: {end_of(log)}")
        time.sleep(0.02)
    return server


def stop(state: Path, grace: float = 2) -> bool:
    """Stop the server with its workers, and remove its temporary directory and the files that need it.

    It gets SIGTERM. After `grace` seconds every process of its session gets SIGKILL.
    Returns whether a server was running.
    """
    running = is_running(state)
    if running:
        pid = int((state / "server.lock").read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while is_running(state) and time.monotonic() < deadline:
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    for name in SERVER_FILES:
        (state / name).unlink(missing_ok=True)
    for temporary in state.glob("tmp-*"):
        shutil.rmtree(temporary, ignore_errors=True)
    return running


def make_root_credentials(file: Path) -> None:
    """Write new credentials of the account's root user."""
    secret = {"access_key_id": f"AKIA{secrets.token_hex(8).upper()}", "secret_access_key": secrets.token_hex(20)}
    write_secret(file, json.dumps(secret))


def write_secret(file: Path, text: str) -> None:
    """Write a file that only this user can read and that is never seen half-written."""
    partial = file.with_name(f"{file.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.replace(file)


def end_of(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
