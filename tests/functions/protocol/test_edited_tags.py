"""Tags in people's hands: what a person wrote in the console, from the next sweep to the recovery."""

from dataclasses import replace

import pytest

from device_lockout.values import instant
from device_lockout.values.command import Lock, Release, Target, claim_id
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, Ending, tag_of
from local.in_memory import BOB, DAY, DEVICE, KEY, ORGANIZATION, SETTINGS, World, at, cause, key

TARGET = Target(ORGANIZATION, "bob", DEVICE)
VIP = Override("ALLOW", "vip, agreed with security")


def locked(over=None, **settings):
    world = World(over, **settings)
    claim = Claim(claim_id("lost"), "device", "lost", at(0), at(30 * DAY), source="helpdesk")
    world.deliver(Lock(cause("lost", at(0)), TARGET, claim), at(1))
    world.sweep(at(2))
    return world


def edit(world, old, new):
    assert old in world.override.description
    world.set_by_hand(Override("DENY", world.override.description.replace(old, new)))


def recovered(world, when):
    world.deliver(Release(cause("found", at(when)), TARGET, Ending("device")), at(when))
    (told,) = world.told("found")
    return told


def test_a_day_for_an_end_holds_to_the_end_of_that_day_and_a_recovery_releases_it():
    world = locked()
    edit(world, "until=2026-12-22T07:30:00Z", "until=2026-12-24")
    written = world.override
    world.sweep(at(3600))
    (claim,) = world.record.claims
    assert instant.write(claim.until) == "2026-12-25T00:00:00.000Z"
    assert world.override == written, "it says what is wanted"
    world.sweep(at(32 * DAY))
    assert world.override == written
    assert recovered(world, 32 * DAY + 1)["result"] == "released"
    assert world.override is None


def test_a_lock_to_the_end_of_a_day_expires_then():
    world = locked()
    edit(world, "until=2026-12-22T07:30:00Z", "until=2026-12-24")
    world.sweep(at(3600))
    for hour in range(2):  # after so long a gap the first one only reports
        world.sweep(at(33 * DAY + 3600 * hour))
    assert world.override is None


@pytest.mark.parametrize("over", [None, VIP])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[lockout/1", "SEC-9 [lockout/1"),
        ("until=", "until: "),
        ("why=lost", "why=lost or stolen"),
        ("was=none]", "was=none"),
    ],
)
def test_a_broken_tag_is_told_once_keeps_the_device_locked_and_is_released_by_a_recovery(over, old, new):
    world = locked(over)
    if old == "was=none]" and over is not None:
        old, new = "was=allow]", "was=allow"
    edit(world, old, new)
    broken = world.override
    for minute in range(3):
        world.sweep(at(3600 + 60 * minute))
    assert world.override == broken
    (told,) = (detail for kind, detail in world.bus.announced if kind == "Override Left Alone")
    assert told["page"]
    said = recovered(world, 7200)
    assert (said["result"], said["before"]["description"]) == ("released", broken.description)
    assert "a person had changed its tag" in said["message"]
    assert world.override == over


@pytest.mark.parametrize("text", ["[lockout/1 by=local why=lost id=0badcafe was=none]", "[lockout/1 by=local why="])
def test_a_broken_tag_of_a_lock_that_nobody_knows_stays(text):
    world = World(Override("DENY", text))
    assert recovered(world, 7200)["result"] == "nothing-to-release"
    assert world.override is not None


@pytest.mark.parametrize(
    ("text", "released"),
    [
        ("[lockout/1 by=local why=lost until=2026-", True),
        ("[lockout/1 by=local why=lost until=2026-12-22T07:30:00Z at=2026-11-22T07:30:00Z was=none]", True),
        ("[Lockout/1 by=local why=lost]", True),
        ("lockout/1 by=local why=lost", True),
        ("[lockout/1 by=prod why=lost until=2026-", False),
        ("[lockout/", False),
    ],
)
def test_a_broken_tag_without_its_id_is_ours_by_its_owner(text, released):
    world = locked()
    world.set_by_hand(Override("DENY", text))
    world.sweep(at(3600))
    said = recovered(world, 7200)
    assert (world.override is None) == released
    assert ("a person had changed its tag" in said["message"]) == released
    assert ("an override that is not ours still denies it" in said["message"]) != released


