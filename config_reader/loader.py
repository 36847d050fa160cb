"""Load a deployment's configuration from ``config/NAME.toml``, and check it as a whole.

Every mistake is one line: ``file: key: value: what is expected``. All are reported at once.
"""

import functools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, get_args

from config_reader import bus_limits, sources
from config_reader.catalogue import read_included
from config_reader.checked_toml import DAY, HOUR, MINUTE, SECOND, CheckedTable, meant
from config_reader.sources import ACCOUNT_PATTERN, Forwarder, Route
from device_lockout.values.actions import DETAIL_TYPES, Permission
from device_lockout.values.command import CALLS_OF_A_COMMAND
from device_lockout.values.mailbox_move import EXCHANGE
from device_lockout.values.outcome import DRILL
from device_lockout.values.policy import HonouredEdits, Reason
from device_lockout.values.settings import (
    END_OF_WORKMAIL,
    Limits,
    Organization,
    Settings,
    Source,
    Sweep,
)
from device_lockout.values.tag import OWNER_PATTERN, REASON_PATTERN

_CHECKOUT = Path(__file__).parent.parent / "config"
DIRECTORY = _CHECKOUT if _CHECKOUT.is_dir() else Path("config")
"""The checkout's ``config/``. Without a checkout, that of the current directory."""
CATALOGUE = DIRECTORY / "catalogue"

REGIONS = ("eu-west-1", "us-east-1", "us-west-2")
"""Where WorkMail exists: https://docs.aws.amazon.com/general/latest/gr/workmail.html"""

LOG_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""The days that CloudWatch Logs offers:
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html"""

_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

CHANNELS = {
    "slack": {"workspace": r"T[0-9A-Z]+", "channel": r"[CG][0-9A-Z]+"},
    "teams": {"tenant": _UUID, "team": _UUID, "channel": r"[\w=+/.,-]*%3[aA][\w=+/.,-]*%40[\w=+/.,-]*"},
}
"""The IDs of a channel in Slack and in Microsoft Teams:
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_Chatbot.html"""

DRILL_PERIODS = {"15 minutes": 15 * MINUTE, "1 hour": HOUR, "6 hours": 6 * HOUR, "12 hours": 12 * HOUR, "1 day": DAY}
"""What divides an hour or a day, so that a lock and its release keep their distance by the clock."""

USER = r"[a-zA-Z0-9._%+@-]{1,256}"
"""What WorkMail knows a user by."""

TIME_TO_BEGIN = 2
"""Seconds that a run of the writer may take before its first command."""

PAGES = 20
"""So many outcomes page in five minutes unless the configuration says otherwise. Nobody reads more."""


class ConfigurationError(Exception):
    """The configuration can't be used. The message has one line per mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


MOST_TAGS = 49
"""AWS takes 50 tags of a resource, and one is the stack's own."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration of one deployment.

    Attributes:
        settings: The settings that the functions run with.
        routes: Each source's route, by the source's name.
        region: The AWS region of the deployment and its organizations.
        bus: The name of the event bus to create.
        retain_data: Whether the ledger and the logs stay when the stack is deleted.
        notices: Who gets notices.
        writer_concurrency: The most writers that run at a time.
        memory: The memory of each function, in MB.
        log_retention_days: The days that CloudWatch Logs keeps the logs.
        partner_buses: The names of the partners' buses to create.
        operators: ARNs of the IAM principals who may send to the queues by hand, and redrive dead letters.
        tamper_watch: Whether a change of an override that CloudTrail saw is looked at at once.
        account: The deployment's account number; None for that of the credentials.
        forwarders: Where else events arise.
        forward_outcomes: The ARN of the bus that gets every outcome, too; empty for none.
        ledger_table: The name of the existing table to use as the ledger; empty if the stack makes one.
        router_concurrency: The most routers that run at a time; None for as many as Lambda starts.
        reserve_concurrency: Whether these executions are taken out of the account's and kept for the functions.
        permissions_boundary: The ARN of a policy that bounds every role, or "".
        encryption_key: The ARN of a KMS key for the topic, the logs, the table and the queues; "" for AWS's own.
        tags: Tags of every resource, beside the deployment's own.
        log_names: Whether the functions' logs show users and devices. Otherwise they have hashes.
        drill: The drill that runs by itself; None for none.
        dashboard: Whether there is a dashboard, with saved queries of the logs.
    """

    settings: Settings
    routes: Mapping[str, Route]
    region: str
    bus: str
    retain_data: bool
    notices: "Notify"
    writer_concurrency: int
    memory: int
    log_retention_days: int
    partner_buses: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    tamper_watch: bool = True
    account: str | None = None
    forwarders: tuple[Forwarder, ...] = ()
    forward_outcomes: str = ""
    ledger_table: str = ""
    router_concurrency: int | None = None
    reserve_concurrency: bool = False
    permissions_boundary: str = ""
    encryption_key: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    log_names: bool = False
    drill: "Drill | None" = None
    dashboard: bool = True

    @property
    def metrics_namespace(self) -> str:
        """The deployment's own namespace in CloudWatch. It keeps the metrics of two deployments apart."""
        return f"DeviceLockout/{self.settings.owner}"

    def forwarder(self, name: str) -> Forwarder:
        """Return the forwarder of that name.

        Raises:
            ConfigurationError: There is none.
        """
        for known in self.forwarders:
            if known.name == name:
                return known
        names = [known.name for known in self.forwarders]
        raise ConfigurationError(
            [f"there is no forwarder {name!r}{meant(name, names)}; there are: {', '.join(names) or 'none'}"]
        )


