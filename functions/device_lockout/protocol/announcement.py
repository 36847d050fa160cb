"""Everything that the deployment announces on its bus: outcomes, runs of the sweep, and warnings about locks.

``docs/schemas/`` has a JSON Schema of each kind of detail, and ``samples/out/`` has an event of each detail-type. An
announcement is ``{"detailType": …, "detail": …}``, as the ledger keeps it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from device_lockout.values import instant
from device_lockout.values.actions import DETAIL_TYPES
from device_lockout.values.advice import advise, elsewhere, shown
from device_lockout.values.command import Lock, command_id
from device_lockout.values.device import User
from device_lockout.values.outcome import SOURCE
from device_lockout.values.tag import write_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from device_lockout.decisions.plan import Item
    from device_lockout.protocol.sweep_run import Run, SweepResult
    from device_lockout.values.command import Cause, Command
    from device_lockout.values.device import DeviceKey
    from device_lockout.values.outcome import Outcome
    from device_lockout.values.override import Override
    from device_lockout.values.record import Claim

SCHEMA_VERSION = "1"
"""The version of every detail. A new field keeps it; a field that goes or changes its meaning needs another."""

_PLAIN: dict[int, int | str] = {**dict.fromkeys(range(32), " "), **str.maketrans('"\\<>', "'/()")}

SHOWN_ROWS = 5  # How many rows of its plan a run announces. The log has all.
SHOWN_OF_DAY = 20  # How many messages the digest repeats, the last ones. The report has all.
SHOWN_CLAIMS = 10  # How many locks in force an outcome names.
SHOWN_LEFT = 2  # How many of them are of overrides that it leaves alone, before any other row.


def of_outcome(command: Command, outcome: Outcome, decided: datetime) -> dict[str, Any]:
    """Return the announcement of a command's outcome. Every repetition of the command has the same ``detail.id``."""
    cause, target = command.cause, command.target
    user = outcome.user or (User(target.user) if target.resolved else None)
    lock, ticket = outcome.lock, outcome.ticket
    if not lock and isinstance(command, Lock) and outcome.result != "rejected":
        lock, ticket = command.claim.id, command.claim.reference
    page = outcome.page or cause.page
    found = target.resolved or cause.source == SOURCE  # else it is whom the report named
    who = (user.email or user.name if user and found else "") or target.user
    asked = DETAIL_TYPES.get(cause.detail_type)
    detail = {
        "schemaVersion": SCHEMA_VERSION,
        "id": command_id(command),
        "eventId": cause.event_id,
        "source": cause.source,
        "reporter": cause.reporter,
        "organizationId": target.organization,
        "userId": target.user,
        "user": _user(user),
        "deviceId": target.device,
        "device": target.device.casefold(),
        "names": {name.kind: name.value for name in target.names},
        "result": outcome.result,
        "reason": outcome.why,
        "until": write_time(outcome.until) if outcome.until else None,
        "reference": outcome.reference,
        "lock": _lock(lock, ticket),
        "thread": lock or command_id(command),
        "verified": outcome.verified,
        "devices": outcome.devices,
        "page": page,
        **advise(
            outcome.detail_type,
            page=page,
            user=who,
            device=target.device,
            ticket=outcome.reference or ticket,
            action=asked.action if asked else type(command).__name__.lower(),
        ),
        **({"advice": elsewhere(outcome.elsewhere), "severity": "act now"} if outcome.elsewhere else {}),
        "message": _plain(f"{outcome.message(target.device, who)} ({_report(cause, ticket)})"),
        "before": _fields(outcome.before),
        "after": _fields(outcome.after),
        "claims": dict(zip(("before", "after"), map(_claims, outcome.claims), strict=True)),
        "times": {
            "happened": instant.write(cause.happened),
            "received": instant.write(cause.received),
            "decided": instant.write(decided),
            "written": instant.write(outcome.written) if outcome.written else None,
        },
    }
    return {"detailType": outcome.detail_type, "detail": detail}


def of_run(result: SweepResult, run: Run, mode: str, called: str, *, page: bool) -> dict[str, Any]:
    """Return the announcement of a run: its counts, and the first rows of its plan. ``called`` is the alias."""
    plan = result.plan
    rows = [*plan.left[:SHOWN_LEFT], *plan.removals, *plan.reasserts, *plan.left[SHOWN_LEFT:]]
    detail_type = "Sweep Refused" if result.refused else "Sweep Completed"
    detail = {
        **_of_sweep(f"{run.id} {run.organization}", run),
        "mode": mode,
        "completed": result.completed,
        "guard": result.refused.guard if result.refused else None,
        "thread": run.organization,
        "page": page,
        **advise(detail_type, page=page),
        "message": _plain(_message(result, called, mode)),
        "seen": dict(plan.seen),
        "removals": len(plan.removals),
        "reasserts": len(plan.reasserts),
        "left": len(plan.left),
        "enqueued": result.enqueued,
        "first": [row(item) for item in rows[:SHOWN_ROWS]],
        "times": {"started": instant.write(run.now), "done": instant.write(run.clock())},
    }
    return {"detailType": detail_type, "detail": detail}


