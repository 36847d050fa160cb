"""Changes of an end: one lock takes the place of those before it, whatever the order, the copies and the crashes."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_lockout.decisions.decision import TOO_MANY, TOO_MANY_RELEASES, decide, decide_for_user
from device_lockout.inbound import report
from device_lockout.values import instant
from device_lockout.values.command import Change, Reject
from device_lockout.values.device import DeviceName, NamedDevice
from device_lockout.values.outcome import Outcome
from device_lockout.values.record import MOST_RELEASES, DeviceRecord, Ending, UserRecord
from device_lockout.values.settings import Source
from device_lockout.values.tag import read
from local.in_memory import DAY, DEVICE, SETTINGS, World, at, key, killed_after, killed_before

BY_NOW = 100
"""Seconds after the tests' start. All events happened before."""


def event(name, what, happened, until=None, source="helpdesk", **detail):
    detail = {"userId": "bob", "deviceId": DEVICE, "reportedAt": instant.write(at(happened)), **detail}
    if until is not None:
        detail["expiresAt"] = instant.write(at(until))
    told = {name: value for name, value in detail.items() if value is not None}
    return json.dumps({"id": name, "source": source, "detail-type": what, "detail": told})


def command(*about, **detail):
    (made,) = report.read(event(*about, **detail), "message", at(BY_NOW), SETTINGS)
    return made


def shown(world, device=DEVICE):
    return read(world.workmail.overrides[key(device)].description, "local")


LOST = ("lost", "Device Lost", 0.5, 3 * DAY)
changes = st.lists(
    st.tuples(st.integers(1, 9).map(lambda second: second + 0.25), st.integers(2, 60)),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[0],
)
deaths = st.dictionaries(st.integers(0, 40), st.sampled_from([killed_before, killed_after]), max_size=3)


@given(changes, deaths, st.data())
def test_the_change_that_happened_last_decides_in_any_order_wherever_the_process_dies(rows, faults, data):
    world = World()
    world.deliver(command(*LOST, reference="INC-1", note="left in a taxi"), at(BY_NOW))
    events = [command(f"change-{number}", "Lock Changed", *row[:1], row[1] * DAY) for number, row in enumerate(rows)]
    copies = data.draw(st.lists(st.sampled_from(events), max_size=3))
    world.wire.faults = {len(world.wire.calls) + number: fault for number, fault in faults.items()}
    for each in data.draw(st.permutations(events + copies)):
        world.deliver(each, at(BY_NOW + 1))
    world.wire.faults.clear()
    world.sweep(at(3600))
    newest = max(rows)
    assert shown(world).until == at(newest[1] * DAY)
    assert str(world.workmail.overrides[key(DEVICE)].description).endswith("] INC-1 left in a taxi")
    late = command("found", "Device Recovered", newest[0] - 0.001)
    world.deliver(late, at(3601))
    assert world.workmail.overrides, "the release is older"
    world.deliver(command("found again", "Device Recovered", newest[0] + 0.999), at(3602))
    assert not world.workmail.overrides


def test_a_sooner_end_pages_and_the_device_is_let_in_then():
    world = World()
    world.deliver(command(*LOST), at(BY_NOW))
    outcome = world.carry_out(command("friday", "Lock Changed", 50, 2 * DAY), at(BY_NOW))
    assert (outcome.result, outcome.page, outcome.until) == ("shortened", True, at(2 * DAY))
    assert "a report changed its end from 2026-11-25T07:30:00Z to 2026-11-24T07:30:00Z" in outcome.because
    world.sweep(at(2 * DAY - 1))
    assert world.workmail.overrides
    world.sweep(at(2 * DAY + 1))
    assert not world.workmail.overrides


def test_a_change_without_a_lock_changes_nothing_and_pages():
    world = World()
    outcome = world.carry_out(command("friday", "Lock Changed", 50, 2 * DAY), at(BY_NOW))
    assert (outcome.result, outcome.page) == ("superseded", True)
    world.deliver(command(*LOST), at(BY_NOW))
    assert shown(world).until == at(3 * DAY), "a lock that comes later is not let in by it"


def test_the_reasons_longest_time_holds_for_a_report():
    world = World()
    world.deliver(command(*LOST), at(BY_NOW))
    outcome = world.carry_out(command("years", "Lock Changed", 50, 366 * DAY), at(BY_NOW))
    assert (outcome.result, "later than reason lost allows" in outcome.because) == ("rejected", True)


