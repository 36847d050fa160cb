"""The hand-over, from the WorkMail emulator and the ledger in memory to a toy of Exchange's mailboxes."""

import csv
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
import tree_sitter_powershell
from botocore.exceptions import ClientError
from tree_sitter import Language, Node, Parser

from config_reader import loader
from device_lockout.aws.ledger import Ledger
from device_lockout.aws.workmail import WorkMail
from device_lockout.values.device import DeviceKey, Named
from device_lockout.values.errors import LockoutError
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, UserRecord, tag_of
from device_lockout.values.tag import HOLD, write
from local.in_memory import _closed as closed
from lockout import snapshot
from lockout.commands import handover
from lockout.deployment import Deployment
from tests.functions.aws.fake_dynamodb import FakeDynamoDB
from tests.local.workmail.conftest import Alone

pytestmark = pytest.mark.slow

SETTINGS = loader.load("local").settings
ORGANIZATION = SETTINGS.organizations[0].id
NOW = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
DAY = timedelta(days=1)
ANA, BOB, CARLA = (
    "545f2c6b-dde6-5f1c-a40d-d6e9e8f21700",
    "42e62c2b-917a-5703-a63a-4636dfee9728",
    "cd101ab2-c4e2-5008-b38c-10accc76ef0d",
)
GONE = "90e00000-0000-4000-8000-000000000000"
FILES = {"handover.json", "exchange-blocked.csv", "exchange-allowed.csv", "by-hand.csv", "due.csv"}
SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "handover.json"

type Row = dict[str, str]


@dataclass
class Aws:
    """WorkMail's emulator and the ledger, through the real gateways."""

    emulator: Alone
    dynamodb: FakeDynamoDB = field(default_factory=FakeDynamoDB)

    def __post_init__(self) -> None:
        self.workmail = self.emulator.client()
        self.ledger = Ledger(self.dynamodb, "ledger")

    @property
    def deployment(self) -> Deployment:
        return Deployment("s", "", {"LedgerTableName": "ledger"}, SETTINGS, self.client)

    def client(self, service: str) -> Any:
        return self.workmail if service == "workmail" else self.dynamodb

    def seed(self, **what: list[dict[str, Any]]) -> None:
        rows = {kind: [{"OrganizationId": ORGANIZATION, **row} for row in rows] for kind, rows in what.items()}
        self.emulator.control("POST", "seed", rows)

    def override(self, user: str, device: str, override: Override) -> None:
        described = {"Description": override.description} if override.description is not None else {}
        self.seed(overrides=[{"UserId": user, "DeviceId": device, "Effect": override.effect, **described}])

    def lock(self, user: str, device: str, claim: Claim, prior: Override | None = None, *, stands: bool = True) -> None:
        """Set a lock as the writer does."""
        key = DeviceKey(ORGANIZATION, user, device)
        record = replace(self.ledger.open_device(key).with_claim(claim), prior=prior)
        self.ledger.save_device(key, record)
        if stands:
            tag = tag_of(claim, "local", "allow" if prior else "none")
            self.override(user, device, Override("DENY", write(tag, claim.remark)))


@pytest.fixture(scope="module")
def process() -> Iterator[Alone]:
    alone = Alone()
    yield alone
    alone.stop()


@pytest.fixture
def aws(process: Alone) -> Iterator[Aws]:
    process.control("POST", "reset")
    made = Aws(process)
    yield made
    made.workmail.close()


def claim(number: int, until: datetime = HOLD, **more: Any) -> Claim:
    values = {"scope": "device", "why": "lost", "reference": f"INC-{number}", "note": "in a taxi", "source": "helpdesk"}
    return Claim(id=f"{number:08x}", at=NOW - DAY, until=until, **(values | more))


def hand_over(aws: Aws, to: Path) -> dict[str, list[Row]]:
    """The rows of each CSV file, once the JSON has satisfied its schema."""
    assert handover.write(aws.deployment, to, NOW)
    assert {file.name for file in to.iterdir()} == FILES
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"), object_hook=closed)
    fastjsonschema.validate(schema, json.loads((to / "handover.json").read_text(encoding="utf-8")))
    texts = {file.stem: file.read_bytes().decode() for file in to.glob("*.csv")}
    return {name: list(csv.DictReader(io.StringIO(text, newline=""))) for name, text in texts.items()}


# The PowerShell

PARSER = Parser(Language(tree_sitter_powershell.language()))


