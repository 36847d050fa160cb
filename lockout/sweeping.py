"""The sweep, from outside: what the next one would do, how the last ones went, and one now."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from device_lockout.protocol import announcement
from lockout import answers, finding, rehearsal
from lockout.deployment import Deployment
from lockout.errors import DONE, NO, NOT_YET
from lockout.when import When

_PLAN = {"action": 9, "userId": 37, "deviceId": 33, "because": 0}
_RUNS = {"time": 27, "guard": 21, "message": 0}
_SHOWN = 5
_LOOK_EVERY = 1
"""Seconds."""


@click.group()
def sweep() -> None:
    """What the next sweep would do, how the last ones went, and one now."""


@sweep.command(epilog=answers.examples("lockout sweep plan", "lockout sweep plan --at friday"))
@click.option("--at", type=When(), metavar="WHEN", help="as if it were then, and nothing changed until then")
@answers.organization_option
@answers.forms
@click.pass_obj
def plan(deployment: Deployment, at: datetime | None, organization: str | None, form: str | None) -> int:
    """Print what a sweep would do: the functions' own sweep, run here with nothing written and nothing sent.

    The exit status is 1 if a guard would refuse removals.
    """
    then = at or datetime.now(UTC)
    result = rehearsal.of_sweep(deployment, deployment.organization(organization).id, then)
    planned = result.plan
    items = [*planned.removals, *planned.reasserts, *planned.left]
    answers.rows((announcement.row(item) for item in items), _PLAN, form)
    answers.say(
        f"{answers.local(then)}: {len(planned.removals)} to let in, {len(planned.reasserts)} to put back,"
        f" {len(planned.left)} left alone, of {sum(planned.seen.values())} overrides"
    )
    if result.refused:
        answers.say(f"guard {result.refused.guard} would let nothing in: {result.refused.because}")
    return NO if result.refused else DONE


@sweep.command(epilog=answers.examples("lockout sweep last"))
@answers.forms
@click.pass_obj
def last(deployment: Deployment, form: str | None) -> int:
    """Print how the last sweeps went, newest first. The exit status is 1 if the newest was refused."""
    now = datetime.now(UTC)
    runs: list[dict[str, Any]] = []
    for told in deployment.ledger.timeline(now - timedelta(days=30), now, "sweep", newest_first=True):
        if told["detail"]["id"] not in {run["id"] for run in runs}:
            runs.append({**told["detail"], "time": finding.time_of(told)})
        if len(runs) == _SHOWN * len(deployment.settings.organizations):
            break
    answers.rows(runs, _RUNS, form)
    return DONE if runs and runs[0]["guard"] is None else NO


@sweep.command(epilog=answers.examples("lockout sweep now", "lockout sweep now --accept-ledger"))
@click.option("--accept-ledger", is_flag=True, help="say that the ledger is right, although it is another table")
@click.option("--timeout", default=120.0, metavar="SECONDS", help="how long to wait for its end (120)")
@answers.organization_option
@click.pass_obj
def now(deployment: Deployment, timeout: float, organization: str | None, *, accept_ledger: bool) -> int:
    """Ask for a sweep, and wait for its end. The exit status is 1 if a guard refused removals."""
    where = deployment.organization(organization).id
    asked, began = datetime.now(UTC), time.monotonic()
    accepted = {"acceptLedger": deployment.outputs["LedgerTableName"]} if accept_ledger else {}
    ask_for(deployment, where, **accepted)
    while time.monotonic() - began < timeout:
        for told in deployment.ledger.timeline(asked, datetime.now(UTC) + timedelta(minutes=1), "sweep"):
            if told["detail"]["organizationId"] == where:
                answers.line(told["detail"]["message"])
                answers.say(f"{time.monotonic() - began:.1f} s")
                return NO if told["detail"]["guard"] else DONE
        time.sleep(_LOOK_EVERY)
    answers.say(f"no end within {timeout:.0f} s.  lockout sweep last")
    return NOT_YET


def ask_for(deployment: Deployment, organization: str, **word: str) -> None:
    """Ask for a sweep, with a person's word if it needs one. It runs by itself."""
    deployment.client("lambda").invoke(
        FunctionName=deployment.outputs["SweepOverridesFunctionName"],
        InvocationType="Event",
        Payload=json.dumps({"organizationId": organization, **word}).encode(),
    )
