"""Commands that name a user, a serial number or an asset tag: looked up in the name's own group, then sent on.

What they come to is decided in each device's own group: only a command there touches WorkMail.
The order of steps leaves no gap: a user's item is written before its devices are listed, a device's before its user's
item is read, so that of a lock and an enrolment at the same time one always sees the other.
"""

from dataclasses import replace
from datetime import datetime
from itertools import islice

from device_lockout.command import Command, Lock, NamedDevice, Reassert, Release, Retire, Target
from device_lockout.decision import decide_for_user
from device_lockout.errors import RejectedError, UnknownUserError
from device_lockout.outcome import Outcome
from device_lockout.parties import Parties

PORTION = 200
"""How many of a user's devices one delivery sends a command on to, before it hands the rest to another: sending to
a thousand could take longer than the function has, and a delivery that is cut off begins anew."""


def user_id(command: Command, parties: Parties) -> str:
    """WorkMail's ID of the user that ``command`` is about; UnknownUserError, or RejectedError for one who is exempt.

    The names that locks use are kept, so that a release still finds a user who was deleted since.
    """
    target = command.target
    locks = isinstance(command, Lock)
    if target.resolved and not locks:
        return target.user
    try:
        user = parties.workmail.user(target.organization, target.user)
    except UnknownUserError:
        known = None if locks else _remembered(target, parties)
        if known is None:
            raise
        return known
    if isinstance(command, Lock):
        if not command.force and not parties.rules.exempt.isdisjoint(user.names):
            raise RejectedError(f"user {target.user} is exempt: expected a source that may lock exempt users")
        parties.ledger.remember_name(target.organization, target.user, user.id)
    return user.id


def _remembered(target: Target, parties: Parties) -> str | None:
    """The user whom an earlier report named so; outcomes name users by WorkMail's ID, so that may be said, too."""
    ledger = parties.ledger
    named = ledger.user_named(target.organization, target.user)
    if named is None and any(True for _ in ledger.devices_of(target.organization, target.user)):
        return target.user
    return named


def to_all_devices(command: Lock | Release, parties: Parties, now: datetime) -> Outcome:
    """Write a lock or release of a user's devices to the user's item, then send it on to each known device."""
    organization = command.target.organization
    user = user_id(command, parties)
    outcome = Outcome("skipped", because=f"the devices after {command.target.after}")
    if not command.target.after:
        record = parties.ledger.user(organization, user)
        changed, outcome = decide_for_user(command, record, now, parties.rules)
        if changed != record:
            parties.ledger.save_user(organization, user, changed)
        if isinstance(command, Lock) and outcome.result != "locked":
            return outcome
    known = parties.ledger.devices_of(organization, user)
    following = (device for device in known if device > command.target.after)
    portion = list(islice(following, PORTION))
    targets = [Target(organization, user, device, resolved=True) for device in portion]
    parties.queue.send(
        Reassert(command.cause, target) if isinstance(command, Lock) else Release(command.cause, target, "user")
        for target in targets
    )
    rest = sum(1 for _ in following)
    if rest:
        parties.queue.send([replace(command, target=replace(command.target, after=portion[-1]))])
    devices = len(portion) + rest
    if command.target.after:
        return outcome
    if isinstance(command, Lock) and devices == 0:
        because = "no device of this user is known; the lock holds for devices to come"
        return replace(outcome, result="rejected", because=because, page=True, devices=0)
    return replace(outcome, devices=devices)


def send_on(command: Lock | Release | Retire, parties: Parties) -> Outcome:
    """Look the device up by its names and send the command on, to each user that has it.

    A release goes to every device that ever had the names; a lock or retirement to the one that has them now.
    RejectedError if none has, or more than one: a device is out there, and somebody must say which.
    """
    target = command.target
    found, *others = (list(parties.ledger.devices_named(target.organization, name)) for name in target.names)
    for other in others:
        both = {(device.user_id, device.device) for device in other}
        found = [device for device in found if (device.user_id, device.device) in both]
    if target.user:
        user = user_id(replace(command, target=replace(target, resolved=False)), parties)
        found = [device for device in found if device.user_id == user]
    if not isinstance(command, Release):
        found = [device for device in found if not device.former]
    said = " and ".join(f"{name.kind} {name.value}" for name in target.names)
    if target.device:
        found = [device for device in found if device.device == target.device.casefold()]
        said = f"{said} and device ID {target.device}"
    devices = {device.device for device in found}
    if not devices:
        raise RejectedError(f"no device with {said} is in the inventory{f' for {target.user}' if target.user else ''}")
    if len(devices) > 1 and not isinstance(command, Release):
        raise RejectedError(f"{said} names {len(devices)} devices ({', '.join(sorted(devices))}): expected one")
    parties.queue.send(replace(command, target=_named(command, device)) for device in found)
    return Outcome("skipped", because=f"sent on to {len(found)} devices")


def _named(command: Lock | Release | Retire, device: NamedDevice) -> Target:
    return Target(command.target.organization, device.user_id, device.device, resolved=True)
