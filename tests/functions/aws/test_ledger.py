"""The gateway to the ledger: exact requests and failures. The fake ledger must behave as the real one."""

import itertools
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta

import boto3
import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st

from device_lockout.aws.ledger import MOST_FOUND, Ledger
from device_lockout.protocol import inventory
from device_lockout.values.command import Enroll, Retire, Target
from device_lockout.values.device import DeviceKey, DeviceName, LookUp, Named, NamedDevice
from device_lockout.values.errors import TransientError
from device_lockout.values.instant import write
from device_lockout.values.outcome import RESULTS, Outcome
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, DeviceRecord, Ending, Last, LastSweep, Released, UserRecord
from device_lockout.values.tag import HOLD
from local.in_memory import BOB, DEVICE, KEY, ORGANIZATION, START, FakeLedger, Wire, at, cause, key
from tests.functions.aws.failing_calls import failing
from tests.functions.aws.fake_dynamodb import FakeDynamoDB
from tests.functions.releases import released

TABLE = "ledger"
CARLA = "ca51a000-0000-4000-8000-000000000000"
ITEM_KEY = {"pk": {"S": ORGANIZATION}, "sk": {"S": f"device#{BOB}#{DEVICE}"}}
serialize = TypeSerializer().serialize

JAMFS = Ending("device", frozenset({"lost"}), "webhook.jamf")
FULL = DeviceRecord(
    claims=(Claim("aaaaaaaa", "device", "lost", at(0.125), HOLD, "INC-1", "a taxi", "webhook.jamf"),),
    released=released(device=at(-1), user=at(-2)).with_release(JAMFS, at(5)),
    prior=Override("ALLOW", None),
    last=Last(
        "c" * 64,
        "an event",
        Outcome(
            "locked",
            "because",
            "lost",
            HOLD,
            "INC-1",
            Override("ALLOW"),
            Override("DENY", "x"),
            page=True,
            verified=False,
        ),
        at(10),
    ),
    put_back=(at(20),),
    known=True,
    version=3,
)


@pytest.fixture(scope="module")
def client():
    return boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="nobody", aws_secret_access_key="nothing"
    )


@pytest.fixture
def stubber(client):
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def ledger(client):
    return Ledger(client, TABLE)


# Exact requests.


def test_a_device_is_opened_by_making_its_item_if_it_is_missing(ledger, stubber):
    stubber.add_response(
        "update_item",
        {"Attributes": {**ITEM_KEY, "version": {"N": "0"}}},
        {
            "TableName": TABLE,
            "Key": ITEM_KEY,
            "UpdateExpression": "SET #version = if_not_exists(#version, :version)",
            "ExpressionAttributeNames": {"#version": "version"},
            "ExpressionAttributeValues": {":version": {"N": "0"}},
            "ReturnValues": "ALL_NEW",
        },
    )
    assert ledger.open_device(key(DEVICE.upper())) == DeviceRecord()


def test_a_device_is_saved_only_over_the_version_that_was_read(ledger, stubber):
    stubber.add_response(
        "update_item",
        {},
        {
            "TableName": TABLE,
            "Key": ITEM_KEY,
            "UpdateExpression": ANY,
            "ConditionExpression": "#version = :read",
            "ExpressionAttributeNames": {
                f"#{name}": name
                for name in ("format", "claims", "released", "prior", "last", "putBack", "known", "version")
            },
            "ExpressionAttributeValues": {
                ":format": {"N": "1"},
                ":claims": serialize(
                    [
                        {
                            "id": "aaaaaaaa",
                            "scope": "device",
                            "why": "lost",
                            "at": "2026-11-22T07:30:00.125Z",
                            "until": "hold",
                            "reference": "INC-1",
                            "note": "a taxi",
                            "source": "webhook.jamf",
                        }
                    ]
                ),
                ":released": serialize(
                    [
                        {"scope": "device", "reasons": [], "source": "", "at": "2026-11-22T07:29:59.000Z"},
                        {
                            "scope": "device",
                            "reasons": ["lost"],
                            "source": "webhook.jamf",
                            "at": "2026-11-22T07:30:05.000Z",
                        },
                        {"scope": "user", "reasons": [], "source": "", "at": "2026-11-22T07:29:58.000Z"},
                    ]
                ),
                ":prior": serialize({"effect": "ALLOW", "description": None}),
                ":last": serialize(
                    {
                        "command": "c" * 64,
                        "eventId": "an event",
                        "decidedAt": "2026-11-22T07:30:10.000Z",
                        "outcome": {
                            "result": "locked",
                            "because": "because",
                            "why": "lost",
                            "until": "hold",
                            "reference": "INC-1",
                            "before": {"effect": "ALLOW", "description": None},
                            "after": {"effect": "DENY", "description": "x"},
                            "page": True,
                            "verified": False,
                        },
                    }
                ),
                ":putBack": serialize(["2026-11-22T07:30:20.000Z"]),
                ":known": {"BOOL": True},
                ":version": {"N": "4"},
                ":read": {"N": "3"},
            },
        },
    )
    ledger.save_device(KEY, FULL)


