import asyncio
import json
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest

from local.workmail import controls
from local.workmail.cloudtrail import event_of
from local.workmail.seeding import user_id_of
from tests.local.workmail.asking import (
    ANA,
    DELETE,
    GET,
    LIST,
    ORGANIZATION,
    PUT,
    Clock,
    answer,
    ask,
    control,
    emulator,
    listed,
    outcome,
    refusal,
)

OTHER = "m-00000000000000000000000000000001"
A_PUT = {"UserId": "ana", "DeviceId": "A1", "Effect": "DENY"}


def seed(to, **rows):
    return control(to, "POST", "seed", rows)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"sede": 1}, ["unknown setting sede", "seed"]),
        ({"seed": "1"}, ["seed is '1'", "an integer"]),
        ({"seed": True}, ["seed is True", "an integer"]),
        ({"date_header_skew_seconds": "late"}, ["date_header_skew_seconds is 'late'", "a number"]),
        ({"date_header_skew_seconds": float("nan")}, ["date_header_skew_seconds is nan"]),
        ({"keep_calls": -1}, ["keep_calls is -1", "0 to 10,000,000"]),
        ({"quirks": []}, ["quirks is []", "an object"]),
        ({"quirks": {"alias_resolves": True}}, ["unknown setting quirks.alias_resolves", "aliases_resolve"]),
        ({"quirks": {"aliases_resolve": 1}}, ["quirks.aliases_resolve is 1", "true or false"]),
        ({"quirks": {"page_tokens": "die"}}, ["quirks.page_tokens is 'die'", "survive, restart, skip, fail"]),
        ({"quirks": {"list_delay_seconds": -1}}, ["quirks.list_delay_seconds is -1", "0 to 86,400"]),
        ({"quirks": {"throttle_status": 200}}, ["quirks.throttle_status is 200", "400 to 599"]),
        ({"quirks": {"throttle_code": "a b"}}, ["quirks.throttle_code is 'a b'", "an error code"]),
        ({"quirks": {"default_page_size": 101}}, ["quirks.default_page_size is 101", "1 to 100"]),
        ({"faults": 3}, ["faults is 3", "an object"]),
        ({"faults": {"x": 3}}, ["faults.x is 3", "an object"]),
        ({"faults": {"x": {}}}, ["faults.x.kind is 'x'", "throttle, latency, error, no_answer"]),
        ({"faults": {"throttle": {"rate": 3}}}, ["unknown setting faults.throttle.rate", "per_second"]),
        ({"faults": {"throttle": {"probability": 1.5}}}, ["faults.throttle.probability is 1.5", "0 to 1"]),
        ({"faults": {"throttle": {"per_second": 0}}}, ["faults.throttle.per_second is 0", "calls a second"]),
        ({"faults": {"throttle": {"burst": 3}}}, ["faults.throttle.burst", "per_second"]),
        ({"faults": {"throttle": {"count": 1.5}}}, ["faults.throttle.count is 1.5"]),
        ({"faults": {"throttle": {"operations": "Put"}}}, ["faults.throttle.operations is 'Put'", PUT]),
        ({"faults": {"throttle": {"operations": ["Put"]}}}, ["faults.throttle.operations is ['Put']", PUT]),
        ({"faults": {"throttle": {"operations": []}}}, ["faults.throttle.operations is []", PUT]),
        ({"faults": {"throttle": {"user": ""}}}, ["faults.throttle.user is ''", "a text"]),
        ({"faults": {"latency": {}}}, ["faults.latency.ms is missing", "milliseconds"]),
        ({"faults": {"latency": {"ms": "1s"}}}, ["faults.latency.ms is '1s'", "milliseconds"]),
        ({"faults": {"error": {"status": 404}}}, ["faults.error.status is 404", "500 to 599"]),
        ({"faults": {"error": {"effect": "maybe"}}}, ["faults.error.effect is 'maybe'", "applied, not_applied, late"]),
        ({"faults": {"no_answer": {"effect": "late"}}}, ["faults.no_answer.after_seconds is missing", "seconds"]),
        ({"faults": {"no_answer": {"ms": 5}}}, ["unknown setting faults.no_answer.ms"]),
        ({"faults": {"hold": {}}}, ["faults.hold.target is missing", "a header, such as"]),
        ({"faults": {"hold": {"target": "x", "user": "bob"}}}, ["unknown setting faults.hold.user", "principal"]),
        ([], ["a JSON object", "[]"]),
        (b"{", ["not JSON"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_expected_and_changes_nothing(patch, words):
    to = emulator()
    before = control(to, "GET", "settings")[1]
    for document in [patch, {"seed": 9, **patch}] if isinstance(patch, dict) else [patch]:
        status, said = control(to, "PUT", "settings", document)
        assert status == 400
        assert [word for word in words if word not in said["error"]] == []
    assert control(to, "GET", "settings")[1] == before


def test_all_wrong_settings_are_named_at_once():
    patch = {"a": 1, "seed": -1, "quirks": {"b": 1, "page_tokens": 0}, "faults": {"c": {}, "latency": {}}}
    said = control(emulator(), "PUT", "settings", patch)[1]
    assert len(said["problems"]) == 6


def test_settings_merge_and_null_goes_back():
    to = emulator()
    default = control(to, "GET", "settings")[1]
    control(to, "PUT", "settings", {"seed": 3, "quirks": {"page_tokens": "skip"}, "faults": {"latency": {"ms": 0}}})
    status, now = control(to, "PUT", "settings", {"quirks": {"device_id_case": "upper"}, "faults": {"error": {}}})
    assert status == 200
    assert now == control(to, "GET", "settings")[1]
    assert now["seed"] == 3
    assert now["quirks"] == default["quirks"] | {"page_tokens": "skip", "device_id_case": "upper"}
    assert list(now["faults"]) == ["latency", "error"]
    assert control(to, "PUT", "settings", now)[1] == now
    control(to, "PUT", "settings", {"seed": None, "quirks": {"page_tokens": None}, "faults": {"error": None}})
    now = control(to, "GET", "settings")[1]
    assert (now["seed"], now["quirks"]["page_tokens"], list(now["faults"])) == (0, "survive", ["latency"])
    assert control(to, "PUT", "settings", {"quirks": None, "faults": None})[1] == default


@pytest.mark.parametrize(
    ("method", "name", "status", "words"),
    [
        ("GET", "reset", 405, "POST"),
        ("POST", "settings", 405, "GET and PUT"),
        ("DELETE", "calls", 405, "GET"),
        ("GET", "nothing", 404, "GET /_emulator/settings"),
        ("GET", "", 404, "POST /_emulator/seed"),
    ],
)
def test_what_is_no_control_says_what_is(method, name, status, words):
    answered, said = control(emulator(), method, name)
    assert answered == status
    assert words in said["error"]


# --- reset and seed ---------------------------------------------------------------------------------------------------


def test_a_reset_restores_everything():
    to = emulator(seed=5)
    fresh = [ask(to, "ListUsers"), ask(to, "ListOrganizations")]
    ask(to, PUT, **A_PUT)
    seed(to, organizations=[{"OrganizationId": OTHER}], users=[{"OrganizationId": ORGANIZATION, "Name": "zoe"}])
    assert [ask(to, "ListUsers"), ask(to, "ListOrganizations")] != fresh
    assert control(to, "POST", "reset")[0] == 200
    assert [ask(to, "ListUsers"), ask(to, "ListOrganizations")] == fresh
    assert listed(to) == []
    assert control(to, "GET", "settings")[1]["seed"] == 0


def test_the_seeded_users_ids_derive_from_their_names():
    users = ask(emulator(), "ListUsers")["Users"]
    assert {user["Id"] for user in users} == {user_id_of(user["Name"]) for user in users}


def test_overrides_are_seeded_with_exact_dates():
    to = emulator()
    rows = [
        {**A_PUT, "DateCreated": "2026-01-02T03:04:05.678Z", "DateModified": "2026-02-03T04:05:06+01:00"},
        {**A_PUT, "DeviceId": "A2", "Description": "x", "DateCreated": 1767323045.5},
        {**A_PUT, "DeviceId": "A3", "DateCreated": None},
    ]
    assert seed(to, overrides=rows) == (200, {"overrides": 3})
    one, two, three = listed(to)
    assert one["DateCreated"] == datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    assert one["DateModified"] == datetime(2026, 2, 3, 3, 5, 6, tzinfo=UTC)
    assert two["DateCreated"] == two["DateModified"] == datetime(2026, 1, 2, 3, 4, 5, 500_000, UTC)
    assert three["DateCreated"] == three["DateModified"] == Clock().now


def test_what_was_listed_can_be_seeded_again():
    to = emulator()
    ask(to, PUT, **A_PUT, Description="why")
    rows = listed(to)
    other = emulator()
    again = [row | {name: row[name].isoformat() for name in ("DateCreated", "DateModified")} for row in rows]
    assert seed(other, overrides=again)[0] == 200
    assert listed(other) == rows


def test_a_seed_changes_only_the_members_given():
    to = emulator()
    before = ask(to, "DescribeUser", UserId="ana")
    seed(to, users=[{"Name": "ana", "State": "DISABLED"}])
    after = ask(to, "DescribeUser", UserId="ana")
    assert after.pop("DisabledDate") == Clock().now
    assert after == before | {"State": "DISABLED"}
    seed(to, users=[{"UserId": ANA, "Name": "anna", "State": "ENABLED"}])
    assert ask(to, "DescribeUser", UserId="ana@example.com") == before | {"Name": "anna"}
    assert refusal(to, "DescribeUser", UserId="ana").code == "EntityNotFoundException"
    ask(to, PUT, **{**A_PUT, "UserId": "anna"})
    seed(to, organizations=[{"OrganizationId": ORGANIZATION, "State": "Deleting"}])
    assert refusal(to, LIST).code == "OrganizationStateException"
    seed(to, organizations=[{"OrganizationId": ORGANIZATION, "State": "Active"}])
    assert len(listed(to)) == 1


def test_names_can_change_hands_within_one_seed():
    to = emulator()
    bob = ask(to, "DescribeUser", UserId="bob")["UserId"]
    rows = [{"UserId": ANA, "Name": "ana2"}, {"UserId": bob, "Name": "ana"}, {"UserId": ANA, "Name": "bob"}]
    assert seed(to, users=rows)[0] == 200
    assert ask(to, "DescribeUser", UserId="ana")["UserId"] == bob
    assert ask(to, "DescribeUser", UserId="bob")["UserId"] == ANA
    assert outcome(to, "DescribeUser", UserId="ana2").code == "EntityNotFoundException"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"people": []}, ["organizations, users, overrides", "people"]),
        ({"users": {}}, ["users is {}", "a list"]),
        ({"users": [5]}, ["users[0] is 5", "an object"]),
        ({"users": [{}]}, ["users[0].Name is missing"]),
        ({"users": [{"UserId": "99999999-aaaa-bbbb-cccc-000000000000"}]}, ["users[0].Name is missing"]),
        ({"users": [{"Name": "zoe", "Colour": "red"}]}, ["unknown member users[0].Colour", "Email"]),
        ({"users": [{"Name": "zoe", "State": "GONE"}]}, ["users[0].State", "ENABLED, DISABLED, DELETED"]),
        ({"users": [{"Name": "zoe", "Email": "BOB@example.com"}]}, ["bob@example.com belongs to user bob"]),
        ({"users": [{"Name": "zoe", "Aliases": ["bob@example.com"]}]}, ["bob@example.com belongs to user bob"]),
        ({"users": [{"Name": "zoe", "Aliases": "z@example.com"}]}, ["users[0].Aliases", "a list"]),
        ({"users": [{"Name": "zoe", "Aliases": ["z"]}]}, ["users[0].Aliases", "pattern"]),
        ({"users": [{"Name": "zoe", "EnabledDate": "today"}]}, ["users[0].EnabledDate is 'today'", "ISO 8601"]),
        ({"users": [{"Name": "x", "Email": "z@a.com"}, {"Name": "y", "Email": "z@a.com"}]}, ["users[1]", "user x"]),
        ({"overrides": [{}]}, [f"overrides[0].{name} is missing" for name in ("UserId", "DeviceId", "Effect")]),
        ({"overrides": [{**A_PUT, "DeviceId": "a-b"}]}, ["overrides[0].DeviceId", "a-b", "[A-Za-z0-9]+"]),
        ({"overrides": [{**A_PUT, "Effect": "deny"}]}, ["overrides[0].Effect", "[ALLOW, DENY]"]),
        ({"overrides": [{**A_PUT, "Description": "x" * 257}]}, ["overrides[0].Description", "256"]),
        ({"overrides": [{**A_PUT, "UserId": "nobody"}]}, ["overrides[0].UserId is nobody", "a user of m-5eed"]),
        ({"overrides": [{**A_PUT, "DateCreated": "2026-01-01T00:00:00"}]}, ["DateCreated", "with an offset"]),
        ({"overrides": [{**A_PUT, "DateCreated": True}]}, ["DateCreated is True"]),
        ({"overrides": [{**A_PUT, "OrganizationId": "m-1"}]}, ["OrganizationId is 'm-1'"]),
        ({"organizations": [{}]}, ["organizations[0].OrganizationId is missing"]),
        ({"organizations": [{"OrganizationId": "m-1"}]}, ["organizations[0].OrganizationId", "^m-[0-9a-f]{32}$"]),
        ({"organizations": [{"OrganizationId": ORGANIZATION, "Rules": [{"Effect": "NO"}]}]}, ["Rules.1.Effect"]),
        (
            {"organizations": [{"OrganizationId": OTHER}], "users": [{"Name": "zoe"}]},
            ["OrganizationId is missing"],
        ),
    ],
)
def test_a_wrong_seed_is_named_and_changes_nothing(rows, words):
    to = emulator()
    before = [ask(to, "ListUsers"), ask(to, "ListOrganizations"), listed(to)]
    fine = {"overrides": [A_PUT]} if "overrides" not in rows else {}
    status, said = control(to, "POST", "seed", rows | fine)
    assert status == 400
    assert [word for word in words if word not in said["error"]] == []
    assert [ask(to, "ListUsers"), ask(to, "ListOrganizations"), listed(to)] == before


