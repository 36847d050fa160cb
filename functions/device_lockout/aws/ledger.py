"""The gateway to the ledger: a DynamoDB table with the wanted locks, and with how each event ended.

| pk | sk | holds |
|---|---|---|
| ``locks#SOURCE`` | hour | the IDs of the locks that the source asked for in that hour, for two hours |
| organization | ``locks#serial#NUMBER`` | the locks and releases by a serial number, for devices to come |
| organization | ``device#USER-ID#DEVICE`` | a device: claims, releases, prior override, last decision, names, version |
| organization | ``user#USER-ID`` | a user: claims and newest release for every device, version |
| organization | ``name#NAME`` | the user ID behind a name from a report, and whom earlier reports meant by it |
| organization | ``found#COMMAND-ID`` | the devices that the first look-up of a report's names found; expires |
| organization | ``serial#NUMBER#USER-ID#DEVICE`` | a device that has, or had, the serial number |
| organization | ``asset#TAG#USER-ID#DEVICE`` | the same for an asset tag |
| organization | ``sweep`` | when the last complete sweep began, and the ID of the table that it was over |
| organization | ``inventory`` | the last device that a sweep added to the inventory |
| ``event#EVENT-ID`` | outcome ID | how the event ended for one device, or a run of the sweep; expires |
| ``webhook#SENDER`` | signature | :mod:`device_lockout.aws.webhook_log`; expires |

User IDs are WorkMail's. Devices and names are case-folded.

The index ``timeline`` has the outcomes of a ``month`` in order of ``at``. No function reads it; the command line does.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from device_lockout.aws.ledger_items import (
    device_key,
    device_place,
    dump_record,
    load_device,
    load_user,
    name_place,
    name_prefix,
    named_key,
    words_of,
)
from device_lockout.aws.ledger_table import ConditionFailedError, LedgerTable
from device_lockout.values import instant
from device_lockout.values.device import DeviceKey, LookUp, Named, NamedDevice
from device_lockout.values.errors import TransientError
from device_lockout.values.record import LastSweep, UserRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

    from device_lockout.values.device import DeviceName, NameKind
    from device_lockout.values.record import DeviceRecord

OUTCOMES_KEPT = timedelta(days=400)

MOST_FOUND = 2_000  # Devices in one item, which has room for 400 KB.


class Ledger:
    """The ledger's items as values. Each method raises TransientError if DynamoDB fails."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._table = LedgerTable(client, table)

    # Devices and users.

    def open_device(self, key: DeviceKey) -> DeviceRecord:
        """Return a device's record without its user's. Create its item if it is missing."""
        return load_device(self._table.get_or_create(*device_place(key), {"version": 0}))

    def device(self, key: DeviceKey) -> DeviceRecord:
        """Return a device's record with its user's. Nothing is created."""
        return load_device(self._table.get(*device_place(key))).of_user(self.user(key.organization, key.user_id))

    def save_device(self, key: DeviceKey, record: DeviceRecord) -> None:
        """Write a device's item, but not its user's.

        Raises:
            TransientError: Its version changed since it was read.
        """
        self._save(*device_place(key), record)

    def user(self, organization: str, user_id: str) -> UserRecord:
        """Return a user's record, which is empty if there is no item."""
        return load_user(self._table.get(organization, f"user#{user_id}"))

    def save_user(self, organization: str, user_id: str, record: UserRecord) -> None:
        """Write a user's item.

        Raises:
            TransientError: Its version changed since it was read.
        """
        self._save(organization, f"user#{user_id}", record)

    def users(self, organization: str) -> dict[str, UserRecord]:
        """Return every user who was ever locked or released, by user ID."""
        items = self._table.query(organization, "user#")
        return {item["sk"].removeprefix("user#"): load_user(item) for item in items}

    def records(self, organization: str, users: Mapping[str, UserRecord]) -> dict[DeviceKey, DeviceRecord]:
        """Return every device that a sweep may have to do with. ``users`` are what :meth:`users` returned."""
        records: dict[DeviceKey, DeviceRecord] = {}
        for item in self._table.query(organization, "device#"):
            key = device_key(organization, item["sk"])
            user = users.get(key.user_id, UserRecord())
            record = load_device(item).of_user(user)
            if record.is_for_the_sweep:
                records[key] = record
        return records

    def remember_name(self, organization: str, name: str, named: Named) -> None:
        """Keep whom reports meant by ``name``. A release then finds the user even after deletion.

        Raises:
            TransientError: The name no longer meant ``named.before``: another command wrote it.
        """
        values: dict[str, Any] = {"userId": named.user}
        if named.since is not None:
            values |= {"former": list(named.former), "since": instant.write(named.since)}
        unchanged = "attribute_not_exists(#userId) OR #userId = :before OR #userId = :userId"
        self._table.set(organization, f"name#{name.casefold()}", values, condition=unchanged, before=named.before)

    def named(self, organization: str, name: str) -> Named:
        """Return whom earlier reports meant by ``name``."""
        item = self._table.get(organization, f"name#{name.casefold()}")
        since = instant.read(item["since"]) if "since" in item else None
        return Named(item.get("userId", ""), tuple(item.get("former", ())), since)

    # The inventory.

    def list_device(self, key: DeviceKey, happened: datetime, *, retired: bool) -> dict[NameKind, str] | None:
        """Put the device in the inventory, or mark it as retired. Return the names kept for it, by kind.

        Return None, and change nothing, if an event newer than ``happened`` spoke of the device.
        """
        values = {"retired": True} if retired else {"known": True, "retired": False}
        item = self._inventory(*device_place(key), values, happened)
        return None if item is None else dict(item.get("names", {}))

    def save_names(self, key: DeviceKey, names: Mapping[NameKind, str]) -> None:
        """Keep a device's names, by kind, with the device."""
        self._table.set(*device_place(key), {"names": dict(names)})

    def save_named(self, name: DeviceName, row: NamedDevice) -> None:
        """Write a device's row under a name, unless an event newer than ``row.heard`` wrote it."""
        values = {"former": row.former, "source": row.source}
        self._inventory(*name_place(name, row.key), values, row.heard)

    def locks_of(self, organization: str, name: DeviceName) -> UserRecord:
        """Return the locks and releases by a serial number, in the form of a user's."""
        return load_user(self._table.get(organization, self._locks(name)))

    def save_locks_of(self, organization: str, name: DeviceName, record: UserRecord) -> None:
        """Write the locks and releases by a serial number.

        Raises:
            TransientError: Their version changed since they were read.
        """
        self._save(organization, self._locks(name), record)

    def saw(self, key: DeviceKey) -> None:
        """Put a device with an override in the inventory. Nothing else about it changes."""
        self._table.set(*device_place(key), {"known": True})

    def devices_of(self, organization: str, user_id: str) -> Iterator[DeviceKey]:
        """Yield the user's devices, retired ones included, reading page by page.

        A device that left management may still have its mail.
        """
        for item in self._table.query(organization, f"device#{user_id}#"):
            yield device_key(organization, item["sk"])

    def devices_named(self, organization: str, name: DeviceName) -> list[NamedDevice]:
        """Return all devices that the inventory ever had under ``name``."""
        return [
            NamedDevice(
                named_key(organization, item["sk"]),
                former=bool(item["former"]),
                heard=instant.read(item["inventoried"]),
                source=item.get("source", ""),
            )
            for item in self._table.query(organization, name_prefix(name))
        ]

    def keep_found(self, organization: str, command: str, found: LookUp, expires: datetime) -> LookUp:
        """Keep what a look-up found, up to two thousand devices. Return what is kept: what the first one found."""
        if len(found.keys) + len(found.left) > MOST_FOUND:
            return found
        devices, left = ([[key.user_id, key.device] for key in keys] for keys in (found.keys, found.left))
        item = {"devices": devices, "left": left, "expires": int(expires.timestamp())}
        try:
            self._table.put(organization, f"found#{command}", item, "attribute_not_exists(pk)")
        except ConditionFailedError as error:
            return _found(organization, error.item)
        return found

    def found(self, organization: str, command: str) -> LookUp | None:
        """Return what the first look-up for a command found, or None before it."""
        item = self._table.get(organization, f"found#{command}")
        return _found(organization, item) if item else None

    # Floods.

    def count_lock(self, source: str, hour: datetime, lock: str, most: int) -> bool:
        """Count a lock of a source in the hour that began then, once. Return False if there are ``most`` others."""
        expires = int((hour + timedelta(hours=2)).timestamp())
        return self._table.add_member(f"locks#{source}", instant.write(hour), lock[:16], most, expires=expires)

    # Outcomes.

    def record_outcome(self, event_id: str, outcome_id: str, told: dict[str, Any], now: datetime) -> dict[str, Any]:
        """Record an outcome's announcement. Return what is recorded under this ID.

        What was recorded first stays, except a failure that got better, or a lock that was held.
        """
        result = told["detail"].get("result")
        failed, held = result == "failed", result == "held"
        expires = int((now + OUTCOMES_KEPT).timestamp())
        item = {"told": told, "failed": failed, "held": held, "expires": expires}
        if "detailType" in told:  # else it is a mark, which no event announced
            item |= {"month": f"{now:%Y-%m}", "at": f"{instant.write(now)} {outcome_id}", "words": words_of(told)}
        replaced = [] if held else ["held = :yes"] if failed else ["held = :yes", "failed = :yes"]
        condition, compared = " OR ".join(["attribute_not_exists(pk)", *replaced]), {"yes": True} if replaced else {}
        try:
            self._table.put(f"event#{event_id}", outcome_id, item, condition, **compared)
        except ConditionFailedError as error:
            first: dict[str, Any] = error.item["told"]
            return first
        return told

    def outcome(self, event_id: str, outcome_id: str) -> dict[str, Any] | None:
        """Return what was announced under an outcome's ID, or None if nothing was recorded."""
        item = self._table.get(f"event#{event_id}", outcome_id)
        return dict(item["told"]) if item else None

    def outcomes_of(self, event_id: str) -> list[dict[str, Any]]:
        """Return all that was announced of an event, one for each device."""
        return [dict(item["told"]) for item in self._table.query(f"event#{event_id}", "")]

    def timeline(
        self, since: datetime, until: datetime, word: str = "", *, newest_first: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield what was recorded from ``since`` on and before ``until``, in order. It may lag behind by a second.

        With a ``word`` it is only what has it: a ticket, a user's ID, name or address, a device ID, a lock or an event.
        """
        if since > until:  # DynamoDB refuses such a question
            return
        months = [f"{since:%Y-%m}"]
        while months[-1] < f"{until:%Y-%m}":
            year, number = map(int, months[-1].split("-"))
            months.append(f"{year + number // 12}-{number % 12 + 1:02}")
        between = (instant.write(since), instant.write(until))
        for month in reversed(months) if newest_first else months:
            for item in self._table.timeline(month, between, word.casefold(), newest_first=newest_first):
                yield dict(item["told"])

    # The sweep's marks.

    def last_sweep(self, organization: str) -> LastSweep | None:
        """Return the organization's last complete sweep, or None if there was none."""
        item = self._table.get(organization, "sweep")
        return LastSweep(instant.read(item["completed"]), item["table"] == self._table.id) if item else None

    def save_sweep(self, organization: str, completed: datetime) -> None:
        self._table.set(organization, "sweep", {"completed": instant.write(completed), "table": self._table.id})

    def inventoried_up_to(self, organization: str) -> DeviceKey:
        """Return the last device that a sweep added to the inventory. User ID and device are empty before the first."""
        item = self._table.get(organization, "inventory")
        return DeviceKey(organization, item.get("userId", ""), item.get("device", ""))

    def save_inventoried(self, key: DeviceKey) -> None:
        self._table.set(key.organization, "inventory", {"userId": key.user_id, "device": key.device})

    @staticmethod
    def _locks(name: DeviceName) -> str:
        return f"locks#{name.kind}#{name.value.casefold()}"

    def _save(self, pk: str, sk: str, record: DeviceRecord | UserRecord) -> None:
        """Write an item if its version is still the record's, and raise the version by one."""
        values = dump_record(replace(record, version=record.version + 1))
        try:
            self._table.set(pk, sk, values, if_version=record.version)
        except ConditionFailedError as error:
            raise TransientError(f"{sk} was changed in the ledger since it was read") from error

    def _inventory(self, pk: str, sk: str, values: dict[str, Any], happened: datetime) -> dict[str, Any] | None:
        """Write what an inventory event says. Return the item, or None if a newer event wrote it."""
        return self._table.set_unless_later(
            pk, sk, values | {"inventoried": instant.write(happened)}, clock="inventoried"
        )


def _found(organization: str, item: dict[str, Any]) -> LookUp:
    keys, left = (tuple(DeviceKey(organization, *device) for device in item[name]) for name in ("devices", "left"))
    return LookUp(keys, left)
