"""The sweep and the writer in this process, with their real gateways to the local AWS's WorkMail and DynamoDB."""

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

import sweep_overrides
from device_lockout import wiring
from device_lockout.aws.ledger import Ledger
from device_lockout.aws.workmail import WorkMail
from device_lockout.protocol import steps, sweep
from device_lockout.protocol.announcement import row
from device_lockout.protocol.ports import Ports
from device_lockout.values.command import Command
from device_lockout.values.device import DeviceKey
from device_lockout.values.errors import TransientError
from device_lockout.values.settings import Organization as Configured
from device_lockout.values.settings import Settings
from device_lockout.values.tag import HOLD, Tag, write
from local.connection import Connection
from local.in_memory import FakeBus, FakeQueue, Wire, sweeping

pytestmark = [pytest.mark.local_aws, pytest.mark.slow]

DAY = timedelta(days=1)


class OneAtATime(FakeQueue):
    """A queue that nobody works off while a sweep runs."""

    def waiting(self) -> int:
        return len(self.sent)


class Organization:
    """An organization of its own on the local AWS, with its ledger, and a clock that can be put forward."""

    def __init__(self, aws: Connection, known: Settings, table: str) -> None:
        self.aws = aws
        self.id = f"m-{uuid.uuid4().hex}"
        self.user = str(uuid.uuid4())
        configured = Configured(self.id, "one", ends_at=datetime(2100, 1, 1, tzinfo=UTC))
        self.settings = replace(known, organizations=(configured,))
        self.ahead = timedelta(0)
        self.client = aws.client("workmail")
        self.ledger = Ledger(aws.client("dynamodb"), table)
        self.queue = OneAtATime(Wire())
        self.bus = FakeBus(Wire())
        self.workmail = WorkMail(self.client)
        self.ports = Ports(self.workmail, self.ledger, self.queue, self.bus)
        organization = {"OrganizationId": self.id, "Alias": self.id[2:12]}
        self.seed(organizations=[organization], users=[{"UserId": self.user, "Name": "ana"}])

    def seed(self, **what: list[dict[str, Any]]) -> None:
        rows = {kind: [{"OrganizationId": self.id, **row} for row in rows] for kind, rows in what.items()}
        status, said = self.aws.control("POST", "/_emulator/seed", json.dumps(rows).encode())
        assert status == 200, said

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def go_on(self, time: timedelta) -> None:
        """Put our clock and WorkMail's forward."""
        self.ahead += time
        skew = json.dumps({"date_header_skew_seconds": self.ahead.total_seconds()})
        assert self.aws.control("PUT", "/_emulator/settings", skew.encode())[0] == 200

    def put(self, device: str, effect: str, description: str) -> None:
        self.client.put_mobile_device_access_override(
            OrganizationId=self.id, UserId=self.user, DeviceId=device, Effect=effect, Description=description
        )

    def delete(self, device: str) -> None:
        self.client.delete_mobile_device_access_override(OrganizationId=self.id, UserId=self.user, DeviceId=device)

    def listed(self) -> dict[str, tuple[str, str]]:
        pages = self.workmail.pages(self.id)
        rows = [row for page, _ in pages for row in page]
        return {row.key.device: (row.override.effect, row.override.description or "") for row in rows}

    def tag(self, device: str) -> Tag | None:
        stands = self.workmail.get(DeviceKey(self.id, self.user, device)).override
        reading = None if stands is None else stands.read("local")
        return reading if isinstance(reading, Tag) and stands is not None and stands.effect == "DENY" else None

    def tag_of_ours(self, number: int, until: timedelta) -> dict[str, str]:
        """An override of ours in the seed's form."""
        whole = self.now.replace(microsecond=0)
        tag = Tag("local", "lost", whole + until, whole - DAY, f"{number:08x}", "none")
        return {"UserId": self.user, "DeviceId": f"d{number}", "Effect": "DENY", "Description": write(tag)}

    def plan(self, name: str = "", enough_time: Callable[[], bool] = lambda: True) -> sweep.SweepResult:
        """One run of the sweep, whose commands wait."""
        ran_out: list[bool] = []
        run = sweep.Run(
            name or uuid.uuid4().hex,
            self.id,
            self.now,
            clock=lambda: self.now,
            enough_time=lambda: enough_time() and not ran_out,
            pause=lambda: ran_out.append(True),
        )
        return sweep.run(run, self.ports, self.settings)

    def work_off(self) -> None:
        while self.queue.sent:
            steps.carry_out(self.queue.sent.pop(0), self.ports, self.settings.rules, self.now)

    def sweep(self) -> sweep.SweepResult:
        report = self.plan()
        self.work_off()
        return report

    def carry_out(self, command: Command) -> None:
        steps.carry_out(command, self.ports, self.settings.rules, self.now)

    def told(self, detail_type: str) -> list[dict[str, Any]]:
        return [detail for kind, detail in self.bus.announced if kind == detail_type]