# What people hear of edits.


def adopted(world):
    return [detail for kind, detail in world.bus.announced if kind == "Lockout Adopted"]


@pytest.mark.parametrize(("until", "pages"), [("2026-12-24T00:00:00Z", False), ("2026-12-01T00:00:00Z", True)])
def test_an_edit_is_told_once_and_pages_if_the_lock_ends_sooner(until, pages):
    world = locked()
    edit(world, "2026-12-22T07:30:00Z", until)
    for minute in range(3):
        world.sweep(at(3600 + 60 * minute))
    (told,) = adopted(world)
    assert told["page"] is pages
    assert f"a person changed its end from 2026-12-22T07:30:00Z to {until}" in told["message"]


def test_an_edit_into_the_past_ends_the_lock_and_pages():
    world = locked()
    edit(world, "2026-12-22T07:30:00Z", "2026-11-22T07:30:00Z")
    world.sweep(at(3600))
    assert world.override is None
    (told,) = (detail for kind, detail in world.bus.announced if kind == "Lockout Expired")
    assert told["page"]
    assert "a person changed its end" in told["message"]


def test_a_report_that_meets_an_edit_tells_of_it():
    world = locked()
    edit(world, "2026-12-22T07:30:00Z", "2026-12-01T00:00:00Z")
    claim = Claim(claim_id("again"), "device", "lost", at(60), at(20 * DAY), source="helpdesk")
    world.deliver(Lock(cause("again", at(60)), TARGET, claim), at(61))
    (told,) = world.told("again")
    assert told["page"]
    assert "a person changed its end from 2026-12-22T07:30:00Z to 2026-12-01T00:00:00Z" in told["message"]


def knowing(**changes):
    return replace(SETTINGS, **changes)


@pytest.mark.parametrize(
    ("honours", "until", "counts"),
    [
        ("longer", "2026-12-24T00:00:00Z", True),
        ("longer", "2026-12-01T00:00:00Z", False),
        ("longer", "2026-11-22T07:30:00Z", False),
        ("none", "2026-12-24T00:00:00Z", False),
        ("none", "2026-12-01T00:00:00Z", False),
    ],
)
def test_an_edit_that_does_not_count_is_undone_as_tampering(honours, until, counts):
    world = locked(known=knowing(honour_edits=honours))
    set_by_us = world.override
    edit(world, "2026-12-22T07:30:00Z", until)
    edited = world.override
    world.sweep(at(3600))
    assert world.override == (edited if counts else set_by_us)
    undone = [detail["page"] for kind, detail in world.bus.announced if kind == "Tampering Detected"]
    assert undone == ([] if counts else [True])


def test_an_allow_with_our_tag_is_tampering_whatever_the_tag_says():
    world = locked()
    set_by_us = world.override
    over = set_by_us.description.replace("until=2026-12-22T07:30:00Z", "until=2026-11-22T07:30:00Z")
    world.set_by_hand(Override("ALLOW", over))
    world.sweep(at(3600))
    assert world.override == set_by_us
    (told,) = (detail for kind, detail in world.bus.announced if kind == "Tampering Detected")
    assert told["page"]


# Tags that the ledger does not know.

FORGED = Override(
    "DENY", "[lockout/1 by=local why=lost until=2026-12-24T00:00:00Z at=2026-11-21T00:00:00Z id=0badf00d was=none]"
)


def test_a_lock_that_the_ledger_does_not_know_is_taken_over_with_a_page():
    world = locked()
    world.workmail.overrides[key("other")] = FORGED
    world.sweep(at(3600))
    (told,) = adopted(world)
    assert (told["deviceId"], told["page"]) == ("other", True)
    assert "the ledger did not know this lock" in told["message"]


