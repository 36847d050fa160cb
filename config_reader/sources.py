"""Read the configuration's sources of events and senders of webhooks.

A mapped source has an ``action`` and reads other people's events. Its pattern selects the events. Its JMESPath
expressions find a report's fields in them. Any other source sends events of the contract. Their ``source`` is its name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, get_args

from config_reader import event_pattern
from config_reader.checked_toml import DAY, CheckedTable, meant
from device_lockout.values import mapping_expression, outcome
from device_lockout.values.actions import ACTIONS, Permission
from device_lockout.values.policy import LOCKS_PER_HOUR
from device_lockout.values.settings import (
    FIELDS,
    MOST_ELEMENTS,
    OPERATOR,
    WEBHOOK_PREFIX,
    EventMapping,
    Source,
    Webhook,
)
from device_lockout.values.tag import REASON_PATTERN
from device_lockout.values.webhook_schemes import SCHEMES

ANYONE = "anyone"
"""The publishers of a source whose events anybody in the account may put on the bus, if IAM lets them."""
DEFAULT_BUS = "default"
"""The name of the account's default bus."""
BARE = ("user", "asset_tag")
"""Expressions for names that mean somebody only within a directory, a tenant or an account."""

OWN = (outcome.SOURCE, outcome.DRILL)
"""Sources of the deployment itself."""

MOST_ALLOWED = 500
"""The most elements that a configuration may let one event have."""

MOST_LOCKS = 10_000
"""The most locks that a configuration may let a source ask for in an hour."""

ACCOUNT_PATTERN = r"[0-9]{12}"

PARTNER_BUS = r"aws\.partner/[A-Za-z0-9_/.-]{1,244}"


@dataclass(frozen=True, slots=True)
class Forwarder:
    """An account and a region where events arise, with a stack of their own that forwards them.

    Attributes:
        name: What sources call it.
        account: Its account number.
        region: Its region.
        stack: The name of its stack, and of the role that puts the events on the deployment's bus.
        permissions_boundary: As of the deployment, in the forwarder's account.
        encryption_key: As of the deployment, in the forwarder's region.
    """

    name: str
    account: str
    region: str
    stack: str
    permissions_boundary: str = ""
    encryption_key: str = ""

    @property
    def role_arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role/{self.stack}"


@dataclass(frozen=True, slots=True)
class Route:
    """How a source's events arrive.

    Attributes:
        pattern: The EventBridge pattern that selects them.
        bus: Their bus: "default", or a partner's bus. None is the deployment's own bus.
        publishers: ARNs of IAM principals of any account, which may have wildcards. Nobody else may put these events on
            the deployment's own bus.
        organization: The ID of an organization whose principals may, too. Without either, the callers' own IAM policies
            decide.
        forwarders: Names of forwarders. They put the events on the deployment's own bus.
    """

    pattern: Mapping[str, Any]
    bus: str | None = None
    publishers: tuple[str, ...] = ()
    organization: str = ""
    forwarders: tuple[str, ...] = ()

    @property
    def on_own_bus(self) -> tuple[str, ...]:
        """The ``source`` values of its events on the deployment's own bus."""
        return event_pattern.sources(self.pattern) if self.bus is None else ()


type Routed = tuple[Source, Route]


def read_source(table: CheckedTable) -> Routed:
    """Return a source of either kind. :func:`check_together` checks its reason and its pattern."""
    name = table.text("name", r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}", "1 to 64 letters, digits, '.', '_', '/', '-'")
    if "action" in table or "pattern" in table:
        return _read_mapped(name, table)
    if name in OWN or name.lower().startswith(("aws.", WEBHOOK_PREFIX)):
        table.refuse(
            "name",
            f"a name of your own: {' and '.join(map(repr, OWN))}, 'aws.…' and '{WEBHOOK_PREFIX}…' are reserved"
            " (to read such events give the source a pattern and an action)",
        )
    may: tuple[Permission, ...] = get_args(Permission)
    source = Source(name, table.choices("may", may))
    publishers, organization = _publishers(table, source.may)
    a_person = name == OPERATOR and bool(publishers) and not organization
    most = None if a_person and "locks_per_hour" not in table else _locks_per_hour(table, source.may)
    source = _with_releases(replace(source, locks_per_hour=most), table)
    return source, Route({"source": [name]}, None, publishers, organization)


