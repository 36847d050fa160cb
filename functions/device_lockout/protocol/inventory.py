"""The inventory: who has a serial number or an asset tag. Enrolments and retirements change it in the ledger.

It keeps one row for each (name, user, device).

A serial number is a piece of hardware. Two mail clients on one phone are two devices under it. A lock reaches every
device that ever had it, retired ones too: a lock too many is undone by a report, a stolen phone left open is not.

An asset tag is a label that moves from phone to phone. A lock reaches the devices that have it now, and people hear of
those that had it. A device has a name until it is retired or enrolled under another name of that kind.
"""

from collections.abc import Sequence

from device_lockout.protocol.ports import LedgerPort
from device_lockout.values.command import Enroll, Retire
from device_lockout.values.device import DeviceKey, DeviceName, NamedDevice
from device_lockout.values.errors import RejectedError

MOST_DEVICES = 50
"""How many devices a source may have under one name. One lock by the name denies them all, in one delivery."""


def enroll(command: Enroll, key: DeviceKey, ledger: LedgerPort) -> bool:
    """Put a device in the inventory under the target's names. A replaced name becomes former.

    Return False if a newer event spoke of it.

    Raises:
        RejectedError: Its source has as many devices under a name as it may.
    """
    cause, names = command.cause, command.target.names
    happened, source = cause.happened, cause.source
    for name in names:
        others = [row for row in ledger.devices_named(key.organization, name) if row.key != key]
        if sum(row.source == source for row in others) >= MOST_DEVICES:
            said = f"{source} has {MOST_DEVICES} other devices under {name.kind} {name.value}"
            raise RejectedError(f"{said}: find out who sends them")
    kept = ledger.list_device(key, happened, retired=False)
    if kept is None:
        return False
    for name in names:
        before = kept.get(name.kind, name.value)
        if before.casefold() != name.value.casefold():
            ledger.save_named(DeviceName(name.kind, before), NamedDevice(key, True, happened, source))
        ledger.save_named(name, NamedDevice(key, False, happened, source))
    if names:
        ledger.save_names(key, kept | {name.kind: name.value for name in names})
    return True


def retire(command: Retire, key: DeviceKey, ledger: LedgerPort) -> bool:
    """Mark a device as retired, under its names too. Nothing is deleted. Return False as :func:`enroll` does."""
    cause = command.cause
    kept = ledger.list_device(key, cause.happened, retired=True)
    if kept is None:
        return False
    for kind, value in kept.items():
        ledger.save_named(DeviceName(kind, value), NamedDevice(key, True, cause.happened, cause.source))
    return True


def locked_rows(names: Sequence[DeviceName], found: Sequence[NamedDevice]) -> list[NamedDevice]:
    """Return which of the rows ``found`` under all ``names`` a lock reaches. The others had an asset tag once."""
    return [row for row in found if not row.former or any(name.kind == "serial" for name in names)]
