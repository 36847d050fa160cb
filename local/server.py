"""The local AWS server: MiniStack behind our own front, in one process with its own environment.

`python -m local.server --state DIR`, run by the interpreter of MiniStack's own virtual environment; `local.lifecycle`
starts and stops it.
One HTTPS port on the loopback interface, IAM enforcement on, region eu-west-1, account 000000000000.

The state directory holds what the server needs and what it tells: `ca.pem`, `certificate.pem` and `root.json` are
read, `server.json` is there while the server serves, `server.lock` holds its PID and is locked while it lives, and
everything temporary (unpacked functions above all) is in `tmp-…`, removed at the end.
A server whose state directory is removed leaves by itself: no lock and no PID would lead to it any more.
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

LOOKS_EVERY = 1.0
"""Seconds after which the server looks again whether its state directory is still there."""

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
"""All that the server, and with it every Lambda worker, takes over from its caller's environment."""


def refuse_other_versions(installed: str) -> None:
    """Exit unless MiniStack is the version whose inside `local.repairs` knows."""
    if installed != MINISTACK_VERSION:
        sys.exit(
            f"local.server: MiniStack {installed} is installed, but local/repairs.py repairs {MINISTACK_VERSION}. "
            "Install that one, or go through the repairs, each with its test, and change MINISTACK_VERSION."
        )


def hold(lock: Path) -> TextIO:
    """Lock the file for the life of this process: the lock, not a number in a file, says that the server runs."""
    file = lock.open("a")
    for _ in range(50):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)  # whoever asks whether a server runs holds it for an instant
        else:
            return file
    sys.exit(f"local.server: another server holds {lock}")


def continue_in_background(lock: TextIO) -> None:
    """Go on in a child process in a session of its own, which inherits the lock; the caller's wait ends here."""
    if os.fork():
        os._exit(0)
    os.setsid()
    lock.truncate(0)
    print(os.getpid(), file=lock, flush=True)


def private_temporary_directory(state: Path) -> Path:
    """A new temporary directory inside the state directory; what a killed predecessor left behind goes."""
    for abandoned in state.glob("tmp-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix="tmp-", dir=state))


def set_environment(state: Path, temporary: Path, port: int) -> None:
    """Replace the whole process environment, before MiniStack is imported, which reads it at import.

    Lambda workers inherit it, so no CA bundle, proxy or AWS setting of the machine may be in it.
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
    sys.dont_write_bytecode = False  # MiniStack is large: without its bytecode every start takes seconds


def bare_interpreter(temporary: Path) -> Path:
    """A Python of this version without any installed package, for the Lambda workers.

    What a function imports must be in its own package; MiniStack's dependencies must not help out.
    """
    directory = temporary / "python"
    venv.create(directory, symlinks=True)
    return directory / "bin" / "python"


def is_still_there(lock: TextIO, file: Path) -> bool:
    """Whether `file` is the very file that this process holds; not if the state directory was removed or made anew."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), file.stat())
    except FileNotFoundError:
        return False


async def serve(listening: socket.socket, state: Path, lock: TextIO) -> None:
    """Serve until SIGTERM, SIGINT or the loss of the state directory, without which nobody can find the server.

    Raises what ended the server if it was none of these.
    """
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
    while is_still_there(lock, state / "server.lock"):
        ended = asyncio.wait({serving, stopping}, timeout=LOOKS_EVERY, return_when=asyncio.FIRST_COMPLETED)
        if (await ended)[0]:
            break
    if serving.done():
        serving.result()


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is never seen half-written."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


async def serve_and_leave(listening: socket.socket, state: Path, temporary: Path, lock: TextIO) -> None:
    """Serve, then end the process at once: an orderly shutdown would wait 30 seconds for each TLS connection."""
    status = 0
    try:
        await serve(listening, state, lock)
    except BaseException:  # noqa: BLE001 - whatever it was, the workers and the temporary directory must go
        traceback.print_exc()
        status = 1
    from ministack.core import lambda_runtime

    if is_still_there(lock, state / "server.lock"):  # else it may be a successor's by now
        (state / "server.json").unlink(missing_ok=True)
    lambda_runtime.reset()
    shutil.rmtree(temporary, ignore_errors=True)
    os._exit(status)


def main() -> None:
    """Run the server until a signal ends it, then take its workers and its temporary directory along."""
    parser = argparse.ArgumentParser(prog="python -m local.server")
    parser.add_argument("--state", type=Path, required=True, help="directory with ca.pem, certificate.pem, root.json")
    state: Path = parser.parse_args().state.resolve()

    refuse_other_versions(version("ministack"))
    lock = hold(state / "server.lock")
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
