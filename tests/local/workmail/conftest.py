import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

REPOSITORY = Path(__file__).parents[3]


class Alone:
    """The emulator running alone, in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "local.workmail", "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self._session = boto3.Session("AKIDEXAMPLE", "secret", region_name="eu-west-1")

    def client(self, **config: Any) -> Any:
        """A boto3 client that tries once."""
        config = {"retries": {"total_max_attempts": 1}, **config}
        return self._session.client("workmail", endpoint_url=self.url, config=Config(**config))

    def control(self, method: str, name: str, document: Any = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/_emulator/{name}", body, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> int:
        self.process.terminate()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(5)


@pytest.fixture(scope="session")
def process() -> Iterator[Alone]:
    alone = Alone()
    yield alone
    assert alone.stop() == 0


@pytest.fixture
def alone(process: Alone) -> Alone:
    """The emulator's process, as fresh as if just started."""
    process.control("POST", "reset")
    return process


@pytest.fixture
def workmail(alone: Alone) -> Iterator[Any]:
    client = alone.client()
    yield client
    client.close()
