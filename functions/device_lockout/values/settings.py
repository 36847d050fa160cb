"""The settings that the functions run with, and their form in the package: ``settings.json``."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from device_lockout.values.actions import Action, Permission
from device_lockout.values.as_json import form
from device_lockout.values.moved import Moved
from device_lockout.values.policy import LOCKS_PER_HOUR, HonouredEdits, Reason, Rules

WEBHOOK_PREFIX = "webhook."
"""The beginning of the ``source`` of an event that came in as a webhook. The sender's name follows."""

UNREADABLE = ".unreadable"
"""The end of the ``source`` of an event that tells of a webhook's body that could not be read."""
SETTINGS_IN_TEMPLATE = "DeviceLockoutSettings"
"""The key of the settings in the stack's metadata. They name secrets, and hold none."""

END_OF_WORKMAIL = datetime(2027, 4, 1, tzinfo=UTC)
"""AWS ends WorkMail on 31 March 2027. The day ends later elsewhere, and a try in vain costs little.

https://aws.amazon.com/workmail/faqs/
"""

MOST_ELEMENTS = 50
"""How many reports one event of a mapped source may make, unless its configuration says otherwise."""

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
    """A WorkMail organization in the deployment's account and region.

    Attributes:
        id: WorkMail's organization ID.
        alias: A short name for it, which events may use.
        ends_at: When its WorkMail ends. From then on reports are rejected, and before that people are warned.
        moved_at: When its mailboxes moved elsewhere; None for not yet.
        moved_to: Where they moved to.
    """

    id: str
    alias: str
    ends_at: datetime = END_OF_WORKMAIL
    moved_at: datetime | None = None
    moved_to: str = ""


@dataclass(frozen=True, slots=True)
class EventMapping:
    """How to read the events of a source that does not speak the contract.

    Attributes:
        action: What the events ask for.
        reason: The reason of a lock, else empty.
        expressions: JMESPath expressions over the whole event, by their names in :data:`FIELDS`.
        when: A JMESPath expression. An event for which it is false is not meant; empty if all are.
        each: A JMESPath expression that finds a list. Each element makes a report of its own; empty for one report.
        at_most: The most elements of one event.
    """

    action: Action
    reason: str
    expressions: dict[str, str]
    when: str = ""
    each: str = ""
    at_most: int = MOST_ELEMENTS


@dataclass(frozen=True, slots=True)
class Source:
    """A producer of events.

    Attributes:
        name: The ``source`` of its events on the bus. With a mapping, only a name in the configuration.
        may: What it may ask for.
        mapping: How to read its events. None if it speaks the contract.
        releases: The reasons of the locks that its releases end; empty for all.
        releases_own_only: Its releases end only locks from events with the same ``source``.
        locks_per_hour: How many locks it may ask for in an hour. More are held for a person to look at.
    """

    name: str
    may: frozenset[Permission]
    mapping: EventMapping | None = None
    releases: frozenset[str] = frozenset()
    releases_own_only: bool = False
    locks_per_hour: int = LOCKS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Webhook:
    """A sender that can only call a URL.

    Attributes:
        name: The path of its URL.
        authenticate: How it shows who it is: a key of :data:`device_lockout.values.schemes.SCHEMES`.
        secret: The name of the secret for that in Secrets Manager, in the deployment's account and region.
        accept_previous_for: How long after a rotation the previous value is good, too.
        header: The header with the secret, if the scheme leaves that open; else empty.
    """

    name: str
    authenticate: str
    secret: str
    accept_previous_for: timedelta = timedelta()
    header: str = ""

    @property
    def source(self) -> str:
        """The ``source`` of its events on the bus."""
        return WEBHOOK_PREFIX + self.name


@dataclass(frozen=True, slots=True)
class Sweep:
    """The sweep's policy. Its limits hold for one run over one organization.

    Attributes:
        every: The time between two runs.
        mode: Whether a run changes anything, or only says what it would change.
        max_removals: A run that would remove more overrides removes none.
        max_removals_percent: The same as a share of the deployment's own overrides, from ten removals on.
        max_reasserts: The most missing locks that a run puts back.
        portion: The most of its commands that wait in the queue at a time.
        report_only_after_missed: After so many periods without a completed run, the next one removes nothing.
    """

    every: timedelta
    mode: Literal["apply", "report"]
    max_removals: int
    max_removals_percent: int
    max_reasserts: int
    portion: int
    report_only_after_missed: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on time.

    Attributes:
        writer_timeout: The timeout of the function that writes to WorkMail.
        settle: How long a write that was never answered may still take effect.
        workmail_timeout: The timeout of one call to WorkMail.
        clock_skew: Nothing expires if WorkMail's clock and ours differ by more.
        max_event_age: Older events are rejected.
    """

    writer_timeout: timedelta
    settle: timedelta
    workmail_timeout: timedelta
    clock_skew: timedelta
    max_event_age: timedelta


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the functions take from the deployment's configuration.

    Attributes:
        owner: The deployment's name in its tags.
        organizations: The organizations that it looks after.
        sources: Who may report, each under a name of its own.
        reasons: The reasons for locks, by name.
        sweep: The sweep's policy.
        limits: Limits on time.
        honour_edits: Which ends count that people write into our tags.
        exempt_users: Names of users whom only ``force`` locks. Their case does not matter.
        webhooks: The senders of webhooks, each under a name of its own.
    """

    owner: str
    organizations: tuple[Organization, ...]
    sources: tuple[Source, ...]
    reasons: dict[str, Reason]
    sweep: Sweep
    limits: Limits
    honour_edits: HonouredEdits = "all"
    exempt_users: frozenset[str] = frozenset()
    webhooks: tuple[Webhook, ...] = ()

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
            locks_per_hour=caps,
            moved={each.id: Moved(each.moved_at, each.moved_to) for each in self.organizations if each.moved_at},
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
