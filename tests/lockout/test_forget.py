"""A person forgotten, over the real ledger's items: what goes, and what a lock or a late copy still needs."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from device_lockout.aws.ledger import Ledger
from device_lockout.inbound.report import read
from device_lockout.values import instant
from local.in_memory import BOB, World, key
from lockout.deployment import Deployment
from tests.functions.aws.fake_dynamodb import FakeDynamoDB
from tests.lockout.conftest import Run

EVE = "e0e00000-0000-4000-8000-000000000000"
PERSONAL = ("bob", BOB, "INC-", "taxi", "phone", "s-1", "max@example.com")
type Say = Callable[..., None]


@pytest.fixture
def table(world: World, there: Deployment) -> FakeDynamoDB:
    """The real ledger over a table in memory, for the protocol and the command alike."""
    table = FakeDynamoDB()
    world.workmail.names |= {"eve": EVE, "bobby": EVE, EVE: EVE}
    world.ports = replace(world.ports, ledger=Ledger(table, "ledger"))
    vars(there).update(ledger=world.ports.ledger, client=lambda _: table)
    return table


@pytest.fixture
def say(world: World, table: FakeDynamoDB) -> Say:  # noqa: ARG001 (the ledger is to be there)
    """Delivers a report of so many days ago, as the router and the writer do."""

    def said(kind: str, days: float, source: str = "helpdesk", **detail: str) -> None:
        when = datetime.now(UTC) - timedelta(days=days)
        detail = {"reportedAt": instant.write(when), "reporter": "max@example.com"} | detail
        body = {"id": str(uuid4()), "source": source, "detail-type": kind, "detail": detail}
        for command in read(json.dumps(body), "m", when, world.settings):
            world.deliver(command, when)

    return said


def known(table: FakeDynamoDB) -> list[str]:
    """The items, but for Eve's, that have some word of Bob's."""
    texts = [json.dumps(item).casefold() for item in table.items.values()]
    return [text for text in texts if any(word in text for word in PERSONAL) and EVE not in text]


def lost(say: Say, days: float, user: str = "bob", device: str = "phone1", **more: str) -> None:
    say("Device Lost", days, userId=user, deviceId=device, reference="INC-1", note="left in a taxi", **more)


def test_of_a_person_without_a_lock_nothing_is_left_and_others_keep_theirs(
    run: Run, say: Say, table: FakeDynamoDB, world: World
) -> None:
    say("Device Enrolled", 100, "mdm", userId="bob", deviceId="phone1", serialNumber="S-1", assetTag="A-1")
    lost(say, 90)
    say("Device Stolen", 89, serialNumber="S-1", note="in a taxi")
    say("User Compromised", 88, userId="bob@example.com", note="in a taxi")
    say("User Restored", 80, userId="bob")
    say("Device Recovered", 79, serialNumber="S-1", note="in a taxi")
    lost(say, 1, "nobody-bob")
    lost(say, 1, "bobby", "tablet1")
    assert world.workmail.overrides.keys() == {key("tablet1", EVE)}
    before = {place: item for place, item in table.items.items() if EVE in json.dumps(item)}
    status, out, _ = run("forget", "bob", "--dry-run")
    assert status == 0, out
    assert len(known(table)) > 8, "a rehearsal"
    assert len({*out.splitlines()}) == out.count("\n"), "each item once, whatever its user is called"
    assert run("forget", "bob")[0] == 2, "nobody said yes"
    assert run("forget", "bob", "--yes")[0] == 0
    (other,) = known(table)
    assert "nobody-bob" in other
    assert before == {place: item for place, item in table.items.items() if EVE in json.dumps(item)}
    _, out, err = run("forget", "bob", "--yes")
    assert (out, err.splitlines()[0]) == ("", "the ledger holds nothing of bob")


def test_what_look_ups_found_is_erased_where_it_is_of_the_person(run: Run, say: Say, table: FakeDynamoDB) -> None:
    say("Device Enrolled", 100, "mdm", userId="bob", deviceId="phone1", assetTag="A-1")
    lost(say, 5, user="", device="", assetTag="A-1")
    say("Device Recovered", 4, assetTag="A-1")
    say("Device Retired", 3, "mdm", userId="bob", deviceId="phone1")
    say("Device Enrolled", 2, "mdm", userId="eve", deviceId="tablet1", assetTag="A-1")
    lost(say, 1, user="", device="", assetTag="A-1")
    say("Device Enrolled", 1, "mdm", userId="eve", deviceId="tablet2", assetTag="A-2")
    lost(say, 1, user="", device="", assetTag="A-2")
    found = {place: json.dumps(item) for place, item in table.items.items() if place[1].startswith("found#")}
    had_it_once = [{"L": [{"S": BOB}, {"S": "phone1"}]}]
    assert [table.items[place]["left"]["L"] for place in found].count(had_it_once) == 1
    run("forget", "bob", "--yes")
    (left,) = (item for place, item in found.items() if place in table.items)
    assert BOB not in left
    assert "tablet2" in left


def test_what_a_live_lock_needs_stays_until_it_is_over(run: Run, say: Say, world: World) -> None:
    say("Device Enrolled", 100, "mdm", userId="bob", deviceId="phone1", serialNumber="S-1")
    lost(say, 5)
    lost(say, 90, device="phone2")
    say("Device Recovered", 89, userId="bob", deviceId="phone2")
    stood = dict(world.workmail.overrides)
    status, out, _ = run("forget", "bob", "--yes")
    assert status == 1
    assert f"device#{BOB}#phone1: stays without old notes, its lock is live or stands" in out
    assert f"device#{BOB}#phone2: deleted" in out
    assert "name#bob: stays, a lock is live" in out
    now = datetime.now(UTC)
    (claim,) = world.ports.ledger.open_device(key("phone1")).live(now)
    assert claim.remark == "INC-1 left in a taxi"
    assert world.workmail.overrides == stood
    world.sweep(now)
    assert world.workmail.overrides == stood
    say("Device Recovered", 0, userId="bob", deviceId="phone1")
    assert world.workmail.overrides == {}


def test_a_lock_that_somebody_undid_or_that_no_sweep_removed_yet_keeps_what_it_needs(
    run: Run, say: Say, table: FakeDynamoDB, world: World
) -> None:
    for device, days in (("phone1", 5), ("phone2", 90)):
        say("Device Enrolled", 100, "mdm", userId="bob", deviceId=device, serialNumber="S-1")
        lost(say, days, device=device)
    world.workmail.overrides.pop(key("phone1"))
    assert key("phone2") in world.workmail.overrides
    before = {place: item for place, item in table.items.items() if place[1].startswith("device#")}
    out = run("forget", "bob", "--yes")[1]
    assert out.count("its lock is live or stands") == 2
    for place, item in before.items():
        assert [table.items[place][name] for name in ("names", "last")] == [item["names"], item["last"]]


def test_times_stay_as_long_as_a_copy_of_a_report_may_come(run: Run, say: Say, world: World, table: Any) -> None:
    lost(say, 5)
    world.workmail.overrides.clear()
    world.plan(datetime.now(UTC))
    assert f'"action": {{"S": "reassert"}}, "userId": {{"S": "{BOB}"}}' in json.dumps([*table.items.values()])
    say("Device Recovered", 4, userId="bob", deviceId="phone1")
    say("Device Recovered", 4, userId="bob", deviceId="phone2")
    lost(say, 5, device="phone3")
    say("Device Recovered", 4, userId="bob", deviceId="phone3")
    status, out, _ = run("forget", "bob", "--yes")
    assert '"reassert"' not in json.dumps([*table.items.values()]), "the sweep's rows"
    assert f"device#{BOB}#phone2: stays" in out, "of a release alone"
    assert (status, "stays without old notes, copies of reports may come" in out) == (1, True)
    assert "taxi" not in json.dumps([*table.items.values()])
    lost(say, 5, device="PHONE1")  # another report of then
    lost(say, 5, device="PHONE2")
    assert world.workmail.overrides == {}, "the recoveries are known"


def test_an_item_that_was_written_meanwhile_is_not_deleted(
    run: Run, say: Say, table: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost(say, 90)
    say("Device Recovered", 89, userId="bob", deviceId="phone1")
    place = next(place for place in table.items if place[1] == f"device#{BOB}#phone1")
    delete = table.delete_item

    def later(**asked: Any) -> Any:
        if asked["Key"]["sk"]["S"] == place[1]:
            table.items[place]["version"] = {"N": "99"}
        return delete(**asked)

    monkeypatch.setattr(table, "delete_item", later)
    assert run("forget", "bob", "--yes")[0] == 1
    assert place in table.items
