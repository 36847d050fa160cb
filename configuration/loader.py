"""One deployment's configuration: `config/NAME.toml` as values, checked whole, every mistake reported at once.

Each mistake is one line, `file: key: value: what is expected`. A key without a default must be there.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from configuration import sources
from configuration.checked_toml import DAY, HOUR, MINUTE, CheckedTable, Span, meant
from configuration.sources import Source, Webhook

REGIONS = ("eu-west-1", "us-east-1", "us-west-2")
"""Where WorkMail exists: https://docs.aws.amazon.com/general/latest/gr/workmail.html"""

LOG_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html"""

REQUIRED_REASONS = ("lost", "stolen", "compromised", "offboarded")
"""The reasons that the event contract's detail-types ask for."""

CALLS_OF_A_COMMAND = 3
"""To WorkMail, at most (`apply_commands.MOST_CALLS_TO_WORKMAIL`): with less time left than for these, none begins."""

TIME_TO_BEGIN = 2
"""Seconds for all that a run of the writer does before its first command."""

ORGANIZATION_ID = r"m-[0-9a-f]{32}"


class ConfigurationError(Exception):
    """The configuration can't be used; one line per mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Organization:
    """A WorkMail organization to look after, in the deployment's account and region."""

    id: str
    alias: str


@dataclass(frozen=True, slots=True)
class Reason:
    """How long a lock for this reason lasts, at most lasts, and how long before its end people are warned."""

    name: str
    lock_for: Span
    at_most: Span
    warn_before: int | None


@dataclass(frozen=True, slots=True)
class Sweep:
    """How often the sweep runs, in seconds, and how much one run may change, in overrides."""

    every: int
    mode: Literal["apply", "report"]
    on_tampering: Literal["reassert", "alert"]
    max_removals: int
    max_removals_percent: int
    max_reasserts: int
    portion: int
    report_only_after_missed: int

    @property
    def schedule(self) -> str:
        """The period as EventBridge Scheduler writes it: `rate(1 hour)`."""
        for unit, seconds in (("day", DAY), ("hour", HOUR), ("minute", MINUTE)):
            count, rest = divmod(self.every, seconds)
            if not rest:
                return f"rate({count} {unit}{'' if count == 1 else 's'})"
        raise ValueError(f"a schedule counts in minutes, not {self.every} seconds")


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, memory in MB."""

    writer_timeout: int
    settle: int
    writer_concurrency: int
    workmail_timeout: int
    clock_skew: int
    max_event_age: int
    memory: int
    log_retention_days: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that makes one deployment differ from another."""

    owner: str
    region: str
    bus: str
    retain_data: bool
    organizations: tuple[Organization, ...]
    sources: tuple[Source, ...]
    reasons: tuple[Reason, ...]
    sweep: Sweep
    limits: Limits
    emails: tuple[str, ...]
    exempt_users: tuple[str, ...] = ()
    partner_buses: tuple[str, ...] = ()
    webhooks: tuple[Webhook, ...] = ()

    @property
    def metrics_namespace(self) -> str:
        """Where its metrics are in CloudWatch: two deployments in one account don't mix theirs."""
        return f"DeviceLockout/{self.owner}"

    def settings(self) -> dict[str, Any]:
        """What the functions need of it at run time, as `settings.json` in their package; durations in seconds."""
        return {
            "owner": self.owner,
            "bus": self.bus,
            "organizations": [{"id": each.id, "alias": each.alias} for each in self.organizations],
            "sources": [each.settings() for each in self.sources],
            "exempt_users": list(self.exempt_users),
            "webhooks": [
                {
                    "name": each.name,
                    "authenticate": each.authenticate,
                    "secret": each.secret,
                    "accept_previous_for": each.accept_previous_for,
                }
                for each in self.webhooks
            ],
            "reasons": {
                each.name: {"lock_for": each.lock_for, "at_most": each.at_most, "warn_before": each.warn_before}
                for each in self.reasons
            },
            "sweep": {
                "every": self.sweep.every,
                "mode": self.sweep.mode,
                "on_tampering": self.sweep.on_tampering,
                "max_removals": self.sweep.max_removals,
                "max_removals_percent": self.sweep.max_removals_percent,
                "max_reasserts": self.sweep.max_reasserts,
                "portion": self.sweep.portion,
                "report_only_after_missed": self.sweep.report_only_after_missed,
            },
            "limits": {
                "settle_seconds": self.limits.settle,
                "writer_timeout_seconds": self.limits.writer_timeout,
                "workmail_timeout_seconds": self.limits.workmail_timeout,
                "clock_skew_seconds": self.limits.clock_skew,
                "max_event_age": self.limits.max_event_age,
            },
        }


def load(name: str, directory: Path) -> Configuration:
    """The deployment `name`, from `directory/name.toml`; ConfigurationError with every mistake in it."""
    known = sorted(each.stem for each in directory.glob("*.toml"))
    there_are = f"there are: {', '.join(known) or 'none'}"
    file = f"{directory.name}/{name}.toml"
    if not name:
        raise ConfigurationError([f"no configuration is chosen: expected -c config=NAME or --config NAME; {there_are}"])
    if name not in known:
        raise ConfigurationError([f"{file}: there is no such configuration{meant(name, known)}; {there_are}"])
    return read((directory / f"{name}.toml").read_text(encoding="utf-8"), file)