def _with_releases(source: Source, table: CheckedTable) -> Source:
    """Return the source with what its releases end. :func:`check_together` checks the reasons."""
    for key in ("releases", "releases_own_only"):
        if key in table and "release" not in source.may:
            table.wrong(key, "expected only of a source that may release")
    reasons: tuple[str, ...] = ()
    if "releases" in table:
        reasons = table.texts("releases", REASON_PATTERN, "the name of a table [reasons.…]")
        if not reasons:
            table.refuse("releases", "one reason or more; left out, its releases end locks of every reason")
    own_only = "releases_own_only" in table and table.boolean("releases_own_only")
    return replace(source, releases=frozenset(reasons), releases_own_only=own_only)


def _locks_per_hour(table: CheckedTable, may: frozenset[Permission]) -> int:
    """Return how many locks a source may ask for in an hour."""
    if "locks_per_hour" not in table:
        return LOCKS_PER_HOUR
    if "lock" not in may:
        table.wrong("locks_per_hour", "expected only of a source that may lock")
    return table.number("locks_per_hour", 1, MOST_LOCKS)


def _publishers(table: CheckedTable, may: frozenset[Permission]) -> tuple[tuple[str, ...], str]:
    """Return who may publish a source's events: principals and an organization. Empty ones mean anyone.

    What can let a device in must say so in words.
    """
    organization = ""
    if "publishers_organization" in table:
        organization = table.text("publishers_organization", r"o-[a-z0-9]{10,32}", "an AWS organization's ID, o-…")
        if "publishers" not in table:
            return (), organization
    if "publishers" not in table:
        powers = " and ".join(sorted(may - {"lock"}))
        if powers:
            table.wrong(
                "publishers",
                f'missing: expected ARNs of IAM roles or users, or "{ANYONE}": whoever may put events on the bus may'
                f" then {powers}; or publishers_organization",
            )
        return (), ""
    if not organization and table.says("publishers", ANYONE):
        return (), ""
    publishers = table.texts("publishers", rf"arn:aws:iam::{ACCOUNT_PATTERN}:[!-~]+", "the ARN of an IAM role or user")
    if not publishers:
        table.refuse("publishers", 'one ARN of an IAM role or user or more, or the word "anyone"')
    return publishers, organization


