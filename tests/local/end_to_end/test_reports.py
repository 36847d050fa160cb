"""What becomes of reports, on the whole chain: from the bus to WorkMail, the ledger and the announced outcomes."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from time import monotonic

import pytest

from device_lockout.values.tag import HOLD
from local.deployment import Deployment, Report, rfc3339
from local.lifecycle import ROOT
from tests.local.end_to_end.watching import (
    denied,
    environment,
    new_device,
    recorded,
    result,
    seen,
    tag_on,
)
from tests.measured import MEASURED

pytestmark = pytest.mark.overlapping


def test_the_demonstration_shows_everything(state: Path, deployment: Deployment) -> None:
    del deployment  # is up by now: two at once would wait for each other
    began = monotonic()
    shown = subprocess.run(
        [sys.executable, "-m", "local.demo", "--state", state], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, ""), shown.stdout + shown.stderr
    assert "FAILED" not in shown.stdout
    assert "\033" not in shown.stdout
    assert any("checks, all as expected" in line for line in shown.stdout.splitlines()[-2:])
    MEASURED.append(f"the demonstration, on a local AWS that is up, in between others: {monotonic() - began:.0f} s")


def test_a_report_by_the_aws_cli_becomes_a_denial(deployment: Deployment, state: Path) -> None:
    there = deployment
    times = []
    for _ in range(3):
        device, reported = new_device(), datetime.now(UTC).replace(microsecond=125_000)
        detail = {"userId": "bob", "deviceId": device, "reportedAt": rfc3339(reported), "reference": "INC-7"}
        entry = {
            "EventBusName": environment(state)["LOCKOUT_EVENT_BUS"],
            "Source": "helpdesk",
            "DetailType": "Device Lost",
            "Detail": json.dumps(detail),
        }
        began = monotonic()
        subprocess.run(
            [Path(sys.executable).with_name("aws"), "events", "put-events", "--entries", json.dumps([entry])],
            env=environment(state),
            check=True,
            capture_output=True,
        )
        tag = seen(there, "a denial", lambda device=device: tag_on(there, "bob", device), every=0.02)
        times.append(monotonic() - began)
        assert (tag.owner, tag.why, tag.was) == ("local", "lost", "none")
        assert tag.at == reported.replace(microsecond=0)
        assert tag.until == tag.at + timedelta(days=30, seconds=1)
        assert (there.override("bob", device) or {})["Description"].endswith("] INC-7")
    MEASURED.append(f"from `aws events put-events` to the denial: {', '.join(f'{time:.2f}' for time in times)} s")


def test_stolen_holds_and_compromised_lasts_a_week(deployment: Deployment) -> None:
    stolen, compromised = new_device(), new_device()
    deployment.publish("Device Stolen", userId="bob", deviceId=stolen)
    deployment.publish("Device Compromised", "siem", userId="bob", deviceId=compromised)
    assert denied(deployment, "bob", stolen).until == HOLD
    tag = denied(deployment, "bob", compromised)
    assert tag.why == "compromised"
    assert timedelta(days=7) <= tag.until - tag.at <= timedelta(days=7, seconds=1)


# --- order ------------------------------------------------------------------------------------------------------------

HISTORIES = (("lost", "recovered", "lost"), ("lost", "recovered"), ("recovered", "lost"))
TWICE = (
    lambda order: [copy for event in order for copy in (event, event)],
    lambda order: [*order, *order],
    lambda order: [*order, *reversed(order)],
)
"""How each event of an order of arrival comes twice: at once, when all have come, and then in reverse."""


def arrivals() -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """What happened, and in which order news of it came; the numbers are positions in what happened."""
    for happened in HISTORIES:
        for order in permutations(range(len(happened))):
            for twice in TWICE:
                yield happened, twice(order)


def test_what_happened_last_counts_in_whatever_order_it_arrives(deployment: Deployment) -> None:
    there = deployment
    began = datetime.now(UTC) - timedelta(seconds=10)
    cases = {new_device(): case for case in arrivals()}
    first: dict[tuple[str, int], Report] = {}
    for step in range(max(len(order) for _, order in cases.values())):
        new: list[Report] = []
        again: list[Report] = []
        for number, (device, (happened, order)) in enumerate(cases.items()):
            if step >= len(order):
                continue
            event = order[step]
            kind = "Device Lost" if happened[event] == "lost" else "Device Recovered"
            at = rfc3339(began + timedelta(seconds=event))
            known = first.get((device, event))
            if known and number % 2:  # delivered twice …
                there.deliver_again(known)
                again.append(known)
            else:  # … or said twice
                new.append(there.publish(kind, userId="carla", deviceId=device, reportedAt=at))
                first.setdefault((device, event), new[-1])
        recorded(there, new)
        seen(there, "copies have arrived", lambda again=again: all_twice(there.routed(began), again))

    there.sweep()
    for device, (happened, order) in cases.items():
        right = happened[-1] == "lost"
        seen(
            there,
            f"{happened} as {order}",
            lambda device=device, right=right: right == bool(tag_on(there, "carla", device)),
        )
        if right:
            at = (began + timedelta(seconds=len(happened) - 1)).replace(microsecond=0)
            assert denied(there, "carla", device).at == at
    assert all(len(there.outcomes(report.event_id)) == 1 for report in first.values())


def all_twice(routed: Counter[str], reports: list[Report]) -> bool:
    return all(routed[report.event_id] >= 2 for report in reports)


def test_a_late_report_after_a_newer_recovery_does_not_lock_and_pages(deployment: Deployment) -> None:
    device, now = new_device(), datetime.now(UTC)
    recovered = deployment.publish("Device Recovered", "mdm", userId="dave", deviceId=device, reportedAt=rfc3339(now))
    assert result(deployment, recovered) == "nothing-to-release"
    late = rfc3339(now - timedelta(hours=1))
    report = deployment.publish("Device Lost", userId="dave", deviceId=device, reportedAt=late)
    assert result(deployment, report) == "superseded"
    (outcome,) = deployment.outcomes(report.event_id)
    assert outcome["detail"]["page"] is True
    assert deployment.override("dave", device) is None
    assert deployment.writes(device) == []


def test_a_recovery_dated_2030_is_rejected_and_releases_nothing(deployment: Deployment) -> None:
    device = new_device()
    report = deployment.publish("Device Lost", userId="dave", deviceId=device)
    assert result(deployment, report) == "locked"
    forged = deployment.publish("Device Recovered", userId="dave", deviceId=device, reportedAt="2030-01-01T00:00:00Z")
    assert result(deployment, forged) == "rejected"
    assert denied(deployment, "dave", device).why == "lost"


# --- identity ---------------------------------------------------------------------------------------------------------


def test_every_name_of_a_user_and_either_case_of_a_device_mean_one_override(deployment: Deployment) -> None:
    there, device = deployment, new_device()
    user_id = there.workmail.describe_user(OrganizationId=there.organization, UserId="bob")["UserId"]
    names = ("bob", "BOB", "Bob@example.com", "bob@example.com", user_id, user_id.upper())
    reports = [
        there.publish("Device Lost", userId=name, deviceId=device.lower() if number % 2 else device)
        for number, name in enumerate(names)
    ]
    assert Counter(result(there, report) for report in reports)["locked"] == 1
    (row,) = (row for row in there.overrides() if row["DeviceId"].upper() == device)
    assert (row["UserId"], row["Effect"]) == (user_id, "DENY")
    items = there.dynamodb.query(
        TableName=there.outputs["LedgerTableName"],
        KeyConditionExpression="pk = :organization AND begins_with(sk, :kind)",
        ExpressionAttributeValues={":organization": {"S": there.organization}, ":kind": {"S": "device#"}},
    )["Items"]
    assert sum(device.lower() in item["sk"]["S"] for item in items) == 1

    recovered = there.publish("Device Recovered", userId="BOB@EXAMPLE.COM", deviceId=device.lower())
    assert result(there, recovered) == "released"
    assert there.override("bob", device) is None


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_the_trouble_of_one_device_delays_no_other(deployment: Deployment) -> None:
    there = deployment
    troubled, others = new_device(), [new_device() for _ in range(20)]
    faults = {troubled: {"kind": "no_answer", "device": troubled, "operations": ["GetMobileDeviceAccessOverride"]}}
    there.control("PUT", "settings", {"faults": faults})
    there.publish("Device Lost", userId="eve", deviceId=troubled)
    there.publish_all([("Device Lost", "helpdesk", {"userId": "eve", "deviceId": device}) for device in others])
    began = monotonic()
    for device in others:
        denied(there, "eve", device)
    assert there.writes(troubled) == []
    MEASURED.append(f"20 devices denied beside one that fails: {monotonic() - began:.1f} s")
    there.control("PUT", "settings", {"faults": dict.fromkeys(faults)})
    denied(there, "eve", troubled)


def test_reports_of_a_disabled_and_of_an_unknown_user_page_somebody(deployment: Deployment) -> None:
    for user, ended in (("frank", "failed"), ("nobody", "rejected")):
        device = new_device()
        report = deployment.publish("Device Lost", userId=user, deviceId=device)
        assert result(deployment, report) == ended
        (outcome,) = deployment.outcomes(report.event_id)
        assert outcome["detail"]["page"] is True
        assert user in outcome["detail"]["message"]
        assert not any(call["status"] == 200 for call in deployment.writes(device))
        deployment.publish("Device Recovered", userId=user, deviceId=device)  # or each sweep would try to lock it again
