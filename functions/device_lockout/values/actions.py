"""What an event can ask for: one table of actions, one of the contract's detail-types."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from device_lockout.values.record import Scope

Action = Literal["lock", "release", "lock-user", "release-user", "enroll", "retire"]

Permission = Literal["lock", "release", "inventory", "force"]
"""What a source may ask for. ``force`` lets its locks reach exempt users."""


class ActionRow(NamedTuple):
    """One action.

    Attributes:
        scope: Whether it is about one device or all devices of a user.
        permission: What its source must be allowed.
        schema: The file in ``schemas/in`` that an event's detail must satisfy.
        identified_by: The sets of expressions of which a mapped source needs one.
    """

    scope: Scope
    permission: Permission
    schema: str
    identified_by: tuple[tuple[str, ...], ...]


_DEVICE = (("user", "device"), ("serial_number",), ("asset_tag",))
_USER = (("user",),)

ACTIONS: Mapping[Action, ActionRow] = {
    "lock": ActionRow("device", "lock", "device-lost.json", _DEVICE),
    "release": ActionRow("device", "release", "device-recovered.json", _DEVICE),
    "lock-user": ActionRow("user", "lock", "user-compromised.json", _USER),
    "release-user": ActionRow("user", "release", "user-restored.json", _USER),
    "enroll": ActionRow("device", "inventory", "device-enrolled.json", (("user", "device"),)),
    "retire": ActionRow("device", "inventory", "device-retired.json", _DEVICE),
}


class DetailType(NamedTuple):
    """What a detail-type of the contract asks for. ``reason`` is a lock's, else empty."""

    action: Action
    schema: str
    reason: str = ""


DETAIL_TYPES: Mapping[str, DetailType] = {
    "Device Lost": DetailType("lock", "device-lost.json", "lost"),
    "Device Stolen": DetailType("lock", "device-stolen.json", "stolen"),
    "Device Compromised": DetailType("lock", "device-compromised.json", "compromised"),
    "Device Recovered": DetailType("release", "device-recovered.json"),
    "Device Enrolled": DetailType("enroll", "device-enrolled.json"),
    "Device Retired": DetailType("retire", "device-retired.json"),
    "User Compromised": DetailType("lock-user", "user-compromised.json", "compromised"),
    "User Offboarded": DetailType("lock-user", "user-offboarded.json", "offboarded"),
    "User Restored": DetailType("release-user", "user-restored.json"),
}
"""The contract, version 1."""
