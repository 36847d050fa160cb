import csv
import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError

from config_reader import loader
from device_lockout.values import instant
from local.in_memory import at
from lockout.__main__ import main
from lockout.commands import inventory
from lockout.deployment import UNDER_WAY, Deployment
from tests.lockout.conftest import Clients

HEADER = "userId,deviceId,serialNumber,assetTag\n"
GOOD = HEADER + "ana@example.com,ApplDNQX1,S1,A1\nbob,ApplDNQX2,,\n"


class Bus:
    """Takes all events but those of the devices in ``refused``. Of those that it took, some wait in a queue."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.calls: list[list[dict[str, Any]]] = []
        self.done: float = 0

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - the SDK's name
        self.calls.append(Entries)
        refused = [json.loads(entry["Detail"])["deviceId"] in self.refused for entry in Entries]
        return {
            "FailedEntryCount": sum(refused),
            "Entries": [{"ErrorCode": "ThrottlingException"} if no else {"EventId": "e"} for no in refused],
        }

    def get_queue_attributes(self, QueueUrl: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        count = len(self.details) - self.done if QueueUrl == "reports" else 0
        return {"Attributes": {"ApproximateNumberOfMessages": str(count)}}

    @property
    def details(self) -> list[dict[str, str]]:
        return [json.loads(entry["Detail"]) for call in self.calls for entry in call]


SETTINGS = loader.load("local").settings
OUTPUTS = {"EventBusName": "device-security", "ReportsQueueUrl": "reports", "CommandsQueueUrl": "commands"}


def run(text: str, bus: Bus, directory: Path, *words: str) -> int:
    file = directory / "devices.csv"
    file.write_text(text, encoding="utf-8")
    there = Deployment("s", "CREATE_COMPLETE", OUTPUTS, SETTINGS, lambda _: bus)
    return main(["inventory", "import", str(file), *words], there)


def test_each_line_becomes_one_event_of_the_contract(tmp_path: Path) -> None:
    bus = Bus()
    assert run(GOOD, bus, tmp_path) == 0
    ((first, second),) = bus.calls
    assert first | {"Detail": ""} == {
        "EventBusName": "device-security",
        "Source": "inventory",
        "DetailType": "Device Enrolled",
        "Detail": "",
    }
    detail = json.loads(first["Detail"])
    assert abs(instant.read(detail.pop("reportedAt")) - datetime.now(UTC)) < timedelta(minutes=1)
    assert detail == {
        "userId": "ana@example.com",
        "deviceId": "ApplDNQX1",
        "serialNumber": "S1",
        "assetTag": "A1",
    }
    assert json.loads(second["Detail"]).keys() == {"userId", "deviceId", "reportedAt"}


def lines_of(content: bytes, directory: Path, **more: Any) -> list[dict[str, str]]:
    file = directory / "devices.csv"
    file.write_bytes(content)
    lines = inventory.read(file, "inventory", SETTINGS, at(0), **more)
    assert not [line.faults for line in lines if line.faults]
    return [{name: value for name, value in line.detail.items() if name != "reportedAt"} for line in lines]


@pytest.mark.parametrize(
    "content",
    [
        b"userId,deviceId,serialNumber,,\nana,A1,S1,,\n,,,,\n",
        b"USERID, DeviceID ,serialnumber\r\nana,A1,S1\r\n",
        b"userId;deviceId;serialNumber\nana;A1;S1\n",
        b"userId\tdeviceId\tserialNumber\nana\tA1\tS1\n",
        b"\xef\xbb\xbfuserId,deviceId,serialNumber\nana,A1,S1\n",
        "userId,deviceId,serialNumber\nana,A1,S1\n".encode("utf-16"),
        b'"userId","deviceId","serialNumber"\n"ana","A1","S1"\n\n',
        b'userId, "deviceId", "serialNumber"\nana, "A1", "S1"\n',
        b",,\n , \nuserId,deviceId,serialNumber\nana,A1,S1\n",
        b"\r\n\r\nuserId;deviceId;serialNumber\r\nana;A1;S1\r\n",
        b"sep=;\r\nuserId;deviceId;serialNumber\r\nana;A1;S1\r\n",
        b'"SEP=;"\r\nuserId;deviceId;serialNumber\r\nana;A1;S1\r\n',
        b"userId,deviceId,serialNumber\rana,A1,S1\r",
        "userId,deviceId,serialNumber\nana,A1,S1\n".encode("utf-16-le"),
        b"userId,deviceId,serialNumber,assetTag\nana,A1,S1\n",
        b"userId,deviceId,serialNumber\nana,A1,S1,, \n",
        b"userId,deviceId,serialNumber\nana,A1,S1\nuserId,deviceId,serialNumber \n",
        b'userId;deviceId;serialNumber;"a, b, c, d"\nana;A1;S1;\n',
    ],
)
def test_a_file_is_read_in_each_form_that_products_export(content: bytes, tmp_path: Path) -> None:
    assert lines_of(content, tmp_path, ignore_other_columns=True) == [
        {"userId": "ana", "deviceId": "A1", "serialNumber": "S1"}
    ]


def test_other_columns_are_named_and_the_rest_is_left_out(tmp_path: Path) -> None:
    content = b"Email Address,Exchange Device ID,Model\nana@example.com,A1,iPhone\n"
    columns = {"userId": "email address", "deviceId": "Exchange Device ID"}
    read = lines_of(content, tmp_path, columns=columns, ignore_other_columns=True)
    assert read == [{"userId": "ana@example.com", "deviceId": "A1"}]
    with pytest.raises(ValueError, match="columns Email Address, Exchange Device ID, Model: expected userId and dev"):
        lines_of(content, tmp_path, columns=columns)
    with pytest.raises(ValueError, match=r"columns userId: expected email address and Exchange Device ID"):
        lines_of(b"userId\nana\n", tmp_path, columns=columns, ignore_other_columns=True)


def test_a_column_is_left_out_by_name_and_a_new_one_is_still_told(tmp_path: Path) -> None:
    content = b"userId,deviceId,Model,note\nbob,A1,iPhone,red\n"
    assert lines_of(content, tmp_path, ignored=["model ", "Note"]) == [{"userId": "bob", "deviceId": "A1"}]
    with pytest.raises(ValueError, match="columns userId, deviceId, Model: expected"):
        lines_of(content, tmp_path, ignored=["note"])


def test_the_command_names_other_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "devices.csv"
    file.write_text("Mail,EAS,Model\nana@example.com,A1,iPhone\n")
    columns, named = ["--column", "userId=Mail", "--column", "deviceId=EAS"], ["--ignore-column", "Model"]
    columns.append("--ignore-other-columns")
    assert main(["inventory", "import", str(file), "--config", "local", "--check", *columns]) == 0
    assert main(["inventory", "import", str(file), "--config", "local", "--check", *columns[:4], *named]) == 0
    assert capsys.readouterr().out.count("1 lines are good") == 2
    assert main(["inventory", "import", str(file), "--config", "local", "--check", "--column", "phone=EAS"]) == 2
    assert "'phone=EAS': expected one of userId, deviceId" in capsys.readouterr().err


def test_a_word_for_nothing_keeps_no_device_from_being_enrolled(tmp_path: Path) -> None:
    """Intune knows no serial number of a private phone, and a script has its own word for an empty cell."""
    content = b"userId,deviceId,serialNumber,assetTag\nana,A1,Unknown,N/A\nana,A2,nan,0\n"
    assert len(lines_of(content, tmp_path)) == 2
    with pytest.raises(AssertionError, match=r"detail\.deviceId is missing.*since unknown says that there is none"):
        lines_of(b"userId,deviceId\nana,unknown\n", tmp_path)


@pytest.mark.parametrize("nothing", ["", "N/A", "0", "0" * 32, "00000000-0000-0000-0000-000000000000"])
def test_a_device_id_that_says_there_is_none_is_none_in_an_export(nothing: str, tmp_path: Path) -> None:
    (file := tmp_path / "devices.csv").write_text(f"Email Address,Exchange Device ID\nana,{nothing}\nbob,A1\n")
    left_out, good = inventory.read(file, "inventory", SETTINGS, at(0), preset="jamf")
    assert (left_out.detail, left_out.faults, good.faults) == ({}, [], [])


def test_several_devices_may_share_a_serial_number(tmp_path: Path) -> None:
    """Two mail clients on one phone."""
    content = b"userId,deviceId,serialNumber\nana,A1,S1\nana,A2,S1\nbob,A3,S1\n"
    assert len(lines_of(content, tmp_path)) == 3


def test_lines_go_in_batches_of_ten(tmp_path: Path) -> None:
    bus = Bus()
    text = HEADER + "".join(f"bob,DEVICE{number},,\n" for number in range(25))
    assert run(text, bus, tmp_path) == 0
    assert [len(call) for call in bus.calls] == [10, 10, 5]


@pytest.mark.parametrize("tag", ["MAR-0012", "DEC-0042", "dec2", "0012"])
def test_a_tag_that_begins_as_a_month_does_is_no_date(tag: str, tmp_path: Path) -> None:
    (line,) = lines_of(f"userId,deviceId,assetTag\nana,A1,{tag}\n".encode(), tmp_path)
    assert line["assetTag"] == tag


EXCELS = ("1.2E-05", "3.55556E14", "1E+20", "02.Jan", "2-Jan", "Jan-02", "TRUE", "#N/A", "=“S1”", '"=""0012"""')
EXCELS += ("Mar-2012", "123456789012345000", "12345.0", "1/2/2026", "02.01.2026", "01-Dec-26", "1. Mrz")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bob,bad-id,,", 'detail.deviceId is "bad-id": expected the ActiveSync device ID'),
        (",ApplX,,", "detail.userId is missing: expected an e-mail address"),
        ("bob", "detail.deviceId is missing: expected the ActiveSync device ID"),
        ("bob,ApplX,,,left in a taxi", "5 values: expected 4"),
        ("bob,ApplX,S 1,", 'detail.serialNumber is "S 1": expected the manufacturer'),
        ("ANA@example.com,appldnqx1,,", "device appldnqx1 of ANA@example.com is in line 2 already"),
        (
            "carla,3.55556E+14,,",
            "deviceId is '3.55556E+14', which a spreadsheet or a script made of it: expected the text as it was",
        ),
        *((f"carla,ApplX,{made},", f"serialNumber is {next(csv.reader([made]))[0]!r}, which a sp") for made in EXCELS),
        ("carla,ApplX,'0012,", 'serialNumber is "\'0012", which a spreadsheet'),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_sent(
    line: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bus = Bus()
    assert run(f"{GOOD}{line}\n", bus, tmp_path) == 1
    assert f"devices.csv:4: {expected}" in capsys.readouterr().err
    assert bus.calls == []


def test_all_wrong_lines_are_named_and_the_rest_is_sent_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bus = Bus()
    assert run(GOOD + "bob,-,,\nbob\ncarla,ApplY,,\n", bus, tmp_path, "--valid-lines") == 1
    said = capsys.readouterr()
    assert [line.split(":")[1] for line in said.err.splitlines()] == ["4", "5"]
    assert [detail["deviceId"] for detail in bus.details] == ["ApplDNQX1", "ApplDNQX2", "ApplY"]
    assert "3 of 5 lines were sent" in said.out


def test_a_device_of_two_users_is_no_contradiction(tmp_path: Path) -> None:
    assert run(GOOD + "carla,ApplDNQX1,S1,A1\n", Bus(), tmp_path) == 0


def test_a_line_that_the_bus_does_not_take_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(GOOD, Bus("ApplDNQX2"), tmp_path) == 1
    assert "devices.csv:3: the bus did not take it: ThrottlingException" in capsys.readouterr().err


@pytest.mark.parametrize("header", ["", "userId,device", "userId,deviceId,serial"])
def test_a_file_without_the_right_columns_is_refused(
    header: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "devices.csv"
    file.write_text(f"{header}\n")
    assert main(["inventory", "import", str(file), "--config", "local", "--check"]) == 1
    assert "devices.csv:1: columns" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"userId,deviceId,SERIALNUMBER,serialNumber\n", ":1: 2 columns serialNumber: expected one"),
        (b'userId,deviceId,note\nana,A1,x\nbob,A2,"left in a taxi\ncarla,A3,\n', ":3: no CSV: unexpected end of data"),
        (b'userId,deviceId,note\nana,A1,"x\ny"\nbob,A2,"x"y\n', ":4: no CSV: ',' expected after"),
        (b'userId,deviceId,note\nana,A1,"' + b"x,y\n" * 50_000, ":2: no CSV: field larger than field limit"),
        ("userId,deviceId,note\nana,A1,\nbob,A2,Gerät\n".encode("cp1252"), ":3: expected text in UTF-8 or UTF-16"),
    ],
)
def test_what_keeps_a_file_from_being_read_is_named_with_its_line(
    content: bytes, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(f"devices.csv{expected}")):
        lines_of(content, tmp_path)


