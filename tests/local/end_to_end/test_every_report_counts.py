"""What senders and people really write, on the whole chain: the report, the override, the outcome, who is told."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from device_lockout.values.tag import write
from local.deployment import Announcements, Deployment, Report, rfc3339
from tests.local.end_to_end.test_command import running
from tests.local.end_to_end.test_mapped_sources import sample
from tests.local.end_to_end.watching import (
    Json,
    denied,
    environment,
    new_device,
    new_users,
    recorded,
    seen,
    tag_on,
)

NOW = datetime.now(UTC).replace(microsecond=0)


def told(there: Deployment, report: Report) -> Json:
    """The one outcome of a report."""
    (outcome,) = seen(there, f"an outcome of {report}", lambda: there.outcomes(report.event_id))
    detail: Json = outcome["detail"]
    return detail


def by_hand(there: Deployment, user: str, device: str, description: str) -> None:
    there.workmail.put_mobile_device_access_override(
        OrganizationId=there.organization, UserId=user, DeviceId=device, Effect="DENY", Description=description
    )


WORDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a number": ({"reference": 35436, "note": 7}, "35436", ""),
    "empty": ({"reference": "", "note": "", "serialNumber": ""}, "", ""),
    "null": ({"reference": None, "note": None, "assetTag": None, "expiresAt": None, "reportedAt": None}, "", ""),
    "a list": ({"reference": ["INC-1"]}, "", "reference was left out, since it is no text"),
    "an object": ({"note": {"text": "in a taxi"}}, "", "note was left out, since it is no text"),
    "true": ({"reporter": True}, "", "reporter was left out, since it is no text"),
    "no number": ({"serialNumber": "Unknown"}, "", "serialNumber was left out, since Unknown says that there is none"),
    "too long": ({"note": "x" * 5000, "reference": "INC-2"}, "INC-2", ""),
}


def test_words_for_people_never_refuse_a_lock(deployment: Deployment) -> None:
    there, (user,) = deployment, new_users(deployment, 1)
    sent = {what: (new_device(), *row) for what, row in WORDS.items()}
    reports = {
        what: there.publish("Device Lost", userId=user, deviceId=device, **detail)
        for what, (device, detail, *_) in sent.items()
    }
    recorded(there, reports.values())
    for what, (device, _, reference, said) in sent.items():
        outcome = told(there, reports[what])
        assert (outcome["result"], outcome["reference"]) == ("locked", reference), (what, outcome)
        assert said in outcome["message"]
        assert ("left out" in outcome["message"]) == bool(said), (what, outcome["message"])
        assert denied(there, user, device).why == "lost"


@pytest.mark.parametrize("name", ["userId", "deviceId"])
def test_a_name_stays_strict_and_its_rejection_pages(deployment: Deployment, name: str) -> None:
    there, (user,) = deployment, new_users(deployment, 1)
    names: Json = {"userId": user, "deviceId": new_device()}
    reports = [there.publish("Device Lost", **names | {name: wrong}) for wrong in (7, ["one"], "", None)]
    recorded(there, reports)
    for report in reports:
        outcome = told(there, report)
        assert (outcome["result"], outcome["page"]) == ("rejected", True)
        assert f"detail.{name} is " in outcome["message"]
    assert there.override(user, names["deviceId"]) is None


TIMES = {
    "no colon": f"{NOW:%Y-%m-%dT%H:%M:%S}+0000",
    "hours alone": f"{NOW:%Y-%m-%d %H:%M:%S}+00",
    "a blank": f"{NOW:%Y-%m-%d %H:%M:%S}Z",
    "another offset": (NOW + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+0200"),
    "nine digits": f"{NOW:%Y-%m-%dT%H:%M:%S}.000000000Z",
    "a comma": f"{NOW:%Y-%m-%d %H:%M:%S},0 +00:00",
    "seconds": int(NOW.timestamp()),
    "seconds in words": str(int(NOW.timestamp())),
    "milliseconds": int(NOW.timestamp() * 1000),
    "milliseconds in words": str(int(NOW.timestamp() * 1000)),
    "RFC 2822": format_datetime(NOW),
}
UNREADABLE = {
    "no offset": f"{NOW:%Y-%m-%dT%H:%M:%S}",
    "an unknown offset": f"{NOW:%a, %d %b %Y %H:%M:%S} -0000",
    "a word": "yesterday",
    "a day": f"{NOW:%Y-%m-%d}",
    "a list": [f"{NOW:%Y-%m-%dT%H:%M:%S}Z"],
    "a small number": 12,
}


def test_times_are_read_as_senders_write_them_and_an_unreadable_one_leaves_no_device_open(
    deployment: Deployment,
) -> None:
    there, (user,) = deployment, new_users(deployment, 1)
    devices = {what: new_device() for what in TIMES | UNREADABLE}
    locks = {
        what: there.publish("Device Lost", userId=user, deviceId=devices[what], reportedAt=time)
        for what, time in (TIMES | UNREADABLE).items()
    }
    recorded(there, locks.values())
    for what, lock in locks.items():
        outcome, tag = told(there, lock), denied(there, user, devices[what])
        assert outcome["result"] == "locked"
        says = "reportedAt can't be read as a time with an offset, so the event's own time counts"
        assert (says in outcome["message"]) == (what in UNREADABLE), (what, outcome["message"])
        assert (tag.at == NOW) == (what in TIMES), (what, tag)
        assert tag.at >= NOW

    refused = {
        what: there.publish("Device Recovered", userId=user, deviceId=devices[what], reportedAt=time)
        for what, time in UNREADABLE.items()
    }
    back = rfc3339().replace("T", " ").replace("Z", "+0000")
    released = [
        there.publish("Device Recovered", userId=user, deviceId=devices[what], reportedAt=back) for what in TIMES
    ]
    recorded(there, [*refused.values(), *released])
    for what, report in refused.items():
        outcome = told(there, report)
        assert (outcome["result"], outcome["page"]) == ("rejected", True), what
        assert "detail.reportedAt is " in outcome["message"]
        assert tag_on(there, user, devices[what]), what
    assert {told(there, report)["result"] for report in released} == {"released"}


def test_an_end_that_is_a_day_is_the_end_of_that_day(deployment: Deployment) -> None:
    there, (user,), day = deployment, new_users(deployment, 1), (NOW + timedelta(days=9)).date()
    devices = new_device(), new_device()
    ends = f"{day:%Y-%m-%d}", "next week"
    for device, end in zip(devices, ends, strict=True):
        there.publish("Device Lost", userId=user, deviceId=device, expiresAt=end)
    read_as, instead = (denied(there, user, device) for device in devices)
    assert read_as.until == datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    assert abs(instead.until - instead.at - timedelta(days=30)) <= timedelta(seconds=1), "as its reason says"


def test_another_directorys_user_and_what_is_not_meant_are_nobodys_business(deployment: Deployment) -> None:
    there, device = deployment, new_device()
    (user,) = new_users(there, 1)
    enrolled = there.publish("Device Enrolled", "mdm", userId=user, deviceId=device)
    recorded(there, [enrolled])

    def disabled(directory: str) -> Json:
        event = sample("directory-user-disabled") | {"id": str(uuid4()), "bus": "default"}
        event["detail"]["requestParameters"] |= {"directoryId": directory, "sAMAccountName": user}
        return event

    harmless = disabled("d-0000000001")
    not_meant = sample("workspace-one-compromised") | {
        "id": str(uuid4()),
        "bus": there.outputs["EventBusName"],
    }
    not_meant["detail"]["CompromisedStatus"] = "Not Compromised"
    for event in (harmless, not_meant):
        there.control("POST", "events", event)
    marker = there.publish("User Restored", userId=user)
    recorded(there, [marker])
    seen(there, "all is worked off", there.is_idle)
    assert tag_on(there, user, device) is None
    assert [there.outcomes(event["id"]) for event in (harmless, not_meant)] == [[], []]
    there.control("POST", "events", disabled("d-9367123457"))
    assert denied(there, user, device).why == "offboarded"


NEAR_MISSES = ["[Until=2026-12-24] guest", " [until=01.12.2026]", "[until: 2026-12-24]", "(until=tomorrow)"]


def test_the_tag_in_peoples_hands(deployment: Deployment) -> None:
    there, (user,) = deployment, new_users(deployment, 1)
    a_day, broken, in_front = (new_device() for _ in range(3))
    reports = [there.publish("Device Lost", userId=user, deviceId=each) for each in (a_day, broken, in_front)]
    recorded(there, reports)
    tag, mistyped, behind = (denied(there, user, each) for each in (a_day, broken, in_front))
    end = (NOW + timedelta(days=40)).date()
    by_hand(there, user, a_day, write(tag, "seen").replace(f"until={tag.until:%Y-%m-%dT%H:%M:%SZ}", f"until={end}"))
    by_hand(there, user, broken, write(mistyped).replace("until=", "until "))
    by_hand(there, user, in_front, f"do not touch! {write(behind)}")
    strange = {new_device(): words for words in NEAR_MISSES}
    for device, words in strange.items():
        by_hand(there, user, device, words)

    left = sorted(device.casefold() for device in (broken, in_front, *strange))
    with closing(Announcements(there, f"hears-{user}")) as people:
        for _ in range(2):
            there.sweep()

        def told_of() -> list[Json]:
            return [each["detail"] for each in people.heard() if each["detail-type"] == "Override Left Alone"]

        seen(there, "each is told of", lambda: {*left} <= {each["deviceId"] for each in told_of()})
        about = [each for each in told_of() if each["deviceId"] in left]
    assert sorted(each["deviceId"] for each in about) == left, "two sweeps tell of each once"
    assert all(each["page"] and "was left alone" in each["message"] for each in about)

    until = datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(days=1)
    whole = denied(there, user, a_day)
    assert (whole.id, whole.until) == (tag.id, until)
    recovered = {each: there.publish("Device Recovered", userId=user, deviceId=each) for each in (a_day, broken)}
    recorded(there, recovered.values())
    for device, report in recovered.items():
        outcome = told(there, report)
        assert outcome["result"] == "released", outcome
        assert there.override(user, device) is None
    assert "until " in told(there, recovered[broken])["before"]["description"], "people are told what stood there"


def test_a_real_spreadsheet_is_imported(deployment: Deployment, state: Path, tmp_path: Path) -> None:
    there, (user,) = deployment, new_users(deployment, 1)
    serial, mail, outlook = new_device(), new_device(), new_device()
    rows = [
        " USERID ;Exchange Device ID;serialnumber;Colour;",
        f"{user};{mail};{serial};blue;",
        ";;;;",
        f"{user};{outlook};{serial};;",
    ]
    file = tmp_path / "phones.csv"
    file.write_bytes("\r\n".join(rows).encode("utf-16"))
    lockout = running(tmp_path, environment(state))
    words = ["inventory", "import", str(file), "--column", "deviceId=Exchange Device ID"]
    status, _, err = lockout(*words)
    assert status != 0
    assert "Colour" in err
    status, out, err = lockout(*words, "--ignore-other-columns")
    assert status == 0, err
    assert "2 of 2 lines were sent" in out
    seen(there, "the import is worked off", there.is_idle)
    there.publish("Device Stolen", serialNumber=serial)
    assert denied(there, user, mail).why == denied(there, user, outlook).why == "stolen"
