"""Reports: a bad event's rejection names each fault, its place, what is there and what was expected."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_lockout.inbound import report
from device_lockout.protocol import announcement
from device_lockout.values import instant, settings
from device_lockout.values.actions import DETAIL_TYPES
from device_lockout.values.command import Lock, Reject, Release, Target, claim_id, command_id, group_id
from device_lockout.values.errors import TransientError
from device_lockout.values.outcome import Outcome
from device_lockout.values.record import Claim, Ending
from device_lockout.values.tag import HOLD
from device_lockout.values.wire import dump, load
from local.in_memory import DAY, DEVICE, ORGANIZATION, SETTINGS, at

RECEIVED = at(60)
DETAIL = {"userId": "bob@example.com", "deviceId": DEVICE, "reportedAt": "2026-11-22T07:30:00.125Z"}


def event(what="Device Lost", source="helpdesk", detail=None, **changes):
    """A good event with ``changes``. None removes a field."""
    whole = {
        "version": "0",
        "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": what,
        "source": source,
        "account": "000000000000",
        "time": "2026-11-22T07:30:05Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": DETAIL if detail is None else detail,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return {name: value for name, value in whole.items() if value is not None}


def detail(**changes):
    return {name: value for name, value in {**DETAIL, **changes}.items() if value is not None}


def read(whole, known=SETTINGS, received=RECEIVED):
    text = whole if isinstance(whole, str) else json.dumps(whole)
    (command,) = report.read(text, "message-1", received, known)
    assert load(dump(command)) == command, "it survives the queue"
    assert group_id(command)
    assert command_id(command)
    return command


# Good events.


def test_a_lost_report_asks_for_a_lock_of_the_device_for_as_long_as_its_reason_says():
    command = read(event(detail=detail(reference="INC-1", note="left in a taxi")))
    when = at(0.125)
    assert command.cause.happened == when
    assert command.cause.received == RECEIVED
    assert command.target == Target(ORGANIZATION, "bob@example.com", DEVICE)
    assert command.claim == Claim(
        claim_id(command.cause.event_id),
        "device",
        "lost",
        when,
        at(30 * DAY + 1),
        "INC-1",
        "left in a taxi",
        "helpdesk",
    )


@pytest.mark.parametrize(("what", "until"), [("Device Stolen", HOLD), ("Device Compromised", at(7 * DAY + 1))])
def test_each_reason_lasts_as_long_as_configured(what, until):
    assert read(event(what)).claim.until == until


def test_a_recovery_asks_for_a_release_of_the_device():
    command = read(event("Device Recovered"))
    assert isinstance(command, Release)
    assert command.ending == Ending("device")


def test_the_configuration_says_which_locks_a_sources_releases_end():
    desk = settings.Source("helpdesk", frozenset({"release"}), None, frozenset({"lost"}), releases_own_only=True)
    command = read(event("User Restored", detail={"userId": "bob"}), replace(SETTINGS, sources=(desk,)))
    assert command.ending == Ending("user", frozenset({"lost"}), "helpdesk")


def test_a_release_may_be_limited_to_what_one_source_locked():
    command = read(event("Device Recovered", detail=detail(lockedBy="webhook.jamf")))
    assert command.ending == Ending("device", source="webhook.jamf")
    command = read(event("User Restored", detail={"userId": "bob", "lockedBy": "siem"}))
    assert command.ending == Ending("user", source="siem")
    rejection = read(event("Device Recovered", detail=detail(lockedBy="a b")))
    assert 'detail.lockedBy is "a b": expected the source whose locks end' in rejection.because
    assert isinstance(read(event(detail=detail(lockedBy="siem"))), Reject), "a lock"


def test_who_may_end_his_own_locks_only_ends_no_others():
    desk = settings.Source("helpdesk", frozenset({"release"}), releases_own_only=True)
    known = replace(SETTINGS, sources=(desk,))
    assert read(event("Device Recovered", detail=detail(lockedBy="helpdesk")), known).ending.source == "helpdesk"
    rejection = read(event("Device Recovered", detail=detail(lockedBy="siem")), known)
    assert "the releases of helpdesk end its own locks only" in rejection.because


def test_a_mapped_release_ends_locks_from_events_with_its_own_events_source():
    unsuspended = settings.EventMapping("release-user", "", {"user": "detail.target[0].alternateId"})
    source = settings.Source("okta", frozenset({"release"}), unsuspended, releases_own_only=True)
    command = read(theirs(), replace(SETTINGS, sources=(source,)))
    assert command.ending == Ending("user", source="aws.partner/okta.com")
    assert read(theirs(), MAPPED).claim.source == "aws.partner/okta.com"


@pytest.mark.parametrize(
    ("what", "kind", "scope", "reason"),
    [
        ("User Compromised", Lock, "user", "compromised"),
        ("User Offboarded", Lock, "user", "offboarded"),
        ("User Restored", Release, "user", None),
    ],
)
def test_events_of_users_ask_for_all_their_devices(what, kind, scope, reason):
    command = read(event(what, detail={"userId": "bob"}))
    assert isinstance(command, kind)
    assert command.target == Target(ORGANIZATION, "bob")
    assert (command.claim.scope if kind is Lock else command.ending.scope) == scope
    assert reason is None or command.claim.why == reason


@pytest.mark.parametrize("name", ["main", ORGANIZATION, None])
def test_the_organization_goes_by_id_or_alias_and_may_be_left_out_where_there_is_one(name):
    assert read(event(detail=detail(organizationId=name))).target.organization == ORGANIZATION


def test_the_time_is_the_producers_then_the_envelopes_then_the_queues():
    def happened(**changes):
        return read(event(**changes)).cause.happened

    assert happened() == at(0.125)
    assert happened(detail=detail(reportedAt=None)) == at(5.999), "the end of the envelope's second"
    assert happened(detail=detail(reportedAt=None), time=None) == RECEIVED
    assert happened(detail=detail(reportedAt="2026-11-22T08:30:00.5+01:00")) == at(0.5)


FUTURE = ["2026-11-22T07:32:01Z", "2030-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]


@pytest.mark.parametrize("said", FUTURE)
def test_a_lock_from_the_future_counts_from_when_it_was_sent_and_says_so(said):
    by_the_producer = read(event(detail=detail(reportedAt=said)))
    assert by_the_producer.cause.happened == at(5.999), "EventBridge took it in at second 5"
    assert f"reportedAt {said[:19]}" in by_the_producer.cause.correction
    by_the_envelope = read(event(detail=detail(reportedAt=None), time=said))
    assert by_the_envelope.cause.happened == RECEIVED
    assert f"time {said[:19]}" in by_the_envelope.cause.correction


@pytest.mark.parametrize("said", FUTURE)
def test_a_release_from_the_future_is_rejected(said):
    for future in (
        event("Device Recovered", detail=detail(reportedAt=said)),
        event("User Restored", detail=detail(deviceId=None, reportedAt=said)),
        event("Device Recovered", detail=detail(reportedAt=None), time=said),
    ):
        assert "could end a later lock" in read(future).because


def test_a_producers_clock_may_be_a_minute_ahead():
    assert isinstance(read(event("Device Recovered", detail=detail(reportedAt="2026-11-22T07:31:05Z"))), Release)


def test_a_time_in_whole_seconds_counts_to_the_end_of_its_second_for_a_lock_only():
    assert read(event(detail=detail(reportedAt="2026-11-22T07:30:03Z"))).claim.at == at(3.999)
    assert read(event(detail=detail(reportedAt="2026-11-22T07:30:03.250Z"))).claim.at == at(3.25)
    assert read(event("Device Recovered", detail=detail(reportedAt="2026-11-22T07:30:03Z"))).cause.happened == at(3)


def test_a_locks_own_end_is_rounded_up_so_that_it_is_never_shorter_than_asked():
    command = read(event(detail=detail(expiresAt="2026-11-23T07:30:00.001Z")))
    assert command.claim.until == at(DAY + 1)


def test_the_longest_end_that_a_reason_allows_may_be_asked_for_to_the_millisecond():
    longest = read(event(detail=detail(reportedAt="2026-11-22T07:30:00.500Z", expiresAt="2027-11-22T07:30:00.500Z")))
    assert longest.claim.until == at(365 * DAY + 1)


def test_an_end_after_the_event_but_past_by_now_is_for_the_protocol_to_judge():
    assert read(event(detail=detail(expiresAt="2026-11-22T07:30:01Z"))).claim.until == at(1)


@pytest.mark.parametrize("expires", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z"])
def test_the_end_of_time_is_until_released(expires):
    assert read(event("Device Stolen", detail=detail(expiresAt=expires))).claim.until == HOLD


def test_the_oldest_event_that_counts_is_a_month_old():
    old = instant.write(RECEIVED - timedelta(days=30))
    assert isinstance(read(event(detail=detail(reportedAt=old))), Lock)


# Bad events: what is wrong, the event, and what each of its faults says.

EXPECTED_DEVICE = "the ActiveSync device ID, 1 to 32 letters and digits without hyphens"
EXPECTED_USER = "an e-mail address, user name or WorkMail user ID"
EXPECTED_TIME = "when it happened, RFC 3339 with offset"
NOT_AN_OBJECT = [["not a JSON object", "as EventBridge delivers it"]]

BAD = [
    ("no JSON", "lost my phone", NOT_AN_OBJECT),
    ("nothing", "", NOT_AN_OBJECT),
    ("half an event", '{"id": "1", "detail": {', NOT_AN_OBJECT),
    ("an array", "[1, 2]", NOT_AN_OBJECT),
    ("a text", '"lost"', NOT_AN_OBJECT),
    ("null", "null", NOT_AN_OBJECT),
    ("an empty object", "{}", NOT_AN_OBJECT),
    ("JSON in ten thousand brackets", "[" * 100_000, NOT_AN_OBJECT),
    ("no ID", event(id=None), [["id is missing"]]),
    ("an ID that is a number", event(id=7), [["id is 7"]]),
    ("an unknown source", event(source="helpdesc"), [['source is "helpdesc"', "helpdesk, mdm, siem"]]),
    ("no source", event(source=None), [["source is missing"]]),
    ("our own source", event(source="device-lockout"), [['source is "device-lockout"']]),
    ("a source of another case", event(source="HelpDesk"), [['source is "HelpDesk"']]),
    (
        "a misspelt detail-type",
        event("Device Lots"),
        [['detail-type is "Device Lots"', "Device Lost, Device Stolen", "did you mean Device Lost?"]],
    ),
    (
        "a detail-type of another case",
        event("device lost"),
        [['detail-type is "device lost"', "did you mean Device Lost?"]],
    ),
    ("a detail-type that is nothing like ours", event("Tea Ready"), [['detail-type is "Tea Ready"']]),
    ("no detail-type", event(detail_type=None), [["detail-type is missing"]]),
    ("a detail-type that is a list", event(detail_type=["Device Lost"]), [['detail-type is ["Device Lost"]']]),
    (
        "a release by a source that may only lock",
        event("Device Recovered", source="siem"),
        [["siem", "Device Recovered", "release", "lock only"]],
    ),
    (
        "a user's release by a source that may only lock",
        event("User Restored", "siem", {"userId": "bob"}),
        [["lock only"]],
    ),
    ("no detail", event(detail_=None, detail={}), [["no device is named", "userId", "deviceId"]]),
    ("a detail that is a text", {**event(), "detail": "bob"}, [['detail is "bob"', "expected an object"]]),
    ("a detail that is a list", {**event(), "detail": [1]}, [["detail is [1]", "expected an object"]]),
    ("no user", event(detail=detail(userId=None)), [["no device is named", "detail.userId is missing"]]),
    ("no device", event(detail=detail(deviceId=None)), [["no device is named", "detail.deviceId is missing"]]),
    (
        "a user with a space",
        event(detail=detail(userId="Bob Smith")),
        [['detail.userId is "Bob Smith"', EXPECTED_USER]],
    ),
    ("a user with a line feed", event(detail=detail(userId="bob\n")), [['detail.userId is "bob\\n"', EXPECTED_USER]]),
    ("an empty user", event(detail=detail(userId="")), [["no device is named", "detail.userId is missing"]]),
    ("a user of 257 characters", event(detail=detail(userId="a" * 257)), [["detail.userId is", EXPECTED_USER]]),
    ("a user that is a number", event(detail=detail(userId=7)), [["detail.userId is 7", EXPECTED_USER]]),
    (
        "a user's letters of another script",
        event(detail=detail(userId="b\u043eb")),
        [["detail.userId is", EXPECTED_USER]],
    ),
    (
        "a device ID with hyphens",
        event(detail=detail(deviceId="3f2504e0-4f89-11d3-9a0c")),
        [['detail.deviceId is "3f2504e0-4f89-11d3-9a0c"', EXPECTED_DEVICE]],
    ),
    (
        "a device ID of 33 characters",
        event(detail=detail(deviceId="a" * 33)),
        [["detail.deviceId is", EXPECTED_DEVICE]],
    ),
    ("an empty device ID", event(detail=detail(deviceId="")), [["no device is named", "detail.deviceId is missing"]]),
    ("a device ID with a line feed", event(detail=detail(deviceId="abc\n")), [["detail.deviceId is", EXPECTED_DEVICE]]),
    ("a device ID that is null", {**event(), "detail": {**DETAIL, "deviceId": None}}, [["detail.deviceId is missing"]]),
    (
        "digits of another script",
        event(detail=detail(deviceId="\u0663\u0664")),
        [["detail.deviceId is", EXPECTED_DEVICE]],
    ),
    (
        "an unknown field",
        event(detail=detail(deviceID="abc")),
        [["detail.deviceID is unknown", "did you mean deviceId?", "userId, deviceId"]],
    ),
    (
        "an end in a recovery",
        event("Device Recovered", detail=detail(expiresAt="2026-12-01T00:00:00Z")),
        [["detail.expiresAt is unknown"]],
    ),
    ("another version", event(detail=detail(schemaVersion="2")), [['detail.schemaVersion is "2"', '"1"']]),
    ("another version as a number", event(detail=detail(schemaVersion=2)), [['detail.schemaVersion is "2"', '"1"']]),
    (
        "an unknown organization",
        event(detail=detail(organizationId="mian")),
        [['detail.organizationId is "mian"', f"{ORGANIZATION} (main)"]],
    ),
    (
        "an organization of another ID",
        event(detail=detail(organizationId=f"m-{'0' * 32}")),
        [["detail.organizationId", "(main)"]],
    ),
    (
        "a time without an offset",
        event("Device Recovered", detail=detail(reportedAt="2026-11-22T07:30:00")),
        [["detail.reportedAt is", EXPECTED_TIME]],
    ),
    (
        "a day for a time",
        event("Device Recovered", detail=detail(reportedAt="2026-11-22")),
        [["detail.reportedAt is", EXPECTED_TIME]],
    ),
    (
        "a time that there is not",
        event("Device Recovered", detail=detail(reportedAt="2026-02-30T07:30:00Z")),
        [["detail.reportedAt is", EXPECTED_TIME]],
    ),
    (
        "a time of ISO 8601 only",
        event("Device Recovered", detail=detail(reportedAt="20261122T073000Z")),
        [["detail.reportedAt is", EXPECTED_TIME]],
    ),
    (
        "a time by weeks",
        event("Device Recovered", detail=detail(reportedAt="2026-W47-7T07:30:00Z")),
        [["detail.reportedAt is", EXPECTED_TIME]],
    ),
    (
        "a time without seconds",
        event("Device Recovered", detail=detail(reportedAt="2026-11-22T07:30Z")),
        [["detail.reportedAt is", EXPECTED_TIME]],
    ),
    (
        "a time before all time",
        event("Device Recovered", detail=detail(reportedAt="0001-01-01T00:00:00+23:59")),
        [["detail.reportedAt is", EXPECTED_TIME]],
    ),
    (
        "a number that is no time",
        event("Device Recovered", detail=detail(reportedAt=7)),
        [["detail.reportedAt is 7", EXPECTED_TIME]],
    ),
    (
        "words for a time",
        event("Device Recovered", detail=detail(reportedAt="yesterday")),
        [['detail.reportedAt is "yesterday"', EXPECTED_TIME]],
    ),
    (
        "an end before the event",
        event(detail=detail(expiresAt="2026-11-22T07:29:00Z")),
        [['detail.expiresAt is "2026-11-22T07:29:00Z"', "after the event itself, 2026-11-22T07:30:00Z"]],
    ),
    (
        "an end too far",
        event(detail=detail(expiresAt="2027-11-23T00:00:00Z")),
        [['detail.expiresAt is "2027-11-23T00:00:00Z"', "at the latest 2027-11-22T07:30:01Z", "reason lost"]],
    ),
    (
        "an end too far beside another fault",
        event(detail=detail(deviceId="a-b", expiresAt="2027-11-23T00:00:00Z")),
        [['detail.deviceId is "a-b"'], ['detail.expiresAt is "2027-11-23T00:00:00Z"', "reason lost"]],
    ),
    (
        "an event too old",
        event("Device Recovered", detail=detail(reportedAt="2026-10-23T07:30:59.999Z")),
        [["2026-10-23T07:30:59.999Z", "no more than 30 days"]],
    ),
    (
        "an envelope too old",
        event("Device Recovered", detail=detail(reportedAt=None), time="2020-01-01T00:00:00Z"),
        [["2020-01-01", "30 days"]],
    ),
    (
        "everything at once",
        event(
            "Device Lost",
            source="helpdesc",
            id=None,
            detail={
                "userId": "",
                "deviceId": "a-b",
                "organizationId": "nowhere",
                "schemaVersion": 2,
                "reportedAt": "now",
                "expiresAt": 5,
                "reference": [],
                "note": {},
                "colour": "black",
                "device": "x",
            },
        ),
        [
            ["id is missing"],
            ['source is "helpdesc"', "did you mean helpdesk?"],
            ["no device is named", "detail.userId is missing"],
            ['detail.deviceId is "a-b"'],
            ['detail.organizationId is "nowhere"'],
            ['detail.schemaVersion is "2"'],
            ["detail.colour is unknown"],
            ["detail.device is unknown", "did you mean deviceId?"],
        ],
    ),
]


@pytest.mark.parametrize(("whole", "faults"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_event_is_rejected_with_every_fault_named(whole, faults):
    command = read(whole)
    assert isinstance(command, Reject)
    said = command.because.split("; ")
    for parts in faults:
        assert any(all(part in fault for part in parts) for fault in said), f"{parts} in none of {said}"
    assert len(said) == len(faults), said


def test_where_there_are_several_organizations_the_event_must_say_which():
    two = replace(SETTINGS, organizations=(*SETTINGS.organizations, settings.Organization(f"m-{'1' * 32}", "spare")))
    command = read(event(), two)
    assert isinstance(command, Reject)
    assert "detail.organizationId is missing" in command.because
    assert "(main)" in command.because
    assert "(spare)" in command.because


def test_a_rejection_says_what_is_known_of_the_report():
    command = read(event(detail=detail(deviceId="a-b", reference="INC-1")))
    assert command.cause.event_id == "7bf73129-1428-4cd3-a780-95db273d1602"
    assert (command.target.user, command.target.device, command.cause.reference) == ("bob@example.com", "a-b", "INC-1")


def test_a_rejection_never_names_another_device_than_the_report():
    assert read(event(detail=detail(deviceId="a" * 33))).target.device in ("", "a" * 33)


def test_a_message_that_is_no_event_goes_by_the_queues_own_id():
    command = read("lost my phone")
    assert command.cause.event_id == "message-1"
    assert command.cause.happened == RECEIVED


def test_however_much_is_wrong_the_rejection_is_short_enough_for_every_store():
    huge = event(detail=detail(**{f"field {number} {'x' * 100}": number for number in range(1000)}))
    assert len(dump(read(huge))) < 20_000
    assert len(dump(read(event(source="x" * 200_000, what="y" * 200_000, id="z" * 200_000)))) < 20_000


def test_a_long_value_is_told_by_its_length():
    because = read(event(detail=detail(userId="a" * 5000))).because
    assert because.startswith("detail.userId is 5000 characters (SHA-256 c526c622): expected an e-mail address")


LURE = "sign in at https://evil.example"


@pytest.mark.parametrize(
    "lured",
    [
        event(source=LURE),
        event(source=LURE, id=LURE, what=LURE),
        event(what=LURE),
        event(detail=LURE),
        event(detail=[LURE]),
        *(
            event(detail=detail(**{field: LURE}))
            for field in (
                "userId",
                "deviceId",
                "serialNumber",
                "assetTag",
                "expiresAt",
                "organizationId",
                "reporter",
                LURE,
            )
        ),
        event(what="Device Recovered", detail=detail(reportedAt=LURE, lockedBy=LURE)),
        event(detail=detail(deviceId="!", reference="or call +1 900 555 0100")),
    ],
)
def test_a_page_has_no_sentence_and_no_address_that_a_stranger_wrote(lured):
    command = read(lured)
    because = command.because if isinstance(command, Reject) else ""
    told = announcement.of_outcome(command, Outcome("rejected", because=because, page=True), RECEIVED)
    detail = told["detail"]
    for words in ("sign in", "evil", "https", "555"):
        assert words not in f"{detail['message']} {detail['advice']}"


@pytest.mark.parametrize("half", ["\ud800", "a\ud83d"])
@pytest.mark.parametrize("field", ["userId", "deviceId", "note", "reference", "colour", "organizationId"])
def test_half_a_character_reaches_no_store(half, field):
    for whole in (
        event(detail=detail(**{field: half})),
        event(detail=detail(**{f"x{half}": 1})),
        event(id=half),
        event(half, half),
    ):
        command = read(whole)
        for text in (dump(command), str(command)):
            text.encode()
            json.dumps(json.loads(text) if text.startswith("{") else text, ensure_ascii=False).encode()


def test_a_note_in_any_alphabet_is_taken():
    assert read(event(detail=detail(note="失くした \U0001f62d"))).claim.note == "失くした \U0001f62d"


@pytest.mark.parametrize("depth", [500, 5_000, 50_000])
def test_a_deep_event_is_rejected_like_any_other(depth):
    for field in ("userId", "colour"):
        text = json.dumps(event(detail=detail(**{field: "HERE"}))).replace('"HERE"', "[" * depth + "]" * depth)
        assert isinstance(read(text), Reject)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1e999", "1" * 5000, "0.1", "true"])
def test_odd_numbers_are_faults_and_no_more(number):
    for what, field in (("Device Lost", "userId"), ("Device Recovered", "reportedAt")):
        text = json.dumps(event(what, detail=detail(**{field: "HERE"}))).replace('"HERE"', number)
        assert isinstance(read(text), Reject)
    for field in ("reportedAt", "expiresAt", "note") if len(number) < 100 else ():
        text = json.dumps(event(detail=detail(**{field: "HERE"}))).replace('"HERE"', number)
        assert isinstance(read(text), Lock)


# Anything at all.

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from(
        ["Device Lost", "helpdesk", "bob", DEVICE, "main", "2026-11-22T07:30:00Z", "9999-12-31T23:59:59.9Z"]
    ),
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
FIELDS = [
    "userId",
    "deviceId",
    "serialNumber",
    "assetTag",
    "organizationId",
    "reportedAt",
    "expiresAt",
    "reference",
    "note",
    "schemaVersion",
    "colour",
]
details = st.dictionaries(st.sampled_from(FIELDS), leaves, max_size=6) | anything
events = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just("id") | anything,
        "source": st.sampled_from(["helpdesk", "siem"]) | anything,
        "detail-type": st.sampled_from(list(DETAIL_TYPES)) | anything,
        "time": st.just("2026-11-22T07:30:00Z") | anything,
        "detail": details,
        "mappedSource": st.sampled_from(["okta", "helpdesk"]) | anything,
        "event": anything,
    },
)


@given(events | anything)
def test_any_json_is_read_or_comes_again_if_its_source_is_missing(whole):
    with suppress(TransientError):
        read(json.dumps(whole))


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_exception(text):
    read(text)


# Other people's events.

OKTA = settings.EventMapping(
    action="lock-user",
    reason="compromised",
    expressions={
        "user": "detail.target[0].alternateId",
        "reference": "detail.uuid",
        "time": "detail.published",
        "note": "join(' ', detail.words)",
    },
)


def mapped_as(mapping):
    source = settings.Source("okta", frozenset({"lock"}), mapping)
    return replace(SETTINGS, sources=(*SETTINGS.sources, source))


MAPPED = mapped_as(OKTA)


def theirs(**changes):
    found = {
        "target": [{"alternateId": "bob"}],
        "uuid": "u-1",
        "published": "2026-11-22T07:30:00Z",
        "words": ["a", "b"],
    }
    whole = {
        "id": "okta-1",
        "source": "aws.partner/okta.com",
        "detail-type": "SystemLog",
        "detail": {**found, **changes},
    }
    return {"mappedSource": "okta", "event": whole}


def test_a_mapped_event_is_read_into_a_command():
    command = read(theirs(), MAPPED)
    assert isinstance(command, Lock)
    assert command.target == Target(ORGANIZATION, "bob")
    assert (command.claim.why, command.claim.reference, command.claim.note) == ("compromised", "u-1", "a b")
    assert command.cause.happened == at(0)


def test_an_expression_that_fails_on_what_it_finds_is_a_rejection_that_does_not_quote_all_of_it():
    """JMESPath quotes what it found. Some errors of its functions are Python's."""
    quoting = replace(OKTA, expressions={"user": "join(' ', detail.words)"})
    long = read(theirs(words="x" * 300_000), mapped_as(quoting))
    assert isinstance(long, Reject)
    assert len(long.because) < 1000
    odd = replace(OKTA, expressions={"user": "detail.target[?contains(id, code)] | [0].id"})
    command = read(theirs(target=[{"id": "bob", "code": 1}]), mapped_as(odd))
    assert isinstance(command, Reject)
    assert "can't be evaluated on this event: 'in <string>' requires string" in command.because


