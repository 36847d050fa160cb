"""The six steps of the protocol, for one command in its group. Each is safe to repeat after a crash anywhere.

1. Read: WorkMail's ID of the user; the device's item (created if missing), the override, the user's item.
2. Adopt what the override's tag says.
3. Decide: :func:`device_lockout.decisions.decision.decide` does both.
4. Write the ledger once, conditionally. From here on the lock can't be lost.
5. Write to WorkMail at most once.
6. Record and announce the outcome.

A command that names no device is looked up and sent on instead: :mod:`device_lockout.protocol.fan_out`.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import reduce

from device_lockout.decisions.decision import Decision, Delete, Put, bounded, decide, must_be_recorded
from device_lockout.protocol import announcement, fan_out, flood, inventory
from device_lockout.protocol.ports import LedgerPort, Ports
from device_lockout.protocol.users import is_exempt, user_of, was_taken
from device_lockout.values.command import (
    LEDGER_ACCEPTED,
    Change,
    Command,
    DeviceCommand,
    Enroll,
    Expire,
    Lock,
    Reassert,
    Reject,
    Release,
    Retire,
    command_id,
)
from device_lockout.values.device import DeviceKey, User
from device_lockout.values.errors import LockoutError, RejectedError, UnknownUserError
from device_lockout.values.outcome import SOURCE, Outcome
from device_lockout.values.override import UNREADABLE_DATE, Observation, Override
from device_lockout.values.policy import Rules
from device_lockout.values.record import Claim, DeviceRecord, Ending, Last
from device_lockout.values.tag import Tag, write_time

LOCKED = {"locked", "took-over", "extended", "renewed", "already-locked", "already-denied"}
LET_IN = {"released", "expired"}
"""The results after which a person must do the same where an organization's mailboxes moved to."""


def carry_out(command: Command, ports: Ports, rules: Rules, now: datetime, *, in_own_group: bool = True) -> Outcome:
    """Carry out ``command`` and announce its outcome. A permanent error is an outcome, not an exception.

    A report whose outcome is recorded is done. A copy of it announces that outcome again and changes nothing, unless
    it failed, or was held and a person let it through. A copy that is too old by now does not take back a lock that
    failed: the sweep still tries to set it.

    A command that is not in its own group is held or sent on there.

    Raises:
        TransientError: Nothing was written to WorkMail. Deliver the command again.
        UnansweredError: A write may yet take effect. Deliver the command again when it no longer can.
    """
    told, result = None, ""
    if command.cause.source != SOURCE:
        told = ports.ledger.outcome(command.cause.event_id, command_id(command))
        result = told["detail"]["result"] if told is not None else ""
        let_through = result == "held" and command.cause.held
        tries_again = (result == "failed" or let_through) and not isinstance(command, Reject)
        if told is not None and not tries_again:
            ports.bus.announce(told["detailType"], told["detail"])
            return Outcome("skipped", because="a copy of a report that was answered", reference=command.cause.reference)
    held = flood.hold(command, ports, rules, now) if told is None else None
    if not in_own_group and held is None:
        ports.queue.send([command])
        return Outcome("skipped", because="it goes on in its own group", reference=command.cause.reference)
    try:
        outcome = held or _dispatch(command, ports, rules, now)
    except RejectedError as error:
        outcome = Outcome("rejected", because=str(error), reference=command.cause.reference, page=True)
    if outcome.announced:
        outcome = _with_names(_with_move(outcome, command, ports, rules, now), command, ports)
        told = flood.summed_up(announcement.of_outcome(command, outcome, now), command, ports, rules, now)
        told = ports.ledger.record_outcome(command.cause.event_id, command_id(command), told, now)
        ports.bus.announce(told["detailType"], told["detail"])
    return outcome


def _dispatch(command: Command, ports: Ports, rules: Rules, now: datetime) -> Outcome:
    ends_at, ended = rules.ends.get(command.target.organization, (now, ""))
    if ended and now >= ends_at and not isinstance(command, Reject):
        raise RejectedError(ended)
    match command:
        case Reject() if was_taken(command, ports.ledger):
            return Outcome("skipped", because="an earlier copy was taken", reference=command.cause.reference)
        case Reject(because=because):
            page = flood.pages(command, ports, rules, now)
            return Outcome("rejected", because=because, reference=command.cause.reference, page=page)
        case Lock() | Release() | Change() | Retire() if not command.target.found and command.target.names:
            return fan_out.to_named_devices(command, ports, rules, now)
        case Lock() | Release() | Change() if not command.target.found:
            return fan_out.to_all_devices(command, ports, rules, now)
        case Enroll():
            return _enroll(command, ports, rules, now)
        case Retire():
            return _retire(command, ports, rules, now)
        case _:
            return _on_device(command, ports, rules, now)


