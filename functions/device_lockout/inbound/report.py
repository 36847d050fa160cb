"""Reports: an event from the bus, checked against the contract and read into a command.

A report with a fault becomes a rejection, which names every fault at once.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from device_lockout.inbound import contract, event_mapping, lenient_reading, tamper_watch
from device_lockout.inbound.contract import MAX_FAULTS, display, parse_time, suggestion, text
from device_lockout.inbound.event_time import Moment, end_of_second, moment
from device_lockout.values import instant
from device_lockout.values.actions import ACTIONS, DETAIL_TYPES, Action, DetailType
from device_lockout.values.command import (
    Cause,
    Change,
    Command,
    Enroll,
    Lock,
    Reject,
    Release,
    Retire,
    Target,
    claim_id,
)
from device_lockout.values.device import DeviceName
from device_lockout.values.errors import TransientError
from device_lockout.values.lean_dataclass import dataclass
from device_lockout.values.mapping_expression import read_json
from device_lockout.values.outcome import SOURCE
from device_lockout.values.policy import Reason
from device_lockout.values.record import Claim, Ending
from device_lockout.values.settings import UNREADABLE, WEBHOOK_PREFIX, EventMapping, Settings, Source
from device_lockout.values.tag import SHOWN_NOTE

MAX_REASON_LENGTH = 16_000
"""Characters. Queue, ledger, bus and notices have room for a rejection's reason of this length in any alphabet."""

FORGIVEN: tuple[Action, ...] = ("lock", "lock-user", "enroll")
"""What is done although the report's own time can't be read. The event's time counts then."""


def read(body: str, message_id: str, received: datetime, settings: Settings) -> tuple[Command, ...]:
    """Return the commands that an event asks for, or their rejections. An event that is not meant has none.

    :mod:`device_lockout.inbound.event_time` says when it happened. A lock from the future locks now and says so. A
    release from the future is rejected.

    Args:
        body: The event as EventBridge delivers it. From a source with a mapping it is ``{"mappedSource", "event"}``.
            The tamper watch's rule names our own source there.
        message_id: SQS's ID of the message. It stands in for an event without an ID.
        received: When SQS received the message.
        settings: The deployment's settings.

    Raises:
        TransientError: The event is of a mapped source that the settings lack. During a deployment a rule and these
            settings differ for a while.
    """
    event = _parse(body)
    if event.get("mappedSource") == SOURCE and isinstance(event.get("event"), dict):
        return tamper_watch.read(event["event"], message_id, received, settings)
    named = text(event.get("mappedSource"))
    if named and isinstance(event.get("event"), dict):
        mapped = settings.source(named)
        if mapped is None or mapped.mapping is None:
            raise TransientError(
                f"mappedSource is {display(named)}: expected a source with an action in the configuration"
            )
        event, mapping = event["event"], mapped.mapping
        kind = DetailType(mapping.action, ACTIONS[mapping.action].schema, mapping.reason)
        parts, faults = event_mapping.elements(mapping, event)
        if parts and event.get("source") == SOURCE:
            faults.append(f'source is "{SOURCE}": expected another, since only the sweep asks in this name')
        if faults:
            return (_Report(event, message_id, received, kind, mapped, settings).rejection(faults),)
        commands = [
            _Report(part, message_id, received, kind, mapped, settings, number if len(parts) > 1 else 0).command()
            for number, part in enumerate(parts, 1)
        ]
        # Of two about one device and one time the second is a copy: so the one that lasts longest goes first.
        commands.sort(key=lambda each: each.claim.until if isinstance(each, Lock | Change) else received, reverse=True)
        return tuple(commands)
    name = text(event.get("source"))
    known = settings.source(name)
    source = known if known is not None and known.mapping is None else None
    report = _Report(event, message_id, received, DETAIL_TYPES.get(text(event.get("detail-type"))), source, settings)
    if name.startswith(WEBHOOK_PREFIX) and name.endswith(UNREADABLE) and isinstance(event.get("detail"), dict):
        return (report.rejection([text(event["detail"].get("because"))]),)
    return (report.command(),)