@pytest.fixture
def organization(aws: Connection, name: str) -> Iterator[Callable[..., Organization]]:
    """Makes organizations; ``sweep`` settings may be given. The emulator's clock is put right in the end."""
    aws.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )

    def make(**policy: Any) -> Organization:
        return Organization(aws, sweeping(**policy), name)

    yield make
    aws.control("PUT", "/_emulator/settings", json.dumps({"date_header_skew_seconds": None}).encode())


def settled(one: Organization) -> Organization:
    """After its first sweep, which only reports, and the second."""
    one.sweep()
    one.sweep()
    one.bus.announced.clear()
    return one


def test_of_three_organizations_the_disabled_one_stops_only_itself_and_is_told_once(organization):
    three = [settled(organization()) for _ in range(3)]
    for one in three:
        one.seed(overrides=[one.tag_of_ours(number, -DAY) for number in range(5)])
    disabled = three[1]
    disabled.seed(organizations=[{"State": "Disabled"}])
    for _ in range(3):
        reports = [one.sweep() for one in three]
    assert [report.completed for report in reports] == [True, False, True]
    assert [one.listed() for one in (three[0], three[2])] == [{}, {}]
    refusals = disabled.told("Sweep Refused")
    assert [told["guard"] for told in refusals] == ["organization"] * 3
    assert [told["page"] for told in refusals] == [True, False, False]

    disabled.seed(organizations=[{"State": "Active"}])
    disabled.sweep()
    assert disabled.listed() == {}
    disabled.seed(organizations=[{"State": "Disabled"}])
    disabled.sweep()
    assert disabled.told("Sweep Refused")[-1]["page"], "once for each time"


def test_two_hundred_that_are_over_stay_while_the_cap_is_fifty(organization, monkeypatch, caplog):
    one = settled(organization(max_removals=50))
    one.seed(overrides=[one.tag_of_ours(number, timedelta(minutes=-number - 1)) for number in range(200)])
    before = one.listed()

    monkeypatch.setenv("LEDGER_TABLE", one.ledger._table.name)
    monkeypatch.setattr(wiring, "ports", lambda *_: one.ports)
    monkeypatch.setattr(wiring, "settings", lambda: one.settings)
    monkeypatch.setattr(sweep_overrides.metrics.provider, "namespace", "DeviceLockout")
    context = SimpleNamespace(
        aws_request_id="run",
        function_name="sweep_overrides",
        memory_limit_in_mb=512,
        invoked_function_arn="arn",
        get_remaining_time_in_millis=lambda: 900_000,
    )
    with caplog.at_level(logging.INFO, sweep_overrides.logger.name):
        answer = sweep_overrides.handler({"organizationId": one.id}, context)
    assert answer == {"completed": True, "guard": "max-removals", "enqueued": 0}
    assert one.listed() == before
    (refused,) = one.told("Sweep Refused")
    assert (refused["removals"], refused["page"], len(refused["first"])) == (200, True, 5)
    assert "200 overrides" in refused["message"]
    rows = [vars(record)["item"] for record in caplog.records if record.getMessage() == "planned"]
    assert len(rows) == 200
    assert [row["deviceId"] for row in rows] == [f"d{number}" for number in reversed(range(200))], "oldest first"
    assert all(row["because"].startswith("its time was over at ") for row in rows)

    one.settings = replace(one.settings, sweep=replace(one.settings.sweep, max_removals=200, portion=60))
    sizes = []
    while one.listed():
        sizes.append(one.plan().enqueued)
        assert len(sizes) < 10
        one.work_off()
    assert sizes == [60, 60, 60, 20], "while nobody works, no more than a portion waits"


