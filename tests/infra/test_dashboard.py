"""The dashboard shows every alarm, and only what the functions and AWS measure."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from config_reader import loader
from config_reader.loader import Configuration
from device_lockout.values.outcome import RESULTS
from tests.infra.conftest import ROOT, Template

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def widgets(template: Template) -> dict[str, dict[str, Any]]:
    body = json.loads(template.one("CloudWatch::Dashboard")["DashboardBody"])
    return {widget["properties"]["title"]: widget for widget in body["widgets"]}


def test_it_shows_every_alarm(template: Template, widgets: dict[str, dict[str, Any]]) -> None:
    alarms = widgets["Alarms"]["properties"]["alarms"]
    assert {*alarms} == {f"{name}.Arn" for name in template.of_type("CloudWatch::Alarm")}
    assert len(alarms) <= 100, "the most that one widget shows"


def test_it_shows_every_queue_and_function(template: Template, widgets: dict[str, dict[str, Any]]) -> None:
    shown = {metric[3] for title in ("Queues", "Dead letters") for metric in widgets[title]["properties"]["metrics"]}
    assert shown == {f"{queue}.QueueName" for queue in template.of_type("SQS::Queue")}
    functions = widgets["Functions: errors and throttles"]["properties"]["metrics"]
    assert {metric[3] for metric in functions} == {*template.of_type("Lambda::Function")}


def test_its_metrics_are_those_that_the_functions_write(widgets: dict[str, dict[str, Any]]) -> None:
    writes = "".join(path.read_text() for path in (ROOT / "functions").glob("*.py"))
    written = {*re.findall(r'name=f?"([A-Z]\w+)', writes), *RESULTS}
    metrics = [metric for widget in widgets.values() for metric in widget["properties"].get("metrics", ())]
    ours = [metric for metric in metrics if metric[0] == "DeviceLockout/prod"]
    assert {tuple(metric[2:4]) for metric in ours} == {("service", "apply_commands")}
    searches = [metric[0]["expression"] for metric in metrics if isinstance(metric[0], dict)]
    found = [
        re.fullmatch(r"SEARCH\('\{\"DeviceLockout/prod\",organization,service\} (.*)', '\w+', 3600\)", each)
        for each in searches
    ]
    searched = {name for match in found if match for name in re.findall(r"[A-Z]\w+[a-z]\w*", match[1])}
    assert None not in found
    assert {*(metric[1] for metric in ours), *searched} <= written
    assert {"ReportToDeny", "DrillToDeny", "locked", "LocksStanding", "SweepRefused"} <= {
        *(metric[1] for metric in ours),
        *searched,
    }


def test_queries_of_the_logs_are_saved(template: Template) -> None:
    queries = template.of_type("Logs::QueryDefinition").values()
    assert {query["Name"] for query in queries} == {
        "device-lockout-prod/undone, rejected or failed",
        "device-lockout-prod/one device or user",
    }
    for query in queries:
        assert {*query["LogGroupNames"]} == {*template.of_type("Logs::LogGroup")}
        results = re.findall(r'"([a-z-]+)"', query["QueryString"])
        assert {*results} <= RESULTS.keys()


def test_the_configuration_may_leave_it_out(
    synthesize: Callable[[Configuration], Template], deployment: Configuration
) -> None:
    template = synthesize(replace(deployment, dashboard=False))
    assert not template.of_type("CloudWatch::Dashboard")
    assert not template.of_type("Logs::QueryDefinition")
    example = (loader.DIRECTORY / "example.toml").read_text(encoding="utf-8")
    assert loader.read(example, "x").dashboard
    assert not loader.read(f"dashboard = false\n{example}", "x").dashboard