def _with_names(outcome: Outcome, command: Command, ports: Ports) -> Outcome:
    """Return the outcome with the user's names, for people who are paged: a sweep knows the ID alone."""
    user = outcome.user
    if outcome.page and user and not user.names and command.target.resolved:
        with suppress(LockoutError):
            return replace(outcome, user=ports.workmail.user(command.target.organization, user.id))
    return outcome


def _with_move(outcome: Outcome, command: Command, ports: Ports, rules: Rules, now: datetime) -> Outcome:
    """Return the outcome with what to do where the mailboxes moved to. It pages, since nothing else does it.

    A lock that failed, or that no device here is known for, is to be set there all the same. A rejection pages as
    before, and only says where a lock belongs: perhaps none is due.

    Raises:
        TransientError: WorkMail did not say which mailbox it is.
    """
    moved, target, user = rules.moved.get(command.target.organization), command.target, outcome.user
    locked = outcome.result in LOCKED or (outcome.result == "failed" and outcome.until is not None)
    was_denied, is_denied = (each is not None and each.effect == "DENY" for each in (outcome.before, outcome.after))
    let_in = outcome.result in LET_IN and was_denied and not is_denied
    rejected = outcome.result == "rejected" and isinstance(command, Lock | Reject) and target.device
    if moved is None or now < moved.at or not (locked or let_in or rejected):
        return outcome
    if not target.device and outcome.devices:
        return outcome  # each device's own outcome says so
    mailbox = user.email if user else ""
    if user and not mailbox:
        with suppress(RejectedError):
            mailbox = ports.workmail.user(target.organization, user.id).email
    if not mailbox:
        mailbox = target.user if "@" in target.user else "unknown"
    named = "".join(f" with {name.kind} {name.value}" for name in target.names)
    which = f"device {target.device}" if target.device else f"every device{named}"
    where = f"in {moved.to}{'' if rejected else ', too'} (mailbox {mailbox}, {which})"
    do = "a lock belongs" if rejected else "lock it" if locked else "let it in"
    outcome = replace(outcome, because="; ".join(filter(None, (outcome.because, f"{do} {where}"))))
    if rejected:
        return outcome
    line = moved.line(mailbox, target.device, "Add" if locked else "Remove")
    return replace(outcome, page=True, elsewhere=line or f"{do} {where}")


def _who_and_where(command: Command, ports: Ports, rules: Rules, now: datetime) -> tuple[User, DeviceKey]:
    user = user_of(command, ports, rules, now)
    return user, DeviceKey(command.target.organization, user.id, command.target.device)


def _enroll(command: Enroll, ports: Ports, rules: Rules, now: datetime) -> Outcome:
    """Write the device's items, then read the user's and the serial number's: a lock of either misses no device."""
    _, key = _who_and_where(command, ports, rules, now)
    if not inventory.enroll(command, key, ports.ledger):
        return _heard_later(command)
    claims = _locks_by_number(command, key, ports, rules, now)
    target = replace(command.target, user=key.user_id, resolved=True)
    outcome = _on_device(Reassert(command.cause, target), ports, rules, now, claims)
    if claims and outcome.result in ("locked", "extended"):
        return replace(outcome, because="its serial number is locked", page=True)
    return replace(outcome, result="enrolled") if outcome.result == "skipped" else outcome


def _locks_by_number(command: Enroll, key: DeviceKey, ports: Ports, rules: Rules, now: datetime) -> tuple[Claim, ...]:
    """Return the live locks by the device's serial number. There are none for an exempt user.

    One that was released on each other device that ever had the number is over: the phone is back. It ends here.
    """
    claims: list[Claim] = []
    for name in (name for name in command.target.names if name.kind == "serial"):
        kept = ports.ledger.locks_of(key.organization, name)
        live = kept.live(now)
        rows = ports.ledger.devices_named(key.organization, name) if live else ()
        others = [ports.ledger.open_device(row.key) for row in rows if row.key != key]
        released = kept.released
        for claim in live:
            if not others or any(other.unreleased(claim) for other in others):
                claims.append(claim)
            else:
                ending = Ending("device", frozenset({claim.why}), claim.source)
                released = released.with_release(ending, min(filter(None, (o.released_at(claim) for o in others))))
        if released != kept.released:
            ports.ledger.save_locks_of(key.organization, name, replace(kept, released=released))
    return () if claims and is_exempt(key, ports, rules) else tuple(claims)


def _retire(command: Retire, ports: Ports, rules: Rules, now: datetime) -> Outcome:
    """Change the inventory only: locks of the device or of its user go on."""
    user, key = _who_and_where(command, ports, rules, now)
    if not inventory.retire(command, key, ports.ledger):
        return _heard_later(command)
    return Outcome("retired", reference=command.cause.reference, user=user)


def _heard_later(command: Enroll | Retire) -> Outcome:
    return Outcome("superseded", because="the inventory heard later news of it", reference=command.cause.reference)