def test_report_and_apply_plan_the_same_and_a_report_changes_nothing(organization):
    one = settled(organization(mode="report"))
    one.seed(overrides=[one.tag_of_ours(number, timedelta(hours=number - 5)) for number in range(10)])
    one.put("hand", "ALLOW", "[until=2026-01-01] travel phone")
    one.put("broken", "DENY", "[lockout/1 by=local what]")

    def ledger():
        """What the ledger holds, without the run that is kept like an outcome."""
        items = one.ledger._table._client.scan(TableName=one.ledger._table.name, ConsistentRead=True)["Items"]
        return [item for item in items if item["pk"]["S"] != "event#run"]

    before = ledger()
    stands = one.listed()
    report = one.plan("run")
    assert not one.queue.sent
    assert one.listed() == stands
    assert ledger() == before
    assert [kind for kind, _ in one.bus.announced] == ["Sweep Completed"]

    one.settings = replace(one.settings, sweep=replace(one.settings.sweep, mode="apply"))
    applied = one.plan("run")
    assert [row(item) for item in applied.plan.removals] == [row(item) for item in report.plan.removals]
    assert [row(item) for item in applied.plan.reasserts] == [row(item) for item in report.plan.reasserts]
    assert (len(report.plan.removals), len(report.plan.reasserts), len(report.plan.left)) == (7, 4, 1)
    assert applied.refused is not None, "the first run that lets go is one after a gap"
    assert applied.refused.guard == "first-run"


def test_what_people_do_to_a_live_lock(organization):
    one = settled(organization())
    one.seed(overrides=[one.tag_of_ours(number, 10 * DAY) for number in range(4)])
    one.sweep()
    locked = {device: one.tag(device) for device in ("d0", "d1", "d2", "d3")}
    assert all(locked.values())

    one.delete("d0")
    one.put("d1", "DENY", "I keep this one out myself, Jana")
    theirs = locked["d2"]
    assert theirs is not None
    one.put("d2", "DENY", write(replace(theirs, until=HOLD), "until we know more"))
    one.put("d3", "ALLOW", write(locked["d3"] or theirs))
    one.bus.announced.clear()
    one.sweep()
    assert one.tag("d0") == locked["d0"], "back with the same until"
    assert one.listed()["d1"] == ("DENY", "I keep this one out myself, Jana")
    assert one.tag("d2") == replace(theirs, until=HOLD)
    assert one.tag("d3") == locked["d3"]
    tampered = {detail["deviceId"] for detail in one.told("Tampering Detected")}
    assert tampered == {"d0", "d3"}

    one.go_on(11 * DAY)
    one.sweep()  # days without a sweep: it only reports
    one.delete("d2")
    one.sweep()
    assert one.tag("d2") == replace(theirs, until=HOLD), "the ledger took the edited end over, and so it comes back"
    assert set(one.listed()) == {"d1", "d2"}


