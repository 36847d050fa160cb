"""What is wanted: the claims and releases that the ledger keeps for a device and for its user."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Self

from device_lockout.values.outcome import Outcome
from device_lockout.values.override import Override
from device_lockout.values.tag import Tag, Was

Scope = Literal["device", "user"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One accepted lock.

    ``id`` as in the tag; ``at``, when its event happened, to the millisecond; ``until`` in whole seconds or ``HOLD``;
    ``reference`` and ``note`` are the reporter's own words, shown after the tag.
    """

    id: str
    scope: Scope
    why: str
    at: datetime
    until: datetime
    reference: str = ""
    note: str = ""

    @property
    def remark(self) -> str:
        """What stands after the tag in the description."""
        return f"{self.reference} {self.note}".strip()

    def outlasts(self, other: "Claim") -> bool:
        """Whether this claim is live whenever ``other`` is, whatever is released: then ``other`` is never wanted."""
        return self.scope == other.scope and self.at >= other.at and self.rank > other.rank

    @property
    def identity(self) -> tuple[str, Scope, str]:
        """What tells it from others: one event that several sources read is a lock for each of their reasons."""
        return self.id, self.scope, self.why

    @property
    def rank(self) -> tuple[datetime, datetime, str, str, Scope]:
        """Of several live claims the tag shows the greatest: it lasts longest, then happened last."""
        return self.until, self.at, self.id, self.why, self.scope


@dataclass(frozen=True, slots=True)
class Released:
    """The time of the newest release of each scope; None before the first."""

    device: datetime | None = None
    user: datetime | None = None

    def of(self, scope: Scope) -> datetime | None:
        return self.device if scope == "device" else self.user

    def with_release(self, scope: Scope, at: datetime) -> Self:
        """These releases and one more: the time of a release never goes back."""
        newest = later(self.of(scope), at)
        return replace(self, device=newest) if scope == "device" else replace(self, user=newest)


@dataclass(frozen=True, slots=True)
class Last:
    """The newest command decided for a device: a redelivery decides at the same time and keeps the same outcome.

    ``event_id`` is its cause's: under both the outcome is recorded, once what was decided is done.
    """

    command: str
    event_id: str
    outcome: Outcome
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class UserRecord:
    """The user's item: locks and the newest release that hold for every device of the user."""

    claims: tuple[Claim, ...] = ()
    released: datetime | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """The device's item as read, together with its user's.

    ``claims`` are the device's own, among them its own copies of user claims whose ``until`` a person changed there;
    ``prior`` is the ``ALLOW`` that our lock covers, verbatim; ``known`` says that the device is there beyond a report's
    word, from the inventory or from an override of somebody else's; the next write is conditional on ``version``.
    """

    claims: tuple[Claim, ...] = ()
    released: Released = Released()
    prior: Override | None = None
    last: Last | None = None
    known: bool = False
    version: int = 0
    user: UserRecord = UserRecord()

    def ours_was_left(self, owner: str) -> bool:
        """Whether a lock of ours is what the last command left standing."""
        left = self.last.outcome.after if self.last else None
        return left is not None and left.effect == "DENY" and isinstance(left.read(owner), Tag)

    def undone(self, observed: Override | None, owner: str) -> bool:
        """Whether somebody undid a lock: ours was left standing, or its tag still is, and nothing denies the device."""
        if observed is not None and observed.effect == "DENY":
            return False
        return self.ours_was_left(owner) or (observed is not None and isinstance(observed.read(owner), Tag))

    @property
    def failed(self) -> bool:
        """Whether WorkMail refused to write when the last command asked it to."""
        return self.last is not None and self.last.outcome.result == "failed"

    def all_claims(self) -> tuple[Claim, ...]:
        """The device's claims and its user's; the device's own copy of a user's claim wins."""
        own = {claim.identity for claim in self.claims}
        return self.claims + tuple(claim for claim in self.user.claims if claim.identity not in own)

    def known_as(self, claim: Claim) -> Claim | None:
        """``claim`` as the record has it, maybe with another ``until``; None if it does not have it."""
        return next((known for known in self.all_claims() if known.identity == claim.identity), None)

    def shown_by(self, standing: Tag) -> tuple[Claim, ...]:
        """The claims that a tag of ours shows: those of its event and, where these differ, of its reason."""
        of_event = tuple(claim for claim in self.all_claims() if claim.id == standing.id)
        return of_event if len(of_event) == 1 else tuple(claim for claim in of_event if claim.why == standing.why)

    def released_at(self, scope: Scope) -> datetime | None:
        """The newest release of ``scope`` that the device or its user knows of."""
        own = self.released.of(scope)
        return own if scope == "device" else later(own, self.user.released)

    def unreleased(self, claim: Claim) -> bool:
        """Whether no release of the claim's scope is strictly newer: on a tie the lock wins."""
        released = self.released_at(claim.scope)
        return released is None or claim.at >= released

    def live(self, now: datetime) -> tuple[Claim, ...]:
        """The claims that stand and are not over at ``now``."""
        return tuple(claim for claim in self.all_claims() if claim.until > now and self.unreleased(claim))

    def wanted(self, now: datetime) -> Claim | None:
        """The live claim that the tag shows."""
        return max(self.live(now), key=lambda claim: claim.rank, default=None)

    def with_claim(self, claim: Claim) -> Self:
        """This record with ``claim`` among the device's own, in place of the same one; oldest first."""
        own = [*(known for known in self.claims if known.identity != claim.identity), claim]
        return replace(self, claims=tuple(sorted(own, key=lambda known: (known.at, known.identity))))

    def adopt(self, standing: Tag) -> Self:
        """This record after what our own tag says was taken over.

        Of a person's edits only ``until`` is honoured; a claim that the ledger does not know is added, scope device.
        """
        shown = self.shown_by(standing)
        if not shown:
            return self.with_claim(Claim(standing.id, "device", standing.why, standing.at, standing.until))
        adopted = self
        for claim in shown:
            if claim.until != standing.until:
                adopted = adopted.with_claim(replace(claim, until=standing.until))
        return adopted


def tag_of(claim: Claim, owner: str, was: Was) -> Tag:
    """The tag that shows ``claim``; ``at`` is cut to whole seconds, for people."""
    return Tag(owner, claim.why, claim.until, claim.at.replace(microsecond=0), claim.id, was)


def later(one: datetime | None, other: datetime | None) -> datetime | None:
    """The later of two instants of which either may be missing."""
    return max((instant for instant in (one, other) if instant is not None), default=None)