@dataclass(frozen=True, slots=True)
class Notify:
    """Who gets notices.

    Attributes:
        emails: Addresses.
        urls: HTTPS endpoints. Each must answer SNS's request to confirm.
        topic: The ARN of a topic that exists and has its own subscribers. Then the stack creates none for these.
        channels: Channels in chat, each with its kind and its IDs, as :data:`CHANNELS` has them.
        digest: When the day's digest comes, as `HH:MM` in UTC. Empty for none: all that pages then comes at once.
    """

    emails: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    topic: str = ""
    channels: tuple[tuple[str, Mapping[str, str]], ...] = ()
    digest: str = ""


class Drill(NamedTuple):
    """A device that nobody uses, by WorkMail's names, to be locked and let back in once in each period."""

    every: timedelta
    organization: str
    user: str
    device: str


def load(name: str, directory: Path = DIRECTORY) -> Configuration:
    """Return the configuration of the deployment ``name``, or that in the file ``name`` if it ends in ``.toml``.

    Raises:
        ConfigurationError: There is no such file, or it has mistakes.
    """
    if name.endswith(".toml") and Path(name).is_file():
        return read(Path(name).read_text(encoding="utf-8"), name)
    known = sorted(each.stem for each in directory.glob("*.toml"))
    there_are = f"there are: {', '.join(known) or 'none'}"
    file = f"{directory.name}/{name}.toml"
    if not name:
        raise ConfigurationError([f"no configuration is chosen: expected -c config=NAME or --config NAME; {there_are}"])
    if name not in known:
        file = name if name.endswith(".toml") else file
        raise ConfigurationError([f"{file}: there is no such configuration{meant(name, known)}; {there_are}"])
    configuration = read((directory / f"{name}.toml").read_text(encoding="utf-8"), file)
    problems = [problem for other in known if other != name for problem in _same(configuration, directory, other)]
    if problems:
        raise ConfigurationError([f"{file}: {problem}" for problem in problems])
    return configuration


def _same(configuration: Configuration, directory: Path, other: str) -> Iterator[str]:
    """Yield what may not be the same in another file for the same account and region.

    Two stacks can't create one bus, and with one owner each deployment would replace the other's.
    """
    try:
        theirs = tomllib.loads((directory / f"{other}.toml").read_text(encoding="utf-8"))
    except ValueError:
        return
    if (theirs.get("account", ""), theirs.get("region")) != (configuration.account, configuration.region):
        return
    for key, value in {"owner": configuration.settings.owner, "bus": configuration.bus}.items():
        if theirs.get(key) == value:
            where = f"{directory.name}/{other}.toml, which is for the same account and region"
            yield f"{key}: {value!r}: expected another one than in {where}"


