"""A report of ours, as any other source's: rehearsed, asked about, put on the bus, and waited for."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from types import SimpleNamespace
from typing import Any

import click

from device_lockout.inbound import report
from device_lockout.values import instant
from device_lockout.values.actions import ACTIONS, DETAIL_TYPES, Permission
from device_lockout.values.command import Command, Reject
from device_lockout.values.settings import OPERATOR, Settings, Source
from lockout import output, rehearsal
from lockout.deployment import Deployment
from lockout.errors import USAGE, CommandError
from lockout.lookup import Told

LOOK_EVERY = 0.2
"""Seconds between two looks for an outcome."""


_OPTIONS = {
    "ref": click.option("--ref", metavar="TICKET", help="the ticket's number"),
    "note": click.option("--note", metavar="TEXT", help="words for people, in the override's description"),
    "organization": output.organization,
    "yes": output.yes,
    "unverified": click.option("--unverified", is_flag=True, help="do not ask about a device that nothing knows"),
    "dry_run": click.option("--dry-run", is_flag=True, help="say what would be decided now; send nothing"),
    "timeout": click.option(
        "--timeout", default=60.0, metavar="SECONDS", help="how long to wait for the outcome (60); 0 for not at all"
    ),
    "source": click.option("--source", metavar="NAME", help="report as this source (operator, or the first that may)"),
}
"""The options that all changes have."""

type How = SimpleNamespace
"""Their values."""


def change(run: Callable[..., int]) -> Callable[..., int]:
    """Add these options to a command. They come as one argument, after the deployment."""

    @wraps(run)
    def gathered(deployment: Deployment, **given: Any) -> int:
        how = SimpleNamespace(**{name: given.pop(name) for name in _OPTIONS})
        return run(deployment, how, **given)

    for option in reversed(_OPTIONS.values()):
        option(gathered)
    return gathered


def rehearsed(
    deployment: Deployment, kind: str, detail: dict[str, Any], how: How
) -> tuple[Source, dict[str, Any], Command, list[Told]]:
    """Return who would report, the report's detail, its command, and what would be announced of it.

    Raises CommandError if the report would be rejected.
    """
    source = source_for(deployment.settings, ACTIONS[DETAIL_TYPES[kind].action].permission, how.source)
    where = deployment.organization(how.organization).id
    detail |= {"organizationId": where, "reporter": deployment.caller, "reference": how.ref, "note": how.note}
    written = {
        name: instant.write(each) if isinstance(each, datetime) else each for name, each in detail.items() if each
    }
    now = datetime.now(UTC)
    event = {"id": "rehearsal", "source": source.name, "detail-type": kind, "detail": written}
    (command,) = report.read(json.dumps(event), "rehearsal", now, deployment.settings)
    if isinstance(command, Reject):
        raise CommandError(command.because)
    return source, written, command, rehearsal.of_command(command, deployment, now)


def source_for(settings: Settings, permission: Permission, named: str | None) -> Source:
    """Return who reports: the source of that name, else ``operator``, else the first that may without limits.

    Raises CommandError if no source of the contract may.
    """

    def rank(each: Source) -> tuple[bool, bool]:
        limited = bool(each.releases) or each.releases_own_only or "lock" not in each.may
        return each.name != OPERATOR, limited

    able = sorted((each for each in settings.sources if each.mapping is None and permission in each.may), key=rank)
    for source in able:
        if named in (None, source.name):
            return source
    known = ", ".join(source.name for source in able) or "none"
    raise CommandError(f"source {named or '?'}: those that may {permission} are: {known}", "--source NAME", USAGE)


def confirm(question: str, option: str) -> None:
    """Ask at a terminal. Elsewhere the command must say so by an option."""
    if not sys.stdin.isatty():
        raise CommandError("there is no terminal to ask at", f"the option {option}", USAGE)
    if not click.confirm(question, err=True):
        raise CommandError("nothing was done")


def publish(deployment: Deployment, source: Source, kind: str, detail: dict[str, Any]) -> str:
    """Put a report on the bus, once the bus is known to be there. Return the event's ID.

    To a bus that does not exist EventBridge answers success, and nothing happens.
    """
    deployment.client("events").describe_event_bus(Name=deployment.outputs["EventBusName"])
    (answer,) = deployment.put(source.name, kind, detail)
    if "EventId" not in answer:
        raise CommandError(f"the bus did not take the report: {answer.get('ErrorCode')}: {answer.get('ErrorMessage')}")
    return str(answer["EventId"])


def outcomes(deployment: Deployment, expected: Mapping[str, int], timeout: float) -> tuple[list[Told], int]:
    """Wait for events' outcomes: as many as the rehearsal had, or a rejection. Return them, and how many events wait.

    ``timeout`` is in seconds, without any event that ends.
    """
    found: list[Told] = []
    missing, latest = dict(expected), time.monotonic()
    while missing and time.monotonic() - latest <= timeout:
        time.sleep(LOOK_EVERY)
        for event in [*missing]:
            told = deployment.ledger.outcomes_of(event)
            if len(told) >= expected[event] or any(each["detail"]["result"] == "rejected" for each in told):
                found, latest = found + told, time.monotonic()
                del missing[event]
    return found, len(missing)
