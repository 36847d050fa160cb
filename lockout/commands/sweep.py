"""The sweep, from outside: what the next one would do, how the last ones went and what they did, and one now."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from device_lockout.protocol import announcement
from device_lockout.values import instant
from lockout import lookup, output, rehearsal
from lockout.deployment import Deployment
from lockout.errors import DONE, NO, NOT_YET
from lockout.times import When

_SHOWN = 5
_LOOK_EVERY = 1
"""Seconds."""

sweep = click.Group("sweep", help="What the next sweep would do, what the last ones did, and one now.")


@output.command("lockout sweep plan", "lockout sweep plan --at friday", within=sweep, prints="rows")
@click.option("--at", type=When(), metavar="WHEN", help="as if it were then, and nothing changed until then")
@output.organization
def plan(deployment: Deployment, at: datetime | None, organization: str | None, form: str | None) -> int:
    """Print what a sweep would do: the functions' own sweep, run here with nothing written and nothing sent.

    The exit status is 1 if a guard would refuse removals.
    """
    then, where = at or datetime.now(UTC), deployment.organization(organization).id
    result = rehearsal.of_sweep(deployment, where, then)
    planned = result.plan
    name = lookup.names(deployment, where)
    items = (
        {"user": name(item.key.user_id), **announcement.row(item)}
        for item in (*planned.removals, *planned.reasserts, *planned.left)
    )
    output.rows(items, {"action": 9, "user": 20, "deviceId": 33, "because": 0}, form)
    output.say(
        f"{output.local(then)}: {len(planned.removals)} to let in, {len(planned.reasserts)} to put back,"
        f" {len(planned.left)} left alone, of {(seen := sum(planned.seen.values()))} override{'s' * (seen != 1)}"
    )
    if result.refused:
        output.say(f"guard {result.refused.guard} would let nothing in: {output.in_local_time(result.refused.because)}")
    return NO if result.refused else DONE


@output.command("lockout sweep last", within=sweep, prints="rows")
def last(deployment: Deployment, form: str | None) -> int:
    """Print how the last sweeps went, newest first. The exit status is 1 if the newest was refused."""
    now = datetime.now(UTC)
    runs: dict[str, dict[str, Any]] = {}
    for told in deployment.ledger.timeline(now - timedelta(days=30), now, "sweep", newest_first=True):
        runs.setdefault(told["detail"]["id"], {**told["detail"], "time": lookup.time_of(told)})
        if len(runs) == _SHOWN * len(deployment.settings.organizations):
            break
    output.rows(runs.values(), {"time": 27, "guard": 21, "message": 0}, form)
    if not runs:
        output.say("no sweep ran in thirty days.  lockout doctor")
    return DONE if runs and next(iter(runs.values()))["guard"] is None else NO


@output.command("lockout sweep log", "lockout sweep log --since 2h --csv", within=sweep, prints="rows")
@click.option("--since", type=When(past=True), default="1d", metavar="WHEN", help="how far back (1d)")
def log(deployment: Deployment, since: datetime, form: str | None) -> int:
    """Print each row that past sweeps planned, oldest first. Users and devices are hashes unless log_names is set."""
    lines = deployment.log("SweepOverrides", '"planned"', since, datetime.now(UTC))
    said = ((instant.from_epoch_milliseconds(each["timestamp"]), json.loads(each["message"])) for each in lines)
    planned = ({"time": time, **line["item"]} for time, line in said if line["message"] == "planned")
    if not output.rows(planned, {"time": 27, "action": 9, "userId": 37, "deviceId": 33, "because": 0}, form):
        output.say(f"no sweep planned anything since {output.local(since)}")
    return DONE


@output.command("lockout sweep now", "lockout sweep now --accept-ledger", within=sweep)
@click.option("--accept-ledger", is_flag=True, help="say that the ledger is right, although it is another table")
@click.option("--timeout", default=120.0, metavar="SECONDS", help="how long to wait for its end (120)")
@output.organization
def now(deployment: Deployment, timeout: float, organization: str | None, *, accept_ledger: bool) -> int:
    """Ask for a sweep, and wait for its end. The exit status is 1 if a guard refused removals."""
    where = deployment.organization(organization).id
    asked, began = datetime.now(UTC), time.monotonic()
    accepted = {"acceptLedger": deployment.outputs["LedgerTableName"]} if accept_ledger else {}
    ask_for(deployment, {"organizationId": where, **accepted})
    while time.monotonic() - began < timeout:
        for told in deployment.ledger.timeline(asked, datetime.now(UTC) + timedelta(minutes=1), "sweep"):
            if told["detail"]["organizationId"] == where:
                output.line(output.in_local_time(told["detail"]["message"]))
                output.say(f"{time.monotonic() - began:.1f} s")
                return NO if told["detail"]["guard"] else DONE
        time.sleep(_LOOK_EVERY)
    output.say(f"no end within {timeout:.0f} s.  lockout sweep last")
    return NOT_YET


def ask_for(deployment: Deployment, event: dict[str, str]) -> None:
    """Call the sweep's function as a schedule does. It runs by itself."""
    deployment.client("lambda").invoke(
        FunctionName=deployment.outputs["SweepOverridesFunctionName"],
        InvocationType="Event",
        Payload=json.dumps(event).encode(),
    )
