"""Enrolments and retirements, carried out on the ledger."""

from device_lockout.decisions.inventory import rows_of_enrolment, rows_of_retirement
from device_lockout.protocol.ports import LedgerPort
from device_lockout.values.command import Enroll, Retire
from device_lockout.values.device import DeviceKey


def enroll(command: Enroll, key: DeviceKey, ledger: LedgerPort) -> bool:
    """Put a device in the inventory under the target's names. Return False if a newer event spoke of it."""
    happened, names = command.cause.happened, command.target.names
    kept = ledger.list_device(key, happened, retired=False)
    if kept is None:
        return False
    for name, row in rows_of_enrolment(key, names, kept, happened):
        ledger.save_named(name, row)
    if names:
        ledger.save_names(key, kept | {name.kind: name.value for name in names})
    return True


def retire(command: Retire, key: DeviceKey, ledger: LedgerPort) -> bool:
    """Mark a device as retired, under its names too. Nothing is deleted. Return False as :func:`enroll` does."""
    kept = ledger.list_device(key, command.cause.happened, retired=True)
    if kept is None:
        return False
    for name, row in rows_of_retirement(key, kept, command.cause.happened):
        ledger.save_named(name, row)
    return True
