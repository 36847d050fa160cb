"""The judgement of the fault matrix can fail: what it must notice, shown to it."""

from datetime import UTC, datetime, timedelta

import pytest

from local.deployment import Report
from local.fault_matrix.stories import Stories, Story

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Deployment:
    """As much of one as the judgement looks at."""

    def __init__(self):
        self.kept = {}

    def outcomes(self, event_id):
        return self.kept.get(event_id, [])

    def override(self, user, device):
        return {"Effect": "ALLOW", "Description": f"{user} {device}"}


@pytest.fixture
def stories():
    made = Stories(Deployment(), "ana", timedelta(0))
    report = Report("event", "helpdesk", "Device Lost", {"deviceId": "ANALOST"})
    made.stories = {
        "LOST": Story("ANALOST", None, ("DENY", "until=hold"), [report]),
        "SHORT": Story("ANASHORT", NOW, None, []),
    }
    return made


def call(operation, device, at, **request):
    return {"operation": operation, "time": at.isoformat(), "request": {"DeviceId": device, **request}}


def test_a_device_that_is_let_back_in_too_early_is_a_lost_lock(stories):
    ended = [call("DeleteMobileDeviceAccessOverride", "anashort", NOW)]
    locked = [call("PutMobileDeviceAccessOverride", "analost", NOW, Effect="DENY")]
    assert not list(stories.lost_locks(ended + locked))
    early = [call("DeleteMobileDeviceAccessOverride", "anashort", NOW - timedelta(seconds=1))]
    opened = [call("PutMobileDeviceAccessOverride", "analost", NOW, Effect="ALLOW")]
    assert len(list(stories.lost_locks(early + opened))) == 2


def test_what_stands_in_the_end_must_be_what_is_due(stories):
    right = {"ANALOST": {"Effect": "DENY", "Description": "… until=hold …"}}
    assert stories.wrong_ends(right) == []
    assert len(stories.wrong_ends({})) == 1
    assert len(stories.wrong_ends({"ANALOST": {"Effect": "ALLOW", "Description": "until=hold"}})) == 1
    assert len(stories.wrong_ends({**right, "ANASHORT": {"Effect": "DENY"}})) == 1


def test_a_foreign_override_must_be_as_it_was_and_never_written(stories):
    device = stories.device("BYSTANDER")
    stories.untouched = {"BYSTANDER": stories.deployment.override("ana", device)}
    listed = {device: {}}
    assert not list(stories.changed(listed, []))
    assert list(stories.changed(listed, [call("PutMobileDeviceAccessOverride", device.lower(), NOW)]))
    assert list(stories.changed({}, []))
    stories.untouched["BYSTANDER"] = {"Effect": "ALLOW"}
    assert list(stories.changed(listed, []))


@pytest.mark.parametrize(
    ("results", "announced", "wrong"),
    [
        (["locked"], ["locked"], 0),
        (["locked"], ["locked", "locked"], 0),
        ([], [], 1),
        (["locked", "locked"], ["locked"], 1),
        (["locked"], [], 1),
        (["locked"], ["locked", "extended"], 1),
        (["failed"], ["failed"], 1),
    ],
)
def test_every_report_has_one_outcome_which_is_told(stories, results, announced, wrong):
    stories.deployment.kept["event"] = [{"detail": {"result": result, "message": "…"}} for result in results]
    told = {"event": [{"result": result} for result in announced]}
    assert len(list(stories.unaccounted(told))) == wrong
