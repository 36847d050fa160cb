"""What the writer asks of a command before it carries it out: could the router or the sweep have made it?

Whoever may send to the command queue walks round the bus and its checks. So the configuration is asked once more.
"""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

from device_lockout.protocol.ports import LedgerPort
from device_lockout.protocol.users import has_lock
from device_lockout.values.actions import ACTIONS, DETAIL_TYPES, Permission
from device_lockout.values.command import (
    Change,
    Command,
    Enroll,
    Expire,
    Lock,
    Reassert,
    Reject,
    Release,
    Retire,
    claim_id,
)
from device_lockout.values.instant import whole_seconds_up
from device_lockout.values.outcome import SOURCE
from device_lockout.values.record import Ending
from device_lockout.values.settings import Settings, Source

NEEDS: dict[type[Command], Permission] = {
    Lock: "lock",
    Release: "release",
    Change: "release",
    Enroll: "inventory",
    Retire: "inventory",
}
"""What the source of each command must be allowed to ask for. A Reassert of a report asks for nothing new."""


def checked(command: Command, settings: Settings, sent: datetime, ledger: LedgerPort) -> Command:
    """Return ``command`` if the configuration lets it be made, else its rejection.

    A lock that the ledger has already was made when the configuration let it be. Told as rejected it would live on.

    ``sent`` is when SQS took the command in. The router had received the report before.

    The rejection has no text of the sender's: it pages people. The event's ID becomes its SHA-256.
    """
    try:
        doubt = "" if isinstance(command, Reject) else _doubt(command, settings, sent)
        if doubt and isinstance(command, Lock) and not _doubt_of_claim(command) and _is_configured(command, settings):
            doubt = "" if has_lock(command, ledger) else doubt
    except OverflowError:  # a time at the end of Python's calendar
        doubt = "its times are not those of an event"
    if not doubt:
        return command
    unknown = hashlib.sha256(command.cause.event_id.encode()).hexdigest()
    cause = replace(
        command.cause, event_id=unknown, source="unknown", detail_type="", reader="", reference="", correction=""
    )
    target = replace(command.target, user="", device="", names=(), resolved=False)
    return Reject(cause, target, f"the command queue held a command that neither router nor sweep makes: {doubt}")


def _is_configured(command: Command, settings: Settings) -> bool:
    return any(organization.id == command.target.organization for organization in settings.organizations)


def _doubt(command: Command, settings: Settings, sent: datetime) -> str:
    cause = command.cause
    if not _is_configured(command, settings):
        return "its organization is not configured"
    if cause.source == SOURCE:
        return "" if isinstance(command, Expire | Reassert) else "the sweep asks for no such thing"
    source = settings.source(cause.reader or cause.source)
    if source is None or (source.mapping is None) != (not cause.reader):
        return "its source is not configured"
    if isinstance(command, Expire) or {NEEDS.get(type(command))}.isdisjoint({None, *source.may}):
        return "its source may not ask for this"
    oldest, latest = cause.received - settings.limits.max_event_age, sent + settings.limits.clock_skew
    if not oldest <= cause.happened <= cause.received <= latest:
        return "its times are not those of an event"
    if isinstance(command, Release | Change):
        named = "" if source.mapping or isinstance(command, Change) else command.ending.source
        own = cause.source if source.releases_own_only else named
        allowed = Ending(command.ending.scope, source.releases, own)
        longer = isinstance(command, Change) and command.longer and "lock" not in source.may
        if command.ending != allowed or longer:
            return "its source may not release this"
    if isinstance(command, Lock | Change) and (doubt := _doubt_of_claim(command)):
        return doubt
    return _doubt_of_lock(command, source, settings) if isinstance(command, Lock) else ""


def _doubt_of_claim(command: Lock | Change) -> str:
    claim, cause = command.claim, command.cause
    end_of_second = min(cause.happened + timedelta(milliseconds=999), cause.received)
    if not cause.happened <= claim.at <= end_of_second:
        return "its times are not those of an event"
    own = (claim.source, claim.id) == (cause.source, claim_id(cause.event_id))
    return "" if own else "its claim is not of its event"


def _doubt_of_lock(lock: Lock, source: Source, settings: Settings) -> str:
    claim, known = lock.claim, DETAIL_TYPES.get(lock.cause.detail_type)
    action = source.mapping.action if source.mapping else known.action if known else "release"
    why = source.mapping.reason if source.mapping else known.reason if known else ""
    reason = settings.reasons.get(why)
    if reason is None or (claim.why, claim.scope) != (why, ACTIONS[action].scope):
        return "its reason is not that of its event"
    if reason.at_most is not None and claim.until > whole_seconds_up(claim.at + reason.at_most):
        return "it lasts longer than its reason allows"
    return "it forces, which its source may not" if lock.force and "force" not in source.may else ""