@pytest.mark.parametrize(
    ("why", "until", "latest"), [("lost", "hold", at(3600 + 365 * DAY)), ("stolen", "2040-01-01T00:00:00Z", None)]
)
def test_a_forged_lock_from_the_future_counts_from_now_and_lasts_no_longer_than_a_report_could_ask(why, until, latest):
    world = World()
    forged = f"[lockout/1 by=local why={why} until={until} at=2031-01-01T00:00:00Z id=0badf00d was=none] INC-1"
    world.set_by_hand(Override("DENY", forged))
    for minute in range(2):
        world.sweep(at(3600 + 60 * minute))
    (claim,) = world.record.claims
    assert (claim.at, claim.until) == (at(3600), latest or instant.read("2040-01-01T00:00:00Z"))
    (told,) = (detail for kind, detail in world.bus.announced if not kind.startswith("Sweep"))
    assert told["page"]
    assert ("its end cut to what its reason allows" in told["message"]) == (latest is not None)
    assert world.override.read("local") == tag_of(claim, "local", "none")
    assert recovered(world, 4000)["result"] == "released", "a report after it ends it"
    assert world.override is None


def test_after_a_loss_of_the_ledger_locks_are_taken_over_without_a_page_each():
    world = World()
    world.ledger.swept = None
    world.set_by_hand(FORGED)
    world.sweep(at(3600))
    (told,) = adopted(world)
    assert not told["page"], "the first sweep pages for all of them"
    (refused,) = (detail for kind, detail in world.bus.announced if kind == "Sweep Refused")
    assert (refused["guard"], refused["page"]) == ("first-run", True)


def test_a_forged_lock_of_an_exempt_user_is_told_once_and_never_put_back():
    world = locked(known=knowing(exempt_users=frozenset({BOB})))
    world.workmail.overrides[key("other")] = FORGED
    for minute in range(3):
        world.sweep(at(3600 + 60 * minute))
    (told,) = (detail for kind, detail in world.bus.announced if kind == "Already Denied")
    assert told["page"]
    assert "its user is exempt" in told["message"]
    del world.workmail.overrides[key("other")]
    world.sweep(at(4000))
    assert world.workmail.overrides.get(key("other")) is None
    world.workmail.overrides[key("other")] = FORGED
    for hour in range(2):  # after so long a gap the first one only reports
        world.sweep(at(33 * DAY + 3600 * hour))
    assert world.workmail.overrides.get(key("other")) is None, "its own end is kept"


def test_that_another_user_is_exempt_keeps_no_forgotten_lock_from_being_taken_over():
    world = locked(known=knowing(exempt_users=frozenset({"carla"})))
    world.ledger.devices.clear()
    world.sweep(at(3600))
    assert [claim.id for claim in world.record.claims] == [world.override.read("local").id]


def test_a_lock_of_an_exempt_user_that_the_ledger_forgot_is_told_once():
    world = locked()
    world.settings = knowing(exempt_users=frozenset({BOB}))
    world.ledger.devices[KEY] = replace(world.record, claims=())
    for minute in range(3):
        world.sweep(at(3600 + 60 * minute))
    assert len([kind for kind, _ in world.bus.announced if kind == "Already Denied"]) == 1


def test_a_forged_allow_of_an_exempt_user_is_told_once_and_asked_about_once():
    """Nobody is locked by it, so it stays. A sweep that went on asking would never come to rest."""
    world = locked(known=knowing(exempt_users=frozenset({BOB})))
    world.workmail.overrides[key("other")] = forged = replace(FORGED, effect="ALLOW")
    asked = [world.sweep(at(3600 + 60 * minute)).enqueued for minute in range(4)]
    (told,) = (detail for kind, detail in world.bus.announced if kind == "Override Left Alone")
    assert told["page"]
    assert "its user is exempt" in told["message"]
    assert asked[2:] == [0, 0]
    assert world.workmail.overrides[key("other")] == forged
