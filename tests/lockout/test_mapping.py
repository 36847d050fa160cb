import gzip
import json
import shutil
import subprocess
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from config_reader import event_pattern, loader
from config_reader.catalogue import read_catalogue
from config_reader.loader import CATALOGUE, Configuration
from device_lockout.inbound import report
from device_lockout.values.command import Command, Lock, Reject
from device_lockout.values.settings import EventMapping, Source
from local.in_memory import ORGANIZATION, at
from lockout.__main__ import main
from lockout.commands import mapping
from lockout.commands.mapping import describe, read

SAMPLES = Path(__file__).parent.parent.parent / "samples"


@pytest.fixture(scope="module")
def deployment() -> Configuration:
    return loader.load("local")


READ = {
    "auth0-leaked-password": "locks all devices of dave@example.com (compromised)",
    "auth0-user-blocked": "locks all devices of dave@example.com (offboarded)",
    "auth0-user-deleted": "locks all devices of dave@example.com (offboarded)",
    "crowdstrike-user": "locks all devices of bob@example.com (compromised)",
    "defender-alert": "locks all devices of dave@example.com (compromised)",
    "directory-user-disabled": "locks all devices of eve (offboarded)",
    "google-workspace-device-compromised": "locks serial DNQXK3P9N740 (compromised)",
    "guardduty-user": "locks all devices of ana@example.com (compromised)",
    "identity-center-user-deleted": "locks all devices of 906767c2a1-0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0 (off",
    "identity-center-native-user-deleted": "locks all devices of 906767c2a1-0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0 (o",
    "jamf-lost-mode-off": "ends the device's locks of asset jamf-456",
    "jamf-lost-mode-on": "locks asset jamf-456 (lost)",
    "jira-lost-device": "locks serial DNQXK3P9N745 (lost)",
    "okta-breached-credential": "locks all devices of bob@example.com (compromised) until 2026-11-29",
    "okta-hook-user-deactivated": "locks all devices of carla@example.com (offboarded)",
    "okta-suspicious-activity": "locks all devices of bob@example.com (compromised) until 2026-11-29",
    "okta-user-deactivated": "locks all devices of carla@example.com (offboarded) until 2027-02-20",
    "okta-user-reactivated": "ends the user's locks of all devices of carla@example.com",
    "okta-user-unsuspended": "ends the user's locks of all devices of carla@example.com",
    "pagerduty-incident": "locks serial DNQXK3P9N744 (compromised)",
    "security-hub-lock-button": "locks device ApplDNQXK3P9N735 of ana@example.com (compromised) until 2026-11-29",
    "security-hub-own-finding": "locks serial DNQXK3P9N736 (compromised) until 2026-11-29",
    "security-hub-v2-user": "locks all devices of ana@example.com (compromised)",
    "servicenow-lost-device": "locks serial DNQXK3P9N743 (lost)",
    "workspace-one-compromised": "locks serial DNQXK3P9N737 (compromised)",
    "zendesk-lost-device": "locks serial DNQXK3P9N742 (lost)",
}
"""What each ready-made source makes of its sample, as it begins."""


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    return event


def made(deployment: Configuration, name: str, event: dict[str, Any]) -> list[Command]:
    """What the source makes of the event, whatever its pattern says."""
    body = json.dumps({"mappedSource": name, "event": event})
    received = datetime.fromisoformat(event["time"])
    return [*report.read(body, "tried", received, deployment.settings)]


def because(deployment: Configuration, name: str, event: dict[str, Any]) -> str:
    (command,) = made(deployment, name, event)
    assert isinstance(command, Reject)
    return command.because


def test_every_ready_made_source_is_read_here() -> None:
    assert {name.replace("/", "-") for name in read_catalogue(CATALOGUE)} == READ.keys()


