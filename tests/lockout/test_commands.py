"""Each command over ports in memory: what it answers, what it sends, and its exit status."""

import csv
import io
import json
import os
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError
from click.testing import CliRunner

from config_reader import loader
from device_lockout.inbound.report import read
from device_lockout.protocol import ports
from device_lockout.values.device import User
from device_lockout.values.errors import UnknownUserError
from device_lockout.values.outcome import DRILL
from device_lockout.values.override import ListedOverride, Override
from device_lockout.values.settings import Organization, Source
from local.in_memory import BOB, ORGANIZATION, World, key
from lockout import __main__ as cli
from lockout import deployment, lookup, rehearsal, sending
from lockout.deployment import Deployment, find
from lockout.errors import CommandError
from tests.lockout.conftest import Clients, Run

ROOT = Path(__file__).parents[2]
LOCK = ("lock", "bob", "ABC123", "--ref", "INC-1", "--note", "left in a taxi", "--yes", "--unverified")


# Ask


def test_the_status_tells_of_the_last_drill_if_one_is_configured(run: Run, world: World, there: Deployment) -> None:
    assert "drill" not in run("status")[1]
    canary = Source(DRILL, frozenset({"lock", "release"}), releases_own_only=True)
    world.settings = replace(world.settings, sources=(*world.settings.sources, canary))
    vars(there).update(settings=world.settings)
    assert "! Last drill: none in two days  aws scheduler list-schedules" in run("status")[1]
    for hours, said in (
        (47, "\nLast drill: none yet, the deployment is 47 h old\n"),
        (49, "! Last drill: none in two"),
    ):
        vars(there).update(created=datetime.now(UTC) - timedelta(hours=hours))
        assert said in run("status")[1]

    def drilled(kind: str, minutes: int) -> str:
        then = datetime.now(UTC) - timedelta(minutes=minutes)
        report = {"userId": "bob", "deviceId": "DRILL0001", "reference": "DRILL", "reportedAt": then.isoformat()}
        event = {"id": f"drill-{minutes}", "source": DRILL, "detail-type": kind, "detail": report}
        for command in read(json.dumps(event), "m", then, world.settings):
            world.deliver(command, then + timedelta(seconds=2.5))
        return run("status")[1].partition("ast drill")[2].partition("\n")[0]

    assert drilled("Device Lost", 72) == ": locked in 2.5 s, 72 min ago"
    assert drilled("Device Recovered", 67) == ": locked in 2.5 s, 72 min ago"
    assert " failed: " in (unlocked := drilled("Device Recovered", 57))
    assert "nothing to release" in unlocked, "its lock never came"
    world.settings = replace(world.settings, exempt_users=frozenset({"bob"}))
    assert "exempt" in drilled("Device Lost", 52)
    assert "exempt" in drilled("Device Recovered", 47), "that there is nothing to release follows from it"


# Act


def test_a_lock_goes_by_the_bus_and_waits_for_its_outcome(run: Run, world: World, clients: Clients) -> None:
    status, out, err = run(*LOCK)
    assert status == 0
    assert out.startswith("Device ABC123 of bob is locked (lost) until ")
    assert "s after the report" in err
    (entry,) = clients.sent
    assert (entry["EventBusName"], entry["Source"], entry["DetailType"]) == (
        "device-security",
        "helpdesk",
        "Device Lost",
    )
    detail = json.loads(entry["Detail"])
    assert detail["reporter"] == "arn:aws:iam::000000000000:user/ops"
    assert (detail["reference"], detail["note"], detail["organizationId"]) == ("INC-1", "left in a taxi", ORGANIZATION)
    override = world.workmail.overrides[key("ABC123")]
    assert override.effect == "DENY"
    assert str(override.description).endswith("] INC-1 left in a taxi")


def test_a_rehearsal_says_what_would_be_and_changes_nothing(run: Run, world: World, clients: Clients) -> None:
    before = repr((world.ledger, world.workmail))
    status, out, _ = run(*LOCK, "--dry-run")
    assert (status, clients.sent) == (0, [])
    assert out.startswith("would be locked: Device ABC123 of bob is locked (lost)")
    world.wire.calls.clear()
    assert before.replace("calls", "") != ""
    assert not world.ledger.devices
    assert not world.ledger.names
    assert not world.workmail.overrides
    assert not world.ledger.outcomes


def test_a_rehearsal_of_a_users_lock_goes_on_to_the_devices(run: Run, world: World) -> None:
    for device in ("phone", "tablet"):
        world.ledger.open_device(key(device))
    status, out, _ = run("lock", "bob", "--all-devices", "--why", "compromised", "--dry-run")
    assert status == 0
    assert [line.partition(": ")[0] for line in out.splitlines()] == ["would be locked"] * 3
    assert not world.ledger.user_items
    assert run("lock", "bob", "--all-devices", "--why", "compromised", "--yes", "--unverified")[0] == 0
    assert {override.effect for override in world.workmail.overrides.values()} == {"DENY"}


