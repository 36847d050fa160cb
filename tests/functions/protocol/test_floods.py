"""A source that sends more locks than it may in an hour, and what people let through."""

from dataclasses import replace

import pytest

from device_lockout.protocol import steps
from device_lockout.protocol.flood import Seen
from device_lockout.values.command import Enroll, Lock, Reject, Release, Target, claim_id, group_id
from device_lockout.values.device import DeviceName
from device_lockout.values.outcome import SOURCE, Outcome
from device_lockout.values.record import Claim, Ending
from local.in_memory import DAY, ORGANIZATION, SETTINGS, World, at, cause, killed_after, killed_before
from tests.functions.protocol.test_users_and_names import raced

FEW = replace(SETTINGS, sources=tuple(replace(source, locks_per_hour=3) for source in SETTINGS.sources))


def lock(number, source="siem", seconds=10, event_id=""):
    event_id = event_id or f"{source} {number}"
    claim = Claim(claim_id(event_id), "device", "lost", at(seconds), at(30 * DAY), source=source)
    target = Target(ORGANIZATION, "bob", f"{source}{number:03}")
    return Lock(cause(event_id, at(seconds), source=source), target, claim)


def denied(world):
    return {key.device for key in world.workmail.overrides}


def result(world, event_id):
    (told,) = world.told(event_id)
    return told["result"], told["page"]


def test_what_is_over_the_cap_is_held_and_pages_once():
    world = World(known=FEW)
    for number in range(8):
        world.deliver(lock(number), at(11))
    assert denied(world) == {"siem000", "siem001", "siem002"}
    assert [result(world, f"siem {number}") for number in range(3, 8)] == [("held", True)] + [("held", False)] * 4
    assert "source siem may lock 3 in an hour" in world.told("siem 3")[0]["message"]
    assert len(world.queue.held) == 5, "a person decides on them"


def test_of_locks_that_are_held_at_the_same_time_one_pages():
    for seed in range(20):
        world = World(known=FEW)
        for number in range(3):
            world.deliver(lock(number), at(11))
        raced(world, seed, [lock(number) for number in range(3, 8)], 0)
        ends = sorted(result(world, f"siem {number}") for number in range(3, 8))
        assert ends == [("held", False)] * 4 + [("held", True)], seed


def test_other_sources_are_not_held():
    world = World(known=FEW)
    for number in range(8):
        world.deliver(lock(number), at(11))
    world.deliver(lock(1, "helpdesk"), at(12))
    assert result(world, "helpdesk 1") == ("locked", False)


def test_a_persons_own_lock_passes_any_flood():
    operator = replace(SETTINGS.sources[0], name="operator", locks_per_hour=None)
    world = World(known=replace(FEW, sources=(*FEW.sources, operator)))
    for number in range(8):
        world.deliver(lock(number), at(11))
        world.deliver(lock(number, "operator"), at(11))
    assert {each for each in denied(world) if "operator" in each} == {f"operator{number:03}" for number in range(8)}


def test_what_is_over_the_cap_for_sure_goes_through_one_group_for_its_source():
    seen, locks = Seen(), [lock(number) for number in range(5)]
    groups = [seen.group(each, FEW.rules, at(11)) for each in locks]
    assert groups == [*map(group_id, locks[:3]), *["flood#siem#lock"] * 2]
    others = [lock(1, "helpdesk"), Release(locks[0].cause, locks[0].target, Ending("device")), rejection(1, "siem")]
    assert [seen.group(each, FEW.rules, at(11)) for each in others] == [*map(group_id, others)]
    assert seen.group(locks[4], FEW.rules, at(3611)) == group_id(locks[4]), "another hour"


