import base64
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.workmail.overrides import Override, Overrides
from tests.local.workmail.asking import (
    DELETE,
    LIST,
    PUT,
    RefusedError,
    ask,
    control,
    emulator,
    listed,
    refusal,
)

USERS = ["ana", "bob", "carla"]
DEVICES = ["A", "AA", "B", "Z9", "a0"]
PAIRS = st.tuples(st.sampled_from(USERS), st.sampled_from(DEVICES))
SUBSETS = st.fixed_dictionaries({}, optional={"UserId": st.sampled_from(USERS), "DeviceId": st.sampled_from(DEVICES)})


def pages(to, size, between=lambda: None, **filters):
    found, token = [], {}
    while True:
        page = ask(to, LIST, MaxResults=size, **filters, **token)
        found.append([(row["UserId"], row["DeviceId"]) for row in page["Overrides"]])
        if "NextToken" not in page:
            return found
        token = {"NextToken": page["NextToken"]}
        between()


def user_ids(to):
    return {name: ask(to, "DescribeUser", UserId=name)["UserId"] for name in USERS}


@settings(max_examples=150, deadline=None)
@given(st.sets(PAIRS), SUBSETS, st.integers(1, 7))
def test_pages_together_are_exactly_what_the_filters_select(pairs, filters, size):
    to = emulator()
    for user, device in pairs:
        ask(to, PUT, UserId=user, DeviceId=device, Effect="DENY")
    ids = user_ids(to)
    wanted = {
        (ids[user], device)
        for user, device in pairs
        if filters.get("UserId", user) == user and filters.get("DeviceId", device) == device
    }
    found = pages(to, size, **filters)
    rows = [row for page in found for row in page]
    assert len(rows) == len(set(rows))
    assert set(rows) == wanted
    assert all(len(page) == size for page in found[:-1])
    assert len(found[-1]) > 0 or len(found) == 1


@settings(max_examples=100, deadline=None)
@given(st.sets(PAIRS, min_size=4), st.lists(st.tuples(st.booleans(), PAIRS), max_size=8), SUBSETS, st.integers(1, 3))
def test_whatever_changes_between_pages_the_unchanged_rows_are_all_there_once(pairs, changes, filters, size):
    to = emulator()
    for user, device in pairs:
        ask(to, PUT, UserId=user, DeviceId=device, Effect="DENY")
    ids = user_ids(to)
    waiting = list(changes)

    def change():
        if waiting:
            puts, (user, device) = waiting.pop()
            ask(to, PUT if puts else DELETE, UserId=user, DeviceId=device, **({"Effect": "DENY"} if puts else {}))

    rows = [row for page in pages(to, size, change, **filters) for row in page]
    assert len(rows) == len(set(rows))
    for user, device in pairs - {pair for _, pair in changes}:
        if filters.get("UserId", user) == user and filters.get("DeviceId", device) == device:
            assert (ids[user], device) in rows


def full(size=10):
    to = emulator()
    rows = [{"UserId": "ana", "DeviceId": f"A{number}", "Effect": "DENY"} for number in range(size)]
    assert control(to, "POST", "seed", {"overrides": rows})[0] == 200
    return to


@pytest.mark.parametrize("token", ["x", "AAAA", "null", "", "é", "A" * 1025, base64.b64encode(b"0" * 40).decode()])
@pytest.mark.parametrize("operation", [LIST, "ListUsers", "ListOrganizations"])
def test_a_token_that_is_none_is_refused(operation, token):
    refused = refusal(full(), operation, NextToken=token)
    assert (refused.status, refused.code) == (400, "InvalidParameterException")
    assert "NextToken" in refused.message


def test_a_token_belongs_to_its_listing():
    to = full()
    control(to, "POST", "seed", {"organizations": [{"OrganizationId": f"m-{1:032x}"}]})
    token = ask(to, LIST, MaxResults=3)["NextToken"]
    assert ask(to, LIST, NextToken=token)["Overrides"]
    for elsewhere in ({"UserId": "ana"}, {"DeviceId": "A1"}, {"OrganizationId": f"m-{1:032x}"}):
        assert refusal(to, LIST, NextToken=token, **elsewhere).code == "InvalidParameterException"
    assert refusal(to, "ListUsers", NextToken=token).code == "InvalidParameterException"


