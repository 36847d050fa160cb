"""The export: every override with its user and what its tag says. It is whole or absent."""

from collections.abc import Iterator
from datetime import UTC, datetime

from device_lockout.values.tag import Broken, HandWritten, Tag, write_time
from lockout import output, snapshot
from lockout.deployment import Deployment
from lockout.errors import DONE
from lockout.snapshot import Everything

COLUMNS = (
    *("organizationId", "userId", "userName", "email", "deviceId", "effect"),
    *("kind", "why", "until", "was", "remark", "description"),
    *("reference", "note", "priorEffect", "priorDescription"),
)
"""The last four are from the ledger: the report's ticket and words, and the ALLOW that a lock covers."""


@output.command("lockout export > overrides.csv", "lockout export --json > all.json", prints="data")
def export(deployment: Deployment, form: str | None) -> int:
    """Print every override as CSV, or none: whose it is, why it is there and until when, and what a lock covers."""
    now = datetime.now(UTC)
    rows = [
        row
        for organization in deployment.settings.organizations
        for row in _rows(organization.id, snapshot.read(deployment, organization.id, now))
    ]
    if form == "json":
        output.whole(rows, 2)
    else:
        output.table(COLUMNS, rows)
    output.say(f"the list is complete, overrides: {len(rows)}")
    return DONE


def _rows(organization: str, everything: Everything) -> Iterator[dict[str, str | None]]:
    """Yield the rows of one organization in WorkMail's order. A deleted user's row has an ID only."""
    for device in everything.devices:
        if device.observed is None:
            continue
        user, reading = everything.users.get(device.key.user_id, {}), device.reading
        tag = reading if isinstance(reading, Tag) else None
        until = reading.until if isinstance(reading, Tag | HandWritten) else None
        lock = device.lock if isinstance(reading, Tag | Broken) else None
        covered = device.covered if device.denied else None
        description = device.observed.description
        yield {
            "organizationId": organization,
            "userId": device.key.user_id,
            "userName": user.get("Name"),
            "email": user.get("Email"),
            "deviceId": device.key.device,
            "effect": device.observed.effect,
            "kind": device.kind,
            "why": tag.why if tag else None,
            "until": write_time(until) if until else None,
            "was": tag.was if tag else None,
            "remark": ((description or "").partition("]")[2].strip() or None) if until else None,
            "description": description,
            "reference": (lock.reference or None) if lock else None,
            "note": (lock.note or None) if lock else None,
            "priorEffect": covered.effect if covered else None,
            "priorDescription": covered.description if covered else None,
        }
