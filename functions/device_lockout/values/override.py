"""One mobile device access override, as it stands in WorkMail."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from device_lockout.values import tag
from device_lockout.values.device import DeviceKey

Effect = Literal["ALLOW", "DENY"]


@dataclass(frozen=True, slots=True)
class Override:
    """What WorkMail does with one user's device: ``ALLOW`` or ``DENY``, and the description, None when it has none."""

    effect: Effect
    description: str | None = None

    def fields(self) -> dict[str, str | None]:
        """This override as plain fields, in outcomes and in the ledger alike."""
        return {"effect": self.effect, "description": self.description}

    def read(self, owner: str) -> tag.Reading:
        """What the description says, to the deployment called ``owner``."""
        return tag.read(self.description, owner)


@dataclass(frozen=True, slots=True)
class ListedOverride:
    """An override as a listing shows it, with the device that it is for."""

    key: DeviceKey
    override: Override


@dataclass(frozen=True, slots=True)
class Observation:
    """An override as one call read it (None if there is none), and the service's clock then, to the second."""

    override: Override | None
    date: datetime
