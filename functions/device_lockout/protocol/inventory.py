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


def enroll(command: Enroll, key: DeviceKey, ledger: LedgerPort) -> bool:
    """Put a device in the inventory under the target's names. A replaced name becomes former.

    Return False if a newer event spoke of it.
    """
    happened, names = command.cause.happened, command.target.names
    kept = ledger.list_device(key, happened, retired=False)
    if kept is None:
        return False
    for name in names:
        before = kept.get(name.kind, name.value)
        if before.casefold() != name.value.casefold():
            ledger.save_named(DeviceName(name.kind, before), NamedDevice(key, former=True, heard=happened))
        ledger.save_named(name, NamedDevice(key, former=False, heard=happened))
    if names:
        ledger.save_names(key, kept | {name.kind: name.value for name in names})
    return True


def retire(command: Retire, key: DeviceKey, ledger: LedgerPort) -> bool:
    """Mark a device as retired, under its names too. Nothing is deleted. Return False as :func:`enroll` does."""
    kept = ledger.list_device(key, command.cause.happened, retired=True)
    if kept is None:
        return False
    for kind, value in kept.items():
        ledger.save_named(DeviceName(kind, value), NamedDevice(key, former=True, heard=command.cause.happened))
    return True


def locked_rows(names: Sequence[DeviceName], found: Sequence[NamedDevice]) -> list[NamedDevice]:
    """Return which of the rows ``found`` under all ``names`` a lock reaches. The others had an asset tag once."""
    return [row for row in found if not row.former or any(name.kind == "serial" for name in names)]
