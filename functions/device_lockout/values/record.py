"""What the ledger wants for a device: the claims and releases of the device and of its user."""

from dataclasses import field, replace
from datetime import datetime
from typing import Literal, Self

from device_lockout.values.instant import whole_seconds_up
from device_lockout.values.lean_dataclass import dataclass
from device_lockout.values.outcome import Outcome
from device_lockout.values.override import Override
from device_lockout.values.policy import Rules
from device_lockout.values.tag import PREFIX, Broken, Tag, Was

Scope = Literal["device", "user"]

MOST_RELEASES = 50  # So many kinds of releases an item keeps before it takes none of another source's locks.


@dataclass(frozen=True, slots=True)
class Claim:
    """One accepted lock."""

    id: str  # The ``id`` of its tag.
    scope: Scope  # Whether it locks one device or all devices of a user.
    why: str  # The reason's name.
    at: datetime  # When its event happened, to the millisecond.
    until: datetime  # When it ends, in whole seconds; ``HOLD`` if only a release ends it.
    reference: str = ""  # The report's ticket number. Like the note it follows the tag.
    note: str = ""  # The reporter's own words.
    source: str = ""  # The ``source`` of its event; empty if it is known from its tag only.
    beyond: str = ""  # What a newer release wrote besides, as JSON; empty for nothing. It is kept and never read.

    @property
    def remark(self) -> str:
        """The text after the tag in the description."""
        return f"{self.reference} {self.note}".strip()

    def outlasts(self, other: "Claim") -> bool:
        """Return whether this claim is live whenever ``other`` is. Then ``other`` is never wanted.

        A release of one reason or source may end either alone, so both must be of the same.
        """
        same = (self.scope, self.why, self.source) == (other.scope, other.why, other.source)
        return same and self.at >= other.at and self.rank > other.rank

    @property
    def identity(self) -> tuple[str, Scope, str, datetime]:
        """What tells claims apart. One event that several sources read is a lock for each reason and second.

        A claim that was adopted from its tag has no milliseconds, and is the same.
        """
        return self.id, self.scope, self.why, self.at.replace(microsecond=0)

    @property
    def rank(self) -> tuple[datetime, datetime, str, str, Scope]:
        """The order of live claims. The tag shows the greatest: it lasts longest, then happened last."""
        return self.until, self.at, self.id, self.why, self.scope


@dataclass(frozen=True, slots=True)
class Ending:
    """Which locks a release ends, of those that happened before it."""

    scope: Scope  # Those of a device, or those of all devices of a user.
    reasons: frozenset[str] = frozenset()  # Those with one of these reasons; empty for all.
    source: str = ""  # Those from events of this ``source``; empty for all.
    # As of a claim. It ends no other locks, so it does not count when endings are compared.
    beyond: str = field(default="", compare=False)

    def __str__(self) -> str:
        """Say which locks it ends, such as ``only locks (lost) from events of webhook.jamf``; empty for all."""
        reasons = f" ({', '.join(sorted(self.reasons))})" if self.reasons else ""
        source = f" from events of {self.source}" if self.source else ""
        return f"only locks{reasons}{source}" if reasons or source else ""

    def covers(self, claim: Claim) -> bool:
        """Return whether a release of this kind can end ``claim``."""
        return (
            self.scope == claim.scope
            and (not self.reasons or claim.why in self.reasons)
            and (not self.source or claim.source == self.source)
        )

    def includes(self, other: "Ending") -> bool:
        """Return whether a release of this kind can end whatever one of the ``other`` kind can."""
        return (
            self.scope == other.scope
            and (not self.reasons or bool(other.reasons and other.reasons <= self.reasons))
            and self.source in ("", other.source)
        )


@dataclass(frozen=True, slots=True)
class Released:
    """The newest release of each kind, but for those that a newer one includes."""

    newest: tuple[tuple[Ending, datetime], ...] = ()

    def of(self, claim: Claim) -> datetime | None:
        """Return the time of the newest release that covers ``claim``; None before the first."""
        return max((at for ending, at in self.newest if ending.covers(claim)), default=None)

    def has_room_for(self, ending: Ending, at: datetime) -> bool:
        """Return whether a release can be kept. One that is not limited to a source always can: people need it."""
        kinds = len(self.with_release(ending, at).newest)
        return not ending.source or kinds <= max(MOST_RELEASES, len(self.newest))

    def with_release(self, ending: Ending, at: datetime) -> Self:
        """Return these releases and one more. A release's time never goes back."""
        if any(known.includes(ending) and when >= at for known, when in self.newest):
            return self
        rest = ((known, when) for known, when in self.newest if not (ending.includes(known) and at >= when))
        return replace(self, newest=tuple(sorted((*rest, (ending, at)), key=_order)))