def _read_mapped(name: str, table: CheckedTable) -> Routed:
    bus = None
    if "bus" in table:
        bus = table.text("bus", rf"default|{PARTNER_BUS}", '"default" or a partner\'s bus, aws.partner/…')
    pattern = table.mapping("pattern", 'an EventBridge pattern, such as { source = ["aws.securityhub"] }')
    action = table.choice("action", [*ACTIONS])
    permission, namings = ACTIONS[action].permission, ACTIONS[action].identified_by
    locks = permission == "lock"
    reason = table.text("reason", REASON_PATTERN, "the name of a table [reasons.…]") if locks else ""
    force = locks and "force" in table and table.boolean("force")
    expressions = {key: _expression(table, key) for key in FIELDS if key in table}
    when, each = (_expression(table, key) if key in table else "" for key in ("when", "each"))
    at_most = _at_most(table, MOST_ALLOWED)
    if "at_most" in table and not each:
        table.wrong("at_most", "expected only with `each`: one event then makes several reports")
    if "expires_at" in expressions and not locks and not action.startswith("change"):
        table.wrong("expires_at", "expected only of a lock, or of a change of one")
    if table.sound and not any(all(key in expressions for key in naming) for naming in namings):
        wanted = " or ".join(" with ".join(naming) for naming in namings)
        table.wrong("action", f'"{action}" needs to know of whom: expected expressions for {wanted}')
    anybodys = bus == DEFAULT_BUS or "forwarders" in table
    _check_realm(table, pattern, needed=anybodys and not expressions.keys().isdisjoint(BARE))
    may: frozenset[Permission] = frozenset({permission, "force"} if force else {permission})
    forwarders: tuple[str, ...] = ()
    if "forwarders" in table:
        forwarders = table.texts("forwarders", r".+", "the name of a [[forwarders]]")
        if bus is not None or not forwarders:
            table.refuse("forwarders", "one name or more, and no bus: forwarders put events on our own bus")
    route = Route(pattern, bus, forwarders=forwarders)
    reserved = bus is not None or bool(forwarders) or all(name.startswith(WEBHOOK_PREFIX) for name in route.on_own_bus)
    publishers, organization = _publishers(table, frozenset() if reserved else may)
    if (publishers or organization) and bus is not None:
        table.wrong("publishers", "expected none with a bus: only our own bus has a policy of ours")
    if (publishers or organization) and forwarders:
        table.wrong("publishers", "expected none with forwarders: their roles are the publishers")
    source = Source(name, may, EventMapping(action, reason, expressions, when, each, at_most))
    source = replace(_with_releases(source, table), locks_per_hour=_locks_per_hour(table, may))
    return source, replace(route, publishers=publishers, organization=organization)


def _at_most(table: CheckedTable, most: int) -> int:
    """Return how many reports one event or one webhook may make."""
    return table.number("at_most", 1, most) if "at_most" in table else MOST_ELEMENTS


def _check_realm(table: CheckedTable, pattern: Mapping[str, Any], *, needed: bool) -> None:
    """Report names of which nobody knows whose they are.

    Another directory's eve is not ours. A partner's bus, a webhook's sender and a source on our own bus are one realm
    each. On a default bus, ours or a forwarder's, all accounts and directories come together: the pattern must pick one
    by its key.
    """
    expected = (
        'a key of the pattern that lists whose names these are, such as "account" or'
        ' "detail.requestParameters.directoryId"'
    )
    if "realm" not in table:
        if needed:
            table.wrong("realm", f"missing: expected {expected}, since anybody's events come to a default bus")
        return
    listed: Any = pattern
    for key in table.text("realm", r"account|resources|detail(\.[\w-]+)+", expected).split("."):
        listed = listed.get(key) if isinstance(listed, Mapping) else None
    if not listed or not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        table.refuse("realm", expected)


def _expression(table: CheckedTable, key: str) -> str:
    expected = "a JMESPath expression, such as detail.user"
    text = table.text(key, r".+", expected)
    wrong = next(mapping_expression.faults(text), "")
    if wrong:
        table.refuse(key, f"{expected} ({wrong})")
    return text


def read_webhook(table: CheckedTable) -> Webhook:
    """Return a sender of webhooks."""
    authenticate, header = table.choice("authenticate", [*SCHEMES]), ""
    fixed = SCHEMES[authenticate].header
    if "header" in table or not fixed:
        header = table.text("header", r"[A-Za-z0-9_-]{1,64}", "the name of an HTTP header, such as X-Api-Key")
        if fixed and table.sound:
            table.wrong("header", f'{table.written("header")}: expected none, since "{authenticate}" has {fixed}')
    return Webhook(
        name=table.text("name", r"[a-z0-9][a-z0-9-]{0,31}", "1 to 32 of a-z, 0-9 and '-'"),
        authenticate=authenticate,
        secret=table.text("secret", r"[A-Za-z0-9/_+=.@-]{1,512}", "the name, not the ARN, of a Secrets Manager secret"),
        accept_previous_for=(
            table.duration("accept_previous_for", longest=30 * DAY) if "accept_previous_for" in table else timedelta()
        ),
        header=header,
        at_most=_at_most(table, 100),  # each takes three calls, and the sender waits
    )


