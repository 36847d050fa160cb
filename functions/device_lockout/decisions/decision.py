"""The protocol's two tables as one pure function: what to record, what to announce, what to write.

It is total over every combination of command, observed override, and record, and it reads nothing but its arguments.
Locking, extending, releasing, expiring and putting back what was tampered with are all in here.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from device_lockout.decisions.retention import claims_to_keep
from device_lockout.values import tag
from device_lockout.values.command import Cause, DeviceCommand, Expire, Lock, Reassert, Release, command_id
from device_lockout.values.outcome import SOURCE, Outcome, Result
from device_lockout.values.override import Override
from device_lockout.values.policy import Rules
from device_lockout.values.record import Claim, DeviceRecord, Last, Scope, UserRecord, later, tag_of
from device_lockout.values.tag import HandWritten, Tag

DESCRIPTION_LOST = "restored by lockout, description lost"


@dataclass(frozen=True, slots=True)
class Put:
    """Put this override, whatever stands there."""

    override: Override


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the override."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a command: the record to be, the outcome to announce, the one write to WorkMail or None."""

    record: DeviceRecord
    outcome: Outcome
    write: Put | Delete | None


def decide(
    command: DeviceCommand, observed: Override | None, record: DeviceRecord, now: datetime, rules: Rules
) -> Decision:
    """Decide ``command`` on what is ``observed`` and what the ledger wants, at ``now``.

    A command that was decided before (it is the record's last) decides at that time again and keeps its outcome,
    so that a redelivery after a crash finishes what was begun and announces the same.
    """
    last = record.last if record.last and record.last.command == command_id(command) else None
    now = last.decided_at if last else now
    reading = observed.read(rules.owner) if observed else None
    adopted = record.adopt(reading) if isinstance(reading, Tag) else record

    if observed is not None and not isinstance(reading, Tag):
        adopted = replace(adopted, known=True)
    changed = _record(command, adopted, now)
    wanted = changed.wanted(now)
    write: Put | Delete | None = None
    prior = changed.prior
    if not (isinstance(command, Expire) and observed != command.planned):
        write, prior = write_for(type(command), observed, reading, changed, wanted, now, rules.owner)
    if last is not None and last.outcome.result != "failed":
        outcome = last.outcome
    else:
        outcome = _outcome(command, adopted, changed, observed, reading, write, now, rules.owner)
    kept = claims_to_keep(changed.claims, changed, "device", now, rules)
    decided = Last(command_id(command), command.cause.event_id, outcome, now)
    return Decision(replace(changed, claims=kept, prior=prior, last=decided), outcome, write)


def decide_for_user(
    command: Lock | Release, record: UserRecord, now: datetime, rules: Rules
) -> tuple[UserRecord, Outcome]:
    """Decide a lock or release of all devices of a user: what the user's item becomes, and the summary.

    The devices follow, each by a command of its own. A lock that the item knows is decided as when it was new, so that
    a redelivery goes on to the devices.
    """
    before = DeviceRecord(user=record)
    about = Outcome("locked", reference=command.cause.reference)
    if isinstance(command, Release):
        after = DeviceRecord(user=replace(record, released=later(record.released, command.cause.happened)))
        newer = bool(after.live(now))
        outcome = replace(about, result="superseded" if newer else "released")
        changed = after.user
    else:
        claim = command.claim
        about = replace(about, why=claim.why, until=claim.until)
        if not before.unreleased(claim):
            return record, _superseded(about, command.cause, record.released)
        if claim.until <= now:
            return record, replace(about, result="rejected", because=_over(claim), page=True)
        outcome = about
        changed = record if before.known_as(claim) else replace(record, claims=(*record.claims, claim))
    kept = claims_to_keep(changed.claims, DeviceRecord(user=changed), "user", now, rules)
    return replace(changed, claims=kept), outcome


def must_be_recorded(command: DeviceCommand, before: DeviceRecord, decision: Decision, owner: str) -> bool:
    """Whether the decision goes to the ledger: always for a lock or release, else if it changes or writes anything.

    Or if something else stands than was left there last: what was replaced is not told as tampering once it is gone.
    That somebody undid a lock is not noted as if it had to be so: the sweep is to find it, and to tell.
    """
    if isinstance(command, Lock | Release) or decision.write is not None:
        return True
    if replace(decision.record, last=before.last) != before:
        return True
    observed = decision.outcome.after
    return before.last is not None and before.last.outcome.after != observed and not before.undone(observed, owner)


def _record(command: DeviceCommand, record: DeviceRecord, now: datetime) -> DeviceRecord:
    """The record table: what the command adds to what is wanted."""
    match command:
        case Lock(claim=claim) if record.known_as(claim) is None and record.unreleased(claim) and claim.until > now:
            return record.with_claim(claim)
        case Release(scope=scope, cause=cause):
            return replace(record, released=record.released.with_release(scope, cause.happened))
        case _:
            return record


