"""The gateway to WorkMail: exact requests, every answer, and errors by what the call did."""

from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
from botocore.stub import Stubber

from device_lockout.aws import workmail
from device_lockout.aws.call_rate import Pace
from device_lockout.aws.workmail import WorkMail
from device_lockout.values.device import User
from device_lockout.values.errors import (
    LockoutError,
    NotTriedError,
    RefusedError,
    RejectedError,
    TransientError,
    UnansweredError,
    UnknownUserError,
)
from device_lockout.values.override import ListedOverride, Override
from local.in_memory import BOB, DEVICE, KEY, ORGANIZATION, key
from tests.functions.aws.failing_calls import failing

DATE = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
DATED = {"HTTPStatusCode": 200, "HTTPHeaders": {"date": "Sun, 22 Nov 2026 07:30:00 GMT"}}
ONE = {"OrganizationId": ORGANIZATION, "UserId": BOB, "DeviceId": DEVICE}
DENIAL = Override("DENY", "[lockout/1 …")


@pytest.fixture(scope="module")
def client():
    return boto3.client(
        "workmail", region_name="eu-west-1", aws_access_key_id="nobody", aws_secret_access_key="nothing"
    )


@pytest.fixture
def stubber(client):
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def gateway(client):
    return WorkMail(client)


def test_a_user_is_looked_up_by_any_name_and_comes_with_all(gateway, stubber):
    stubber.add_response(
        "describe_user",
        {"UserId": BOB, "Name": "Bob", "Email": "Bob@example.com"},
        {"OrganizationId": ORGANIZATION, "UserId": "BOB@Example.com"},
    )
    assert gateway.user(ORGANIZATION, "BOB@Example.com") == User(
        BOB, frozenset({BOB, "bob", "bob@example.com"}), "Bob", "Bob@example.com"
    )


def test_a_user_is_looked_up_by_the_id_that_identity_center_knows(gateway, stubber):
    identity = "9067a1b2c3-0aa1b2c3-1111-2222-3333-444455556666"
    stubber.add_client_error("describe_user", "EntityNotFoundException", "no", http_status_code=400)
    stubber.add_response(
        "list_users",
        {
            "Users": [
                {"Id": "another-user-id", "IdentityProviderUserId": f"{identity}7"},
                {"Id": BOB, "Name": "bob", "IdentityProviderUserId": identity},
            ]
        },
        {"OrganizationId": ORGANIZATION, "Filters": {"IdentityProviderUserIdPrefix": identity}},
    )
    assert gateway.user(ORGANIZATION, identity) == User(BOB, frozenset({BOB, "bob", identity}), "bob")


def test_what_stands_comes_with_the_services_own_time(gateway, stubber):
    answer = {"Effect": "ALLOW", "Description": "travel", "ResponseMetadata": DATED}
    stubber.add_response("get_mobile_device_access_override", answer, ONE)
    assert gateway.get(KEY) == workmail.Observation(Override("ALLOW", "travel"), DATE)


def test_an_override_without_a_description_has_none(gateway, stubber):
    stubber.add_response("get_mobile_device_access_override", {"Effect": "DENY", "ResponseMetadata": DATED}, ONE)
    assert gateway.get(KEY).override == Override("DENY", None)


def test_where_nothing_stands_there_is_a_time_all_the_same(gateway, stubber):
    stubber.add_client_error(
        "get_mobile_device_access_override",
        "ResourceNotFoundException",
        http_status_code=400,
        expected_params=ONE,
        response_meta=DATED,
    )
    assert gateway.get(KEY) == workmail.Observation(None, DATE)


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}, {"date": ""}])
def test_a_time_that_is_missing_or_unreadable_agrees_with_no_clock(gateway, stubber, headers):
    answer = {"Effect": "DENY", "ResponseMetadata": {**DATED, "HTTPHeaders": headers}}
    stubber.add_response("get_mobile_device_access_override", answer, ONE)
    assert abs(gateway.get(KEY).date - DATE) > timedelta(days=365)


def test_an_override_is_put_with_its_description(gateway, stubber):
    stubber.add_response(
        "put_mobile_device_access_override", {}, {**ONE, "Effect": "DENY", "Description": DENIAL.description}
    )
    before = datetime.now(UTC)
    assert before <= gateway.put(KEY, DENIAL) <= datetime.now(UTC)


def test_an_override_that_never_had_a_description_is_put_without_one(gateway, stubber):
    stubber.add_response("put_mobile_device_access_override", {}, {**ONE, "Effect": "ALLOW"})
    gateway.put(KEY, Override("ALLOW"))


def test_an_override_is_deleted(gateway, stubber):
    stubber.add_response("delete_mobile_device_access_override", {}, ONE)
    before = datetime.now(UTC)
    assert before <= gateway.delete(KEY) <= datetime.now(UTC)


# What goes wrong, by effect.