def test_a_seed_with_very_many_faults_names_the_first():
    said = seed(emulator(), overrides=[{}] * 100_000)[1]
    assert len(said["problems"]) == 21
    assert len(said["error"]) < 5_000


def test_a_large_seed_lets_others_in_between():
    async def story():
        to = emulator()
        rows = [{**A_PUT, "DeviceId": f"A{number}"} for number in range(20_000)]
        body = json.dumps({"overrides": rows}).encode()
        seeding = asyncio.create_task(controls.handle(to, "POST", "/_emulator/seed", body, {}))
        answered = 0
        while not seeding.done():
            await answer(to, LIST, {"OrganizationId": ORGANIZATION})
            await asyncio.sleep(0)
            answered += 1
        assert answered > 2
        assert len(to.workmail.organizations[ORGANIZATION].overrides) == 20_000

    asyncio.run(story())


# --- calls ------------------------------------------------------------------------------------------------------------


def test_calls_are_recorded_with_what_came_of_them():
    clock = Clock()
    to = emulator(clock)
    ask(to, PUT, **A_PUT)
    clock.pass_seconds(1.5)
    refusal(to, GET, UserId="bob", DeviceId="A1")
    whole = {"OrganizationId": ORGANIZATION, **A_PUT}
    asyncio.run(answer(to, PUT, whole, principal="arn:aws:iam::000000000000:user/eve"))
    asyncio.run(answer(to, PUT, whole, headers={"authorization": ""}))
    put, get, by_eve, unsigned = control(to, "GET", "calls")[1]["calls"]
    assert put == {
        "index": 0,
        "time": "2026-11-22T09:00:00.000Z",
        "operation": PUT,
        "principal": "AKIDEXAMPLE",
        "request": whole,
        "status": 200,
        "error": None,
    }
    assert (get["time"], get["status"], get["error"]) == ("2026-11-22T09:00:01.500Z", 400, "ResourceNotFoundException")
    assert by_eve["principal"] == "arn:aws:iam::000000000000:user/eve"
    assert (unsigned["principal"], unsigned["status"]) == (None, 403)


