"""Which claims an item keeps: what may still be asked about, and no more than an item can hold."""

from datetime import datetime
from itertools import islice

from device_lockout.values.policy import Rules
from device_lockout.values.record import Claim, DeviceRecord, Scope


def claims_to_keep(
    claims: tuple[Claim, ...],
    record: DeviceRecord,
    scope: Scope,
    now: datetime,
    rules: Rules,
    shown: tuple[Claim, ...] = (),
) -> tuple[Claim, ...]:
    """Return the claims that an item of ``scope`` keeps.

    Drop a claim once both its event and its end are older than ``max_event_age``. Keep younger ones: a late copy may
    arrive. A claim that is ``shown`` by the tag that stands stays as well. The next sweep would not know it, and so
    could not see that it was released.

    Over ``most_claims``, drop claims of ``scope`` that another outlasts: they can't be wanted again. What ends first
    goes first, since a person's cut of the others may come later. A device's copy of a user's claim stays as long as
    the user's own, which would hold without it.
    """
    needed = {claim.identity for claim in shown}
    if scope == "device":
        needed |= {claim.identity for claim in record.user.claims}

    def end(claim: Claim) -> datetime:
        released = record.released_at(claim)
        return claim.until if released is None or record.unreleased(claim) else min(claim.until, released)

    oldest = now - rules.max_event_age
    young = tuple(claim for claim in claims if claim.at >= oldest or end(claim) >= oldest or claim.identity in needed)
    too_many = len(young) - rules.most_claims
    if too_many <= 0:
        return young
    own = sorted((claim for claim in young if claim.scope == scope), key=lambda claim: claim.rank)
    outlasted = (claim for claim in own if any(other.outlasts(claim) for other in own))
    dropped = {claim.identity for claim in islice(outlasted, too_many)}
    return tuple(claim for claim in young if claim.identity not in dropped)