def test_so_does_whatever_else_a_source_sends_that_often_and_all_of_an_unknown_ones():
    seen = Seen()

    def groups(commands):
        return [seen.group(each, FEW.rules, at(11)) for each in commands]

    wrongs, enrolments = [wrong(number) for number in range(5)], [enrolment(number) for number in range(5)]
    assert groups(wrongs) == [*map(group_id, wrongs[:3]), *["flood#siem#reject"] * 2]
    assert groups(enrolments) == [*map(group_id, enrolments[:3]), *["flood#mdm#enroll"] * 2]
    assert groups([lock(1), lock(1, "mdm")]) == [group_id(lock(1)), group_id(lock(1, "mdm"))], "locks go on"
    assert set(groups(rejection(number, f"evil{number}") for number in range(3))) == {"flood##reject"}
    watched = [replace(lock(1, SOURCE), target=lock(number).target) for number in range(5)]
    assert groups(watched) == [*map(group_id, watched)], "what the tamper watch saw is nobody's flood"


@pytest.mark.parametrize("command", ["wrong", "enrolment"])
def test_what_is_not_held_is_sent_on_from_a_floods_group_since_a_copy_may_be_under_way_in_its_own(command):
    world, command = World(known=FEW), {"wrong": wrong, "enrolment": enrolment}[command](1)
    command = replace(command, cause=replace(command.cause, reference="INC-1"))
    outcome = steps.carry_out(command, world.ports, FEW.rules, at(11), in_own_group=False)
    assert outcome == Outcome("skipped", because="it goes on in its own group", reference="INC-1")
    assert (world.queue.sent, world.told(command.cause.event_id)) == ([command], [])


def enrolment(number, serial="SN1", source="mdm"):
    names = (DeviceName("serial", serial),)
    return Enroll(
        cause(f"enrol {source} {number}", at(number), source=source),
        Target(ORGANIZATION, "bob", f"{source}{number:03}", names),
    )


def test_an_inventory_that_puts_everybodys_devices_under_a_locked_number_locks_no_more_than_its_cap():
    world = World(known=FEW)
    stolen = replace(lock(0, "helpdesk"), target=Target(ORGANIZATION, "", "", (DeviceName("serial", "SN1"),)))
    world.deliver(enrolment(0), at(1))
    world.deliver(stolen, at(11))
    for number in range(1, 9):
        world.deliver(enrolment(number), at(20 + number))
    assert denied(world) == {f"mdm{number:03}" for number in range(4)}
    assert [result(world, f"enrol mdm {number}") for number in (4, 5)] == [("held", True), ("held", False)]
    world.deliver(enrolment(30, "SN2"), at(40))
    assert result(world, "enrol mdm 30") == ("enrolled", False), "what locks nothing goes on"
    world.deliver(world.queue.held[0], at(60))
    assert "mdm004" in denied(world), "a person let it through"


def test_a_source_has_no_more_than_fifty_devices_under_a_name_and_leaves_room_for_another_sources():
    world = World(known=SETTINGS)
    for number in range(60):
        world.deliver(enrolment(number), at(number))
    ends = [result(world, f"enrol mdm {number}") for number in range(60)]
    assert ends == [("enrolled", False)] * 50 + [("rejected", True)] * 10
    world.deliver(enrolment(0), at(70))
    world.deliver(enrolment(1, source="helpdesk"), at(71))
    assert result(world, "enrol helpdesk 1") == ("enrolled", False)
    stolen = replace(lock(0, "siem", 80), target=Target(ORGANIZATION, "", "", (DeviceName("serial", "SN1"),)))
    world.deliver(stolen, at(81))
    assert len(world.told("siem 0")) == 51


def test_a_lock_in_a_floods_group_is_held_once_or_sent_on_and_never_carried_out_there():
    world = World(known=FEW)

    def in_flood(number, when):
        return steps.carry_out(lock(number), world.ports, FEW.rules, at(when), in_own_group=False).result

    assert in_flood(0, 11) == "skipped"
    assert (denied(world), world.told("siem 0")) == (set(), [])
    assert [group_id(each) for each in world.queue.sent] == [group_id(lock(0))]
    world.deliver(world.queue.sent.pop(), at(12))
    assert (denied(world), in_flood(0, 13), world.queue.sent) == ({"siem000"}, "skipped", []), "it was answered"
    for number in range(1, 3):
        world.deliver(lock(number), at(14))
    assert [in_flood(3, 15), in_flood(3, 16)] == ["held", "skipped"]
    assert (len(world.queue.held), world.queue.sent) == (1, [])
    assert result(world, "siem 3") == ("held", True)
    world.workmail.disabled.add(next(iter(world.workmail.overrides)).user_id)
    world.deliver(world.queue.held[0], at(60))
    assert result(world, "siem 3") == ("failed", True)
    assert (in_flood(3, 61), len(world.queue.sent)) == ("skipped", 1), "a copy of what failed is another try"


