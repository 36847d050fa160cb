"""Who has a serial number or an asset tag: pure decisions over the inventory's rows.

The inventory keeps one row for each (name, user, device). Of two enrolments under one name the later one has it, in
any order of arrival. An enrolment writes its own row and then reads the others', so two at the same time agree.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
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


def outlived_rows(key: DeviceKey, happened: datetime, rows: Iterable[NamedDevice]) -> Iterator[NamedDevice]:
    """Yield the rows that lose a name, given all ``rows`` under it, after ``key`` was enrolled at ``happened``.

    One user's name belongs to the device that was enrolled last. Ties go to the greater device ID.
    """
    mine = NamedDevice(key, former=False, heard=happened)
    for other in rows:
        if other.key.user_id == key.user_id and other.key != key and not other.former:
            older, newer = sorted((mine, other), key=lambda row: (row.heard, row.key.device))
            yield replace(older, former=True, heard=newer.heard)