@pytest.mark.parametrize("name", READ)
def test_a_sample_is_read_by_its_own_source_and_no_other(name: str, deployment: Configuration) -> None:
    said = [(source, text) for source, text, command in read(sample(name), deployment, at(0)) if command is not None]
    assert {source.partition(" (bus ")[0] for source, _ in said} == {name}
    assert said[0][1].startswith(READ[name]), said
    assert all(ORGANIZATION in text for _, text in said)


def test_of_an_okta_hooks_batch_only_what_succeeded_is_meant(deployment: Configuration) -> None:
    event = sample("okta-hook-user-deactivated")
    assert [command.target.user for command in made(deployment, "okta-hook-user-deactivated", event)] == [
        "carla@example.com",
        "dave@example.com",
    ]
    for each in event["detail"]["data"]["events"]:
        each["outcome"]["result"] = "FAILURE"
    assert made(deployment, "okta-hook-user-deactivated", event) == []


def test_two_users_of_an_okta_event_make_two_locks(deployment: Configuration) -> None:
    event = sample("okta-user-deactivated")
    event["detail"]["target"].append({"type": "User", "alternateId": "dave@example.com"})
    event["detail"]["target"].append({"type": "AppInstance", "alternateId": "unknown"})
    commands = made(deployment, "okta-user-deactivated", event)
    assert [command.target.user for command in commands] == ["carla@example.com", "dave@example.com"]
    assert [command.cause.part for command in commands] == [1, 2]


def test_two_devices_of_a_finding_make_two_locks(deployment: Configuration) -> None:
    event = sample("security-hub-lock-button")
    other = {"workmailUser": "bob@example.com", "easDeviceId": "ApplDNQXK3P9N736"}
    event["detail"]["findings"][0]["Resources"].append({"Type": "Other", "Id": "m2", "Details": {"Other": other}})
    said = [describe(command) for command in made(deployment, "security-hub-lock-button", event)]
    assert [each.split(" (")[0] for each in said] == [
        "locks device ApplDNQXK3P9N735 of ana@example.com",
        "locks device ApplDNQXK3P9N736 of bob@example.com",
    ]


def test_a_number_is_a_reference(deployment: Configuration) -> None:
    """Also in the shape of Zendesk's former connector to EventBridge, by a source of one's own."""
    assert sample("zendesk-lost-device")["detail"]["ticket"] == 35436
    (lock,) = made(deployment, "zendesk-lost-device", sample("zendesk-lost-device"))
    assert lock.cause.reference == "35436"
    expressions = {
        "user": "detail.ticket_event.ticket.tags[*].capture(@, '^user_(.+)') | [0]",
        "time": "detail.ticket_event.meta.occurred_at",
        "reference": "detail.ticket_event.ticket.id",
    }
    own = Source("zendesk", frozenset({"lock"}), EventMapping("lock-user", "lost", expressions))
    settings = replace(deployment.settings, sources=(own,))
    ticket = {"id": 35436, "requester_id": 20978392, "tags": ["lost_phone", "user_bob"]}
    event = {
        "id": "z",
        "source": "aws.partner/zendesk.com/9242270/default",
        "detail-type": "Support Ticket: Tags Changed",
        "time": "2026-11-22T09:00:05Z",
        "detail": {"ticket_event": {"meta": {"occurred_at": "2026-11-22T08:59:59.465719851Z"}, "ticket": ticket}},
    }
    (command,) = made(replace(deployment, settings=settings), "zendesk", event)
    assert describe(command).startswith("locks all devices of bob (lost) until 2026-12-22")
    assert command.cause.reference == "35436"
    assert command.cause.happened == datetime(2026, 11, 22, 8, 59, 59, 465000, tzinfo=UTC)


def test_jamfs_test_message_is_nobodys(deployment: Configuration) -> None:
    event = sample("jamf-lost-mode-on")
    event["detail"]["webhook"]["webhookEvent"] += "(TEST)"
    *_, (source, text, command) = read(event, deployment, at(0))
    assert (source, text, command) == ("nobody", "gets this: nothing is recorded and nobody is told", None)