def read(text: str, file: str) -> Configuration:
    """Return the configuration in a TOML text. Its name in messages is ``file``.

    Raises:
        ConfigurationError: The text has mistakes.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{file}: no valid TOML: {error}"]) from error
    problems: list[str] = []
    table = CheckedTable(values, "", lambda key, said: problems.append(f"{file}: {key}: {said}"))
    configuration = table.whole(_configuration)
    problems = problems or [f"{file}: {problem}" for problem in bus_limits.problems(configuration)]
    if problems:
        raise ConfigurationError(problems)
    return configuration


def _configuration(table: CheckedTable) -> Configuration:
    owner = table.text("owner", OWNER_PATTERN, "1 to 20 of a-z, 0-9 and '-', not beginning with '-'")
    region = table.choice("region", REGIONS)
    bus = table.text(
        "bus",
        r"(?!default$|aws\.)[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        "the name of the bus to create: 1 to 64 letters, digits, '.', '_', '-'; not 'default', not 'aws.…'",
    )
    retain_data = table.boolean("retain_data")
    organizations = table.tables("organizations", _organization)
    own = table.tables("sources", sources.read_source) if "sources" in table or "include" not in table else ()
    included = read_included(table, CATALOGUE, [each.alias for each in organizations])
    placed = {f"sources[{number}]": routed for number, routed in enumerate(own)}
    drill = table.table("drill", functools.partial(_drill, organizations)) if "drill" in table else None
    if drill:
        may: frozenset[Permission] = frozenset({"lock", "release"})
        route = Route({"source": [DRILL]})  # its publisher is a role of the stack's
        placed["drill"] = (Source(DRILL, may, releases_own_only=True), route)
    placed |= {f"include[{number}].{routed[0].name}": routed for number, some in enumerate(included) for routed in some}
    routed = [*placed.values()]
    reasons = table.table("reasons", _reasons)
    sweep = table.table("sweep", _sweep)
    limits, running = table.table("limits", _limits)
    notices = table.table("notify", functools.partial(_notify, region))
    exempt = _texts_if_any(table, "exempt_users", USER, "a WorkMail user's name or ID")
    honoured: tuple[HonouredEdits, ...] = get_args(HonouredEdits)
    honour_edits = table.choice("honour_edits", honoured) if "honour_edits" in table else "all"
    operators = _texts_if_any(
        table, "operators", rf"arn:aws:iam::{ACCOUNT_PATTERN}:(role|user)/[!-~]+", "the ARN of an IAM role or user"
    )
    partner_buses = _texts_if_any(table, "partner_buses", sources.PARTNER_BUS, "aws.partner/…")
    ledger_table = ""
    if "ledger_table" in table:
        ledger_table = table.text(
            "ledger_table", r"[A-Za-z0-9_.-]{3,255}", "the name of a DynamoDB table in this account"
        )
    sources.check_names(table, "partner_buses", partner_buses)
    # A bus of this name would send them for ever.
    another = rf"events:(?!\S+/{re.escape(bus)}$)[a-z0-9-]+:{ACCOUNT_PATTERN}:event-bus/[A-Za-z0-9_./-]+"
    outcomes = sources.read_arn(table, "forward_outcomes", another, "the ARN of an event bus of another name")
    account = table.text("account", ACCOUNT_PATTERN, "the 12 digits of an account") if "account" in table else None
    boundary = sources.read_arn(table, "permissions_boundary", *sources.boundary_in(account))
    key = sources.read_arn(table, "encryption_key", *sources.key_in(region))
    tags = table.table("tags", _tags) if "tags" in table else {}
    webhooks = table.tables("webhooks", sources.read_webhook) if "webhooks" in table else ()
    forwarders = _forwarders(table, owner)
    if forwarders and account is None:
        table.wrong("account", "missing: expected the deployment's account number, to which the forwarders send")
    table.unique("organizations", "id", [each.id for each in organizations])
    table.unique("organizations", "alias", [each.alias for each in organizations])
    table.unique("sources", "name", [source.name for source, _ in routed])
    table.unique("webhooks", "name", [each.name for each in webhooks])
    # With one key, a request signed for one sender would pass under another's name.
    table.unique("webhooks", "secret", [each.secret for each in webhooks])
    sources.check_together(
        table, placed, webhooks, [*reasons], [each.name for each in forwarders], complete=all(included)
    )
    return Configuration(
        settings=Settings(
            owner=owner,
            organizations=organizations,
            sources=tuple(source for source, _ in routed),
            reasons=reasons,
            sweep=sweep,
            limits=limits,
            honour_edits=honour_edits,
            exempt_users=frozenset(exempt),
            webhooks=webhooks,
        ),
        routes={source.name: _with_roles(route, forwarders) for source, route in routed},
        region=region,
        bus=bus,
        retain_data=retain_data,
        notices=notices,
        partner_buses=partner_buses,
        operators=operators,
        tamper_watch="tamper_watch" not in table or table.boolean("tamper_watch"),
        account=account,
        forwarders=forwarders,
        forward_outcomes=outcomes,
        ledger_table=ledger_table,
        permissions_boundary=boundary,
        encryption_key=key,
        tags=tags,
        log_names="log_names" in table and table.boolean("log_names"),
        drill=drill,
        dashboard="dashboard" not in table or table.boolean("dashboard"),
        **running,
    )


def _forwarders(table: CheckedTable, owner: str) -> tuple[Forwarder, ...]:
    """Return the forwarders, each with the name of its stack."""
    found = table.tables("forwarders", sources.read_forwarder) if "forwarders" in table else ()
    table.unique("forwarders", "name", [each.name for each in found])
    return tuple(replace(each, stack=f"{bus_limits.stack_name(owner)}-{each.name}") for each in found)


def _with_roles(route: Route, forwarders: Sequence[Forwarder]) -> Route:
    """Return the route, with the roles of its forwarders as publishers."""
    roles = tuple(each.role_arn for each in forwarders if each.name in route.forwarders)
    return replace(route, publishers=roles) if roles else route


def _drill(organizations: Sequence[Organization], table: CheckedTable) -> Drill:
    aliases = {each.alias: each.id for each in organizations} or {"": ""}
    named = len(aliases) > 1 or "organization" in table
    return Drill(
        every=DRILL_PERIODS[table.choice("every", [*DRILL_PERIODS])],
        organization=aliases[table.choice("organization", [*aliases]) if named else next(iter(aliases))],
        user=table.text("user", USER, "a WorkMail user's name or ID"),
        device=table.text("device", r"[A-Za-z0-9]{1,32}", "a device ID, 1 to 32 letters and digits"),
    )


def _organization(table: CheckedTable) -> Organization:
    moved = "moved_at" in table or "moved_to" in table
    return Organization(
        id=table.text("id", r"m-[0-9a-f]{32}", "'m-' and 32 hexadecimal digits in lower case"),
        alias=table.text("alias", r"[a-z][a-z0-9-]{0,31}", "1 to 32 of a-z, 0-9 and '-', beginning with a letter"),
        ends_at=table.instant("ends_at") if "ends_at" in table else END_OF_WORKMAIL,
        moved_at=table.instant("moved_at") if moved else None,
        moved_to=_moved_to(table) if moved else "",
    )


def _moved_to(table: CheckedTable) -> str:
    return table.text("moved_to", r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}", f'"{EXCHANGE}", or another product in words')


def _texts_if_any(table: CheckedTable, key: str, pattern: str, expected: str) -> tuple[str, ...]:
    texts = table.texts(key, pattern, expected) if key in table else ()
    table.unique("", key, texts)
    return texts


def _reasons(table: CheckedTable) -> dict[str, Reason]:
    """Return the reasons by name. Those of the contract's detail-types are required."""
    for name in dict.fromkeys(kind.reason for kind in DETAIL_TYPES.values() if kind.reason):
        if name not in table:
            table.wrong(name, "missing: expected a table with lock_for and at_most")
    return {reason.name: reason for reason in table.named_tables(_reason)}