def test_an_event_on_another_bus_in_our_own_name_is_rejected():
    """The writer would take its lock for one of the sweep's. Anybody may put such an event on the default bus."""
    event = theirs()
    event["event"]["source"] = "device-lockout"
    command = read(event, MAPPED)
    assert isinstance(command, Reject)
    assert command.because == 'source is "device-lockout": expected another, since only the sweep asks in this name'


def test_an_expression_that_finds_an_expression_is_a_rejection():
    command = read(theirs(), mapped_as(replace(OKTA, expressions={"user": "&detail.uuid"})))
    assert isinstance(command, Reject)
    assert "user = '&detail.uuid' found" in command.because


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"target": []}, ["user = 'detail.target[0].alternateId'", "found nothing"]),
        ({"target": [{"alternateId": "Bob Smith"}]}, ["user = 'detail.target[0].alternateId'", '"Bob Smith"']),
        ({"published": "2020-01-01T00:00:00Z"}, ["30 days"]),
    ],
)
def test_a_mapped_event_that_does_not_fit_is_rejected_by_the_expressions_name(change, says):
    command = read(theirs(**change), MAPPED)
    assert isinstance(command, Reject)
    for part in says:
        assert part in command.because


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"published": "yesterday"},
            "reportedAt can't be read as a time with an offset, so the event's own time counts",
        ),
        ({"words": 7}, "note was left out, since its expression can't be evaluated"),
        ({"uuid": ["a"]}, "reference was left out, since it is no text"),
    ],
)
def test_a_mapped_lock_counts_without_its_words_and_its_time_and_says_so(change, says):
    command = read(theirs(**change), MAPPED)
    assert isinstance(command, Lock)
    assert command.cause.correction == says


