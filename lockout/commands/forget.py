"""Forget a person. The ledger keeps only what a live lock needs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import click

from device_lockout.aws.ledger import OUTCOMES_KEPT
from device_lockout.aws.ledger_items import device_key, load_user, words_of
from device_lockout.aws.ledger_table import LedgerTable
from device_lockout.decisions.retention import claims_to_keep
from device_lockout.values.device import DeviceKey
from device_lockout.values.errors import UnknownUserError
from device_lockout.values.record import DeviceRecord, UserRecord
from device_lockout.values.tag import Broken, Tag
from device_lockout.values.wire import dump_claim
from lockout import lookup, output, sending
from lockout.deployment import Deployment
from lockout.errors import DONE, NO
from lockout.lookup import Told

type Step = tuple[str, Callable[[], Any] | None]
"""What becomes of an item in words, and the call that does it. It is None if the item stays."""

STAYS = "stays"
ERASED: Told = dict.fromkeys(("userId", "deviceId", "device", "reference", "reporter", "thread"), "")
ERASED |= dict.fromkeys(("user", "lock", "advice", "before", "after")) | {
    "names": {},
    "message": "erased",
    "claims": {"before": [], "after": []},
}


@output.command("lockout forget bob --dry-run", "lockout forget bob --yes")
@click.argument("name", metavar="USER")
@output.organization
@click.option("--dry-run", is_flag=True, help="say what would be erased; erase nothing")
@output.yes
def forget(deployment: Deployment, name: str, organization: str | None, *, dry_run: bool, yes: bool) -> int:
    """Erase what the ledger holds of a user: notes, names, inventory, and whom its outcomes are about.

    What a live lock needs stays. So do the times of locks and releases that a late copy of a report could ask for. The
    exit status is 1 if anything stays: call it again once locks are over and `max_event_age` has passed.
    """
    where = deployment.organization(organization).id
    known = lookup.user(deployment, where, name)
    user_id = known.id if known else deployment.ledger.named(where, name).user or name
    names = {name, user_id} | set(known.names if known else ())
    steps = list(_steps(deployment, where, user_id, names, datetime.now(UTC)))
    for words, _ in steps:
        output.line(words)
    todo = [erase for _, erase in steps if erase is not None]
    if todo and not dry_run:
        if not yes:
            sending.confirm(f"Items to erase from, for good: {len(todo)}. Go on?", "--yes")
        for erase in todo:
            erase()
    if not steps:
        output.say(f"the ledger holds nothing of {name}")
    output.say("Overrides, logs, queues and dead letters are not looked at.")
    return NO if any(STAYS in words for words, _ in steps) else DONE


def _steps(deployment: Deployment, where: str, user_id: str, names: set[str], now: datetime) -> Iterator[Step]:
    """Yield what to do with each item of the user. Locks come first: they say whether other items are needed."""
    table = deployment.table
    items = {item["sk"]: item for item in table.query(where, "")}
    at = {"device": 1, "user": 1, "serial": 2, "asset": 2}  # where a key has the user's ID
    parts = {sk: sk.split("#") for sk in items}
    own = {sk for sk, (kind, *_) in parts.items() if kind in at and parts[sk][at[kind]] == user_id}
    own |= {sk for sk, (kind, *_) in parts.items() if kind == "name" and items[sk]["userId"] == user_id}
    found = {sk: (*items[sk]["devices"], *items[sk]["left"]) for sk, (kind, *_) in parts.items() if kind == "found"}
    own |= {sk for sk, devices in found.items() if user_id in {user for user, _ in devices}}
    own |= {f"locks#serial#{sk.split('#')[1]}" for sk in own if sk.startswith("serial#")} & items.keys()
    names |= {sk.removeprefix("name#") for sk in own if sk.startswith("name#")}
    user, oldest = load_user(items.get(f"user#{user_id}", {})), now - deployment.settings.limits.max_event_age
    busy = bool(user.live(now))

    def gone(sk: str) -> None:
        condition: dict[str, Any] = {}
        if "version" in items[sk]:
            read = {":read": {"N": str(items[sk]["version"])}}
            condition = {"ConditionExpression": "version = :read", "ExpressionAttributeValues": read}
        deployment.client("dynamodb").delete_item(
            TableName=table.name, Key={"pk": {"S": where}, "sk": {"S": sk}}, **condition
        )

    for sk in sorted(own, key=lambda sk: (not sk.startswith(("device#", "user#", "locks#")), sk)):
        device = device_key(where, sk) if sk.startswith("device#") else None
        if not sk.startswith(("device#", "user#", "locks#")):
            yield (f"{sk}: {STAYS}, a lock is live", None) if busy else (f"{sk}: deleted", partial(gone, sk))
            continue
        held = load_user(items[sk])
        record = DeviceRecord(held.claims, held.released, user=user if device else UserRecord())
        live, young = record.live(now), claims_to_keep(held.claims, record, "device", now, deployment.settings.rules)
        needed = bool(live) or (device is not None and _stands(deployment, device))
        busy = busy or needed
        if not (needed or young or any(at >= oldest for _, at in held.released.newest)):
            yield f"{sk}: deleted", partial(gone, sk)
            continue
        kept = held.claims if needed else young
        words = [claim if claim in live else replace(claim, reference="", note="") for claim in kept]
        changes: dict[str, Any] = {"claims": [dump_claim(claim) for claim in words], "version": held.version + 1}
        if device is not None and not needed:
            changes |= {"prior": None, "last": None, "names": {}}
        because = "its lock is live or stands" if needed else "copies of reports may come"
        yield f"{sk}: {STAYS} without old notes, {because}", partial(table.set, where, sk, changes, held.version)
    for sk in sorted(
        sk for sk, (kind, *_) in parts.items() if kind == "name" and user_id in items[sk].get("former", ())
    ):
        former = [user for user in items[sk]["former"] if user != user_id]
        yield f"{sk}: no longer says that it was theirs", partial(table.set, where, sk, {"former": former})
    since = now - OUTCOMES_KEPT + timedelta(days=1)
    about = (told for word in sorted(names) for told in deployment.ledger.timeline(since, now, word))
    for name, told in {told["detail"]["id"]: told for told in about}.items():
        yield f"outcome {name}: erased", partial(_tell, table, told, ERASED)
    for told in deployment.ledger.timeline(since, now, "sweep"):
        first = [row for row in told["detail"].get("first", ()) if row["userId"] != user_id]
        if len(first) < len(told["detail"].get("first", ())):
            yield f"sweep {told['detail']['eventId']}: erased", partial(_tell, table, told, {"first": first})


def _tell(table: LedgerTable, told: Told, erased: dict[str, Any]) -> None:
    """Write an announcement anew. A warning of the sweep is under its own ID, all else under its event's."""
    detail = told["detail"]
    event = detail["eventId"] if "result" in detail or "guard" in detail else detail["id"]
    changed = told | {"detail": detail | {name: value for name, value in erased.items() if name in detail}}
    table.set(f"event#{event}", detail["id"], {"told": changed, "words": words_of(changed)})


def _stands(deployment: Deployment, device: DeviceKey) -> bool:
    """Return whether an override of ours is in WorkMail. Its end needs what the ledger has of the device."""
    try:
        override = deployment.workmail.get(device).override
    except UnknownUserError:
        return False
    return override is not None and isinstance(override.read(deployment.settings.owner), Tag | Broken)
