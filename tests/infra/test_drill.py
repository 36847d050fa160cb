"""The drill: what its schedules say is read, decided and told as any report, and pages nobody."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config_reader import bus_limits, loader
from config_reader.loader import Configuration, ConfigurationError
from device_lockout.inbound import report
from device_lockout.values.outcome import DRILL
from local.in_memory import World
from tests.infra.conftest import Template
from tests.infra.test_stack import alarms_on, matches, on_aws, targets_of

EXAMPLE = (loader.DIRECTORY / "example.toml").read_text(encoding="utf-8")
CANARY = '[drill]\nevery = "{}"\nuser = "bob"\ndevice = "DRILL0001"\n'


def drilled(every: str = "1 hour") -> Configuration:
    return loader.read(EXAMPLE + CANARY.format(every), "config/x.toml")


@pytest.fixture(scope="module")
def template(synthesize: Callable[[Configuration], Template]) -> Template:
    return synthesize(drilled())


def schedules(template: Template) -> dict[str, dict[str, Any]]:
    found = template.of_type("Scheduler::Schedule").items()
    return {name.removeprefix("Drill"): schedule for name, schedule in found if name.startswith("Drill")}


def test_a_drill_locks_its_device_and_lets_it_back_in(template: Template) -> None:
    world = World()
    source = drilled().settings.source(DRILL)
    assert source is not None
    world.settings = replace(world.settings, sources=(*world.settings.sources, source))
    now = datetime.now(UTC).replace(microsecond=0)
    for name, effects, later in (("DeviceLost", {"DENY"}, 0), ("DeviceRecovered", set(), 300)):
        target = schedules(template)[name]["Target"]
        then = now + timedelta(seconds=later)
        said = target["Input"].replace("<aws.scheduler.scheduled-time>", f"{then:%FT%TZ}")
        detail = json.loads(said) | {"organizationId": world.settings.organizations[0].id}
        parameters = target["EventBridgeParameters"]
        event = {"id": name, "source": parameters["Source"], "detail-type": parameters["DetailType"], "detail": detail}
        world.workmail.now = then
        for command in report.read(json.dumps(event), "m", then, world.settings):
            world.deliver(command, then)
        assert {override.effect for override in world.workmail.overrides.values()} == effects
    assert [detail["page"] for _, detail in world.bus.announced] == [False, False]


def test_its_events_come_from_one_role_that_may_do_nothing_else(template: Template) -> None:
    assert list(template.statements("DrillRole")) == [(frozenset({"events:PutEvents"}), frozenset({"Bus.Arn"}))]
    for schedule in schedules(template).values():
        assert (schedule["Target"]["Arn"], schedule["Target"]["RoleArn"]) == ("Bus.Arn", "DrillRole.Arn")
    deny = {
        "ForAnyValue:StringEquals": {"events:source": [DRILL]},
        "ArnNotLike": {"aws:PrincipalArn": ["DrillRole.Arn"]},
    }
    bus = template.one("Events::EventBus")["Policy"]
    assert [one["Effect"] for one in bus["Statement"] if one["Condition"] == deny] == ["Deny"]
    assert bus_limits._policy(drilled()) == len(on_aws(template, bus)), "the loader counts what AWS will"
    assert targets_of(template, {"source": DRILL, "detail-type": "Device Lost", "detail": {}}) == ["ReportsQueue.Arn"]


@pytest.mark.parametrize(
    ("every", "lost", "recovered", "period", "periods"),
    [
        ("15 minutes", "7/15 * * * ? *", "12/15 * * * ? *", 3600, 1),
        ("1 hour", "7 0/1 * * ? *", "12 0/1 * * ? *", 3600, 2),
        ("6 hours", "7 0/6 * * ? *", "12 0/6 * * ? *", 21600, 2),
        ("1 day", "7 0 * * ? *", "12 0 * * ? *", 86400, 2),
    ],
)
def test_people_hear_of_two_periods_without_a_drill_and_of_a_late_one(
    synthesize: Callable[[Configuration], Template],
    every: str,
    lost: str,
    recovered: str,
    period: int,
    periods: int,
) -> None:
    template = synthesize(drilled(every))
    assert {name: each["ScheduleExpression"] for name, each in schedules(template).items()} == {
        "DeviceLost": f"cron({lost})",
        "DeviceRecovered": f"cron({recovered})",
    }
    late, missing = sorted(alarms_on(template, "MetricName", "DrillToDeny"), key=lambda each: str(each["Statistic"]))
    assert (late["Statistic"], late["Threshold"], late["TreatMissingData"]) == ("Maximum", 30_000, "notBreaching")
    assert (missing["Statistic"], missing["Threshold"]) == ("SampleCount", 1)
    assert (missing["ComparisonOperator"], missing["TreatMissingData"]) == ("LessThanThreshold", "breaching")
    assert (missing["Period"], missing["EvaluationPeriods"]) == (period, periods)
    assert late["AlarmActions"] == missing["AlarmActions"] == ["NoticesTopic"]


@pytest.mark.parametrize(
    ("about", "pages"),
    [({"device": "drill0001"}, False), ({"device": "abc123"}, True), ({"device": ""}, True), ({"guard": "gap"}, True)],
)
def test_what_is_about_its_device_alone_pages_nobody(template: Template, about: dict[str, str], pages: bool) -> None:
    pattern = template.resources["BusPages"]["Properties"]["EventPattern"]["detail"]
    either = pattern.pop("$or", [{}])
    found = any(matches(pattern | each, {"page": True, **about}) for each in either)
    pattern |= {"$or": either}
    assert found == pages


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (CANARY.format("45 minutes"), 'drill.every: "45 minutes": expected one of 15 minutes, 1 hour'),
        (CANARY.format("1 hour") + 'organization = "x"', 'drill.organization: "x": expected one of main'),
        (CANARY.format("1 hour").replace("0001", "-1"), 'drill.device: "DRILL-1": expected a device ID'),
        ("[drill]", "drill.every: missing"),
        ('[[sources]]\nname = "lockout-drill"\nmay = ["lock"]', "expected a name of your own"),
    ],
)
def test_a_mistake_is_told(more: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        loader.read(f"{EXAMPLE}{more}\n", "config/x.toml")
    assert said in str(told.value)


def test_with_several_organizations_the_configuration_says_which() -> None:
    second = f'[[organizations]]\nid = "m-{"f" * 32}"\nalias = "second"\n'
    with pytest.raises(ConfigurationError, match=r"drill.organization: missing: expected one of main, second"):
        loader.read(EXAMPLE + second + CANARY.format("1 hour"), "config/x.toml")
    known = loader.read(EXAMPLE + second + CANARY.format("1 hour") + 'organization = "second"', "config/x.toml")
    assert known.drill is not None
    assert known.drill.organization == "m-" + "f" * 32