def test_a_last_line_that_lacks_columns_and_its_end_may_be_cut_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(GOOD + "carla,ApplDNQ", Bus(), tmp_path) == 1
    assert "devices.csv:4: 2 values of 4, and no end of the line: the file may be cut off" in capsys.readouterr().err
    assert run(GOOD + "carla,ApplDNQX3,,", Bus(), tmp_path) == 0


def test_a_source_without_the_right_to_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "devices.csv"
    file.write_text(GOOD)
    assert main(["inventory", "import", str(file), "--config", "local", "--check", "--source", "siem"]) == 1
    assert "siem may not enrol devices" in capsys.readouterr().err


def test_checking_sends_nothing_and_needs_no_aws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "devices.csv"
    file.write_text("\N{BOM}" + GOOD, encoding="utf-8")
    assert main(["inventory", "import", str(file), "--config", "local", "--check"]) == 0
    assert capsys.readouterr().out == "2 lines are good, 0 are not; nothing was sent\n"


class Cut(Bus):
    """A bus whose connection fails at one call, counted from 0."""

    def __init__(self, call: int, error: Exception) -> None:
        super().__init__()
        self.call, self.error = call, error

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - the SDK's name
        if len(self.calls) == self.call:
            raise self.error
        return super().put_events(Entries)