@pytest.mark.parametrize(
    ("status", "locks"),
    [
        ("Compromised", True),
        ("true", True),
        (True, True),
        ("Jailbroken", True),
        ("NotCompromised", False),
        ("Not Compromised", False),
        ("Unknown", False),
        (False, False),
        ("", False),
        (None, False),
    ],
)
def test_each_status_of_workspace_one_locks_unless_it_is_known_to_mean_no(
    status: object, locks: bool, deployment: Configuration
) -> None:
    event = sample("workspace-one-compromised")
    event["detail"]["CompromisedStatus"] = status
    assert len(made(deployment, "workspace-one-compromised", event)) == locks


def test_a_repeated_notification_of_workspace_one_happened_at_its_own_time(deployment: Configuration) -> None:
    times = {
        "2026-11-22T08:59:59.5720125Z": at(0).replace(hour=8, minute=59, second=59, microsecond=572000),
        1795337999572: at(0).replace(hour=8, minute=59, second=59, microsecond=572000),
        "/Date(1795337999572)/": at(0).replace(hour=8, minute=59, second=59, microsecond=572000),
        "yesterday": at(0).replace(hour=9, minute=0, second=5, microsecond=0),
    }
    for written, happened in times.items():
        event = sample("workspace-one-compromised")
        event["detail"]["EventTime"] = written
        (command,) = made(deployment, "workspace-one-compromised", event)
        assert isinstance(command, Lock)
        assert command.cause.happened == happened, written
    assert (
        command.cause.correction == "reportedAt can't be read as a time with an offset, so the event's own time counts"
    )


def test_guardduty_names_an_iam_user_or_the_session_of_a_role(deployment: Configuration) -> None:
    event = sample("guardduty-user")
    key = event["detail"]["resource"]["accessKeyDetails"]
    key.update(principalId="AIDAEXAMPLE", userName="ana", userType="IAMUser")
    (command,) = made(deployment, "guardduty-user", event)
    assert command.target.user == "ana"


def test_the_new_security_hub_may_name_a_user_by_arn(deployment: Configuration) -> None:
    event = sample("security-hub-v2-user")
    (evidence,) = event["detail"]["findings"][0]["evidences"]
    evidence["actor"]["user"] = {"uid": "arn:aws:iam::111122223333:user/ana", "name": "ana"}
    (command,) = made(deployment, "security-hub-v2-user", event)
    assert (type(command), command.target.user) == (Lock, "ana")


@pytest.mark.parametrize(
    ("name", "path", "value", "found"),
    [
        (
            "pagerduty-incident",
            ("event", "data", "title"),
            "Malware",
            "'[Ss]erial number ([0-9A-Za-z][0-9A-Za-z._/-]*[0-9A-Za-z])')\" found nothing",
        ),
        ("google-workspace-device-compromised", ("message", "data"), "no Base64", "can't be evaluated on this event"),
        ("google-workspace-device-compromised", ("message", "data"), "bm8gSlNPTg==", "can't be evaluated on this even"),
        pytest.param(
            "google-workspace-device-compromised",
            ("message", "data"),
            b64encode(b"[" * 100_000).decode(),
            "can't be evaluated on this event",
            id="nested",
        ),
        ("security-hub-v2-user", ("findings", 0, "evidences"), [], 'each.name" found nothing'),
        ("directory-user-disabled", ("requestParameters", "sAMAccountName"), None, "found nothing: expected an e-mail"),
        ("guardduty-user", ("resource", "accessKeyDetails", "principalId"), "A:" + "x" * 255, "this one has 257"),
    ],
)
def test_where_a_guess_is_wrong_people_see_a_rejection_that_names_it(
    name: str, path: tuple[Any, ...], value: object, found: str, deployment: Configuration
) -> None:
    event = sample(name)
    holder = event["detail"]
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    assert found in because(deployment, name, event)


