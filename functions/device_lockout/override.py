"""One mobile device access override, as it stands in WorkMail."""

from dataclasses import dataclass
from typing import Literal

from device_lockout import tag

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
    """An override in a listing: whose it is, by WorkMail's user ID, and for which device, case-folded."""

    user_id: str
    device: str
    override: Override
