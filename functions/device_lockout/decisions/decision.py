"""The protocol's two tables as one pure function: what to record, what to announce, what to write.

The function is total over every combination of command, observed override and record. It reads only its arguments.
It decides locking, extending, releasing, expiring and repairing alike.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Self

from device_lockout.decisions.retention import claims_to_keep
from device_lockout.values import tag
from device_lockout.values.command import (
    WATCH,
    Cause,
    Change,
    DeviceCommand,
    Expire,
    Lock,
    Reassert,
    Release,
    command_id,
)
from device_lockout.values.instant import whole_seconds_up
from device_lockout.values.lean_dataclass import dataclass
from device_lockout.values.outcome import SOURCE, Outcome, Result
from device_lockout.values.override import Override
from device_lockout.values.policy import Rules
from device_lockout.values.record import Claim, DeviceRecord, Ending, Last, UserRecord, tag_of
from device_lockout.values.tag import Broken, HandWritten, Tag

TOO_MANY = "it has as many locks as its record has room for: release it, and find out who sends them"
TOO_MANY_RELEASES = "its record has no room for releases of ever more sources' locks: find out who sends them"
MOST_PUT_BACK, CONTESTED_WITHIN = 5, timedelta(minutes=10)
"""So often within this time the tamper watch puts a device's lock back. After that only sweeps do."""
DESCRIPTION_LOST = "restored by lockout, description lost"


@dataclass(frozen=True, slots=True)
class Put:
    """Put this override, whatever WorkMail has."""

    override: Override


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the override."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a command."""

    record: DeviceRecord  # The device's item as it becomes.
    outcome: Outcome  # How the command ends.
    write: Put | Delete | None  # The one change to WorkMail; None for none.
    # The lock that it is about: the wanted one, or else the one that the tag showed; None for none.
    lock: Claim | None = None

    def with_outcome(self, outcome: Outcome) -> Self:
        """Return this decision with another outcome, in the record too."""
        assert self.record.last is not None, "a decision is in its record"
        return replace(
            self, outcome=outcome, record=replace(self.record, last=replace(self.record.last, outcome=outcome))
        )


def decide(
    command: DeviceCommand, observed: Override | None, record: DeviceRecord, now: datetime, rules: Rules
) -> Decision:
    """Decide ``command`` on the override that was ``observed`` and on the device's ``record``, at ``now``.

    If the record's last command is this very one, a redelivery finishes its work. It keeps the first outcome, unless
    that was ``failed`` or says of the device what no longer holds: a lock may have ended meanwhile.
    """
    last = record.last if record.last and record.last.command == command_id(command) else None
    reading = observed.read(rules.owner) if observed else None
    adopted, news = record, None
    if observed is not None and isinstance(reading, Tag):
        adopted = record.adopt(observed, reading, now, rules)
        news = adoption(record, adopted, reading)
    elif observed is not None:
        adopted = replace(record, known=True)
    changed = _record(command, adopted, now, rules)
    wanted = changed.wanted(now)
    write: Put | Delete | None = None
    prior = changed.prior
    if not (isinstance(command, Expire) and observed != command.planned):
        write, prior = write_for(type(command), observed, reading, changed, wanted, now, rules.owner)
    after = write.override if isinstance(write, Put) else None if isinstance(write, Delete) else observed
    if last is not None and last.outcome.result != "failed" and _denies(last.outcome.after) == _denies(after):
        outcome = last.outcome
    else:
        outcome = _outcome(command, adopted, changed, observed, reading, write, now, rules)
    outcome = _with_news(outcome, news, swept=command.cause.source == SOURCE)
    # The write may not land: what the tag shows now is asked for again.
    shown = changed.shown_by(reading) if isinstance(reading, Tag) else ()
    kept = claims_to_keep(changed.claims, changed, "device", now, rules, shown)
    decided = Last(command_id(command), command.cause.event_id, outcome, now)
    about = wanted or next(iter(shown), None)
    return Decision(replace(changed, claims=kept, prior=prior, last=decided), outcome, write, about)


