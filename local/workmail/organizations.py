"""Organizations, their users and access rules, and who is meant by a `UserId`."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from local.workmail.overrides import Overrides


@dataclass(frozen=True, slots=True)
class User:
    """One user; `state` is ENABLED, DISABLED or DELETED, the dates are seconds since 1970."""

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
        """User name and primary address, folded; none for a deleted user, whose names are free again."""
        if self.state == "DELETED":
            return ()
        return (self.name.lower(),) if self.email is None else (self.name.lower(), self.email.lower())

    @property
    def names(self) -> tuple[str, ...]:
        """All that, and the aliases: what nobody else may be called."""
        if self.state == "DELETED" or not self.aliases:
            return self.handles
        return (*self.handles, *(alias.lower() for alias in self.aliases))


CONDITIONS = {
    "DeviceTypes": "DeviceType",
    "DeviceModels": "DeviceModel",
    "DeviceOperatingSystems": "DeviceOperatingSystem",
    "DeviceUserAgents": "DeviceUserAgent",
}
"""A rule's lists, each also with the prefix `Not`, and the request member that they are compared with."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A mobile device access rule; `conditions` by the API's member names (`DeviceTypes`, `NotDeviceTypes`, …)."""

    rule_id: str
    name: str
    effect: str
    description: str | None
    conditions: dict[str, list[str]]
    created: float
    modified: float

    def matches(self, device: dict[str, str]) -> bool:
        """True if every condition holds; values compare exactly, and a member that is not given is in no list."""
        return all(
            (device.get(CONDITIONS[name.removeprefix("Not")]) in values) != name.startswith("Not")
            for name, values in self.conditions.items()
        )


@dataclass(slots=True)
class Organization:
    """One organization with all that is in it; `state` other than `Active` makes most operations fail."""

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
        """True if its users and overrides can be asked about at all."""
        return self.state.lower() == "active"

    def user(self, identity: str, *, aliases: bool) -> User | None:
        """The user meant by an ID, a primary e-mail address, a name or, if wanted, an alias, in any case.

        A deleted user is found by ID only: the names may be somebody else's by now.
        """
        folded = identity.lower()
        user = self._users.get(folded) or self._names.get(folded)
        return user if user is None or aliases or folded in (user.user_id.lower(), *user.handles) else None

    def by_id(self, folded_id: str) -> User | None:
        """Who has that ID, deleted users included."""
        return self._users.get(folded_id)

    def by_name(self, folded_name: str) -> User | None:
        """Who has that name, address or alias."""
        return self._names.get(folded_name)

    def set_users(self, users: Iterable[User]) -> None:
        """Adds users, or replaces those with their IDs."""
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
        """Users by ID, strictly after one."""
        return (self._users[user_id] for user_id in islice(self._ids, bisect_right(self._ids, folded_id), None))
