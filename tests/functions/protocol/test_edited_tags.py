"""Tags in people's hands: what a person wrote in the console, from the next sweep to the recovery."""

import pytest

from device_lockout.values import instant
from device_lockout.values.command import Lock, Release, Target, claim_id
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, Ending
from local.in_memory import DAY, DEVICE, ORGANIZATION, World, at, cause

TARGET = Target(ORGANIZATION, "bob", DEVICE)
VIP = Override("ALLOW", "vip, agreed with security")


def locked(over=None):
    world = World(over)
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


def test_a_broken_tag_of_a_lock_that_nobody_knows_stays():
    world = World(Override("DENY", "[lockout/1 by=local why=lost id=0badcafe was=none]"))
    assert recovered(world, 7200)["result"] == "nothing-to-release"
    assert world.override is not None