def _order(release: tuple[Ending, datetime]) -> tuple[str, str, list[str]]:
    ending, _ = release
    return ending.scope, ending.source, sorted(ending.reasons)


@dataclass(frozen=True, slots=True)
class Last:
    """The newest decision about a device. A redelivery decides at the same time and keeps the same outcome."""

    command: str  # The command's ID.
    event_id: str  # The ID of its event. The outcome is recorded under both, once the command is done.
    outcome: Outcome  # The outcome that was decided.
    decided_at: datetime  # When it was decided first.

    def refused(self, observed: Override | None) -> bool:
        """Return whether it left this override as it is: the lock of an unknown tag was not taken over."""
        return self.outcome.result in ("already-denied", "skipped") and self.outcome.after == observed


@dataclass(frozen=True, slots=True)
class LastSweep:
    """The last complete sweep of an organization."""

    began: datetime  # When it began.
    # Whether it was over this very table. A table that is restored or copied has seen none, and may know locks that
    # were released since.
    here: bool


@dataclass(frozen=True, slots=True)
class UserRecord:
    """The user's item. It holds for every device of the user."""

    claims: tuple[Claim, ...] = ()  # The user's locks.
    released: Released = Released()  # The newest releases.
    version: int = 0  # Counts the writes. The next write is conditional on it.

    def live(self, now: datetime) -> tuple[Claim, ...]:
        """Return the unreleased claims that end after ``now``."""
        return DeviceRecord(user=self).live(now)


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """The device's item as read, together with its user's."""

    # The device's own locks. A user's claim is copied here if a person changed its ``until`` on this device.
    claims: tuple[Claim, ...] = ()
    released: Released = Released()  # The newest releases.
    prior: Override | None = None  # The ``ALLOW`` that our lock covers, verbatim; None for none.
    last: Last | None = None  # The newest decision; None before the first.
    put_back: tuple[datetime, ...] = ()  # When the tamper watch put a lock back, or gave it up, within ten minutes.
    # Whether more than a report says that the device exists: the inventory, or somebody else's override.
    known: bool = False
    version: int = 0  # Counts the writes. The next write is conditional on it.
    user: UserRecord = UserRecord()

    def of_user(self, user: UserRecord) -> Self:
        """Return this record with the user's.

        After a loss of the ledger a user's lock is known from its tag, as the device's own. Once the user's item has it
        again it is a copy of the user's.
        """
        of_user = {replace(claim, scope="device").identity: claim for claim in user.claims}
        claims = tuple(
            replace(claim, scope="user", source=of_user[claim.identity].source)
            if not claim.source and claim.identity in of_user
            else claim
            for claim in self.claims
        )
        return replace(self, claims=claims, user=user)

    def ours_was_left(self, owner: str) -> bool:
        """Return whether the last command left one of our locks."""
        left = self.last.outcome.after if self.last else None
        return left is not None and left.effect == "DENY" and isinstance(left.read(owner), Tag)

    def undone(self, observed: Override | None, owner: str) -> bool:
        """Return whether somebody undid a lock: nothing denies the device, but ours was left or its tag is there."""
        if observed is not None and observed.effect == "DENY":
            return False
        return self.ours_was_left(owner) or (observed is not None and isinstance(observed.read(owner), Tag))

    @property
    def failed(self) -> bool:
        """Whether WorkMail refused the last command's write."""
        return self.last is not None and self.last.outcome.result == "failed"

    @property
    def is_for_the_sweep(self) -> bool:
        """Whether a sweep may have to do with the device: it has a claim, or the last command failed or left a DENY.

        Somebody may have put another DENY in the place of one whose claim is forgotten. An ``ALLOW`` with a tag was
        left because its lock was not taken over.
        """
        left = self.last.outcome.after if self.last else None
        noted = left is not None and (left.effect == "DENY" or (left.description or "").startswith(PREFIX))
        return bool(self.claims or self.user.claims or self.failed or noted)

    def all_claims(self) -> tuple[Claim, ...]:
        """Return the device's claims and its user's. The device's own copy of a user's claim wins."""
        if not self.user.claims:
            return self.claims
        own = {claim.identity for claim in self.claims}
        return self.claims + tuple(claim for claim in self.user.claims if claim.identity not in own)

    def known_as(self, claim: Claim) -> Claim | None:
        """Return ``claim`` as the record has it, maybe with another ``until``; None if it is unknown."""
        same = (known for known in self.all_claims() if known.id == claim.id and known.identity == claim.identity)
        return next(same, None)

    def shown_by(self, tag: Tag) -> tuple[Claim, ...]:
        """Return the claims that one of our tags shows: those of its event, then of its reason, then of its second."""
        shown = tuple(claim for claim in self.all_claims() if claim.id == tag.id)
        if len(shown) > 1:
            shown = tuple(claim for claim in shown if claim.why == tag.why)
        if len(shown) > 1:
            shown = tuple(claim for claim in shown if claim.at.replace(microsecond=0) == tag.at) or shown
        return shown

    def knows(self, broken: Broken) -> bool:
        """Return whether a tag that can't be read any more is of a lock of ours.

        Its ``id`` says so. If that can't be read either, our name in it does, with any lock that is known here.
        """
        known = {claim.id for claim in self.all_claims()}
        return broken.id in known if broken.id else broken.ours and bool(known)

    def released_at(self, claim: Claim) -> datetime | None:
        """Return the newest release that covers ``claim``, from the device's item or the user's; None for none."""
        both = (self.released.of(claim), self.user.released.of(claim))
        return max(filter(None, both), default=None)

    def unreleased(self, claim: Claim) -> bool:
        """Return whether no release that covers the claim is strictly newer. On a tie the lock wins."""
        released = self.released_at(claim)
        return released is None or claim.at >= released

    def live(self, now: datetime) -> tuple[Claim, ...]:
        """Return the unreleased claims that end after ``now``."""
        return tuple(claim for claim in self.all_claims() if claim.until > now and self.unreleased(claim))

    def wanted(self, now: datetime) -> Claim | None:
        """Return the live claim that the tag shows; None if no claim is live."""
        return max(self.live(now), key=lambda claim: claim.rank, default=None)

    def with_claim(self, claim: Claim) -> Self:
        """Return this record with ``claim`` among the device's own, oldest first. It replaces its earlier self."""
        own = [*(known for known in self.claims if known.identity != claim.identity), claim]
        return replace(self, claims=tuple(sorted(own, key=lambda known: (known.at, known.identity))))

    def adopt(self, observed: Override, tag: Tag, now: datetime, rules: Rules) -> Self:
        """Return this record with what our own tag on the ``observed`` override says at ``now``.

        Of a known lock only a person's edit of ``until`` counts, and none on an ``ALLOW``: somebody undid that lock.

        An unknown lock is added as a claim of scope ``device``, unless the user's item once knew it. If it is newer
        than the record's last decision, or that neither left nor saw it, the ledger was set back: then the prior is of
        an older lock, and is dropped. Then nothing says either that the lock was the user's: a release of the user
        would let a stolen device in. Anybody who may edit overrides can write such a tag. So the lock lasts from now on
        no longer than a report could ask for, and a full record learns no lock: a release must still find room.
        """
        shown, full = self.shown_by(tag), len(self.claims) >= rules.no_more_claims
        if not shown and (full or not rules.adopts_unknown):
            return self
        if not shown:
            unknown = Claim(tag.id, "user", tag.why, min(tag.at, now), tag.until)
            last = self.last
            seen = last is not None and (self.ours_was_left(tag.owner) or last.outcome.before == observed)
            set_back = last is None or tag.at > last.decided_at or not seen
            users = None if set_back else self._as_the_users(unknown)
            if users is not None:
                return self.with_claim(users)
            known = replace(self, prior=None) if set_back else self
            most = rules.at_most.get(tag.why)
            until = tag.until if most is None else min(tag.until, whole_seconds_up(now + most))
            return known.with_claim(replace(unknown, scope="device", until=until))
        adopted = self
        ours = any(claim.until == tag.until for claim in shown)  # we wrote it, for the one that it fits
        for claim in shown:
            has_room = not full or claim in self.claims
            if has_room and not ours and observed.effect == "DENY" and rules.honours(claim.until, tag.until):
                adopted = adopted.with_claim(replace(claim, until=tag.until))
        return adopted

    def _as_the_users(self, unknown: Claim) -> Claim | None:
        """Return a lock known from its tag as the user's that was dropped: released, or outlasted by another.

        As a claim of the device it would outlive the user's release. A tag does not say its lock's source, and a
        release of one source's locks may be why it was dropped. Then it gets that source: a lock that no release ended
        is dropped only while another of its own source is live.
        """
        for ending, at in self.user.released.newest:
            if replace(ending, source="").covers(unknown) and unknown.at <= at:
                return replace(unknown, source=ending.source)
        outlasted = any(claim.at >= unknown.at and claim.until >= unknown.until for claim in self.user.claims)
        return unknown if outlasted else None


def tag_of(claim: Claim, owner: str, was: Was) -> Tag:
    """Return the tag that shows ``claim``. Its ``at`` is cut to whole seconds, for people."""
    return Tag(owner, claim.why, claim.until, claim.at.replace(microsecond=0), claim.id, was)