def texts(node: Node, kind: str) -> list[str]:
    """The texts of all nodes of a kind, in order."""
    own = [node.text.decode()] if node.type == kind and node.text else []
    return own + [text for child in node.children for text in texts(child, kind)]


class Exchange:
    """A toy of Exchange's mailboxes: two sets of device IDs each, whose case does not matter.

    It carries out what a PowerShell parser reads in a command, and nothing else.
    """

    def __init__(self) -> None:
        self.lists: dict[str, set[tuple[str, str]]] = {"Blocked": set(), "Allowed": set()}

    def run(self, command: str) -> bool:
        tree = PARSER.parse(command.encode()).root_node
        assert not tree.has_error, command
        (name,) = texts(tree, "command_name")
        mailbox, device = texts(tree, "verbatim_string_characters")
        member = (mailbox.strip("'").casefold(), device.strip("'").casefold())
        if name == "Get-CASMailbox":
            assert texts(tree, "command_parameter") == ["-Identity"]
            assert texts(tree, "comparison_operator") == ["-contains"]
            (asked,) = texts(tree, "member_name")
            return member in self.lists[asked.removeprefix("ActiveSync").removesuffix("DeviceIDs")]
        assert name == "Set-CASMailbox"
        identity, changed = texts(tree, "command_parameter")
        assert identity == "-Identity"
        members = self.lists[changed.removeprefix("-ActiveSync").removesuffix("DeviceIDs")]
        match texts(tree, "key_expression"):
            case ["Add"]:
                members.add(member)
            case ["Remove"]:
                members.discard(member)
            case other:
                raise AssertionError(other)
        return True


def test_the_parser_tells_right_from_wrong_commands() -> None:
    for wrong in (
        "Set-CASMailbox -Identity 'a@b' -ActiveSyncBlockedDeviceIDs @{Add='x'",
        "(Get-CASMailbox 'a@b' -x 'y'",
    ):
        assert PARSER.parse(wrong.encode()).root_node.has_error


def test_ten_thousand_overrides_block_the_same_devices_of_the_same_mailboxes(aws: Aws, tmp_path: Path) -> None:
    chance = random.Random(14)
    users = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(500)]
    aws.seed(users=[{"UserId": user, "Name": f"u{n}", "Email": f"u{n}@example.com"} for n, user in enumerate(users)])
    mailbox = {user: f"u{n}@example.com" for n, user in enumerate(users)}
    blocked, allowed, rows = set(), set(), []
    for number in range(9_700):
        user, device = users[number % 500], f"Dev{number:05}"
        effect = chance.choice(["ALLOW", "DENY"])
        description = chance.choice(
            [None, "=cmd|'/c calc'!A1", "[until=2027-01-01] trip", "by Jana", "[lockout/1 by=?"]
        )
        rows.append(
            {"UserId": user, "DeviceId": device, "Effect": effect}
            | ({"Description": description} if description else {})
        )
        (blocked if effect == "DENY" else allowed).add((mailbox[user], device.lower()))
    for first in range(0, 9_700, 1_000):
        aws.seed(overrides=rows[first : first + 1_000])
    for number in range(300):
        user, device = users[number], f"Ours{number:05}"
        prior = Override("ALLOW", "travel") if number % 3 == 0 else None
        aws.lock(user, device, claim(number, NOW + number * DAY if number % 2 else HOLD), prior)
        blocked.add((mailbox[user], device.lower()))
        if prior:
            allowed.add((mailbox[user], device.lower()))
    aws.lock(users[7], "Undone1", claim(1000), stands=False)
    blocked.add((mailbox[users[7]], "undone1"))

    written = hand_over(aws, tmp_path / "over")
    exchange = Exchange()
    for name, expected in (("blocked", blocked), ("allowed", allowed)):
        rows = written[f"exchange-{name}"]
        assert len(rows) == len(expected)
        assert not any(exchange.run(row["check"]) for row in rows)
        for row in rows:
            exchange.run(row["apply"])
        assert exchange.lists[name.capitalize()] == expected
        assert all(exchange.run(row["check"]) for row in rows)
    for name in ("blocked", "allowed"):
        for row in written[f"exchange-{name}"]:
            exchange.run(row["end"])
    assert exchange.lists == {"Blocked": set(), "Allowed": set()}
    assert not any(
        cell.startswith(("=", "+", "-", "@")) for rows in written.values() for row in rows for cell in row.values()
    )


