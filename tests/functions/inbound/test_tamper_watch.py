"""The tamper watch's events: which become a command, what is trusted of them, and what people read."""

import json

import pytest

from device_lockout.inbound import report
from device_lockout.values.command import Reassert, Target
from device_lockout.values.outcome import SOURCE
from local.in_memory import ORGANIZATION, SETTINGS, at

WHO = "arn:aws:sts::111122223333:assumed-role/admin/eve@example.com"


def told(who=WHO, **asked):
    detail = {
        "eventID": "0c5a5f4e-0000-4000-8000-000000000000",
        "userIdentity": {"type": "AssumedRole", "arn": who},
        "sourceIPAddress": "203.0.113.9",
        "requestParameters": {"organizationId": ORGANIZATION, "userId": "bob", "deviceId": "ABC123", **asked},
    }
    return {"source": "aws.workmail", "detail-type": "AWS API Call via CloudTrail", "detail": detail}


def read(event, mapped_source=SOURCE):
    return report.read(json.dumps({"mappedSource": mapped_source, "event": event}), "m-1", at(5), SETTINGS)


def test_a_change_becomes_a_command_for_the_device_that_names_the_caller():
    (command,) = read(told())
    assert isinstance(command, Reassert)
    assert command.target == Target(ORGANIZATION, "bob", "ABC123")
    assert (command.cause.source, command.cause.happened) == (SOURCE, at(5))
    assert command.cause.correction == f"changed by {WHO} from 203.0.113.9"


@pytest.mark.parametrize(
    "asked",
    [
        {"organizationId": "m-00000000000000000000000000000000"},
        {"organizationId": None},
        {"userId": ""},
        {"userId": ["bob"]},
        {"deviceId": None},
    ],
)
def test_what_names_no_device_of_ours_is_nobodys(asked):
    assert read(told(**asked)) == ()


@pytest.mark.parametrize("event", [{}, {"detail": None}, {"detail": []}, {"detail": {"requestParameters": "all"}}])
def test_another_shape_is_nobodys(event):
    assert read(event) == ()


def test_people_read_no_words_of_the_callers_choice():
    (command,) = read(told(who="arn:aws:sts::1:assumed-role/a/call\x1b[2J 555 now\u202e"))
    assert command.cause.correction == "changed by arn:aws:sts::1:assumed-role/a/call??2J?555?now? from 203.0.113.9"


def test_the_same_event_without_the_rules_mark_is_a_report_of_an_unknown_source():
    (command,) = report.read(json.dumps(told() | {"id": "an event"}), "m-1", at(5), SETTINGS)
    assert "source is" in command.because
