"""The ledger's items: their keys, and records as attributes.

Attributes, claims and releases that a newer release wrote stay as they are. ``prior`` and ``last`` are written whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from device_lockout.values.dataclass_json import form
from device_lockout.values.device import DeviceKey
from device_lockout.values.outcome import RESULTS
from device_lockout.values.record import DeviceRecord, UserRecord
from device_lockout.values.wire import FORMAT, check_format

if TYPE_CHECKING:
    from device_lockout.values.device import DeviceName


def device_place(key: DeviceKey) -> tuple[str, str]:
    """Return the partition key and the sort key of a device's item."""
    return key.organization, f"device#{key.user_id}#{key.device}"


def device_key(organization: str, sk: str) -> DeviceKey:
    """Return the device of a sort key. The inverse of :func:`device_place`."""
    _, user_id, device = sk.split("#", 2)
    return DeviceKey(organization, user_id, device)


def name_prefix(name: DeviceName) -> str:
    """Return how the sort keys of a name's rows begin."""
    return f"{name.kind}#{name.value.casefold()}#"


def name_place(name: DeviceName, key: DeviceKey) -> tuple[str, str]:
    """Return the partition key and the sort key of a device's row under a name."""
    return key.organization, f"{name_prefix(name)}{key.user_id}#{key.device}"


def named_key(organization: str, sk: str) -> DeviceKey:
    """Return the device of a row's sort key. The inverse of :func:`name_place`."""
    _, _, user_id, device = sk.split("#", 3)
    return DeviceKey(organization, user_id, device)


def dump_record(record: DeviceRecord | UserRecord) -> dict[str, Any]:
    """Return a record as attributes, a device's without its user's record."""
    return {"format": FORMAT, **form(type(record)).write(record)}


def load_device(item: dict[str, Any]) -> DeviceRecord:
    """Return the record in a device's item. Its user's record is empty.

    An outcome that this release does not know is read as ``failed``: the command is decided anew.

    Raises:
        TransientError: A newer release wrote it, in a format of its own.
    """
    check_format(item, "the device's item in the ledger")
    last = item.get("last")
    if last and last["outcome"]["result"] not in RESULTS:
        item = {**item, "last": {**last, "outcome": {**last["outcome"], "result": "failed"}}}
    record: DeviceRecord = form(DeviceRecord).read(item)
    return record


def load_user(item: dict[str, Any]) -> UserRecord:
    """Return the record in a user's item. It is empty if the item is.

    Raises:
        TransientError: A newer release wrote it, in a format of its own.
    """
    check_format(item, "the user's item in the ledger")
    record: UserRecord = form(UserRecord).read(item)
    return record


def words_of(told: dict[str, Any]) -> list[str]:
    """Return the words by which people look for an announcement, case-folded: who, which device, which ticket."""
    detail = told["detail"]
    words = [detail.get(name) for name in ("eventId", "userId", "deviceId", "reference", "reporter")]
    words += (detail.get("user") or {}).values()
    words += detail.get("names", {}).values()
    words += (detail.get("lock") or {}).values()
    words += ["sweep"] if "guard" in detail else []
    words += [detail.get("severity")] if detail.get("page") else []
    return sorted({word.casefold() for word in words if word})
