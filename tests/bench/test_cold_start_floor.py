"""The floor of a cold start makes the very calls that a function makes at its first event."""

import json
import os
import subprocess
import sys

import pytest

from bench import cold_start

pytestmark = pytest.mark.slow

CALLS = """
import importlib, json, sys
from types import SimpleNamespace
from botocore.client import BaseClient

call, made = BaseClient._make_api_call, []
BaseClient._make_api_call = lambda client, name, asked: made.append(name) or call(client, name, asked)
context = SimpleNamespace(function_name="f", memory_limit_in_mb=512, invoked_function_arn="arn", aws_request_id="1")
context.get_remaining_time_in_millis = lambda: 900_000
importlib.import_module(sys.argv[1]).handler(json.loads(sys.argv[2]), context)
print(json.dumps(made))
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    return cold_start.packages(tmp_path_factory.mktemp("packages"))


@pytest.mark.parametrize("function", cold_start.FUNCTIONS)
def test_the_floor_makes_the_calls_of_the_function(function, packages):
    def calls(package, module, event):
        with cold_start.loopback_aws() as url:
            ran = subprocess.run(
                [sys.executable, "-c", CALLS, module, json.dumps(event)],
                env={**cold_start.environment(url), "PYTHONPATH": str(packages[package]), "PATH": os.environ["PATH"]},
                capture_output=True,
                text=True,
                check=True,
            )
        return json.loads(ran.stdout.splitlines()[-1])

    ours = calls("ours", function, cold_start.first_event(function, 1))
    assert calls("floor", "floor", {"floor": function}) == ours
    assert ("PutMobileDeviceAccessOverride" in ours) == (function == "apply_commands"), "the lock was carried out"