def test_the_next_hour_has_its_own_cap():
    world = World(known=FEW)
    for number in range(4):
        world.deliver(lock(number), at(11))
    world.deliver(lock(9), at(3611))
    assert result(world, "siem 9") == ("locked", False)


def test_a_held_lock_that_is_sent_back_is_carried_out_in_the_same_hour():
    world = World(known=FEW)
    for number in range(5):
        world.deliver(lock(number), at(11))
    for command in world.queue.held:
        world.deliver(command, at(60))
    assert denied(world) == {f"siem{number:03}" for number in range(5)}
    assert result(world, "siem 4") == ("locked", False)


def test_a_late_copy_of_a_held_report_is_no_word_of_a_persons():
    world = World(known=FEW)
    for number in range(4):
        world.deliver(lock(number), at(11))
    world.deliver(lock(3), at(900))
    assert (denied(world), len(world.queue.held)) == ({f"siem{number:03}" for number in range(3)}, 1)
    assert [detail["eventId"] for _, detail in world.bus.announced].count("siem 3") == 2, "it is told again"
    world.deliver(world.queue.held[0], at(901))
    assert result(world, "siem 3") == ("locked", False)


def test_a_held_lock_that_fails_when_it_is_sent_back_is_told_as_failed():
    world = World(known=FEW)
    for number in range(4):
        world.deliver(lock(number), at(11))
    world.workmail.disabled.add(next(iter(world.workmail.overrides)).user_id)
    world.deliver(world.queue.held[0], at(60))
    assert result(world, "siem 3") == ("failed", True)


@pytest.mark.parametrize("fault", [killed_before, killed_after])
def test_a_lock_that_is_delivered_again_counts_once(fault):
    calls = len(World(known=FEW).wire.calls)
    for call in range(12):
        world = World(known=FEW)
        world.wire.faults[calls + call] = fault
        for number in range(3):
            world.deliver(lock(number), at(11))
        assert denied(world) == {"siem000", "siem001", "siem002"}, call
        assert world.queue.held == []


def test_what_the_sweep_or_a_lookup_sends_is_not_counted():
    world = World(known=FEW)
    for number in range(3):
        world.deliver(lock(number), at(11))
    resolved = replace(
        lock(7), target=replace(lock(7).target, user=next(iter(world.workmail.overrides)).user_id, resolved=True)
    )
    world.deliver(resolved, at(12))
    assert "siem007" in denied(world)


def rejection(number, source):
    return Reject(cause(f"{source} {number}", at(10), source=source), Target("", ""), "it is no report")


def test_of_what_unknown_sources_send_one_pages_in_an_hour_and_all_is_recorded():
    world = World(known=FEW)
    for number in range(40):
        world.deliver(rejection(number, f"evil{number}.unreadable"), at(11))
    ends = [result(world, f"evil{number}.unreadable {number}") for number in range(40)]
    assert ends == [("rejected", True)] + [("rejected", False)] * 39
    world.deliver(rejection(1, "new"), at(3611))
    assert result(world, "new 1") == ("rejected", True)


def test_a_senders_unreadable_requests_page_once_in_an_hour_whatever_others_send():
    world = World(known=FEW)
    for number in range(3):
        for source in ("evil", "webhook.jamf.unreadable", "webhook.okta.unreadable"):
            world.deliver(rejection(number, source), at(11))
    for source in ("evil", "webhook.jamf.unreadable", "webhook.okta.unreadable"):
        assert [result(world, f"{source} {number}")[1] for number in range(3)] == [True, False, False]