def read_forwarder(table: CheckedTable) -> Forwarder:
    """Return a forwarder. Its stack has no name yet."""
    account = table.text("account", ACCOUNT_PATTERN, "the 12 digits of an account")
    region = table.text(
        "region", r"(?!cn-)[a-z]{2}-[a-z]+-[0-9]", "an AWS region, such as us-east-1, and none of China or GovCloud"
    )
    return Forwarder(
        name=table.text("name", r"[a-z][a-z0-9-]{0,15}", "1 to 16 of a-z, 0-9 and '-', beginning with a letter"),
        account=account,
        region=region,
        stack="",
        permissions_boundary=read_arn(table, "permissions_boundary", *boundary_in(account)),
        encryption_key=read_arn(table, "encryption_key", *key_in(region)),
    )


def boundary_in(account: str | None) -> tuple[str, str]:
    """Return the pattern of the ARN of a policy that IAM takes as a boundary in this account, and what is expected."""
    where = f" in account {account}" if account else ""
    return rf"iam::({account or ACCOUNT_PATTERN}|aws):policy/[!-~]+", f"the ARN of an IAM policy{where}"


def key_in(region: str) -> tuple[str, str]:
    """Return the pattern of a key's ARN in the region, and what is expected."""
    key_id = r"(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    return rf"kms:{region}:{ACCOUNT_PATTERN}:key/{key_id}", f"the ARN of a KMS key in {region}, not of an alias"


def read_arn(table: CheckedTable, key: str, pattern: str, expected: str) -> str:
    """Return an optional ARN, "" for none. The pattern is that of what follows `aws:`, the partition of WorkMail."""
    return table.text(key, rf"arn:aws:{pattern}", expected) if key in table else ""


def check_together(
    table: CheckedTable,
    routed: Mapping[str, Routed],
    webhooks: Sequence[Webhook],
    reasons: Sequence[str],
    forwarders: Sequence[str],
    *,
    complete: bool,
) -> None:
    """Report mistakes that need the whole configuration. Patterns are among them, to be checked in one process.

    Args:
        table: The whole configuration.
        routed: The sources by their places in it, for messages.
        webhooks: The senders of webhooks.
        reasons: The names of the reasons.
        forwarders: The names of the forwarders.
        complete: Whether these are all sources. If not, nobody knows which sender's events no source reads.
    """
    _check_patterns(table, routed)
    for place, (source, _) in routed.items():
        locked = source.mapping.reason if source.mapping is not None else ""
        for key, named in (("reason", {locked} - {""}), ("releases", source.releases)):
            for reason in sorted(named - {*reasons}):
                table.wrong(
                    f"{place}.{key}",
                    f'"{reason}": expected one of the tables [reasons.…] ({", ".join(reasons)}), or one more',
                )
    _check_publishers(table, routed)
    _check_forwarders(table, routed, forwarders)
    _check_webhooks(table, routed, [each.name for each in webhooks], complete=complete)
    check_names(table, "sources[].name", [source.name for source, _ in routed.values()])