RELEASING = replace(OKTA, action="release-user", reason="")


def test_a_mapped_release_does_not_count_without_its_time():
    source = settings.Source("okta", frozenset({"release"}), RELEASING)
    known = replace(SETTINGS, sources=(*SETTINGS.sources, source))
    assert "time = 'detail.published' found \"yesterday\"" in read(theirs(published="yesterday"), known).because
    assert isinstance(read(theirs(words=7), known), Release)


# Several reports in one event.

SEVERAL = replace(OKTA, expressions={**OKTA.expressions, "user": "each.alternateId"}, each="detail.target", at_most=3)


def read_all(whole, mapping):
    return report.read(json.dumps(whole), "message-1", RECEIVED, mapped_as(mapping))


def test_each_element_makes_a_report_with_an_id_of_its_own():
    commands = read_all(theirs(target=[{"alternateId": "bob"}, {"alternateId": "eve"}, {}]), SEVERAL)
    assert [type(command) for command in commands] == [Lock, Lock, Reject]
    assert [command.target.user for command in commands] == ["bob", "eve", ""]
    assert len({command_id(command) for command in commands}) == 3
    assert {command.cause.event_id for command in commands} == {"okta-1"}
    assert [command.cause.part for command in commands] == [1, 2, 3]
    assert [load(dump(command)) for command in commands] == list(commands)
    again = read_all(theirs(target=[{"alternateId": "bob"}, {"alternateId": "eve"}, {}]), SEVERAL)
    assert [command_id(command) for command in again] == [command_id(command) for command in commands]


