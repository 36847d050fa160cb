"""Commands as text, their IDs and their groups."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_lockout.values import wire
from device_lockout.values.command import (
    Cause,
    Change,
    Enroll,
    Expire,
    Lock,
    Reassert,
    Reject,
    Release,
    Retire,
    Target,
    command_id,
    group_id,
)
from device_lockout.values.device import DeviceName
from device_lockout.values.errors import UnreadableError
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, Ending
from device_lockout.values.tag import HOLD
from device_lockout.values.wire import dump, load
from local.in_memory import BOB, DEVICE, ORGANIZATION, START, at, cause

TARGET = Target(ORGANIZATION, BOB, DEVICE)

texts = st.text(max_size=40)
instants = st.integers(0, 10**12).map(lambda milliseconds: START + timedelta(milliseconds=milliseconds))
causes = st.builds(Cause, texts, texts, texts, instants, instants, texts)
names = st.lists(st.builds(DeviceName, st.sampled_from(["serial", "asset"]), texts), unique_by=lambda name: name.kind)
targets = st.builds(Target, texts, texts, texts, names.map(tuple), st.booleans())
scopes = st.sampled_from(["device", "user"])
untils = st.just(HOLD) | instants.map(lambda instant: instant.replace(microsecond=0))
claims = st.builds(Claim, texts, scopes, texts, instants, untils, texts, texts)
overrides = st.builds(Override, st.sampled_from(["ALLOW", "DENY"]), st.none() | texts)
endings = st.builds(Ending, scopes, st.frozensets(texts, max_size=2), texts)
every_command = st.one_of(
    st.builds(Lock, causes, targets, claims, st.booleans()),
    st.builds(Release, causes, targets, endings),
    st.builds(Change, causes, targets, endings, claims, st.booleans()),
    st.builds(Expire, causes, targets, overrides),
    st.builds(Reassert, causes, targets),
    st.builds(Enroll, causes, targets),
    st.builds(Retire, causes, targets),
    st.builds(Reject, causes, targets, texts),
)


@given(every_command)
def test_a_command_is_the_same_after_its_journey(command):
    assert load(dump(command)) == command
    assert command_id(load(dump(command))) == command_id(command)
    assert len(command_id(command)) == len(group_id(command)) == 64


def test_a_message_that_is_no_command_says_so():
    text = dump(Reassert(cause("run-1", at(0)), TARGET)).replace('"reassert"', '"rejoice"')
    with pytest.raises(UnreadableError, match="command is 'rejoice': expected one of lock, release"):
        load(text)


def test_one_event_about_several_devices_makes_commands_of_several_ids():
    """Otherwise SQS would drop all but the first as copies."""
    commands = [Reassert(cause("run-1", at(0)), replace(TARGET, device=f"device{number}")) for number in range(1000)]
    ids = {command_id(command) for command in commands}
    assert len(ids) == 1000


def test_the_next_sweeps_command_is_no_copy_of_this_ones():
    assert command_id(Reassert(cause("run-1", at(0)), TARGET)) != command_id(Reassert(cause("run-2", at(0)), TARGET))


def test_a_copy_that_is_rejected_has_the_id_of_the_lock_that_it_copies():
    claim = Claim("aaaaaaaa", "device", "lost", at(0), HOLD)
    lock = Lock(cause("e", at(0)), TARGET, claim)
    assert command_id(lock) == command_id(Reject(cause("e", at(40 * 86400)), TARGET, "too old"))
    assert command_id(lock) != command_id(Lock(cause("e2", at(0)), TARGET, claim))


def test_a_command_of_the_version_before_is_read():
    """It waits in the queue while the functions are updated."""
    reassert = Reassert(cause("run-1", at(0)), TARGET)
    assert load(dump(reassert).replace(', "correction": ""', "").replace(',"correction":""', "")) == reassert


def test_all_commands_of_a_device_share_its_group_whatever_its_case_and_whoever_is_named():
    claim = Claim("aaaaaaaa", "device", "lost", at(0), HOLD)
    of_one_device = [
        Lock(cause("e1", at(0)), Target(ORGANIZATION, "bob", DEVICE.upper()), claim),
        Release(cause("e2", at(0)), Target(ORGANIZATION, "Bob@example.com", DEVICE), Ending("device")),
        Expire(cause("run", at(0)), Target(ORGANIZATION, BOB, DEVICE, resolved=True), Override("DENY")),
        Enroll(cause("e3", at(0)), Target(ORGANIZATION, BOB, DEVICE, (DeviceName("serial", "C02"),))),
        Reject(cause("e4", at(0)), Target(ORGANIZATION, "", DEVICE), "because"),
    ]
    assert len({group_id(command) for command in of_one_device}) == 1
    others = [
        replace(TARGET, device="other"),
        replace(TARGET, organization=f"m-{'0' * 32}"),
        replace(TARGET, device=""),
    ]
    groups = {group_id(Reassert(cause("e5", at(0)), target)) for target in others}
    assert len(groups) == 3
    assert groups.isdisjoint({group_id(of_one_device[0])})


def test_rejected_reports_of_nobody_do_not_wait_for_each_other():
    nobody = Target("", "", "")
    assert group_id(Reject(cause("e1", at(0)), nobody, "x")) != group_id(Reject(cause("e2", at(0)), nobody, "x"))


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('"eventId": "run-1"', '"eventId": null', "event_id"),
        ('"eventId": "run-1"', '"eventId": {"a": 1}', "event_id"),
        ('"eventId": "run-1"', '"eventId": "\\ud800"', "event_id"),
        ('"part": 0', '"part": "0"', "part"),
        ('"cause":', '"format": Infinity, "cause":', "format is inf: expected a whole number"),
        ('"resolved": false', '"resolved": "no"', "resolved"),
        ('"names": {}', '"names": {"serial": 5}', "value"),
        ('"happened": "2026-11-22T07:30:00.000Z"', '"happened": "2026-11-22T07:30:00.000+00:00x"', "RFC 3339"),
    ],
)
def test_a_message_with_a_value_of_another_kind_is_no_command(old, new, field):
    """Further on it would fail as nobody foresaw, and its group would wait for it two hundred times."""
    text = dump(Reassert(cause("run-1", at(0)), TARGET))
    assert old in text
    with pytest.raises(UnreadableError, match=field):
        load(text.replace(old, new))


def test_a_lock_whose_end_nothing_writes_so_is_no_command():
    text = dump(Lock(cause("e", at(0)), TARGET, Claim("aaaaaaaa", "device", "lost", at(0), at(60))))
    for written in ("2026-11-22", "2026-11-22T07:31:00", "2026-11-22T07:31:00.125Z"):
        with pytest.raises(UnreadableError, match="until is not as it was written"):
            load(text.replace("2026-11-22T07:31:00Z", written))


def test_a_message_may_come_from_a_release_whose_writer_adds_fields(monkeypatch):
    """What is read is not written again to be compared: this release would miss what the other one adds."""
    command = Lock(cause("e", at(0)), TARGET, Claim("aaaaaaaa", "device", "lost", at(0), at(60)))
    text = dump(command)
    claim = wire.FORMS[Claim]
    more = claim._replace(write=lambda written: claim.write(written) | {"ticket": {"url": "https://t.example/7"}})
    monkeypatch.setitem(wire.FORMS, Claim, more)
    assert load(text) == command
