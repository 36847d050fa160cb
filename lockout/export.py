"""The export: every override with its user and what its tag says. It is whole or absent."""

import csv
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from device_lockout.values.tag import Broken, HandWritten, Tag, write_time
from lockout import answers, plain, reader
from lockout.deployment import Clients, Deployment, Known
from lockout.reader import Everything

COLUMNS = (
    *("organizationId", "userId", "userName", "email", "deviceId", "effect"),
    *("kind", "why", "until", "was", "remark", "description"),
    *("reference", "note", "priorEffect", "priorDescription"),
)
"""The last four are from the ledger: the report's ticket and words, and the ALLOW that a lock covers."""

type Row = dict[str, str | None]


@click.command("export", epilog=answers.examples("lockout export > overrides.csv", "lockout export --json > all.json"))
@answers.data
@click.pass_obj
def command(deployment: Deployment, form: str | None) -> int:
    """Print every override as CSV, or none: whose it is, why it is there and until when, and what a lock covers."""
    return export(deployment, deployment.client, deployment.outputs["LedgerTableName"], form, datetime.now(UTC))


def export(deployment: Known, clients: Clients, table: str, form: str | None, now: datetime) -> int:
    """Print every override of the deployment's organizations, or none. Return 0.

    ``table`` is the ledger's. Raises as :func:`reader.read`.
    """
    rules = deployment.settings.rules
    rows = [
        {name: row[name] for name in COLUMNS}
        for organization in deployment.settings.organizations
        for row in _rows(organization.id, reader.read(organization.id, table, rules, clients, now))
    ]
    if form == "json":
        answers.whole(rows, 2)
    else:
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: plain.cell(value) for name, value in row.items()} for row in rows)
    print(f"{len(rows)} overrides: the list is complete", file=sys.stderr)
    return 0


def _rows(organization: str, everything: Everything) -> Iterator[Row]:
    """Yield the rows of one organization in WorkMail's order. A deleted user's row has an ID only."""
    for device in everything.devices:
        if device.observed is None:
            continue
        user = everything.users.get(device.key.user_id, {})
        reading = device.reading
        until = reading.until if isinstance(reading, Tag | HandWritten) else None
        lock = device.lock if isinstance(reading, Tag | Broken) else None
        covered = device.covered if device.denied else None
        yield {
            "organizationId": organization,
            "userId": device.key.user_id,
            "userName": user.get("Name"),
            "email": user.get("Email"),
            "deviceId": device.key.device,
            "effect": device.observed.effect,
            "kind": device.kind,
            "why": reading.why if isinstance(reading, Tag) else None,
            "until": write_time(until) if until else None,
            "was": reading.was if isinstance(reading, Tag) else None,
            "remark": (device.description.partition("]")[2].strip() or None) if until else None,
            "description": device.observed.description,
            "reference": (lock.reference or None) if lock else None,
            "note": (lock.note or None) if lock else None,
            "priorEffect": covered.effect if covered else None,
            "priorDescription": covered.description if covered else None,
        }
