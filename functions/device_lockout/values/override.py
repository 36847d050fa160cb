"""WorkMail's mobile device access overrides, as values."""

from datetime import UTC, datetime
from typing import Literal

from device_lockout.values import tag
from device_lockout.values.device import DeviceKey
from device_lockout.values.lean_dataclass import dataclass

Effect = Literal["ALLOW", "DENY"]

UNREADABLE_DATE = datetime.min.replace(tzinfo=UTC)
"""Stands for a service's date that can't be read: no clock agrees with it."""


@dataclass(frozen=True, slots=True)
class Override:
    """WorkMail's answer for one user's device."""

    effect: Effect  # ``ALLOW`` or ``DENY``.
    description: str | None = None  # At most 256 characters; None if it has none.

    def fields(self) -> dict[str, str | None]:
        """Return plain fields, as outcomes and the ledger have them."""
        return {"effect": self.effect, "description": self.description}

    def read(self, owner: str) -> tag.Reading:
        """Return what the description says to the deployment called ``owner``."""
        return tag.read(self.description, owner)


@dataclass(frozen=True, slots=True)
class ListedOverride:
    """One row of a listing: an override and its device."""

    key: DeviceKey
    override: Override


@dataclass(frozen=True, slots=True)
class Observation:
    """An override as one call read it."""

    override: Override | None  # The override; None if there is none.
    date: datetime  # WorkMail's clock at that time, in whole seconds.