def _on_device(
    command: DeviceCommand, ports: Ports, rules: Rules, now: datetime, also: tuple[Claim, ...] = ()
) -> Outcome:
    """Take the six steps. The device gets the locks in ``also``, unless they were released."""
    user, key = _who_and_where(command, ports, rules, now)
    record = ports.ledger.open_device(key)
    gone = ""
    try:
        seen = ports.workmail.get(key)
    except UnknownUserError as error:
        if isinstance(command, Lock) and record.known_as(command.claim) is None:
            raise
        gone, seen = str(error), Observation(None, now)
    record = record.of_user(ports.ledger.user(key.organization, key.user_id))
    read, record = record, reduce(_with_lock, also, record)
    rules = _for_user(rules, key, seen.override, record, ports)
    decision = decide(command, seen.override, record, _decision_time(command, now, seen.date, rules), rules)
    if decision.outcome.result == "reasserted" and not _was_set(command, record.last, ports.ledger):
        decision = decision.with_outcome(replace(decision.outcome, result="took-over", page=False))
    decision = bounded(command, record, decision, now)
    lock, ticket = (decision.lock.id, decision.lock.reference) if decision.lock else ("", "")
    claims = read.live(now), decision.record.live(now)
    decision = replace(decision, outcome=replace(decision.outcome, user=user, lock=lock, ticket=ticket, claims=claims))
    if gone:
        decision = replace(decision, record=replace(decision.record, prior=record.prior))
    unsure = gone
    if not gone and decision.write is not None and abs(seen.date - now) > rules.clock_skew:
        unsure = f"our clock says {write_time(now)}, WorkMail's {write_time(seen.date)}"
    if isinstance(command, Expire) and unsure:
        return _failed(command, ports, key, record, replace(decision, record=record), unsure, now)
    if must_be_recorded(command, read, decision, rules.owner):
        ports.ledger.save_device(key, decision.record)
    written = None
    try:
        if gone and decision.write is not None:
            raise UnknownUserError(gone)
        match decision.write:
            case Put(override=override):
                written = ports.workmail.put(key, override)
            case Delete():
                written = ports.workmail.delete(key)
    except RejectedError as error:
        saved = replace(decision, record=replace(decision.record, version=decision.record.version + 1))
        return _failed(command, ports, key, record, saved, str(error), now)
    return replace(decision.outcome, written=written)


def _with_lock(record: DeviceRecord, claim: Claim) -> DeviceRecord:
    return record.with_claim(claim) if record.known_as(claim) is None and record.unreleased(claim) else record


def _for_user(rules: Rules, key: DeviceKey, observed: Override | None, record: DeviceRecord, ports: Ports) -> Rules:
    """Return the rules for this user: no lock of an exempt one is taken over from its tag, which may be forged."""
    if observed is None or not rules.exempt:
        return rules
    shown = observed.read(rules.owner)
    unknown = isinstance(shown, Tag) and not record.shown_by(shown)
    return replace(rules, adopts_unknown=False) if unknown and is_exempt(key, ports, rules) else rules


def _decision_time(command: DeviceCommand, now: datetime, date: datetime, rules: Rules) -> datetime:
    """Return the time to decide at: the earlier one where our clock and WorkMail's disagree, for a lock to last.

    SQS's clock is a third one: no report is decided at a time before it was received.
    """
    if abs(date - now) <= rules.clock_skew or date == UNREADABLE_DATE:
        return now
    earlier = min(now, date)
    return earlier if command.cause.source == SOURCE else max(earlier, command.cause.received)


def _was_set(command: DeviceCommand, last: Last | None, ledger: LedgerPort) -> bool:
    """Return whether the last command's lock is known to have been set: its outcome was told, or it stood before.

    A redelivery keeps the answer of the first delivery. A ledger that was set back does not know: a release may have
    followed.
    """
    if command.cause.detail_type == LEDGER_ACCEPTED:
        return False
    if last is None or last.command == command_id(command) or last.outcome.before == last.outcome.after:
        return True
    return ledger.outcome(last.event_id, last.command) is not None


def _failed(
    command: DeviceCommand,
    ports: Ports,
    key: DeviceKey,
    before: DeviceRecord,
    decision: Decision,
    because: str,
    now: datetime,
) -> Outcome:
    """Record that WorkMail refuses to write for this user now. The claim stays, and the sweep tries again.

    People are told once for each report. Only the sweep's further tries are silent.

    ``decision.record`` is the device's item as the ledger has it now.
    """
    because = "; ".join(filter(None, (because, decision.outcome.because)))
    failed = replace(decision.outcome, result="failed", because=because, after=decision.outcome.before, page=True)
    tried = before.last if before.last is not None and before.last.command == command_id(command) else None
    last = Last(command_id(command), command.cause.event_id, failed, tried.decided_at if tried else now)
    ports.ledger.save_device(key, replace(decision.record, last=last))
    again = before.failed and tried is None and command.cause.source == SOURCE
    return replace(failed, result="skipped", because=f"as before: {because}", page=False) if again else failed
