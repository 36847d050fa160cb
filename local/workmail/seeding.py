"""Fill the state from JSON in the API's member names.

A seed has this shape; a member with `?` may be missing:

    {"organizations": [{"OrganizationId", "Alias", "State"?, "DefaultMailDomain"?, "DirectoryId"?, "CompletedDate"?,
                        "Rules"?: [as ListMobileDeviceAccessRules answers them]}],
     "users":         [{"OrganizationId"?, "UserId"?, "Name", "Email"?, "DisplayName"?, "State"?, "UserRole"?,
                        "Aliases"?, "EnabledDate"?, "DisabledDate"?, "IdentityProviderUserId"?}],
     "overrides":     [{"OrganizationId"?, "UserId", "DeviceId", "Effect", "Description"?,
                        "DateCreated"?, "DateModified"?}]}

If anything in a seed is wrong, it changes nothing.

- OrganizationId is optional if there is one organization.
- A row of a known organization or user changes only the members that it has.
  `{"users": [{"Name": "ana", "State": "DELETED"}]}` deletes ana.
- A new user without UserId gets one that is derived from the name.
- A row of a known override replaces it.
- A date is ISO 8601 with an offset, or seconds since 1970. The default is now.
"""

import asyncio
import json
import math
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import resources
from typing import Any

from local.workmail.errors import ControlError
from local.workmail.operations import WorkMail, seconds
from local.workmail.organizations import CONDITIONS, Organization, Rule, User
from local.workmail.overrides import Key, Override
from local.workmail.shapes import Check, member_check

type Json = dict[str, Any]

_PROBLEMS_SHOWN = 20
_ROWS_AT_ONCE = 5_000
_YEAR_10000 = 253_402_300_800

_ORGANIZATION_ID = {"OrganizationId": member_check("DescribeOrganizationResponse", "OrganizationId")}
_ORGANIZATION_CHECKS = {
    name: member_check("DescribeOrganizationResponse", name)
    for name in ("Alias", "State", "DirectoryId", "DefaultMailDomain", "CompletedDate")
} | {**_ORGANIZATION_ID, "Rules": member_check("ListMobileDeviceAccessRulesResponse", "Rules")}
_USER_CHECKS = _ORGANIZATION_ID | {
    name: member_check("DescribeUserResponse", name)
    for name in (
        "UserId",
        "Name",
        "Email",
        "DisplayName",
        "State",
        "UserRole",
        "EnabledDate",
        "DisabledDate",
        "IdentityProviderUserId",
    )
}
_OVERRIDE_CHECKS = (
    _ORGANIZATION_ID
    | {
        name: member_check("MobileDeviceAccessOverride", name)
        for name in ("DeviceId", "Effect", "Description", "DateCreated", "DateModified")
    }
    | {"UserId": member_check("PutMobileDeviceAccessOverrideRequest", "UserId")}
)
_ORGANIZATION_NEEDS = frozenset(_ORGANIZATION_ID)
_OVERRIDE_NEEDS = frozenset(("UserId", "DeviceId", "Effect"))
_EMAIL_CHECK = _USER_CHECKS["Email"]


def initial_seed() -> Json:
    """Return the seed that the emulator starts with and `reset` restores."""
    seed: Json = json.loads(resources.files(__package__).joinpath("seed.json").read_text(encoding="utf-8"))
    return seed


