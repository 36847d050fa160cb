"""Who has a serial number or an asset tag: pure decisions over the inventory's rows.

The inventory keeps one row for each (name, user, device).

A serial number is a piece of hardware. Two mail clients on one phone are two devices under it. A lock reaches every
device that ever had it, retired ones too: a lock too many is undone by a report, a stolen phone left open is not.

An asset tag is a label that moves from phone to phone. A lock reaches the devices that have it now, and people hear of
those that had it. A device has a name until it is retired or enrolled under another name of that kind.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from device_lockout.values.device import DeviceKey, DeviceName, NamedDevice, NameKind


def rows_of_enrolment(
    key: DeviceKey, names: Iterable[DeviceName], kept: Mapping[NameKind, str], happened: datetime
) -> Iterator[tuple[DeviceName, NamedDevice]]:
    """Yield the rows that an enrolment of ``key`` under ``names`` writes, before it reads other devices' rows.

    ``kept`` are the names the device had before, by kind. A replaced one becomes former.
    """
    for name in names:
        before = kept.get(name.kind, name.value)
        if before.casefold() != name.value.casefold():
            yield DeviceName(name.kind, before), NamedDevice(key, former=True, heard=happened)
        yield name, NamedDevice(key, former=False, heard=happened)


def rows_of_retirement(
    key: DeviceKey, kept: Mapping[NameKind, str], happened: datetime
) -> Iterator[tuple[DeviceName, NamedDevice]]:
    """Yield the rows that the retirement of ``key`` writes: the device is former under each of its names."""
    for kind, value in kept.items():
        yield DeviceName(kind, value), NamedDevice(key, former=True, heard=happened)


def locked_rows(names: Sequence[DeviceName], found: Sequence[NamedDevice]) -> list[NamedDevice]:
    """Return which of the rows ``found`` under all ``names`` a lock reaches. The others had an asset tag once."""
    return [row for row in found if not row.former or any(name.kind == "serial" for name in names)]