def test_a_device_that_changed_since_it_was_read_is_not_saved(ledger, stubber):
    stubber.add_client_error("update_item", "ConditionalCheckFailedException", "no", http_status_code=400)
    with pytest.raises(TransientError, match="was changed in the ledger since it was read"):
        ledger.save_device(KEY, FULL)


def test_reads_are_consistent(ledger, stubber):
    stubber.add_response(
        "get_item",
        {},
        {"TableName": TABLE, "Key": {"pk": {"S": ORGANIZATION}, "sk": {"S": f"user#{BOB}"}}, "ConsistentRead": True},
    )
    assert ledger.user(ORGANIZATION, BOB) == UserRecord()


def test_an_outcome_is_recorded_once_and_the_first_is_what_is_told(ledger, stubber):
    told = {"detailType": "Device Locked", "detail": {"result": "locked", "until": None}}
    denied = {"detailType": "Already Denied", "detail": {"result": "already-denied", "reference": "INC-1"}}
    stubber.add_client_error(
        "put_item",
        "ConditionalCheckFailedException",
        http_status_code=400,
        modeled_fields={"Item": {"told": serialize(told)}},
        expected_params={
            "TableName": TABLE,
            "Item": {
                "pk": {"S": "event#e1"},
                "sk": {"S": "o1"},
                "told": serialize(denied),
                "failed": {"BOOL": False},
                "held": {"BOOL": False},
                "month": {"S": "2026-11"},
                "at": {"S": "2026-11-22T07:30:00.000Z o1"},
                "words": {"L": [{"S": "inc-1"}]},
                "expires": {"N": str(int((START + timedelta(days=400)).timestamp()))},
            },
            "ConditionExpression": "attribute_not_exists(pk) OR held = :yes OR failed = :yes",
            "ExpressionAttributeValues": {":yes": {"BOOL": True}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        },
    )
    assert ledger.record_outcome("e1", "o1", denied, START) == told


def test_records_are_read_page_by_page(ledger, stubber):
    def query(prefix, start=None):
        return {
            "TableName": TABLE,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": {"S": ORGANIZATION}, ":prefix": {"S": prefix}},
            "ConsistentRead": True,
            **({"ExclusiveStartKey": start} if start else {}),
        }

    claim = serialize(
        [
            {
                "id": "a",
                "scope": "device",
                "why": "lost",
                "at": "2026-11-22T07:30:00.000Z",
                "until": "hold",
                "reference": "",
                "note": "",
            }
        ]
    )
    item = {**ITEM_KEY, "version": {"N": "1"}, "claims": claim}
    stubber.add_response("query", {"Items": []}, query("user#"))
    stubber.add_response("query", {"Items": [item], "LastEvaluatedKey": ITEM_KEY}, query("device#"))
    other = {**item, "sk": {"S": f"device#{CARLA}#x"}}
    stubber.add_response("query", {"Items": [other]}, query("device#", ITEM_KEY))
    users = ledger.users(ORGANIZATION)
    assert set(ledger.records(ORGANIZATION, users)) == {KEY, key("x", CARLA)}


EVERYTHING = {
    "open_device": lambda ledger: ledger.open_device(KEY),
    "save_device": lambda ledger: ledger.save_device(KEY, FULL),
    "user": lambda ledger: ledger.user(ORGANIZATION, BOB),
    "save_user": lambda ledger: ledger.save_user(ORGANIZATION, BOB, UserRecord()),
    "list_device": lambda ledger: ledger.list_device(KEY, START, retired=False),
    "save_names": lambda ledger: ledger.save_names(KEY, {"serial": "C02"}),
    "save_named": lambda ledger: ledger.save_named(DeviceName("serial", "C02"), NamedDevice(KEY, False, START)),
    "locks_of": lambda ledger: ledger.locks_of(ORGANIZATION, DeviceName("serial", "C02")),
    "save_locks_of": lambda ledger: ledger.save_locks_of(ORGANIZATION, DeviceName("serial", "C02"), UserRecord()),
    "saw": lambda ledger: ledger.saw(KEY),
    "devices_of": lambda ledger: list(ledger.devices_of(ORGANIZATION, BOB)),
    "devices_named": lambda ledger: list(ledger.devices_named(ORGANIZATION, DeviceName("serial", "C02"))),
    "remember_name": lambda ledger: ledger.remember_name(ORGANIZATION, "bob", Named(BOB)),
    "named": lambda ledger: ledger.named(ORGANIZATION, "bob"),
    "keep_found": lambda ledger: ledger.keep_found(ORGANIZATION, "c1", LookUp((KEY,)), START),
    "found": lambda ledger: ledger.found(ORGANIZATION, "c1"),
    "count_lock": lambda ledger: ledger.count_lock("siem", START, "a", 2),
    "record_outcome": lambda ledger: ledger.record_outcome("e1", "o1", {"detail": {}}, START),
    "outcome": lambda ledger: ledger.outcome("e1", "o1"),
    "users": lambda ledger: ledger.users(ORGANIZATION),
    "records": lambda ledger: ledger.records(ORGANIZATION, {}),
    "inventoried_up_to": lambda ledger: ledger.inventoried_up_to(ORGANIZATION),
    "save_inventoried": lambda ledger: ledger.save_inventoried(KEY),
    "last_sweep": lambda ledger: ledger.last_sweep(ORGANIZATION),
    "save_sweep": lambda ledger: ledger.save_sweep(ORGANIZATION, START),
}
FAILURES = [
    ClientError({"Error": {"Code": code, "Message": "no, because"}}, "Operation")
    for code in (
        "ProvisionedThroughputExceededException",
        "AccessDeniedException",
        "InternalServerError",
        "ValidationException",
    )
] + [ReadTimeoutError(endpoint_url="https://dynamodb.eu-west-1.amazonaws.com")]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: re.sub(r"\W+", " ", str(error))[:60])
@pytest.mark.parametrize("method", EVERYTHING)
def test_whatever_fails_may_be_tried_again_and_says_what_it_was(client, ledger, method, error):
    with failing(client, error), pytest.raises(TransientError, match="ledger: ") as caught:
        EVERYTHING[method](ledger)
    assert str(error) in str(caught.value)


