"""A bulk import on the whole chain, with a lock in the middle that does not wait for it.

`.venv/bin/python -m pytest tests/local/end_to_end/under_stress/test_import.py -n0 -s` tries 600 lines;
IMPORTED=20000 before it tries more.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

from config_reader import loader
from local.deployment import Deployment
from lockout.__main__ import main
from lockout.deployment import find
from tests.local.end_to_end.under_stress.test_many_devices import known
from tests.local.end_to_end.watching import LONG_DEADLINE, denied, new_device, new_users, seen
from tests.measured import MEASURED

LINES = int(os.environ.get("IMPORTED", "600"))


def test_a_lock_in_the_middle_of_a_bulk_import_waits_for_a_portion_at_most(
    deployment: Deployment, tmp_path: Path
) -> None:
    there, portion = deployment, loader.load("local").settings.sweep.portion
    user, other = new_users(there, 2)
    user_id = there.workmail.describe_user(OrganizationId=there.organization, UserId=user)["UserId"]
    alone = _lock(there, other)

    file = tmp_path / "devices.csv"
    file.write_text("userId,deviceId\n" + "".join(f"{user},BULK{number:05}\n" for number in range(LINES)))
    deployed = find("local", there.aws.client)
    began = monotonic()
    with ThreadPoolExecutor(1) as pool:
        importing = pool.submit(main, ["inventory", "import", str(file)], deployed)
        seen(there, "half are enrolled", lambda: known(there, user_id) >= LINES // 2, LONG_DEADLINE)
        before = known(there, user_id)
        among = _lock(there, other)
        overtook = known(there, user_id) - before
        assert importing.result() == 0
    seen(there, "all are enrolled", lambda: known(there, user_id) == LINES, LONG_DEADLINE)
    took = monotonic() - began
    MEASURED.append(
        f"{LINES} lines imported in {took:.0f} s; a lock alone {alone:.1f} s, in the middle {among:.1f} s, while"
        f" {overtook} lines were enrolled"
    )
    assert overtook <= 2 * portion, "a lock waited for more than what may wait ahead of it and what was under way"


def _lock(there: Deployment, user: str) -> float:
    """Return how long a lock takes from its report to the denial, in seconds."""
    device, began = new_device(), monotonic()
    there.publish("Device Lost", userId=user, deviceId=device)
    denied(there, user, device)
    return monotonic() - began
