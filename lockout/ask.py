"""Questions: who is locked, what stands on a device, what happened, what happens now."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from device_lockout.aws.ledger import OUTCOMES_KEPT
from device_lockout.values import instant
from device_lockout.values.device import DeviceKey
from device_lockout.values.outcome import DRILL
from device_lockout.values.override import ListedOverride, Override
from device_lockout.values.settings import Organization
from device_lockout.values.tag import Tag
from lockout import answers, finding
from lockout.deployment import DEAD_LETTERS, Deployment
from lockout.errors import DONE, NO
from lockout.finding import Told
from lockout.when import When

LOOKED_UP_AT_ONCE = 10
WATCH_EVERY = 2
"""Seconds."""

_STATUS = {"user": 20, "device": 33, "why": 12, "until": 27, "ends in": 9, "since": 27, "ticket and note": 0}
_HISTORY = {"time": 27, "result": 18, "message": 0}


@click.command(
    epilog=answers.examples("lockout status", "lockout status --ending 7d", "lockout status --why stolen --json")
)
@click.option("--user", metavar="USER", help="only this user's devices")
@click.option("--why", metavar="REASON", help="only locks with this reason")
@click.option("--ending", type=When(), metavar="WHEN", help="only what is let back in until then, such as 7d")
@answers.forms
@click.pass_obj
def status(deployment: Deployment, user: str | None, why: str | None, ending: datetime | None, form: str | None) -> int:
    """Print who is locked now, why and until when. Then, for people: what needs somebody.

    The list is whole, or the command fails.
    """
    now = datetime.now(UTC)
    found = (
        row
        for organization in deployment.settings.organizations
        for row in locks(deployment, organization, user, now)
        if (why is None or row["why"] == why) and (ending is None or row["until"] <= ending)
    )
    count = answers.rows(found, _STATUS, form)
    if form is None:
        answers.line(f"{count} device{'s are' if count != 1 else ' is'} locked.")
        _needs(deployment, now)
    return DONE


def locks(
    deployment: Deployment, organization: Organization, user: str | None, now: datetime
) -> Iterator[dict[str, Any]]:
    """Yield a row for each lock of ours, page by page. WorkMail is asked for the names of one page's users at once."""
    only = finding.user(deployment, organization.id, user) if user is not None else None
    if user is not None and only is None:
        return
    name = finding.names_of_users(deployment, organization.id)
    with ThreadPoolExecutor(LOOKED_UP_AT_ONCE) as pool:
        for page, _ in deployment.workmail.pages(organization.id):
            ours = [
                (listed, reading)
                for listed in page
                if isinstance(reading := listed.override.read(deployment.settings.owner), Tag)
                and listed.override.effect == "DENY"
                and (only is None or only.id == listed.key.user_id)
            ]
            names = list(pool.map(name, [listed.key.user_id for listed, _ in ours]))
            yield from (_lock(*each, who, now) for each, who in zip(ours, names, strict=True))


def _lock(listed: ListedOverride, tag: Tag, user: str, now: datetime) -> dict[str, Any]:
    return {
        "organizationId": listed.key.organization,
        "userId": listed.key.user_id,
        "user": user,
        "device": listed.key.device,
        "why": tag.why,
        "until": tag.until,
        "ends in": "over" if tag.until <= now else "-" if tag.until.year == 9999 else answers.apart(now, tag.until),
        "since": tag.at,
        "lock": tag.id,
        "covers an ALLOW": tag.was == "allow",
        "ticket and note": (listed.override.description or "").partition("]")[2].strip(),
    }


def _needs(deployment: Deployment, now: datetime) -> None:
    for organization in deployment.settings.organizations:
        last = deployment.ledger.last_sweep(organization.id)
        ago = f"{answers.apart(last.began, now)} ago" if last else "never"
        answers.line(f"Last sweep of {organization.alias}: {ago}.")
    if deployment.settings.source(DRILL):
        answers.line(_last_drill(deployment, now))
    for told in finding.needing_somebody(deployment, now):
        detail = told["detail"]
        answers.line(f"! {detail['message']}")
        answers.line(f"  {detail['advice']['do']}  {detail['advice']['command']}")
    if dead := deployment.waiting(*DEAD_LETTERS.values()):
        answers.line(f"! Dead letters: {dead}.  lockout dead show")


def _last_drill(deployment: Deployment, now: datetime) -> str:
    """Say when the drill last locked its device, and how long that took. Two periods may be two days."""
    recent = deployment.ledger.timeline(now - timedelta(days=2), now, "DRILL", newest_first=True)
    locked = (told for told in recent if (told["detail"]["source"], told["detail"]["result"]) == (DRILL, "locked"))
    last = next(locked, None)
    if last is None:
        return "! Last drill: none locked its device in two days.  lockout doctor"
    took = finding.time_of(last) - instant.read(last["detail"]["times"]["received"])
    return f"Last drill: locked in {took.total_seconds():.1f} s, {answers.apart(finding.time_of(last), now)} ago."


@click.command(
    epilog=answers.examples("lockout show bob ABC123", "lockout show INC-1234", "lockout show asset:PHONE-0042")
)
@click.argument("what")
@click.argument("device", required=False)
@answers.organization_option
@answers.data
@click.pass_obj
def show(deployment: Deployment, what: str, device: str | None, organization: str | None, form: str | None) -> int:
    """Show what stands on a device, what is wanted, and what happened last.

    WHAT is a user, a device ID, a ticket, serial:NUMBER or asset:TAG. The exit status is 1 if nothing is known of it.
    """
    where = deployment.organization(organization)
    keys = finding.devices(deployment, where.id, what, device)
    now = datetime.now(UTC)
    shown = [_device(deployment, key, now) for key in keys]
    if form:
        answers.rows(shown, {}, form)
    else:
        for each in shown:
            _print_device(each, now)
        if not shown:
            answers.say(f"nothing is known of {what}{f' and {device}' if device else ''}.  try: lockout history {what}")
    return DONE if shown else NO


