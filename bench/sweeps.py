"""Sweeps: the cost of a million overrides, the rate of removals, and a fresh lock's wait during a sweep."""

import hashlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bench import Figures
from bench.burst import USERS, locks
from bench.emulator import ORGANIZATION, Emulator, emulator
from bench.memory import peak_mb
from bench.writers import writers
from device_lockout.aws.workmail import WorkMail
from device_lockout.protocol import sweep
from device_lockout.protocol.ports import Ports
from device_lockout.values import tag
from device_lockout.values.device import DeviceKey
from device_lockout.values.override import ListedOverride
from device_lockout.values.record import Claim, DeviceRecord
from device_lockout.values.tag import Tag
from infra.bundling import ROOT
from local.in_memory import SETTINGS, FakeBus, FakeLedger, Wire
from local.workmail.seeding import user_id_of

OURS_ONE_IN = 100
OVER_ONE_IN = 1000

ROUNDS = 3
"""How often each way is measured, in turn with the others. The medians count."""


def million(overrides: int) -> Figures:
    """Compare a sweep's CPU and memory with those of a loop that only lists. Each runs in a process of its own.

    One override in a hundred is ours and in the ledger. One in a thousand is over. The rest are other people's.

    The measured process really lists over HTTP, reads tags, plans and makes commands. Its ledger is a dict, which takes
    memory and CPU but makes no calls. Its queue only counts. Its bus is a list.
    """
    runs: dict[str, list[tuple[float, float, float]]] = {"bare": [], "ours": []}
    with emulator() as workmail:
        workmail.seed(_mixed(overrides))
        for _ in range(ROUNDS):
            for which, measured in runs.items():
                measured.append(_run(which, workmail, overrides))
    bare_cpu, bare_mb, bare_s = map(statistics.median, zip(*runs["bare"], strict=True))
    ours_cpu, ours_mb, ours_s = map(statistics.median, zip(*runs["ours"], strict=True))
    return {
        "sweep_cpu_ratio": ours_cpu / bare_cpu,
        "sweep_peak_mb": ours_mb,
        "sweep_bare_peak_mb": bare_mb,
        "sweep_cpu_s": ours_cpu,
        "sweep_bare_cpu_s": bare_cpu,
        "sweep_s": ours_s,
        "sweep_bare_s": bare_s,
    }


def removals(count: int, sequential: int, by_cli: int, latency_ms: float = 30) -> Figures:
    """Compare the removals a second of a sweep with its writers, a boto3 loop, and a shell loop over the AWS CLI.

    Sweep and writers run in process with WorkMail's real client. Ledger, queue and bus are in memory. A removal
    therefore costs WorkMail's three calls, and none of DynamoDB or SQS.
    """
    by_sweep, by_boto3, by_shell = [], [], []
    with emulator() as workmail:
        workmail.set_faults(latency={"ms": latency_ms})
        for _ in range(ROUNDS):
            by_sweep.append(_rate_of_the_sweep(workmail, count))
            by_boto3.append(_rate_of_a_loop(workmail, sequential, _delete_by_boto3))
            by_shell.append(_rate_of_a_loop(workmail, by_cli, _delete_by_cli))
    ours, boto3, cli = map(statistics.median, (by_sweep, by_boto3, by_shell))
    return {
        "removal_ratio_cli": ours / cli,
        "removal_ratio_boto3": ours / boto3,
        "removals_per_s": ours,
        "removals_per_s_boto3": boto3,
        "removals_per_s_cli": cli,
    }


def _rate_of_the_sweep(workmail: Emulator, count: int) -> float:
    workmail.seed(_over(count))
    with writers(workmail, environments=5) as (queue, ledger, _):
        started = time.monotonic()
        _sweep(workmail, ledger, queue, cap=count)
        while queue.left():
            time.sleep(0.05)
        rate = count / (time.monotonic() - started)
    left = len(workmail.effects())
    assert left == 0, f"{left} of {count} overrides are left"
    return rate


def _rate_of_a_loop(workmail: Emulator, count: int, delete: Callable[[Emulator, list[ListedOverride]], None]) -> float:
    workmail.seed(_over(count))
    rows = [row for page in WorkMail(workmail.client()).pages(ORGANIZATION) for row in page[0]]
    started = time.monotonic()
    delete(workmail, rows)
    rate = count / (time.monotonic() - started)
    assert len(workmail.effects()) == 0
    return rate


def _delete_by_boto3(workmail: Emulator, rows: list[ListedOverride]) -> None:
    client = workmail.client()
    for row in rows:
        client.delete_mobile_device_access_override(
            OrganizationId=ORGANIZATION, UserId=row.key.user_id, DeviceId=row.key.device
        )


def _delete_by_cli(workmail: Emulator, rows: list[ListedOverride]) -> None:
    script = f"""while read user device; do
      {sys.executable} -m awscli workmail delete-mobile-device-access-override \\
        --endpoint-url {workmail.url} --organization-id {ORGANIZATION} --user-id $user --device-id $device || exit 1
    done"""
    credentials = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    region = {"AWS_DEFAULT_REGION": "eu-west-1", "PATH": os.environ["PATH"]}
    lines = "".join(f"{row.key.user_id} {row.key.device}\n" for row in rows)
    subprocess.run(["/bin/bash", "-c", script], input=lines, text=True, check=True, env=credentials | region)


