"""Commands that name a user, a serial number or an asset tag. The name's own group looks them up and sends them on.

Each device's own group decides what follows. Only a command there touches WorkMail.

The order of steps leaves no gap. A user's item is written before the user's devices are listed. A device's item is
written before its user's item is read. Of a lock and an enrolment at the same time one always sees the other.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from device_lockout.decisions.decision import decide_for_user
from device_lockout.protocol.inventory import locked_rows
from device_lockout.protocol.ports import Ports
from device_lockout.protocol.users import user_of
from device_lockout.values.command import Change, Lock, Reassert, Release, Retire, Target, command_id
from device_lockout.values.device import DeviceKey, LookUp
from device_lockout.values.errors import RejectedError
from device_lockout.values.outcome import Outcome
from device_lockout.values.policy import Rules

PORTION = 200
"""How many of a user's devices one delivery sends a command to. The next delivery goes on with the rest.

Sending to a thousand devices could outlast the function, and a delivery that is cut off starts again.
"""

LETTERS_KEPT = timedelta(days=14)
"""How long a dead letter waits at most. It is delivered anew when somebody sends it back."""

MOST_TOLD = 10
"""How many devices a message names. Thousands may have had one asset tag, and a message has to fit on the queue."""


def to_all_devices(command: Lock | Release | Change, ports: Ports, rules: Rules, now: datetime) -> Outcome:
    """Write a lock, a release or a change to the user's item, then send it on to each known device."""
    organization = command.target.organization
    user = user_of(command, ports, rules, now)
    outcome = Outcome("skipped", because=f"the devices after {command.target.after}")
    if not command.target.after:
        record = ports.ledger.user(organization, user.id)
        changed, outcome = decide_for_user(command, record, now, rules)
        outcome = replace(outcome, user=user, claims=(record.live(now), changed.live(now)))
        if changed != record:
            ports.ledger.save_user(organization, user.id, changed)
        unset = not isinstance(command, Release) and outcome.result not in ("locked", "extended", "shortened")
        if unset or outcome.result == "rejected":
            return outcome
    known = ports.ledger.devices_of(organization, user.id)
    following = (key for key in known if key.device > command.target.after)
    portion = list(islice(following, PORTION))
    ports.queue.send(
        Release(command.cause, Target.of(key), command.ending)
        if isinstance(command, Release)
        else Reassert(command.cause, Target.of(key))
        for key in portion
    )
    rest = sum(1 for _ in following)
    if rest:
        ports.queue.send([replace(command, target=replace(command.target, after=portion[-1].device))])
    devices = len(portion) + rest
    if command.target.after:
        return outcome
    if isinstance(command, Lock) and devices == 0:
        because = "no device of this user is known; the lock holds for devices to come"
        return replace(outcome, because=because, page=True, devices=0)
    return replace(outcome, devices=devices)


def to_named_devices(command: Lock | Release | Change | Retire, ports: Ports, rules: Rules, now: datetime) -> Outcome:
    """Look devices up by their names and send the command on to each, for each user who has it.

    A lock by a serial number alone is kept under the number before its devices are read. A device that is enrolled
    under it later, or at this moment, is locked by its enrolment. A release by the number alone ends that.

    A release goes to every device that ever had the names. :func:`device_lockout.protocol.inventory.locked_rows` says
    which of these a lock goes to. A retirement by an asset tag needs one device: the label may have moved.

    What the first look-up found is kept before anything is sent. Each later delivery, and each copy of the report, goes
    to the same devices, whoever has the label by then.

    Raises:
        RejectedError: No device has the names, or a retirement finds several.
    """
    target, cause = command.target, command.cause
    by_number = None if isinstance(command, Retire) else _by_number(command, ports, rules, now)
    found = ports.ledger.found(target.organization, command_id(command))
    if found is None:
        found = _look_up(command, ports, rules, now)
        if not found.keys:
            if by_number is None:
                whose = f" for {target.user}" if target.user else ""
                left = f"; {_left(found)}" if found.left else ""
                raise RejectedError(f"no device with {_said(target)} is in the inventory{whose}{left}")
            because = f"no device with {_said(target)} is known; the lock holds for devices to come"
            locked = replace(by_number, because=because, page=True, devices=0)
            return locked if by_number.result == "locked" else by_number
        expires = now + rules.max_event_age + LETTERS_KEPT
        found = ports.ledger.keep_found(target.organization, command_id(command), found, expires)
    if found.left:
        note = f"{_said(target)}: {_left(found)}"
        cause = replace(cause, correction=f"{cause.correction}; {note}" if cause.correction else note, page=True)
    ports.queue.send(
        replace(command, cause=cause, target=replace(Target.of(key), names=target.names)) for key in found.keys
    )
    return Outcome("skipped", because=f"sent on to {len(found.keys)} devices")


def _look_up(command: Lock | Release | Change | Retire, ports: Ports, rules: Rules, now: datetime) -> LookUp:
    """Return the devices that have the target's names.

    Raises:
        RejectedError: A retirement finds several.
    """
    target = command.target
    found, *others = (list(ports.ledger.devices_named(target.organization, name)) for name in target.names)
    for other in others:
        both = {device.key for device in other}
        found = [device for device in found if device.key in both]
    if target.user:
        user = user_of(command, ports, rules, now).id
        found = [device for device in found if device.key.user_id == user]
    if target.device:
        found = [device for device in found if device.key.device == target.device.casefold()]
    left: tuple[DeviceKey, ...] = ()
    if isinstance(command, Lock):
        reached = locked_rows(target.names, found)
        left = tuple(row.key for row in found if row not in reached)
        found = reached
    elif isinstance(command, Retire):
        found = [row for row in found if not row.former]
    devices = {row.key.device for row in found}
    if isinstance(command, Retire) and len(devices) > 1 and all(name.kind == "asset" for name in target.names):
        first = ", ".join(sorted(devices)[:MOST_TOLD])
        raise RejectedError(f"{_said(target)} names {len(devices)} devices ({first}): expected one")
    return LookUp(tuple(row.key for row in found), left)


def _left(found: LookUp) -> str:
    first = ", ".join(f"{key.device} of {key.user_id}" for key in found.left[:MOST_TOLD])
    more = f" and {len(found.left) - MOST_TOLD} more" if len(found.left) > MOST_TOLD else ""
    return f"{first}{more} had it once and stays as it is"


def _said(target: Target) -> str:
    names = [f"{name.kind} {name.value}" for name in target.names]
    return " and ".join([*names, f"device ID {target.device}"] if target.device else names)


def _by_number(command: Lock | Release | Change, ports: Ports, rules: Rules, now: datetime) -> Outcome | None:
    """Keep a lock or release under its serial number, for devices to come. Return what it comes to for these.

    Return None if it names more than a serial number, or releases nothing.
    """
    target = command.target
    if not target.is_hardware:
        return None
    kept = ports.ledger.locks_of(target.organization, target.names[0])
    changed, outcome = decide_for_user(command, kept, now, rules)
    if changed != kept:
        ports.ledger.save_locks_of(target.organization, target.names[0], changed)
    outcome = replace(outcome, claims=(kept.live(now), changed.live(now)))
    return outcome if isinstance(command, Lock) or kept.live(now) else None