# The fake and the real ledger behave alike.


def a_real_one():
    return Ledger(FakeDynamoDB(), TABLE)


def a_fake():
    return FakeLedger(Wire(), swept=None)


@pytest.fixture(params=[a_real_one, a_fake], ids=["the real ledger", "the fake ledger"])
def either(request):
    return request.param()


instants = st.integers(-(10**9), 10**9).map(lambda milliseconds: START + timedelta(milliseconds=milliseconds))
wholes = instants.map(lambda instant: instant.replace(microsecond=0)) | st.just(HOLD)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
claims = st.builds(Claim, texts, st.sampled_from(["device", "user"]), texts, instants, wholes, texts, texts, texts)
maybe_overrides = st.none() | st.builds(Override, st.sampled_from(["ALLOW", "DENY"]), st.none() | texts)
outcomes = st.builds(
    Outcome,
    st.sampled_from(sorted(RESULTS)),
    texts,
    texts,
    st.none() | wholes,
    texts,
    maybe_overrides,
    maybe_overrides,
    st.booleans(),
    st.none() | st.booleans(),
)
endings = st.builds(Ending, st.sampled_from(["device", "user"]), st.frozensets(texts, max_size=2), texts)
releases = st.lists(st.tuples(endings, instants), max_size=3).map(lambda newest: Released(tuple(newest)))
records = st.builds(
    DeviceRecord,
    claims=st.lists(claims, max_size=3).map(tuple),
    released=releases,
    prior=maybe_overrides,
    last=st.none() | st.builds(Last, texts, texts, outcomes, instants),
    put_back=st.lists(instants, max_size=3).map(tuple),
    known=st.booleans(),
)
user_records = st.builds(UserRecord, st.lists(claims, max_size=3).map(tuple), releases)


