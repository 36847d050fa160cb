"""Cold starts as in Lambda: AWS's runtime client in a new process gets one event and is timed to its answer.

This is the part of Lambda's Runtime API that one invocation needs.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from bench.memory import peak_mb

PATIENCE_SECONDS = 60
FUNCTION_TIMEOUT_SECONDS = 900

RUNTIME_CLIENT = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")
"""The modules that Lambda keeps in /var/runtime."""


class ColdStartError(Exception):
    """The function answered with an error, or not at all. The message holds its output."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """One cold start.

    Attributes:
        seconds: From the start of the process to its first answer.
        cpu_seconds: The process's user and system time.
        peak_mb: Its peak memory in megabytes.
        answer: What the handler returned.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    answer: Any


class RuntimeApi:
    """A Runtime API on a free loopback port. It gives one event to each process."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def cold_start(
        self, handler: str, package: Path, runtime: Path, event: Any, environment: Mapping[str, str]
    ) -> ColdStart:
        """Start a handler in a new process, and give it an event.

        Args:
            handler: `MODULE.FUNCTION`.
            package: The folder that Lambda would have as /var/task.
            runtime: The folder that Lambda would have as /var/runtime.
            event: The event.
            environment: The process's environment variables, besides Lambda's own.

        Raises:
            ColdStartError: The handler failed, or did not answer in time.
        """
        invocation = _Invocation(json.dumps(event).encode())
        self._server.invocation = invocation  # type: ignore[attr-defined]
        port = self._server.server_address[1]
        own = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "AWS_LAMBDA_FUNCTION_NAME": handler.removesuffix(".handler"),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "LAMBDA_TASK_ROOT": str(package),
            "PYTHONPATH": f"{package}:{runtime}",
            "PYTHONDONTWRITEBYTECODE": "1",  # /var/task can't be written to
            "PATH": os.environ["PATH"],
        }
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-S", "-m", "awslambdaric", handler],
            env={**own, **environment},
            cwd=package,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        answered = invocation.answered.wait(PATIENCE_SECONDS)
        peak = peak_mb(process.pid)
        process.kill()
        assert process.stdout is not None
        output = process.stdout.read().decode(errors="replace")
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if not answered or invocation.error is not None:
            raise ColdStartError(f"{handler} from {package}: {invocation.error or 'no answer'}\n{output}")
        return ColdStart(
            invocation.at - started, usage.ru_utime + usage.ru_stime, peak, json.loads(invocation.answer or b"null")
        )


def runtime_client(directory: Path) -> Path:
    """Make a folder like /var/runtime: the installed runtime client with its bytecode, and nothing else."""
    directory.mkdir(parents=True)
    for name in RUNTIME_CLIENT:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ColdStartError(f"{name} is not installed: expected it with awslambdaric, from requirements/dev.txt")
        origin = Path(spec.origin)
        if spec.submodule_search_locations:
            shutil.copytree(origin.parent, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, directory / origin.name)
    for source in directory.rglob("*.py"):
        py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    return directory


class _Invocation:
    def __init__(self, event: bytes) -> None:
        self.event: bytes | None = event
        self.answer: bytes | None = None
        self.error: str | None = None
        self.at = 0.0
        self.answered = threading.Event()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing. Each process ends while it waits for a second event."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        """Remember whose connection it is: a process that is about to end must not take the next one's event."""
        super().setup()
        self.invocation: _Invocation = self.server.invocation  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        event, self.invocation.event = self.invocation.event, None
        if event is None:  # a second invocation that never comes
            self.invocation.answered.wait(PATIENCE_SECONDS)
            return
        self.send_response(200)
        deadline = int((time.time() + FUNCTION_TIMEOUT_SECONDS) * 1000)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(event)),
            "Lambda-Runtime-Aws-Request-Id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            "Lambda-Runtime-Deadline-Ms": str(deadline),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:000000000000:function:bench",
            "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(event)

    def do_POST(self) -> None:
        at = time.perf_counter()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        invocation = self.invocation
        invocation.at, invocation.answer = at, body
        if not self.path.endswith("/response"):
            invocation.error = body.decode(errors="replace")
        invocation.answered.set()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
