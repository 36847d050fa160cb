"""How the end-to-end tests watch a deployment: conditions with deadlines, and what went wrong where one is missed."""

import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from device_lockout.values.tag import Tag, read
from local.deployment import Deployment, Report, pause
from tests.local.observing import IN_A_SHELL

type Json = dict[str, Any]

DEADLINE = 300.0
"""Seconds until a test gives up. Most conditions hold within one. A slow or busy machine needs several redeliveries, of
which each takes 35."""

LONG_DEADLINE = 1200.0
"""The same for conditions on a thousand devices, which take a minute on two idle cores."""


def new_device() -> str:
    return f"E2E{secrets.token_hex(6).upper()}"


def new_users(there: Deployment, count: int) -> list[str]:
    """Users whom no other test reports anything of."""
    names = [f"user{secrets.token_hex(6)}" for _ in range(count)]
    users = [{"Name": name, "Email": f"{name}@example.com", "State": "ENABLED"} for name in names]
    there.control("POST", "seed", {"users": [{"OrganizationId": there.organization, **user} for user in users]})
    return names


def seen[T](
    there: Deployment, what: str, look: Callable[[], T | None], seconds: float = DEADLINE, every: float | None = None
) -> T:
    """What `look` returns once it is true. It looks `every` so many seconds; by default ever more rarely.

    If it never is, the error names the troubles since it began: a whole run has others, and more than its log can say.
    """
    began, since = monotonic(), datetime.now(UTC) - timedelta(minutes=1)
    while not (found := look()):
        waited = monotonic() - began
        if waited > seconds:
            troubles = "\n".join(there.troubles(since))
            raise AssertionError(f"not within {seconds:.0f} s: {what}\n{troubles}")
        sleep(pause(waited) if every is None else every)
    return found


def recorded(there: Deployment, reports: Iterable[Report]) -> None:
    """Wait until every report has an outcome. One that has is not asked about again."""
    missing = deque(reports)

    def none_is_missing() -> bool:
        while missing and there.outcomes(missing[0].event_id):
            missing.popleft()
        return not missing

    seen(there, "an outcome of every report", none_is_missing)


def tag_on(there: Deployment, user: str, device: str) -> Tag | None:
    """The tag of ours that denies a device, None where none does."""
    stands = there.override(user, device)
    if stands is None or stands["Effect"] != "DENY":
        return None
    reading = read(stands.get("Description"), owner="local")
    return reading if isinstance(reading, Tag) else None


def denied(there: Deployment, user: str, device: str) -> Tag:
    """The tag that denies a device, once there is one."""
    return seen(there, f"{device} is denied", lambda: tag_on(there, user, device))


def result(there: Deployment, report: Report) -> str:
    """How a report about one device ended, once that is recorded."""
    (outcome,) = seen(there, f"an outcome of {report}", lambda: there.outcomes(report.event_id))
    return str(outcome["detail"]["result"])


def environment(state: Path) -> dict[str, str]:
    """This process's environment with what a shell may have, and `env` over both, as the README says."""
    machine = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    lines = (line.partition("=") for line in (state / "env").read_text().splitlines())
    return machine | IN_A_SHELL | {name: value.strip("'") for name, _, value in lines}


def all_outcomes(there: Deployment) -> Iterator[tuple[str, str | None]]:
    """Every outcome that the ledger has: the event's ID, and how it ended."""
    pages = there.dynamodb.get_paginator("scan").paginate(
        TableName=there.outputs["LedgerTableName"],
        FilterExpression="begins_with(pk, :event)",
        ExpressionAttributeValues={":event": {"S": "event#"}},
    )
    for page in pages:
        for item in page["Items"]:
            detail = item["told"]["M"]["detail"]["M"]
            yield item["pk"]["S"].removeprefix("event#"), detail["result"]["S"] if "result" in detail else None
