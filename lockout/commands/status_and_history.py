"""Questions: who is locked, what stands on a device, what happened, what happens now."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from device_lockout.values.device import DeviceKey, User
from device_lockout.values.outcome import DRILL
from device_lockout.values.record import Claim
from device_lockout.values.settings import Organization
from device_lockout.values.tag import HOLD, Tag
from lockout import lookup, output
from lockout.deployment import DEAD_LETTERS, Deployment
from lockout.errors import DONE, NO, CommandError
from lockout.lookup import Told
from lockout.times import When

LOOKED_UP_AT_ONCE = 10
WATCH_EVERY = 2
"""Seconds."""

_STATUS = {"user": 20, "device": 33, "why": 12, "until": 27, "ends in": 9, "since": 27, "ticket and note": 0}
_HISTORY = {"time": 30, "result": 18, "message": 0}


@output.command(
    *("lockout status", "lockout status --ending 7d", """lockout status --query "[?why=='stolen'].[user, device]\""""),
    prints="rows",
)
@click.option("--user", metavar="USER", help="only this user's devices")
@click.option("--ending", type=When(), metavar="WHEN", help="only what is let back in until then, such as 7d")
def status(deployment: Deployment, user: str | None, ending: datetime | None, form: str | None) -> int:
    """Print who is locked now, why and until when. Then, for people: what needs somebody.

    The device `*` stands for all devices of a user, those to come as well. The list is whole, or the command fails.
    Only `history serial:NUMBER` has the lock of a serial number that no device has yet.
    """
    now, only = datetime.now(UTC), dict[str, User | None]()
    if user is not None:
        only = {each.id: lookup.user(deployment, each.id, user) for each in deployment.settings.organizations}
    if user and not any(only.values()):
        raise CommandError(f"WorkMail knows no user {user}", f"lockout history {user}")
    found = (
        row
        for organization in deployment.settings.organizations
        if user is None or only[organization.id]
        for row in locks(deployment, organization, only.get(organization.id), now)
        if ending is None or row["until"] <= ending
    )
    count = output.rows(found, _STATUS, form)
    if form is None:
        output.line(f"{count} lock{'s are' if count != 1 else ' is'} in force.")
        _needs(deployment, now)
    return DONE


def locks(
    deployment: Deployment, organization: Organization, only: User | None, now: datetime
) -> Iterator[dict[str, Any]]:
    """Yield a row for each lock of ours, or ``only`` one user's, page by page, then those of all devices of a user."""
    name = lookup.names(deployment, organization.id)

    def row(user_id: str, device: str, shown: Tag | Claim, remark: str) -> dict[str, Any]:
        left = output.apart(now, shown.until) if shown.until != HOLD else "-"
        return {
            "organizationId": organization.id,
            "userId": user_id,
            "user": name(user_id),
            "device": device,
            "why": shown.why,
            "until": shown.until,
            "ends in": "over" if shown.until <= now else left,
            "since": shown.at,
            "lock": shown.id,
            "covers an ALLOW": isinstance(shown, Tag) and shown.was == "allow",
            "ticket and note": remark,
        }

    with ThreadPoolExecutor(LOOKED_UP_AT_ONCE) as pool:
        for page, _ in deployment.workmail.pages(organization.id):
            ours = [
                (listed, reading)
                for listed in page
                if isinstance(reading := listed.override.read(deployment.settings.owner), Tag)
                and listed.override.effect == "DENY"
                and (only is None or only.id == listed.key.user_id)
            ]
            list(pool.map(name, {listed.key.user_id for listed, _ in ours}))  # all names of a page at once
            for listed, tag in ours:
                remark = (listed.override.description or "").partition("]")[2].strip()
                yield row(listed.key.user_id, listed.key.device, tag, remark)
    for user_id, record in deployment.ledger.users(organization.id).items():
        if only is None or only.id == user_id:
            for claim in record.live(now):
                yield row(user_id, lookup.ALL, claim, claim.remark)


def _needs(deployment: Deployment, now: datetime) -> None:
    for organization in deployment.settings.organizations:
        last = deployment.ledger.last_sweep(organization.id)
        ago = f"{output.apart(last.began, now)} ago" if last else "never"
        output.line(f"Last sweep of {organization.alias}: {ago}.")
    if deployment.settings.source(DRILL):
        well, said, hint = lookup.drilled(deployment, now)
        output.line(f"{'' if well else '! '}L{said[1:]}{'' if well else f'  {hint}'}")
    for told in lookup.needing_somebody(deployment, now):
        advice = told["detail"]["advice"]
        said = output.in_local_time(told["detail"]["message"])
        output.line(f"! {said}\n  {advice['do']}  {advice['command']}")
    if dead := deployment.waiting(*DEAD_LETTERS.values()):
        output.line(f"! Dead letters: {dead}.  lockout dead show")


@output.command("lockout show bob ABC123", "lockout show INC-1234", "lockout show asset:PHONE-0042", prints="data")
@click.argument("what")
@click.argument("device", required=False)
@output.organization
def show(deployment: Deployment, what: str, device: str | None, organization: str | None, form: str | None) -> int:
    """Show what stands on a device, what is wanted, and what happened last.

    WHAT is a user, a device ID, a ticket, serial:NUMBER or asset:TAG. The exit status is 1 if nothing is known of it.
    """
    now = datetime.now(UTC)
    where = deployment.organization(organization).id
    keys = lookup.devices(deployment, where, what, device)
    known = lookup.user(deployment, where, what) if device is None else None
    if known and deployment.ledger.user(where, known.id).live(now):
        keys = [DeviceKey(where, known.id, lookup.ALL), *keys]
    shown = [_device(deployment, key, now) for key in keys]
    if form:
        output.rows(shown, {}, form)
    else:
        for each in shown:
            _print_device(each, now)
        if not shown:
            output.say(
                f"no device is known of {what}{f' and {device}' if device else ''}.  try: lockout history {what}"
            )
    return DONE if shown else NO


