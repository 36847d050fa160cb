"""A deployment and its rollback: what one release wrote, another reads, and loses nothing of it.

``tests/fixtures/release-N/`` has what release N wrote. It never changes, and every later release reads it.
"""

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given

from device_lockout.aws.ledger import Ledger
from device_lockout.aws.webhook_log import WebhookLog
from device_lockout.values import settings, tag, wire
from device_lockout.values.command import KINDS, Change, Lock
from device_lockout.values.device import DeviceKey, Named
from device_lockout.values.errors import TransientError, UnreadableError
from device_lockout.values.record import LastSweep
from local.in_memory import BOB, KEY, ORGANIZATION, SETTINGS, at
from tests.fixtures import examples
from tests.functions.aws.fake_dynamodb import FakeDynamoDB
from tests.functions.values.test_wire import every_command

RELEASES = sorted(examples.HERE.glob("release-*"), key=lambda release: int(release.name.removeprefix("release-")))
NEXT = {"text": "a newer release's", "list": [{"n": 7}], "none": None}
"""What a newer release may write in a field of its own."""


def read(release: Path, name: str) -> Any:
    return json.loads((release / name).read_text(encoding="utf-8"))


def ledger_with(items: list[dict[str, Any]]) -> tuple[Ledger, FakeDynamoDB]:
    table = FakeDynamoDB()
    table.items = {(item["pk"]["S"], item["sk"]["S"]): item for item in items}
    return Ledger(table, "ledger"), table


def keeps(after: Any, before: Any) -> bool:
    """Whether all that was there is still there."""
    if isinstance(before, dict):
        return isinstance(after, dict) and all(name in after and keeps(after[name], before[name]) for name in before)
    if isinstance(before, list):
        return len(after) == len(before) and all(map(keeps, after, before))
    return bool(after == before)


# What each release wrote.


def test_there_are_fixtures_of_every_kind():
    assert [release.name for release in RELEASES] == [f"release-{number + 1}" for number in range(len(RELEASES))]
    for release in RELEASES:
        assert {message["command"] for message in read(release, "messages.json").values()} <= {*KINDS.values()}
    assert {message["command"] for message in read(RELEASES[-1], "messages.json").values()} == {*KINDS.values()}


def test_this_release_writes_what_its_fixtures_say():
    """If this fails, what is written has changed. Two releases meet in the queue and in the ledger.

    If no release has these fixtures yet, write them anew: ``python -m tests.fixtures.examples release-1``. If one has,
    leave them, and write those of the next release beside them. Give each new field a default, and name it in the
    ``may_lack`` of its class in ``wire``. Raise ``wire.FORMAT`` only as CONTRIBUTING.md says.
    """
    for name, content in examples.written().items():
        assert content == read(RELEASES[-1], name), f"{RELEASES[-1].name}/{name}: see the docstring of this test"


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(message, id=f"{release.name}, {name}")
        for release in RELEASES
        for name, message in read(release, "messages.json").items()
    ],
)
def test_every_releases_messages_are_read_whole(message):
    assert keeps(json.loads(wire.dump(wire.load(json.dumps(message)))), message)


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_every_releases_ledger_is_read_and_written_back_whole(release):
    items = read(release, "items.json")
    ledger, table = ledger_with(items)
    record = ledger.open_device(KEY)
    assert (record.claims, record.prior, record.last.outcome.after, record.known) == (
        (examples.CLAIM,),
        examples.ALLOW,
        examples.DENIED,
        True,
    )
    assert dict(record.released.newest) == dict(examples.RECORD.released.newest)
    user = ledger.user(ORGANIZATION, BOB)
    assert user == replace(examples.USER_RECORD, version=1)
    assert ledger.users(ORGANIZATION) == {BOB: user}
    assert ledger.records(ORGANIZATION, {BOB: user}) == {KEY: record.of_user(user)}
    assert ledger.named(ORGANIZATION, "bob@EXAMPLE.com") == Named(BOB)
    assert ledger.locks_of(ORGANIZATION, examples.SERIAL) == user
    assert [named.key for named in ledger.devices_named(ORGANIZATION, examples.SERIAL)] == [KEY]
    assert ledger.outcome(examples.CAUSE.event_id, "c" * 64) == examples.TOLD
    assert ledger.last_sweep(ORGANIZATION) == LastSweep(at(6), here=True)
    assert ledger.inventoried_up_to(ORGANIZATION) == DeviceKey(*KEY)
    assert not WebhookLog(table, "ledger").begin("jamf", "5ec0", at(300), at(1)), "it was passed on before"

    ledger.save_device(KEY, record)
    ledger.save_user(ORGANIZATION, BOB, user)
    for item in items:
        after = table.items[item["pk"]["S"], item["sk"]["S"]]
        assert keeps(after, {name: value for name, value in item.items() if name != "version"})


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_every_releases_tags_are_read(release):
    for description, said in read(release, "tags.json").items():
        reading = tag.read(description, said["owner"])
        assert isinstance(reading, tag.Tag)
        shown = {name: getattr(reading, name) for name in ("owner", "why", "id", "was")}
        assert shown | {name: tag.write_time(getattr(reading, name)) for name in ("until", "at")} == said