def bounded(command: DeviceCommand, before: DeviceRecord, decision: Decision, now: datetime) -> Decision:
    """Return the decision, unless the tamper watch put the device's lock back :data:`MOST_PUT_BACK` times of late.

    Then it pages once and writes nothing: two deployments could undo each other for ever. The sweep puts it back.
    """
    redelivered = before.last is not None and before.last.command == command_id(command)
    if command.cause.detail_type != WATCH or decision.outcome.result != "reasserted" or redelivered:
        return decision
    recent = tuple(time for time in before.put_back if now - time < CONTESTED_WITHIN)
    if len(recent) < MOST_PUT_BACK:
        return replace(decision, record=replace(decision.record, put_back=(*recent, now)))
    told = len(recent) > MOST_PUT_BACK
    outcome = replace(decision.outcome, result="skipped" if told else "contested", after=decision.outcome.before)
    record = before if told else replace(before, put_back=(*recent, now))
    return replace(decision, record=record, outcome=outcome, write=None)


@dataclass(frozen=True, slots=True)
class News:
    """What the ledger learned from the tag that stands. People are told, whatever the command comes to."""

    because: str  # It in words.
    shortens: bool = False  # Whether a person made a lock end sooner.
    unknown: bool = False  # Whether the ledger did not know the lock.


def adoption(record: DeviceRecord, adopted: DeviceRecord, shown: Tag) -> News | None:
    """Return what ``record`` learned from the tag that is ``shown`` when it became ``adopted``; None for nothing."""
    before, after = record.shown_by(shown), adopted.shown_by(shown)
    if before == after:
        return None
    if not before:
        cut = ", with its end cut to what its reason allows" if after and after[0].until < shown.until else ""
        return News(f"the ledger did not know this lock and took it over from its tag{cut}", unknown=True)
    old, new = before[0].until, after[0].until
    because = f"a person changed its end from {tag.write_time(old)} to {tag.write_time(new)}"
    return News(because, shortens=new < old)


def _with_news(outcome: Outcome, news: News | None, *, swept: bool) -> Outcome:
    """Return the outcome with the news. Whether an unknown lock pages is for the sweep to say, if it asked."""
    if news is None:
        return outcome
    because = "; ".join(filter(None, (outcome.because, news.because)))
    result = "adopted" if outcome.result == "skipped" else outcome.result
    page = outcome.page or news.shortens or (news.unknown and not swept)
    return replace(outcome, result=result, because=because, page=page)


def decide_for_user(
    command: Lock | Release | Change, record: UserRecord, now: datetime, rules: Rules
) -> tuple[UserRecord, Outcome]:
    """Decide a lock, release or change of all devices of a user. Return the user's item as it becomes, and the summary.

    Each device gets a command of its own afterwards. A lock that the item has already is decided like a new one, so
    that a redelivery goes on to the devices.
    """
    before = DeviceRecord(user=record)
    about = Outcome("locked", reference=command.cause.reference)
    if isinstance(command, Release) and not record.released.has_room_for(command.ending, command.cause.happened):
        return record, replace(about, result="rejected", because=TOO_MANY_RELEASES, page=True)
    if isinstance(command, Change):
        own = DeviceRecord(record.claims, record.released)
        _, outcome = _change(command, own, now, rules)
        after = _record(command, own, now, rules)
        changed = replace(record, claims=after.claims, released=after.released)
    elif isinstance(command, Release):
        after = DeviceRecord(
            user=replace(record, released=record.released.with_release(command.ending, command.cause.happened))
        )
        left = after.wanted(now)
        if left is not None:
            about = replace(about, why=left.why, until=left.until)
        outcome = _of_ending(about, command.ending, after.live(now), ended=True)
        changed = after.user
    else:
        claim = command.claim
        about = replace(about, why=claim.why, until=claim.until)
        if not before.unreleased(claim):
            return record, _superseded(about, command.cause, before.released_at(claim))
        known = before.known_as(claim)
        if known is not None and known.until <= now:
            return record, replace(about, result="superseded", because=_ran_out(known), page=True)
        if claim.until <= now:
            return record, replace(about, result="rejected", because=_too_late(claim), page=True)
        if known is None and len(record.claims) >= rules.no_more_claims:
            return record, replace(about, result="rejected", because=TOO_MANY, page=True)
        outcome = about
        changed = record if known else replace(record, claims=(*record.claims, claim))
    kept = claims_to_keep(changed.claims, DeviceRecord(user=changed), "user", now, rules)
    return replace(changed, claims=kept), outcome