def _device(deployment: Deployment, key: DeviceKey, now: datetime) -> dict[str, Any]:
    record, of_all = deployment.ledger.device(key), key.device == lookup.ALL
    wanted, observed = record.wanted(now), None if of_all else deployment.workmail.get(key).override
    user = lookup.user(deployment, key.organization, key.user_id)
    told = lookup.history(deployment, key.user_id if of_all else key.device)
    users = [each for each in told if (each["detail"].get("user") or {}).get("id") in (key.user_id, None)]
    denied = observed is not None and observed.effect == "DENY"
    ours = observed is not None and isinstance(observed.read(deployment.settings.owner), Tag)
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
        "agrees": of_all or (denied if wanted else not ours),
        "underneath": record.prior.fields() if record.prior else None,
        "known": record.known,
        "happened": [each for each in users if not (of_all and each["detail"].get("device"))][-10:],
    }


def _print_device(shown: dict[str, Any], now: datetime) -> None:
    override, wanted, underneath = shown["override"], shown["wanted"], shown["underneath"]
    of_all, denied = shown["device"] == lookup.ALL, override is not None and override["effect"] == "DENY"
    which = "all devices, those to come as well" if of_all else f"device {shown['device']}"
    state = "LOCKED" if of_all else "DENIED" if denied else "NOT DENIED"
    output.line(f"{shown['user'] or shown['userId']} <{shown['email'] or '-'}>, {which}: {state}", bold=True)
    known = "yes" if shown["known"] else "no: only reports say that this device exists"
    lines = {
        "in WorkMail": not of_all and (f"{override['effect']}, {override['description']}" if override else "-"),
        "wanted": f"lock ({wanted['why']}), {output.local(wanted['until'])}" if wanted else "no lock",
        "because": ", ".join(filter(None, (shown["ticket"], shown["source"], shown["note"]))),
        "!": not shown["agrees"]
        and "WorkMail does not show what is wanted: the next sweep mends it.  lockout sweep now",
        "underneath": underneath and f"{underneath['effect']}, {underneath['description']}",
        "known": not of_all and known,
    }
    for name, words in lines.items():
        if words:
            output.line(f"  {name:13} {words}" if name != "!" else f"  ! {words}")
    for told in shown["happened"]:
        ago = output.apart(lookup.time_of(told), now)
        output.line(f"  {ago:>7} ago   {output.in_local_time(told['detail']['message'])}")


@output.command(
    *("lockout history INC-1234", "lockout history bob --since 7d", "lockout history --since today --csv"),
    prints="rows",
)
@click.argument("what", required=False)
@click.option("--since", type=When(past=True), metavar="WHEN", help="from when on: 7d, monday (without WHAT: a day)")
@click.option("--until", type=When(past=True), metavar="WHEN", help="until when")
def history(
    deployment: Deployment, what: str | None, since: datetime | None, until: datetime | None, form: str | None
) -> int:
    """Print what happened, oldest first.

    WHAT is a ticket, a user, a device ID, an event ID, or "sweep". Without it everything is printed.
    Outcomes are kept for 400 days. The exit status is 1 if nothing happened.
    """
    now = datetime.now(UTC)
    told = (
        lookup.history(deployment, what, since, until)
        if what is not None
        else deployment.ledger.timeline(
            since or min(until or now, now) - timedelta(days=1), until or now + timedelta(minutes=1)
        )
    )
    count = output.rows((happened(each, form) for each in told), _HISTORY, form)
    if not count:
        output.say(f"nothing is recorded{f' of {what}' if what else ''} in this time")
    return DONE if count else NO


def happened(told: Told, form: str | None) -> dict[str, Any]:
    detail = told["detail"]
    if form == "json":
        return {"detailType": told["detailType"], **detail}
    user, lock = detail.get("user") or {}, detail.get("lock") or {}
    return {
        "time": lookup.time_of(told) if form else output.local(lookup.time_of(told), "%H:%M:%S"),
        "result": detail.get("result") or told["detailType"],
        "severity": detail["severity"],
        "user": user.get("email") or user.get("name") or detail.get("userId"),
        "device": detail.get("device"),
        "ticket": detail.get("reference") or lock.get("reference"),
        "reporter": detail.get("reporter"),
        "event": detail["eventId"],
        "message": detail["message"],
    }


@output.command("lockout watch", "lockout watch --json", prints="data")
def watch(deployment: Deployment, form: str | None) -> int:
    """Print outcomes as they are recorded, until Ctrl-C."""
    seen: set[str] = set()
    began = datetime.now(UTC)
    output.say("watching; Ctrl-C ends it")
    while True:
        now = datetime.now(UTC)
        for told in deployment.ledger.timeline(max(began, now - timedelta(minutes=2)), now + timedelta(minutes=1)):
            if told["detail"]["id"] not in seen:
                seen.add(told["detail"]["id"])
                output.one(happened(told, form), _HISTORY, form)
        time.sleep(WATCH_EVERY)
