import re
import shlex
from pathlib import Path

import pytest

from device_lockout.values.advice import ADVICE, advise, shown
from device_lockout.values.outcome import RESULTS, Outcome
from device_lockout.values.override import Override

RUNBOOK = (Path(__file__).parents[3] / "docs" / "runbook.md").read_text(encoding="utf-8")


def test_a_command_names_whom_it_is_about_and_asks_for_what_is_not_known():
    said = advise("Tampering Detected", page=True, user="bob@example.com", device="abc1", ticket="INC-1")
    assert said["advice"]["command"] == "lockout release bob@example.com abc1 --ref INC-1"
    said = advise("Tampering Detected", page=True, user="", device="abc1")
    assert said["advice"]["command"] == "lockout release USER abc1 --ref TICKET"


@pytest.mark.parametrize(
    "words",
    [
        "",
        "INC-1234",
        "e" * 64,
        f"{'e' * 64}@{'d' * 60}.example",
        "2026-11-28T03:14:12.000Z",
        "ef81e7e0-d72d-4f56-8aff-f918d2082a6f 03:14:12",
        "left in a taxi",
    ],
)
def test_a_page_shows_names_addresses_times_the_id_of_a_run_and_two_short_words(words):
    assert shown(words) == words


@pytest.mark.parametrize(
    "words",
    [
        "https://evil.example",
        "sign in at once, please",
        "e" * 65,
        f"{'e' * 65}@example.com",
        f"{'e' * 65}@",
        "call-0900-1234567-now 03:14:12 or",
        "evil.example/x",
        "bob@example.com\n",
        "ü" * 16,
    ],
)
def test_of_all_else_a_page_shows_the_length_and_a_hash(words):
    assert shown(words).startswith(f"{len(words)} characters (SHA-256 ")


@pytest.mark.parametrize(
    "evil", ["a; rm -rf ~", "$(id)", "`id`", "a b", "a'", "\x1b[2J", "-a\n", "--all-devices", "ü", ""]
)
def test_nothing_that_a_stranger_wrote_becomes_more_than_a_word_of_a_command(evil):
    for detail_type in ADVICE:
        command = advise(detail_type, page=True, user=evil, device=evil, ticket=evil)["advice"]["command"]
        assert shlex.split(command) == command.split()
        assert command == ADVICE[detail_type].command


@pytest.mark.parametrize(
    ("action", "severity", "command"),
    [
        ("lock", "act now", "lockout lock bob abc1 --ref TICKET"),
        ("lock-user", "act now", "lockout lock bob abc1 --ref TICKET"),
        ("reject", "act now", "lockout lock bob abc1 --ref TICKET"),
        ("release", "today", "lockout release bob abc1 --ref TICKET"),
        ("release-user", "today", "lockout release bob abc1 --ref TICKET"),
        ("change", "today", "lockout show bob abc1"),
        ("retire", "today", "lockout show bob abc1"),
    ],
)
def test_a_rejected_release_asks_nobody_to_lock_the_device(action, severity, command):
    said = advise("Lockout Rejected", page=True, user="bob", device="abc1", action=action)
    assert (said["severity"], said["advice"]["command"]) == (severity, command)


def test_what_does_not_page_is_for_the_record():
    assert advise("Lockout Rejected", page=False) == {"severity": "for the record", "advice": None}
    assert advise("Something New", page=True)["severity"] == "today"


def test_advice_is_given_of_what_is_announced_and_stands_in_the_runbook():
    announced = {kind.detail_type for kind in RESULTS.values()} | {
        "Sweep Refused",
        "Expiry Due Soon",
        "Override Left Alone",
        "Lock Outlasts WorkMail",
        "Daily Digest",
    }
    assert ADVICE.keys() <= announced
    for detail_type, advice in ADVICE.items():
        assert re.search(rf"`{detail_type}`.*{re.escape(advice.do)}", RUNBOOK), detail_type


def test_an_allow_whose_time_is_over_is_told_as_one():
    over = Outcome("expired", before=Override("ALLOW", "[until=2026-11-20] travel phone"))
    assert over.message("oldtab", "eve") == (
        "Device oldtab of eve has lost its ALLOW: the time that a person wrote there is over."
    )
    assert "is no longer denied" in Outcome("expired", before=Override("DENY")).message("oldtab", "eve")


def test_one_device_is_not_devices():
    assert "it goes on to 1 known device." in Outcome("locked", devices=1).message("", "bob")
    assert "it goes on to 2 known devices." in Outcome("locked", devices=2).message("", "bob")
    assert "goes on" not in Outcome("released", devices=0).message("", "bob"), "there is nothing to say of none"
