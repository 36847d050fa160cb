"""The settings of this deployment: ``settings.json`` from the package, names of resources from the environment."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from device_lockout.values.actions import Action, Permission
from device_lockout.values.policy import Reason, Rules


@dataclass(frozen=True, slots=True)
class EventMapping:
    """How one source's events are read: what they ask for, why, and an expression for each field they can tell."""

    action: Action
    reason: str
    expressions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """A producer of events and what it may ask for.

    Without a mapping it speaks the built-in contract and ``name`` is its ``source`` on the bus; with one, ``name`` is
    only the configuration's.
    """

    name: str
    may: frozenset[Permission]
    mapping: EventMapping | None = None


@dataclass(frozen=True, slots=True)
class Organization:
    """A WorkMail organization that this deployment looks after."""

    id: str
    alias: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """The sweep's policy; counts are overrides, ``max_removals_percent`` is of the overrides of our own.

    ``portion`` is how many removals wait in the command queue at a time; ``on_tampering`` says whether a lock that
    somebody undid is put back or only reported.
    """

    every: timedelta
    mode: Literal["apply", "report"]
    on_tampering: Literal["reassert", "alert"]
    max_removals: int
    max_removals_percent: int
    max_reasserts: int
    portion: int
    report_only_after_missed: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits; ``settle`` is how long a write that was never answered may still take effect."""

    settle: timedelta
    writer_timeout: timedelta
    workmail_timeout: timedelta
    clock_skew: timedelta
    max_event_age: timedelta


@dataclass(frozen=True, slots=True)
class Webhook:
    """A sender who can only call a URL: how it shows who it is, and the name of the secret for that.

    ``accept_previous_for`` is how long after a rotation the value before is good, too.
    """

    name: str
    authenticate: Literal["hmac", "basic"]
    secret: str
    accept_previous_for: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the functions take from the deployment's configuration."""

    owner: str
    bus: str
    organizations: tuple[Organization, ...]
    sources: tuple[Source, ...]
    reasons: dict[str, Reason]
    sweep: Sweep
    limits: Limits
    exempt_users: frozenset[str] = frozenset()
    webhooks: tuple[Webhook, ...] = ()

    @property
    def rules(self) -> Rules:
        return Rules(self.owner, self.limits.max_event_age, self.limits.clock_skew, self.exempt_users)

    def organization(self, id_or_alias: str | None) -> Organization | None:
        """The organization of that ID or alias; with None the only one, if there is only one."""
        if id_or_alias is None:
            return self.organizations[0] if len(self.organizations) == 1 else None
        return next((known for known in self.organizations if id_or_alias in (known.id, known.alias)), None)

    def source(self, name: str) -> Source | None:
        return next((source for source in self.sources if source.name == name), None)


def parse(fields: dict[str, Any]) -> Settings:
    """Settings from what ``settings.json`` holds, checked when it was built; durations are in whole seconds."""
    return Settings(
        owner=fields["owner"],
        bus=fields["bus"],
        organizations=tuple(Organization(**organization) for organization in fields["organizations"]),
        sources=tuple(_source(source) for source in fields["sources"]),
        reasons={
            name: Reason(
                name,
                lock_for=_duration(reason["lock_for"]),
                at_most=_duration(reason["at_most"]),
                warn_before=_duration(reason["warn_before"]),
            )
            for name, reason in fields["reasons"].items()
        },
        sweep=Sweep(**{**fields["sweep"], "every": timedelta(seconds=fields["sweep"]["every"])}),
        limits=Limits(
            settle=timedelta(seconds=fields["limits"]["settle_seconds"]),
            writer_timeout=timedelta(seconds=fields["limits"]["writer_timeout_seconds"]),
            workmail_timeout=timedelta(seconds=fields["limits"]["workmail_timeout_seconds"]),
            clock_skew=timedelta(seconds=fields["limits"]["clock_skew_seconds"]),
            max_event_age=timedelta(seconds=fields["limits"]["max_event_age"]),
        ),
        exempt_users=frozenset(user.casefold() for user in fields.get("exempt_users", ())),
        webhooks=tuple(_webhook(webhook) for webhook in fields.get("webhooks", ())),
    )


def _source(fields: dict[str, Any]) -> Source:
    mapping = fields.get("mapping")
    return Source(fields["name"], frozenset(fields["may"]), EventMapping(**mapping) if mapping else None)


def _webhook(fields: dict[str, Any]) -> Webhook:
    previous = timedelta(seconds=fields["accept_previous_for"])
    return Webhook(fields["name"], fields["authenticate"], fields["secret"], previous)


def _duration(seconds: int | str | None) -> timedelta | None:
    """A duration in seconds; None for ``hold`` and for none given."""
    return None if seconds is None or seconds == "hold" else timedelta(seconds=int(seconds))
