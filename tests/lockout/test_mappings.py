import json
from pathlib import Path

import pytest

from configuration import loader
from configuration.loader import Configuration
from local.in_memory import ORGANIZATION, at
from lockout.__main__ import main
from lockout.mappings import describe, read

SAMPLES = Path(__file__).parent.parent.parent / "samples"


@pytest.fixture(scope="module")
def deployment() -> Configuration:
    return loader.load("local")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("security-hub-lock-button", "locks device ApplDNQXK3P9N735 of ana@example.com (compromised) until 2026-11-29"),
        ("security-hub-own-finding", "locks serial DNQXK3P9N736 (compromised) until 2026-11-29"),
        ("okta-suspicious-activity", "locks all devices of bob@example.com (compromised) until 2026-11-29"),
        ("okta-user-deactivated", "locks all devices of carla@example.com (offboarded) until 2027-02-20"),
        ("okta-user-unsuspended", "ends the user's locks of all devices of carla@example.com"),
        ("auth0-leaked-password", "locks all devices of dave@example.com (compromised)"),
        ("identity-center-user-deleted", "locks all devices of 906767c2a1-0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0 (off"),
        ("directory-user-disabled", "locks all devices of eve (offboarded)"),
        ("workspace-one-compromised", "locks serial DNQXK3P9N737 (compromised)"),
        ("jamf-lost-mode-on", "locks asset jamf-456 (lost)"),
        ("jamf-lost-mode-off", "ends the device's locks of asset jamf-456"),
    ],
)
def test_a_sample_is_read_by_its_own_source_and_no_other(name: str, expected: str, deployment: Configuration) -> None:
    event = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    said = {source: text for source, text, command in read(event, deployment, at(0)) if command is not None}
    ((source, text),) = said.items()
    assert source.startswith(f"{name} (bus ")
    assert text.startswith(expected), text
    assert ORGANIZATION in text


def test_a_jamf_event_of_several_devices_makes_a_report_of_each(deployment: Configuration) -> None:
    event = json.loads((SAMPLES / "jamf-lost-mode-on.json").read_text(encoding="utf-8"))
    event["detail"]["event"]["groupAddedDevicesIds"] = [456, 457]
    said = [text for _, text, command in read(event, deployment, at(0)) if command is not None]
    assert [text.split(" (")[0] for text in said] == ["locks asset jamf-456", "locks asset jamf-457"]


def test_an_event_of_the_contract_is_tried_as_such(deployment: Configuration) -> None:
    event = {
        "id": "e",
        "source": "helpdesk",
        "detail-type": "Device Lost",
        "detail": {"userId": "bob", "deviceId": "X"},
    }
    (command,) = (command for _, _, command in read(event, deployment, at(0)) if command is not None)
    assert describe(command).startswith("locks device X of bob (lost) until 2026-12-22T07:30:00Z")


def test_the_command_says_so_of_each_source_and_whether_any_accepts(
    deployment: Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["try-mapping", str(SAMPLES / "jamf-lost-mode-on.json")]) == 0
    said = capsys.readouterr().out.splitlines()
    mapped = [source for source in deployment.settings.sources if source.mapping is not None]
    assert len(said) == len(mapped) >= 11
    assert sum("does not get it" in line for line in said) == len(said) - 1
    nobody = tmp_path / "event.json"
    nobody.write_text('{"source": "aws.s3", "detail-type": "Object Created"}')
    assert main(["try-mapping", str(nobody)]) == 1
    assert capsys.readouterr().out.endswith("nobody: gets this: nothing is recorded and nobody is told\n")
    nobody.write_text('{"source": "unknown", "detail-type": "Object Created"}')
    assert main(["try-mapping", str(nobody)]) == 1
    assert "the contract (bus device-security): rejected: " in capsys.readouterr().out


def test_several_events_end_in_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [(SAMPLES / f"jamf-lost-mode-{which}.json").read_text(encoding="utf-8") for which in ("on", "off")]
    (tmp_path / "two.jsonl").write_text("\n".join(json.dumps(json.loads(line)) for line in lines))
    (tmp_path / "nobody.json").write_text('{"source": "aws.s3", "detail-type": "Object Created"}')
    assert main(["try-mapping", str(tmp_path)]) == 1
    *_, nobody, first, second = capsys.readouterr().out.splitlines()
    assert nobody.split("  ")[-1] == "nobody gets it, or it is not meant"
    assert [line.split()[-2:] for line in (first, second)] == [["accepted:", "1"]] * 2
    assert "two.jsonl:1 " in first
    assert main(["try-mapping", str(tmp_path / "two.jsonl"), str(SAMPLES / "drill.json")]) == 0


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"Records": [{"eventName": "DeleteUser"}]}', "CloudTrail's log file"),
        ('{"Type": "Notification", "Message": "{}"}', "SNS's envelope. The event is the text in Message"),
        (
            '{"webhook": {}, "event": {}}',
            '{"id": "1", "source": "webhook.NAME", "detail-type": "Webhook", "detail": PAYLOAD}',
        ),
    ],
)
def test_what_is_no_event_yet_gets_the_line_that_wraps_it(
    content: str, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bare.json").write_text(content)
    assert main(["try-mapping", str(tmp_path / "bare.json")]) == 1
    assert found in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[]", "and found list"),
        (b"null", "and found NoneType"),
        ('{"note": "Gerät"}'.encode("latin-1"), "can't decode byte"),
        ('{"id": "e"}'.encode("utf-16"), "can't decode byte"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_event_is_refused_by_name(
    content: bytes, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(content)
    assert main(["try-mapping", str(file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{file}: expected an event as EventBridge delivers it, a JSON object in UTF-8")
    assert found in said


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try-mapping", str(tmp_path / "missing.json")]) == 1
    assert "missing.json" in capsys.readouterr().err


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(b"\xef\xbb\xbf" + (SAMPLES / "jamf-lost-mode-on.json").read_bytes())
    assert main(["try-mapping", str(file)]) == 0
