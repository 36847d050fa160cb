"""What is wanted: the claims and releases that the ledger keeps for a device and for its user."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Self

from device_lockout.outcome import Outcome
from device_lockout.override import Override
from device_lockout.tag import Tag, Was

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
    def rank(self) -> tuple[datetime, datetime, str]:
        """Of several live claims the tag shows the greatest: it lasts longest, then happened last."""
        return self.until, self.at, self.id


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
    """The newest command decided for a device: a redelivery decides at the same time and keeps the same outcome."""

    command: str
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

    def stood(self, owner: str) -> bool:
        """Whether a lock of ours is what the last command left standing: only what stood can be tampered with."""
        left = self.last.outcome.after if self.last else None
        return left is not None and left.effect == "DENY" and isinstance(left.read(owner), Tag)

    @property
    def failed(self) -> bool:
        """Whether WorkMail refused to write when the last command asked it to."""
        return self.last is not None and self.last.outcome.result == "failed"

    def all_claims(self) -> tuple[Claim, ...]:
        """The device's claims and its user's; the device's own copy of a user's claim wins."""
        own = {claim.id for claim in self.claims}
        return self.claims + tuple(claim for claim in self.user.claims if claim.id not in own)

    def claim(self, claim_id: str) -> Claim | None:
        return next((claim for claim in self.all_claims() if claim.id == claim_id), None)

    def released_at(self, scope: Scope) -> datetime | None:
        """The newest release of ``scope`` that the device or its user knows of."""
        own = self.released.of(scope)
        return own if scope == "device" else later(own, self.user.released)

    def stands(self, claim: Claim) -> bool:
        """Whether no release of the claim's scope is strictly newer: on a tie the lock wins."""
        released = self.released_at(claim.scope)
        return released is None or claim.at >= released

    def live(self, now: datetime) -> tuple[Claim, ...]:
        """The claims that stand and are not over at ``now``."""
        return tuple(claim for claim in self.all_claims() if claim.until > now and self.stands(claim))

    def wanted(self, now: datetime) -> Claim | None:
        """The live claim that the tag shows."""
        return max(self.live(now), key=lambda claim: claim.rank, default=None)

    def with_claim(self, claim: Claim) -> Self:
        """This record with ``claim`` among the device's own, in place of one of the same ID; oldest first."""
        own = [*(known for known in self.claims if known.id != claim.id), claim]
        return replace(self, claims=tuple(sorted(own, key=lambda known: (known.at, known.id))))

    def adopt(self, standing: Tag) -> Self:
        """This record after what our own tag says was taken over.

        Of a person's edits only ``until`` is honoured; a claim that the ledger does not know is added, scope device.
        """
        known = self.claim(standing.id)
        if known is None:
            return self.with_claim(Claim(standing.id, "device", standing.why, standing.at, standing.until))
        return self if known.until == standing.until else self.with_claim(replace(known, until=standing.until))


def tag_of(claim: Claim, owner: str, was: Was) -> Tag:
    """The tag that shows ``claim``; ``at`` is cut to whole seconds, for people."""
    return Tag(owner, claim.why, claim.until, claim.at.replace(microsecond=0), claim.id, was)


def later(one: datetime | None, other: datetime | None) -> datetime | None:
    """The later of two instants of which either may be missing."""
    return max((instant for instant in (one, other) if instant is not None), default=None)