@pytest.mark.parametrize("make", [a_real_one, a_fake])
@given(record=records, user=user_records)
def test_what_is_saved_is_read_back_to_the_millisecond(make, record, user):
    ledger = make()
    assert ledger.open_device(KEY) == DeviceRecord()
    ledger.save_device(key(DEVICE.upper()), record)
    assert ledger.open_device(KEY) == replace(record, version=1)
    ledger.save_user(ORGANIZATION, BOB, user)
    assert ledger.user(ORGANIZATION, BOB) == replace(user, version=1)
    ledger.save_locks_of(ORGANIZATION, DeviceName("serial", "C02x"), user)
    assert ledger.locks_of(ORGANIZATION, DeviceName("serial", "c02X")) == replace(user, version=1)
    assert ledger.devices_named(ORGANIZATION, DeviceName("serial", "C02x")) == []
    whole = replace(record, version=1).of_user(replace(user, version=1))
    wanted = {KEY: whole} if whole.is_for_the_sweep else {}
    assert ledger.records(ORGANIZATION, ledger.users(ORGANIZATION)) == wanted
    assert list(ledger.devices_of(ORGANIZATION, BOB)) == [KEY]


def test_a_second_writer_is_refused(either):
    for _ in range(2):
        either.open_device(KEY)
    either.save_device(KEY, FULL_AT_0)
    with pytest.raises(TransientError, match="changed in the ledger"):
        either.save_device(KEY, FULL_AT_0)
    either.save_user(ORGANIZATION, BOB, UserRecord())
    with pytest.raises(TransientError, match="changed in the ledger"):
        either.save_user(ORGANIZATION, BOB, UserRecord())
    either.save_locks_of(ORGANIZATION, DeviceName("serial", "C02"), UserRecord())
    with pytest.raises(TransientError, match="changed in the ledger"):
        either.save_locks_of(ORGANIZATION, DeviceName("serial", "C02"), UserRecord())


FULL_AT_0 = replace(FULL, version=0)


def test_locks_of_an_hour_are_counted_once_each_up_to_a_number(either):
    hour, next_hour = at(0), at(3600)
    assert [either.count_lock("siem", hour, lock, 2) for lock in ("a", "b", "a", "c", "b")] == [True] * 3 + [
        False,
        True,
    ]
    assert either.count_lock("siem", next_hour, "c", 2)
    assert either.count_lock("mdm", hour, "c", 2)


def test_a_lock_that_was_held_is_told_anew_when_it_is_let_through(either):
    held, failed = {"detail": {"result": "held"}}, {"detail": {"result": "failed"}}
    assert either.record_outcome("e1", "o1", held, START) == held
    assert either.record_outcome("e1", "o1", held, START) == held
    assert either.record_outcome("e1", "o1", failed, START) == failed


def test_opening_a_device_again_changes_nothing(either):
    either.open_device(KEY)
    either.save_device(KEY, FULL_AT_0)
    assert either.open_device(key(DEVICE.upper())) == replace(FULL, version=1)


def test_names_of_users_are_kept_in_any_case(either):
    assert either.named(ORGANIZATION, "bob") == Named()
    either.remember_name(ORGANIZATION, "Bob@Example.com", Named(BOB))
    assert either.named(ORGANIZATION, "bob@example.COM") == Named(BOB)
    passed_on = Named(CARLA, (BOB,), START)
    either.remember_name(ORGANIZATION, "bob@example.com", passed_on)
    assert either.named(ORGANIZATION, "Bob@Example.com") == passed_on
    with pytest.raises(TransientError):
        either.remember_name(ORGANIZATION, "bob@example.com", Named(BOB))  # late, or of another command
    either.remember_name(ORGANIZATION, "bob@example.com", passed_on)
    assert either.named(ORGANIZATION, "Bob@Example.com") == passed_on


def test_what_the_first_look_up_found_is_kept(either):
    first, later = LookUp((KEY, key("x", CARLA)), (key("android2"),)), LookUp((key("y"),))
    assert either.found(ORGANIZATION, "c1") is None
    assert either.keep_found(ORGANIZATION, "c1", first, at(60)) == first
    assert either.keep_found(ORGANIZATION, "c1", later, at(60)) == first
    assert either.found(ORGANIZATION, "c1") == first
    assert either.found(ORGANIZATION, "c2") is None


