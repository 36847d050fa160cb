"""Who a command is about: a report's name for a user becomes WorkMail's user ID."""

from dataclasses import replace

from device_lockout.protocol.ports import LedgerPort, Ports
from device_lockout.values.command import Command, Lock, Target
from device_lockout.values.device import DeviceKey, User
from device_lockout.values.errors import RejectedError, UnknownUserError
from device_lockout.values.policy import Rules
from device_lockout.values.record import DeviceRecord


def user_of(command: Command, ports: Ports, rules: Rules) -> User:
    """Return the command's user: WorkMail's ID, and the names if they were looked up.

    The ledger keeps the names that locks use. A release then finds a user who was deleted since. A lock that was
    accepted is about the same user at each delivery, whoever has the name by then.

    Raises:
        UnknownUserError: WorkMail has no such user, and no earlier lock named one.
        RejectedError: The user is exempt, and the lock does not force.
    """
    target = command.target
    if not isinstance(command, Lock):
        return User(target.user) if target.resolved else _known_or_remembered(target, ports)
    remembered = ports.ledger.user_named(target.organization, target.user)
    try:
        user = ports.workmail.user(target.organization, target.user)
        if not command.force and not rules.exempt.isdisjoint(user.names):
            raise RejectedError(f"user {target.user} is exempt: expected a source that may lock exempt users")
    except RejectedError:
        if remembered is not None and _accepted(command, remembered, ports.ledger):
            return User(remembered)
        raise
    if remembered is not None and remembered != user.id and _accepted(command, remembered, ports.ledger):
        return User(remembered)
    if remembered != user.id:
        ports.ledger.remember_name(target.organization, target.user, user.id)
    return user


def is_exempt(key: DeviceKey, ports: Ports, rules: Rules) -> bool:
    """Return whether only ``force`` locks the device's user. WorkMail is asked only if there are exempt users.

    Raises:
        UnknownUserError: WorkMail has no such user.
    """
    exempt = rules.exempt
    return bool(exempt) and not exempt.isdisjoint(ports.workmail.user(key.organization, key.user_id).names)


def named_user_id(command: Command, ports: Ports, rules: Rules) -> str:
    """Return the ID of :func:`user_of`, looked up even where the target says that it is resolved."""
    return user_of(replace(command, target=replace(command.target, resolved=False)), ports, rules).id


def _accepted(lock: Lock, user: str, ledger: LedgerPort) -> bool:
    """Return whether an earlier delivery recorded the lock for ``user``.

    If none did, none will: the item gets another version, so that a write which is late can't land any more.
    """
    organization, device = lock.target.organization, lock.target.device
    if not device:
        record = ledger.user(organization, user)
        known = DeviceRecord(user=record).known_as(lock.claim) is not None
        if not known:
            ledger.save_user(organization, user, record)
        return known
    key = DeviceKey(organization, user, device)
    item = ledger.open_device(key)
    known = item.known_as(lock.claim) is not None
    if not known:
        ledger.save_device(key, item)
    return known


def _known_or_remembered(target: Target, ports: Ports) -> User:
    """Return the user, or whom an earlier report named so. Outcomes name users by WorkMail's ID, so accept it, too."""
    try:
        return ports.workmail.user(target.organization, target.user)
    except UnknownUserError:
        named = ports.ledger.user_named(target.organization, target.user)
        if named is None and not any(True for _ in ports.ledger.devices_of(target.organization, target.user)):
            raise
        return User(target.user if named is None else named)