def test_a_device_that_nothing_knows_is_asked_about_first(run: Run, clients: Clients, world: World) -> None:
    world.ledger.saw(key("tablet1"))
    status, _, err = run("lock", "bob", "ABC124", "--yes")
    assert status == 2
    assert "Nothing knows a device ABC124 of this user (known are: tablet1)." in err
    assert "try: the option --unverified" in err
    assert clients.sent == []
    assert run("lock", "bob", "TABLET1", "--yes")[0] == 0
    assert run("lock", "serial:S1", "--yes")[0] == 2, "no device has had this number"


def test_without_a_terminal_and_without_yes_nothing_is_sent(run: Run, clients: Clients) -> None:
    assert run("lock", "bob", "ABC123", "--unverified")[0] == 2
    assert clients.sent == []


@pytest.mark.usefixtures("answers_yes")
def test_at_a_terminal_a_change_is_asked_about(run: Run, clients: Clients) -> None:
    assert run("lock", "bob", "ABC123")[0] == 0
    assert len(clients.sent) == 1


def test_a_no_is_not_done_and_no_interruption(run: Run, clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    status, out, err = run("lock", "bob", "ABC123", "--unverified")
    assert (status, out, clients.sent) == (1, "", [])
    assert err.endswith("lockout: nothing was done\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("lock", "nobody", "ABC", "--yes"), "knows no user nobody"),
        (("lock", "bob", "a-b", "--yes"), 'detail.deviceId is "a-b"'),
        (("lock", "bob", "ABC", "--until", "2030-01-01", "--yes"), "expected at the latest"),
        (("lock", "asset:S1", "--yes"), "no device with asset S1 is in the inventory"),
    ],
)
def test_what_would_be_rejected_is_not_sent(run: Run, clients: Clients, words: tuple[str, ...], said: str) -> None:
    status, out, err = run(*words)
    assert (status, out, clients.sent) == (1, "", [])
    assert said in err


@pytest.mark.parametrize(
    "words",
    [
        ("lock", "bob"),
        ("lock", "bob", "ABC", "--all-devices"),
        ("lock", "bob", "ABC", "--why", "bored", "--yes"),
        ("lock", "bob", "ABC", "--until", "someday"),
        ("lock", "bob", "ABC", "--source", "siemens", "--yes"),
        ("lock", "bob", "ABC", "--organization", "other", "--yes"),
        ("release", "bob", "ABC", "--source", "siem", "--yes"),
        ("unlock", "bob"),
        ("status", "--colour"),
        ("history", ""),
        ("show", " "),
        ("forget", "", "--yes"),
        ("lock", "bob", "", "--yes"),
        ("lock", "serial:S1", "ABC", "--yes", "--unverified"),
    ],
)
def test_a_wrong_call_is_told_in_two_lines(run: Run, words: tuple[str, ...]) -> None:
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) <= 2
    assert err.startswith("lockout: ")


def test_a_release_lets_in_and_says_what_still_denies(run: Run, world: World) -> None:
    run(*LOCK)
    status, out, _ = run("release", "bob", "ABC123", "--yes")
    assert (status, world.workmail.overrides) == (0, {})
    assert "is released" in out
    world.workmail.overrides[key("ABC123")] = Override("DENY", "legal hold")
    assert run("release", "bob", "ABC123", "--yes")[0] == 1
    run("lock", "bob", "--all-devices", "--why", "offboarded", "--yes", "--unverified")
    assert run("release", "bob", "ABC123", "--yes")[0] == 1
    assert run("release", "bob", "--user-locks", "--yes")[0] in (0, 1)


def test_a_later_end_keeps_reason_ticket_and_note(run: Run, world: World) -> None:
    run(*LOCK)
    status, _, _ = run("extend", "bob", "ABC123", "--until", "60d", "--yes")
    assert status == 0
    override = world.workmail.overrides[key("ABC123")]
    assert str(override.description).endswith("] INC-1 left in a taxi")
    wanted = world.ledger.device(key("ABC123")).wanted(datetime.now(UTC))
    assert wanted is not None
    assert timedelta(days=59) < wanted.until - datetime.now(UTC) < timedelta(days=61)
    assert run("extend", "bob", "OTHER", "--until", "1d", "--yes")[0] == 1


