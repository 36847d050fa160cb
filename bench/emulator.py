"""WorkMail's emulator in its own process: controls and clients."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import batched
from typing import Any

import boto3
from botocore.config import Config

from infra.bundling import ROOT

ORGANIZATION = "m-5eed5eed5eed5eed5eed5eed5eed5eed"
ROWS_AT_ONCE = 50_000
CALL_TIMEOUT = timedelta(seconds=4)


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator at `url`."""

    url: str

    def control(self, method: str, name: str, document: Any = None) -> Any:
        """Call one of the controls, `/_emulator/NAME`."""
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/_emulator/{name}", body, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def set_faults(self, **faults: Any) -> None:
        """Replace all faults by these."""
        self.control("PUT", "settings", {"faults": None})
        self.control("PUT", "settings", {"faults": faults})

    def seed(self, overrides: Iterator[dict[str, Any]]) -> None:
        for rows in batched(overrides, ROWS_AT_ONCE, strict=False):
            self.control("POST", "seed", {"overrides": rows})

    def client(self, connections: int = 10) -> Any:
        """Return a client that tries once, with the writer's time limit."""
        seconds = CALL_TIMEOUT.total_seconds()
        config = Config(
            connect_timeout=seconds,
            read_timeout=seconds,
            max_pool_connections=connections,
            retries={"mode": "standard", "total_max_attempts": 1},
            proxies={},
        )
        session = boto3.Session("AKIDEXAMPLE", "secret", region_name="eu-west-1")
        return session.client("workmail", endpoint_url=self.url, config=config)

    def effects(self) -> dict[tuple[str, str], str]:
        """Return every override's effect by user and device. Devices are case-folded."""
        client = self.client()
        more: dict[str, str] = {}
        found: dict[tuple[str, str], str] = {}
        while True:
            answer = client.list_mobile_device_access_overrides(OrganizationId=ORGANIZATION, MaxResults=100, **more)
            found.update({(row["UserId"], row["DeviceId"].casefold()): row["Effect"] for row in answer["Overrides"]})
            if not answer.get("NextToken"):
                return found
            more = {"NextToken": answer["NextToken"]}


@contextmanager
def emulator() -> Iterator[Emulator]:
    """Run an emulator as long as the context lasts."""
    with subprocess.Popen(
        [sys.executable, "-m", "local.workmail", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield Emulator(process.stdout.readline().strip())
        finally:
            process.kill()
