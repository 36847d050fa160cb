"""Devices and users: their keys and their other names."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Self


class _Key(NamedTuple):
    organization: str
    user_id: str
    device: str


class DeviceKey(_Key):
    """The device of one user, as WorkMail and the ledger identify it.

    WorkMail ignores the case of a device ID, so the key case-folds it.
    https://docs.aws.amazon.com/workmail/latest/APIReference/API_PutMobileDeviceAccessOverride.html

    >>> DeviceKey("m-1", "b0b", "ABC123")
    DeviceKey(organization='m-1', user_id='b0b', device='abc123')

    Attributes:
        organization: WorkMail's organization ID.
        user_id: WorkMail's user ID.
        device: The ActiveSync device ID, case-folded.
    """

    __slots__ = ()

    def __new__(cls, organization: str, user_id: str, device: str) -> Self:
        return super().__new__(cls, organization, user_id, device.casefold())


NameKind = Literal["serial", "asset"]  # A serial number or an asset tag.


@dataclass(frozen=True, slots=True)
class DeviceName:
    """A name by which the inventory knows devices. Its value is compared case-folded."""

    kind: NameKind
    value: str


@dataclass(frozen=True, slots=True)
class NamedDevice:
    """A device that the inventory has, or had, under a name."""

    key: DeviceKey
    former: bool  # Whether the device was retired, or got another name of that kind since.
    heard: datetime  # When the event behind the row happened.


@dataclass(frozen=True, slots=True)
class User:
    """A WorkMail user: the ID, and every known name."""

    id: str  # WorkMail's user ID.
    names: frozenset[str] = frozenset()  # Every known name, case-folded.
    name: str = ""  # The user name; empty if it was not looked up.
    email: str = ""  # The e-mail address; empty if there is none, or it was not looked up.
