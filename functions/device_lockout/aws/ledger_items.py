"""The ledger's items: their keys, and records as attributes.

Attributes, claims and releases that a newer release wrote stay as they are. ``prior`` and ``last`` are written whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from device_lockout.values import instant
from device_lockout.values.device import DeviceKey
from device_lockout.values.outcome import RESULTS, Outcome
from device_lockout.values.record import DeviceRecord, Last, Released, UserRecord
from device_lockout.values.tag import read_time, write_time
from device_lockout.values.wire import (
    FORMAT,
    check_format,
    dump_claim,
    dump_ending,
    load_claim,
    load_ending,
    load_override,
)

if TYPE_CHECKING:
    from device_lockout.values.device import DeviceName
    from device_lockout.values.override import Override


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


def dump_device(record: DeviceRecord) -> dict[str, Any]:
    """Return a device's record as attributes, without its version and its user's record."""
    return {
        "format": FORMAT,
        "claims": [dump_claim(claim) for claim in record.claims],
        "released": _dump_released(record.released),
        "prior": record.prior.fields() if record.prior else None,
        "last": _dump_last(record.last) if record.last else None,
        "putBack": [instant.write(time) for time in record.put_back],
        "known": record.known,
    }


def load_device(item: dict[str, Any]) -> DeviceRecord:
    """Return the record in a device's item. Its user's record is empty.

    Raises:
        TransientError: A newer release wrote it, in a format of its own.
    """
    check_format(item, "the device's item in the ledger")
    last = item.get("last")
    return DeviceRecord(
        claims=tuple(load_claim(fields) for fields in item.get("claims", ())),
        released=_load_released(item),
        prior=_load_override(item.get("prior")),
        last=_load_last(last) if last else None,
        put_back=tuple(instant.read(time) for time in item.get("putBack", ())),
        known=bool(item.get("known")),
        version=int(item.get("version", 0)),
    )


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


def dump_user(record: UserRecord) -> dict[str, Any]:
    """Return a user's record as attributes, without its version."""
    return {
        "format": FORMAT,
        "claims": [dump_claim(claim) for claim in record.claims],
        "released": _dump_released(record.released),
    }


def load_user(item: dict[str, Any]) -> UserRecord:
    """Return the record in a user's item. It is empty if the item is.

    Raises:
        TransientError: A newer release wrote it, in a format of its own.
    """
    check_format(item, "the user's item in the ledger")
    return UserRecord(
        claims=tuple(load_claim(fields) for fields in item.get("claims", ())),
        released=_load_released(item),
        version=int(item.get("version", 0)),
    )


def _dump_released(released: Released) -> list[dict[str, Any]]:
    return [dump_ending(ending) | {"at": instant.write(at)} for ending, at in released.newest]


def _load_released(item: dict[str, Any]) -> Released:
    return Released(tuple((load_ending(fields), instant.read(fields["at"])) for fields in item.get("released", ())))


def _dump_last(last: Last) -> dict[str, Any]:
    outcome = last.outcome
    return {
        "command": last.command,
        "eventId": last.event_id,
        "decidedAt": instant.write(last.decided_at),
        "outcome": {
            "result": outcome.result,
            "because": outcome.because,
            "why": outcome.why,
            "until": write_time(outcome.until) if outcome.until else None,
            "reference": outcome.reference,
            "before": outcome.before.fields() if outcome.before else None,
            "after": outcome.after.fields() if outcome.after else None,
            "page": outcome.page,
            "verified": outcome.verified,
        },
    }


def _load_last(fields: dict[str, Any]) -> Last:
    outcome = fields["outcome"]
    return Last(
        command=fields["command"],
        event_id=fields["eventId"],
        decided_at=instant.read(fields["decidedAt"]),
        outcome=Outcome(
            result=outcome["result"] if outcome["result"] in RESULTS else "failed",  # a newer release's: decide anew
            because=outcome["because"],
            why=outcome["why"],
            until=read_time(outcome["until"]) if outcome["until"] else None,
            reference=outcome["reference"],
            before=_load_override(outcome["before"]),
            after=_load_override(outcome["after"]),
            page=outcome["page"],
            verified=outcome["verified"],
        ),
    )


def _load_override(fields: dict[str, Any] | None) -> Override | None:
    return None if fields is None else load_override(fields)
