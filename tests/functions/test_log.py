"""What the functions' logs say of people: a keyed hash for each name, unless the configuration shows names."""

import json
import re
from itertools import count

import pytest
from aws_lambda_powertools import Logger

from device_lockout import wiring
from device_lockout.values.command import Target
from device_lockout.values.device import DeviceName

TARGET = Target("m-1", "Ana.Lopez@example.com", "ApplDNQX1", (DeviceName("serial", "F2LXK0AAAA01"),))
SAID = "Device appldnqx1 of Ana.Lopez@example.com is locked: F2LXK0AAAA01 (see bob+work@mail.example.org)."


SERVICES = count()
"""Powertools keeps the first logger of each service, and where that wrote."""


def line(capsys: pytest.CaptureFixture[str], said: str = SAID, **fields: object) -> dict[str, str]:
    Logger(service=f"test-{next(SERVICES)}", json_serializer=wiring.log_line, utc=True).info(said, **fields)
    (written,) = capsys.readouterr().out.splitlines()
    parsed: dict[str, str] = json.loads(written)
    return parsed


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKOUT_LOG_KEY", "arn:aws:cloudformation:eu-west-1:111122223333:stack/x/5c0e-random")


@pytest.mark.usefixtures("key")
def test_a_line_has_hashes_for_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    item = {"device": "ApplDNQX1", "user": "ana.lopez@example.com", "left": ["ApplDNQX1", 7, None]}
    said = line(capsys, item=item, about=TARGET.identities)
    assert re.fullmatch(r"Device (#\w{10}) of (#\w{10}) is locked: (#\w{10}) \(see (#\w{10})\)\.", said["message"])
    written = json.dumps(said).casefold()
    for name in ("appldnqx1", "ana", "lopez", "example", "f2lxk0aaaa01", "bob", "about"):
        assert name not in written


@pytest.mark.usefixtures("key")
def test_lines_about_one_device_can_be_joined_whatever_its_case(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (line(capsys, f"Device {name}", about=[name])["message"] for name in ("ABC123", "abc123"))
    assert first == second != line(capsys, "Device abc124", about=["abc124"])["message"]


def test_another_stack_has_other_hashes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for stack in ("one", "two"):
        monkeypatch.setenv("LOCKOUT_LOG_KEY", stack)
        seen.add(line(capsys, "Device abc123", about=["abc123"])["message"])
    assert len(seen) == 2


@pytest.mark.usefixtures("key")
def test_a_name_that_is_also_a_word_of_the_log_leaves_the_log_readable(capsys: pytest.CaptureFixture[str]) -> None:
    """Users are called info and test; a name is a whole word, or none."""
    said = line(capsys, "tested by test", about=["test", "info", "event_id"], event_id="e-1")
    assert (said["level"], said["event_id"]) == ("INFO", "e-1")
    assert said["service"].startswith("test-")
    assert re.fullmatch(r"tested by #\w{10}", said["message"])


def test_without_a_key_names_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    said = line(capsys, about=TARGET.identities)
    assert said["message"] == SAID
    assert "about" not in said
