"""Inputs of the shapes that senders publish, and what becomes of each. `make cases` prints the table."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config_reader import loader
from config_reader.loader import Configuration
from device_lockout.inbound import report
from device_lockout.values.command import Lock, Release, Target, claim_id
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, Ending
from local.in_memory import BOB, KEY, ORGANIZATION, World, cause, key
from lockout.commands import inventory, mapping
from tests.measured import MEASURED

CASES = Path(__file__).parents[1] / "cases"
NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    local = (loader.DIRECTORY / "local.toml").read_text(encoding="utf-8")
    bus = '"aws.partner/zendesk.com/9242270/default",'
    local = local.replace("partner_buses = [", f"partner_buses = [\n    {bus}")
    return loader.read(local + (CASES / "sources.toml").read_text(encoding="utf-8"), "config/local.toml")


def tried(file: str, configuration: Configuration) -> list[str]:
    """What `lockout mapping try` says of those who get it."""
    said = [
        f"{source.partition(' ')[0]}: {words}"
        for _, event in mapping.events_in(CASES / file)
        if isinstance(event, dict)
        for source, words, command in mapping.read(event, configuration, NOON)
        if command is not None or source == "nobody"
    ]
    MEASURED.extend(f"{file}  {words}" for words in said)
    return said


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("01-several-in-one-event-okta.json", ["locks all devices of carla@example.com", "locks all devices of dave@"]),
        (
            "01-several-in-one-event-securityhub.json",
            ["device ApplDNQXK3P9N735 of ana", "device ApplDNQXK3P9N736 of b"],
        ),
        ("02-workspace-one-real.json", ["locks serial ZL6LTO7H27AB (compromised) happened 2026-11-26T11:59:59.572Z"]),
        ("03-note-empty.json", ["locks device ABC123 of bob@example.com (lost)"]),
        ("03-reference-is-a-number.json", ["locks all devices of bob@example.com (compromised) reference 35436"]),
        ("06-try-mapping-says-rejected.json", ["nobody: gets this: nothing is recorded"]),
        ("t-02-local-offset-nocolon.json", ["locks all devices of bob@example.com happened 2026-11-26T12:00:00.000Z"]),
    ],
)
def test_an_event_is_read_as_its_sender_means_it(file: str, expected: list[str], configuration: Configuration) -> None:
    said = tried(file, configuration)
    assert len(said) == len(expected), said
    for words, line in zip(expected, said, strict=True):
        assert not [word for word in words.split() if word not in line], line


def test_empty_columns_and_empty_lines_of_a_file_are_none(configuration: Configuration) -> None:
    file = "07-trailing-comma-columns.csv"
    (line,) = inventory.read(CASES / file, "inventory", configuration.settings, NOON)
    assert line.faults == []
    assert (line.detail["userId"], line.detail["deviceId"]) == ("ana@example.com", "ApplDNQXK3P9N735")
    MEASURED.append(f"{file}  line {line.number} is good, and there is no other")


def test_a_lock_by_serial_number_reaches_both_mail_clients_of_a_phone(configuration: Configuration) -> None:
    file, world = "08-one-phone-two-mail-apps.json", World(known=configuration.settings)
    world.workmail.names |= {"ana": BOB}
    for _, event in mapping.events_in(CASES / file):
        assert isinstance(event, dict)
        (command,) = report.read(json.dumps(event), "m", NOON, configuration.settings)
        world.deliver(command, NOON)
    phone = [key("appldnqxk3p9n735"), key("e9efcc65eb1a42cb9307f4ee165a460c")]
    assert [world.workmail.overrides[each].effect for each in phone] == ["DENY", "DENY"]
    MEASURED.append(f"{file}  both device IDs are denied")


def test_a_day_alone_in_a_lock_of_ours_is_its_end_and_a_release_ends_it() -> None:
    file, happened = "10-date-only-edit.txt", datetime(2026, 11, 26, 14, 54, 11, tzinfo=UTC)
    edited = Override("DENY", (CASES / file).read_text(encoding="utf-8").strip())
    world, target = World(), Target(ORGANIZATION, "bob", KEY.device)
    claim = Claim(claim_id("e"), "device", "lost", happened, datetime(2026, 12, 26, 14, 54, 11, tzinfo=UTC))
    world.deliver(Lock(cause("e", happened), target, claim), happened)
    ours = world.override
    assert ours is not None
    world.set_by_hand(
        Override("DENY", edited.description.replace("49088c6a", claim.id) if edited.description else None)
    )
    later = datetime(2026, 12, 1, tzinfo=UTC)
    world.sweep(later)
    assert world.record.claims[0].until == datetime(2026, 12, 25, tzinfo=UTC)
    released = world.deliver(Release(cause("r", later), target, Ending("device")), later)
    assert (released.result, world.override) == ("released", None)
    MEASURED.append(f"{file}  it lasts until the end of that day, and a recovery releases it")


def test_each_case_is_tried() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    assert all(file.name in here for file in CASES.iterdir())