@pytest.mark.parametrize(
    ("query", "indexes"),
    [
        ({}, [0, 1, 2, 3]),
        ({"since": "2"}, [2, 3]),
        ({"since": "99"}, []),
        ({"limit": "1"}, [0]),
        ({"since": "1", "limit": "2"}, [1, 2]),
        ({"operation": GET}, [1, 2]),
        ({"status": "400"}, [1]),
        ({"error": "ResourceNotFoundException"}, [1]),
        ({"user": "ANA@example.com"}, [0, 2]),
        ({"device": "a1"}, [0, 1, 2]),
        ({"principal": "AKIDEXAMPLE"}, [0, 1, 2, 3]),
        ({"principal": "nobody"}, []),
        ({"operation": GET, "user": ANA}, [2]),
    ],
)
def test_calls_are_filtered(query, indexes):
    to = emulator()
    ask(to, PUT, **A_PUT)
    refusal(to, GET, UserId="bob", DeviceId="A1")
    ask(to, GET, UserId=ANA, DeviceId="a1")
    ask(to, LIST)
    status, found = control(to, "GET", "calls", **query)
    assert status == 200
    assert [call["index"] for call in found["calls"]] == indexes


def test_next_goes_on_where_the_last_answer_ended():
    to = emulator()
    assert control(to, "GET", "calls")[1]["next"] == 0
    ask(to, LIST)
    first = control(to, "GET", "calls")[1]
    ask(to, "ListUsers")
    second = control(to, "GET", "calls", since=str(first["next"]))[1]
    assert [call["operation"] for call in second["calls"]] == ["ListUsers"]
    assert control(to, "GET", "calls", since=str(second["next"]))[1]["calls"] == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"sinse": "1"}, "unknown filter sinse"),
        ({"since": "-1"}, "since is '-1'; expected a number"),
        ({"limit": "x"}, "limit is 'x'"),
        ({"since": "99999999999999999999"}, "since is '99999999999999999999'; expected a number of at most 18"),
        ({"limit": "9" * 5_000}, "limit is '9999"),
    ],
)
def test_an_unknown_filter_and_a_number_that_is_none_are_refused(query, words):
    status, said = control(emulator(), "GET", "calls", **query)
    assert (status, words in said["error"], len(said["error"]) < 500) == (400, True, True)