def of_lock(
    occasion: str,
    detail_type: str,
    key: DeviceKey,
    claim: Claim | None,
    observed: Override | None,
    message: str,
    run: Run,
) -> dict[str, Any]:
    """Return the announcement of a warning about the lock that is wanted for a device, if any is.

    The same ``occasion`` of a lock has the same ``detail.id`` in every run. The ``observed`` override was not changed.
    """
    reference = claim.reference if claim else ""
    detail = {
        **_of_sweep(f"{run.organization} {key.user_id} {key.device} {detail_type} {occasion}", run),
        "userId": key.user_id,
        "user": _user(User(key.user_id)),
        "deviceId": key.device,
        "device": key.device,
        "reason": claim.why if claim else "",
        "until": write_time(claim.until) if claim else None,
        "reference": reference,
        "lock": _lock(claim.id, reference) if claim else None,
        "thread": claim.id if claim else key.device,
        "before": _fields(observed),
        "after": _fields(observed),
        "page": True,
        "message": _plain(message),
        **advise(detail_type, page=True, user=key.user_id, device=key.device, ticket=reference),
        "times": {"decided": instant.write(run.now)},
    }
    return {"detailType": detail_type, "detail": detail}


def of_day(found: Iterable[dict[str, Any]], until: datetime) -> dict[str, Any] | None:
    """Return the digest of a day's announcements that are for today; None for none of them. It ends at ``until``."""
    # Of several refused sweeps the first is kept twice.
    by_id = {each["detail"]["id"]: each["detail"] for each in found}
    told = [detail for detail in by_id.values() if detail["severity"] == "today"]
    if not told:
        return None
    counts = Counter(detail["advice"]["title"] for detail in told)
    detail = {
        "schemaVersion": SCHEMA_VERSION,
        "id": hashlib.sha256(f"digest {instant.write(until)}".encode()).hexdigest(),
        "eventId": f"digest-{instant.write(until)}",
        "source": SOURCE,
        "count": len(told),
        "items": [f"- {detail['message']}" for detail in told[-SHOWN_OF_DAY:]],
        "thread": "digest",
        "page": True,
        **advise("Daily Digest", page=True),
        "message": _plain(f"For today: {'; '.join(f'{title} ({count})' for title, count in counts.items())}."),
        "times": {"decided": instant.write(until)},
    }
    return {"detailType": "Daily Digest", "detail": detail}


def row(item: Item) -> dict[str, str]:
    """Return one row of a plan as fields, as the log and the announcement of a run have it."""
    return {
        "action": item.action,
        "userId": item.key.user_id,
        "deviceId": item.key.device,
        "over": write_time(item.due_since),
        "because": item.because,
    }


def _of_sweep(which: str, run: Run) -> dict[str, Any]:
    """Return the fields of everything that the sweep announces. The ID is the SHA-256 of ``which``."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "id": hashlib.sha256(which.encode()).hexdigest(),
        "eventId": run.id,
        "source": SOURCE,
        "organizationId": run.organization,
    }


def _fields(override: Override | None) -> dict[str, str | None] | None:
    return override.fields() if override else None


def _user(user: User | None) -> dict[str, str] | None:
    return {"id": user.id, "name": user.name, "email": user.email} if user else None


def _lock(lock_id: str, ticket: str) -> dict[str, str] | None:
    return {"id": lock_id, "reference": ticket} if lock_id else None


def _claims(claims: Iterable[Claim]) -> list[dict[str, str]]:
    """Return the locks that last longest, the wanted one first. A record may have two hundred."""
    return [
        {"id": each.id, "scope": each.scope, "reason": each.why, "until": write_time(each.until)}
        | {"reference": each.reference, "source": each.source}
        for each in sorted(claims, key=lambda claim: claim.rank, reverse=True)[:SHOWN_CLAIMS]
    ]


def _plain(message: str) -> str:
    """Return a message without what EventBridge would have to escape in a template, and chat would take for markup.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html#eb-transform-input-issues
    """
    return message.translate(_PLAIN)


def _report(cause: Cause, ticket: str) -> str:
    """Name the report and the ticket, for people who have only the message."""
    part = f"part {cause.part} of " if cause.part else ""
    source = cause.source if cause.source.startswith("aws.") else shown(cause.source)  # AWS alone speaks as aws.…
    event = f"{part}event {shown(cause.event_id)} from {source}"
    said = (event, shown(cause.reference or ticket), cause.correction)
    return ", ".join(filter(None, said))


def _message(result: SweepResult, called: str, mode: str) -> str:
    """Return one sentence for people about a run."""
    plan = result.plan
    if result.refused is not None:
        others = result.refused.sources and any(item.source not in result.refused.sources for item in plan.removals)
        kept = "kept some denied" if others else "let nothing back in"
        return f"The sweep of {called} {kept} (guard {result.refused.guard}): {result.refused.because}."
    seen, asked = sum(plan.seen.values()), len(plan.removals) + len(plan.reasserts)
    if mode == "report":
        rest = "; it only reports"
    else:
        rest = f"; {asked - result.enqueued} of them not in this run" if result.enqueued < asked else ""
    left = f", {len(plan.left)} left alone for a person to look at" if plan.left else ""
    return (
        f"The sweep of {called} saw {seen} override{'s' * (seen != 1)}:"
        f" {len(plan.removals)} to expire, {len(plan.reasserts)} to put back{left}{rest}."
    )
