"""A bad day: thousands of reports at once, while WorkMail limits its requests a second."""

import time
from datetime import UTC, datetime, timedelta

from bench import Figures
from bench.emulator import ORGANIZATION, emulator
from bench.writers import writers
from device_lockout.values.command import Cause, Command, Lock, Target, claim_id
from device_lockout.values.record import Claim

USERS = ("ana", "bob", "carla", "dave", "eve")


def locks(count: int, prefix: str = "BURST") -> list[Command]:
    """Return commands to lock ``count`` reported devices."""
    now = datetime.now(UTC)
    found: list[Command] = []
    for number in range(count):
        cause = Cause(f"{prefix}-{number}", "helpdesk", "Device Lost", now, now)
        until = (now + timedelta(days=30)).replace(microsecond=0)
        claim = Claim(claim_id(cause.event_id), "device", "lost", now, until)
        found.append(Lock(cause, Target(ORGANIZATION, USERS[number % len(USERS)], f"{prefix}{number}"), claim))
    return found


def measure(reports: int, per_second: int, latency_ms: float = 30) -> Figures:
    """Measure the share of the limit that was used from the first report to the last lock, and what was lost.

    A lock takes two requests: read the override, write it. Looking its user up takes a third, unless another lock just
    did. The share counts accepted requests. It leaves out one second's worth, which WorkMail's bucket holds at the
    beginning. `burst_killed` counts batches that overran the function's time.
    """
    with emulator() as workmail, writers(workmail, environments=5) as (queue, _, calls):
        workmail.control("PUT", "settings", {"keep_calls": 0})
        workmail.set_faults(throttle={"per_second": per_second}, latency={"ms": latency_ms})
        started = time.monotonic()
        queue.send(locks(reports))
        while queue.left():
            time.sleep(0.05)
        elapsed = max(calls.accepted) - started
        workmail.set_faults()
        effects = workmail.effects()
        denied = sum(device.startswith("burst") and effect == "DENY" for (_, device), effect in effects.items())
        received = sum(receives * count for receives, count in queue.receives.items())
        return {
            "burst_share": (len(calls.accepted) - per_second) / (per_second * elapsed),
            "burst_lost": reports - denied - len(queue.dead),
            "burst_dead_lettered": len(queue.dead),
            "burst_killed": calls.killed,
            "burst_seconds": elapsed,
            "burst_requests_per_lock": len(calls.accepted) / reports,
            "burst_throttled_per_accepted": calls.throttled / len(calls.accepted),
            "burst_receives_per_report": received / reports,
            "burst_most_receives": max(queue.receives),
        }
