"""A person's own locks pass every cap, and many pages of one source hide no other's. Deployed with small numbers."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import app
from config_reader import loader
from device_lockout.values.policy import LOCKS_PER_HOUR
from infra import bundling
from local.connection import Connection
from local.deploy import deploy, read
from local.deployment import Deployment
from tests.local.end_to_end.watching import new_device, new_users, recorded, result, seen

MOST = 5
OPERATOR = """
[[sources]]
name = "operator"
may = ["lock", "release"]
publishers = ["arn:aws:iam::000000000000:user/operator"]
"""


@pytest.fixture(scope="module", autouse=True)
def _few(deployment: Deployment, state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    text = (loader.DIRECTORY / "local.toml").read_text(encoding="utf-8")
    few = text.replace("pages_in_five_minutes = 1000", f"pages_in_five_minutes = {MOST}") + OPERATOR
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CDK_VALIDATION", "false")
        assemblies = {name: tmp_path_factory.mktemp(name) for name in ("few", "usual")}
        for name, configuration in (("few", loader.read(few, "local")), ("usual", loader.load("local"))):
            app.synthesize(configuration, bundling.package(configuration.settings), assemblies[name])
    deploy(read(assemblies["few"]), Connection.read(state / "env"))
    yield
    seen(deployment, "all is worked off", deployment.is_idle)
    deploy(read(assemblies["usual"]), Connection.read(state / "env"))


def test_a_persons_own_locks_pass_the_cap_of_a_source(deployment: Deployment) -> None:
    there, (user,) = deployment, new_users(deployment, 1)
    asked = [("Device Lost", "operator", {"userId": user, "deviceId": new_device()}) for _ in range(LOCKS_PER_HOUR + 5)]
    reports = there.publish_all(asked)
    recorded(there, reports)
    assert Counter(result(there, report) for report in reports) == {"locked": len(reports)}


def test_of_a_sources_many_pages_one_says_so_and_those_of_another_still_come(
    deployment: Deployment, mail: Callable[[], list[str]]
) -> None:
    there, began = deployment, datetime.now(UTC)
    bad = there.publish_all([("Device Stolen", "operator", {"userId": "bob"}) for _ in range(4 * MOST)])
    recorded(there, bad)
    told = [outcome["detail"] for report in bad for outcome in there.outcomes(report.event_id)]
    ended = datetime.now(UTC)
    times = ended.timestamp() // 300 - began.timestamp() // 300 + 1  # five minutes may end meanwhile
    last = there.publish("Device Stolen", userId="bob").event_id
    seen(there, "a page of another source", lambda: any(last in each for each in mail()))
    assert {detail["result"] for detail in told} == {"rejected"}
    paged = [detail["eventId"] for detail in told if detail["page"]]
    assert MOST < len(paged) <= times * (MOST + 1)
    assert all(any(event in each for each in mail()) for event in paged)
    assert 1 <= sum("The next ones notify nobody" in each and "from operator" in each for each in mail()) <= times
    assert not [each for each in mail() for report in bad if report.event_id in each and report.event_id not in paged]