def _check_patterns(table: CheckedTable, routed: Mapping[str, Routed]) -> None:
    """Report patterns that EventBridge refuses or that match no event.

    On the deployment's own bus, a pattern must also list its sources. They are neither a source of the contract nor
    the source of the outcomes.
    """
    taken = {source.name for source, _ in routed.values() if source.mapping is None} | {*OWN}
    mapped = [(place, route) for place, (source, route) in routed.items() if source.mapping and route.pattern]
    said = event_pattern.faults([route.pattern for _, route in mapped])
    for (place, route), fault in zip(mapped, said, strict=True):
        unknown = event_pattern.unknown_keys(route.pattern)
        for key in unknown:
            table.wrong(
                f"{place}.pattern.{key}",
                f"no event has this{meant(key, event_pattern.KEYS)}: expected some of {', '.join(event_pattern.KEYS)}",
            )
        if fault:
            table.wrong(f"{place}.pattern", f"expected what EventBridge accepts as a pattern: {fault}")
        elif any(sign in name for name in route.on_own_bus for sign in "*?$"):
            table.wrong(
                f"{place}.pattern.source",
                f"{json.dumps(route.on_own_bus)}: expected names without '*', '?' and '$': the pattern takes these as"
                " they are, but the policy of the bus would deny, or leave open, other names",
            )
        elif route.bus is None and not unknown and (not route.on_own_bus or not taken.isdisjoint(route.on_own_bus)):
            table.wrong(
                f"{place}.pattern",
                'expected source = ["…"] with names that no source of the contract has, and not'
                f" {outcome.SOURCE!r}: a pattern on our own bus must not read what others answer for",
            )


def _check_publishers(table: CheckedTable, routed: Mapping[str, Routed]) -> None:
    """Report sources that read the same events and have different publishers. Webhooks have none."""
    answers: dict[str, Routed] = {}
    for place, (source, route) in routed.items():
        for name in route.on_own_bus:
            first, of_first = answers.setdefault(name, (source, route))
            key = f"{place}.{'forwarders' if route.forwarders else 'publishers'}"
            if _senders(route) and name.startswith(WEBHOOK_PREFIX):
                table.wrong(key, f'expected none: only the webhook function sends "{name}"')
            elif source.name != first.name and _senders(route) != _senders(of_first):
                table.wrong(key, f'expected the same as of source "{first.name}", which reads "{name}" as well')


def _senders(route: Route) -> set[str]:
    return {*route.publishers, *route.forwarders, route.organization} - {""}


def _check_forwarders(table: CheckedTable, routed: Mapping[str, Routed], forwarders: Sequence[str]) -> None:
    """Report unknown forwarders, and those that no source names."""
    for place, (_, route) in routed.items():
        for name in sorted({*route.forwarders} - {*forwarders}):
            table.wrong(
                f"{place}.forwarders",
                f'"{name}": expected the name of a [[forwarders]]{meant(name, forwarders)};'
                f" there are: {', '.join(forwarders) or 'none'}",
            )
    named = {name for _, route in routed.values() for name in route.forwarders}
    for number, name in enumerate(forwarders):
        if name and name not in named:
            table.wrong(
                f"forwarders[{number}].name", f'"{name}": expected a source that names it: it would forward nothing'
            )


def _check_webhooks(
    table: CheckedTable, routed: Mapping[str, Routed], webhooks: Sequence[str], *, complete: bool
) -> None:
    """Report senders whose events no source reads, and sources that read from an unknown sender."""
    read: set[str] = set()
    for place, (source, route) in routed.items():
        for name in route.on_own_bus if source.mapping is not None else ():
            sender = name.removeprefix(WEBHOOK_PREFIX)
            if sender == name:
                continue
            read.add(sender)
            if sender not in webhooks:
                known = ", ".join(webhooks) or "none"
                table.wrong(
                    f"{place}.pattern",
                    f'"{name}": expected the name of a [[webhooks]] behind {WEBHOOK_PREFIX}{meant(sender, webhooks)};'
                    f" there are: {known}",
                )
    for number, sender in enumerate(webhooks):
        if complete and sender and sender not in read:
            table.wrong(
                f"webhooks[{number}].name",
                f'"{sender}": expected a source with a pattern that reads "{WEBHOOK_PREFIX}{sender}": nobody would',
            )


def check_names(table: CheckedTable, where: str, names: Sequence[str]) -> None:
    """Report names that differ only in '/' and '--'. CDK makes one construct ID of both."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.replace("/", "--"), name)
        if other != name:
            table.wrong(
                where,
                f"{json.dumps(name)}: expected to differ from {json.dumps(other)} in more than '/' against '--'",
            )
