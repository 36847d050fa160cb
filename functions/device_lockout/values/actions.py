"""What events ask for: a table of actions, and a table of the contract's detail-types."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from device_lockout.values.record import Scope

Action = Literal["lock", "release", "change", "lock-user", "release-user", "change-user", "enroll", "retire"]

Permission = Literal["lock", "release", "inventory", "force"]
"""What a source may ask for. With ``force`` its locks reach exempt users, too."""


class ActionRow(NamedTuple):
    """A row of :data:`ACTIONS`."""

    scope: Scope  # Whether it concerns one device or all devices of a user.
    permission: Permission  # What its source must be allowed to ask for.
    schema: str  # The file in ``schemas/in`` that an event's detail must satisfy.
    identified_by: tuple[tuple[str, ...], ...]  # Sets of expressions. A mapped source must have all of one set.


_DEVICE = (("user", "device"), ("serial_number",), ("asset_tag",))
_USER = (("user",),)
_CHANGED = tuple((*names, "expires_at") for names in _DEVICE)

ACTIONS: Mapping[Action, ActionRow] = {
    "lock": ActionRow("device", "lock", "device-lost.json", _DEVICE),
    "release": ActionRow("device", "release", "device-recovered.json", _DEVICE),
    "change": ActionRow("device", "release", "lock-changed.json", _CHANGED),
    "lock-user": ActionRow("user", "lock", "user-compromised.json", _USER),
    "release-user": ActionRow("user", "release", "user-restored.json", _USER),
    "change-user": ActionRow("user", "release", "user-lock-changed.json", (("user", "expires_at"),)),
    "enroll": ActionRow("device", "inventory", "device-enrolled.json", (("user", "device"),)),
    "retire": ActionRow("device", "inventory", "device-retired.json", _DEVICE),
}


class DetailType(NamedTuple):
    """A row of :data:`DETAIL_TYPES`."""

    action: Action  # What an event of this detail-type asks for.
    schema: str  # The file in ``schemas/in`` that its detail must satisfy.
    reason: str = ""  # The reason of a lock, else empty.


DETAIL_TYPES: Mapping[str, DetailType] = {
    "Device Lost": DetailType("lock", "device-lost.json", "lost"),
    "Device Stolen": DetailType("lock", "device-stolen.json", "stolen"),
    "Device Compromised": DetailType("lock", "device-compromised.json", "compromised"),
    "Device Recovered": DetailType("release", "device-recovered.json"),
    "Lock Changed": DetailType("change", "lock-changed.json"),
    "Device Enrolled": DetailType("enroll", "device-enrolled.json"),
    "Device Retired": DetailType("retire", "device-retired.json"),
    "User Compromised": DetailType("lock-user", "user-compromised.json", "compromised"),
    "User Offboarded": DetailType("lock-user", "user-offboarded.json", "offboarded"),
    "User Restored": DetailType("release-user", "user-restored.json"),
    "User Lock Changed": DetailType("change-user", "user-lock-changed.json"),
}
"""The contract, version 1: what an event of each detail-type asks for."""
