"""A sweep from every pair of an override and a record. It leaves a pair that agrees, and keeps what is due.

A pair may have come apart by hand, by a restored table, or by a fault that the search does not have.
A tag of ours without a claim in the ledger takes two sweeps.
A sweep reads the records with claims only, so the first one asks for the record.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product
from time import perf_counter

from device_lockout.decisions.decision import DESCRIPTION_LOST
from device_lockout.values import tag
from device_lockout.values.override import Override
from device_lockout.values.policy import Rules
from device_lockout.values.record import Claim, DeviceRecord, Ending, Released, Scope, UserRecord, tag_of
from device_lockout.values.tag import HOLD, HandWritten, Reading, Tag
from verify.scenario import OWNER, Scenario, at, written
from verify.scenarios import BROKEN_ALLOW, BROKEN_DENY, LEGAL_HOLD, OTHER_ALLOW, VIP
from verify.state import ViolationError
from verify.world import World

RULES = Rules(OWNER, timedelta(days=30), timedelta(minutes=1))
NOW = 10
"""The second of the sweep."""
EVERY, EVERY_SMALL = 5, 41
"""One pair of so many is checked by ``make verify``, and with ``--small``.

The numbers share no factor with how many overrides, claims, releases or priors there are.
So each two of these still meet.
"""
PAIRS_PER_WORLD = 500
"""A world remembers each process that it has run. A new world after so many pairs keeps memory small."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An override, and the ledger's items of its device and of its user."""

    override: Override | None
    device: DeviceRecord
    user: UserRecord


@dataclass(frozen=True, slots=True)
class Checked:
    """How many pairs were checked, and the first violation with its pair."""

    pairs: int
    seconds: float
    violation: str | None = None
    pair: Pair | None = None


def check(every: int = 1) -> Checked:
    """Sweep from each pair, or from each ``every``-th."""
    began = perf_counter()
    number = 0
    world = World(Scenario("pairs", "one device with an override and records, and no events", instants=(NOW,)))
    for number, pair in enumerate(all_pairs(), 1):
        if number % every:
            continue
        if number // every % PAIRS_PER_WORLD == 0:
            world = World(world.scenario)
        try:
            _check(world, pair)
        except ViolationError as violation:
            return Checked(number // every, perf_counter() - began, str(violation), pair)
    return Checked(number // every, perf_counter() - began)


def all_pairs() -> Iterator[Pair]:
    """Combine overrides and priors with two claims of either scope, over, live or held, and releases between them."""
    firsts, seconds = list(_claims("00000001", 1, 4)), list(_claims("00000002", 5, 8))
    records = [
        Pair(None, _device(claims, _released("device", at_device), prior), _user(claims, at_user))
        for claims in product(firsts, seconds)
        for at_device in (None, at(3), at(5))
        for at_user in (None, at(3))
        for prior in (None, VIP, written(8, "ALLOW"))
    ]
    for override, pair in product(_overrides(), records):
        yield replace(pair, override=override)


def _claims(name: str, happened: int, ended: int) -> Iterator[Claim | None]:
    yield None
    scopes: tuple[Scope, ...] = ("device", "user")
    for scope, until in product(scopes, (at(ended), at(15), HOLD)):
        yield Claim(name, scope, "lost", at(happened), until)


def _device(claims: tuple[Claim | None, ...], released: Released, prior: Override | None) -> DeviceRecord:
    own = tuple(claim for claim in claims if claim is not None and claim.scope == "device")
    return DeviceRecord(own, released, prior, version=1)


def _user(claims: tuple[Claim | None, ...], released: datetime | None) -> UserRecord:
    users = tuple(claim for claim in claims if claim is not None and claim.scope == "user")
    return UserRecord(users, _released("user", released), version=1)


def _released(scope: Scope, when: datetime | None) -> Released:
    return Released(((Ending(scope), when),) if when else ())


def _overrides() -> Iterator[Override | None]:
    yield from (None, VIP, OTHER_ALLOW, LEGAL_HOLD, BROKEN_ALLOW, BROKEN_DENY)
    yield from (written(8), written(12), written(8, "ALLOW"), written(12, "ALLOW"))
    names = (("00000001", 1), ("00000002", 5), ("00000003", 4))
    wases: tuple[tag.Was, ...] = ("none", "allow")
    for (name, happened), until, was in product(names, (at(9), at(15), HOLD), wases):
        text = tag.write(Tag(OWNER, "lost", until, at(happened), name, was))
        yield Override("DENY", text)
        yield Override("ALLOW", text)


def _check(world: World, pair: Pair) -> None:
    number, values = world.numbering.number, world.numbering.values
    reading = pair.override.read(OWNER) if pair.override else None
    unlocked = _without_lock(pair, reading)
    state = world.initial()._replace(
        rows=(number(pair.override),),
        items=(number(pair.device),),
        users=(number(pair.user),),
        baseline=(number(unlocked),),
        edited=True,
    )
    if isinstance(reading, Tag) and not pair.device.claims and not pair.user.claims:
        state = world.sweep(state, "first")
    after = world.settle(state)

    settled: Override | None = values[after.rows[0]]
    expected = _expected(pair, reading, unlocked)
    if settled != expected:
        raise ViolationError(f"a sweep leaves {settled}, expected {expected}")
    record: DeviceRecord = values[after.items[0]]
    foreign = pair.override is not None and not isinstance(reading, Tag) and not _is_over(reading)
    if settled != pair.override and foreign and record.prior != pair.override:
        raise ViolationError(f"the prior is {record.prior}, expected {pair.override}")


def _expected(pair: Pair, reading: Reading | None, unlocked: Override | None) -> Override | None:
    """Return the override that a sweep must leave."""
    known = replace(pair.device, user=pair.user)
    wanted = _adopted(known, pair, reading).wanted(at(NOW))
    if wanted is None:
        return unlocked
    effect = pair.override.effect if pair.override else None
    if isinstance(reading, Tag):
        was = reading.was
    elif effect == "DENY" and not _is_over(reading):
        return pair.override
    else:
        was = "allow" if effect == "ALLOW" else "none"
    return Override("DENY", tag.write(tag_of(wanted, OWNER, was)))


def _without_lock(pair: Pair, reading: Reading | None) -> Override | None:
    """Return the override that a sweep must leave if no lock is wanted."""
    if not isinstance(reading, Tag):
        return None if _is_over(reading) else pair.override
    prior = _adopted(replace(pair.device, user=pair.user), pair, reading).prior
    if reading.was == "none":
        return None
    if prior is None:
        return Override("ALLOW", DESCRIPTION_LOST)
    return None if _is_over(prior.read(OWNER)) else prior


def _adopted(record: DeviceRecord, pair: Pair, reading: Reading | None) -> DeviceRecord:
    if pair.override is None or not isinstance(reading, Tag):
        return record
    return record.adopt(pair.override, reading, at(NOW), RULES)


def _is_over(reading: Reading | None) -> bool:
    return isinstance(reading, HandWritten) and reading.until <= at(NOW)


if __name__ == "__main__":
    checked = check()
    violation = checked.violation or "no violation"
    print(f"{checked.pairs:,} pairs of override and record, {violation}, in {checked.seconds:.0f} s")
    sys.exit(1 if checked.violation else 0)
