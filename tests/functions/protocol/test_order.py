"""Events are ordered by when they happened: reports in any order and number end in one state.

Each report goes the whole way: event → ``report.read`` → the queue's text → the steps → the sweep. The expected end is
computed here from the reports alone.
"""

import hashlib
import itertools
import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_lockout.inbound import report
from device_lockout.values import instant
from device_lockout.values.override import Override
from local.in_memory import BOB, DEVICE, SETTINGS, World, at

ARRIVALS = 100
"""Seconds after the tests' start at which the first report arrives. All happened before."""
SWEEP = 3600
HOLD = 10**9
WHY = {"Device Lost": "lost", "Device Stolen": "stolen", "Device Compromised": "compromised"}


@dataclass(frozen=True)
class Report:
    """``happened`` and ``until`` in seconds after the tests' start; a release has no ``until``."""

    id: str
    what: str
    happened: float
    until: int = 0

    def event(self):
        """The event; reports name the same user and device in different ways."""
        number = sum(self.id.encode())
        detail = {
            "userId": ("bob", "Bob@example.com", BOB)[number % 3],
            "deviceId": (DEVICE, DEVICE.upper())[number % 2],
            "reportedAt": instant.write(at(self.happened)),
        }
        if self.until and self.until != HOLD:
            detail["expiresAt"] = instant.write(at(self.until))
        return json.dumps(
            {
                "id": self.id,
                "source": "helpdesk",
                "detail-type": self.what,
                "time": instant.write(at(self.happened).replace(microsecond=0)),
                "detail": detail,
            }
        )

    @property
    def counts(self):
        """When it counts from, in seconds: a lock that is told in whole seconds, from the end of its second."""
        return self.happened + 0.999 if self.what in WHY and self.happened == int(self.happened) else self.happened

    def command(self, received):
        (command,) = report.read(self.event(), "message", received, SETTINGS)
        return command


def right(reports, observed, now):
    """The override that must be there at ``now``, after all ``reports`` and one sweep."""
    if observed is not None and observed.effect == "DENY":
        return observed
    released = max((one.happened for one in reports if one.what == "Device Recovered"), default=-1)
    live = [one for one in reports if one.what in WHY and one.counts >= released and one.until > now]
    if not live:
        return observed
    ids = {one.id: hashlib.sha256(one.id.encode()).hexdigest()[:8] for one in live}
    shown = max(live, key=lambda one: (one.until, one.counts, ids[one.id]))
    until = "hold" if shown.until == HOLD else at(shown.until).strftime("%Y-%m-%dT%H:%M:%SZ")
    happened = at(shown.happened).strftime("%Y-%m-%dT%H:%M:%SZ")
    was = "none" if observed is None else "allow"
    return Override(
        "DENY", f"[lockout/1 by=local why={WHY[shown.what]} until={until} at={happened} id={ids[shown.id]} was={was}]"
    )


happened = st.integers(0, 12).map(lambda half_seconds: half_seconds / 2)
locks = st.one_of(
    st.tuples(
        st.sampled_from(["Device Lost", "Device Compromised"]), happened, st.sampled_from([110, 130, 4000, 5000])
    ),
    st.tuples(st.just("Device Stolen"), happened, st.just(HOLD)),
)
releases = st.tuples(st.just("Device Recovered"), happened)
histories = st.lists(st.one_of(locks, releases), min_size=1, max_size=6).map(
    lambda rows: [Report(f"event-{number}", *row) for number, row in enumerate(rows)]
)
ALLOWED = Override("ALLOW", "CEO's travel phone")
BEFORE = [None, ALLOWED, Override("ALLOW"), Override("DENY", "quarantine, see SEC-9")]


@given(histories, st.sampled_from(BEFORE), st.data())
def test_any_order_and_number_of_copies_ends_in_the_one_right_state(reports, observed, data):
    deliveries = data.draw(
        st.lists(st.sampled_from(reports), max_size=4).map(lambda more: reports + more).flatmap(st.permutations)
    )
    sweeps = data.draw(st.sets(st.integers(0, len(deliveries)), max_size=2))
    world = World(observed)
    for number, one in enumerate(deliveries):
        now = at(ARRIVALS + 5 * number)
        if number in sweeps:
            world.sweep(now)
        world.deliver(one.command(now), now)
    world.sweep(at(SWEEP))
    assert world.override == right(reports, observed, SWEEP)
    wanted = world.record.wanted(at(SWEEP))
    assert (wanted is not None) == (right(reports, None, SWEEP) is not None)
    assert {len(world.told(one.id)) for one in reports} == {1}, "each event has one outcome"
    world.workmail.writes = 0
    world.sweep(at(SWEEP + 60))
    assert world.workmail.writes == 0, "one sweep is enough"


def deliver(world, reports, first=ARRIVALS):
    for number, one in enumerate(reports):
        now = at(first + number)
        world.deliver(one.command(now), now)


LOST = Report("lost", "Device Lost", 0.125, 4000)
RECOVERED = Report("recovered", "Device Recovered", 2)


@pytest.mark.parametrize("apart", [-0.001, 0, 0.001])
def test_a_millisecond_decides_and_on_a_tie_the_lock_wins(apart):
    for order in itertools.permutations([LOST, Report("recovered", "Device Recovered", 0.125 + apart)]):
        world = World()
        deliver(world, order)
        assert (world.override is not None) == (apart <= 0)


def test_a_report_that_comes_after_a_newer_recovery_does_not_lock_and_somebody_is_told():
    world = World()
    deliver(world, [RECOVERED, LOST])
    assert world.override is None
    assert world.workmail.writes == 0
    [outcome] = world.told("lost")
    assert (outcome["result"], outcome["page"]) == ("superseded", True)


def test_a_recovery_dated_2030_is_no_recovery_and_somebody_is_told():
    world = World()
    recovery = Report("recovered", "Device Recovered", 4 * 365 * 86400)
    assert instant.write(at(recovery.happened)).startswith("2030")
    deliver(world, [LOST, recovery])
    assert world.override is not None
    [outcome] = world.told("recovered")
    assert (outcome["result"], outcome["page"]) == ("rejected", True)


def test_a_person_who_extends_a_lock_is_honoured_through_every_report_and_sweep():
    world = World()
    deliver(world, [LOST])
    world.set_by_hand(
        Override("DENY", world.override.description.replace("2026-11-22T08:36:40Z", "2026-12-24T18:00:00Z"))
    )
    deliver(world, [LOST, Report("shorter", "Device Lost", 3, 4500)], first=200)
    world.sweep(at(5000))
    assert "until=2026-12-24T18:00:00Z" in world.override.description
    world.set_by_hand(None)
    world.sweep(at(6000))
    assert "until=2026-12-24T18:00:00Z" in world.override.description, "it comes back as it was last"


@given(histories, st.sampled_from(BEFORE))
def test_whoever_releases_before_the_end_leaves_nothing_of_ours_behind(reports, observed):
    world = World(observed)
    deliver(world, [*reports, Report("the last word", "Device Recovered", 50)])
    assert world.override == observed
