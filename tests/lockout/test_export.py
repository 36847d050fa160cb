"""The export with the real gateways over botocore's Stubber: exact requests, every page, all or nothing."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from config_reader import loader
from device_lockout.values.settings import Organization, Settings
from local.in_memory import BOB, ORGANIZATION, at
from lockout.__main__ import main
from lockout.commands import export, inventory
from lockout.deployment import Deployment

CARLA = "ca51a000-0000-4000-8000-000000000000"
DATED = {"HTTPStatusCode": 200, "HTTPHeaders": {"date": "Sun, 22 Nov 2026 07:30:00 GMT"}}
TAG = "[lockout/1 by=local why=lost until=2026-12-22T07:30:00Z at=2026-11-22T07:30:00Z id=9f3c2a1b was={}]{}"
FIRST_PAGES = [
    {"UserId": BOB, "DeviceId": f"DEVICE{number:03}", "Effect": "DENY", "Description": TAG.format("none", "")}
    for number in range(200)
]
LAST_PAGE: list[Any] = [
    {"UserId": BOB, "DeviceId": "COVER", "Effect": "DENY", "Description": TAG.format("allow", " INC-1 left in a taxi")},
    {"UserId": BOB, "DeviceId": "HAND", "Effect": "ALLOW", "Description": "[until=2026-12-01] trip, with a comma"},
    {
        "UserId": CARLA,
        "DeviceId": "OTHER",
        "Effect": "DENY",
        "Description": TAG.format("none", "").replace("local", "x"),
    },
    {"UserId": CARLA, "DeviceId": "BROKEN", "Effect": "DENY", "Description": "[lockout/1 by=local why=? id=9f3c2a1b]"},
    {"UserId": CARLA, "DeviceId": "BARE", "Effect": "ALLOW"},
]
NOTHING = dict.fromkeys(("why", "until", "was", "remark", *("reference", "note", "priorEffect", "priorDescription")))
SETTINGS = loader.load("local").settings


class Aws:
    """Stubbed clients, one of each service."""

    def __init__(self) -> None:
        keys = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
        make = partial(boto3.client, region_name="eu-west-1", **keys)
        self.clients: dict[str, Any] = {name: make(name) for name in ("workmail", "dynamodb")}
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()

    def client(self, service: str) -> Any:
        return self.clients[service]

    def lists(self, rows: list[Any], asked: str | None = None, token: str | None = None) -> None:
        """Expect a page of overrides."""
        expected = {"OrganizationId": ORGANIZATION, "MaxResults": 100} | ({"NextToken": asked} if asked else {})
        answer = {"Overrides": rows, "ResponseMetadata": DATED} | ({"NextToken": token} if token else {})
        self.stubs["workmail"].add_response("list_mobile_device_access_overrides", answer, expected)

    def lists_all(self) -> None:
        self.lists(FIRST_PAGES[:100], token="t1")
        self.lists(FIRST_PAGES[100:], asked="t1", token="t2")
        self.lists(LAST_PAGE, asked="t2")

    def lists_users(self) -> None:
        """Expect two pages of users, without Carla."""
        users = self.stubs["workmail"]
        asked = {"OrganizationId": ORGANIZATION, "MaxResults": 100}
        users.add_response("list_users", {"Users": [{"Id": CARLA.replace("c", "d")}], "NextToken": "u1"}, asked)
        bob = {"Id": BOB, "Name": "bob", "Email": "bob@example.com"}
        users.add_response("list_users", {"Users": [bob]}, asked | {"NextToken": "u1"})

    def has_a_ledger(self, table: str, **words: str) -> None:
        prior = {"M": {"effect": {"S": "ALLOW"}, "description": {"S": "travel"}}}
        claim = {"id": "9f3c2a1b", "scope": "device", "why": "lost", "at": "2026-11-22T07:30:00.000Z"}
        claim |= {"until": "2026-12-22T07:30:00Z", "reference": "INC-1", "note": "left in a taxi"} | words
        items: list[dict[str, Any]] = [
            {
                "pk": {"S": ORGANIZATION},
                "sk": {"S": f"device#{user}#{device}"},
                "claims": {"L": [{"M": {name: {"S": value} for name, value in claim.items()}}]},
                "prior": prior,
            }
            for user, device in ((BOB, "cover"), (BOB, "device000"), (CARLA, "broken"))
        ]  # what the second once covered is no longer there
        for found in ([], items, []):
            expected = {"TableName": table, "KeyConditionExpression": ANY, "ConsistentRead": True}
            self.stubs["dynamodb"].add_response(
                "query", {"Items": found}, {**expected, "ExpressionAttributeValues": ANY}
            )


@pytest.fixture
def aws() -> Iterator[Aws]:
    made = Aws()
    yield made
    for stub in made.stubs.values():
        stub.assert_no_pending_responses()


def exported(aws: Aws, *words: str, table: str = "named", settings: Settings = SETTINGS) -> int:
    return main(["export", *words], Deployment("s", "", {"LedgerTableName": table}, settings, aws.client))


def test_all_pages_are_printed_with_users_tags_and_what_is_covered(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.lists_all()
    aws.lists_users()
    aws.has_a_ledger("ledger-1")
    assert exported(aws, "--json", table="ledger-1") == 0
    said = capsys.readouterr()
    rows = json.loads(said.out)
    assert [row["deviceId"].upper() for row in rows] == [row["DeviceId"] for row in FIRST_PAGES + LAST_PAGE]
    assert said.err == "the list is complete, overrides: 205\n"

    bob = {"organizationId": ORGANIZATION, "userId": BOB, "userName": "bob", "email": "bob@example.com"}
    carla = {"organizationId": ORGANIZATION, "userId": CARLA, "userName": None, "email": None}
    lost = {"kind": "ours", "why": "lost", "until": "2026-12-22T07:30:00Z"}
    as_listed = [{"effect": row["Effect"], "description": row.get("Description")} for row in LAST_PAGE]
    first = {"deviceId": "device000", "effect": "DENY", "was": "none", "description": TAG.format("none", "")}
    words = {"reference": "INC-1", "note": "left in a taxi"}
    covered = {"priorEffect": "ALLOW", "priorDescription": "travel"}
    assert rows[0] == NOTHING | bob | lost | first | words
    assert rows[200:] == [
        NOTHING
        | bob
        | lost
        | {"deviceId": "cover", "was": "allow", "remark": "INC-1 left in a taxi"}
        | words
        | covered
        | as_listed[0],
        NOTHING
        | bob
        | {"deviceId": "hand", "kind": "hand-written", "until": "2026-12-02T00:00:00Z"}
        | {"remark": "trip, with a comma"}
        | as_listed[1],
        NOTHING | carla | {"deviceId": "other", "kind": "foreign"} | as_listed[2],
        NOTHING | carla | {"deviceId": "broken", "kind": "broken"} | words | covered | as_listed[3],
        NOTHING | carla | {"deviceId": "bare", "kind": "foreign"} | as_listed[4],
    ]


def test_the_csv_says_the_same_as_the_json(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        aws.lists_all()
        aws.lists_users()
        aws.has_a_ledger("named")
    assert exported(aws) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == export.COLUMNS
    assert exported(aws, "--json") == 0
    assert rows == [{name: value or "" for name, value in row.items()} for row in json.loads(capsys.readouterr().out)]


def test_an_exported_file_is_imported_with_the_same_values(
    aws: Aws, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    aws.lists_all()
    aws.lists_users()
    aws.has_a_ledger("named", reference="-12", note="'=1; \"=2, 'three\"")
    assert exported(aws) == 0
    (file := tmp_path / "overrides.csv").write_text(capsys.readouterr().out, encoding="utf-8")
    lines = inventory.read(file, "inventory", SETTINGS, at(0), ignore_other_columns=True)
    assert len(lines) == 205
    assert [line.faults for line in lines if line.faults] == []
    assert {name: lines[0].detail[name] for name in ("organizationId", "userId", "deviceId", "reference", "note")} == {
        "organizationId": ORGANIZATION,
        "userId": BOB,
        "deviceId": "device000",
        "reference": "-12",
        "note": "'=1; \"=2, 'three\"",
    }


@pytest.mark.parametrize("fails", ["a page of overrides", "a repeated page", "a page of users", "the ledger"])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_what_can_not_be_read_whole_is_not_printed_at_all(
    aws: Aws,
    capsys: pytest.CaptureFixture[str],
    fails: str,
    form: str,
) -> None:
    workmail = aws.stubs["workmail"]
    if fails == "a page of overrides":
        aws.lists(FIRST_PAGES[:100], token="t1")
        workmail.add_client_error("list_mobile_device_access_overrides", "ThrottlingException", "slow down")
    elif fails == "a repeated page":
        aws.lists(FIRST_PAGES[:100], token="t1")
        aws.lists(FIRST_PAGES[:100], asked="t1", token="t1")
    else:
        aws.lists_all()
    if fails == "a page of users":
        workmail.add_response("list_users", {"Users": [], "NextToken": "u1"})
        workmail.add_client_error("list_users", "InternalFailure", http_status_code=500)
    elif fails == "the ledger":
        aws.lists_users()
        aws.stubs["dynamodb"].add_client_error("query", "AccessDeniedException", "no")
    assert exported(aws, *(["--json"] if form == "json" else [])) in (1, 4)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("lockout: ")
    assert "complete" not in said.err


def test_one_organization_that_fails_leaves_nothing_printed_of_the_others(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = Organization("m-" + "0" * 32, "gone")
    both = replace(SETTINGS, organizations=(*SETTINGS.organizations, gone))
    aws.lists_all()
    aws.lists_users()
    aws.has_a_ledger("named")
    aws.stubs["workmail"].add_client_error("list_mobile_device_access_overrides", "OrganizationStateException", "gone")
    assert exported(aws, settings=both) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.endswith("OrganizationStateException: gone\n")) == ("", True)
