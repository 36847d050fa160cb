"""The emulator in a process of its own, asked by AWS's own clients."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.local.workmail.asking import ANA, DELETE, LIST, ORGANIZATION, PUT
from tests.local.workmail.conftest import REPOSITORY

ANAS = {"OrganizationId": ORGANIZATION, "UserId": "ana", "DeviceId": "ApplF1"}


def test_boto3_gets_its_own_kind_of_answers(workmail):
    put = workmail.put_mobile_device_access_override(**ANAS, Effect="DENY", Description="é\n😀")
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 200
    row = workmail.get_mobile_device_access_override(**ANAS)
    assert (row["UserId"], row["DeviceId"], row["Effect"], row["Description"]) == (ANA, "ApplF1", "DENY", "é\n😀")
    assert abs((datetime.now(UTC) - row["DateModified"]).total_seconds()) < 60
    workmail.delete_mobile_device_access_override(**ANAS)
    assert workmail.list_mobile_device_access_overrides(OrganizationId=ORGANIZATION)["Overrides"] == []


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"DeviceId": "A" * 33}, "InvalidParameterException"),
        ({"DeviceId": "1A2B-3C4D"}, "InvalidParameterException"),
        ({"UserId": "nobody"}, "EntityNotFoundException"),
        ({"UserId": "frank"}, "EntityStateException"),
        ({"OrganizationId": "m-" + "0" * 32}, "OrganizationNotFoundException"),
    ],
)
def test_boto3_knows_every_modelled_error(workmail, request_, error):
    with pytest.raises(getattr(workmail.exceptions, error)) as raised:
        workmail.put_mobile_device_access_override(**(ANAS | {"Effect": "DENY"} | request_))
    assert raised.value.response["Error"]["Message"] == raised.value.response["Message"]
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_boto3_knows_that_nothing_is_there(workmail):
    with pytest.raises(workmail.exceptions.ResourceNotFoundException):
        workmail.get_mobile_device_access_override(**ANAS)


def test_boto3_knows_an_organization_that_is_not_active(alone, workmail):
    alone.control("POST", "seed", {"organizations": [{"OrganizationId": ORGANIZATION, "State": "Deleting"}]})
    with pytest.raises(workmail.exceptions.OrganizationStateException):
        workmail.list_mobile_device_access_overrides(OrganizationId=ORGANIZATION)


def test_boto3_retries_what_is_throttled(alone):
    alone.control("PUT", "settings", {"faults": {"throttle": {"count": 2}}})
    client = alone.client(retries={"total_max_attempts": 3, "mode": "standard"})
    row = client.list_mobile_device_access_overrides(OrganizationId=ORGANIZATION)
    client.close()
    assert row["ResponseMetadata"]["RetryAttempts"] == 2
    statuses = [call["status"] for call in alone.control("GET", "calls")["calls"]]
    assert statuses == [400, 400, 200]


def test_a_client_gives_up_on_an_answer_that_never_comes(alone, workmail):
    alone.control("PUT", "settings", {"faults": {"no_answer": {"effect": "applied", "operations": [PUT]}}})
    impatient = alone.client(read_timeout=0.2)
    with pytest.raises(ReadTimeoutError):
        impatient.put_mobile_device_access_override(**ANAS, Effect="DENY")
    impatient.close()
    assert workmail.get_mobile_device_access_override(**ANAS)["Effect"] == "DENY"
    call = alone.control("GET", f"calls?operation={PUT}")["calls"][0]
    assert (call["status"], call["effect"]) == (None, "applied")


def test_many_clients_at_once_lose_nothing(alone, workmail):
    def put(number):
        workmail.put_mobile_device_access_override(**(ANAS | {"DeviceId": f"A{number}"}), Effect="DENY")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, range(200)))
    assert len(alone.control("GET", f"calls?operation={PUT}&status=200")["calls"]) == 200
    page = workmail.list_mobile_device_access_overrides(OrganizationId=ORGANIZATION, MaxResults=100)
    assert (len(page["Overrides"]), "NextToken" in page) == (100, True)


def test_the_skewed_date_is_the_only_one(alone, workmail):
    alone.control("PUT", "settings", {"date_header_skew_seconds": -3600})
    headers = workmail.list_organizations()["ResponseMetadata"]["HTTPHeaders"]
    assert headers["date"].count("GMT") == 1
    ago = (datetime.now(UTC) - parsedate_to_datetime(headers["date"])).total_seconds()
    assert 3590 < ago < 3660


@pytest.mark.parametrize("operation", [PUT, LIST, DELETE])
def test_an_unsigned_request_is_refused(alone, operation):
    headers = {"X-Amz-Target": f"WorkMailService.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    request = urllib.request.Request(alone.url, json.dumps(ANAS | {"Effect": "DENY"}).encode(), headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value as answer:
        assert answer.code == 403
        assert json.load(answer)["__type"] == "MissingAuthenticationTokenException"


@pytest.mark.slow
def test_the_aws_cli_pages_and_reports_errors(alone):
    def cli(*arguments):
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL_WORKMAIL": alone.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        command = [sys.executable, "-m", "awscli", "workmail", *arguments, "--organization-id", ORGANIZATION]
        return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)

    rows = [{"UserId": "ana", "DeviceId": f"A{number}", "Effect": "DENY"} for number in range(2)]
    alone.control("POST", "seed", {"overrides": rows})
    page = json.loads(cli("list-mobile-device-access-overrides", "--max-results", "1").stdout)
    assert [row["DeviceId"] for row in page["Overrides"]] == ["A0"]
    token = page["NextToken"]
    rest = json.loads(cli("list-mobile-device-access-overrides", "--next-token", token).stdout)
    assert [row["DeviceId"] for row in rest["Overrides"]] == ["A1"]
    refused = cli("get-mobile-device-access-override", "--user-id", "ana", "--device-id", "a-b")
    assert refused.returncode != 0
    assert "InvalidParameterException" in refused.stderr
    assert "[A-Za-z0-9]+" in refused.stderr


def test_a_port_that_is_taken_or_none_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (str(taken.getsockname()[1]), "70000"):
            command = [sys.executable, "-m", "local.workmail", "--port", port]
            ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY, timeout=30)
            assert ended.returncode == 2
            assert f"--port {port}" in ended.stderr
            assert ended.stdout == ""


def test_only_the_loopback_interface_is_served(alone):
    port = int(alone.url.rsplit(":", 1)[1])
    assert alone.url == f"http://127.0.0.1:{port}"
    with pytest.raises(OSError, match=r"refused|assign|timed out|unreachable"):
        socket.create_connection(("127.0.0.2", port), timeout=2)


def test_an_operation_that_is_not_here_is_not_retried(workmail):
    with pytest.raises(ClientError, match="this emulator does not") as raised:
        workmail.list_groups(OrganizationId=ORGANIZATION)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