def test_a_sooner_end_keeps_them_too_and_pages(run: Run, world: World, clients: Clients) -> None:
    run(*LOCK)
    status, out, err = run("extend", "bob", "ABC123", "--until", "2d", "--note", "back on friday", "--yes")
    assert (status, "the lock now ends sooner (lost)" in out, "until now its lock (lost) lasts: " in err) == (
        0,
        True,
        True,
    )
    assert str(world.workmail.overrides[key("ABC123")].description).endswith("] INC-1 back on friday")
    detail = world.bus.announced[-1][1]
    assert (detail["result"], detail["page"], clients.sent[-1]["DetailType"]) == ("shortened", True, "Lock Changed")
    assert run("status", "--ending", "3d")[1].count("abc123") == 1


def test_another_end_of_a_users_lock_is_for_all_of_the_users_devices(run: Run, world: World) -> None:
    for device in ("ABC123", "TABLET"):
        world.ledger.list_device(key(device), datetime.now(UTC), retired=False)
    run("lock", "bob", "--all-devices", "--why", "compromised", "--yes")
    status, out, _ = run("extend", "bob", "ABC123", "--until", "2d", "--yes")
    assert (status, "it goes on to 2 known devices" in out) == (0, True)
    for device in ("ABC123", "TABLET"):
        wanted = world.ledger.device(key(device)).wanted(datetime.now(UTC))
        assert wanted is not None
        assert timedelta(days=1) < wanted.until - datetime.now(UTC) < timedelta(days=3)


def test_who_may_only_release_may_not_make_a_lock_longer(run: Run, world: World, there: Deployment) -> None:
    run(*LOCK)
    limited = (*world.settings.sources, Source("friday", frozenset({"release"})))
    world.settings = replace(world.settings, sources=limited)
    object.__setattr__(there, "settings", world.settings)
    status, out, err = run("extend", "bob", "ABC123", "--until", "60d", "--source", "friday", "--yes")
    assert (status, out, "may let a lock end sooner, but not later" in err) == (1, "", True)
    assert run("extend", "bob", "ABC123", "--until", "2d", "--source", "friday", "--yes")[0] == 0


def test_an_outcome_that_does_not_come_is_not_known_yet(run: Run, clients: Clients) -> None:
    clients.delivers = False
    status, out, err = run(*LOCK, "--timeout", "0.1")
    assert (status, out) == (3, "")
    assert "the report waits.  lockout history " in err
    assert run(*LOCK, "--timeout", "0")[0] == 3


def test_who_reports_is_the_operator_or_the_first_that_may_without_limits(world: World) -> None:
    limited = Source("mdm", frozenset({"release"}), releases_own_only=True)
    settings = replace(world.settings, sources=(limited, Source("desk", frozenset({"lock", "release"}))))
    assert sending.source_for(settings, "release", None).name == "desk"
    assert sending.source_for(world.settings, "release", None).name == "helpdesk", "the first, and not who may more"
    assert sending.source_for(settings, "release", "mdm").name == "mdm"
    operator = Source("operator", frozenset({"lock", "release"}))
    assert sending.source_for(replace(settings, sources=(*settings.sources, operator)), "lock", None).name == "operator"
    with pytest.raises(CommandError, match="those that may lock are: desk"):
        sending.source_for(settings, "lock", "mdm")


# Ask


def test_the_status_lists_locks_and_what_needs_somebody(run: Run, world: World, clients: Clients) -> None:
    run(*LOCK)
    world.workmail.overrides[key("OTHER")] = Override("DENY", "by hand")
    status, out, _ = run("status")
    heading, row, *rest = out.splitlines()
    assert status == 0
    assert heading.split()[:3] == ["USER", "DEVICE", "WHY"]
    assert row.split()[:3] == ["bob@example.com", "abc123", "lost"]
    assert row.endswith("INC-1 left in a taxi")
    assert rest[0] == "1 lock is in force."
    clients.dead = 2
    world.workmail.disabled.add(BOB)
    run("lock", "bob", "PHONE9", "--yes", "--unverified")
    out = run("status")[1]
    assert "! Device PHONE9 of bob could not be changed in WorkMail" in out
    assert "lockout show bob PHONE9" in out
    assert "! Dead letters: 8.  lockout dead show" in out
    world.workmail.disabled.clear()
    run("lock", "bob", "PHONE9", "--yes", "--unverified")
    assert "! Device PHONE9" not in run("status")[1], "it was locked since"