def test_a_single_element_is_the_only_report():
    (command,) = read_all(theirs(), SEVERAL)
    assert (command.target.user, command.cause.part) == ("bob", 0)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ([{"alternateId": "bob"}] * 4, "each = 'detail.target' found 4 elements: expected 1 to 3"),
        ([], "each = 'detail.target' found 0 elements: expected 1 to 3"),
        ({"alternateId": "bob"}, "each = 'detail.target' found dict: expected a list"),
        (None, "each = 'detail.target' found NoneType: expected a list"),
    ],
)
def test_what_is_no_list_or_too_long_a_one_is_one_rejection_and_nothing_half_done(target, says):
    (command,) = read_all(theirs(target=target), SEVERAL)
    assert isinstance(command, Reject)
    assert command.because == says


def test_a_list_where_one_user_is_meant_is_rejected_and_never_the_first():
    listed = replace(OKTA, expressions={"user": "detail.target[].alternateId"})
    (command,) = read_all(theirs(), listed)
    assert isinstance(command, Reject)
    assert 'found ["bob"]' in command.because


@pytest.mark.parametrize(("when", "meant"), [("detail.uuid == 'u-1'", 1), ("detail.uuid == 'u-2'", 0), ("nothing", 0)])
def test_an_event_that_is_not_meant_makes_no_report(when, meant):
    assert len(read_all(theirs(), replace(OKTA, when=when))) == meant


