"""Where events come from: producers of the built-in contract, other people's events with a mapping, webhooks.

A source with an `action` reads other people's events: a pattern picks them out, JMESPath expressions find in them what
a report must say. One without speaks the contract, under its name as the events' `source`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jmespath
from jmespath.exceptions import JMESPathError

from infra import event_pattern
from infra.checked_toml import CheckedTable

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
    """A producer of events and what it may ask for; `publishers` (ARNs, or any if empty) alone may use its name."""

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
    """Somebody who can only call a URL: how it shows who it is, and the Secrets Manager secret for that."""

    name: str
    authenticate: Literal["hmac", "basic"]
    secret: str

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
    may = table.choices("may", ACTS)
    publishers: tuple[str, ...] = ()
    if "publishers" in table:
        publishers = table.texts("publishers", r"arn:aws[a-z-]*:iam::\d{12}:\S+", "the ARN of an IAM role or user")
    return Source(name, may, publishers)


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
    return Source(name, (may, "force") if force else (may,), (), Mapping(bus, pattern, action, reason, expressions))


def _expression(table: CheckedTable, key: str) -> str:
    expected = "a JMESPath expression, such as detail.user"
    text = table.text(key, r".+", expected)
    try:
        jmespath.compile(text)
    except JMESPathError as error:
        said = " ".join(str(error).split())
        table.refuse(key, f"{expected} ({said})")
    return text


def read_webhook(table: CheckedTable) -> Webhook:
    """A sender of webhooks."""
    return Webhook(
        name=table.text("name", r"[a-z0-9][a-z0-9-]{0,31}", "1 to 32 of a-z, 0-9 and '-'"),
        authenticate=table.choice("authenticate", ("hmac", "basic")),
        secret=table.text(
            "secret", r"arn:aws[a-z-]*:secretsmanager:\S+:secret:\S+", "the ARN of a Secrets Manager secret"
        ),
    )


def check_together(table: CheckedTable, sources: Sequence[Source], reasons: Sequence[str]) -> None:
    """Report at `table` what only shows when all sources are seen: unknown reasons, patterns, who is who on our bus."""
    mapped = [(place, source, source.mapping) for place, source in enumerate(sources) if source.mapping is not None]
    known = [(place, source, mapping) for place, source, mapping in mapped if mapping.pattern]
    said = event_pattern.faults([mapping.pattern for _, _, mapping in known])
    for (place, source, mapping), fault in zip(known, said, strict=True):
        if fault:
            table.wrong(f"sources[{place}].pattern", f"expected what EventBridge accepts as a pattern: {fault}")
        elif mapping.bus is None and not _is_ours_to_read(source, sources):
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


def _is_ours_to_read(source: Source, sources: Sequence[Source]) -> bool:
    taken = {other.name for other in sources if other.mapping is None} | {OUTCOME_SOURCE}
    return bool(source.on_our_bus) and taken.isdisjoint(source.on_our_bus)