def test_a_look_up_that_no_item_has_room_for_is_not_kept():
    ledger = a_real_one()
    most = LookUp(tuple(DeviceKey(ORGANIZATION, "u" * 36, f"{number:064}") for number in range(MOST_FOUND)))
    assert ledger.keep_found(ORGANIZATION, "c1", most, START) == most
    (item,) = ledger._table._client.items.values()
    assert len(json.dumps(item)) < 400_000
    more = LookUp((*most.keys, KEY))
    assert ledger.keep_found(ORGANIZATION, "c2", more, START) == more
    assert ledger.found(ORGANIZATION, "c2") is None


def test_the_first_outcome_recorded_is_the_one_that_counts(either):
    first, second = {"detail": {"result": "locked"}}, {"detail": {"result": "extended"}}
    assert either.outcome("e1", "o1") is None
    assert either.record_outcome("e1", "o1", first, START) == first
    assert either.record_outcome("e1", "o1", second, START + timedelta(seconds=9)) == first
    assert either.record_outcome("e1", "o2", second, START) == second
    assert either.outcome("e1", "o1") == first
    assert either.outcome("e1", "o3") is None


def test_an_outcome_takes_the_place_of_a_failure_and_no_failure_of_an_outcome(either):
    failed, locked = {"detail": {"result": "failed"}}, {"detail": {"result": "locked"}}
    assert either.record_outcome("e1", "o1", failed, START) == failed
    assert either.record_outcome("e1", "o1", locked, START) == locked
    assert either.record_outcome("e1", "o1", failed, START) == locked
    assert either.outcome("e1", "o1") == locked


def test_what_is_told_again_can_be_announced_again(either):
    """boto3 reads numbers as Decimal, which JSON can't hold."""
    told = {"detailType": "Device Locked", "detail": {"devices": 7, "page": True, "until": None, "times": {"a": "b"}}}
    either.record_outcome("e1", "o1", told, START)
    assert json.dumps(either.record_outcome("e1", "o1", {"detail": {}}, START)) == json.dumps(told)
    assert json.dumps(either.outcome("e1", "o1")) == json.dumps(told)


def test_a_completed_sweep_is_remembered(either):
    assert either.last_sweep(ORGANIZATION) is None
    either.save_sweep(ORGANIZATION, at(7))
    assert either.last_sweep(ORGANIZATION) == LastSweep(at(7), here=True)


def test_a_restored_table_says_that_its_last_sweep_was_over_another_even_under_the_same_name():
    table, restored = FakeDynamoDB(), FakeDynamoDB("0ddba11d-0000-4000-8000-000000000000")
    Ledger(table, TABLE).save_sweep(ORGANIZATION, at(7))
    restored.items = table.items
    assert Ledger(restored, TABLE).last_sweep(ORGANIZATION) == LastSweep(at(7), here=False)
    Ledger(restored, TABLE).save_sweep(ORGANIZATION, at(8))
    assert Ledger(restored, TABLE).last_sweep(ORGANIZATION) == LastSweep(at(8), here=True)


def test_how_far_the_inventory_was_looked_for_is_remembered(either):
    assert either.inventoried_up_to(ORGANIZATION) == DeviceKey(ORGANIZATION, "", "")
    either.save_inventoried(KEY)
    assert either.inventoried_up_to(ORGANIZATION) == KEY


def enroll(ledger, device, names, happened):
    return inventory.enroll(
        Enroll(cause("e", happened), replace(Target.of(device), names=tuple(names))), device, ledger
    )


def retire(ledger, device, happened):
    return inventory.retire(Retire(cause("e", happened), Target.of(device)), device, ledger)


@pytest.mark.parametrize("order", [*itertools.permutations([(1, "one"), (2, "two"), (2, "three")])])
def test_several_devices_have_a_name_in_whatever_order_they_were_enrolled(either, order):
    serial = DeviceName("serial", "C02")
    for _ in range(2):
        for when, device in order:
            enroll(either, key(device, BOB), [serial], at(when))
    named = either.devices_named(ORGANIZATION, serial)
    assert {(row.key.device, row.former) for row in named} == {("one", False), ("two", False), ("three", False)}


