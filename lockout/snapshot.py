"""Read all that WorkMail and the ledger know of an organization, or fail. The export and the hand-over need it.

The list is read before the ledger, so a lock that is set meanwhile is there as wanted. The operator needs the
permissions `workmail:ListMobileDeviceAccessOverrides`, `workmail:ListUsers` and, on the ledger, `dynamodb:Query`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from device_lockout.aws.ledger_items import device_key, load_device
from device_lockout.decisions.decision import DESCRIPTION_LOST
from device_lockout.values.device import DeviceKey
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, DeviceRecord, UserRecord
from device_lockout.values.tag import Broken, HandWritten, Reading, Tag
from lockout.deployment import Deployment

PAGE_SIZE = 100
"""The most rows of one page (https://docs.aws.amazon.com/workmail/latest/APIReference/API_ListUsers.html)."""

_LOST = Override("ALLOW", DESCRIPTION_LOST)


@dataclass(frozen=True, slots=True)
class Device:
    """A device with an override, with a lock, or in the inventory."""

    key: DeviceKey
    observed: Override | None  # Its override; None for none.
    reading: Reading | None  # What the override's description says; None for no override.
    record: DeviceRecord  # The ledger's record with its user's, and with what our tag says.
    wanted: Claim | None  # The lock that is wanted; None for none.
    item: Mapping[str, Any]  # The ledger's item; empty for none.

    @property
    def kind(self) -> str:
        """Whose the override is, in the words of ``docs/concepts.md``."""
        return {Tag: "ours", HandWritten: "hand-written", Broken: "broken"}.get(type(self.reading), "foreign")

    @property
    def denied(self) -> bool:
        """Whether a ``DENY`` stands, whosever it is."""
        return self.observed is not None and self.observed.effect == "DENY"

    @property
    def blocked(self) -> bool:
        return self.denied or self.wanted is not None

    @property
    def lock(self) -> Claim | None:
        """The lock that the tag shows; else the wanted one."""
        match self.reading:
            case Tag() as tag:
                shown = self.record.shown_by(tag)
            case Broken(id=id_):
                shown = tuple(claim for claim in self.record.all_claims() if claim.id == id_)
            case _:
                shown = ()
        return max(shown, key=lambda claim: claim.rank, default=self.wanted)

    @property
    def covered(self) -> Override | None:
        """The ``ALLOW`` that comes back when the lock ends; None for none. The rules are the write table's."""
        prior = self.record.prior
        match self.reading:
            case Tag(was=was):
                return (prior or _LOST) if was == "allow" else None
            case Broken(was=was) if self.denied:  # what it covers may have gone with the tag
                ours = self.wanted is not None or self.record.knows(self.reading)
                return (prior or (_LOST if was == "allow" else None)) if ours else None
            case _:
                return self.observed if self.wanted is not None and not self.denied else None

    def end(self, now: datetime) -> datetime | None:
        """Return when the sweep would let the device in; None if nothing says so."""
        match self.reading:
            case Tag(until=until) if self.denied:
                return self.wanted.until if self.wanted else min(until, now)
            case HandWritten(until=until) if self.denied:
                return max(until, self.wanted.until) if self.wanted else until
            case _:
                return self.wanted.until if self.wanted and not self.denied else None


@dataclass(frozen=True, slots=True)
class Everything:
    """One organization."""

    users: Mapping[str, Any]  # WorkMail's answer about each user, by ID. Deleted users may be missing.
    locks: Mapping[str, UserRecord]  # The ledger's record of each user who was ever locked or released, by ID.
    names: Mapping[str, tuple[str, ...]]  # The names that reports gave a user, by ID.
    devices: tuple[Device, ...]  # Those with an override in WorkMail's order, then those that only the ledger knows.

    def user_locks(self, now: datetime) -> Iterator[tuple[str, Claim]]:
        """Yield the live locks of all devices of a user, with the user's ID."""
        for user_id, locks in self.locks.items():
            for claim in locks.live(now):
                yield user_id, claim


def read(deployment: Deployment, organization: str, now: datetime) -> Everything:
    """Return everything about an organization. An error of any read, and a device that is listed twice, is raised."""
    rules = deployment.settings.rules
    listed: dict[DeviceKey, Override] = {}
    for page, _ in deployment.workmail.pages(organization):
        for each in page:
            if each.key in listed:
                raise ValueError(f"WorkMail listed device {each.key.device} of {each.key.user_id} twice: try again")
            listed[each.key] = each.override
    asked = {"OrganizationId": organization, "PaginationConfig": {"PageSize": PAGE_SIZE}}
    users = {user["Id"]: user for user in deployment.listed("workmail", "list_users", "Users", **asked)}

    locks = deployment.ledger.users(organization)
    known = {device_key(organization, item["sk"]): item for item in deployment.table.query(organization, "device#")}
    names: dict[str, tuple[str, ...]] = {}
    for item in deployment.table.query(organization, "name#"):
        names[item["userId"]] = (*names.get(item["userId"], ()), item["sk"].removeprefix("name#"))

    def device(key: DeviceKey) -> Device:
        observed, item = listed.get(key), known.get(key, {})
        reading = observed.read(rules.owner) if observed else None
        record = load_device(item).of_user(locks.get(key.user_id, UserRecord()))
        if observed and isinstance(reading, Tag):
            record = record.adopt(observed, reading, now, rules)
        return Device(key, observed, reading, record, record.wanted(now), item)

    return Everything(users, locks, names, tuple(map(device, {**listed, **known})))
