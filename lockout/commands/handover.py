"""The hand-over to another mail system. It has everything whose loss would let a device in, and Exchange's commands.

`docs/after-workmail.md` says what each file is for.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click

from device_lockout.values.mailbox_move import exchange
from device_lockout.values.settings import Organization
from device_lockout.values.tag import HOLD, Broken, HandWritten, Tag, write_time
from device_lockout.values.wire import dump_claim
from lockout import output, snapshot
from lockout.deployment import Deployment
from lockout.errors import DONE
from lockout.snapshot import Device, Everything

VERSION = "1"
"""The version of ``handover.json``. Its schema is ``docs/schemas/handover.json``."""

PERHAPS_OUTLOOK = re.compile(r"[0-9a-f]{32}")
"""Device IDs of Outlook for iOS and Android look so, and those of others."""

WHOSE = ("organization", "userId", "userName", "mailbox", "deviceId")
COLUMNS = {
    "exchange-blocked.csv": (*WHOSE, "kind", "why", "until", "reference", "note", "apply", "check", "end"),
    "exchange-allowed.csv": (*WHOSE, "kind", "until", "note", "apply", "check", "end"),
    "by-hand.csv": (*WHOSE, "what", "because", "until"),
    "due.csv": ("until", *WHOSE, "what", "end"),
}

type Row = dict[str, str]


@output.command("lockout handover after-workmail")
@click.argument("directory", type=click.Path(path_type=Path))
def handover(deployment: Deployment, directory: Path) -> int:
    """Write everything that must not be lost when WorkMail ends into a new directory, with commands for Exchange."""
    rows = write(deployment, directory, datetime.now(UTC))
    output.say(f"{directory}: {', '.join(f'{len(rows[name])} in {name}' for name in COLUMNS)}")
    return DONE


def write(deployment: Deployment, to: Path, now: datetime) -> dict[str, list[Row]]:
    """Write the hand-over of all organizations into the new directory ``to``, whole or not at all. Return the rows.

    Raises FileExistsError if there is such a directory, and as :func:`snapshot.read`.
    """
    if to.exists():
        raise FileExistsError(f"{to}: expected the name of a new directory")
    rows: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    described = []
    for organization in deployment.settings.organizations:
        everything = snapshot.read(deployment, organization.id, now)
        described.append(_described(organization, everything, now))
        for name, row in _rows(organization, everything, now):
            rows[name].append(row)
    rows["due.csv"].sort(key=lambda row: row["until"])
    owner = deployment.settings.owner
    whole = {"schemaVersion": VERSION, "owner": owner, "at": write_time(now), "organizations": described}
    with tempfile.TemporaryDirectory(prefix=".handover-", dir=to.absolute().parent) as private:
        made = Path(private) / to.name
        made.mkdir(mode=0o700)
        for name, columns in COLUMNS.items():
            with (made / name).open("w", encoding="utf-8", newline="") as file:
                output.table(columns, rows[name], file)
        (made / "handover.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        made.rename(to)
    return rows


def _rows(organization: Organization, everything: Everything, now: datetime) -> Iterator[tuple[str, Row]]:
    """Yield each row with its file. It may have more columns than the file."""

    def whose(user_id: str, device: str = "") -> Row:
        user = everything.users.get(user_id, {})
        name = user.get("Name") or " ".join(everything.names.get(user_id, ()))
        return dict(zip(WHOSE, (organization.alias, user_id, name, user.get("Email") or "", device), strict=True))

    for device in everything.devices:
        row = whose(device.key.user_id, device.key.device)
        if device.blocked:
            yield from _blocked(device, row, now)
        allowed = device.covered or (None if device.blocked else device.observed)
        end = allowed.read("") if allowed else None
        if allowed and not (isinstance(end, HandWritten) and end.until <= now):
            row |= {"kind": "covered" if device.blocked else "stands", "note": allowed.description or ""}
            row["until"] = write_time(end.until) if isinstance(end, HandWritten) else ""
            yield from _commands("Allowed", row | {"what": "ALLOW"})
    for user_id, claim in everything.user_locks(now):
        row = whose(user_id) | {"what": f"lock of all devices ({claim.why})", "until": write_time(claim.until)}
        row["because"] = "It covers devices to come. Exchange blocks the IDs that it was told."
        yield "by-hand.csv", row
        yield from _due(row)


def _blocked(device: Device, row: Row, now: datetime) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a device that a DENY keeps out, or that a lock is to keep out."""
    reading, lock, end = device.reading, device.lock, device.end(now)
    why = reading.why if isinstance(reading, Tag) else lock.why if lock else ""
    row = row | {
        "kind": device.kind if device.denied else "wanted",
        "why": why,
        "until": write_time(end) if end else "",
        "reference": lock.reference if lock else "",
        "note": lock.note if lock else (device.observed and device.observed.description) or "",
        "what": f"lock ({why})" if why else "DENY",
    }
    yield from _commands("Blocked", row)
    if isinstance(reading, Broken):
        yield "by-hand.csv", row | {"because": f"Nothing says when it ends: {reading.fault}."}
    if PERHAPS_OUTLOOK.fullmatch(device.key.device):
        yield "by-hand.csv", row | {"because": "If it is Outlook, its ID is another one there: look after it connects."}


def _commands(kind: Literal["Allowed", "Blocked"], row: Row) -> Iterator[tuple[str, Row]]:
    """Yield a row with its commands. If none can be written, it is for people."""
    mailbox, device = row["mailbox"], row["deviceId"]
    if apply := exchange(mailbox, device, kind, "Add"):
        check = f"(Get-CASMailbox -Identity '{mailbox}').ActiveSync{kind}DeviceIDs -contains '{device}'"
        row = row | {"apply": apply, "check": check, "end": exchange(mailbox, device, kind, "Remove")}
        yield f"exchange-{kind.lower()}.csv", row
    else:
        because = "The address or the ID is none that WorkMail writes." if mailbox else "WorkMail knows no address."
        yield "by-hand.csv", row | {"because": because}
    yield from _due(row)


def _due(row: Row) -> Iterator[tuple[str, Row]]:
    if row["until"] not in ("", write_time(HOLD)):
        yield "due.csv", row


def _described(organization: Organization, everything: Everything, now: datetime) -> dict[str, Any]:
    """Return an organization for the JSON."""
    return {
        "id": organization.id,
        "alias": organization.alias,
        "users": [
            {"id": user["Id"], "name": user.get("Name"), "email": user.get("Email"), "state": user.get("State")}
            for user in everything.users.values()
        ],
        "userLocks": [{"userId": user} | dump_claim(claim) for user, claim in everything.user_locks(now)],
        "devices": [
            {
                "userId": device.key.user_id,
                "deviceId": device.key.device,
                "blocked": device.blocked,
                "until": write_time(end) if (end := device.end(now)) else None,
                "override": device.observed.fields() if device.observed else None,
                "covered": device.covered.fields() if device.covered else None,
                "locks": [dump_claim(claim) for claim in device.record.live(now)],
                "inventory": {
                    "known": device.record.known,
                    "retired": bool(device.item.get("retired")),
                    "names": device.item.get("names", {}),
                },
            }
            for device in everything.devices
        ],
    }