# What a newer release writes.


def with_more(fields: Any) -> Any:
    """The same with a field more at every level."""
    if isinstance(fields, dict):
        return {**{name: with_more(each) if name != "names" else each for name, each in fields.items()}, "next": NEXT}
    return [with_more(each) for each in fields] if isinstance(fields, list) else fields


@given(every_command)
def test_a_command_with_more_fields_is_the_same_and_its_lock_keeps_them(command):
    newer = with_more(json.loads(wire.dump(command)))
    loaded = wire.load(json.dumps(newer))
    if isinstance(loaded, Lock | Change):
        assert json.loads(wire.dump(loaded))["claim"]["next"] == NEXT, "it goes on to the ledger"
        loaded = replace(loaded, claim=replace(loaded.claim, beyond=""))
    assert loaded == command


@pytest.mark.parametrize("name", examples.COMMANDS)
def test_a_command_of_a_newer_format_waits_and_is_no_rubbish(name):
    message = json.loads(wire.dump(examples.COMMANDS[name]))
    with pytest.raises(TransientError, match=r"the message has format 2: expected at most 1\. Deploy the release"):
        wire.load(json.dumps(message | {"format": 2, "command": "something new"}))
    with pytest.raises(UnreadableError):
        wire.load(json.dumps(message | {"command": "something new"}))
    with pytest.raises(UnreadableError):
        wire.load(json.dumps(message | {"format": "2"}))


def test_a_message_without_a_format_has_the_first_one():
    message = examples.messages()["lock"]
    del message["format"]
    assert wire.load(json.dumps(message)) == examples.COMMANDS["lock"]


def newer_ledger() -> tuple[Ledger, FakeDynamoDB, list[dict[str, Any]]]:
    """A ledger in which a newer release wrote a field more at every level of every item."""
    load, dump = TypeDeserializer().deserialize, TypeSerializer().serialize
    items = []
    for item in examples.items():
        plain = {name: load(value) for name, value in item.items()}
        newer = {
            name: with_more(value) if name in ("claims", "released") else value for name, value in plain.items()
        } | {"next": NEXT}
        items.append({name: dump(value) for name, value in newer.items()})
    return *ledger_with(items), items


def test_what_a_newer_release_wrote_survives_a_rollback():
    ledger, table, items = newer_ledger()
    record, user = ledger.open_device(KEY), ledger.user(ORGANIZATION, BOB)
    (claim,) = record.claims
    edited = record.with_claim(replace(claim, until=at(60)))
    ledger.save_device(KEY, edited)
    ledger.save_user(ORGANIZATION, BOB, user)
    ledger.remember_name(ORGANIZATION, "Bob@example.com", Named(BOB))
    ledger.save_sweep(ORGANIZATION, at(7))
    ledger.save_inventoried(KEY)
    ledger.list_device(KEY, at(8), retired=True)
    load = TypeDeserializer().deserialize
    for item in items:
        after = table.items[item["pk"]["S"], item["sk"]["S"]]
        assert load(after["next"]) == NEXT, after["sk"]
        for row in chain(load(after.get("claims", {"L": []})), load(after.get("released", {"L": []}))):
            assert row["next"] == NEXT, after["sk"]
    assert ledger.open_device(KEY).claims == edited.claims


def test_a_released_kind_with_more_fields_is_the_same_kind():
    ledger, _, _ = newer_ledger()
    released = ledger.open_device(KEY).released
    again = released.with_release(examples.ENDING, at(9))
    assert len(again.newest) == len(released.newest)


def test_an_item_of_a_newer_format_is_neither_read_nor_written():
    ledger, table = ledger_with(examples.items())
    place = ORGANIZATION, f"device#{BOB}#{KEY.device}"
    table.items[place] = table.items[place] | {"format": {"N": "2"}}
    with pytest.raises(TransientError, match="the device's item in the ledger has format 2: expected at most 1"):
        ledger.open_device(KEY)
    with pytest.raises(TransientError):
        ledger.records(ORGANIZATION, {})
    place = ORGANIZATION, f"user#{BOB}"
    table.items[place] = table.items[place] | {"format": {"N": "2"}}
    with pytest.raises(TransientError, match="the user's item"):
        ledger.user(ORGANIZATION, BOB)


def test_an_outcome_that_this_release_does_not_know_is_decided_anew():
    ledger, table = ledger_with(examples.items())
    item = table.items[ORGANIZATION, f"device#{BOB}#{KEY.device}"]
    item["last"]["M"]["outcome"]["M"]["result"] = {"S": "teleported"}
    assert ledger.open_device(KEY).failed


def test_settings_of_another_release_take_defaults_and_leave_out_what_is_unknown():
    plain = json.loads(settings.dump(SETTINGS))
    del plain["exempt_users"]
    assert settings.load(json.dumps(plain | {"next": NEXT})) == replace(SETTINGS, exempt_users=frozenset())
    del plain["owner"]
    with pytest.raises(KeyError, match="owner"):
        settings.load(json.dumps(plain))
