"""A thousand at once: a burst of reports, and a sweep over what people, other systems and we have left in WorkMail."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest

from device_lockout.values.tag import Tag, read, write
from local.deployment import Deployment, Report, rfc3339
from tests.local.end_to_end.watching import LONG_DEADLINE, all_outcomes, new_device, new_users, seen
from tests.measured import MEASURED

type Json = dict[str, Any]

THOUSAND = 1000
ALLOWED = {"Effect": "ALLOW", "Description": "by hand:  ‘keep’ – 受付"}


@dataclass(frozen=True, slots=True)
class Burst:
    """A thousand reports for as many devices: what was published, and when all of it was worked off."""

    users: list[str]
    reports: list[Report]
    seconds: float


@pytest.fixture(scope="module")
def burst(deployment: Deployment) -> Burst:
    there, users = deployment, new_users(deployment, 5)
    began = monotonic()
    reports = there.publish_all(
        [
            (
                "Device Lost",
                "helpdesk",
                {"userId": users[number % 5], "deviceId": new_device(), "reference": f"INC-{number}"},
            )
            for number in range(THOUSAND)
        ]
    )
    published = monotonic() - began
    seen(there, "all thousand reports are worked off", there.is_idle, LONG_DEADLINE)
    took = monotonic() - began
    MEASURED.append(
        f"a burst of {THOUSAND} reports: published in {published:.1f} s, all denied after {took:.1f} s,"
        f" {THOUSAND / took:.0f} a second"
    )
    return Burst(users, reports, took)


def test_of_a_thousand_reports_each_becomes_a_denial_with_one_recorded_outcome(
    deployment: Deployment, burst: Burst
) -> None:
    standing = {row["DeviceId"].upper(): row for row in deployment.overrides()}
    for report in burst.reports:
        row = standing[report.detail["deviceId"]]
        tag = read(row["Description"], owner="local")
        assert isinstance(tag, Tag)
        assert (row["Effect"], tag.why) == ("DENY", "lost")
        assert row["Description"].endswith(f"] {report.detail['reference']}")
    assert deployment.dead_letters() == {}
    results: dict[str, list[str | None]] = {}
    for event_id, result in all_outcomes(deployment):
        results.setdefault(event_id, []).append(result)
    assert [results[report.event_id] for report in burst.reports] == [["locked"]] * THOUSAND


def test_a_sweep_over_a_thousand_mixed_overrides_changes_exactly_the_expired_ones(
    deployment: Deployment, burst: Burst
) -> None:
    there = deployment
    there.sweep()  # what other tests left to it would end here, too
    seen(there, "all is worked off", there.is_idle)
    (user,) = new_users(there, 1)
    short_lived, over_allow = [new_device() for _ in range(8)], new_device()
    put_by_hand(there, user, over_allow)
    enough_to_lock_and_list = timedelta(seconds=8 + burst.seconds // 8)  # the longer the slower this machine is
    expires = datetime.now(UTC).replace(microsecond=0) + enough_to_lock_and_list
    there.publish_all(
        [
            ("Device Lost", "helpdesk", {"userId": user, "deviceId": device, "expiresAt": rfc3339(expires)})
            for device in (*short_lived, over_allow)
        ]
    )
    kept, ending = mixture()
    seed(there, burst.users[0], kept)
    seen(there, "the short-lived locks are recorded", there.is_idle)
    before = {row["DeviceId"].upper(): row for row in there.overrides()}
    assert len(before) >= THOUSAND + len(kept) + len(short_lived)
    assert before[over_allow]["Effect"] == "DENY"
    seed(there, burst.users[0], ending)

    seen(there, "the short-lived locks are over", lambda: datetime.now(UTC) > expires)
    began = monotonic()
    ran = there.sweep()
    assert (ran["completed"], ran["guard"]) == (True, None)
    ended = {row["DeviceId"] for row in ending} | set(short_lived)
    seen(there, "they are let go", lambda: not ended & {row["DeviceId"].upper() for row in there.overrides()})
    MEASURED.append(f"a sweep over {len(before)} overrides that ends {len(ended) + 1}: {monotonic() - began:.1f} s")
    there.sweep()
    seen(there, "all is worked off", there.is_idle)

    after = {row["DeviceId"].upper(): row for row in there.overrides()}
    restored = after.pop(over_allow)
    assert {name: restored[name] for name in ALLOWED} == ALLOWED
    assert after == {device: row for device, row in before.items() if device not in {*ended, over_allow}}


def seed(there: Deployment, user: str, overrides: list[Json]) -> None:
    rows = [{"OrganizationId": there.organization, "UserId": user, **row} for row in overrides]
    there.control("POST", "seed", {"overrides": rows})


def put_by_hand(there: Deployment, user: str, device: str) -> None:
    there.workmail.put_mobile_device_access_override(
        OrganizationId=there.organization, UserId=user, DeviceId=device, **ALLOWED
    )


def mixture() -> tuple[list[Json], list[Json]]:
    """Overrides of every other kind, exactly dated: those that a sweep must leave alone, and those that it must end."""
    now = datetime.now(UTC).replace(microsecond=0)
    past, future = now - timedelta(days=2), now + timedelta(days=2)

    def tag(until: datetime, owner: str = "local") -> str:
        return write(Tag(owner, "lost", until, now - timedelta(days=30), "0a1b2c3d", "none"), "INC-9 left in a taxi")

    ours = tag(past)
    broken = (
        ours.replace("why=", "why ="),
        ours.replace("was=none", "was=maybe"),
        ours.replace("Z at=", " at="),
        ours[:60],
        ours.replace("lockout/1 by=local ", "lockout/1 "),
        f"[until={past:%Y-%m-%d} 12:00] people write it this way, too",
    )
    kept = (
        *(tag(past, owner="prod"), tag(future, owner="prod")),
        *broken,
        ours.replace("lockout/1", "lockout/2"),
        *("legal hold, ask Jana", None, f" {ours}", "‘Büro’, 受付"),
        *(f"[until={future:%Y-%m-%d}] travel phone", f"[until={future:%Y-%m-%dT%H:%M:%SZ}] until the audit is over"),
    )
    ending = (ours, f"[until={past:%Y-%m-%d}] travel phone", f"[until={past:%Y-%m-%dT%H:%M:%SZ}]")
    return list(rows(kept, 35)), list(rows(ending, 10))


def rows(descriptions: tuple[str | None, ...], of_each: int) -> Iterator[Json]:
    for number, description in enumerate(descriptions):
        for one in range(of_each):
            dated = datetime(2026, 1, 1 + number, 8, 0, one, 125_000, tzinfo=UTC)
            yield {
                "DeviceId": new_device(),
                "Effect": "DENY" if one % 2 else "ALLOW",
                **({} if description is None else {"Description": description}),
                "DateCreated": rfc3339(dated),
                "DateModified": rfc3339(dated + timedelta(days=30)),
            }