def fresh_lock(removals: int, per_second: int, tries: int, latency_ms: float = 30) -> Figures:
    """Measure the longest and the median time from a command to its lock while a sweep removes overrides."""
    with emulator() as workmail:
        workmail.seed(_over(removals))
        workmail.set_faults(throttle={"per_second": per_second}, latency={"ms": latency_ms})
        with writers(workmail, environments=5) as (queue, ledger, _):
            enough = threading.Event()
            sweeping = threading.Thread(
                target=_sweep, args=(workmail, ledger, queue), kwargs={"cap": removals, "enough": enough}
            )
            sweeping.start()
            while not queue.waiting():
                time.sleep(0.05)
            waits = []
            for number in range(tries):
                time.sleep(2)
                started = time.monotonic()
                queue.send(locks(1, prefix=f"FRESH{number}N"))
                while not any(device.startswith(f"fresh{number}n") for _, device in _locked(ledger)):
                    time.sleep(0.01)
                waits.append(time.monotonic() - started)
            assert sweeping.is_alive(), "the sweep was over before the locks were"
            enough.set()
            sweeping.join()
    return {"fresh_lock_s": max(waits), "fresh_lock_median_s": sorted(waits)[len(waits) // 2]}


def main() -> None:
    """List once, for the parent process to measure: `python -m bench.sweeps bare|ours URL COUNT`."""
    which, workmail, count = sys.argv[1], Emulator(sys.argv[2]), int(sys.argv[3])
    if which == "bare":
        client, seen = workmail.client(), 0
        more: dict[str, str] = {}
        while True:
            answer = client.list_mobile_device_access_overrides(OrganizationId=ORGANIZATION, MaxResults=100, **more)
            seen += len(answer["Overrides"])
            if not answer.get("NextToken"):
                break
            more = {"NextToken": answer["NextToken"]}
    else:
        ledger = FakeLedger(Wire())
        for row in _mixed(count):
            if row["Effect"] == "DENY":
                ours = tag.read(row["Description"], "local")
                assert isinstance(ours, Tag)
                claim = Claim(ours.id, "device", ours.why, ours.at, ours.until)
                key = DeviceKey(ORGANIZATION, user_id_of(row["UserId"]), row["DeviceId"])
                ledger.devices[key] = DeviceRecord(claims=(claim,), known=True)
        seen = sum(_sweep(workmail, ledger, None, cap=count).plan.seen.values())
    assert seen == count, f"{seen} of {count} were listed"
    print(peak_mb(os.getpid()))


def _run(which: str, workmail: Emulator, count: int) -> tuple[float, float, float]:
    """Return the CPU seconds, the peak megabytes and the seconds of one listing."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.sweeps", which, workmail.url, str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, which
    return usage.ru_utime + usage.ru_stime, float(output), time.monotonic() - started


class _NoQueue:
    """Drops all commands."""

    def send(self, commands: Any) -> int:
        return sum(1 for _ in commands)

    def hold(self, command: Any) -> None:
        raise AssertionError(f"no bench floods: {command}")

    def waiting(self) -> int:
        return 0


def _sweep(
    workmail: Emulator, ledger: FakeLedger, queue: Any, cap: int, enough: threading.Event | None = None
) -> sweep.SweepResult:
    """Run one sweep with the real gateway, and with caps that allow every removal."""
    now = datetime.now(UTC)
    ledger.swept = now
    policy = replace(SETTINGS.sweep, max_removals=cap, max_removals_percent=100)
    this = sweep.Run(
        id=f"run-{time.monotonic_ns()}",
        organization=ORGANIZATION,
        now=now,
        clock=lambda: datetime.now(UTC),
        enough_time=lambda: enough is None or not enough.is_set(),
        pause=lambda: time.sleep(1),
    )
    ports = Ports(WorkMail(workmail.client()), ledger, queue or _NoQueue(), FakeBus(Wire()))
    return sweep.run(this, ports, replace(SETTINGS, sweep=policy))


def _locked(ledger: FakeLedger) -> list[tuple[str, str]]:
    """Return the users and devices that the ledger has a lock's outcome for."""
    return [
        (told["detail"]["userId"], told["detail"]["deviceId"].casefold())
        for told in list(ledger.outcomes.values())
        if told["detail"].get("result") == "locked"
    ]


def _mixed(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        user = USERS[number % len(USERS)]
        if number % OURS_ONE_IN:
            yield {"UserId": user, "DeviceId": f"M{number}", "Effect": "ALLOW", "Description": f"ticket {number}"}
        else:
            yield _ours(number, "M", over=number % OVER_ONE_IN == 0)


def _over(count: int) -> Iterator[dict[str, Any]]:
    return (_ours(number, "OVER", over=True) for number in range(count))


def _ours(number: int, prefix: str, over: bool) -> dict[str, Any]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    until = at + timedelta(days=1) if over else datetime(2036, 1, 1, tzinfo=UTC)
    identity = hashlib.sha256(f"{prefix}{number}".encode()).hexdigest()[:8]
    described = tag.write(Tag("local", "lost", until, at, identity, "none"), f"INC-{number}")
    user = USERS[number % len(USERS)]
    return {"UserId": user, "DeviceId": f"{prefix}{number}", "Effect": "DENY", "Description": described}


if __name__ == "__main__":
    main()