def error_answer(status: int) -> ClientError:
    said: Any = {"Error": {"Code": "No", "Message": "because"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, "PutEvents")


@pytest.mark.parametrize(
    ("call", "error", "expected"),
    [
        (1, error_answer(500), ["lines 12 to 21 may have been sent or not: ", "those before them were", "were not."]),
        (2, ReadTimeoutError(endpoint_url="u"), ["lines 22 to 26 may have been sent or not: Read timeout"]),
        (0, NoCredentialsError(), ["lines 2 to 11 may have been sent or not: Unable to locate credentials; "]),
    ],
)
def test_a_call_that_fails_half_way_says_what_was_sent(
    call: int,
    error: Exception,
    expected: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bus = Cut(call, error)
    text = HEADER + "".join(f"bob,DEVICE{number},,\n" for number in range(25))
    allowed = not isinstance(error, NoCredentialsError)
    assert run(text, bus, tmp_path) == (1 if allowed else 4)
    said = capsys.readouterr()
    line, *more = said.err.splitlines()
    assert [part for part in expected if part not in line] == []
    assert (said.out == f"{call * 10} of 25 lines were sent; their outcomes are on the bus\n", bool(more)) == (
        allowed,
        not allowed,
    )
    assert len(bus.calls) == call


def test_what_is_sent_goes_by_what_the_stack_publishes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inventory", "import", str(tmp_path / "devices.csv"), "--config", "local"]) == 2
    assert "--config is for --check" in capsys.readouterr().err


def test_lines_are_sent_to_the_deployments_bus(
    there: Deployment, clients: Clients, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "devices.csv"
    file.write_text("userId,deviceId\nbob,A1\n")
    assert main(["inventory", "import", str(file), "--source", "mdm"], there) == 0
    assert [entry["DetailType"] for entry in clients.sent] == ["Device Enrolled"]
    assert "1 of 1 lines were sent" in capsys.readouterr().out


EXPORTS = Path(__file__).parent / "exports"
ANAS_IPHONE = {"userId": "ana@example.com", "deviceId": "TUCLLFJHPL779ACL9DCJQFN39F"}


@pytest.mark.parametrize(
    ("preset", "first", "left_out"),
    [
        ("exchange", {}, 0),
        ("intune", {"serialNumber": "F2LXK0AAAA01"}, 1),
        ("jamf", {"serialNumber": "F2LXK0AAAA01", "assetTag": "PHONE-0007"}, 1),
        ("workspace-one", {}, 1),
    ],
)
def test_a_preset_reads_a_products_export_as_it_is(
    preset: str, first: dict[str, str], left_out: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = EXPORTS / f"{preset}.csv"
    lines = inventory.read(file, "inventory", SETTINGS, at(0), preset=preset)
    assert {name: value for name, value in lines[0].detail.items() if name != "reportedAt"} == ANAS_IPHONE | first
    assert main(["inventory", "import", str(file), "--config", "local", "--check", "--preset", preset]) == 0
    said = capsys.readouterr()
    assert f"{2 - left_out} lines are good, 0 are not" in said.out
    assert said.err == left_out * f"{file}: 1 lines were left out, since they have no device ID\n"


def test_the_preset_of_intune_reads_graphs_own_names(tmp_path: Path) -> None:
    content = b"EasDeviceId,EmailAddress,SerialNumber,UserId,UserPrincipalName\nA1,a@x.org,S1,8,\n"
    read = lines_of(content, tmp_path, preset="intune")
    assert read == [{"userId": "a@x.org", "deviceId": "A1", "serialNumber": "S1"}]


def test_every_preset_has_an_export_and_the_columns_that_an_enrolment_needs() -> None:
    assert {file.stem for file in EXPORTS.iterdir()} == inventory.PRESETS.keys()
    for columns in inventory.PRESETS.values():
        assert {*inventory.REQUIRED} <= columns.keys() <= {*inventory.COLUMNS}


def test_an_export_without_a_needed_column_is_refused(tmp_path: Path) -> None:
    """What `Get-MobileDevice` exports by itself has the user's directory path, and no address."""
    plain = b'"FriendlyName","DeviceId","UserDisplayName"\n"","A1","example.onmicrosoft.com/ana"\n'
    expected = "no column PrimarySmtpAddress or UserPrincipalName: --preset exchange takes userId from it"
    with pytest.raises(ValueError, match=expected):
        lines_of(plain, tmp_path, preset="exchange")
    with pytest.raises(ValueError, match="no column Exchange Device ID: --preset jamf takes deviceId from it"):
        lines_of(b"Email Address,Serial Number\na@example.com,S1\n", tmp_path, preset="jamf")
    named = lines_of(
        b"Mail,Exchange Device ID\na@example.com,A1\n", tmp_path, preset="jamf", columns={"userId": "Mail"}
    )
    assert named == [{"userId": "a@example.com", "deviceId": "A1"}]


def test_an_export_in_which_no_line_has_a_device_id_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Email Address,Exchange Device ID\na@example.com,\n"
    bus = Bus()
    assert run(text, bus, tmp_path, "--preset", "jamf", "--check") == 1
    assert "1 lines were left out" in capsys.readouterr().err
    assert run(text, bus, tmp_path, "--preset", "jamf") == 1
    assert bus.calls == []


def test_a_line_whose_values_have_moved_is_not_left_out_as_one_without_a_device_id(tmp_path: Path) -> None:
    (file := tmp_path / "devices.csv").write_text(
        "Full Name,Exchange Device ID,Email Address\nAna, Example,,A1,ana@example.com\n"
    )
    (line,) = inventory.read(file, "inventory", SETTINGS, at(0), preset="jamf")
    assert line.faults == ["5 values: expected 3, one for each column"]


def test_lines_between_two_stray_quotation_marks_do_not_vanish(tmp_path: Path) -> None:
    head, note = "userId,deviceId,note\nana,A1,", 'carla,A2,"red case,\nsilver, old, scratched\n"\n'
    (file := tmp_path / "devices.csv").write_text(f'{head}"iPad 12\nbob,A3,\ndave,A4,iPad 12"\n{note}')
    first, second = inventory.read(file, "inventory", SETTINGS, at(0))
    assert first.faults == ["a quoted value goes over lines that look like rows: expected its end in its line"]
    assert (first.number, second.faults) == (4, [])


def numbered(count: int) -> str:
    return HEADER + "".join(f"bob,DEVICE{number},,\n" for number in range(count))


def test_no_more_than_a_portion_waits_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queues count a message a moment after it was sent, so the import waits before it asks."""
    bus, portion, most = Bus(), SETTINGS.sweep.portion, [0.0]

    def sleep(_: float) -> None:
        most[0] = max(most[0], len(bus.details) - bus.done)
        bus.done = min(len(bus.details), bus.done + 35)  # what the writers carry out meanwhile

    monkeypatch.setattr(time, "sleep", sleep)
    assert run(numbered(4 * portion + 3), bus, tmp_path) == 0
    assert len(bus.details) == 4 * portion + 3
    assert portion - 9 <= most[0] <= portion
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"{portion} of {4 * portion + 3} lines were sent, {portion - 35} messages are under way"


def test_a_small_import_asks_no_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(bus := Bus(), "get_queue_attributes", never)
    assert run(numbered(SETTINGS.sweep.portion), bus, tmp_path) == 0


def test_a_count_that_fails_stops_the_import_and_says_which_lines_were_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "Count")  # type: ignore[typeddict-item]

    bus, portion = Bus(), SETTINGS.sweep.portion
    monkeypatch.setattr(bus, "get_queue_attributes", denied)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert run(numbered(portion + 5), bus, tmp_path) == 4, "it is not allowed"
    assert len(bus.details) == portion
    assert f"lines {portion + 2} to {portion + 6} may have been sent or not" in capsys.readouterr().err


def test_both_queues_of_the_stack_are_counted() -> None:
    class Sqs:
        def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:  # noqa: N803
            visible, received = {"reports": ("3", "0"), "commands": ("40", "9")}[QueueUrl]
            return {"Attributes": dict(zip(AttributeNames, (visible, received), strict=True))}

    outputs = {"ReportsQueueUrl": "reports", "CommandsQueueUrl": "commands", "DeadReportsQueueUrl": "dead"}
    there = Deployment("s", "CREATE_COMPLETE", outputs, SETTINGS, lambda _: Sqs())
    assert there.waiting(*UNDER_WAY) == 52