def must_be_recorded(command: DeviceCommand, before: DeviceRecord, decision: Decision, owner: str) -> bool:
    """Return whether the decision goes to the ledger.

    A lock, release or change always does. Any other command does if it changes the record or writes to WorkMail.

    It does too if somebody replaced the override that the last command left. Otherwise the sweep would report the end
    of the replacement as tampering. But an undone lock is not recorded: the sweep must still detect and report it.
    A lock that is not taken over from its tag is recorded once: the sweep then asks no more.
    """
    if isinstance(command, Lock | Release | Change) or decision.write is not None:
        return True
    if replace(decision.record, last=before.last) != before:
        return True
    observed, last = decision.outcome.after, before.last
    if isinstance(command, Reassert) and observed is not None:
        reading = observed.read(owner)
        if isinstance(reading, Tag) and not decision.record.shown_by(reading):
            return last is None or not last.refused(observed)
    return last is not None and last.outcome.after != observed and not before.undone(observed, owner)


def _record(command: DeviceCommand, record: DeviceRecord, now: datetime, rules: Rules) -> DeviceRecord:
    """Return the record with what the record table adds: the command's claim or release."""
    match command:
        case Lock(claim=claim) if record.known_as(claim) is None and record.unreleased(claim) and claim.until > now:
            return record if len(record.claims) >= rules.no_more_claims else record.with_claim(claim)
        case Release(ending=ending, cause=cause) if record.released.has_room_for(ending, cause.happened):
            return replace(record, released=record.released.with_release(ending, cause.happened))
        case Change(ending=ending, cause=cause):
            new, _ = _change(command, record, now, rules)
            if new is None:
                return record
            return replace(record, released=record.released.with_release(ending, cause.happened)).with_claim(new)
        case _:
            return record


def _change(change: Change, record: DeviceRecord, now: datetime, rules: Rules) -> tuple[Claim | None, Outcome]:
    """Return the lock that takes the place of those before the change, None for none, and what the change comes to."""
    asked, happened = change.claim, change.cause.happened
    live = (claim for claim in record.live(now) if change.ending.covers(claim))
    old = max(live, key=lambda claim: claim.rank, default=None)
    about = Outcome("superseded", reference=change.cause.reference)
    if old is None:
        return None, replace(about, because="it has no lock in force that this report may change", page=True)
    about = replace(about, why=old.why, until=old.until)
    if old.id == asked.id:
        sooner = any(change.ending.covers(each) and each.until > asked.until for each in record.all_claims())
        return None, replace(about, result="shortened" if sooner else "extended", page=sooner)
    if old.at >= happened:
        return None, about
    sooner, longer, most = asked.until < old.until, asked.until > old.until, rules.at_most.get(old.why)
    wrong = TOO_MANY if len(record.claims) >= rules.no_more_claims else ""
    if not record.released.has_room_for(change.ending, happened):
        wrong = TOO_MANY_RELEASES
    elif longer and not change.longer:
        wrong = "its source may let a lock end sooner, but not later"
    elif longer and most is not None and asked.until > whole_seconds_up(asked.at + most):
        wrong = f"it asks for {tag.write_time(asked.until)}, later than reason {old.why} allows"
    if wrong:
        return None, replace(about, result="rejected", because=wrong, page=True)
    source, reference, note = old.source or asked.source, asked.reference or old.reference, asked.note or old.note
    new = replace(asked, why=old.why, source=source, reference=reference, note=note)
    because = f"a report changed its end from {tag.write_time(old.until)} to {tag.write_time(new.until)}"
    result: Result = "shortened" if sooner else "extended"
    return new, replace(about, result=result, until=new.until, because=because, page=sooner)


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

    The first row that fits decides. The sweep's plan asks the same table, so the two can't drift. The ``record`` is
    the one after the record table, ``wanted`` its wanted claim, and ``reading`` what the observed override says.
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

    if asked in (Lock, Reassert, Change):
        return None, prior
    if isinstance(reading, Tag):
        if asked is Release and any(record.unreleased(claim) for claim in record.shown_by(reading)):
            return None, prior
        return _give_back(reading, prior, now, owner), prior
    if asked is Release and isinstance(reading, Broken) and _denies(observed) and record.knows(reading):
        return _give_back(reading, prior, now, owner), prior
    if asked is Expire and past:
        return Delete(), prior
    return None, prior