# Each kind of row


def test_what_stands_what_is_wanted_and_what_is_covered(aws: Aws, tmp_path: Path) -> None:
    aws.lock(BOB, "TAXI1", claim(1, NOW + 3 * DAY), Override("ALLOW", "travel"))
    aws.lock(BOB, "UNDONE", claim(2), stands=False)
    aws.lock(BOB, "LOOSE", claim(3, why="stolen"), stands=False)
    aws.override(BOB, "LOOSE", Override("ALLOW", "[until=2026-12-01] trip"))
    aws.override(ANA, "THEIRS", Override("DENY", "by Jana"))
    aws.override(ANA, "HAND", Override("DENY", "[until=2026-12-01] away"))
    aws.override(ANA, "PAST", Override("ALLOW", "[until=2026-11-01] trip"))
    aws.override(ANA, "FREE", Override("ALLOW"))
    written = hand_over(aws, tmp_path / "over")

    blocked = {row["deviceId"]: row for row in written["exchange-blocked"]}
    assert {device: (row["kind"], row["why"], row["until"]) for device, row in blocked.items()} == {
        "taxi1": ("ours", "lost", "2026-11-25T07:30:00Z"),
        "undone": ("wanted", "lost", "hold"),
        "loose": ("wanted", "stolen", "hold"),
        "theirs": ("foreign", "", ""),
        "hand": ("hand-written", "", "2026-12-02T00:00:00Z"),
    }
    assert (blocked["taxi1"]["reference"], blocked["taxi1"]["note"]) == ("INC-1", "in a taxi")
    assert (blocked["taxi1"]["mailbox"], blocked["taxi1"]["userName"]) == ("bob@example.com", "bob")
    assert blocked["theirs"]["note"] == "by Jana"
    allowed = {row["deviceId"]: (row["kind"], row["until"], row["note"]) for row in written["exchange-allowed"]}
    assert allowed == {
        "taxi1": ("covered", "", "travel"),
        "loose": ("covered", "2026-12-02T00:00:00Z", "[until=2026-12-01] trip"),
        "free": ("stands", "", ""),
    }
    assert written["by-hand"] == []
    assert [(row["until"], row["deviceId"], row["what"]) for row in written["due"]] == [
        ("2026-11-25T07:30:00Z", "taxi1", "lock (lost)"),
        ("2026-12-02T00:00:00Z", "loose", "ALLOW"),
        ("2026-12-02T00:00:00Z", "hand", "DENY"),
    ]
    assert written["due"][0]["end"] == blocked["taxi1"]["end"]


def test_what_no_command_can_do_is_for_people_who_are_told_why(aws: Aws, tmp_path: Path) -> None:
    aws.seed(users=[{"UserId": GONE, "Name": "gone"}])
    aws.lock(GONE, "ORPHAN", claim(1, NOW + DAY))
    aws.seed(users=[{"UserId": GONE, "Name": "gone", "Email": None, "State": "DELETED"}])
    aws.ledger.remember_name(ORGANIZATION, "Gone@example.com", Named(GONE))
    outlook = "0123456789ABCDEF0123456789ABCDEF"
    aws.lock(BOB, outlook, claim(2))
    aws.lock(BOB, "BROKEN", claim(3), Override("ALLOW", "travel"))
    aws.override(BOB, "BROKEN", Override("DENY", "[lockout/1 by=local oops id=00000003]"))
    aws.lock(BOB, "STALE", claim(5, NOW - DAY / 2), Override("ALLOW", "travel"))
    aws.override(BOB, "STALE", Override("DENY", "[lockout/1 by=local oops id=00000005]"))
    user_wide = claim(4, NOW + 9 * DAY, scope="user", why="offboarded")
    aws.ledger.save_user(ORGANIZATION, CARLA, UserRecord((user_wide,)))
    aws.ledger.open_device(DeviceKey(ORGANIZATION, CARLA, "KNOWN"))
    written = hand_over(aws, tmp_path / "over")

    by_hand = {(row["deviceId"], row["what"]): row["because"] for row in written["by-hand"]}
    assert {key: because.split(":")[0] for key, because in by_hand.items()} == {
        ("orphan", "lock (lost)"): "WorkMail knows no address.",
        (outlook.lower(), "lock (lost)"): "If it is Outlook, its ID is another one there",
        ("broken", "lock (lost)"): "Nothing says when it ends",
        ("stale", "lock (lost)"): "Nothing says when it ends",
        (
            "",
            "lock of all devices (offboarded)",
        ): "It covers devices to come. Exchange blocks the IDs that it was told.",
    }
    blocked = {row["deviceId"]: (row["mailbox"], row["why"]) for row in written["exchange-blocked"]}
    assert blocked == {
        outlook.lower(): ("bob@example.com", "lost"),
        "broken": ("bob@example.com", "lost"),
        "stale": ("bob@example.com", "lost"),
        "known": ("carla@example.com", "offboarded"),
    }
    assert [row["deviceId"] for row in written["exchange-allowed"]] == ["broken", "stale"], "though no tag can be read"
    assert [(row["deviceId"], row["end"][:14]) for row in written["due"]] == [
        ("orphan", ""),
        ("known", "Set-CASMailbox"),
        ("", ""),
    ]