def test_a_condition_that_can_not_be_evaluated_is_a_rejection():
    (command,) = read_all(theirs(uuid=1), replace(OKTA, when="starts_with(detail.uuid, 'u')"))
    assert "when = \"starts_with(detail.uuid, 'u')\" can't be evaluated" in command.because


def test_a_mapped_end_may_be_a_day():
    ending = replace(OKTA, expressions={**OKTA.expressions, "expires_at": "detail.until"})
    (command,) = read_all(theirs(until="2026-11-24"), ending)
    assert instant.write(command.claim.until) == "2026-11-25T00:00:00.000Z"


@pytest.mark.parametrize("field", ["expires_at", "organization"])
def test_a_rejection_names_the_expression_whatever_rule_its_value_breaks(field):
    (command,) = read_all(theirs(it="2026-11-01"), replace(OKTA, expressions={**OKTA.expressions, field: "detail.it"}))
    assert isinstance(command, Reject)
    assert f"{field} = 'detail.it' found \"2026-11-01\": expected " in command.because
    assert "detail.expiresAt" not in command.because
    assert "detail.organizationId" not in command.because


@given(details)
def test_a_mapped_event_of_any_content_is_read_without_an_exception(found):
    read({"mappedSource": "okta", "event": {"id": "okta-1", "detail": found}}, MAPPED)