def test_a_jamf_event_of_several_devices_makes_a_report_of_each(deployment: Configuration) -> None:
    event = json.loads((SAMPLES / "jamf-lost-mode-on.json").read_text(encoding="utf-8"))
    event["detail"]["event"]["groupAddedDevicesIds"] = [456, 457]
    said = [text for _, text, command in read(event, deployment, at(0)) if command is not None]
    assert [text.split(" (")[0] for text in said] == ["locks asset jamf-456", "locks asset jamf-457"]


def test_an_event_of_the_contract_is_tried_as_such(deployment: Configuration) -> None:
    """It may lack an ID, which EventBridge gives it."""
    event = {"source": "helpdesk", "detail-type": "Device Lost", "detail": {"userId": "bob", "deviceId": "X"}}
    (command,) = (command for _, _, command in read(event, deployment, at(0)) if command is not None)
    assert describe(command).startswith("locks device X of bob (lost) until 2026-12-22T07:30:00Z")


def test_the_command_says_so_of_each_source_and_whether_any_accepts(
    deployment: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mapping", "try", str(SAMPLES / "jamf-lost-mode-on.json")]) == 0
    said = capsys.readouterr().out.splitlines()
    mapped = [source for source in deployment.settings.sources if source.mapping is not None]
    assert len(said) == len(mapped) >= 11
    assert sum("does not get it" in line for line in said) == len(said) - 1
    nobody = tmp_path / "event.json"
    nobody.write_text('{"source": "aws.s3", "detail-type": "Object Created"}')
    assert main(["mapping", "try", str(nobody)]) == 1
    assert capsys.readouterr().out.endswith("nobody: gets this: nothing is recorded and nobody is told\n")
    nobody.write_text('{"source": "unknown", "detail-type": "Object Created"}')
    assert main(["mapping", "try", str(nobody)]) == 1
    assert "the contract (bus device-security): rejected: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("okta-user-deactivated", "aws.partner/okta.com/another/stream1"),
        ("okta-user-deactivated", "my.replay"),
        ("directory-user-disabled", "aws.partner/okta.com/acme/stream1"),
    ],
)
def test_nobody_gets_what_comes_to_another_bus(name: str, source: str, deployment: Configuration) -> None:
    """No rule is on the bus of another tenant's log stream, and a default bus has no partner's events."""
    commands = [command for _, _, command in read(sample(name) | {"source": source}, deployment, at(0))]
    assert not any(isinstance(command, Lock) for command in commands)


def test_several_events_end_in_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [(SAMPLES / f"jamf-lost-mode-{which}.json").read_text(encoding="utf-8") for which in ("on", "off")]
    (tmp_path / "two.jsonl").write_text("\n".join(json.dumps(json.loads(line)) for line in lines))
    (tmp_path / "nobody.json").write_text('{"source": "aws.s3", "detail-type": "Object Created"}')
    assert main(["mapping", "try", str(tmp_path)]) == 1
    *_, nobody, first, second = capsys.readouterr().out.splitlines()
    assert nobody.split("  ")[-1] == "nobody gets it, or it is not meant"
    assert [line.split()[-2:] for line in (first, second)] == [["accepted:", "1"]] * 2
    assert "two.jsonl:1 " in first
    assert main(["mapping", "try", str(tmp_path / "two.jsonl"), str(SAMPLES / "drill.json")]) == 0