def test_a_persons_edit_after_a_change_counts_and_a_change_after_an_edit():
    world = World()
    world.deliver(command(*LOST), at(BY_NOW))
    world.deliver(command("friday", "Lock Changed", 50, 2 * DAY), at(BY_NOW))
    old = world.workmail.overrides[key(DEVICE)]
    edited = str(old.description).replace("until=2026-11-24T07:30:00Z", "until=2026-11-23")
    world.workmail.overrides[key(DEVICE)] = type(old)("DENY", edited)
    world.sweep(at(3600))
    assert shown(world).until == at(2 * DAY - 7.5 * 3600), "the end of the day"
    again = report.read(event("later", "Lock Changed", 3500, 9 * DAY), "m", at(3605), SETTINGS)[0]
    world.deliver(again, at(3605))
    assert shown(world).until == at(9 * DAY)


def test_a_users_change_reaches_every_device_and_no_lock_of_a_device():
    world = World()
    for device in (DEVICE, "tablet"):
        world.ledger.list_device(key(device), at(0), retired=False)
    world.deliver(command(*LOST), at(BY_NOW))
    world.deliver(command("leak", "User Compromised", 1, 5 * DAY, deviceId=None), at(BY_NOW))
    world.deliver(command("sooner", "User Lock Changed", 50, 2 * DAY, deviceId=None), at(BY_NOW))
    assert (shown(world).why, shown(world).until) == ("lost", at(3 * DAY))
    assert (shown(world, "tablet").why, shown(world, "tablet").until) == ("compromised", at(2 * DAY))
    outcome = world.carry_out(command("device", "Lock Changed", 60, DAY), at(BY_NOW))
    assert (outcome.result, outcome.why, outcome.until, outcome.page) == (
        "still-locked",
        "compromised",
        at(2 * DAY),
        True,
    )


def test_a_change_finds_a_device_by_its_number():
    world = World()
    world.deliver(command(*LOST), at(BY_NOW))
    number = DeviceName("serial", "C02")
    world.ledger.save_named(number, NamedDevice(key(DEVICE), former=False, heard=at(0)))
    world.deliver(
        command("sooner", "Lock Changed", 50, DAY, userId=None, deviceId=None, serialNumber="C02"), at(BY_NOW)
    )
    assert shown(world).until == at(DAY)


@pytest.mark.parametrize(
    ("about", "detail", "because"),
    [
        (("c", "Lock Changed", 50), {}, "detail.expiresAt is missing: expected when the lock ends from now on"),
        (("c", "Lock Changed", 50), {"expiresAt": "soon"}, 'detail.expiresAt is "soon": expected when the lock ends'),
        (("c", "Lock Changed", 50, 50), {}, "expected a time after the event itself"),
        (("c", "Lock Changed", 500, 900), {}, "a release from a clock that is ahead could end a later lock"),
        (
            ("c", "Lock Changed", 50, 900),
            {"source": "siem"},
            "which takes release: the configuration lets it lock only",
        ),
        (("c", "User Lock Changed", 50, 900), {}, "detail.deviceId is unknown"),
    ],
)
def test_what_is_no_change_is_rejected_and_says_why(about, detail, because):
    made = command(*about, **detail)
    assert isinstance(made, Reject)
    assert because in made.because


def test_a_change_takes_a_day_as_its_end_in_utc():
    made = command("c", "Lock Changed", 50, expiresAt="2026-11-24")
    assert isinstance(made, Change)
    assert (made.claim.until, made.longer) == (at(3 * DAY - 7.5 * 3600), True)


def test_a_changed_lock_is_still_its_first_sources():
    """An MDM that may end its own locks only must find what it locked, whoever changed the end."""
    own = replace(SETTINGS, sources=(*SETTINGS.sources, Source("own", frozenset({"release"}), releases_own_only=True)))
    for who, result in (("mdm", "still-locked"), ("own", "released")):
        world = World(known=own)
        world.deliver(command(*LOST, source=who) if who == "mdm" else lost_by_own(), at(BY_NOW))
        world.deliver(command("friday", "Lock Changed", 50, 2 * DAY), at(BY_NOW))
        (found,) = report.read(event("found", "Device Recovered", 60, source="own"), "m", at(BY_NOW), own)
        assert world.carry_out(found, at(BY_NOW)).result == result, who


def lost_by_own():
    made = command(*LOST)
    cause = replace(made.cause, source="own")
    return replace(made, cause=cause, claim=replace(made.claim, source="own"))


def test_an_item_without_room_takes_no_change_and_says_so():
    rules = replace(SETTINGS.rules, no_more_claims=1)
    locked = decide(command(*LOST), None, DeviceRecord(), at(BY_NOW), rules).record
    made = decide(command("friday", "Lock Changed", 50, 2 * DAY), None, locked, at(BY_NOW), rules)
    assert (made.outcome.result, made.outcome.because, made.record.claims) == ("rejected", TOO_MANY, locked.claims)


def changed(until):
    return f"a report changed its end from 2026-11-25T07:30:00Z to {until}"