READS = {
    "describe_user": lambda gateway: gateway.user(ORGANIZATION, "bob"),
    "get_mobile_device_access_override": lambda gateway: gateway.get(KEY),
    "list_mobile_device_access_overrides": lambda gateway: list(gateway.pages(ORGANIZATION)),
}
WRITES = {
    "put_mobile_device_access_override": lambda gateway: gateway.put(KEY, DENIAL),
    "delete_mobile_device_access_override": lambda gateway: gateway.delete(KEY),
}
ERRORS = [
    # code                                       status  of a read        of a write
    ("ThrottlingException", 400, TransientError, TransientError),
    ("TooManyRequestsException", 429, TransientError, TransientError),
    ("RequestLimitExceeded", 400, TransientError, TransientError),
    ("AccessDeniedException", 400, TransientError, TransientError),
    ("AccessDeniedException", 403, TransientError, TransientError),
    ("ExpiredTokenException", 403, TransientError, TransientError),
    ("UnrecognizedClientException", 403, TransientError, TransientError),
    ("SomethingThatAWSAddsNextYear", 400, TransientError, TransientError),
    ("DirectoryUnavailableException", 400, TransientError, TransientError),
    ("DirectoryServiceAuthenticationFailedException", 400, TransientError, TransientError),
    ("InternalFailure", 500, TransientError, UnansweredError),
    ("ServiceUnavailable", 503, TransientError, UnansweredError),
    ("502", 502, TransientError, UnansweredError),
    ("EntityNotFoundException", 400, UnknownUserError, UnknownUserError),
    ("EntityStateException", 400, RefusedError, RefusedError),
    ("OrganizationStateException", 400, RefusedError, RefusedError),
    ("OrganizationNotFoundException", 400, RefusedError, RefusedError),
    ("InvalidParameterException", 400, RejectedError, RejectedError),
    ("UnsupportedOperationException", 400, RejectedError, RejectedError),
]


@pytest.mark.parametrize(("code", "status", "of_a_read", "of_a_write"), ERRORS)
@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_an_error_answer_is_told_apart_by_its_effect(gateway, stubber, operation, code, status, of_a_read, of_a_write):
    stubber.add_client_error(
        operation, code, "no, because", http_status_code=status, response_meta={"HTTPHeaders": DATED["HTTPHeaders"]}
    )
    if status >= 500 and operation in ASKED_ONCE_MORE:
        stubber.add_client_error(operation, code, "no, because", http_status_code=status)
    expected = of_a_read if operation in READS else of_a_write
    with pytest.raises(LockoutError) as caught:
        (READS | WRITES)[operation](gateway)
    assert type(caught.value) is expected
    if operation == "describe_user" and expected is UnknownUserError:
        assert str(caught.value) == "WorkMail knows no user bob"
        return
    assert code in str(caught.value), "the message says what WorkMail said"
    assert "no, because" in str(caught.value)


URL = "https://workmail.eu-west-1.amazonaws.com"
NO_ANSWERS = [
    ReadTimeoutError(endpoint_url=URL),
    ConnectTimeoutError(endpoint_url=URL),
    EndpointConnectionError(endpoint_url=URL),
    ConnectionClosedError(endpoint_url=URL),
]
ASKED_ONCE_MORE = "describe_user", "get_mobile_device_access_override"