def test_the_status_can_be_narrowed_and_taken_as_data(run: Run) -> None:
    run(*LOCK)
    run("lock", "bob", "PHONE2", "--why", "stolen", "--yes", "--unverified")
    rows = json.loads(run("status", "--json")[1])
    assert [(row["device"], row["until"] == "hold") for row in rows] == [("abc123", False), ("phone2", True)]
    assert [row["device"] for row in csv.DictReader(io.StringIO(run("status", "--csv")[1]))] == ["abc123", "phone2"]
    assert json.loads(run("status", "--query", "[?why=='lost'].device")[1]) == ["abc123"]
    assert len(json.loads(run("status", "--json", "--ending", "60d")[1])) == 1
    assert run("status", "--user", "nobody")[:2] == (1, ""), "a name that is mistyped is not said to have no lock"
    assert len(json.loads(run("status", "--json", "--user", "Bob@example.com")[1])) == 2


def test_what_stands_is_shown_with_what_is_wanted_and_what_happened(run: Run, world: World) -> None:
    world.workmail.overrides[key("ABC123")] = Override("ALLOW", "travel phone")
    run(*LOCK)
    for words in (("bob", "ABC123"), ("bob",), ("INC-1",), ("abc123",)):
        status, out, _ = run("show", *words)
        assert status == 0, words
        assert "device abc123: DENIED" in out
        assert "INC-1, helpdesk, left in a taxi" in out
        assert "underneath    ALLOW, travel phone" in out
        assert "is locked (lost)" in out
        assert "!" not in out
    del world.workmail.overrides[key("ABC123")]
    out = run("show", "bob", "ABC123")[1]
    assert "NOT DENIED" in out
    assert "! WorkMail does not show what is wanted" in out
    (shown,) = json.loads(run("show", "bob", "ABC123", "--json")[1])
    assert (shown["agrees"], shown["wanted"]["why"], shown["override"]) == (False, "lost", None)
    assert run("show", "serial:S1")[0] == 1
    assert run("show", "nothing")[0] == 1


def test_what_happened_is_found_by_ticket_user_device_and_event(run: Run, world: World) -> None:
    run(*LOCK)
    del world.workmail.overrides[key("ABC123")]
    world.sweep(datetime.now(UTC))
    for minutes in (5, 10):  # the first one after the gap only reports
        world.sweep(datetime.now(UTC) + timedelta(days=30, minutes=minutes))
    (locked,) = (told["detail"] for told in world.ledger.outcomes.values() if told["detail"].get("result") == "locked")
    for what in ("INC-1", "inc-1", BOB, "bob", "Abc123", locked["lock"]["id"]):
        rows = json.loads(run("history", what, "--until", "2099-01-01", "--json")[1])
        assert [row["result"] for row in rows if "result" in row] == ["locked", "reasserted", "expired"], what
    assert [row["id"] for row in json.loads(run("history", locked["eventId"], "--json")[1])] == [locked["id"]]
    status, out, _ = run("history")
    assert status == 0
    assert "Sweep Refused" in out
    assert run("history", "--until", "2099-01-01")[0] == 0
    assert run("history", "INC-2")[0] == 1
    run("lock", "serial:S-9", "--yes", "--unverified")
    assert run("show", "serial:S-9") == (1, "", "no device is known of serial:S-9.  try: lockout history serial:S-9\n")
    assert "devices to come" in run("history", "serial:S-9")[1]
    (row,) = csv.DictReader(io.StringIO(run("history", locked["eventId"], "--csv")[1]))
    assert (row["ticket"], row["reporter"]) == ("INC-1", "arn:aws:iam::000000000000:user/ops")