SOONER, LATER, SAME = (f"2026-11-2{day}T07:30:00Z" for day in (4, 6, 5))
FOUR_DAYS = {"at_most": {"compromised": timedelta(days=4) - timedelta(seconds=51)}}
CHANGES = [
    ("sooner", 50, 2 * DAY, {}, True, ("shortened", changed(SOONER), True)),
    ("sooner, by who may no more", 50, 2 * DAY, {}, False, ("shortened", changed(SOONER), True)),
    ("later", 50, 4 * DAY, {}, True, ("extended", changed(LATER), False)),
    ("as late, by who may no more", 50, 3 * DAY, {}, False, ("extended", changed(SAME), False)),
    ("as late as the reason allows", 50, 4 * DAY, FOUR_DAYS, True, ("extended", changed(LATER), False)),
]
REFUSED = [
    (
        *("later, by who may not", 50, 4 * DAY, {}, False),
        ("rejected", "its source may let a lock end sooner, but not later", True),
    ),
    (
        *("later than the reason allows", 50, 4 * DAY + 1, FOUR_DAYS, True),
        ("rejected", "it asks for 2026-11-26T07:30:01Z, later than reason compromised allows", True),
    ),
    ("one lock too many", 50, 2 * DAY, {"no_more_claims": 1}, True, ("rejected", TOO_MANY, True)),
    ("as old as the lock", 1, 2 * DAY, {}, True, ("superseded", "", False)),
]


def of_user(name, happened, until, longer):
    made = command(name, "User Lock Changed", happened, until, deviceId=None, reference="INC-2")
    return replace(made, longer=longer)


def locked_user(until=3 * DAY):
    made = command("leak", "User Compromised", 1, until, deviceId=None)
    return decide_for_user(made, UserRecord(), at(BY_NOW), SETTINGS.rules)[0]


@pytest.mark.parametrize(("happened", "until", "rules", "longer", "told"), [row[1:] for row in CHANGES])
def test_a_change_says_what_it_did_and_its_copy_says_it_again(happened, until, rules, longer, told):
    rules, made = replace(SETTINGS.rules, **rules), of_user("friday", happened, until, longer)
    result, because, page = told
    after, outcome = decide_for_user(made, locked_user(), at(BY_NOW), rules)
    assert outcome == Outcome(result, because, "compromised", at(until), reference="INC-2", page=page)
    again, copy = decide_for_user(made, after, at(BY_NOW + 1), rules)
    assert (again, copy) == (after, replace(outcome, because=""))


def test_a_copy_of_a_change_does_not_tell_of_another_sources_longer_lock():
    theirs, ours = (
        replace(claim, source=of)
        for of, claim in zip(("siem", "mdm"), (*locked_user(9 * DAY).claims, *locked_user().claims), strict=True)
    )
    theirs = replace(theirs, id="eeeeeeee")
    made = replace(of_user("later", 50, 4 * DAY, True), ending=Ending("user", source="mdm"))
    after, outcome = decide_for_user(made, UserRecord((theirs, ours)), at(BY_NOW), SETTINGS.rules)
    assert (outcome.result, outcome.page) == ("extended", False)
    assert decide_for_user(made, after, at(BY_NOW + 1), SETTINGS.rules) == (after, replace(outcome, because=""))


@pytest.mark.parametrize(("happened", "until", "rules", "longer", "told"), [row[1:] for row in REFUSED])
def test_a_refused_change_changes_nothing_and_says_why(happened, until, rules, longer, told):
    rules, made = replace(SETTINGS.rules, **rules), of_user("friday", happened, until, longer)
    result, because, page = told
    after, outcome = decide_for_user(made, locked_user(), at(BY_NOW), rules)
    about = Outcome(result, because, "compromised", at(3 * DAY), reference="INC-2", page=page)
    assert (after, outcome) == (locked_user(), about)


def test_a_change_without_a_users_lock_says_that_there_is_none():
    made = of_user("friday", 50, 2 * DAY, True)
    because = "it has no lock in force that this report may change"
    none = Outcome("superseded", because=because, reference="INC-2", page=True)
    assert decide_for_user(made, UserRecord(), at(BY_NOW), SETTINGS.rules)[1] == none


def test_a_change_that_ends_its_own_locks_only_needs_room_for_that():
    own = Ending("user", source="mdm")
    full = locked_user()
    for number in range(MOST_RELEASES):
        full = replace(full, released=full.released.with_release(replace(own, source=f"mdm{number}"), at(0)))
    made = replace(of_user("friday", 50, 2 * DAY, True), ending=own)
    full = replace(full, claims=tuple(replace(claim, source="mdm") for claim in full.claims))
    after, outcome = decide_for_user(made, full, at(BY_NOW), SETTINGS.rules)
    assert (after, outcome.result, outcome.because, outcome.page) == (full, "rejected", TOO_MANY_RELEASES, True)
