"""Commands that name a user, a serial number or an asset tag. The name's own group looks them up and sends them on.

Each device's own group decides what follows. Only a command there touches WorkMail.

The order of steps leaves no gap. A user's item is written before the user's devices are listed. A device's item is
written before its user's item is read. Of a lock and an enrolment at the same time one always sees the other.
"""

from dataclasses import replace
from datetime import datetime
from itertools import islice

from device_lockout.decisions.decision import decide_for_user
from device_lockout.protocol.ports import Ports
from device_lockout.protocol.users import named_user_id, user_id
from device_lockout.values.command import Lock, Reassert, Release, Retire, Target
from device_lockout.values.errors import RejectedError
from device_lockout.values.outcome import Outcome
from device_lockout.values.policy import Rules

PORTION = 200
"""How many of a user's devices one delivery sends a command to. The next delivery goes on with the rest.

Sending to a thousand devices could outlast the function, and a delivery that is cut off starts again.
"""


def to_all_devices(command: Lock | Release, ports: Ports, rules: Rules, now: datetime) -> Outcome:
    """Write a lock or release to the user's item, then send it on to each known device."""
    organization = command.target.organization
    user = user_id(command, ports, rules)
    outcome = Outcome("skipped", because=f"the devices after {command.target.after}")
    if not command.target.after:
        record = ports.ledger.user(organization, user)
        changed, outcome = decide_for_user(command, record, now, rules)
        if changed != record:
            ports.ledger.save_user(organization, user, changed)
        if isinstance(command, Lock) and outcome.result != "locked":
            return outcome
    known = ports.ledger.devices_of(organization, user)
    following = (key for key in known if key.device > command.target.after)
    portion = list(islice(following, PORTION))
    ports.queue.send(
        Reassert(command.cause, Target.of(key))
        if isinstance(command, Lock)
        else Release(command.cause, Target.of(key), command.ending)
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


def to_named_devices(command: Lock | Release | Retire, ports: Ports, rules: Rules) -> Outcome:
    """Look the device up by its names and send the command on, for each user who has it.

    A release goes to every device that ever had the names. A lock or retirement goes to the one that has them now.

    Raises:
        RejectedError: No device has the names, or more than one has. Somebody must say which is meant.
    """
    target = command.target
    found, *others = (list(ports.ledger.devices_named(target.organization, name)) for name in target.names)
    for other in others:
        both = {device.key for device in other}
        found = [device for device in found if device.key in both]
    if target.user:
        user = named_user_id(command, ports, rules)
        found = [device for device in found if device.key.user_id == user]
    if not isinstance(command, Release):
        found = [device for device in found if not device.former]
    said = " and ".join(f"{name.kind} {name.value}" for name in target.names)
    if target.device:
        found = [device for device in found if device.key.device == target.device.casefold()]
        said = f"{said} and device ID {target.device}"
    devices = {device.key.device for device in found}
    if not devices:
        raise RejectedError(f"no device with {said} is in the inventory{f' for {target.user}' if target.user else ''}")
    if len(devices) > 1 and not isinstance(command, Release):
        raise RejectedError(f"{said} names {len(devices)} devices ({', '.join(sorted(devices))}): expected one")
    ports.queue.send(replace(command, target=Target.of(device.key)) for device in found)
    return Outcome("skipped", because=f"sent on to {len(found)} devices")