def test_the_largest_number_is_taken():
    assert control(emulator(), "GET", "calls", since="9" * 18, limit="9" * 18)[1]["calls"] == []


def test_the_record_is_bounded_and_keeps_its_indexes():
    to = emulator(keep_calls=3)
    for _ in range(10):
        ask(to, LIST)
    found = control(to, "GET", "calls")[1]
    assert ([call["index"] for call in found["calls"]], found["next"], found["first"]) == ([7, 8, 9], 10, 7)
    control(to, "PUT", "settings", {"keep_calls": 1})
    assert [call["index"] for call in control(to, "GET", "calls", since="0")[1]["calls"]] == [9]


def test_a_huge_request_is_recorded_in_short():
    to = emulator()
    refusal(to, PUT, **A_PUT, Description="x" * 500_000, Junk=list(range(10_000)))
    call = control(to, "GET", "calls")[1]["calls"][0]
    assert len(json.dumps(call)) < 10_000


# --- events -----------------------------------------------------------------------------------------------------------


def test_writes_are_told_to_the_bus_as_cloudtrail_would():
    to = emulator()
    told = []
    to.publish = told.append
    role = "arn:aws:sts::000000000000:assumed-role/path/Writer/session-1"
    request = {"OrganizationId": ORGANIZATION, **A_PUT, "Description": "why"}
    asyncio.run(answer(to, PUT, request, principal=role))
    ask(to, GET, UserId="ana", DeviceId="A1")
    ask(to, DELETE, UserId="ana", DeviceId="A1")
    refusal(to, PUT, **{**A_PUT, "UserId": "frank"})
    put, delete, refused = told
    assert (put["source"], put["detail-type"]) == ("aws.workmail", "AWS API Call via CloudTrail")
    assert (put["time"], put["region"], put["account"]) == ("2026-11-22T09:00:00Z", "eu-west-1", "000000000000")
    detail = put["detail"]
    assert (detail["eventSource"], detail["eventName"]) == ("workmail.amazonaws.com", PUT)
    assert detail["requestParameters"] == {
        "organizationId": ORGANIZATION,
        "userId": "ana",
        "deviceId": "A1",
        "effect": "DENY",
        "description": "why",
    }
    identity = detail["userIdentity"]
    assert (identity["type"], identity["arn"]) == ("AssumedRole", role)
    assert identity["sessionContext"]["sessionIssuer"]["arn"] == "arn:aws:iam::000000000000:role/path/Writer"
    assert "errorCode" not in detail
    assert (delete["detail"]["eventName"], delete["detail"]["userIdentity"]["arn"]) == (DELETE, "AKIDEXAMPLE")
    assert refused["detail"]["errorCode"] == "EntityStateException"
    assert len({event["id"] for event in told}) == 3