@dataclass(frozen=True, slots=True)
class _Report:
    """One report, to be read."""

    event: dict[str, Any]  # The event. One of several has its element under the key ``each``.
    message_id: str  # SQS's ID of the message.
    received: datetime  # When SQS received the message.
    kind: DetailType | None  # What the event asks for; None if its detail-type is unknown.
    source: Source | None  # The configured source; None if it is unknown.
    settings: Settings  # The deployment's settings.
    part: int = 0  # Which of several reports of the event this is, from 1; 0 for the only one.

    def command(self) -> Command:
        """Return the command that the report asks for, or its rejection."""
        event, kind, source, settings, received = self.event, self.kind, self.source, self.settings, self.received
        mapping = self._mapping
        detail: object
        forgive = kind is not None and kind.action in FORGIVEN
        faults: list[str] = []
        notes: list[str] = []
        written: dict[str, Any] = {}
        if mapping is not None:
            detail, failed = event_mapping.detail(mapping, event)
            dispensable = failed.keys() & {*lenient_reading.LENGTHS, *(("reportedAt", "expiresAt") if forgive else ())}
            faults = [failed[field] for field in failed if field not in dispensable]
            notes = [f"{field} was left out, since its expression can't be evaluated" for field in sorted(dispensable)]
        else:
            detail = event.get("detail")
            faults += _envelope_faults(event, kind, source, settings)
        if isinstance(detail, dict):
            written = detail
            detail, left_out = lenient_reading.tidy(detail, forgive=forgive)
            notes += left_out
        if kind is not None:
            faults += contract.faults(kind.schema, detail, mapping)

        fields: dict[str, Any] = detail if isinstance(detail, dict) else {}
        when = moment(parse_time(fields.get("reportedAt")), lenient_reading.read_time(event.get("time")), received)
        locks = kind is not None and ACTIONS[kind.action].permission == "lock"
        if locks and when.future:
            notes.append(f"{when.future}; it counts from {instant.write(when.happened)}")
        cause = self._cause(
            when.happened, text(fields.get("reference"), 64), "; ".join(notes), text(fields.get("reporter"))
        )
        organization = _organization(fields.get("organizationId"), received, settings, mapping, faults)
        faults += _time_faults(when, kind, received, settings)
        target = _target(fields, organization, kind)
        whose = _whose(text(fields.get("lockedBy")), cause.source, source, faults)
        reason = _reason(kind, settings)
        if reason is not None and parse_time(fields.get("expiresAt")) is not None:
            fault = reason.fault(when.began, _end(fields, reason, when.began))
            if fault:
                faults.append(f"{contract.found('expiresAt', written['expiresAt'], mapping)}: {fault}")
        if faults or kind is None or source is None:
            return _rejection(cause, target, faults)
        claim = _claim(cause, kind, fields, reason, when) if reason is not None else None
        return _command(cause, target, kind, source, whose, claim)

    def rejection(self, faults: list[str]) -> Reject:
        """Return the rejection of an event whose reports can't be told apart."""
        when = moment(None, lenient_reading.read_time(self.event.get("time")), self.received)
        return _rejection(self._cause(when.happened), Target("", ""), faults)

    @property
    def _mapping(self) -> EventMapping | None:
        return self.source.mapping if self.source is not None else None

    def _cause(self, happened: datetime, reference: str = "", correction: str = "", reporter: str = "") -> Cause:
        return Cause(
            event_id=_event_id(self.event) or self.message_id,
            source=text(self.event.get("source")),
            detail_type=text(self.event.get("detail-type")),
            happened=happened,
            received=self.received,
            reference=reference,
            reader=self.source.name if self.source is not None and self._mapping is not None else "",
            correction=correction,
            part=self.part,
            reporter=reporter,
        )


def _command(
    cause: Cause, target: Target, kind: DetailType, source: Source, whose: str, claim: Claim | None
) -> Command:
    """Return what a report without faults asks for. A lock and a change of one have a ``claim``."""
    ending = Ending(ACTIONS[kind.action].scope, source.releases, whose)
    match kind.action:
        case "release" | "release-user":
            return Release(cause, target, ending)
        case "enroll":
            return Enroll(cause, target)
        case "retire":
            return Retire(cause, target)
        case "change" | "change-user" | "lock" | "lock-user":
            assert claim is not None, "the configuration has every reason that a source gives"
            if kind.reason:
                return Lock(cause, target, claim, "force" in source.may)
            return Change(cause, target, ending, claim, "lock" in source.may)


def _rejection(cause: Cause, target: Target, faults: list[str]) -> Reject:
    if len(faults) > MAX_FAULTS:
        faults = [*faults[:MAX_FAULTS], f"and {len(faults) - MAX_FAULTS} faults more"]
    return Reject(cause, target, text("; ".join(faults), MAX_REASON_LENGTH))