def _device(deployment: Deployment, key: DeviceKey, now: datetime) -> dict[str, Any]:
    record = deployment.ledger.device(key)
    wanted, observed = record.wanted(now), deployment.workmail.get(key).override
    user = finding.user(deployment, key.organization, key.user_id)
    told = finding.history(deployment, key.device, now - OUTCOMES_KEPT)
    about = [each for each in told if (each["detail"].get("user") or {}).get("id") in (key.user_id, None)]
    return {
        "userId": key.user_id,
        "user": user.name if user else None,
        "email": user.email if user else None,
        "device": key.device,
        "override": observed.fields() if observed else None,
        "wanted": {"why": wanted.why, "until": wanted.until} if wanted else None,
        "ticket": wanted.reference if wanted else None,
        "note": wanted.note if wanted else None,
        "source": wanted.source if wanted else None,
        "agrees": _agrees(observed, wanted is not None, deployment.settings.owner),
        "underneath": record.prior.fields() if record.prior else None,
        "known": record.known,
        "happened": about[-10:],
    }


def _agrees(observed: Override | None, wanted: bool, owner: str) -> bool:
    denied = observed is not None and observed.effect == "DENY"
    ours = observed is not None and isinstance(observed.read(owner), Tag)
    return denied if wanted else not ours


def _print_device(shown: dict[str, Any], now: datetime) -> None:
    denied = shown["override"] is not None and shown["override"]["effect"] == "DENY"
    who = f"{shown['user'] or shown['userId']} <{shown['email'] or '-'}>"
    answers.line(f"{who}, device {shown['device']}: {'DENIED' if denied else 'NOT DENIED'}", bold=True)
    override = shown["override"]
    answers.line(
        f"  in WorkMail   {override['effect']}, {override['description']}" if override else "  in WorkMail   -"
    )
    wanted = shown["wanted"]
    if wanted:
        because = ", ".join(filter(None, (shown["ticket"], shown["source"], shown["note"])))
        answers.line(f"  wanted        lock ({wanted['why']}), {answers.local(wanted['until'])}")
        answers.line(f"  because       {because or '-'}")
    else:
        answers.line("  wanted        no lock")
    if not shown["agrees"]:
        answers.line("  ! WorkMail does not show what is wanted: the next sweep mends it.  lockout sweep now")
    if shown["underneath"]:
        answers.line(f"  underneath    {shown['underneath']['effect']}, {shown['underneath']['description']}")
    answers.line(f"  known         {'yes' if shown['known'] else 'no: only reports say that this device exists'}")
    for told in shown["happened"]:
        ago = answers.apart(finding.time_of(told), now)
        answers.line(f"  {ago:>7} ago   {told['detail']['message']}")


@click.command(
    epilog=answers.examples(
        "lockout history INC-1234", "lockout history bob --since 7d", "lockout history --since today --csv"
    )
)
@click.argument("what", required=False)
@click.option("--since", type=When(past=True), metavar="WHEN", help="from when on: 7d, monday (without WHAT: 1d)")
@click.option("--until", type=When(past=True), metavar="WHEN", help="until when")
@answers.forms
@click.pass_obj
def history(
    deployment: Deployment, what: str | None, since: datetime | None, until: datetime | None, form: str | None
) -> int:
    """Print what happened, oldest first.

    WHAT is a ticket, a user, a device ID, an event ID, or "sweep". Without it everything is printed.
    Outcomes are kept for 400 days. The exit status is 1 if nothing happened.
    """
    now = datetime.now(UTC)
    if what is not None:
        told: Any = finding.history(deployment, what, since or now - OUTCOMES_KEPT, until)
    else:
        told = deployment.ledger.timeline(since or now - timedelta(days=1), until or now + timedelta(minutes=1))
    count = answers.rows((happened(each, form) for each in told), _HISTORY, form)
    if not count:
        answers.say(f"nothing is recorded{f' of {what}' if what else ''} in this time")
    return DONE if count else NO


def happened(told: Told, form: str | None) -> dict[str, Any]:
    detail = told["detail"]
    if form == "json":
        return {"detailType": told["detailType"], **detail}
    user, lock = detail.get("user") or {}, detail.get("lock") or {}
    return {
        "time": finding.time_of(told),
        "result": detail.get("result") or told["detailType"],
        "severity": detail["severity"],
        "user": user.get("email") or user.get("name") or detail.get("userId"),
        "device": detail.get("device"),
        "ticket": detail.get("reference") or lock.get("reference"),
        "reporter": detail.get("reporter"),
        "event": detail["eventId"],
        "message": detail["message"],
    }


@click.command(epilog=answers.examples("lockout watch", "lockout watch --json"))
@answers.data
@click.pass_obj
def watch(deployment: Deployment, form: str | None) -> int:
    """Print outcomes as they are recorded, until Ctrl-C."""
    seen: set[str] = set()
    began = datetime.now(UTC)
    answers.say("watching; Ctrl-C ends it")
    while True:
        now = datetime.now(UTC)
        for told in deployment.ledger.timeline(max(began, now - timedelta(minutes=2)), now + timedelta(minutes=1)):
            if told["detail"]["id"] not in seen:
                seen.add(told["detail"]["id"])
                answers.one(happened(told, form), _HISTORY, form)
        time.sleep(WATCH_EVERY)