def _give_back(ours: Tag | Broken, prior: Override | None, now: datetime, owner: str) -> Put | Delete:
    """Return the end of our override. The prior comes back, unless its own hand-written end has passed."""
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
    rules: Rules,
) -> Outcome:
    """Return how the command ends, by the record table."""
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
            return _superseded(about, command.cause, before.released_at(claim))
        case Lock(claim=claim) if (known := before.known_as(claim)) is not None and known.until <= now:
            return replace(about, result="superseded", because=_ran_out(known), page=True)
        case Lock(claim=claim) if record.known_as(claim) is None:
            because = _too_late(claim) if claim.until <= now else TOO_MANY
            return replace(about, result="rejected", because=because, page=True)
        case Lock() | Reassert() if wanted is not None and (
            isinstance(command, Lock) or command.cause.source != SOURCE
        ):
            if others_denial:
                return replace(about, result="already-denied")
            denied = observed is not None and observed.effect == "DENY"
            return replace(about, result="already-locked" if write is None else "extended" if denied else "locked")
        case Release():
            return _of_release(about, command, before, record, reading, write is not None, now)
        case Change():
            _, said = _change(command, before, now, rules)
            return _of_change(about, said, wanted, others_denial, write is not None)
        case Expire() if write is not None:
            return replace(about, result="expired" if wanted is None else "renewed")
        case Reassert():
            return _of_reassert(about, before, reading, write is not None, rules.owner)
        case _:
            return about


def _of_change(about: Outcome, said: Outcome, wanted: Claim | None, others: bool, wrote: bool) -> Outcome:
    """Return what a change came to: what it ``said`` for itself, unless the device says otherwise."""
    result = said.result
    if result in ("extended", "shortened"):
        if others:
            result = "already-denied"
        elif wanted is not None and wanted.until > (said.until or wanted.until):
            result = "still-locked"
        elif wrote and not _denies(about.before):
            result = "locked"
    if wanted is None:
        about = replace(about, why=said.why, until=said.until)
    return replace(about, result=result, because=said.because, page=said.page)


def _of_reassert(about: Outcome, before: DeviceRecord, reading: tag.Reading | None, wrote: bool, owner: str) -> Outcome:
    """Return what a sweep's or an enrolment's command to agree with the ledger came to."""
    observed, shown = about.before, before.shown_by(reading) if isinstance(reading, Tag) else ()
    if not wrote:
        if isinstance(reading, Tag) and not shown and _denies(observed):
            because = "the ledger does not know its lock and leaves it: its user is exempt, or its record is full"
            return replace(about, result="already-denied", because=because, page=True)
        return about
    edited = isinstance(reading, Tag) and all(known.until != reading.until for known in shown)
    if edited or before.undone(observed, owner):
        return replace(about, result="reasserted", page=True)
    return replace(about, result="renewed" if _denies(observed) else "took-over")


def _of_release(
    about: Outcome,
    release: Release,
    before: DeviceRecord,
    record: DeviceRecord,
    reading: tag.Reading | None,
    wrote: bool,
    now: datetime,
) -> Outcome:
    """Return what a release came to. It is never told as released over a DENY."""
    ending = release.ending
    if not before.released.has_room_for(ending, release.cause.happened):
        return replace(about, result="rejected", because=TOO_MANY_RELEASES, page=True)
    ended = wrote or any(claim not in record.live(now) for claim in before.live(now))
    about = _of_ending(about, ending, record.live(now), ended=ended)
    if isinstance(reading, Broken) and wrote:
        return replace(about, because=f"a person had changed its tag: {reading.fault}")
    if _denies(about.after) and not isinstance(reading, Tag):
        return replace(about, because="an override that is not ours still denies it")
    if about.result in ("nothing-to-release", "released") and _denies(about.after):
        return replace(about, result="still-locked", because="its lock is over, and the next sweep removes it")
    return about


def _denies(override: Override | None) -> bool:
    return override is not None and override.effect == "DENY"


def _too_late(claim: Claim) -> str:
    return f"the lock that it asks for was over at {tag.write_time(claim.until)}, before it could be set"


def _ran_out(claim: Claim) -> str:
    return f"the lock that this very report asked for ran out at {tag.write_time(claim.until)}"


def _superseded(about: Outcome, cause: Cause, released: datetime | None) -> Outcome:
    """Return the outcome of a lock older than its scope's release. It pages if the report came in after the release."""
    assert released is not None, "a claim is superseded only by a release"
    because = f"it was released at {tag.write_time(released)}, after what this report tells of"
    return replace(about, result="superseded", because=because, page=cause.received > released)


def _of_ending(about: Outcome, ending: Ending, live: tuple[Claim, ...], *, ended: bool) -> Outcome:
    """Return a release's outcome. ``live`` are the claims after it; ``ended`` says whether it ended anything."""
    if any(ending.covers(claim) for claim in live):
        return replace(about, result="superseded")
    if not live:
        return replace(about, result="released" if ended else "nothing-to-release")
    others = any(claim.scope == ending.scope for claim in live)
    return replace(about, result="still-locked", because=f"this source's releases end {ending}" if others else "")
