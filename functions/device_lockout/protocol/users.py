"""Who a command is about: a report's name for a user becomes WorkMail's user ID."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from device_lockout.protocol.ports import LedgerPort, Ports
from device_lockout.values.command import Change, Command, Lock, Reject, Release, Target, claim_id, command_id
from device_lockout.values.device import DeviceKey, Named, User
from device_lockout.values.errors import RejectedError, UnknownUserError
from device_lockout.values.policy import Rules
from device_lockout.values.record import DeviceRecord


def user_of(command: Command, ports: Ports, rules: Rules, now: datetime) -> User:
    """Return the command's user: WorkMail's ID, and the names if they were looked up.

    The ledger keeps whom the names in reports meant. So a release finds a user who was deleted since. And a report that
    was carried out is about the same user at each delivery, whoever has the name by then.

    Raises:
        UnknownUserError: WorkMail has no such user, and no earlier report named one.
        RejectedError: The user is exempt, and the lock does not force.
    """
    target, ledger = command.target, ports.ledger
    if target.resolved and not isinstance(command, Lock):
        return User(target.user)
    if not isinstance(command, Lock | Release | Change):
        return _known_or_remembered(target, ports)
    named = ledger.named(target.organization, target.user)
    earlier = named.at(command.cause.happened - rules.clock_skew)
    try:
        user = ports.workmail.user(target.organization, target.user)
    except RejectedError:
        known = _reached(command, earlier, ledger)
        if known is None and not isinstance(command, Lock):
            known = _remembered(target, named, ledger)
        if known is None:
            raise
        return known
    exempt = isinstance(command, Lock) and not command.force and not rules.exempt.isdisjoint(user.names)
    reached = _reached(command, (each for each in earlier if exempt or each != user.id), ledger)
    if reached is not None:
        return reached
    if named.user != user.id:
        ledger.remember_name(target.organization, target.user, named.passed_to(user.id, now))
    if exempt:
        raise RejectedError(f"user {target.user} is exempt: expected a source that may lock exempt users")
    return user


def is_exempt(key: DeviceKey, ports: Ports, rules: Rules) -> bool:
    """Return whether only ``force`` locks the device's user. WorkMail is asked only if there are exempt users.

    Raises:
        UnknownUserError: WorkMail has no such user.
    """
    exempt = rules.exempt
    return bool(exempt) and not exempt.isdisjoint(ports.workmail.user(key.organization, key.user_id).names)


def was_taken(report: Reject, ledger: LedgerPort) -> bool:
    """Return whether the ledger has the lock of a report that is rejected now.

    An earlier copy was taken, and waits among the dead letters. Since then the report became too old, or its source
    lost a right. That copy has the outcome.

    Several sources may read an event with a mapping, and its locks do not say which. Of one the answer is True only if
    a look-up for it was kept.
    """
    if _was_found(report, ledger):
        return True
    records = () if report.cause.reader else _records(report.target, ledger)
    return any(known.id == claim_id(report.cause.event_id) for record in records for known in record.all_claims())


def has_lock(lock: Lock, ledger: LedgerPort) -> bool:
    """Return whether the ledger has this very lock. Then carrying it out wants nothing new.

    One by other names than a serial number alone writes nothing itself. It goes to devices, where the answer is exact.
    """
    if not lock.target.is_hardware and _was_found(lock, ledger):
        return True
    return any(record.known_as(lock.claim) is not None for record in _records(lock.target, ledger))


def _was_found(command: Lock | Reject, ledger: LedgerPort) -> bool:
    target = command.target
    asked = bool(target.names) and not target.found and _is_key(target)
    return asked and ledger.found(target.organization, command_id(command)) is not None


def _records(target: Target, ledger: LedgerPort) -> Iterator[DeviceRecord]:
    """Yield what the ledger has of whom or what a report names."""
    if not _is_key(target):
        return
    if target.is_hardware:
        yield DeviceRecord(user=ledger.locks_of(target.organization, target.names[0]))
    elif target.user:
        for user in (target.user, *ledger.named(target.organization, target.user).all):
            if target.device:
                yield ledger.device(DeviceKey(target.organization, user, target.device))
            else:
                yield DeviceRecord(user=ledger.user(target.organization, user))


def _is_key(target: Target) -> bool:
    """Return whether the ledger can be asked. The contract takes no other report, and DynamoDB no key too long."""
    return bool(target.organization) and "".join(target.identities).isascii()


def _reached(command: Lock | Release | Change, users: Iterable[str], ledger: LedgerPort) -> User | None:
    """Return for which of the users an earlier delivery recorded the command; None for none.

    If none did, none will: each item gets another version, so that a write which is late can't land any more.
    """
    organization, device = command.target.organization, command.target.device
    for user in users:
        if device:
            key = DeviceKey(organization, user, device)
            item = ledger.open_device(key)
            if _has(item, command):
                return User(user)
            ledger.save_device(key, item)
        else:
            record = ledger.user(organization, user)
            if _has(DeviceRecord(user=record), command):
                return User(user)
            ledger.save_user(organization, user, record)
    return None


def _has(record: DeviceRecord, command: Lock | Release | Change) -> bool:
    """Return whether a record has a lock, a change's new lock, or a release that leaves nothing to this one.

    A copy of a report may count up to a second later.
    """
    if isinstance(command, Lock):
        return record.known_as(command.claim) is not None
    if isinstance(command, Change):
        return any(known.id == command.claim.id for known in record.all_claims())
    happened = command.cause.happened.replace(microsecond=0)
    both = record.released, record.user.released  # one of the two is empty here
    return any(released.with_release(command.ending, happened) == released for released in both)


def _known_or_remembered(target: Target, ports: Ports) -> User:
    try:
        return ports.workmail.user(target.organization, target.user)
    except UnknownUserError:
        known = _remembered(target, ports.ledger.named(target.organization, target.user), ports.ledger)
        if known is None:
            raise
        return known


def _remembered(target: Target, named: Named, ledger: LedgerPort) -> User | None:
    """Return whom an earlier report named so. Outcomes name users by WorkMail's ID, so accept it, too."""
    if not named.user and not any(True for _ in ledger.devices_of(target.organization, target.user)):
        return None
    return User(named.user or target.user)
