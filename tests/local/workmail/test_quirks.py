"""Each open question of the documentation, answered both ways; the first row of each table is the default."""

from pathlib import Path

import pytest

from local.workmail.settings import Quirks, Settings
from tests.local.workmail.asking import (
    ANA,
    DELETE,
    GET,
    LIST,
    PUT,
    Clock,
    ask,
    control,
    emulator,
    listed,
    outcome,
    refusal,
)


def with_quirk(clock=None, **quirks):
    made = emulator(clock)
    made.change_settings({"quirks": {name: value for name, value in quirks.items() if value is not None}})
    return made


def put(to, device="A1", effect="DENY", **more):
    ask(to, PUT, UserId="ana", DeviceId=device, Effect=effect, **more)


def get(to, device="A1"):
    return ask(to, GET, UserId="ana", DeviceId=device)


def set_user(to, **user):
    assert control(to, "POST", "seed", {"users": [user]})[0] == 200


NOT_FOUND = "EntityNotFoundException"


@pytest.mark.parametrize(("resolves", "code"), [(None, NOT_FOUND), (False, NOT_FOUND), (True, None)])
def test_aliases_resolve(resolves, code):
    to = with_quirk(aliases_resolve=resolves)
    for operation in (PUT, GET, DELETE, LIST, "DescribeUser"):
        refused = outcome(to, operation, UserId="Ana.Example@example.com", DeviceId="A1", Effect="DENY")
        assert (refused.code if refused else None) == code
    if code is None:
        put(to)
        assert [row["UserId"] for row in listed(to, UserId="ana.example@example.com")] == [ANA]


@pytest.mark.parametrize(
    ("case", "shown"),
    [(None, "aPpL"), ("first_put", "aPpL"), ("last_put", "ApPl"), ("upper", "APPL"), ("lower", "appl")],
)
def test_device_id_case(case, shown):
    to = with_quirk(device_id_case=case)
    put(to, "aPpL")
    put(to, "ApPl")
    assert get(to, "appl")["DeviceId"] == shown
    assert [row["DeviceId"] for row in listed(to)] == [shown]


@pytest.mark.parametrize(("what", "description"), [(None, None), ("clears", None), ("keeps", "why")])
def test_put_without_description(what, description):
    to = with_quirk(put_without_description=what)
    put(to, Description="why")
    put(to, effect="ALLOW")
    assert get(to).get("Description") == description
    assert get(to)["Effect"] == "ALLOW"
    assert listed(to)[0].get("Description") == description


@pytest.mark.parametrize(
    ("unit", "text", "fits"),
    [
        (None, "é" * 256, True),
        ("characters", "é" * 256, True),
        ("characters", "😀" * 256, True),
        ("characters", "e" * 257, False),
        ("utf16", "é" * 256, True),
        ("utf16", "😀" * 128, True),
        ("utf16", "😀" * 129, False),
        ("bytes", "é" * 128, True),
        ("bytes", "é" * 129, False),
        ("bytes", "e" * 256, True),
        ("bytes", "e" * 257, False),
    ],
)
def test_description_limit(unit, text, fits):
    to = with_quirk(description_limit=unit)
    refused = outcome(to, PUT, UserId="ana", DeviceId="A1", Effect="DENY", Description=text)
    assert (refused is None) == fits
    if refused:
        assert refused.code == "InvalidParameterException"
        assert "'Description'" in refused.message
        assert "256" in refused.message


@pytest.mark.parametrize(("moves", "seconds"), [(None, 60), (True, 60), (False, 0)])
def test_identical_put_moves_date(moves, seconds):
    clock = Clock()
    to = with_quirk(clock, identical_put_moves_date=moves)
    put(to, Description="why")
    clock.pass_seconds(60)
    put(to, "a1", Description="why")
    assert (get(to)["DateModified"] - get(to)["DateCreated"]).total_seconds() == seconds
    clock.pass_seconds(60)
    put(to, effect="ALLOW", Description="why")
    assert (get(to)["DateModified"] - get(to)["DateCreated"]).total_seconds() == 120


@pytest.mark.parametrize(("which", "seconds"), [(None, 60), ("override", 60), ("description", 0)])
def test_get_date_modified(which, seconds):
    clock = Clock()
    to = with_quirk(clock, get_date_modified=which)
    put(to, Description="why")
    clock.pass_seconds(60)
    put(to, effect="ALLOW", Description="why")
    assert (get(to)["DateModified"] - get(to)["DateCreated"]).total_seconds() == seconds
    assert (listed(to)[0]["DateModified"] - listed(to)[0]["DateCreated"]).total_seconds() == 60
    put(to, effect="ALLOW", Description="because")
    assert get(to)["DateModified"] == clock.now


@pytest.mark.parametrize(("delay", "sees_at_once"), [(None, True), (0, True), (2.5, False)])
def test_list_delay_seconds(delay, sees_at_once):
    clock = Clock()
    to = with_quirk(clock, list_delay_seconds=delay)
    put(to)
    assert get(to)["Effect"] == "DENY"
    for filters in ({}, {"UserId": "ana"}, {"DeviceId": "a1"}, {"UserId": "ana", "DeviceId": "A1"}):
        assert bool(listed(to, **filters)) == sees_at_once
    clock.pass_seconds(2.5)
    assert len(listed(to)) == 1
    ask(to, DELETE, UserId="ana", DeviceId="A1")
    assert refusal(to, GET, UserId="ana", DeviceId="A1").code == "ResourceNotFoundException"
    assert bool(listed(to)) == (not sees_at_once)
    clock.pass_seconds(2.5)
    assert listed(to) == []