def read(text: str, file: str) -> Configuration:
    """The configuration in a TOML text; `file` is its name in messages."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{file}: no valid TOML: {error}"]) from error
    problems: list[str] = []
    table = CheckedTable(values, "", lambda key, said: problems.append(f"{file}: {key}: {said}"))
    configuration = table.whole(_configuration)
    if problems:
        raise ConfigurationError(problems)
    return configuration


def _configuration(table: CheckedTable) -> Configuration:
    configuration = Configuration(
        owner=table.text("owner", r"[a-z0-9][a-z0-9-]{0,19}", "1 to 20 of a-z, 0-9 and '-', not beginning with '-'"),
        region=table.choice("region", REGIONS),
        bus=table.text(
            "bus",
            r"(?!default$|aws\.)[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
            "the name of the bus to create: 1 to 64 letters, digits, '.', '_', '-'; not 'default', not 'aws.…'",
        ),
        retain_data=table.boolean("retain_data"),
        organizations=table.tables("organizations", _organization),
        sources=table.tables("sources", sources.read_source),
        reasons=table.table("reasons", _reasons),
        sweep=table.table("sweep", _sweep),
        limits=table.table("limits", _limits),
        emails=table.table("notify", _emails),
        exempt_users=_texts_if_any(table, "exempt_users", r"[a-zA-Z0-9._%+@-]{1,256}", "a WorkMail user's name or ID"),
        partner_buses=_texts_if_any(table, "partner_buses", r"aws\.partner/[/.\w-]{1,244}", "aws.partner/…"),
        webhooks=table.tables("webhooks", sources.read_webhook) if "webhooks" in table else (),
    )
    table.unique("organizations", "id", [each.id for each in configuration.organizations])
    table.unique("organizations", "alias", [each.alias for each in configuration.organizations])
    table.unique("sources", "name", [each.name for each in configuration.sources])
    table.unique("webhooks", "name", [each.name for each in configuration.webhooks])
    sources.check_together(
        table, configuration.sources, configuration.webhooks, [each.name for each in configuration.reasons]
    )
    return configuration


def _organization(table: CheckedTable) -> Organization:
    return Organization(
        id=table.text("id", ORGANIZATION_ID, "'m-' and 32 hexadecimal digits in lower case"),
        alias=table.text("alias", r"[a-z][a-z0-9-]{0,31}", "1 to 32 of a-z, 0-9 and '-', beginning with a letter"),
    )


def _texts_if_any(table: CheckedTable, key: str, pattern: str, expected: str) -> tuple[str, ...]:
    texts = table.texts(key, pattern, expected) if key in table else ()
    table.unique("", key, texts)
    return texts


def _reasons(table: CheckedTable) -> tuple[Reason, ...]:
    for name in REQUIRED_REASONS:
        if name not in table:
            table.wrong(name, "missing: expected a table with lock_for and at_most")
    return table.named_tables(_reason)


def _reason(name: str, table: CheckedTable) -> Reason:
    lock_for, at_most = table.span("lock_for"), table.span("at_most")
    if table.sound and _longer(lock_for, at_most):
        table.refuse("lock_for", f"at most as long as at_most ({table.written('at_most')})")
    warn_before = table.duration("warn_before") if "warn_before" in table else None
    if table.sound and warn_before is not None and not _longer(lock_for, warn_before):
        table.refuse("warn_before", f"shorter than lock_for ({table.written('lock_for')})")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,15}", name):
        table.wrong("", "expected a name of 1 to 16 of a-z, 0-9 and '-', beginning with a letter")
    return Reason(name, lock_for, at_most, warn_before)


def _sweep(table: CheckedTable) -> Sweep:
    return Sweep(
        every=table.period("every", longest=3 * DAY),
        mode=table.choice("mode", ("apply", "report")),
        on_tampering=table.choice("on_tampering", ("reassert", "alert")),
        max_removals=table.number("max_removals", 0, 1_000_000),
        max_removals_percent=table.number("max_removals_percent", 1, 100),
        max_reasserts=table.number("max_reasserts", 0, 1_000_000),
        portion=table.number("portion", 1, 10_000),
        report_only_after_missed=table.number("report_only_after_missed", 1, 1000),
    )


def _limits(table: CheckedTable) -> Limits:
    limits = Limits(
        writer_timeout=table.number("writer_timeout_seconds", CALLS_OF_A_COMMAND + TIME_TO_BEGIN, 60),
        settle=table.number("settle_seconds", 1, 900),
        writer_concurrency=table.number("writer_concurrency", 2, 1000),
        workmail_timeout=table.number("workmail_timeout_seconds", 1, 20),
        clock_skew=table.number("clock_skew_seconds", 1, 300),
        max_event_age=table.duration("max_event_age", shortest=DAY, longest=365 * DAY),
        memory=table.number("memory_mb", 128, 10240),
        log_retention_days=table.choice("log_retention_days", LOG_RETENTION_DAYS),
    )
    most = (limits.writer_timeout - TIME_TO_BEGIN) // CALLS_OF_A_COMMAND
    if table.sound and limits.workmail_timeout > most:
        table.refuse(
            "workmail_timeout_seconds",
            f"at most {most}: a command makes up to {CALLS_OF_A_COMMAND} calls to WorkMail, and begins only while"
            f" writer_timeout_seconds ({limits.writer_timeout}) leaves time for them all after"
            f" {TIME_TO_BEGIN} seconds for what comes first",
        )
    return limits


def _emails(table: CheckedTable) -> tuple[str, ...]:
    emails = table.texts("emails", r"[^\s@]+@[^\s@]+\.[^\s@]+", "an e-mail address")
    table.unique("", "emails", emails)
    return emails


def _longer(one: Span, other: Span) -> bool:
    """Whether `one` outlasts `other`; "hold" outlasts every duration."""
    return other != "hold" and (one == "hold" or one > other)