def user_id_of(name: str) -> str:
    """Return the ID of a user whose row has none. It depends on the name only."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name.lower()}.example.com"))


def apply(workmail: WorkMail, seed: object, now: datetime) -> Json:
    """Apply a seed, and return how many organizations, users and overrides it has.

    Raises ControlError, and changes nothing, if anything is wrong.
    """
    steps = _Seeding(workmail, now)
    for _ in steps.run(seed):
        pass
    return steps.counts


async def apply_in_portions(workmail: WorkMail, seed: object, now: datetime) -> Json:
    """Do the same as `apply`, but let the event loop run between portions. One seed at a time."""
    steps = _Seeding(workmail, now)
    for _ in steps.run(seed):
        await asyncio.sleep(0)
    return steps.counts


@dataclass(slots=True)
class _Seeding:
    """The application of one seed. Everything is built beside the state and moved in at the end."""

    workmail: WorkMail
    now: datetime
    counts: Json = field(default_factory=dict)
    _problems: list[str] = field(default_factory=list)
    _only: Organization | None = None
    _organizations: dict[str, Organization] = field(default_factory=dict)
    _users: dict[str, dict[str, User]] = field(default_factory=dict)
    _names: dict[str, dict[str, User]] = field(default_factory=dict)
    _overrides: dict[str, list[tuple[Key, Override]]] = field(default_factory=dict)

    def run(self, seed: object) -> Iterator[None]:
        """Check and build in portions, and apply all at the end."""
        for kind, rows, take in self._sections(seed):
            self.counts[kind] = len(rows)
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                for index, row in enumerate(rows[start : start + _ROWS_AT_ONCE], start=start):
                    where = f"{kind}[{index}]"
                    if isinstance(row, dict):
                        take(_without_nulls(row), where)
                    else:
                        self._problems.append(f"{where} is {row!r:.100}; expected an object")
                    if len(self._problems) > _PROBLEMS_SHOWN:
                        self._refuse()
                yield
        if self._problems:
            self._refuse()
        yield from self._apply()

    def _sections(self, seed: object) -> list[tuple[str, list[Any], Callable[[Json, str], None]]]:
        takers = {"organizations": self._organization, "users": self._user, "overrides": self._override}
        if not isinstance(seed, dict) or not seed.keys() <= takers.keys():
            shown = sorted(seed) if isinstance(seed, dict) else f"{seed!r:.100}"
            raise ControlError(f"the seed is {shown}; expected an object with {', '.join(takers)}, each a list")
        for kind, rows in seed.items():
            if not isinstance(rows, list):
                raise ControlError(f"{kind} is {rows!r:.100}; expected a list")
        return [(kind, seed[kind], take) for kind, take in takers.items() if kind in seed]

    def _refuse(self) -> None:
        shown = self._problems[:_PROBLEMS_SHOWN]
        more = ["… and more"] if len(self._problems) > _PROBLEMS_SHOWN else []
        raise ControlError(f"nothing was seeded: {'; '.join(shown + more)}", shown + more)

    def _apply(self) -> Iterator[None]:
        self.workmail.organizations.update(self._organizations)
        for organization_id, users in self._users.items():
            organization = self.workmail.organizations[organization_id]
            organization.set_users(users.values())
            if not self.workmail.quirks.overrides_outlive_user:
                for user in users.values():
                    for key in organization.overrides.of_user(user.user_id) if user.state == "DELETED" else ():
                        organization.overrides.remove(key, seconds(self.now))
        yield
        for organization_id, overrides in self._overrides.items():
            self.workmail.organizations[organization_id].overrides.put_all(overrides)
            yield

    # --- one row of each kind -------------------------------------------------------------------------------------

    def _organization(self, row: Json, where: str) -> None:
        organization_id = row.get("OrganizationId")
        row = self._with_seconds(row, where, "CompletedDate")
        if isinstance(row.get("Rules"), list):
            rules = enumerate(row["Rules"], start=1)
            row = row | {"Rules": [self._with_rule_dates(rule, f"{where}.Rules.{index}") for index, rule in rules]}
        if not self._checked(row, where, _ORGANIZATION_CHECKS, _ORGANIZATION_NEEDS):
            return
        assert isinstance(organization_id, str)
        known = self._known_organization(organization_id) or Organization(
            organization_id=organization_id,
            alias=organization_id.removeprefix("m-"),
            state="Active",
            mail_domain="example.com",
            directory_id=f"d-{organization_id[2:12]}",
            completed=seconds(self.now),
        )
        self._organizations[organization_id] = replace(
            known,
            alias=row.get("Alias", known.alias),
            state=row.get("State", known.state),
            mail_domain=row.get("DefaultMailDomain", known.mail_domain),
            directory_id=row.get("DirectoryId", known.directory_id),
            completed=row.get("CompletedDate", known.completed),
            rules=[self._rule(rule) for rule in row["Rules"]] if "Rules" in row else known.rules,
        )

    def _with_rule_dates(self, rule: object, where: str) -> object:
        if not isinstance(rule, dict):
            return rule
        return self._with_seconds(rule, where, "DateCreated", "DateModified")

    def _rule(self, rule: Json) -> Rule:
        created: float = rule.get("DateCreated", seconds(self.now))
        modified: float = rule.get("DateModified", created)
        names = (prefix + name for name in CONDITIONS for prefix in ("", "Not"))
        return Rule(
            rule_id=rule.get("MobileDeviceAccessRuleId") or str(uuid.uuid4()),
            name=rule.get("Name", "Rule"),
            effect=rule.get("Effect", "DENY"),
            description=rule.get("Description"),
            conditions={name: rule[name] for name in names if name in rule},
            created=created,
            modified=modified,
        )

    def _user(self, row: Json, where: str) -> None:
        organization = self._organization_of(row, where)
        row = self._with_seconds(row, where, "EnabledDate", "DisabledDate")
        aliases = row.get("Aliases")
        named = "UserId" if "UserId" in row else "Name"
        fine = self._checked(
            {name: row[name] for name in row if name != "Aliases"}, where, _USER_CHECKS, frozenset((named,))
        )
        fine = (aliases is None or self._are_addresses(aliases, f"{where}.Aliases")) and fine
        if organization is None or not fine:
            return
        known = self._find(organization, row[named])
        if known is None and "Name" not in row:
            self._problems.append(f"{where}.Name is missing; expected the name of the new user {row['UserId']}")
            return
        user = self._merged_user(row, known)
        for name in user.names:
            owner = self._named(organization, name)
            if owner is not None and owner.user_id.lower() != user.user_id.lower():
                self._problems.append(f"{where}: {name} belongs to user {owner.name} ({owner.user_id})")
                return
        self._users.setdefault(organization.organization_id, {})[user.user_id.lower()] = user
        self._names.setdefault(organization.organization_id, {}).update(dict.fromkeys(user.names, user))

    def _merged_user(self, row: Json, known: User | None) -> User:
        if known is None:
            name = row["Name"]
            known = User(row.get("UserId") or user_id_of(name), name, None, name, "ENABLED", enabled=seconds(self.now))
        state = row.get("State", known.state)
        disabled = None if state == "ENABLED" else known.disabled or seconds(self.now)
        return User(
            user_id=known.user_id,
            name=row.get("Name", known.name),
            email=row.get("Email", known.email),
            display_name=row.get("DisplayName", known.display_name),
            state=state,
            role=row.get("UserRole", known.role),
            aliases=tuple(row.get("Aliases", known.aliases)),
            enabled=row.get("EnabledDate", known.enabled),
            disabled=row.get("DisabledDate", disabled),
            identity_provider_user_id=row.get("IdentityProviderUserId", known.identity_provider_user_id),
        )

    def _override(self, row: Json, where: str) -> None:
        organization = self._organization_of(row, where)
        row = self._with_seconds(row, where, "DateCreated", "DateModified")
        fine = self._checked(row, where, _OVERRIDE_CHECKS, _OVERRIDE_NEEDS)
        if organization is None or not fine:
            return
        user = self._find(organization, row["UserId"])
        if user is None:
            expected = f"a user of {organization.organization_id}"
            self._problems.append(f"{where}.UserId is {row['UserId']}; expected {expected}")
            return
        created: float = row["DateCreated"] if "DateCreated" in row else seconds(self.now)
        modified: float = row.get("DateModified", created)
        device = row["DeviceId"]
        override = Override(user.user_id, device, row["Effect"], row.get("Description"), created, modified, modified)
        self._overrides.setdefault(organization.organization_id, []).append(((user.user_id, device.lower()), override))

    # --- checks ---------------------------------------------------------------------------------------------------

    def _checked(self, row: Json, where: str, checks: dict[str, Check], required: frozenset[str]) -> bool:
        complaints: list[str] = []
        for name, value in row.items():
            if name not in checks:
                complaints.append(f"unknown member {where}.{name}; expected one of {', '.join(checks)}")
            else:
                checks[name](value, f"{where}.{name}", complaints)
        if not required <= row.keys():
            complaints += [f"{where}.{name} is missing" for name in sorted(required - row.keys())]
        self._problems += complaints
        return not complaints

    def _are_addresses(self, aliases: object, where: str) -> bool:
        complaints: list[str] = []
        if not isinstance(aliases, list):
            complaints.append(f"{where} is {aliases!r:.100}; expected a list of e-mail addresses")
        else:
            for alias in aliases:
                _EMAIL_CHECK(alias, where, complaints)
        self._problems.extend(complaints)
        return not complaints

    def _with_seconds(self, row: Json, where: str, *names: str) -> Json:
        """Return the row with its dates in seconds."""
        dates: Json = {}
        for name in names:
            if name in row:
                dates[name] = seconds_of(row[name])
                if dates[name] is None:
                    expected = "ISO 8601 with an offset, or seconds since 1970"
                    self._problems.append(f"{where}.{name} is {row[name]!r:.100}; expected {expected}")
                    dates[name] = 0
        return row | dates if dates else row

    def _organization_of(self, row: Json, where: str) -> Organization | None:
        organization_id = row.get("OrganizationId")
        if organization_id is None:
            if self._only is None:
                every = self.workmail.organizations | self._organizations
                if len(every) != 1:
                    self._problems.append(f"{where}.OrganizationId is missing; expected one of {', '.join(every)}")
                    return None
                self._only = next(iter(every.values()))
            return self._only
        organization = self._known_organization(organization_id)
        if organization is None:
            self._problems.append(f"{where}.OrganizationId is {organization_id!r:.100}; there is no such organization")
        return organization

    def _known_organization(self, organization_id: object) -> Organization | None:
        if not isinstance(organization_id, str):
            return None
        return self._organizations.get(organization_id) or self.workmail.organizations.get(organization_id)

    def _find(self, organization: Organization, identity: str) -> User | None:
        """Find a user by ID or name, with this seed's changes so far."""
        folded = identity.lower()
        fresh = self._users.get(organization.organization_id, {}).get(folded)
        return fresh or organization.by_id(folded) or self._named(organization, folded)

    def _named(self, organization: Organization, name: str) -> User | None:
        """Find a user by name, address or alias in lower case, with this seed's changes so far."""
        changed = self._users.get(organization.organization_id, {})
        before = organization.by_name(name)
        for user in (self._names.get(organization.organization_id, {}).get(name), before):
            current = None if user is None else changed.get(user.user_id.lower(), user)
            if current is not None and name in current.names:
                return current
        return None


def _without_nulls(row: Json) -> Json:
    return {name: value for name, value in row.items() if value is not None} if None in row.values() else row


def seconds_of(date: object) -> float | None:
    """Return a date in seconds since 1970, None if it is wrong.

    It is ISO 8601 with an offset, or in seconds already.
    """
    if isinstance(date, int | float) and not isinstance(date, bool):
        return round(date, 3) if math.isfinite(date) and abs(date) < _YEAR_10000 else None
    try:
        instant = datetime.fromisoformat(date) if isinstance(date, str) else None
    except ValueError:
        return None
    return None if instant is None or instant.tzinfo is None else seconds(instant)
