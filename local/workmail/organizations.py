"""Organizations with their users and access rules."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from local.workmail.overrides import Overrides


@dataclass(frozen=True, slots=True)
class User:
    """One user. `state` is ENABLED, DISABLED or DELETED; dates are seconds since 1970."""

    user_id: str
    name: str
    email: str | None
    display_name: str
    state: str
    role: str = "USER"
    aliases: tuple[str, ...] = ()
    enabled: float | None = None
    disabled: float | None = None
    identity_provider_user_id: str | None = None

    @property
    def handles(self) -> tuple[str, ...]:
        """User name and primary address in lower case. A deleted user has none: others may take them."""
        if self.state == "DELETED":
            return ()
        return (self.name.lower(),) if self.email is None else (self.name.lower(), self.email.lower())

    @property
    def names(self) -> tuple[str, ...]:
        """The handles and the aliases, which no other user may have."""
        if self.state == "DELETED" or not self.aliases:
            return self.handles
        return (*self.handles, *(alias.lower() for alias in self.aliases))


CONDITIONS = {
    "DeviceTypes": "DeviceType",
    "DeviceModels": "DeviceModel",
    "DeviceOperatingSystems": "DeviceOperatingSystem",
    "DeviceUserAgents": "DeviceUserAgent",
}
"""The lists of a rule and the request member that each is compared with. Each also exists with the prefix `Not`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A mobile device access rule. `conditions` has the API's member names (`DeviceTypes`, `NotDeviceTypes`, …)."""

    rule_id: str
    name: str
    effect: str
    description: str | None
    conditions: dict[str, list[str]]
    created: float
    modified: float

    def matches(self, device: dict[str, str]) -> bool:
        """Return whether every condition holds. Values compare exactly; a missing member is in no list."""
        return all(
            (device.get(CONDITIONS[name.removeprefix("Not")]) in values) != name.startswith("Not")
            for name, values in self.conditions.items()
        )


@dataclass(slots=True)
class Organization:
    """One organization with its content. A `state` other than `Active` makes most operations fail."""

    organization_id: str
    alias: str
    state: str
    mail_domain: str
    directory_id: str
    completed: float
    rules: list[Rule] = field(default_factory=list)
    overrides: Overrides = field(default_factory=Overrides)
    _users: dict[str, User] = field(default_factory=dict)
    _names: dict[str, User] = field(default_factory=dict)
    _ids: list[str] = field(default_factory=list)

    @property
    def active(self) -> bool:
        """Whether its users and overrides can be read at all."""
        return self.state.lower() == "active"

    def user(self, identity: str, *, aliases: bool) -> User | None:
        """Find a user by ID, primary e-mail address, user name or, with `aliases`, an alias. Case does not matter.

        A deleted user has only the ID, because others may have taken the names.
        """
        folded = identity.lower()
        user = self._users.get(folded) or self._names.get(folded)
        return user if user is None or aliases or folded in (user.user_id.lower(), *user.handles) else None

    def by_id(self, folded_id: str) -> User | None:
        """Find a user by ID, deleted or not."""
        return self._users.get(folded_id)

    def by_name(self, folded_name: str) -> User | None:
        """Find a user by name, address or alias."""
        return self._names.get(folded_name)

    def set_users(self, users: Iterable[User]) -> None:
        """Add users, or replace those with the same IDs."""
        fresh = {user.user_id.lower(): user for user in users}
        for user_id in fresh:
            if user_id in self._users:
                for name in self._users[user_id].names:
                    self._names.pop(name, None)
            else:
                self._ids.append(user_id)
        self._users |= fresh
        for user in fresh.values():
            self._names.update(dict.fromkeys(user.names, user))
        self._ids.sort()

    def users_after(self, folded_id: str) -> Iterator[User]:
        """Return the users whose IDs come after this one, in order."""
        return (self._users[user_id] for user_id in islice(self._ids, bisect_right(self._ids, folded_id), None))
