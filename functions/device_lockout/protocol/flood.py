"""Floods: a source that locks more devices in an hour than it may has the rest held, until a person lets them through.

A held command waits among the dead letters, whose alarm stays on. Sent back from there it is carried out.
"""

import hashlib
from datetime import datetime

from device_lockout.protocol.ports import Ports
from device_lockout.values import instant
from device_lockout.values.command import Command, Lock, command_id
from device_lockout.values.outcome import Outcome
from device_lockout.values.policy import Rules


def hold(command: Command, ports: Ports, rules: Rules, now: datetime) -> Outcome | None:
    """Hold a lock of a report if its source has had as many in this hour as it may. Return None for any other command.

    A command that a lookup sent on is part of one that was counted. A lock that waits for WorkMail counts once.

    Raises:
        TransientError: The ledger or the queue did not take it.
    """
    source = command.cause.reader or command.cause.source
    most = rules.locks_per_hour.get(source)
    if most is None or not isinstance(command, Lock) or command.target.resolved:
        return None
    hour = now.replace(minute=0, second=0, microsecond=0)
    if ports.ledger.count_lock(source, hour, command_id(command), most):
        return None
    ports.queue.hold(command)
    once = hashlib.sha256(f"held {source} {instant.write(hour)}".encode()).hexdigest()
    told = {"detail": {"id": once, "source": source, "first": command_id(command)}}
    first = ports.ledger.record_outcome(once, once, told, now) == told  # of several at the same time one tells
    because = f"source {source} may lock {most} in an hour"
    return Outcome("held", because=because, why=command.claim.why, reference=command.cause.reference, page=first)
