"""Locks of a device beside locks of its user: a release ends those of its own scope only."""

import hashlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_lockout.values.command import Lock, Release, Target, claim_id
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, DeviceRecord, Ending
from device_lockout.values.tag import HOLD, write_time
from local.in_memory import DAY, ORGANIZATION, World, at, cause, key, killed_after, killed_before

PHONE, TABLET = "phone", "tablet"
SWEEP = 3600
FOREVER = 10**9


@dataclass(frozen=True)
class Told:
    """An event in plain numbers. Without a device it is about the user; without ``until`` it is a release."""

    id: str
    device: str
    happened: int
    until: int = 0

    def command(self):
        told_by = cause(self.id, at(self.happened), at(100))
        target = Target(ORGANIZATION, "bob", self.device)
        scope = "device" if self.device else "user"
        if not self.until:
            return Release(told_by, target, Ending(scope))
        until = HOLD if self.until == FOREVER else at(self.until)
        return Lock(told_by, target, Claim(claim_id(self.id), scope, "lost", at(self.happened), until))


def right(events, device):
    """The override that ``device`` must have in the end, from the events alone."""
    about = [event for event in events if event.device in ("", device)]
    newest = {
        scope: max((one.happened for one in about if one.device == scope and not one.until), default=-1)
        for scope in ("", device)
    }
    live = [one for one in about if one.until > SWEEP and one.happened >= newest[one.device]]
    if not live:
        return None
    ids = {one.id: hashlib.sha256(one.id.encode()).hexdigest()[:8] for one in live}
    shown = max(live, key=lambda one: (one.until, one.happened, ids[one.id]))
    until = "hold" if shown.until == FOREVER else write_time(at(shown.until))
    happened = write_time(at(shown.happened))
    return Override("DENY", f"[lockout/1 by=local why=lost until={until} at={happened} id={ids[shown.id]} was=none]")


devices = st.sampled_from([PHONE, TABLET, ""])
happened = st.integers(0, 5)
untils = st.sampled_from([0, 0, 110, 4000, 5000, FOREVER])
histories = st.lists(st.tuples(devices, happened, untils), min_size=1, max_size=6).map(
    lambda rows: [Told(f"event-{number}", *row) for number, row in enumerate(rows)]
)
deaths = st.dictionaries(st.integers(0, 60), st.sampled_from([killed_before, killed_after]), max_size=3)


def a_user_with_two_devices():
    world = World()
    world.ledger.devices = {key(PHONE): DeviceRecord(), key(TABLET): DeviceRecord()}
    return world


@given(histories, deaths, st.data())
def test_any_order_and_number_of_copies_ends_in_the_one_right_state_wherever_the_process_dies(events, faults, data):
    deliveries = data.draw(
        st.lists(st.sampled_from(events), max_size=3).map(lambda copies: events + copies).flatmap(st.permutations)
    )
    world = a_user_with_two_devices()
    world.wire.faults = dict(faults)
    for number, event in enumerate(deliveries):
        world.deliver(event.command(), at(100 + 3 * number))
    world.wire.faults.clear()
    world.sweep(at(SWEEP))
    for device in (PHONE, TABLET):
        assert world.workmail.overrides.get(key(device)) == right(events, device), device
    outcomes = world.ledger.outcomes.items()
    told = [(event, kept["detail"]["deviceId"]) for (event, _), kept in outcomes if "result" in kept["detail"]]
    assert len(told) == len(set(told)), "one outcome for each event and device"
    assert {(event.id, event.device) for event in events} <= set(told)


USER_LOST = Told("user lost", "", 0, FOREVER)
USER_RESTORED = Told("user restored", "", 50)
PHONE_LOST = Told("phone lost", PHONE, 10, FOREVER)
PHONE_RECOVERED = Told("phone recovered", PHONE, 60)


def tell(*events):
    world = a_user_with_two_devices()
    for number, event in enumerate(events):
        world.deliver(event.command(), at(100 + number))
    return {each.device for each in world.workmail.overrides}


@pytest.mark.parametrize(
    ("events", "locked"),
    [
        ([USER_LOST], {PHONE, TABLET}),
        ([USER_LOST, USER_RESTORED], set()),
        ([USER_LOST, PHONE_LOST, USER_RESTORED], {PHONE}),
        ([USER_LOST, PHONE_LOST, PHONE_RECOVERED], {PHONE, TABLET}),
        ([USER_LOST, PHONE_LOST, PHONE_RECOVERED, USER_RESTORED], set()),
        ([USER_RESTORED, USER_LOST], set()),
        ([PHONE_RECOVERED, USER_LOST], {PHONE, TABLET}),
    ],
)
def test_a_release_ends_only_the_locks_of_its_own_scope(events, locked):
    assert tell(*events) == locked


@pytest.mark.parametrize("days", [1, 29, 31, 40, 89])
def test_a_user_restored_after_any_time_has_all_devices_back(days):
    """A claim must stay until its release, however old it is: the tag on the device names it."""
    world = a_user_with_two_devices()
    world.deliver(Told("offboarded", "", 0, 90 * DAY).command(), at(100))
    assert len(world.workmail.overrides) == 2
    restored = Release(cause("restored", at(days * DAY)), Target(ORGANIZATION, "bob"), Ending("user"))
    world.deliver(restored, at(days * DAY))
    assert world.workmail.overrides == {}


def test_a_persons_edit_of_a_users_lock_holds_for_that_device_alone():
    world = a_user_with_two_devices()
    world.deliver(Told("offboarded", "", 0, 5000).command(), at(100))
    edited = world.workmail.overrides[key(PHONE)]
    world.workmail.overrides[key(PHONE)] = Override("DENY", edited.description.replace("08:53:20Z", "07:40:00Z"))
    world.sweep(at(1000))
    assert {each.device for each in world.workmail.overrides} == {TABLET}
    world.sweep(at(6000))
    assert world.workmail.overrides == {}


def test_a_users_lock_whose_end_a_person_changed_is_still_the_users():
    world = a_user_with_two_devices()
    world.deliver(Told("offboarded", "", 0, 5000).command(), at(100))
    edited = world.workmail.overrides[key(PHONE)]
    world.workmail.overrides[key(PHONE)] = Override("DENY", edited.description.replace("08:53:20Z", "12:00:00Z"))
    world.sweep(at(1000))
    world.deliver(USER_RESTORED.command(), at(1100))
    assert world.workmail.overrides == {}