@pytest.mark.parametrize("error", NO_ANSWERS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_a_read_without_an_answer_did_nothing_and_a_write_may_have(client, operation, error):
    with failing(client, error) as tried, pytest.raises(TransientError if operation in READS else UnansweredError):
        (READS | WRITES)[operation](WorkMail(client))
    again = operation in ASKED_ONCE_MORE and isinstance(error, ConnectionClosedError)
    assert len(tried) == (2 if again else 1)


def test_what_botocore_does_not_even_send_is_rejected(client):
    gateway = WorkMail(client)
    for call in (
        lambda: gateway.user(ORGANIZATION, ""),
        lambda: gateway.put(key(""), Override("DENY")),
        lambda: gateway.delete(key("")),
    ):
        with pytest.raises(RejectedError, match="Invalid length"):
            call()


@pytest.mark.parametrize("answer", ["500", "503", "ThrottlingException", *NO_ANSWERS], ids=str)
@pytest.mark.usefixtures("aws")
def test_the_writers_client_makes_every_call_once(answer):
    """botocore repeats calls after time-outs and 5xx. The first attempt may then take effect after the last."""
    client = workmail.client(timedelta(seconds=4), attempts=1)
    sent = []

    def reply(request, **_):
        sent.append(request)
        if isinstance(answer, Exception):
            raise answer
        status, code = (int(answer), "InternalFailure") if answer.isdigit() else (400, answer)
        response = AWSResponse(request.url, status, {}, None)
        response._content = b'{"__type": "%s"}' % code.encode()
        return response

    client.meta.events.register("before-send.workmail", reply)
    with pytest.raises(LockoutError):
        WorkMail(client).put(KEY, DENIAL)
    assert len(sent) == 1


@pytest.mark.usefixtures("aws")
def test_a_client_gives_up_on_a_call_in_the_configured_time():
    config = workmail.client(timedelta(seconds=4), attempts=3).meta.config
    assert (config.connect_timeout, config.read_timeout) == (1, 4)
    assert config.retries["total_max_attempts"] == 3


# Listing.


def listing(token=None):
    return {"OrganizationId": ORGANIZATION, "MaxResults": 100, **({"NextToken": token} if token else {})}


def page(*rows, token=None):
    return {
        "Overrides": [
            {"UserId": BOB, "DeviceId": device, "Effect": effect, **({"Description": words} if words else {})}
            for device, effect, words in rows
        ],
        "ResponseMetadata": DATED,
        **({"NextToken": token} if token else {}),
    }


LIST = "list_mobile_device_access_overrides"


def test_every_page_is_listed(gateway, stubber):
    stubber.add_response(LIST, page(("ABC", "DENY", "one"), token="t1"), listing())
    stubber.add_response(LIST, page(token="t2"), listing("t1"))
    stubber.add_response(LIST, page(("def", "ALLOW", None)), listing("t2"))
    assert list(gateway.pages(ORGANIZATION)) == [
        ([ListedOverride(key("abc"), Override("DENY", "one"))], DATE),
        ([], DATE),
        ([ListedOverride(key("def"), Override("ALLOW", None))], DATE),
    ]


def test_an_organization_without_overrides_has_one_empty_page(gateway, stubber):
    stubber.add_response(LIST, {"ResponseMetadata": DATED}, listing())
    assert list(gateway.pages(ORGANIZATION)) == [([], DATE)]


def test_a_page_is_asked_for_when_it_is_wanted(gateway, stubber):
    stubber.add_response(LIST, page(("abc", "DENY", "one"), token="t1"), listing())
    rows, _ = next(gateway.pages(ORGANIZATION))
    assert len(rows) == 1


@pytest.mark.parametrize("tokens", [["t1", "t1"], ["t1", "t2", "t1"]])
def test_a_page_token_that_comes_again_fails_the_list(gateway, stubber, tokens):
    for number, token in enumerate(tokens):
        asked = listing(tokens[number - 1]) if number else listing()
        stubber.add_response(LIST, page((f"d{number}", "DENY", "x"), token=token), asked)
    with pytest.raises(TransientError, match="repeated a page token"):
        list(gateway.pages(ORGANIZATION))


@pytest.mark.parametrize("missing", ["UserId", "DeviceId", "Effect"])
def test_a_row_that_says_nothing_fails_the_list(gateway, stubber, missing):
    row = {"UserId": BOB, "DeviceId": "abc", "Effect": "DENY"}
    del row[missing]
    stubber.add_response(LIST, {"Overrides": [row], "ResponseMetadata": DATED}, listing())
    with pytest.raises(TransientError, match="expected UserId, DeviceId, and Effect"):
        list(gateway.pages(ORGANIZATION))


def test_a_page_that_fails_fails_the_list(gateway, stubber):
    stubber.add_response(LIST, page(("abc", "DENY", "one"), token="t1"), listing())
    stubber.add_client_error(LIST, "ThrottlingException", http_status_code=400, expected_params=listing("t1"))
    with pytest.raises(TransientError):
        list(gateway.pages(ORGANIZATION))


# Throttling.


@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_a_throttled_call_is_made_again_for_as_long_as_there_is_time(client, stubber, operation):
    times_left = iter([True, True, True, False])
    for _ in range(3):
        stubber.add_client_error(operation, "ThrottlingException", http_status_code=400)
    with pytest.raises(NotTriedError, match="too late"):
        (READS | WRITES)[operation](WorkMail(client, Pace(sleep=lambda _: None), lambda _: next(times_left)))
    assert next(times_left, "all asked for") == "all asked for"


def test_a_throttled_write_that_gets_through_is_written(client, stubber):
    stubber.add_client_error("put_mobile_device_access_override", "ThrottlingException", http_status_code=400)
    stubber.add_response(
        "put_mobile_device_access_override", {}, {**ONE, "Effect": "DENY", "Description": DENIAL.description}
    )
    WorkMail(client, Pace(sleep=lambda _: None)).put(KEY, DENIAL)


@pytest.mark.parametrize(
    ("code", "status"), [("ThrottlingException", 503), ("InternalFailure", 500), ("AccessDeniedException", 400)]
)
def test_nothing_but_a_throttled_call_is_made_again(client, stubber, code, status):
    stubber.add_client_error("put_mobile_device_access_override", code, http_status_code=status)
    with pytest.raises(LockoutError):
        WorkMail(client, Pace(sleep=lambda _: None)).put(KEY, DENIAL)