@pytest.mark.parametrize(
    ("principal", "kind"),
    [
        ("arn:aws:iam::000000000000:root", "Root"),
        ("arn:aws:iam::000000000000:user/eve", "IAMUser"),
        ("AKID", "IAMUser"),
        ("arn:aws:sts::000000000000:assumed-role/Writer/x", "AssumedRole"),
    ],
)
def test_every_kind_of_caller_has_an_identity(principal, kind):
    event = event_of(PUT, {}, principal, Clock().now, "000000000000", "eu-west-1")
    identity = event["detail"]["userIdentity"]
    assert (identity["type"], identity["arn"], identity["accountId"]) == (kind, principal, "000000000000")


def test_a_call_that_did_not_happen_is_told_to_nobody_and_one_that_did_is():
    to = emulator(faults={"throttle": {"count": 1}, "error": {"effect": "applied", "count": 1}})
    told = []
    to.publish = told.append
    refusal(to, PUT, **A_PUT)
    assert told == []
    refusal(to, PUT, **A_PUT)
    assert len(told) == 1


def test_a_bus_that_fails_fails_no_call(caplog):
    to = emulator()

    to.publish = Mock(side_effect=RuntimeError("no bus today"))
    ask(to, PUT, **A_PUT)
    assert len(listed(to)) == 1
    assert "was not published" in caplog.text