def test_any_change_spoils_a_token():
    to = full()
    token = ask(to, LIST, MaxResults=3)["NextToken"]
    replaced = [token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :] for i in range(len(token))]
    for changed in (*replaced, f"{token} ", f"!{token}", f"{token[:8]}\n{token[8:]}", token[:-1], token[4:]):
        with pytest.raises(RefusedError, match="InvalidParameterException"):
            ask(to, LIST, NextToken=changed)


def test_a_token_may_be_used_again_and_with_another_page_size():
    to = full()
    token = ask(to, LIST, MaxResults=4)["NextToken"]
    assert ask(to, LIST, NextToken=token) == ask(to, LIST, NextToken=token)
    assert ask(to, LIST, NextToken=token)["Overrides"][:2] == ask(to, LIST, NextToken=token, MaxResults=2)["Overrides"]


def test_a_page_has_a_hundred_rows_by_default_and_the_last_has_no_token():
    to = full(101)
    assert [len(page) for page in pages(to, 100)] == [100, 1]
    assert len(ask(to, LIST)["Overrides"]) == 100
    assert [len(page) for page in pages(full(100), 100)] == [100]


def test_a_listing_is_in_one_order_whatever_the_page_size():
    to = full(30)
    whole = listed(to)
    assert whole == listed(to, MaxResults=7)
    assert all(one["DeviceId"].lower() < other["DeviceId"].lower() for one, other in pairwise(whole))


KEYS = st.tuples(st.text("abc", min_size=1, max_size=3), st.text("abc", min_size=1, max_size=3))


def keys_of(rows):
    return [(row.user, row.device) for row in rows]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), KEYS)), st.sets(KEYS), KEYS, st.integers(0, 9))
def test_a_listing_is_sorted_and_goes_on_after_any_key_and_any_number_of_rows(changes, many, start, offset):
    overrides, model = Overrides(), {}
    for puts, key in changes:
        model = change(overrides, model, puts, key, now=0, delay=0)
    overrides.put_all((key, Override(*key, "DENY", None, 0, 0, 0)) for key in many)
    wanted = sorted({*model, *many})
    assert len(overrides) == len(wanted)
    for user in (None, start[0]):
        for device in (None, start[1]):
            rows = [key for key in wanted if user in (None, key[0]) and device in (None, key[1])]
            assert keys_of(overrides.listed(user, device, None, 0)) == rows
            assert keys_of(overrides.listed(user, device, start, 0)) == [key for key in rows if key > start]
            assert keys_of(overrides.listed_from(user, device, offset, 0)) == rows[offset:]


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([0, 2, 5]),
        st.booleans(),
        st.tuples(st.sampled_from("uv"), st.sampled_from("ab")),
    )
)


def change(overrides, state, puts, key, now, delay):
    after = dict(state)
    if puts:
        after[key] = Override(*key, "DENY", str(now), now, now, now)
        overrides.put(key, after[key], now, delay)
    else:
        after.pop(key, None)
        overrides.remove(key, now, delay)
    assert overrides.get(key) == after.get(key)
    return after


def shown(overrides, now, user=None, device=None):
    return {(row.user, row.device): row for row in overrides.listed(user, device, None, now)}


@settings(max_examples=200, deadline=None)
@given(CHANGES)
def test_a_lagging_list_shows_exactly_what_stood_that_long_before(changes):
    now, history, overrides = 0.0, [(-10.0, {})], Overrides()
    for pause, _, puts, key in changes:
        now += pause
        history.append((now, change(overrides, history[-1][1], puts, key, now, delay=4)))
        then = [state for time, state in history if time <= now - 4][-1]
        assert shown(overrides, now) == then
        assert shown(overrides, now, user="u") == {key: row for key, row in then.items() if key[0] == "u"}
        assert shown(overrides, now, device="a") == {key: row for key, row in then.items() if key[1] == "a"}
        assert shown(overrides, now, "u", "a") == {key: row for key, row in then.items() if key == ("u", "a")}


@settings(max_examples=200, deadline=None)
@given(CHANGES)
def test_a_list_that_lagged_ends_up_with_what_is_however_the_delay_changed(changes):
    now, state, overrides = 0.0, {}, Overrides()
    for pause, delay, puts, key in changes:
        now += pause
        state = change(overrides, state, puts, key, now, delay)
    assert shown(overrides, now + 5) == state
    assert {key: row for device in "ab" for key, row in shown(overrides, now, device=device).items()} == state
