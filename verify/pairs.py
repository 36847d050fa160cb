"""From whatever stands and whatever the ledger says, one sweep reaches a pair that agrees, and keeps what is due.

Two do, where the tag that stands is of a lock of which the ledger has no claim, only a release: a sweep reads devices
with claims only, and asks for the record first.

However the two came apart: by a fault that the search does not know, by hand, by a restored table.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from time import perf_counter

from device_lockout.decisions.decision import DESCRIPTION_LOST
from device_lockout.values import tag
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, DeviceRecord, Released, Scope, UserRecord, tag_of
from device_lockout.values.tag import HOLD, HandWritten, Tag
from verify.scenarios import (
    BROKEN_ALLOW,
    BROKEN_DENY,
    LEGAL_HOLD,
    OTHER_ALLOW,
    OWNER,
    VIP,
    Scenario,
    at,
    written,
)
from verify.state import ViolationError
from verify.world import World

NOW = 10
EVERY = 3
"""Of how many pairs `make verify` tries one; coprime to what the domain is a product of, but for the claims."""
PAIRS_PER_WORLD = 500
"""A world remembers every process that it has run; a new one now and then keeps memory small."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What stands, and the ledger's items of the device and of its user."""

    stands: Override | None
    device: DeviceRecord
    user: UserRecord


@dataclass(frozen=True, slots=True)
class Checked:
    """How many pairs were tried, which one was not mended, and why."""

    pairs: int
    seconds: float
    violation: str | None = None
    pair: Pair | None = None


def check(every: int = 1) -> Checked:
    """Sweep from each pair of the domain, or from each ``every``-th of them."""
    began = perf_counter()
    number = 0
    world = World(Scenario("pairs", "no events, only what stands and what is recorded", instants=(NOW,)))
    for number, pair in enumerate(domain(), 1):
        if number % every:
            continue
        if number // every % PAIRS_PER_WORLD == 0:
            world = World(world.scenario)
        try:
            _check(world, pair)
        except ViolationError as violation:
            return Checked(number // every, perf_counter() - began, str(violation), pair)
    return Checked(number // every, perf_counter() - began)


def domain() -> Iterator[Pair]:
    """All pairs: two claims of either scope that are over, live or held, releases between them, priors, and rows."""
    firsts, seconds = list(_claims("00000001", 1, 4)), list(_claims("00000002", 5, 8))
    records = [
        Pair(None, _device(claims, Released(at_device, None), prior), _user(claims, at_user))
        for claims in product(firsts, seconds)
        for at_device in (None, at(3), at(5))
        for at_user in (None, at(3))
        for prior in (None, VIP, written(8, "ALLOW"))
    ]
    for stands, pair in product(_rows(), records):
        yield replace(pair, stands=stands)


def _claims(name: str, happened: int, over: int) -> Iterator[Claim | None]:
    yield None
    scopes: tuple[Scope, ...] = ("device", "user")
    for scope, until in product(scopes, (at(over), at(15), HOLD)):
        yield Claim(name, scope, "lost", at(happened), until)


def _device(claims: tuple[Claim | None, ...], released: Released, prior: Override | None) -> DeviceRecord:
    own = tuple(claim for claim in claims if claim is not None and claim.scope == "device")
    return DeviceRecord(own, released, prior, version=1)


def _user(claims: tuple[Claim | None, ...], released: object) -> UserRecord:
    users = tuple(claim for claim in claims if claim is not None and claim.scope == "user")
    return UserRecord(users, at(3) if released else None, version=1)


def _rows() -> Iterator[Override | None]:
    yield from (None, VIP, OTHER_ALLOW, LEGAL_HOLD, BROKEN_ALLOW, BROKEN_DENY)
    yield from (written(8), written(12), written(8, "ALLOW"), written(12, "ALLOW"))
    names = (("00000001", 1), ("00000002", 5), ("00000003", 4))
    wases: tuple[tag.Was, ...] = ("none", "allow")
    for (name, happened), until, was in product(names, (at(9), at(15), HOLD), wases):
        text = tag.write(Tag(OWNER, "lost", until, at(happened), name, was))
        yield Override("DENY", text)
        yield Override("ALLOW", text)


def _check(world: World, pair: Pair) -> None:
    state = world.initial()
    row = world.number(pair.stands)
    reading = pair.stands.read(OWNER) if pair.stands else None
    known = replace(pair.device, user=pair.user)
    adopted = known.adopt(reading) if isinstance(reading, Tag) else known
    wanted = adopted.wanted(at(NOW))
    over = isinstance(reading, HandWritten) and reading.until <= at(NOW)

    ends_as = _given_back(reading, pair.device.prior) if isinstance(reading, Tag) else None if over else pair.stands
    state = state._replace(
        rows=(row,),
        items=(world.number(pair.device),),
        users=(world.number(pair.user),),
        owed=(world.number(ends_as),),
        meddled=True,
    )
    if isinstance(reading, Tag) and not pair.device.claims and not pair.user.claims:
        state = world.whole_sweep(state, "first")
    after = world.settle(state)
    settled: Override | None = world.values[after.rows[0]]
    if wanted is None:
        expected = ends_as
    elif pair.stands is not None and pair.stands.effect == "DENY" and not isinstance(reading, Tag) and not over:
        expected = pair.stands
    else:
        covered = (
            reading.was == "allow"
            if isinstance(reading, Tag)
            else pair.stands is not None and pair.stands.effect == "ALLOW"
        )
        expected = Override("DENY", tag.write(tag_of(wanted, OWNER, "allow" if covered else "none")))
    if settled != expected:
        raise ViolationError(f"after a sweep stands {settled}, expected {expected}")
    record: DeviceRecord = world.values[after.items[0]]
    foreign = pair.stands is not None and not isinstance(reading, Tag) and not over
    if settled != pair.stands and foreign and record.prior != pair.stands:
        raise ViolationError(f"the prior is {record.prior}, expected {pair.stands}")


def _given_back(ours: Tag, prior: Override | None) -> Override | None:
    """What stands when our override has ended."""
    if ours.was == "none":
        return None
    if prior is None:
        return Override("ALLOW", DESCRIPTION_LOST)
    reading = prior.read(OWNER)
    return None if isinstance(reading, HandWritten) and reading.until <= at(NOW) else prior


if __name__ == "__main__":
    checked = check()
    print(
        f"{checked.pairs:,} pairs of override and record, {checked.seconds:.0f} s, {checked.violation or 'all mended'}"
    )
    sys.exit(1 if checked.violation else 0)
