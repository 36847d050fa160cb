"""Devices and users: their keys and their other names."""

from dataclasses import replace
from datetime import datetime
from typing import Literal, NamedTuple, Self

from device_lockout.values.lean_dataclass import dataclass


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
    source: str = ""  # The ``source`` of that event.


@dataclass(frozen=True, slots=True)
class LookUp:
    """What the first look-up of a report's serial number or asset tag found."""

    keys: tuple[DeviceKey, ...]
    left: tuple[DeviceKey, ...] = ()  # Those that had the asset tag once and stay as they are.


@dataclass(frozen=True, slots=True)
class Named:
    """Whom reports meant by a name."""

    user: str = ""  # The user ID that the newest one meant; empty for none yet.
    former: tuple[str, ...] = ()  # Those that earlier ones meant, the newest first.
    since: datetime | None = None  # When the name was first seen to mean ``user``; None if nobody had it before.

    @property
    def all(self) -> tuple[str, ...]:
        """Everybody, the newest first."""
        return (*filter(None, (self.user,)), *self.former)

    @property
    def before(self) -> str:
        """Whom the name meant last before ``user``; empty for nobody."""
        return next(iter(self.former), "")

    def at(self, time: datetime) -> tuple[str, ...]:
        """Return whom a report of that time may have meant, the newest first."""
        return self.all if self.since is not None and time <= self.since else self.all[:1]

    def passed_to(self, user: str, now: datetime) -> Self:
        """Return the same once the name is seen to mean another user."""
        former = tuple(other for other in self.all if other != user)
        return replace(self, user=user, former=former, since=now if former else None)


@dataclass(frozen=True, slots=True)
class User:
    """A WorkMail user: the ID, and every known name."""

    id: str  # WorkMail's user ID.
    names: frozenset[str] = frozenset()  # Every known name, case-folded.
    name: str = ""  # The user name; empty if it was not looked up.
    email: str = ""  # The e-mail address; empty if there is none, or it was not looked up.