def _time_faults(when: Moment, kind: DetailType | None, received: datetime, settings: Settings) -> Iterator[str]:
    """Yield what keeps an event from being acted on: a release from the future, and an event that is too old."""
    if when.future and kind is not None and ACTIONS[kind.action].permission == "release":
        yield f"{when.future}: a release from a clock that is ahead could end a later lock"
    if when.happened < received - settings.limits.max_event_age:
        yield (
            f"the event happened at {instant.write(when.happened)}:"
            f" expected no more than {settings.limits.max_event_age.days} days before it was received"
        )


def _reason(kind: DetailType | None, settings: Settings) -> Reason | None:
    if kind is not None and kind.action.startswith("change"):
        return Reason("", None, None)  # the one of the lock that it changes
    return settings.reasons.get(kind.reason) if kind is not None else None


def _claim(cause: Cause, kind: DetailType, fields: dict[str, Any], reason: Reason, when: Moment) -> Claim:
    """Return the lock that a report without faults asks for."""
    return Claim(
        id=claim_id(cause.event_id),
        scope=ACTIONS[kind.action].scope,
        why=reason.name,
        at=end_of_second(cause.happened, cause.received),
        until=_end(fields, reason, when.began),
        source=cause.source,
        reference=cause.reference,
        note=text(fields.get("note"), SHOWN_NOTE),
    )


def _end(fields: dict[str, Any], reason: Reason, began: datetime) -> datetime:
    """Return when a lock ends: the report's own end, or the one of its reason."""
    expires = fields.get("expiresAt")
    return reason.until(began) if expires is None else instant.whole_seconds_up(instant.read(expires))


def _organization(
    named: object, received: datetime, settings: Settings, mapping: EventMapping | None, faults: list[str]
) -> str:
    """Return the ID of the organization in a report. If it is unknown, add a fault and return an empty text."""
    organization = settings.organization(named if isinstance(named, str) else None)
    if organization is not None:
        if received >= organization.ends_at:
            faults.append(organization.ended)
        return organization.id
    known = ", ".join(f"{known.id} ({known.alias})" for known in settings.organizations)
    faults.append(f"{contract.found('organizationId', named, mapping)}: expected one of {known}")
    return ""


def _whose(named: str, own: str, source: Source | None, faults: list[str]) -> str:
    """Return the source whose locks a release ends; empty for all. If it may not end these, add a fault."""
    if source is None or not source.releases_own_only:
        return named
    if named not in ("", own):
        faults.append(f"detail.lockedBy is {display(named)}: the releases of {own} end its own locks only")
    return own


def _target(fields: dict[str, Any], organization: str, kind: DetailType | None) -> Target:
    """Return what a report is about. Beside a user and a device, other names count only for the inventory."""
    device, user = text(fields.get("deviceId"), 64), text(fields.get("userId"))
    serial, asset = text(fields.get("serialNumber"), 64), text(fields.get("assetTag"), 64)
    names: tuple[DeviceName, ...] = ()
    if not (device and user) or (kind is not None and kind.action == "enroll"):
        names = (DeviceName("serial", serial),) * bool(serial) + (DeviceName("asset", asset),) * bool(asset)
    return Target(organization, user, device, names)


def _parse(body: str) -> dict[str, Any]:
    """Return the event in ``body``, or an empty one if there is none."""
    try:
        event = read_json(body)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _event_id(event: dict[str, Any]) -> str:
    """Return the event's ID, or an empty text if it is not valid. A cut ID could be another event's."""
    name = event.get("id")
    return name if isinstance(name, str) and len(name) <= 256 else ""


def _envelope_faults(
    event: dict[str, Any], kind: DetailType | None, source: Source | None, settings: Settings
) -> Iterator[str]:
    """Yield the faults of an event's envelope: its ID, source and detail-type."""
    if not event:
        yield "the message is not a JSON object: expected an event as EventBridge delivers it"
        return
    if not _event_id(event):
        yield f"id is {display(event.get('id'))}: expected the event's ID"
    if source is None:
        known = {known.name: known for known in settings.sources if known.mapping is None}
        named = event.get("source")
        yield (
            f"source is {display(named)}: expected one that the configuration names ({', '.join(known)})"
            f"{suggestion(text(named), known)}"
        )
    name = event.get("detail-type")
    if kind is None:
        known_names = ", ".join(DETAIL_TYPES)
        yield f"detail-type is {display(name)}: expected one of {known_names}{suggestion(text(name), DETAIL_TYPES)}"
    elif source is not None and (needed := ACTIONS[kind.action].permission) not in source.may:
        allowed = " and ".join(sorted(source.may))
        yield f"source {source.name} sent {name}, which takes {needed}: the configuration lets it {allowed} only"
