"""The gateway to the bus: exact requests. An event that the bus did not take is an error."""

import json

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber

from device_lockout.aws import event_bus
from device_lockout.values.errors import TransientError
from tests.functions.aws.failing_calls import failing

DETAIL = {"id": "1", "message": "Device x of bob is locked.", "page": True, "until": None}
EXPECTED = {
    "Entries": [
        {
            "EventBusName": "device-security",
            "Source": "device-lockout",
            "DetailType": "Device Locked",
            "Detail": json.dumps(DETAIL, separators=(",", ":")),
        }
    ]
}


@pytest.fixture
def client(aws):  # noqa: ARG001 (what boto3 asks of the environment)
    return event_bus.client()


def test_an_outcome_is_one_event_of_our_own_source(client):
    with Stubber(client) as stubber:
        stubber.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}, EXPECTED)
        event_bus.Bus(client, "device-security").announce("Device Locked", DETAIL)
        stubber.assert_no_pending_responses()


def test_an_entry_that_failed_without_an_error_is_an_error(client):
    with Stubber(client) as stubber:
        failure = {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}
        stubber.add_response("put_events", {"FailedEntryCount": 1, "Entries": [failure]}, EXPECTED)
        with pytest.raises(TransientError, match="Device Locked: ThrottlingException: slow down"):
            event_bus.Bus(client, "device-security").announce("Device Locked", DETAIL)


@pytest.mark.parametrize("code", ["AccessDeniedException", "InternalException", "ThrottlingException"])
def test_a_refused_call_may_be_repeated(client, code):
    with Stubber(client) as stubber:
        stubber.add_client_error("put_events", code, "no", http_status_code=400)
        with pytest.raises(TransientError, match=f"announce Device Locked.*{code}"):
            event_bus.Bus(client, "device-security").announce("Device Locked", DETAIL)


def test_a_call_without_an_answer_may_be_repeated(client):
    error = ReadTimeoutError(endpoint_url="https://events.eu-west-1.amazonaws.com")
    with failing(client, error), pytest.raises(TransientError):
        event_bus.Bus(client, "device-security").announce("Device Locked", DETAIL)