def test_one_file_that_is_no_event_keeps_no_other_from_being_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drill = json.loads((SAMPLES / "drill.json").read_text(encoding="utf-8"))
    drill["detail"]["exercise"] = "one\u2028line"
    (tmp_path / "a.json").write_text('{"webhook": {}}')
    (tmp_path / "b.ndjson").write_text(json.dumps(drill, ensure_ascii=False) + "\n", encoding="utf-8")
    (tmp_path / "c.json").write_text(json.dumps({"Entries": [{"Source": "x", "DetailType": "y", "Detail": "{}"}]}))
    (tmp_path / "d.json").write_text(f"{json.dumps(drill)}\n{json.dumps(drill)}\n")
    assert main(["mapping", "try", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "a.json: expected an event as EventBridge delivers it" in said.err
    ends = [line.split("  ")[-1] for line in said.out.splitlines()[-5:]]
    assert ends == ["no event", "accepted: 1", "accepted: 0, rejected: 1", "accepted: 1", "accepted: 1"]
    assert main(["mapping", "replay", str(tmp_path), "--config", "local"]) == 1
    (empty := tmp_path / "empty").mkdir()
    given = [str(tmp_path / "missing.json"), str(empty), str(tmp_path / "b.ndjson")]
    assert main(["mapping", "try", *given]) == 1
    said = capsys.readouterr()
    assert [line.split("  ")[-1].strip() for line in said.out.splitlines()[-3:]] == ["no event"] * 2 + ["accepted: 1"]
    assert "missing.json: No such file or directory" in said.err
    assert f"{empty}: expected .json, .jsonl, .ndjson files in this directory" in said.err


def test_an_event_of_which_one_report_is_rejected_is_not_all_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event = sample("okta-user-deactivated")
    event["detail"]["target"].append({"type": "User", "alternateId": "da ve"})
    (tmp_path / "two.json").write_text(json.dumps(event))
    assert main(["mapping", "try", str(tmp_path / "two.json")]) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if "does not get it" not in line]
    assert ["rejected: " in line for line in said] == [False, True]


def test_values_one_after_the_other_are_read_up_to_one_that_is_no_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As jq prints them; and a line of a log that was cut."""
    drill = json.dumps(sample("drill"), indent=2)
    (tmp_path / "jq.json").write_text(f"{drill}\n{drill}\n")
    assert main(["mapping", "try", str(tmp_path / "jq.json")]) == 0
    one = json.dumps(sample("drill"))
    (tmp_path / "cut.jsonl").write_text(f"{one}\n{one[:99]}\n{one}\n")
    capsys.readouterr()
    assert main(["mapping", "try", str(tmp_path / "cut.jsonl")]) == 1
    said = capsys.readouterr()
    assert [line.split("  ")[-1] for line in said.out.splitlines()[-2:]] == ["accepted: 1", "no event"]
    assert ": line 2 column " in said.err
    assert "what comes after that was not tried" in said.err


def test_cloudtrails_log_files_are_read_as_they_lie_in_a_bucket(tmp_path: Path) -> None:
    below = tmp_path / "AWSLogs" / "2026" / "11" / "22"
    below.mkdir(parents=True)
    log = {"Records": [the_identity_centers()]}
    (below / "one.json.gz").write_bytes(gzip.compress(json.dumps(log).encode()))
    (below / "cut.json.gz").write_bytes(gzip.compress(b"{}")[:-9])
    (below / "digest.txt").write_text("")
    cut, one = mapping.events_in(tmp_path)
    assert isinstance(one[1], dict)
    assert one[1]["detail"]["eventName"] == "DeleteUser"
    assert "Compressed file ended" in str(cut[1])


def test_an_entry_alone_and_a_report_from_our_queue_are_events(tmp_path: Path) -> None:
    entry = {"Source": "helpdesk", "DetailType": "Device Lost", "Resources": ["arn:x"], "Detail": '{"userId": "bob"}'}
    (tmp_path / "a.json").write_text(json.dumps(entry))
    (tmp_path / "b.json").write_text(json.dumps({"mappedSource": "drill", "event": sample("drill")}))
    (_, alone), (_, queued) = mapping.events_in(tmp_path)
    assert isinstance(alone, dict)
    assert (alone["detail"], alone["resources"]) == ({"userId": "bob"}, ["arn:x"])
    assert queued == sample("drill")


def test_a_record_of_cloudtrail_and_a_finding_alone_or_in_a_list_are_events(tmp_path: Path) -> None:
    record = sample("identity-center-user-deleted")["detail"]
    finding = sample("security-hub-own-finding")["detail"]["findings"][0]
    for found in (record, [record], finding, [finding]):
        (tmp_path / "found.json").write_text(json.dumps(found))
        assert main(["mapping", "try", str(tmp_path / "found.json")]) == 0


def test_an_event_in_our_own_name_gets_to_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ours.json").write_text('{"source": "device-lockout", "detail-type": "Device Lost", "detail": {}}')
    assert main(["mapping", "try", str(tmp_path / "ours.json")]) == 1
    assert capsys.readouterr().out.endswith("nobody: gets this: nothing is recorded and nobody is told\n")


DRILL = json.dumps(sample("drill"))
FINDING = sample("guardduty-user")["detail"]


def capitals(value: Any) -> Any:
    """Spell keys as the AWS command line does."""
    if isinstance(value, dict):
        return {name[:1].upper() + name[1:]: capitals(each) for name, each in value.items()}
    return [*map(capitals, value)] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("content", "what", "locks"),
    [
        ({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": DRILL}}]}, "a record of SNS", "DRILL0001"),
        ({"Type": "Notification", "TopicArn": "arn:x", "Message": DRILL}, "SNS's envelope", "DRILL0001"),
        ({"Records": [{"body": DRILL, "eventSource": "aws:sqs"}]}, "a record of SQS", "DRILL0001"),
        ([{"body": DRILL, "eventSource": "aws:sqs"}], "a record of SQS", "DRILL0001"),
        ({"Messages": [{"ReceiptHandle": "x", "Body": DRILL}]}, "a message of SQS", "DRILL0001"),
        ({"events": [{"message": DRILL}], "searchedLogStreams": []}, "lines of a log", "DRILL0001"),
        (sample("security-hub-v2-user")["detail"]["findings"][0], "a finding of the new Security Hub", "ana@example"),
        ({"Findings": sample("security-hub-v2-user")["detail"]["findings"]}, "of the new Security Hub", "ana@example"),
        (FINDING, "a finding of GuardDuty", "ana@example.com"),
        ({"Findings": [capitals(FINDING)]}, "a finding of GuardDuty", "ana@example.com"),
        (
            [{"Source": "helpdesk", "DetailType": "Device Lost", "Detail": {"userId": "bob", "deviceId": "A1"}}],
            "an entry whose Detail is no text",
            "A1 of bob",
        ),
        (sample("okta-user-deactivated")["detail"], "an entry of Okta's log", "carla@example.com"),
        ([sample("auth0-leaked-password")["detail"]], "an entry of Auth0's log", "dave@example.com"),
        (
            {"Source": "helpdesk", "DetailType": "Device Lost", "Detail": {"userId": "bob", "deviceId": "A1"}},
            "an entry whose Detail is no text",
            "A1 of bob",
        ),
        ([sample("jamf-lost-mode-on")["detail"]], "what may be a product's own payload", "asset jamf-456"),
        ({"userId": "bob", "deviceId": "A1"}, "what may be the detail of a report", "A1 of bob"),
        (sample("jamf-lost-mode-on")["detail"], "what may be a product's own payload", "asset jamf-456"),
        ({"data": {}, "Message": "lost", "body": "a phone", "source": "urn:auth0:acme"}, "what may be a product's", ""),
        ({"type": "zen:event-type:ticket", "detail": {}}, "what may be a product's own payload", ""),
    ],
)
def test_what_is_no_event_yet_gets_the_line_that_makes_events_of_it(
    content: Any, what: str, locks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "found.json"
    file.write_text(json.dumps(content))
    assert main(["mapping", "try", str(file)]) == 1
    said = capsys.readouterr().err
    assert what in said
    program = said.partition("This makes events of it: jq '")[2].removesuffix("' FILE\n")
    assert program
    if (jq := shutil.which("jq")) is None:
        return
    okta, auth0 = (sample(name)["source"] for name in ("okta-user-deactivated", "auth0-leaked-password"))
    partner = auth0 if "Auth0" in what else okta
    program = program.replace("aws.partner/NAME", partner).replace("webhook.NAME", "webhook.jamf")
    program = program.replace("NAME", "helpdesk")
    file.write_bytes(subprocess.run([jq, program, str(file)], check=True, capture_output=True).stdout)
    assert main(["mapping", "try", str(file)]) == (0 if locks else 1)
    said = capsys.readouterr()
    assert "no event" not in said.err
    assert locks in said.out


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "and found none in it"),
        (b"{", "Expecting property name"),
        (b'{\n "a": 1,\n "b": 2,\n}', "Illegal trailing comma before end of object: line 3 column 8"),
        (b"[]", "and found none in it"),
        (b'{"Records": []}', "and found none in it"),
        (b'{"Events": []}', "and found none in it"),
        (b'{"Records": ["a"]}', "and found str"),
        (b'{"Events": [{"CloudTrailEvent": "[]"}]}', "and found list"),
        (b'{"CloudTrailEvent": "{"}', "Expecting property name"),
        (
            b'{"Records": [{"eventName": "x", "eventSource": "aws:s3", "s3": {}}]}',
            "what may be a product's own payload",
        ),
        (b'[{"DetailType": "x", "Detail": "{"}]', "Expecting property name"),
        (b"null", "and found NoneType"),
        ('{"note": "Gerät"}'.encode("latin-1"), "can't decode byte"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_event_is_refused_by_name(
    content: bytes, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(content)
    assert main(["mapping", "try", str(file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"lockout: {file}: expected an event as EventBridge delivers it, a JSON object")
    assert found in said


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mapping", "try", str(tmp_path / "missing.json")]) == 1
    assert "missing.json" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_of_powershell_is_read(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_bytes((SAMPLES / "jamf-lost-mode-on.json").read_text(encoding="utf-8").encode(encoding))
    assert main(["mapping", "try", str(file)]) == 0


# Replay


CALL = {
    "eventID": "c2f4a1de",
    "eventTime": "2026-11-22T09:00:00Z",
    "eventSource": "sso-directory.amazonaws.com",
    "eventName": "DeleteUser",
    "eventType": "AwsApiCall",
    "requestParameters": {"identityStoreId": "d-9067", "userId": "906767c2a1-0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0"},
}


def replayed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict[str, str]], str]:
    status = main(["mapping", "replay", *words, "--json"])
    said = capsys.readouterr()
    return status, json.loads(said.out), said.err


def the_identity_centers() -> dict[str, Any]:
    record: dict[str, Any] = sample("identity-center-user-deleted")["detail"]
    return record


@pytest.mark.parametrize("form", ["log file", "look-up"])
def test_cloudtrails_records_are_replayed_as_events(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = the_identity_centers()
    other = {**record, "eventName": "ListUsers", "eventID": "other"}
    wrapped = {
        "log file": {"Records": [record, other]},
        "look-up": {"Events": [{"CloudTrailEvent": json.dumps(each)} for each in (record, other)]},
    }[form]
    (tmp_path / "calls.json").write_text(json.dumps(wrapped))
    status, rows, err = replayed(capsys, str(tmp_path / "calls.json"), "--config", "local")
    assert status == 0
    assert [(row["when"], row["event"]) for row in rows] == [(record["eventTime"], record["eventID"])]
    assert ": locks all devices of 9067" in rows[0]["would"]
    assert err == "events: 2, rows: 1, would be rejected: 0\n"


def test_a_look_up_that_lacks_something_is_named(tmp_path: Path) -> None:
    (file := tmp_path / "calls.json").write_text(json.dumps({"Events": [{"CloudTrailEvent": json.dumps(CALL)}, {}]}))
    (_, event), (name, wrong) = mapping.events_in(file)
    assert isinstance(event, dict)
    assert event["id"] == CALL["eventID"]
    assert name == f"{file}:2"
    assert "what may be a product's own payload" in str(wrong)


def test_the_event_of_a_record_is_the_one_that_eventbridge_delivers() -> None:
    event = sample("identity-center-user-deleted")
    made_of_it = mapping._of_cloudtrail(event["detail"])
    for name in ("source", "detail-type", "detail"):
        assert made_of_it[name] == event[name]
    for name in ("eventType", "kind"):
        assert mapping._of_cloudtrail(CALL | {name: "AwsServiceEvent"})["detail-type"].endswith(" via CloudTrail")
    signed_in = CALL | {"eventType": "AwsConsoleSignIn", "eventSource": "signin.amazonaws.com"}
    assert mapping._of_cloudtrail(signed_in)["detail-type"] == "AWS Console Sign In via CloudTrail"


def test_findings_of_security_hub_are_replayed_as_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finding,) = sample("security-hub-own-finding")["detail"]["findings"]
    (tmp_path / "findings.json").write_text(json.dumps({"Findings": [finding, {**finding, "GeneratorId": "another"}]}))
    status, rows, _ = replayed(capsys, str(tmp_path / "findings.json"), "--config", "local")
    assert status == 0
    assert [row["event"] for row in rows] == [finding["Id"]]
    assert ": locks serial DNQXK3P9N736 (compromised) until 2026-11-29" in rows[0]["would"]


def test_a_rejection_is_a_row_and_the_status_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = sample("device-lost")
    (entry,) = event if isinstance(event, list) else [event]
    lost = {"id": "e1", "source": "helpdesk", "detail-type": "Device Lost", "time": "2026-11-22T07:30:00Z"}
    lines = [{**lost, "detail": json.loads(entry["Detail"])}, {**lost, "id": "e2", "detail": {"deviceId": "n/a"}}]
    (tmp_path / "month.jsonl").write_text("\n".join(map(json.dumps, lines)))
    status, rows, err = replayed(capsys, str(tmp_path), "--config", "local")
    assert status == 1
    assert [row["event"] for row in rows] == ["e1", "e2"]
    assert "rejected: " not in rows[0]["would"]
    assert "rejected: no device is named" in rows[1]["would"]
    assert rows[1]["would"].endswith(" (deviceId was left out, since n/a says that there is none)")
    assert err.endswith("would be rejected: 1\n")


def test_against_another_configuration_only_what_differs_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = (loader.DIRECTORY / "local.toml").read_text(encoding="utf-8")
    (tmp_path / "same.toml").write_text(local)
    longer = local.replace('[reasons.compromised]\nlock_for = "7d"', '[reasons.compromised]\nlock_for = "9d"')
    (tmp_path / "longer.toml").write_text(longer)
    files = [str(SAMPLES / f"{name}.json") for name in ("okta-suspicious-activity", "jamf-lost-mode-on")]
    status, rows, _ = replayed(capsys, *files, "--config", "local", "--against", str(tmp_path / "same.toml"))
    assert (status, rows) == (0, [])
    status, rows, _ = replayed(capsys, *files, "--config", "local", "--against", str(tmp_path / "longer.toml"))
    assert status == 0
    (row,) = rows
    assert "until 2026-11-29" in row["would"]
    assert "until 2026-12-01" in row["other"]


def test_one_process_answers_about_the_patterns_of_all_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (event_pattern.MINISTACK / "installed").exists():
        pytest.skip("`make install` installs what matches patterns")
    asked: list[int] = []
    real = event_pattern.subprocess.run

    def counted(*words: Any, **more: Any) -> Any:
        asked.append(1)
        return real(*words, **more)

    monkeypatch.setattr(event_pattern.subprocess, "run", counted)
    lines = [CALL | {"eventID": str(number)} for number in range(20)]
    (tmp_path / "calls.json").write_text(json.dumps({"Records": lines}))
    for words in (["replay", "--config", "local"], ["try"]):
        monkeypatch.setattr(event_pattern, "_answers", {})
        asked.clear()
        main(["mapping", *words, str(tmp_path / "calls.json")])
        assert len(asked) == 2, "one checks the configuration's own, and one is for all events"
