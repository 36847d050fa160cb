"""Floods: a source that locks more devices in an hour than it may has the rest held, until a person lets them through.

What no source of the configuration sent pages once in an hour, so that nobody can bury a page under others.

A held command waits among the dead letters, whose alarm stays on. Sent back from there it is carried out.

A flood of whatever a source sends has a message group of its own, so that no other report waits behind it.

Of a flood of pages one says that more follow.
"""

import hashlib
from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

from device_lockout.protocol.ports import Ports
from device_lockout.values import instant
from device_lockout.values.command import KINDS, Command, Enroll, Lock, Reject, command_id, group_id
from device_lockout.values.outcome import SOURCE, Outcome
from device_lockout.values.policy import Rules
from device_lockout.values.settings import UNREADABLE, WEBHOOK_PREFIX


class Seen:
    """What one environment of the router has seen of each source in this hour. It decides about nothing.

    More commands of a kind than the source may lock devices are a flood, or copies. They go to one group for the source
    and the kind, one after the other. The writer counts locks, and sends on to its own group what it does not hold.
    """

    def __init__(self) -> None:
        self._hour: datetime | None = None
        self._commands = Counter[str]()

    def group(self, command: Command, rules: Rules, now: datetime) -> str:
        """Return the message group in which the router sends a command."""
        source = _source(command)
        most = rules.locks_per_hour.get(source) if source in rules.sources else 0
        if most is None or source == SOURCE:
            return group_id(command)
        if (hour := _hour(now)) != self._hour:
            self._hour, self._commands = hour, Counter()
        flood = f"flood#{source if most else ''}#{KINDS[type(command)]}"
        self._commands[flood] += 1
        return group_id(command) if self._commands[flood] <= most else flood


def hold(command: Command, ports: Ports, rules: Rules, now: datetime) -> Outcome | None:
    """Hold what locks devices if its source has had as many in this hour as it may. Return None for all else.

    That is a lock of a report, and an enrolment under a serial number that is locked. A command that a lookup sent on
    is part of one that was counted. A lock that waits for WorkMail counts once.

    Raises:
        TransientError: The ledger or the queue did not take it.
    """
    source = _source(command)
    most = rules.locks_per_hour.get(source)
    if most is None or command.cause.held or not _locks(command, ports, now):
        return None
    if ports.ledger.count_lock(source, _hour(now), command_id(command), most):
        return None
    ports.queue.hold(replace(command, cause=replace(command.cause, held=True)))
    first = _is_first("held", source, command_id(command), ports, _hour(now), now)
    because, why = f"source {source} may lock {most} in an hour", command.claim.why if isinstance(command, Lock) else ""
    return Outcome("held", because=because, why=why, reference=command.cause.reference, page=first)


def pages(command: Reject, ports: Ports, rules: Rules, now: datetime) -> bool:
    """Return whether people are paged of a rejection.

    Of what no source of the configuration sent only the first in an hour pages, and so does the first request in an
    hour of each webhook's sender that can't be read. All are recorded and announced.

    Raises:
        TransientError: The ledger did not answer.
    """
    source = _source(command)
    if source in rules.sources:
        return True
    # The bus takes names with this prefix from the receiver of webhooks alone, which knows its senders.
    of_webhook = source.startswith(WEBHOOK_PREFIX) and source.endswith(UNREADABLE)
    whose = source if of_webhook else "unknown"
    return _is_first("rejected", whose, command_id(command), ports, _hour(now), now)


def summed_up(told: dict[str, Any], command: Command, ports: Ports, rules: Rules, now: datetime) -> dict[str, Any]:
    """Return an outcome's announcement. If a source pages too often in five minutes, the first says that more follow.

    The others page nobody. They are as urgent as before: commands and the report list them. No source buries
    another's pages, and no insider those of tampering.

    Raises:
        TransientError: The ledger did not answer.
    """
    detail, most = told["detail"], rules.pages
    source = _source(command) if _source(command) in {SOURCE, *rules.sources} else "unknown"
    began = now.replace(minute=now.minute // 5 * 5, second=0, microsecond=0)
    if most is None or not detail["page"] or ports.ledger.count_lock(f"pages {source}", began, detail["id"], most):
        return told
    if not _is_first("paged", source, detail["id"], ports, began, now):
        return told | {"detail": detail | {"page": False}}
    more = f"{detail['message']} This is page {most + 1} of this source in five minutes. The next ones notify nobody:"
    return told | {"detail": detail | {"message": f"{more} lockout history --since 15m lists them."}}


def _locks(command: Command, ports: Ports, now: datetime) -> bool:
    target = command.target
    if not isinstance(command, Enroll):
        return isinstance(command, Lock) and not target.resolved
    serials = [name for name in target.names if name.kind == "serial"]
    return any(ports.ledger.locks_of(target.organization, name).live(now) for name in serials)


def _source(command: Command) -> str:
    return command.cause.reader or command.cause.source


def _hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)


def _is_first(what: str, source: str, command: str, ports: Ports, began: datetime, now: datetime) -> bool:
    """Return whether this command is the first of its kind since the time began. Of several at the same time one is."""
    once = hashlib.sha256(f"{what} {source} {instant.write(began)}".encode()).hexdigest()
    told = {"detail": {"id": once, "source": source, "first": command}}
    return ports.ledger.record_outcome(once, once, told, now) == told