def test_a_day_is_looked_at_also_before_some_time(run: Run, there: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[datetime] = []
    monkeypatch.setattr(there.ledger, "timeline", lambda since, until: times.extend((since, until)) or [])
    assert run("history", "--until", "2d")[0] == 1
    assert times[1] - times[0] == timedelta(days=1)


def test_outcomes_are_watched_until_somebody_has_seen_enough(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([lambda: run(*LOCK), lambda: None])

    def sleep(_: float) -> None:
        look = next(looks, None)
        if look is None:
            raise KeyboardInterrupt
        look()

    monkeypatch.setattr(time, "sleep", sleep)
    status, out, _ = run("watch")
    assert status == 130
    assert out.count("is locked (lost)") == 1


class Many:
    """A hundred thousand overrides, one in a hundred ours, listed a hundred a page."""

    def __init__(self) -> None:
        self.pages_read = 0

    def pages(self, _: str) -> Iterator[tuple[list[ListedOverride], datetime]]:
        times = "until=2099-12-22T07:30:00Z at=2026-11-22T07:30:00Z"
        tag = f"[lockout/1 by=local why=lost {times} id=9f3c2a1b was=none] INC-1"
        for page in range(1000):
            self.pages_read += 1
            devices = [key(f"d{page}x{number}", f"user-{page}-{number}") for number in range(100)]
            rows = [ListedOverride(each, Override("ALLOW", "by hand")) for each in devices[1:]]
            yield [ListedOverride(devices[0], Override("DENY", tag)), *rows], datetime.now(UTC)

    def user(self, organization: str, _: str) -> Any:
        return World().workmail.user(organization, "bob")


def test_a_hundred_thousand_overrides_are_listed_as_they_come_in_constant_memory(
    there: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = Many()
    vars(there)["workmail"] = many
    began, first, most = time.perf_counter(), 0.0, 0

    class Out(io.StringIO):
        def write(self, text: str) -> int:
            nonlocal first, most
            if "abc" not in text and "d0x0" in text:
                first = time.perf_counter() - began
                assert many.pages_read == 1, "the first row waits for one page only"
            most = max(most, tracemalloc.get_traced_memory()[0])
            return len(text)

    monkeypatch.setattr(sys, "stdout", Out())
    tracemalloc.start()
    assert cli.main(["status"], there) == 0
    tracemalloc.stop()
    assert many.pages_read == 1000
    assert 0 < first < 2
    assert most < 8_000_000


def test_a_lock_of_all_devices_is_listed_shown_and_extended_where_no_device_is_known(run: Run) -> None:
    whole = ("lock", "bob", "--all-devices", "--why", "compromised", "--ref", "CASE-7", "--yes", "--unverified")
    _, out, err = run(*whole)
    assert "no device of this user is known; the lock holds for devices to come. (" in out
    assert "It reaches the device" not in err
    (row,) = json.loads(run("status", "--json")[1])
    assert (row["user"], row["device"], row["why"]) == ("bob@example.com", "*", "compromised")
    assert row["ticket and note"] == "CASE-7"
    assert run("status", "--user", "carla", "--json")[:2] == (1, "")
    status, out, _ = run("show", "bob")
    assert (status, out.count("CASE-7")) == (0, 2)
    assert out.splitlines()[0].endswith(" <bob@example.com>, all devices, those to come as well: LOCKED")
    status, out, err = run("extend", "bob", "--user-locks", "--until", "2d", "--yes")
    assert (status, "the lock now ends sooner (compromised)" in out) == (0, True), err
    assert run("extend", "bob", "--until", "2d", "--yes")[0] == 2
    assert run("release", "bob", "--user-locks", "--yes")[0] == 0
    assert run("show", "bob")[0] == 1
    assert run("extend", "bob", "--user-locks", "--until", "2d", "--yes")[0] == 1


def test_people_read_this_machines_time_and_data_has_utc(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        run(*LOCK, "--until", "2026-12-24T12:00:00Z")
        noted = "seen at 2026-11-27T22:00:00Z"
        for words in (
            ("history", "INC-1"),
            ("show", "bob"),
            ("extend", "bob", "ABC123", "--until", "2026-12-25", "--yes"),
        ):
            out = run(*words)[1]
            assert "Z" not in out.replace(noted, "").partition("] INC-1")[2 * ("] INC-1" in out)]
        assert "until Thu 24 Dec 2026 21:00 +0900" in run("history", "INC-1")[1]
        assert "until 2026-12-24T12:00:00Z" in run("history", "INC-1", "--csv")[1]
        assert "until=2026-12-2" in run("show", "bob")[1], "a tag stays as it is"
    finally:
        monkeypatch.undo()
        time.tzset()


# Every command


@pytest.mark.parametrize("words", [("show", "bob"), ("show", "bob", "--json")])
def test_a_file_is_utf_8_and_a_terminal_shows_what_it_lacks_as_an_escape(
    there: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    run(*LOCK, "--note", "日本")
    for terminal, shown in ((False, "日本"), (True, r"\u65e5\u672c")):
        out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
        monkeypatch.setattr(out, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr(sys, "stdout", out)
        assert cli.main([*words], there) == 0
        out.flush()
        assert shown in out.buffer.getvalue().decode()


def test_without_a_command_the_help_is_all_that_is_said(run: Run) -> None:
    for words in ((), ("sweep",)):
        status, out, err = run(*words)
        assert (status, out) == (2, "")
        assert err.startswith("Usage: lockout")
        assert "try:" not in err


def test_each_command_has_one_line_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"])
    assert not [line for line in capsys.readouterr().out.splitlines() if line.startswith(" " * 8)]


def test_the_help_comes_at_once_and_needs_no_aws(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def took() -> float:
        """Processor time, which a busy machine does not change."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = [sys.executable, "-m", "lockout", "--help"]
        subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(took() for _ in range(6)) < 0.25
    imported = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lockout", "--help"], cwd=tmp_path, check=True, capture_output=True
    )
    assert b"botocore" not in imported.stderr


@pytest.mark.parametrize("name", [name for section in cli.COMMANDS.values() for name in section])
def test_each_command_has_help_with_examples_that_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    out = capsys.readouterr().out
    if "Commands:" not in out:
        assert f"  lockout {name}" in out


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (NoCredentialsError(), 4, "there are no AWS credentials here"),
        (EndpointConnectionError(endpoint_url="https://events"), 1, "no answer from https://events"),
        (
            ClientError({"Error": {"Code": "AccessDeniedException", "Message": "User: x is not"}}, "Query"),
            4,
            "AWS does not allow Query: User: x is not",
        ),
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "Query"), 4, "AWS does not take these credentials"),
        (
            ClientError(
                {
                    "Error": {
                        "Code": "ValidationException",
                        "Message": "The table does not have the specified index: timeline",
                    }
                },
                "Query",
            ),
            1,
            "the ledger's table has no index of what happened",
        ),
        (ClientError({"Error": {"Code": "Strange", "Message": "a\nb"}}, "Query"), 1, "AWS refused Query: Strange: a"),
        (RuntimeError("an unforeseen one"), 1, "an unforeseen one"),
        (FileNotFoundError(2, "No such file", "x.csv"), 1, "x.csv: No such file"),
    ],
)
def test_an_error_is_told_in_words_and_never_as_a_traceback(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, said: str
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(world.workmail, "pages", fail)
    got, out, err = run("status")
    assert (got, out) == (status, "")
    assert err.startswith(f"lockout: {said}")
    assert "An error occurred" not in err


EVIL = "\x1b[2J\x1b]0;title\x07=HYPERLINK(1)\u202e<b>\r\n"


def test_nothing_that_a_stranger_wrote_steers_the_terminal_or_computes(run: Run, world: World) -> None:
    run(*LOCK[:-3], EVIL, "--yes", "--unverified")
    world.workmail.overrides[key("HAND")] = Override("ALLOW", EVIL)
    tag = str(world.workmail.overrides[key("ABC123")].description).partition("]")[0]
    world.workmail.overrides[key("ABC123")] = Override("DENY", f"{tag}] {EVIL}")
    for words in (("status",), ("show", "bob"), ("history",), ("show", EVIL), ("history", EVIL)):
        for form in ((), ("--json",), ("--csv",)):
            if words[0] == "show" and form == ("--csv",):
                continue
            _, out, err = run(*words, *form)
            for text in (out, err):
                assert not any(evil in text for evil in "\x1b\x07\u202e\r"), words
    cells = [cell for row in csv.reader(io.StringIO(run("status", "--csv")[1])) for cell in row]
    assert not any(cell.startswith(("=", "+", "@")) for cell in cells)


def test_no_colour_is_printed_where_none_is_wanted(there: Deployment, run: Run) -> None:
    run(*LOCK)

    def coloured(**environment: str) -> list[bool]:
        """Returns of each line whether it has a colour."""
        said = CliRunner(env=environment).invoke(cli.lockout, ["history"], obj=there, color=True).stdout
        return ["\x1b" in line for line in said.splitlines()]

    assert coloured() == [True, False]
    assert coloured(NO_COLOR="1") == coloured(TERM="dumb") == [False, False]


# The deployment


class CloudFormation:
    def __init__(self, *stacks: str, metadata: Any = None, outputs: bool = True) -> None:
        self.stacks = stacks
        self.metadata = metadata
        self.outputs = [{"OutputKey": "EventBusName", "OutputValue": "device-security"}] * outputs

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self) -> Any:
        state = {"StackStatus": "CREATE_COMPLETE" if self.outputs else "ROLLBACK_COMPLETE", "Outputs": self.outputs}
        forwards = {"Outputs": [{"OutputKey": "UnforwardedEventsQueueUrl", "OutputValue": "https://sqs/q"}]}
        stacks = [{"StackName": name, **state} | (forwards if "forward" in name else {}) for name in self.stacks]
        return [{"Stacks": stacks}]

    def get_template(self, **_: Any) -> Any:
        return {"TemplateBody": {"Metadata": self.metadata} if self.metadata else {}}


def test_the_only_deployment_is_found_and_of_several_the_named_one(world: World) -> None:
    from device_lockout.values.settings import SETTINGS_IN_TEMPLATE, dump

    metadata = {SETTINGS_IN_TEMPLATE: dump(world.settings)}
    several = CloudFormation("device-lockout-a", "device-lockout-b", "other", metadata=metadata)
    assert find(None, lambda _: CloudFormation("device-lockout-a", "x", metadata=metadata)).settings == world.settings
    assert find(None, lambda _: CloudFormation("device-lockout-a", "device-lockout-a-forward", metadata=metadata))
    assert find("b", lambda _: several).stack == find("device-lockout-b", lambda _: several).stack == "device-lockout-b"
    with pytest.raises(CommandError, match=r"which deployment.*: there are: device-lockout-a, device-lockout-b"):
        find(None, lambda _: several)
    with pytest.raises(CommandError, match="no stack device-lockout-c"):
        find("c", lambda _: several)
    with pytest.raises(CommandError, match=r"no deployment.*none in this account and region"):
        find(None, lambda _: CloudFormation())
    with pytest.raises(CommandError, match="another version of this code"):
        find("a", lambda _: CloudFormation("device-lockout-a"))
    with pytest.raises(CommandError, match="device-lockout-a is ROLLBACK_COMPLETE, and publishes nothing yet"):
        find("a", lambda _: CloudFormation("device-lockout-a", metadata=metadata, outputs=False))


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_is_taken_from_either_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with pytest.raises(NoRegionError):
        deployment.clients()("sqs")
    monkeypatch.setenv(name, "us-west-2")
    assert deployment.clients()("sqs").meta.region_name == "us-west-2"


def test_an_organization_is_named_where_there_are_several(there: Deployment) -> None:
    second = Organization("m-" + "0" * 32, "second")
    both = replace(there, settings=replace(there.settings, organizations=(*there.settings.organizations, second)))
    assert both.organization("second") == second
    with pytest.raises(CommandError, match="expected one of main, second"):
        both.organization(None)


def test_where_an_organization_does_not_know_the_user_no_lock_of_others_is_listed(
    run: Run, world: World, there: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*LOCK)
    (main,) = there.settings.organizations
    vars(there)["settings"] = replace(there.settings, organizations=(main, Organization("m-" + "0" * 32, "other")))
    known = world.workmail.user

    def user(organization: str, name: str) -> User:
        if organization != main.id:
            raise UnknownUserError(f"WorkMail knows no user {name}")
        return known(organization, name)

    monkeypatch.setattr(world.workmail, "user", user)
    rows = json.loads(run("status", "--json", "--user", "bob")[1])
    assert [row["organizationId"] for row in rows] == [main.id]


def test_a_ticket_of_two_organizations_finds_the_devices_of_the_one_that_is_meant(
    run: Run, world: World, there: Deployment
) -> None:
    run(*LOCK)
    (told,) = [detail for kind, detail in world.bus.announced if kind == "Device Locked"]
    other = "m-" + "0" * 32
    elsewhere = told | {"id": "0" * 64, "organizationId": other, "device": "other", "deviceId": "OTHER"}
    world.ledger.record_outcome("e", "0" * 64, {"detailType": "Device Locked", "detail": elsewhere}, datetime.now(UTC))
    (main,) = there.settings.organizations
    vars(there)["settings"] = replace(there.settings, organizations=(main, Organization(other, "other")))
    assert lookup.devices(there, main.id, "INC-1", None) == [key("ABC123")]
    assert [each.device for each in lookup.devices(there, other, "INC-1", None)] == ["other"]
    shown = json.loads(run("show", "INC-1", "--organization", "main", "--json")[1])
    assert [each["device"] for each in shown] == ["abc123"]


# A query


def test_a_query_takes_its_part_of_the_json_of_every_command(run: Run) -> None:
    run(*LOCK)
    assert json.loads(run("status", "--query", "[].device")[1]) == ["abc123"]
    assert json.loads(run("status", "--json", "--query", "[0].until")[1]).endswith("Z")
    assert json.loads(run("show", "bob", "ABC123", "--query", "[0].ticket")[1]) == "INC-1"
    assert json.loads(run("history", "INC-1", "--query", "[].detailType")[1]) == ["Device Locked"]
    assert json.loads(run("status", "--ending", "1m", "--query", "length(@)")[1]) == 0
    status, out, err = run("status", "--query", "[")
    assert (status, out) == (2, "")
    assert err.startswith("lockout: Invalid value for '--query': no JMESPath expression: ")
    assert run("status", "--query", "length(`1`)")[0] == 1


def test_every_command_that_prints_json_takes_a_query(capsys: pytest.CaptureFixture[str]) -> None:
    words = [[name] for section in cli.COMMANDS.values() for name in section]
    words += [["sweep", "plan"], ["sweep", "last"], ["dead", "show"], ["mapping", "replay"]]
    words += [["config", name] for name in ("check", "explain", "diff")]
    for command in words:
        assert cli.main([*command, "--help"]) == 0
        out = capsys.readouterr().out
        assert ("--json" in out) == ("--query" in out), command


# A configuration


def test_every_mistake_of_a_configuration_is_told_at_once(run: Run, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "config" / "local.toml").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(
        text.replace('owner = "local"', 'owner = "Local"').replace("retain_data = false", "retain_data = 0")
    )
    status, out, _ = run("config", "check", str(wrong))
    assert (status, len(out.splitlines())) == (1, 3)
    assert f'{wrong}: owner: "Local": expected' in out
    assert "retain_data" in out
    assert run("config", "check", "local")[::2] == (0, "local has no mistake\n")
    assert run("config", "check", "local", "--json")[1] == "[]\n"
    assert "missing.toml: there is no such configuration; there are: " in run("config", "check", "missing.toml")[1]


def test_a_configuration_is_explained_source_by_source_and_reason_by_reason(run: Run) -> None:
    rows = {row["name"]: row for row in json.loads(run("config", "explain", "local", "--json")[1])}
    assert rows["helpdesk"]["may"] == "lock, release"
    assert rows["helpdesk"]["who"] == "whoever may put events on bus device-security"
    assert rows["jamf-lost-mode-off"]["who"] == "webhook jamf"
    assert rows["jamf-lost-mode-off"]["may"] == "release (releases lost, its own only)"
    assert rows["guardduty-user"]["events"].startswith('bus default: {"source": ["aws.guardduty"]')
    assert rows["reason lost"]["may"] == "locks: 30 days; at most: 365 days, warns ahead by 3 days"
    assert rows["reason stolen"]["may"] == "locks: until released; at most: until released, warns every 30 days"
    example = {row["name"]: row for row in json.loads(run("config", "explain", "example", "--json")[1])}
    assert example["helpdesk"]["who"] == "arn:aws:iam::111122223333:role/helpdesk"
    assert run("config", "explain", "local")[1].startswith("NAME ")


def test_what_differs_from_what_is_deployed_is_named_setting_by_setting(run: Run, there: Deployment) -> None:
    deployed = loader.load("local").settings
    vars(there)["settings"] = deployed
    assert run("config", "diff", "local")[:2] == (0, "")
    lost = replace(deployed.reasons["lost"], lock_for=timedelta(days=7))
    desk, *others = deployed.sources
    vars(there)["settings"] = replace(
        deployed,
        reasons=deployed.reasons | {"lost": lost},
        sources=(replace(desk, may=frozenset({"lock"})), *others[1:]),
    )
    status, out, err = run("config", "diff", "local", "--json")
    rows = {row["key"]: (row["file"], row["deployed"]) for row in json.loads(out)}
    assert status == 1
    assert rows["reasons.lost.lock_for"] == (30 * 86400.0, 7 * 86400.0)
    assert rows["sources.helpdesk.may"] == (["lock", "release"], ["lock"])
    assert rows["sources.mdm.name"] == ("mdm", None)
    assert "settings of local that are not what device-lockout-local runs with: " in err


def test_a_rehearsal_passes_on_the_reads_of_the_ports_and_no_write() -> None:
    writes = {
        *(
            "put",
            "delete",
            "open_device",
            "save_device",
            "save_user",
            "remember_name",
            "keep_found",
            "list_device",
            "save_names",
        ),
        *("save_named", "save_locks_of", "saw", "record_outcome", "save_inventoried", "save_sweep", "count_lock"),
    }
    calls = {name for port in (ports.WorkMailPort, ports.LedgerPort) for name in vars(port) if name[0] != "_"}
    assert calls | {"device"} == writes | rehearsal._READS
    assert not writes & rehearsal._READS


def test_nothing_is_sent_to_a_bus_that_is_not_there(
    run: Run, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(**_: str) -> None:
        raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no bus"}}, "DescribeEventBus")

    monkeypatch.setattr(clients, "describe_event_bus", missing)
    status, _, err = run(*LOCK)
    assert (status, clients.sent) == (1, [])
    assert "AWS refused DescribeEventBus: ResourceNotFoundException: no bus" in err


@pytest.mark.parametrize(
    ("shell", "words", "where"),
    [("bash", "lockout ha", "1"), ("zsh", "lockout ha", "1"), ("fish", "lockout ha", "ha")],
)
def test_a_shell_completes_the_commands(shell: str, words: str, where: str) -> None:
    """It asks as each shell's script does, which docs/command.md loads."""
    for what, found in (("source", "_lockout_completion"), ("complete", "handover")):
        done = subprocess.run(
            [Path(sys.executable).with_name("lockout")],
            env=os.environ | {"COMP_WORDS": words, "COMP_CWORD": where, "_LOCKOUT_COMPLETE": f"{shell}_{what}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert found in done.stdout


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"lockout, version {version('workmail-device-lockout')}\n"
