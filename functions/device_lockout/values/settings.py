"""The settings that the functions run with, and their form in the package: ``settings.json``."""

import json
from datetime import UTC, datetime, timedelta
from typing import Literal

from device_lockout.values import instant
from device_lockout.values.actions import Action, Permission
from device_lockout.values.dataclass_json import form
from device_lockout.values.lean_dataclass import dataclass
from device_lockout.values.mailbox_move import Moved
from device_lockout.values.policy import LOCKS_PER_HOUR, HonouredEdits, Reason, Rules

WEBHOOK_PREFIX = "webhook."
"""The beginning of the ``source`` of an event that came in as a webhook. The sender's name follows."""

OPERATOR = "operator"
"""The name of the source as which the command `lockout` reports, if the configuration has it."""

UNREADABLE = ".unreadable"
"""The end of the ``source`` of an event that tells of a webhook's body that could not be read."""
SETTINGS_IN_TEMPLATE = "DeviceLockoutSettings"
"""The key of the settings in the stack's metadata. They name secrets, and hold none."""

END_OF_WORKMAIL = datetime(2027, 4, 1, tzinfo=UTC)
"""AWS ends WorkMail on 31 March 2027. The day ends later elsewhere, and a try in vain costs little.

https://aws.amazon.com/workmail/faqs/
"""

MOST_ELEMENTS = 50  # How many reports one event or one webhook may make, unless its configuration says otherwise.

FIELDS = {
    "organization": "organizationId",
    "user": "userId",
    "device": "deviceId",
    "serial_number": "serialNumber",
    "asset_tag": "assetTag",
    "time": "reportedAt",
    "expires_at": "expiresAt",
    "reference": "reference",
    "reporter": "reporter",
    "note": "note",
}
"""The name of each expression in the configuration, and the field of the contract that it fills."""


@dataclass(frozen=True, slots=True)
class Organization:
    """A WorkMail organization in the deployment's account and region."""

    id: str  # WorkMail's organization ID.
    alias: str  # A short name for it, which events may use.
    # When its WorkMail ends. From then on reports are rejected, and before that people are warned.
    ends_at: datetime = END_OF_WORKMAIL
    moved_at: datetime | None = None  # When its mailboxes moved elsewhere; None for not yet.
    moved_to: str = ""  # Where they moved to.

    @property
    def ended(self) -> str:
        """What is said of a report or a command after the end."""
        there = f": lock it in {self.moved_to}" if self.moved_to else ""
        return f"WorkMail of {self.alias} ended at {instant.write(self.ends_at)}{there}"


@dataclass(frozen=True, slots=True)
class EventMapping:
    """How to read the events of a source that does not speak the contract."""

    action: Action  # What the events ask for.
    reason: str  # The reason of a lock, else empty.
    expressions: dict[str, str]  # JMESPath expressions over the whole event, by their names in :data:`FIELDS`.
    when: str = ""  # A JMESPath expression. An event for which it is false is not meant; empty if all are.
    # A JMESPath expression that finds a list. Each element makes a report of its own; empty for one report.
    each: str = ""
    at_most: int = MOST_ELEMENTS  # The most elements of one event.


@dataclass(frozen=True, slots=True)
class Source:
    """A producer of events."""

    name: str  # The ``source`` of its events on the bus. With a mapping, only a name in the configuration.
    may: frozenset[Permission]  # What it may ask for.
    mapping: EventMapping | None = None  # How to read its events. None if it speaks the contract.
    releases: frozenset[str] = frozenset()  # The reasons of the locks that its releases end; empty for all.
    releases_own_only: bool = False  # Its releases end only locks from events with the same ``source``.
    # How many locks it may ask for in an hour. More are held for a person to look at. None: a person asks.
    locks_per_hour: int | None = LOCKS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Webhook:
    """A sender that can only call a URL."""

    name: str  # The path of its URL.
    authenticate: str  # How it shows who it is: a key of :data:`device_lockout.values.webhook_schemes.SCHEMES`.
    secret: str  # The name of the secret for that in Secrets Manager, in the deployment's account and region.
    accept_previous_for: timedelta = timedelta()  # How long after a rotation the previous value is good, too.
    header: str = ""  # The header with the secret, if the scheme leaves that open; else empty.
    at_most: int = MOST_ELEMENTS  # The most elements of one list.

    @property
    def source(self) -> str:
        """The ``source`` of its events on the bus."""
        return WEBHOOK_PREFIX + self.name


