"""How long a chain of runs one report starts. Lambda counts it, and by default stops it after sixteen."""

from math import ceil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_lockout.protocol import fan_out
from device_lockout.values.command import Command, Enroll, Lock, Release, Retire, Target, claim_id
from device_lockout.values.device import DeviceName
from device_lockout.values.record import Claim, Ending, Scope
from device_lockout.values.tag import HOLD
from local.in_memory import ORGANIZATION, World, at, cause

SERIAL = DeviceName("serial", "S1")
TARGETS = {
    "of a user": Target(ORGANIZATION, "bob"),
    "of a device": Target(ORGANIZATION, "bob", "android0000"),
    "by serial number": Target(ORGANIZATION, "", "", (SERIAL,)),
}


def enrolled(devices: int) -> World:
    """Bob's devices, all under one serial number."""
    world = World()
    for number in range(devices):
        target = Target(ORGANIZATION, "bob", f"android{number:04}", (SERIAL,))
        world.deliver(Enroll(cause(f"enrolled-{number}", at(0)), target), at(number))
    return world


def commands(target: Target) -> list[Command]:
    scope: Scope = "device" if target.device or target.names else "user"
    asked: list[Command] = [
        Lock(cause("lock", at(500)), target, Claim(claim_id("lock"), scope, "stolen", at(500), HOLD)),
        Release(cause("release", at(600)), target, Ending(scope)),
    ]
    return asked if scope == "user" else [*asked, Retire(cause("retire", at(700)), target)]


def longest_chain(world: World, first: Command) -> int:
    """Each run of the writer gets one command here, so a chain's runs are its commands."""
    runs, due = 0, [first]
    while due:
        runs += 1
        for command in due:
            world.carry_out(command, at(1000))
        due, world.queue.sent = world.queue.sent, []
    return runs


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(devices=st.integers(1, 20), portion=st.integers(1, 7), whose=st.sampled_from([*TARGETS]))
def test_a_chain_is_as_long_as_the_portions_of_a_users_devices_and_one_run_more(
    monkeypatch: pytest.MonkeyPatch, devices: int, portion: int, whose: str
) -> None:
    monkeypatch.setattr(fan_out, "PORTION", portion)
    for number in range(len(commands(TARGETS[whose]))):
        world = enrolled(devices)
        command = commands(TARGETS[whose])[number]
        bound = {"of a user": ceil(devices / portion) + 1, "of a device": 1, "by serial number": 2}
        chain = longest_chain(world, command)
        assert chain <= bound[whose]
        assert chain == bound[whose] or not isinstance(command, Lock), "the bound is reached"


def test_a_user_with_3400_devices_makes_a_chain_that_lambda_would_stop() -> None:
    """Therefore the stack allows the writer to call itself."""
    assert ceil(3400 / fan_out.PORTION) + 1 > 16
