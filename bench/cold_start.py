"""Cold starts of each function from four packages: ours, the one of `pip install -t`, a floor and a bare handler."""

import json
import shutil
import statistics
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import Figures
from bench.runtime_api import ColdStart, RuntimeApi, runtime_client
from config_reader import loader
from device_lockout.inbound import report
from device_lockout.values import command, wire
from device_lockout.values.settings import dump
from infra import bundling

FUNCTIONS = ("route_events", "apply_commands", "sweep_overrides")

BARE = """
def handler(event, context):
    return None
"""

WITHOUT_US = ("bare", "floor")
"""Packages whose handler is not ours: one that does nothing, and :mod:`bench.cold_start_floor`."""


def measure(work: Path, rounds: int) -> Figures:
    """Measure the medians of ``rounds`` cold starts of every function in every package.

    A ratio is the median of the rounds' ratios. The machine's speed drifts more between rounds than within one.
    """
    made = packages(work)
    runtime = runtime_client(work / "runtime")
    found: dict[tuple[str, str], list[ColdStart]] = {}
    with loopback_aws() as url, loopback_aws() as unlocked, RuntimeApi() as api:
        for number in range(rounds + 1):
            for function in FUNCTIONS:
                for name, package in made.items():
                    handler = f"{name}.handler" if name in WITHOUT_US else f"{function}.handler"
                    event = {"floor": function} if name == "floor" else first_event(function, number)
                    at = unlocked if function == "sweep_overrides" else url  # a sweep finds no locks of ours
                    start = api.cold_start(handler, package, runtime, event, environment(at))
                    assert name in WITHOUT_US or _succeeded(start.answer), start.answer
                    if number:  # the first fills the file system's cache
                        found.setdefault((function, name), []).append(start)

    figures: Figures = {"asset_mb": (work / "asset.zip").stat().st_size / 1e6}
    for function in FUNCTIONS:
        default = found[function, "default"]
        for name, kind in (("ours", ""), ("floor", "floor_")):
            pairs = [*zip(found[function, name], default, strict=True)]
            figures[f"cold_start_{kind}ratio_{function}"] = statistics.median(a.seconds / b.seconds for a, b in pairs)
            figures[f"cold_start_{kind}cpu_ratio_{function}"] = statistics.median(
                a.cpu_seconds / b.cpu_seconds for a, b in pairs
            )
        pairs = [*zip(found[function, "ours"], found[function, "floor"], strict=True)]
        figures[f"cold_start_over_floor_{function}"] = statistics.median(a.seconds / b.seconds for a, b in pairs)
        figures[f"cold_start_cpu_over_floor_{function}"] = statistics.median(
            a.cpu_seconds / b.cpu_seconds for a, b in pairs
        )
        for name in made:
            figures[f"cold_start_ms_{function}_{name}"] = 1000 * statistics.median(
                each.seconds for each in found[function, name]
            )
            figures[f"cold_start_peak_mb_{function}_{name}"] = statistics.median(
                each.peak_mb for each in found[function, name]
            )
    return figures


def packages(work: Path) -> dict[str, Path]:
    """Make the packages, unpacked as Lambda unpacks them."""
    settings = loader.load("local").settings
    asset = bundling.package(settings)
    shutil.copy(asset, work / "asset.zip")
    ours, default, bare, floor = (work / name for name in ("ours", "default", "bare", "floor"))
    with zipfile.ZipFile(asset) as zipped:
        zipped.extractall(ours)
    shutil.copytree(bundling.installed(), default)
    bundling.unpack(bundling.sources(), default)
    (default / "settings.json").write_text(dump(settings))
    bare.mkdir()
    (bare / "bare.py").write_text(BARE)
    shutil.copytree(ours, floor)
    handler = {"floor.py": (bundling.ROOT / "bench" / "cold_start_floor.py").read_bytes()}
    bundling.unpack({**handler, **bundling.bytecode(handler)}, floor)
    return {"ours": ours, "default": default, "bare": bare, "floor": floor}


@contextmanager
def loopback_aws() -> Iterator[str]:
    """Run WorkMail's emulator and the stubs of the other services, and yield their URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.loopback_aws"], cwd=bundling.ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def environment(url: str) -> Mapping[str, str]:
    """Return a function's environment variables, with all of AWS at one URL."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "POWERTOOLS_SERVICE_NAME": "bench",
        "POWERTOOLS_METRICS_NAMESPACE": "DeviceLockout",
        "LOCKOUT_EVENT_BUS": "device-security",
        "COMMANDS_QUEUE_URL": f"{url}/000000000000/commands.fifo",
        "LEDGER_TABLE": "ledger",
    }


def first_event(function: str, number: int) -> Any:
    """Return a function's first event: a report of a lost device, the command to lock it, or a sweep."""
    settings, now = loader.load("local").settings, datetime.now(UTC)
    if function == "sweep_overrides":
        return {"organizationId": settings.organizations[0].id}
    detail = {"userId": "bob", "deviceId": f"COLD{number}", "reference": "INC-1234", "note": "left in a taxi"}
    event = {
        "version": "0",
        "id": f"6a7e8feb-b491-4cf7-a9f1-{number:012}",
        "source": "helpdesk",
        "detail-type": "Device Lost",
        "time": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "detail": detail,
    }
    if function == "route_events":
        return {"Records": [_record(json.dumps(event), now)]}
    (asked,) = report.read(json.dumps(event), "1", now, settings)
    return {"Records": [_record(wire.dump(asked), now, command.group_id(asked))]}


def _record(body: str, now: datetime, group: str = "") -> dict[str, Any]:
    """Return a message as Lambda delivers it: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html."""
    sent = str(int(now.timestamp() * 1000))
    fifo = {"SequenceNumber": "18849496460467696128", "MessageGroupId": group, "MessageDeduplicationId": "1"}
    return {
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": sent,
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": sent,
            **(fifo if group else {}),
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:queue",
        "awsRegion": "eu-west-1",
    }


def _succeeded(answer: Any) -> bool:
    return bool(answer.get("completed")) or answer.get("batchItemFailures") == []