SIX = ["A0", "A1", "A2", "A3", "A4", "A5"]


@pytest.mark.parametrize(
    ("tokens", "second_page"),
    [
        (None, ["A2", "A3", "A4", "A5"]),
        ("survive", ["A2", "A3", "A4", "A5"]),
        ("skip", ["A3", "A4", "A5"]),
        ("restart", ["A1", "A2", "A3", "A4", "A5"]),
        ("fail", None),
    ],
)
@pytest.mark.parametrize("filters", [{}, {"UserId": "ana"}])
def test_page_tokens_after_a_delete(tokens, second_page, filters):
    to = with_quirk(page_tokens=tokens)
    for device in SIX:
        put(to, device)
    token = ask(to, LIST, MaxResults=2, **filters)["NextToken"]
    untouched = ask(to, LIST, NextToken=token, **filters)
    assert [row["DeviceId"] for row in untouched["Overrides"]] == SIX[2:]
    ask(to, DELETE, UserId="ana", DeviceId="A0")
    if second_page is None:
        assert refusal(to, LIST, NextToken=token, **filters).code == "InvalidParameterException"
    else:
        rows = ask(to, LIST, NextToken=token, **filters)["Overrides"]
        assert [row["DeviceId"] for row in rows] == second_page


@pytest.mark.parametrize("tokens", ["survive", "skip", "restart", "fail"])
def test_deleting_nothing_disturbs_no_token(tokens):
    to = with_quirk(page_tokens=tokens)
    for device in SIX:
        put(to, device)
    token = ask(to, LIST, MaxResults=2)["NextToken"]
    ask(to, DELETE, UserId="bob", DeviceId="A0")
    assert len(ask(to, LIST, NextToken=token)["Overrides"]) == 4


@pytest.mark.parametrize("filters", [{"DeviceId": "A0"}, {"DeviceId": "A0", "UserId": "ana"}])
def test_tokens_that_skip_do_so_by_device_too(filters):
    to = with_quirk(page_tokens="skip")
    for user in ("ana", "bob", "carla"):
        ask(to, PUT, UserId=user, DeviceId="A0", Effect="DENY")
    page = ask(to, LIST, MaxResults=1, **filters)
    assert ("NextToken" in page) == ("UserId" not in filters)
    if "NextToken" in page:
        first = page["Overrides"][0]["UserId"]
        ask(to, DELETE, UserId=first, DeviceId="A0")
        assert len(ask(to, LIST, NextToken=page["NextToken"], **filters)["Overrides"]) == 1


@pytest.mark.parametrize(("outlive", "left"), [(None, 2), (True, 2), (False, 0)])
def test_overrides_outlive_their_user(outlive, left):
    to = with_quirk(overrides_outlive_user=outlive)
    put(to)
    put(to, "A2")
    ask(to, PUT, UserId="bob", DeviceId="A1", Effect="DENY")
    set_user(to, Name="bob", State="DISABLED")
    set_user(to, Name="ana", State="DELETED")
    assert [row["UserId"] for row in listed(to)].count(ANA) == left
    assert len(listed(to)) == left + 1


@pytest.mark.parametrize(("by_id", "code"), [(None, NOT_FOUND), (False, NOT_FOUND), (True, None)])
def test_a_deleted_user_by_id(by_id, code):
    to = with_quirk(deleted_user_by_id=by_id)
    put(to)
    set_user(to, Name="ana", State="DELETED")
    for operation in (GET, LIST, DELETE):
        refused = outcome(to, operation, UserId=ANA, DeviceId="A1")
        assert (refused.code if refused else None) == code
    assert (listed(to) == []) == (code is None)
    refused = refusal(to, PUT, UserId=ANA, DeviceId="A1", Effect="DENY")
    assert refused.code == (code or "EntityStateException")
    assert ask(to, "DescribeUser", UserId=ANA)["State"] == "DELETED"
    for name in ("ana", "ana@example.com"):
        assert refusal(to, GET, UserId=name, DeviceId="A1").code == NOT_FOUND


def test_a_deleted_users_name_can_be_somebody_elses():
    to = emulator()
    put(to)
    set_user(to, Name="ana", State="DELETED")
    set_user(to, UserId="99999999-aaaa-bbbb-cccc-000000000000", Name="ana", Email="ana@example.com")
    assert ask(to, "DescribeUser", UserId="ana")["UserId"] != ANA
    assert refusal(to, GET, UserId="ana", DeviceId="A1").code == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("code", "status"), [(None, None), ("TooManyRequestsException", 429), ("SlowDown", 503), ("LimitExceeded", 400)]
)
def test_throttling_looks_as_wished(code, status):
    to = with_quirk(throttle_code=code, throttle_status=status)
    to.change_settings({"faults": {"throttle": {}}})
    refused = refusal(to, GET, UserId="ana", DeviceId="A1")
    assert (refused.code, refused.status) == (code or "ThrottlingException", status or 400)


@pytest.mark.parametrize("size", [None, 1, 3, 100])
def test_default_page_size(size):
    to = with_quirk(default_page_size=size)
    for device in SIX:
        put(to, device)
    assert len(ask(to, LIST)["Overrides"]) == min(size or 100, 6)
    assert len(ask(to, LIST, MaxResults=5)["Overrides"]) == 5


def test_every_quirk_has_a_test_here():
    names = set(Quirks.__dataclass_fields__)
    assert names == set(Settings().as_json()["quirks"])
    source = Path(__file__).read_text()
    assert [name for name in names if f"{name}=" not in source] == []