@pytest.mark.parametrize("published", ["NaN", "1e400", "1795332600", "1795332600000", "9" * 400, "-5", "true"])
def test_a_mapped_time_may_be_a_number(published):
    text = json.dumps(theirs(published="HERE")).replace('"HERE"', published)
    command = read(text, MAPPED)
    if published.startswith("17953326"):
        assert command.cause.happened == at(0)


def test_a_mapped_source_can_not_be_claimed_by_an_event_of_the_contract():
    command = read(event(source="okta"), MAPPED)
    assert isinstance(command, Reject)
    assert 'source is "okta"' in command.because


@pytest.mark.parametrize("name", ["nobody", "helpdesk"])
def test_an_event_of_a_mapped_source_that_the_settings_lack_comes_again(name):
    """A deployment changes rules and settings one after the other. To reject it would lose it for good."""
    with pytest.raises(TransientError, match=f'mappedSource is "{name}": expected a source with an action'):
        read({"mappedSource": name, "event": event()}, MAPPED)


def test_a_webhook_that_could_not_be_read_is_a_rejection_that_says_so_and_nothing_else():
    because = "the webhook sender jamf sent 8 bytes (SHA-256 ab) that were not taken: expected JSON"
    command = read(event("Webhook", "webhook.jamf.unreadable", {"because": because}))
    assert isinstance(command, Reject)
    assert command.because == because
    assert (command.cause.source, command.target) == ("webhook.jamf.unreadable", Target("", ""))


@pytest.mark.parametrize(
    ("source", "words"),
    [("webhook.jamf.unreadable", "a text"), ("webhook.jamf", {"because": "x"}), ("x.unreadable", {"because": "x"})],
)
def test_other_events_of_webhooks_are_rejected_as_those_of_any_unknown_source(source, words):
    command = read(event("Webhook", source, words))
    assert isinstance(command, Reject)
    assert f'source is "{source}": expected one that the configuration names' in command.because