def write_for(
    asked: type[DeviceCommand],
    observed: Override | None,
    reading: tag.Reading | None,
    record: DeviceRecord,
    wanted: Claim | None,
    now: datetime,
    owner: str,
) -> tuple[Put | Delete | None, Override | None]:
    """Return the write table's answer: the one change to WorkMail, and the prior override to remember.

    The first row that fits decides. The sweep's plan asks the same table, so that the two can't drift.
    """
    prior = record.prior
    past = isinstance(reading, HandWritten) and reading.until <= now

    if wanted is not None:
        if asked is Expire and past:
            return Put(_denial(wanted, owner, "none")), prior
        if observed is None:
            return Put(_denial(wanted, owner, "none")), None
        if isinstance(reading, Tag):
            due = tag_of(wanted, owner, reading.was)
            same = observed.effect == "DENY" and reading == due
            return None if same else Put(_denial(wanted, owner, reading.was)), prior
        if observed.effect == "ALLOW":
            return Put(_denial(wanted, owner, "allow")), observed
        return None, prior

    if asked is Lock or asked is Reassert:
        return None, prior
    if isinstance(reading, Tag):
        if asked is Release and any(record.unreleased(claim) for claim in record.shown_by(reading)):
            return None, prior
        return _give_back(reading, prior, now, owner), prior
    if asked is Expire and past:
        return Delete(), prior
    return None, prior


def _give_back(ours: Tag, prior: Override | None, now: datetime, owner: str) -> Put | Delete:
    """End our override: what stood there before it comes back, unless that has run out by its own words."""
    if ours.was == "none":
        return Delete()
    if prior is None:
        return Put(Override("ALLOW", DESCRIPTION_LOST))
    reading = prior.read(owner)
    return Delete() if isinstance(reading, HandWritten) and reading.until <= now else Put(prior)


def _denial(claim: Claim, owner: str, was: tag.Was) -> Override:
    return Override("DENY", tag.write(tag_of(claim, owner, was), claim.remark))


def _outcome(
    command: DeviceCommand,
    before: DeviceRecord,
    record: DeviceRecord,
    observed: Override | None,
    reading: tag.Reading | None,
    write: Put | Delete | None,
    now: datetime,
    owner: str,
) -> Outcome:
    """How the command ended, in the words of the record table."""
    wanted = record.wanted(now)
    after = write.override if isinstance(write, Put) else None if isinstance(write, Delete) else observed
    about = Outcome("skipped", reference=command.cause.reference, before=observed, after=after, verified=record.known)
    if wanted is not None:
        about = replace(about, why=wanted.why, until=wanted.until)
    if after == Override("ALLOW", DESCRIPTION_LOST) and write is not None:
        about = replace(about, because="the ALLOW that stood before is back, but its description is lost", page=True)
    others_denial = observed is not None and observed.effect == "DENY" and not isinstance(reading, Tag)

    match command:
        case Lock(claim=claim) if not before.unreleased(claim):
            return _superseded(about, command.cause, before.released_at(claim.scope))
        case Lock(claim=claim) if (known := before.known_as(claim)) is not None and known.until <= now:
            over = f"the lock that this very report asked for ran out at {tag.write_time(known.until)}"
            return replace(about, result="superseded", because=over)
        case Lock(claim=claim) if before.known_as(claim) is None and claim.until <= now:
            return replace(about, result="rejected", because=_over(claim), page=True)
        case Lock() | Reassert() if wanted is not None and (
            isinstance(command, Lock) or command.cause.source != SOURCE
        ):
            if others_denial:
                return replace(about, result="already-denied")
            ours = observed is not None and observed.effect == "DENY" and write is not None
            return replace(about, result="already-locked" if write is None else "extended" if ours else "locked")
        case Release(scope=scope):
            ended = write is not None or any(claim not in record.live(now) for claim in before.live(now))
            result = _released(scope, record.live(now), ended)
            because = "an override that is not ours still denies it" if others_denial else about.because
            return replace(about, result=result, because=because)
        case Expire() if write is not None:
            return replace(about, result="expired" if wanted is None else "renewed")
        case Reassert() if write is not None:
            if before.undone(observed, owner):
                return replace(about, result="reasserted", page=True)
            return replace(about, result="took-over" if observed is None or observed.effect == "ALLOW" else "renewed")
        case _:
            return about


def _over(claim: Claim) -> str:
    return f"the lock that it asks for was over at {tag.write_time(claim.until)}, before it could be set"


def _superseded(about: Outcome, cause: Cause, released: datetime | None) -> Outcome:
    """A lock older than the release of its scope; somebody is told if its report came in after that release."""
    assert released is not None, "a claim is superseded only by a release"
    because = f"it was released at {tag.write_time(released)}, after what this report tells of"
    return replace(about, result="superseded", because=because, page=cause.received > released)


def _released(scope: Scope, live: tuple[Claim, ...], ended: bool) -> Result:
    """What a release of ``scope`` came to, given the claims that are live after it."""
    if any(claim.scope == scope for claim in live):
        return "superseded"
    if live:
        return "still-locked"
    return "released" if ended else "nothing-to-release"