def test_each_rejection_of_a_configured_source_pages():
    world = World(known=FEW)
    for number in range(3):
        world.deliver(rejection(number, "helpdesk"), at(11))
    assert [result(world, f"helpdesk {number}")[1] for number in range(3)] == [True] * 3


@pytest.mark.parametrize("fault", [killed_before, killed_after])
def test_the_one_that_pages_does_so_after_a_crash_too(fault):
    for call in range(4):
        world = World(known=FEW)
        world.wire.faults[len(world.wire.calls) + call] = fault
        world.deliver(rejection(1, "evil"), at(11))
        assert result(world, "evil 1") == ("rejected", True), call


# Pages.

THREE_PAGES = replace(SETTINGS, limits=replace(SETTINGS.limits, pages=3))


def wrong(number, seconds=10):
    event = cause(f"siem {number}", at(seconds), source="siem")
    return Reject(event, Target(ORGANIZATION, "bob", f"siem{number:03}"), "detail.deviceId is missing")


def paged(world):
    return [detail["eventId"] for _, detail in world.bus.announced if detail["page"]]


def test_of_a_flood_of_pages_one_says_that_more_follow_and_all_stay_as_urgent():
    world = World(known=THREE_PAGES)
    for number in range(8):
        world.deliver(wrong(number), at(11 + number))
    assert paged(world) == ["siem 0", "siem 1", "siem 2", "siem 3"]
    said = [world.told(f"siem {number}")[0] for number in range(8)]
    summed_up = (
        "This is page 4 of this source in five minutes. The next ones notify nobody: lockout history --since 15m"
    )
    assert [summed_up in each["message"] for each in said] == [False] * 3 + [True] + [False] * 4
    assert {(each["severity"], each["advice"]["title"]) for each in said} == {("act now", "A report was rejected")}


def test_no_source_buries_the_pages_of_another():
    world = World(known=THREE_PAGES)
    for number in range(8):
        world.deliver(wrong(number), at(11))
    for number in range(2):
        world.deliver(Reject(cause(f"helpdesk {number}", at(10)), Target(ORGANIZATION, "", ""), "wrong"), at(12))
    assert paged(world) == ["siem 0", "siem 1", "siem 2", "siem 3", "helpdesk 0", "helpdesk 1"]


def test_what_pages_nobody_counts_as_no_page_and_the_next_five_minutes_count_anew():
    world = World(known=THREE_PAGES)
    for number in range(5):
        world.deliver(lock(number), at(11))
    for number in range(10, 15):
        world.deliver(wrong(number), at(11))
    for number in range(20, 25):
        world.deliver(wrong(number), at(311))
    assert paged(world) == [*(f"siem {number}" for number in (10, 11, 12, 13, 20, 21, 22, 23))]


@pytest.mark.parametrize("killed", [killed_before, killed_after])
@pytest.mark.parametrize("call", range(4))
def test_a_page_that_is_decided_again_is_the_same(killed, call):
    world = World(known=THREE_PAGES)
    for number in range(3):
        world.deliver(wrong(number), at(11))
    world.wire.faults = {len(world.wire.calls) + call: killed}
    world.deliver(wrong(3), at(11))
    world.deliver(wrong(4), at(12))
    world.deliver(wrong(3), at(13))
    assert {each["page"] for each in world.told("siem 3")} == {True}
    assert {each["page"] for each in world.told("siem 4")} == {False}


def test_of_pages_at_the_same_time_one_says_that_more_follow():
    for seed in range(20):
        world = World(known=THREE_PAGES)
        raced(world, seed, [wrong(number) for number in range(6)], 0)
        said = {detail["eventId"]: detail for _, detail in world.bus.announced}
        assert sorted((each["page"], "notify nobody" in each["message"]) for each in said.values()) == [
            *[(False, False)] * 2,
            *[(True, False)] * 3,
            (True, True),
        ], seed