def test_devices_answer_to_their_names_and_to_former_ones_as_such(either):
    serial, other = DeviceName("serial", "C02-1"), DeviceName("serial", "C02-11")
    assert enroll(either, key(DEVICE.upper(), BOB), [serial, DeviceName("asset", "7")], at(0))
    assert enroll(either, key("new", BOB), [serial], at(1))
    assert enroll(either, key(DEVICE, CARLA), [serial], at(2))
    assert enroll(either, key("third", CARLA), [other], at(2))
    assert set(either.devices_named(ORGANIZATION, serial)) == {
        NamedDevice(key(DEVICE), former=False, heard=at(0), source="helpdesk"),
        NamedDevice(key("new"), former=False, heard=at(1), source="helpdesk"),
        NamedDevice(key(DEVICE, CARLA), former=False, heard=at(2), source="helpdesk"),
    }
    assert set(either.devices_named(ORGANIZATION, other)) == {
        NamedDevice(key("third", CARLA), former=False, heard=at(2), source="helpdesk")
    }
    assert set(either.devices_named(ORGANIZATION, DeviceName("serial", "c02-1"))) == set(
        either.devices_named(ORGANIZATION, serial)
    )
    assert set(either.devices_named(ORGANIZATION, DeviceName("serial", "C02"))) == set()
    assert retire(either, key("NEW", BOB), at(3))
    assert NamedDevice(key("new"), former=True, heard=at(3), source="helpdesk") in either.devices_named(
        ORGANIZATION, serial
    )
    assert set(either.devices_of(ORGANIZATION, BOB)) == {KEY, key("new")}
    assert not enroll(either, key("new", BOB), [serial], at(2)), "old news"
    assert NamedDevice(key("new"), former=True, heard=at(3), source="helpdesk") in either.devices_named(
        ORGANIZATION, serial
    )
    assert not retire(either, key(DEVICE, CARLA), at(1)), "old news"


def test_a_device_enrolled_under_another_name_has_the_first_no_longer(either):
    one, other, asset = DeviceName("serial", "one"), DeviceName("serial", "other"), DeviceName("asset", "7")
    enroll(either, KEY, [one, asset], at(0))
    enroll(either, KEY, [other], at(1))
    assert either.devices_named(ORGANIZATION, one) == [
        NamedDevice(key(DEVICE), former=True, heard=at(1), source="helpdesk")
    ]
    assert either.devices_named(ORGANIZATION, other) == [
        NamedDevice(key(DEVICE), former=False, heard=at(1), source="helpdesk")
    ]
    assert either.devices_named(ORGANIZATION, asset) == [
        NamedDevice(key(DEVICE), former=False, heard=at(0), source="helpdesk")
    ]


def test_an_enrolled_or_seen_device_is_known_and_keeps_what_is_wanted_of_it(either):
    either.open_device(KEY)
    either.save_device(KEY, replace(FULL_AT_0, known=False))
    enroll(either, KEY, [], at(0))
    assert either.open_device(KEY) == replace(FULL, version=1)
    either.saw(key("seen"))
    assert either.open_device(key("seen")).known


def outcome_of(detail: dict[str, object], at: datetime) -> dict[str, object]:
    return {"detailType": "Device Locked", "detail": {"result": "locked", "times": {"decided": write(at)}, **detail}}


def test_the_timeline_has_what_was_recorded_in_a_time_and_has_a_word_in_order(either):
    told = [
        outcome_of({"userId": "bob", "user": {"id": BOB, "name": "bob", "email": "Bob@Example.com"}}, START),
        outcome_of({"deviceId": "ABC", "lock": {"id": "0a1b2c3d", "reference": "INC-1"}}, START + timedelta(days=30)),
        outcome_of({"userId": BOB, "deviceId": "abc", "reference": "INC-10"}, START + timedelta(days=90)),
    ]
    for number, each in enumerate(told):
        either.record_outcome(f"e{number}", "o", each, START + timedelta(days=(0, 30, 90)[number]))
    whole = (START, START + timedelta(days=91))
    assert list(either.timeline(*whole)) == told
    assert list(either.timeline(*whole, newest_first=True)) == told[::-1]
    assert list(either.timeline(START, START + timedelta(days=90))) == told[:2]
    assert list(either.timeline(*reversed(whole))) == [], "a time that ends before it begins"
    assert [list(either.timeline(*whole, word)) for word in ("inc-1", "Abc", BOB, "bob@example.com", "E2", "b")] == [
        [told[1]],
        told[1:],
        [told[0], told[2]],
        [told[0]],
        [],
        [],
    ]
    assert either.outcomes_of("e1") == [told[1]]