def _reason(name: str, table: CheckedTable) -> Reason:
    lock_for, at_most = table.span("lock_for"), table.span("at_most")
    if table.sound and _longer(lock_for, at_most):
        table.refuse("lock_for", f"at most as long as at_most ({table.written('at_most')})")
    warn_before = table.duration("warn_before") if "warn_before" in table else None
    if table.sound and warn_before is not None and not _longer(lock_for, warn_before):
        table.refuse("warn_before", f"shorter than lock_for ({table.written('lock_for')})")
    if not re.fullmatch(REASON_PATTERN, name):
        table.wrong("", "expected a name of 1 to 16 of a-z, 0-9 and '-', beginning with a letter")
    return Reason(name, lock_for, at_most, warn_before)


def _sweep(table: CheckedTable) -> Sweep:
    return Sweep(
        every=table.period("every", longest=3 * DAY),
        mode=table.choice("mode", ("apply", "report")),
        max_removals=table.number("max_removals", 0, 1_000_000),
        max_removals_percent=table.number("max_removals_percent", 1, 100),
        max_reasserts=table.number("max_reasserts", 0, 1_000_000),
        portion=table.number("portion", 1, 10_000),
        report_only_after_missed=table.number("report_only_after_missed", 1, 1000),
    )


def _limits(table: CheckedTable) -> tuple[Limits, dict[str, Any]]:
    """Return the limits, and how functions run: the other keys of a :class:`Configuration`."""
    writer_timeout = table.seconds("writer_timeout_seconds", CALLS_OF_A_COMMAND + TIME_TO_BEGIN, 60)
    settle = table.seconds("settle_seconds", 1, 900)
    writer_concurrency = table.number("writer_concurrency", 2, 1000)
    workmail_timeout = table.seconds("workmail_timeout_seconds", 1, 20)
    clock_skew = table.seconds("clock_skew_seconds", 1, 300)
    max_event_age = table.duration("max_event_age", shortest=DAY, longest=365 * DAY)
    memory = table.number("memory_mb", 128, 10240)
    log_retention_days = table.choice("log_retention_days", LOG_RETENTION_DAYS)
    router_concurrency = table.number("router_concurrency", 2, 1000) if "router_concurrency" in table else None
    reserve_concurrency = "reserve_concurrency" in table and table.boolean("reserve_concurrency")
    pages = table.number("pages_in_five_minutes", 5, 1000) if "pages_in_five_minutes" in table else PAGES
    most = (writer_timeout // SECOND - TIME_TO_BEGIN) // CALLS_OF_A_COMMAND
    if table.sound and workmail_timeout > most * SECOND:
        table.refuse(
            "workmail_timeout_seconds",
            f"at most {most}: a command makes up to {CALLS_OF_A_COMMAND} calls to WorkMail, and begins only while"
            f" writer_timeout_seconds ({table.written('writer_timeout_seconds')}) leaves time for them all after"
            f" {TIME_TO_BEGIN} seconds for what comes first",
        )
    limits = Limits(writer_timeout, settle, workmail_timeout, clock_skew, max_event_age, pages)
    return limits, {
        "writer_concurrency": writer_concurrency,
        "router_concurrency": router_concurrency,
        "reserve_concurrency": reserve_concurrency,
        "memory": memory,
        "log_retention_days": log_retention_days,
    }


def _notify(region: str, table: CheckedTable) -> Notify:
    emails = table.texts("emails", r"[^\s@]+@[^\s@]+\.[^\s@]+", "an e-mail address")
    table.unique("", "emails", emails)
    urls = _texts_if_any(table, "urls", r"https://[^\s/]+\S*", "a URL that begins with https://")
    sources.check_names(table, "urls", urls)
    topic = ""
    if "topic" in table:
        said = f"the ARN of an SNS topic in {region}, not FIFO: alarms reach no other region"
        topic = table.text("topic", rf"arn:aws:sns:{region}:{ACCOUNT_PATTERN}:[A-Za-z0-9_-]{{1,256}}", said)
        if emails or urls:
            table.refuse("topic", "no emails and no urls beside it: the topic has its own subscribers")
    channels = tuple(
        (kind, channel)
        for kind, patterns in CHANNELS.items()
        if kind in table
        for channel in table.tables(kind, functools.partial(_channel, patterns))
    )
    digest = "digest" in table and table.text("digest", r"([01]\d|2[0-3]):[0-5]\d", "a time in UTC such as 08:00")
    return Notify(emails, urls, topic, channels, digest or "")


def _channel(patterns: Mapping[str, str], table: CheckedTable) -> Mapping[str, str]:
    return {key: table.text(key, pattern, f"an ID that matches {pattern}") for key, pattern in patterns.items()}


def _tags(table: CheckedTable) -> dict[str, str]:
    # https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
    name, value = r"(?!(?i:aws:|device-lockout$))[\w .:/=+@-]{1,128}", r"[\w .:/=+@-]{0,256}"
    letters = "letters, digits, spaces and . : / = + @ _ -"
    said = f"1 to 128 {letters}, not beginning with aws:, and not device-lockout"
    tags = table.named_texts(name, said, value, f"up to 256 {letters}")
    table.unique("", "in any case", map(str.lower, tags))  # as IAM compares the names of a role's tags
    if len(tags) > MOST_TAGS:
        table.wrong("", f"{len(tags)} tags: expected at most {MOST_TAGS}")
    return tags


def _longer(one: timedelta | None, other: timedelta | None) -> bool:
    """Return whether ``one`` is longer than ``other``. None is a hold, and longer than any duration."""
    return other is not None and (one is None or one > other)
