"""Where events come from: producers of the built-in contract, other people's events with a mapping, webhooks.

A source with an `action` reads other people's events: a pattern picks them out, JMESPath expressions find in them what
a report must say. One without speaks the contract, under its name as the events' `source`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from configuration import event_pattern
from configuration.checked_toml import DAY, CheckedTable, meant

Act = Literal["lock", "release", "inventory", "force"]
ACTS: Sequence[Act] = ("lock", "release", "inventory", "force")
"""What a source may ask for; `force`: locks of users who are exempt, too."""

Action = Literal["lock", "release", "lock-user", "release-user", "enroll", "retire"]
ACTIONS: Sequence[Action] = ("lock", "release", "lock-user", "release-user", "enroll", "retire")
"""What a mapped source's events ask for."""

EXPRESSIONS = ("organization", "user", "device", "serial_number", "asset_tag", "time", "reference", "note")
"""The fields of a report, each with a JMESPath expression over the whole event."""

OUTCOME_SOURCE = "device-lockout"
"""The `source` of what the system itself puts on the bus; no producer may use it."""

WEBHOOK_PREFIX = "webhook."
"""How the `source` of an event begins that came in through the webhook function; the sender's name follows."""

DEFAULT_BUS = "default"

_NAMING: dict[str, list[tuple[str, ...]]] = {
    "enroll": [("user", "device")],
    "lock-user": [("user",)],
    "release-user": [("user",)],
}
_NAMING_A_DEVICE: list[tuple[str, ...]] = [("user", "device"), ("serial_number",), ("asset_tag",)]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which events of which bus a source reads (`bus` None: our own), and how."""

    bus: str | None
    pattern: dict[str, Any]
    action: Action
    reason: str
    expressions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """A producer of events and what it may ask for.

    `publishers` are the ARNs of the IAM principals who alone may put its events on our bus, of this account or others;
    if there are none, whoever may put events there.
    """

    name: str
    may: tuple[Act, ...]
    publishers: tuple[str, ...] = ()
    mapping: Mapping | None = None

    @property
    def on_our_bus(self) -> tuple[str, ...]:
        """The `source` values of its events on our own bus."""
        if self.mapping is None:
            return (self.name,)
        return event_pattern.sources(self.mapping.pattern) if self.mapping.bus is None else ()

    def settings(self) -> dict[str, Any]:
        """What the functions need of it."""
        if self.mapping is None:
            return {"name": self.name, "may": list(self.may)}
        mapping = self.mapping
        read = {"action": mapping.action, "reason": mapping.reason, "expressions": mapping.expressions}
        return {"name": self.name, "may": list(self.may), "mapping": read}


@dataclass(frozen=True, slots=True)
class Webhook:
    """Somebody who can only call a URL: how it shows who it is, and the name of the secret for that.

    The secret is in Secrets Manager, in the deployment's account and region. `accept_previous_for`: for so many seconds
    after a rotation the value before is good, too.
    """

    name: str
    authenticate: Literal["hmac", "basic"]
    secret: str
    accept_previous_for: int = 0

    @property
    def source(self) -> str:
        return WEBHOOK_PREFIX + self.name


def read_source(table: CheckedTable) -> Source:
    """A source of either kind; the reason and the pattern of a mapped one are checked with all others."""
    name = table.text("name", r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}", "1 to 64 letters, digits, '.', '_', '/', '-'")
    if "action" in table or "pattern" in table:
        return _read_mapped(name, table)
    if name == OUTCOME_SOURCE or name.lower().startswith(("aws.", WEBHOOK_PREFIX)):
        table.refuse(
            "name",
            f"a name of your own: {OUTCOME_SOURCE!r}, 'aws.…' and '{WEBHOOK_PREFIX}…' are reserved"
            " (to read such events give the source a pattern and an action)",
        )
    return Source(name, table.choices("may", ACTS), _publishers(table))


def _publishers(table: CheckedTable) -> tuple[str, ...]:
    if "publishers" not in table:
        return ()
    publishers = table.texts("publishers", r"arn:aws[a-z-]*:iam::\d{12}:\S+", "the ARN of an IAM role or user")
    if not publishers:
        table.refuse("publishers", "one ARN of an IAM role or user or more; left out, anybody may publish")
    return publishers


def _read_mapped(name: str, table: CheckedTable) -> Source:
    bus = None
    if "bus" in table:
        bus = table.text("bus", r"default|aws\.partner/[/.\w-]{1,244}", '"default" or a partner\'s bus, aws.partner/…')
    pattern = table.mapping("pattern", 'an EventBridge pattern, such as { source = ["aws.securityhub"] }')
    action = table.choice("action", ACTIONS)
    locks = action in ("lock", "lock-user")
    reason = table.text("reason", r"[a-z][a-z0-9-]{0,15}", "the name of a table [reasons.…]") if locks else ""
    force = locks and "force" in table and table.boolean("force")
    expressions = {key: _expression(table, key) for key in EXPRESSIONS if key in table}
    if table.sound:
        namings = _NAMING.get(action, _NAMING_A_DEVICE)
        if not any(all(key in expressions for key in naming) for naming in namings):
            wanted = " or ".join(" with ".join(naming) for naming in namings)
            table.wrong("action", f'"{action}" needs to know of whom: expected expressions for {wanted}')
    may: Act = "inventory" if action in ("enroll", "retire") else "release" if "release" in action else "lock"
    publishers = _publishers(table)
    if publishers and bus is not None:
        table.wrong("publishers", "expected none with a bus: only our own bus has a policy of ours")
    mapping = Mapping(bus, pattern, action, reason, expressions)
    return Source(name, (may, "force") if force else (may,), publishers, mapping)


def _expression(table: CheckedTable, key: str) -> str:
    expected = "a JMESPath expression, such as detail.user"
    text = table.text(key, r".+", expected)
    try:
        wrong = next(_wrong_calls(jmespath.compile(text).parsed), "")
    except JMESPathError as error:
        wrong = " ".join(str(error).split())
    if wrong:
        table.refuse(key, f"{expected} ({wrong})")
    return text


def _wrong_calls(node: Any) -> Iterator[str]:
    """What is wrong with the calls of functions in a parsed expression; jmespath itself says so with an event only."""
    if not isinstance(node, dict):
        return
    if node["type"] == "function_expression":
        name, given, known = node["value"], len(node["children"]), Functions.FUNCTION_TABLE
        if name not in known:
            yield f"there is no function {name}(){meant(name, known)}"
        else:
            takes = known[name]["signature"]
            more = bool(takes[-1].get("variadic"))
            if given < len(takes) or (given > len(takes) and not more):
                yield f"{name}() takes {len(takes)} argument(s){' or more' if more else ''}, not {given}"
    for child in node["children"]:
        yield from _wrong_calls(child)


def read_webhook(table: CheckedTable) -> Webhook:
    """A sender of webhooks."""
    return Webhook(
        name=table.text("name", r"[a-z0-9][a-z0-9-]{0,31}", "1 to 32 of a-z, 0-9 and '-'"),
        authenticate=table.choice("authenticate", ("hmac", "basic")),
        secret=table.text("secret", r"[A-Za-z0-9/_+=.@-]{1,512}", "the name, not the ARN, of a Secrets Manager secret"),
        accept_previous_for=(
            table.duration("accept_previous_for", longest=30 * DAY) if "accept_previous_for" in table else 0
        ),
    )


def check_together(
    table: CheckedTable, sources: Sequence[Source], webhooks: Sequence[Webhook], reasons: Sequence[str]
) -> None:
    """Report at `table` what only shows when all sources are seen: unknown reasons, patterns, who is who on our bus."""
    mapped = [(place, source, source.mapping) for place, source in enumerate(sources) if source.mapping is not None]
    known = [(place, source, mapping) for place, source, mapping in mapped if mapping.pattern]
    said = event_pattern.faults([mapping.pattern for _, _, mapping in known])
    for (place, source, mapping), fault in zip(known, said, strict=True):
        unknown = event_pattern.unknown_keys(mapping.pattern)
        for key in unknown:
            table.wrong(
                f"sources[{place}].pattern.{key}",
                f"no event has this{meant(key, event_pattern.KEYS)}: expected some of {', '.join(event_pattern.KEYS)}",
            )
        if fault:
            table.wrong(f"sources[{place}].pattern", f"expected what EventBridge accepts as a pattern: {fault}")
        elif mapping.bus is None and not unknown and not _is_ours_to_read(source, sources):
            table.wrong(
                f"sources[{place}].pattern",
                'expected source = ["…"] with names that no source of the contract has, and not'
                f" {OUTCOME_SOURCE!r}: a pattern on our own bus must not read what others answer for",
            )
    for place, _, mapping in mapped:
        if mapping.reason and mapping.reason not in reasons:
            table.wrong(
                f"sources[{place}].reason",
                f'"{mapping.reason}": expected one of the tables [reasons.…] ({", ".join(reasons)}), or one more',
            )
    _check_publishers(table, sources)
    _check_webhooks(table, sources, [each.name for each in webhooks])
    _check_names(table, "sources[].name", [each.name for each in sources])


def _is_ours_to_read(source: Source, sources: Sequence[Source]) -> bool:
    taken = {other.name for other in sources if other.mapping is None} | {OUTCOME_SOURCE}
    return bool(source.on_our_bus) and taken.isdisjoint(source.on_our_bus)


def _check_publishers(table: CheckedTable, sources: Sequence[Source]) -> None:
    """Who may use a `source` is one answer, whichever of our sources reads it."""
    answers: dict[str, Source] = {}
    for place, source in enumerate(sources):
        for name in source.on_our_bus:
            first = answers.setdefault(name, source)
            if source.publishers and name.startswith(WEBHOOK_PREFIX):
                table.wrong(f"sources[{place}].publishers", f'expected none: only the webhook function sends "{name}"')
            elif set(source.publishers) != set(first.publishers):
                table.wrong(
                    f"sources[{place}].publishers",
                    f'expected the same as of source "{first.name}", which reads "{name}" as well',
                )


def _check_webhooks(table: CheckedTable, sources: Sequence[Source], webhooks: Sequence[str]) -> None:
    """Every sender's events are read, and nobody waits for those of a sender that there is not."""
    read: set[str] = set()
    for place, source in enumerate(sources):
        for name in source.on_our_bus if source.mapping is not None else ():
            sender = name.removeprefix(WEBHOOK_PREFIX)
            if sender == name:
                continue
            read.add(sender)
            if sender not in webhooks:
                known = ", ".join(webhooks) or "none"
                table.wrong(
                    f"sources[{place}].pattern",
                    f'"{name}": expected the name of a [[webhooks]] behind {WEBHOOK_PREFIX}{meant(sender, webhooks)};'
                    f" there are: {known}",
                )
    for place, sender in enumerate(webhooks):
        if sender and sender not in read:
            table.wrong(
                f"webhooks[{place}].name",
                f'"{sender}": expected a source with a pattern that reads "{WEBHOOK_PREFIX}{sender}": nobody would',
            )


def _check_names(table: CheckedTable, where: str, names: Sequence[str]) -> None:
    """CDK takes '/' for '--' in what constructs are called: two names that only differ in that are one to it."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.replace("/", "--"), name)
        if other != name:
            table.wrong(
                where,
                f"{json.dumps(name)}: expected to differ from {json.dumps(other)} in more than '/' against '--'",
            )