def test_an_emptied_ledger_lets_nothing_back_early_and_all_expire_as_their_tags_say(organization):
    one = settled(organization())
    one.seed(overrides=[one.tag_of_ours(number, timedelta(minutes=10 * (number + 1))) for number in range(10)])
    one.sweep()
    table = one.ledger._table.name
    for item in one.ledger._table._client.scan(TableName=table, ConsistentRead=True)["Items"]:
        one.ledger._table._client.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})
    before = one.listed()
    one.go_on(timedelta(minutes=11))
    first = one.sweep()
    assert first.refused is not None
    assert (first.refused.guard, one.told("Sweep Refused")[-1]["page"]) == ("first-run", True)
    assert one.listed() == before, "d0 is over, but the first run only reports"
    for number in range(10):
        one.sweep()
        assert set(one.listed()) == {f"d{left}" for left in range(number + 1, 10)}
        one.sweep()
        one.go_on(timedelta(minutes=10))


def test_overrides_that_can_never_be_removed_block_nobody(organization):
    one = settled(organization(max_removals=10))
    gone = {"UserId": str(uuid.uuid4()), "Name": "gone"}
    one.seed(users=[gone])
    orphans = [{**one.tag_of_ours(number, -DAY), "UserId": gone["UserId"]} for number in range(30)]
    for first in range(0, 30, 10):
        one.seed(overrides=orphans[first : first + 10])
        one.seed(users=[{"UserId": gone["UserId"], "Name": "gone", "State": "DELETED"}])
        one.sweep()
    failed = one.told("Lockout Failed")
    assert len(failed) == len({detail["deviceId"] for detail in failed}) == 30, "each is told once"
    one.seed(overrides=[one.tag_of_ours(number, -DAY) for number in range(100, 110)])
    report = one.sweep()
    assert report.refused is None
    assert not any(device.startswith("d10") and len(device) == 4 for device in one.listed())

    tried = []
    for _ in range(3):
        one.plan()
        tried += [command.target.device for command in one.queue.sent]
        one.work_off()
    assert sorted(tried) == sorted(f"d{number}" for number in range(30)), "all come to their turn again"
    assert len(one.told("Lockout Failed")) == 30


def test_two_sweeps_at_once_do_no_harm(organization):
    one = settled(organization())
    one.seed(overrides=[one.tag_of_ours(number, timedelta(hours=number - 5)) for number in range(10)])
    one.sweep()
    one.put("d9", "ALLOW", "I want it")
    one.plan()
    one.plan()
    one.work_off()
    live = {f"d{number}" for number in range(6, 10)}
    assert set(one.listed()) == live
    assert all(one.tag(device) for device in live)


def test_a_ledger_that_is_away_changes_nothing(organization):
    one = settled(organization())
    one.seed(overrides=[one.tag_of_ours(number, -DAY) for number in range(3)])
    one.plan()
    before = one.listed()
    one.ports = replace(one.ports, ledger=Ledger(one.aws.client("dynamodb"), "no-such-table"))
    for command in one.queue.sent:
        with pytest.raises(TransientError):
            one.carry_out(command)
    assert one.listed() == before


def test_the_first_sweep_with_a_restored_table_only_reports(organization, aws, name):
    one = settled(organization())
    one.seed(overrides=[one.tag_of_ours(0, -DAY)])
    items = one.ledger._table._client.scan(TableName=name, ConsistentRead=True)["Items"]
    restored = f"{name}-restored"
    described = aws.client("dynamodb").describe_table(TableName=name)["Table"]
    aws.client("dynamodb").create_table(
        TableName=restored,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=described["AttributeDefinitions"],
        KeySchema=described["KeySchema"],
    )
    for item in items:
        aws.client("dynamodb").put_item(TableName=restored, Item=item)
    assert one.plan().refused is None, "with the table that it knows it would let go"
    one.queue.sent.clear()
    one.ports = replace(one.ports, ledger=Ledger(aws.client("dynamodb"), restored))
    report = one.plan()
    assert report.refused is not None
    assert report.refused.guard == "set-back"
    assert not one.queue.sent
