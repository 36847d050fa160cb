"""A flood on the whole chain: one source locks everybody, honest locks go on, and one command takes the flood back.

`.venv/bin/python -m pytest tests/local/end_to_end/under_stress/test_flood.py -n0 -s` sends 250 locks;
FLOODED=5000 before it sends more. The cap is 100 in an hour.
"""

import os
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from config_reader import loader
from local.deployment import Deployment, Report, rfc3339
from lockout.deployment import find
from tests.local.end_to_end.test_command import running
from tests.local.end_to_end.watching import (
    LONG_DEADLINE,
    denied,
    environment,
    new_device,
    new_users,
    recorded,
    result,
    seen,
)
from tests.measured import MEASURED

FLOODED = int(os.environ.get("FLOODED", "250"))
ALLOWED = {"Effect": "ALLOW", "Description": "[until=2099-12-31] by hand:  ‘keep’ – 受付"}


def test_a_flood_is_capped_passed_by_honest_locks_told_once_and_undone_by_one_command(
    deployment: Deployment, state: Path, tmp_path: Path, mail: Callable[[], list[str]]
) -> None:
    there = deployment
    lockout = running(tmp_path, environment(state))
    cap = next(each for each in loader.load("local").settings.sources if each.name == "scanner").locks_per_hour
    user, whole, other = users = new_users(there, 3)
    allowed, lost, enrolled, plain = ([new_device() for _ in range(5)] for _ in range(4))
    for device in allowed:
        there.workmail.put_mobile_device_access_override(
            OrganizationId=there.organization, UserId=user, DeviceId=device, **ALLOWED
        )
    stood = [there.publish("Device Lost", userId=user, deviceId=device, reference="INC-1") for device in lost]
    stood += [
        there.publish("Device Enrolled", "mdm", userId=whole, deviceId=device, serialNumber=f"S{enrolled[0]}")
        for device in enrolled
    ]
    recorded(there, stood)
    seen(there, "all is worked off", there.is_idle)
    before, dead = standing(there, users), there.dead_letters()
    began = datetime.now(UTC)

    first = [
        there.publish("Device Stolen", "scanner", userId=user, deviceId=each) for each in (*allowed, *lost, *plain)
    ]
    first.append(there.publish("Device Stolen", "scanner", serialNumber=f"S{enrolled[0]}"))
    first.append(there.publish("User Compromised", "scanner", userId=whole))
    recorded(there, first)
    flood: list[tuple[str, str, dict[str, Any]]] = [
        ("Device Stolen", "scanner", {"userId": user, "deviceId": new_device()}) for _ in range(FLOODED - len(first))
    ]
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(there.publish_all, flood)
        honest = while_it_runs(there, other, sending)
    last = sending.result()[-1].event_id
    seen(there, "an outcome of the last", lambda: there.outcomes(last), LONG_DEADLINE)
    seen(there, "the flood is worked off", there.is_idle, LONG_DEADLINE)

    hours = datetime.now(UTC).hour - began.hour + 1
    told = [each["detail"] for each in find("local", there.aws.client).ledger.timeline(began, datetime.now(UTC))]
    told = [detail for detail in told if detail["source"] == "scanner"]
    ends = Counter(detail["result"] for detail in told)
    reports = {detail["eventId"] for detail in told if detail["result"] != "held"}
    assert len(reports) <= cap * hours, "at most the cap was locked"
    assert (ends["held"], ends["rejected"]) == (FLOODED - len(reports), 0)
    assert sum(detail["page"] for detail in told) == hours
    notice = seen(there, "a notice", lambda: next((each for each in mail() if "from scanner" in each), None))
    assert notice.startswith("act now: A source asks for too many locks")
    seconds = sorted(honest.values())
    assert seconds[len(seconds) // 2] < 5, "a fresh theft is not behind another source's flood"
    MEASURED.append(
        f"a flood of {FLOODED} locks: {len(reports)} reports locked, {ends['held']} held; {len(honest)} honest locks"
        f" meanwhile, half within {seconds[len(seconds) // 2]:.1f} s, all within {seconds[-1]:.1f} s"
    )

    words = ("undo", "scanner", "--since", rfc3339(began), "--ref", "INC-7", "--timeout", "300")
    flooded = standing(there, users)
    status, out, err = lockout(*words, "--dry-run")
    assert (status, out.count("would be still-locked: ")) == (0, len(lost) + 2 * len(enrolled)), out + err
    assert standing(there, users) == flooded
    status, out, err = lockout(*words, "--yes")
    assert status == 0, out + err
    assert f"held locks dropped: {ends['held']}" in err
    assert out.count("stays locked (lost)") == len(lost)
    # The second release of a device with two locks may find nothing left to do.
    done = {end: int(count) for count, end in re.findall(r"(\d+) ([a-z-]+)", out.splitlines()[-1])}
    assert done.pop("still-locked") == len(lost)
    assert "released" in done
    assert done.keys() <= {"released", "nothing-to-release"}
    seen(there, "all is worked off", there.is_idle)

    after = standing(there, users)
    assert {place: row for place, row in after.items() if place[1] not in honest} == before, "byte-identical"
    assert {place[1] for place in after} >= honest.keys()
    assert there.dead_letters() == dead
    anew = there.publish("Device Enrolled", "mdm", userId=whole, deviceId=new_device(), serialNumber=f"S{enrolled[0]}")
    assert result(there, anew) == "enrolled", "nothing of the flood is kept for devices to come"


def while_it_runs(there: Deployment, user: str, sending: Future[list[Report]]) -> dict[str, float]:
    """Report honest losses until the flood is routed, at least five. Return the seconds to each device's denial."""
    took: dict[str, float] = {}
    while len(took) < 5 or not sending.done() or there.queued("ReportsQueueUrl"):
        device, began = new_device(), monotonic()
        there.publish("Device Lost", userId=user, deviceId=device)
        denied(there, user, device)
        took[device.casefold()] = monotonic() - began
    return took


def standing(there: Deployment, users: list[str]) -> dict[tuple[str, str], tuple[str, str]]:
    """Effect and description of each override of the users, by user and device."""
    ids = {there.workmail.describe_user(OrganizationId=there.organization, UserId=user)["UserId"] for user in users}
    return {
        (row["UserId"], row["DeviceId"].casefold()): (row["Effect"], row["Description"])
        for row in there.overrides()
        if row["UserId"] in ids
    }
