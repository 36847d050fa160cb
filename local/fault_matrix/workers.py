"""Kills the processes that the local server runs a function in, during chosen calls to WorkMail."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.deployment import Deployment

_RECENT_CALLS = 100
"""A call that is still in progress is among the last so many."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A call during which the worker is to be killed; a look-up of the user has no device."""

    operation: str
    user: str
    device: str

    def is_during(self, call: dict[str, Any]) -> bool:
        """Return whether a recorded call is the one."""
        if call["operation"] != self.operation:
            return False
        device = str(call["request"].get("DeviceId", "")).upper()
        return bool(device == self.device if device else call["request"]["UserId"] == self.user)


class Killer:
    """Kills the writer's workers during calls, once for each call that is due."""

    def __init__(self, deployment: Deployment, server_pid: int, log: Callable[[str], None]) -> None:
        self.due: list[Kill] = []
        self._deployment = deployment
        self._server_pid = server_pid
        self._log = log
        self._stopped = threading.Event()

    def start(self, kills: Iterable[Kill]) -> None:
        """Watch for these calls in a thread, until each has been hit or `stop` is called."""
        self.due = list(kills)
        threading.Thread(target=self._watch).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _watch(self) -> None:
        last_kill, since = datetime.now(UTC), 0
        while self.due and not self._stopped.wait(0.05):
            page = self._deployment.control("GET", f"calls?since={since}")
            since = max(0, page["next"] - _RECENT_CALLS)
            for call in page["calls"]:
                kill = next((kill for kill in self.due if kill.is_during(call)), None)
                in_progress = call["status"] is None and datetime.fromisoformat(call["time"]) > last_kill
                if kill is None or not in_progress:
                    continue
                count = kill_workers(self._server_pid, self._deployment.outputs["ApplyCommandsFunctionName"])
                last_kill = datetime.now(UTC)
                self._log(f"killed {count} in {kill.operation} of {kill.device}")
                if count:
                    self.due.remove(kill)


def kill_workers(server_pid: int, function: str) -> int:
    """Send SIGKILL to a server's workers of a function, and return how many there were.

    A worker is a child of the server; MiniStack names its directory after the function.
    """
    command = ["ps", "-axo", "pid=,ppid=,command="]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [
        int(pid)
        for pid, parent, line in (row.split(None, 2) for row in table.splitlines())
        if int(parent) == server_pid and f"ministack-lambda-{function}-" in line
    ]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return len(found)