@dataclass(frozen=True, slots=True)
class Sweep:
    """The sweep's policy. Its limits hold for one run over one organization."""

    every: timedelta  # The time between two runs.
    mode: Literal["apply", "report"]  # Whether a run changes anything, or only says what it would change.
    max_removals: int  # A run that would remove more overrides removes none.
    max_removals_percent: int  # The same as a share of the deployment's own overrides, from ten removals on.
    max_reasserts: int  # The most missing locks that a run puts back.
    portion: int  # The most of its commands that wait in the queue at a time.
    report_only_after_missed: int  # After so many periods without a completed run, the next one removes nothing.


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on time, and on pages."""

    writer_timeout: timedelta  # The timeout of the function that writes to WorkMail.
    settle: timedelta  # How long a write that was never answered may still take effect.
    workmail_timeout: timedelta  # The timeout of one call to WorkMail.
    clock_skew: timedelta  # Nothing expires if WorkMail's clock and ours differ by more.
    max_event_age: timedelta  # Older events are rejected.
    pages: int | None = None  # How many outcomes page in five minutes before the rest are summed up. None: all do.


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the functions take from the deployment's configuration."""

    owner: str  # The deployment's name in its tags.
    organizations: tuple[Organization, ...]  # The organizations that it looks after.
    sources: tuple[Source, ...]  # Who may report, each under a name of its own.
    reasons: dict[str, Reason]  # The reasons for locks, by name.
    sweep: Sweep  # The sweep's policy.
    limits: Limits  # Limits on time.
    honour_edits: HonouredEdits = "all"  # Which ends count that people write into our tags.
    exempt_users: frozenset[str] = frozenset()  # Names of users whom only ``force`` locks. Their case does not matter.
    webhooks: tuple[Webhook, ...] = ()  # The senders of webhooks, each under a name of its own.

    @property
    def rules(self) -> Rules:
        """What a decision takes from these settings."""
        exempt = frozenset(user.casefold() for user in self.exempt_users)
        limits, caps = self.limits, {source.name: source.locks_per_hour for source in self.sources}
        return Rules(
            self.owner,
            limits.max_event_age,
            limits.clock_skew,
            exempt,
            honoured_edits=self.honour_edits,
            sources=frozenset(caps),
            locks_per_hour={name: most for name, most in caps.items() if most is not None},
            ends={each.id: (each.ends_at, each.ended) for each in self.organizations},
            moved={each.id: Moved(each.moved_at, each.moved_to) for each in self.organizations if each.moved_at},
            pages=limits.pages,
            at_most={each.name: each.at_most for each in self.reasons.values() if each.at_most is not None},
        )

    def organization(self, id_or_alias: str | None) -> Organization | None:
        """Return the organization of that ID or alias. None finds the only one, if there is only one."""
        if id_or_alias is None:
            return self.organizations[0] if len(self.organizations) == 1 else None
        return next((known for known in self.organizations if id_or_alias in (known.id, known.alias)), None)

    def source(self, name: str) -> Source | None:
        return next((source for source in self.sources if source.name == name), None)


def dump(settings: Settings) -> str:
    """Return the text of ``settings.json``. Durations are in seconds. None is null."""
    return json.dumps(form(Settings).write(settings), indent=1)


def load(text: str) -> Settings:
    """Return the settings that :func:`dump` wrote. A field that is missing has its default, if it has one.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: It did not write them.
    """
    settings: Settings = form(Settings).read(json.loads(text))
    return settings