def test_a_lock_that_is_over_or_released_is_due_at_once(aws: Aws, tmp_path: Path) -> None:
    aws.lock(BOB, "OVER", claim(1, NOW - timedelta(hours=1)))
    (row,) = hand_over(aws, tmp_path / "over")["due"]
    assert (row["deviceId"], row["until"]) == ("over", "2026-11-22T06:30:00Z")


def test_the_json_has_every_user_and_the_inventory(aws: Aws, tmp_path: Path) -> None:
    key = DeviceKey(ORGANIZATION, BOB, "ENROLLED")
    aws.ledger.list_device(key, NOW, retired=False)
    aws.ledger.save_names(key, {"serial": "DNQXK3P9N735"})
    hand_over(aws, tmp_path / "over")
    whole = json.loads((tmp_path / "over" / "handover.json").read_text(encoding="utf-8"))
    (organization,) = whole["organizations"]
    users = {user["id"]: (user["name"], user["email"], user["state"]) for user in organization["users"]}
    assert users[BOB] == ("bob", "bob@example.com", "ENABLED")
    assert len(users) == 6
    (device,) = organization["devices"]
    assert (device["deviceId"], device["blocked"]) == ("enrolled", False)
    assert device["inventory"] == {"known": True, "retired": False, "names": {"serial": "DNQXK3P9N735"}}


@pytest.mark.parametrize(
    "address", ["o'brien@example.com", "bob", "bob@example.com;Remove-Mailbox", "b\u2019b@example.com"]
)
def test_nothing_but_an_address_and_an_id_gets_into_a_command(address: str) -> None:
    row = dict.fromkeys(handover.WHOSE, "x") | {"mailbox": address, "until": "", "what": "DENY"}
    assert [name for name, _ in handover._commands("Blocked", row)] == ["by-hand.csv"]


# All or nothing


@pytest.mark.parametrize("what", ["overrides", "users", "ledger", "disk"])
def test_what_can_not_be_read_or_written_whole_leaves_nothing(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    aws.lock(BOB, "TAXI", claim(1))

    def refuse(*_: Any, **__: Any) -> Any:
        if what == "disk":
            raise OSError("disk full")
        raise ClientError({"Error": {"Code": "Oops"}, "ResponseMetadata": {"HTTPStatusCode": 500}}, what)

    if what == "disk":
        monkeypatch.setattr(Path, "write_text", refuse)
    elif what == "ledger":
        monkeypatch.setattr(aws.dynamodb, "query", refuse)
    else:
        names = {"overrides": "list_mobile_device_access_overrides", "users": "get_paginator"}
        monkeypatch.setattr(aws.workmail, names[what], refuse)
    with pytest.raises((ClientError, LockoutError, OSError)):
        handover.write(aws.deployment, tmp_path / "over", NOW)
    assert [*tmp_path.iterdir()] == []


def test_an_earlier_hand_over_is_not_written_over(aws: Aws, tmp_path: Path) -> None:
    hand_over(aws, tmp_path / "over")
    with pytest.raises(FileExistsError, match="expected the name of a new directory"):
        handover.write(aws.deployment, tmp_path / "over", NOW)


def test_a_device_that_is_listed_twice_makes_the_list_unsure(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.override(BOB, "TWICE", Override("DENY"))
    pages = WorkMail.pages
    monkeypatch.setattr(WorkMail, "pages", lambda *of: [*pages(*of)] * 2)
    with pytest.raises(ValueError, match="listed device twice of"):
        snapshot.read(aws.deployment, ORGANIZATION, NOW)
