"""The local AWS server: MiniStack behind `local.front`, in one process with an environment of its own.

`local.lifecycle` starts `python -m local.server --state DIR` with the Python of MiniStack's virtual environment.
The server listens on one HTTPS port of the loopback interface and enforces IAM.

In the state directory,

- `ca.pem`, `certificate.pem` and `root.json` are read;
- `server.json` exists while the server serves;
- `server.lock` has its PID, and is locked while it lives;
- `tmp-…` has everything temporary, such as unpacked functions, and is removed at the end.

The server ends by itself when its state directory is removed, because nothing could find it any more.
"""

import argparse
import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from local.account import ACCOUNT, REGION

MINISTACK_VERSION = "1.5.33"

STATE_CHECK_SECONDS = 1.0
"""How often the server checks that its state directory still exists."""

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
"""The variables that the server and its Lambda workers inherit."""


def refuse_other_versions(installed: str) -> None:
    """Exit unless MiniStack has the version that `local.repairs` repairs."""
    if installed != MINISTACK_VERSION:
        sys.exit(
            f"local.server: MiniStack {installed} is installed, but local/repairs.py repairs {MINISTACK_VERSION}. "
            "Install that version, or check each repair with its test and change MINISTACK_VERSION."
        )


def acquire(lock: Path) -> TextIO:
    """Lock a file for the life of this process. The lock tells others that the server is running."""
    file = lock.open("a")
    for _ in range(50):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)  # a process that checks for a server holds the lock for an instant
        else:
            return file
    sys.exit(f"local.server: another server holds {lock}")


def continue_in_background(lock: TextIO) -> None:
    """Continue in a child process with a session of its own, which inherits the lock. The parent ends here."""
    if os.fork():
        os._exit(0)
    os.setsid()
    lock.truncate(0)
    print(os.getpid(), file=lock, flush=True)


def private_temporary_directory(state: Path) -> Path:
    """Make a temporary directory inside the state directory, and remove those of killed predecessors."""
    for abandoned in state.glob("tmp-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix="tmp-", dir=state))


def set_environment(state: Path, temporary: Path, port: int) -> None:
    """Replace the whole environment of the process. MiniStack reads it when it is imported.

    Lambda workers inherit it, so it must not have a CA bundle, proxy or AWS setting of the machine.
    """
    root = json.loads((state / "root.json").read_text())
    ca = str(state / "ca.pem")
    certificate = str(state / "certificate.pem")
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    os.environ.clear()
    os.environ.update(
        kept,
        AUTH="true",
        USE_SSL="1",
        MINISTACK_SSL_CERT=certificate,
        MINISTACK_SSL_KEY=certificate,
        GATEWAY_PORT=str(port),
        MINISTACK_HOST="127.0.0.1",
        MINISTACK_REGION=REGION,
        MINISTACK_ACCOUNT_ID=ACCOUNT,
        AWS_ACCESS_KEY_ID=root["access_key_id"],
        AWS_SECRET_ACCESS_KEY=root["secret_access_key"],
        AWS_ENDPOINT_URL=f"https://127.0.0.1:{port}",
        AWS_CA_BUNDLE=ca,
        REQUESTS_CA_BUNDLE=ca,
        SSL_CERT_FILE=ca,
        NODE_EXTRA_CA_CERTS=ca,
        TMPDIR=str(temporary),
        STATE_DIR=str(temporary / "state"),
        S3_DATA_DIR=str(temporary / "s3"),
        DOCKER_HOST=f"unix://{temporary}/no-docker",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        PYTHONNOUSERSITE="1",
    )
    tempfile.tempdir = None
    sys.dont_write_bytecode = False  # MiniStack is large, and each start would compile it again


def bare_interpreter(temporary: Path) -> Path:
    """Make a Python without any installed package for the Lambda workers.

    A function must bring its dependencies. MiniStack's must not help out.
    """
    directory = temporary / "python"
    venv.create(directory, symlinks=True)
    return directory / "bin" / "python"


def still_exists(lock: TextIO, file: Path) -> bool:
    """Return whether `file` is the file that this process has locked, and not a later one with the same name."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), file.stat())
    except FileNotFoundError:
        return False


async def serve(listening: socket.socket, state: Path, lock: TextIO) -> None:
    """Serve until SIGTERM, SIGINT or the loss of the state directory. Raises what else ends the server."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    from local import front

    port = listening.getsockname()[1]
    ready = json.dumps({"pid": os.getpid(), "port": port, "endpoint": f"https://127.0.0.1:{port}"})

    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.certfile = config.keyfile = str(state / "certificate.pem")
    config.keep_alive_timeout = 75

    signalled = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    application: Any = front.application(when_ready=lambda: write_atomically(state / "server.json", ready))
    serving = asyncio.create_task(hypercorn_serve(application, config, shutdown_trigger=asyncio.Event().wait))
    stopping = asyncio.create_task(signalled.wait())
    while still_exists(lock, state / "server.lock"):
        ended, _ = await asyncio.wait(
            {serving, stopping}, timeout=STATE_CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if ended:
            break
    if serving.done():
        serving.result()


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is never seen half-written."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


async def serve_and_leave(listening: socket.socket, state: Path, temporary: Path, lock: TextIO) -> None:
    """Serve, then end the process at once. An orderly shutdown would wait 30 seconds for each TLS connection."""
    status = 0
    try:
        await serve(listening, state, lock)
    except BaseException:  # noqa: BLE001 - workers and temporary directory must go in any case
        traceback.print_exc()
        status = 1
    from ministack.core import lambda_runtime

    if still_exists(lock, state / "server.lock"):  # otherwise server.json may be a successor's
        (state / "server.json").unlink(missing_ok=True)
    lambda_runtime.reset()
    shutil.rmtree(temporary, ignore_errors=True)
    os._exit(status)


def main() -> None:
    """Run the server until a signal ends it, and remove its workers and its temporary directory."""
    parser = argparse.ArgumentParser(prog="python -m local.server")
    parser.add_argument("--state", type=Path, required=True, help="directory with ca.pem, certificate.pem, root.json")
    state: Path = parser.parse_args().state.resolve()

    refuse_other_versions(version("ministack"))
    lock = acquire(state / "server.lock")
    continue_in_background(lock)
    (state / "server.json").unlink(missing_ok=True)
    temporary = private_temporary_directory(state)
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    set_environment(state, temporary, listening.getsockname()[1])

    from local import repairs

    repairs.apply(lambda_python=bare_interpreter(temporary))
    with lock:
        asyncio.run(serve_and_leave(listening, state, temporary, lock))


if __name__ == "__main__":
    main()
