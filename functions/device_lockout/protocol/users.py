"""Who a command is about: a report's name for a user becomes WorkMail's user ID."""

from dataclasses import replace

from device_lockout.protocol.ports import LedgerPort, Ports
from device_lockout.values.command import Command, Lock, Target
from device_lockout.values.errors import RejectedError, UnknownUserError
from device_lockout.values.policy import Rules


def user_id(command: Command, ports: Ports, rules: Rules) -> str:
    """Return WorkMail's ID of the command's user.

    The ledger keeps the names that locks use. A release then finds a user who was deleted since.

    Raises:
        UnknownUserError: WorkMail has no such user, and no earlier lock named one.
        RejectedError: The user is exempt, and the lock does not force.
    """
    target = command.target
    locks = isinstance(command, Lock)
    if target.resolved and not locks:
        return target.user
    try:
        user = ports.workmail.user(target.organization, target.user)
    except UnknownUserError:
        known = None if locks else _remembered(target, ports.ledger)
        if known is None:
            raise
        return known
    if isinstance(command, Lock):
        if not command.force and not rules.exempt.isdisjoint(user.names):
            raise RejectedError(f"user {target.user} is exempt: expected a source that may lock exempt users")
        ports.ledger.remember_name(target.organization, target.user, user.id)
    return user.id


def named_user_id(command: Command, ports: Ports, rules: Rules) -> str:
    """Return :func:`user_id`, looked up even where the target says that it is resolved."""
    return user_id(replace(command, target=replace(command.target, resolved=False)), ports, rules)


def _remembered(target: Target, ledger: LedgerPort) -> str | None:
    """Return the user whom an earlier report named so. Outcomes name users by WorkMail's ID, so accept that, too."""
    named = ledger.user_named(target.organization, target.user)
    if named is None and any(True for _ in ledger.devices_of(target.organization, target.user)):
        return target.user
    return named