def test_events_need_a_bus():
    event = {"source": "aws.securityhub", "detail-type": "Findings", "detail": {}}
    status, said = control(emulator(), "POST", "events", event)
    assert status == 501
    assert "no bus" in said["error"]


def test_an_event_is_completed_and_put_on_the_bus_it_names():
    to = emulator()
    told = []
    to.publish = told.append
    event = {"source": "aws.partner/okta.com/x", "detail-type": "SystemLog", "detail": {"a": 1}, "bus": "partner"}
    status, said = control(to, "POST", "events", event)
    assert (status, said["id"]) == (200, told[0]["id"])
    assert told[0] | event == told[0]
    assert (told[0]["version"], told[0]["time"], told[0]["resources"]) == ("0", "2026-11-22T09:00:00Z", [])


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ([], ["an object"]),
        ({}, ["source is missing", "detail-type is missing", "detail is missing"]),
        ({"source": "a", "detail-type": "b", "detail": "{}"}, ["detail is '{}'", "an object"]),
        ({"source": "a", "detail-type": "b", "detail": {}, "time": "now"}, ["time is 'now'", "ISO 8601"]),
        ({"source": "a", "detail-type": "b", "detail": {}, "detailType": "c"}, ["unknown member detailType"]),
        ({"source": "", "detail-type": "", "detail": {}}, ["source is ''", "detail-type is ''", "not empty"]),
    ],
)
def test_what_is_no_event_is_refused(event, words):
    to = emulator()
    to.publish = Mock()
    status, said = control(to, "POST", "events", event)
    assert status == 400
    assert [word for word in words if word not in said["error"]] == []
    to.publish.assert_not_called()
