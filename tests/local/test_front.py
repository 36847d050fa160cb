import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from local.connection import Connection
from local.lifecycle import Server
from tests.local.observing import Queue, eventually, invoke

pytestmark = pytest.mark.local_aws

ORGANIZATION = "m-5eed5eed5eed5eed5eed5eed5eed5eed"
ARN = f"arn:aws:workmail:eu-west-1:000000000000:organization/{ORGANIZATION}"
DEVICE = {"OrganizationId": ORGANIZATION, "UserId": "ana@example.com", "DeviceId": "FRONT1"}


@pytest.fixture(autouse=True)
def reset(aws: Connection) -> Iterator[None]:
    yield
    assert aws.control("POST", "/_emulator/reset")[0] == 200


def test_only_the_loopback_interface_is_listened_on(server: Server) -> None:
    port = int(server.endpoint.rpartition(":")[2])
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", port), timeout=2):
        pass


def test_an_unsigned_request_is_refused(server: Server) -> None:
    request = urllib.request.Request(
        server.endpoint,
        data=json.dumps({"OrganizationId": ORGANIZATION}).encode(),
        headers={
            "X-Amz-Target": "WorkMailService.ListMobileDeviceAccessOverrides",
            "Content-Type": "application/x-amz-json-1.1",
        },
    )
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, context=ssl.create_default_context(cafile=server.ca))
    assert refusal.value.code in {400, 403}
    assert json.loads(refusal.value.read())["__type"] == "MissingAuthenticationTokenException"


def test_a_wrong_secret_is_refused(aws: Connection) -> None:
    wrong = Connection(aws.endpoint, aws.ca, aws.access_key_id, "wrong").client("workmail")
    with pytest.raises(ClientError) as refusal:
        wrong.list_mobile_device_access_overrides(OrganizationId=ORGANIZATION)
    assert "signature" in refusal.value.response["Error"]["Message"].lower()


def test_iam_decides_on_workmail_by_action(user: Callable[..., Connection], name: str) -> None:
    reader = user({"Effect": "Allow", "Action": "workmail:Get*", "Resource": ARN}).client("workmail")
    with pytest.raises(reader.exceptions.ResourceNotFoundException):
        reader.get_mobile_device_access_override(**DEVICE)
    with pytest.raises(ClientError) as refusal:
        reader.put_mobile_device_access_override(**DEVICE, Effect="DENY")
    assert refusal.value.response["Error"]["Code"] == "AccessDeniedException"
    assert refusal.value.response["Error"]["Message"] == (
        f"User: arn:aws:iam::000000000000:user/{name} is not authorized to perform: "
        "workmail:PutMobileDeviceAccessOverride because no identity-based policy allows "
        "the workmail:PutMobileDeviceAccessOverride action"
    )


def test_iam_decides_on_workmail_by_organization(user: Callable[..., Connection]) -> None:
    other = ARN.replace(ORGANIZATION, "m-" + "0" * 32)
    stranger = user({"Effect": "Allow", "Action": "workmail:*", "Resource": other}).client("workmail")
    with pytest.raises(ClientError, match="not authorized to perform: workmail:ListMobileDeviceAccessOverrides"):
        stranger.list_mobile_device_access_overrides(OrganizationId=ORGANIZATION)


def test_a_functions_role_decides_what_it_may_do(aws: Connection, name: str, function: Callable[..., str]) -> None:
    function(
        "import os\ndef handler(*_):\n    return [v for k, v in sorted(os.environ.items()) if k in WANTED]\n"
        "WANTED = ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN')"
    )
    as_role = Connection(aws.endpoint, aws.ca, *invoke(aws, name)).client("workmail")
    with pytest.raises(ClientError, match=f"assumed-role/{name}/.* is not authorized to perform: workmail:Delete"):
        as_role.delete_mobile_device_access_override(**DEVICE)


def test_writes_are_on_the_default_bus_with_their_caller(
    aws: Connection, name: str, queue: Callable[..., Queue]
) -> None:
    target = queue()
    target.let_rules_send()
    events = aws.client("events")
    pattern = {"source": ["aws.workmail"], "detail": {"eventName": ["PutMobileDeviceAccessOverride"]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": target.arn}])
    aws.client("workmail").put_mobile_device_access_override(**DEVICE, Effect="DENY")
    event = json.loads(target.receive()["Body"])
    assert event["detail-type"] == "AWS API Call via CloudTrail"
    assert event["detail"]["userIdentity"]["arn"] == "arn:aws:iam::000000000000:user/operator"
    assert event["detail"]["requestParameters"]["deviceId"] == "FRONT1"


@pytest.mark.parametrize("bus", ["default", "aws.partner/example.com/acme/alerts"])
def test_an_event_of_any_source_can_be_posted_to_any_bus(
    aws: Connection, name: str, queue: Callable[..., Queue], bus: str
) -> None:
    target = queue()
    target.let_rules_send()
    events = aws.client("events")
    if bus != "default":
        events.create_event_bus(Name=bus, EventSourceName=bus)
    source = f"aws.{name}"
    events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps({"source": [source]}))
    events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": target.arn}])
    event = {"source": source, "detail-type": "Finding", "detail": {"number": 7}, "time": "2026-01-02T03:04:05Z"}
    status, text = aws.control("POST", "/_emulator/events", json.dumps({**event, "bus": bus}).encode())
    assert status == 200, text
    delivered = json.loads(target.receive()["Body"])
    assert {**delivered, **event} == delivered
    assert delivered["id"] == json.loads(text)["id"]


def test_an_event_for_a_bus_that_is_not_there_is_refused(aws: Connection) -> None:
    event = {"source": "aws.test", "detail-type": "Finding", "detail": {}, "bus": "device-securty"}
    status, text = aws.control("POST", "/_emulator/events", json.dumps(event).encode())
    assert status == 400
    assert "bus is 'device-securty'; expected one of " in json.loads(text)["error"]
    assert "default" in json.loads(text)["error"]


def test_calls_are_recorded_under_their_callers(aws: Connection) -> None:
    aws.client("workmail").list_mobile_device_access_overrides(OrganizationId=ORGANIZATION)
    calls = json.loads(aws.control("GET", "/_emulator/calls")[1])["calls"]
    assert calls[-1]["operation"] == "ListMobileDeviceAccessOverrides"
    assert calls[-1]["principal"] == "arn:aws:iam::000000000000:user/operator"


def test_a_call_that_is_never_answered_holds_up_nobody_else(aws: Connection) -> None:
    fault: dict[str, Any] = {
        "faults": {"silence": {"kind": "no_answer", "operations": ["PutMobileDeviceAccessOverride"]}}
    }
    status, text = aws.control("PUT", "/_emulator/settings", json.dumps(fault).encode())
    assert status == 200, text
    impatient = Config(read_timeout=0.3, retries={"total_max_attempts": 1})
    with pytest.raises(ReadTimeoutError):
        aws.client("workmail", impatient).put_mobile_device_access_override(**DEVICE, Effect="DENY")
    began = monotonic()
    assert aws.client("workmail").list_mobile_device_access_overrides(OrganizationId=ORGANIZATION)["Overrides"] == []
    assert monotonic() - began < 10, "a call that hangs would take a minute"


@pytest.mark.parametrize(
    ("effect", "while_held", "afterwards"), [("not_applied", 0, 0), ("applied", 1, 1), ("late", 0, 1)]
)
def test_a_request_to_any_service_can_be_held_until_its_caller_is_gone(
    aws: Connection, name: str, effect: str, while_held: int, afterwards: int
) -> None:
    def made() -> int:
        named = [{"Key": "Name", "Values": [name]}]
        return len(aws.client("ssm").describe_parameters(ParameterFilters=named)["Parameters"])

    def held() -> Any:
        return json.loads(aws.control("GET", "/_local/held")[1])

    hold = {"kind": "hold", "target": "AmazonSSM.PutParameter", "principal": ":user/operator", "body": name}
    settings = {"faults": {name: {**hold, "effect": effect, "count": 1}}}
    status, text = aws.control("PUT", "/_emulator/settings", json.dumps(settings).encode())
    assert status == 200, text
    client = aws.client("ssm", Config(read_timeout=3, retries={"total_max_attempts": 1}))
    with ThreadPoolExecutor() as pool:
        client.put_parameter(Name=f"other-{name[5:]}", Value="1", Type="String")
        asking = pool.submit(client.put_parameter, Name=name, Value="1", Type="String")
        eventually(lambda: held() == [name])
        assert made() == while_held
        with pytest.raises(ReadTimeoutError):
            asking.result()
    eventually(lambda: held() == [])
    eventually(lambda: made() == afterwards)
    client.put_parameter(Name=name, Value="2", Type="String", Overwrite=True)  # it was held once


def test_a_reset_lets_go_of_what_is_held(aws: Connection, name: str) -> None:
    hold = {"kind": "hold", "target": "AmazonSSM.PutParameter", "body": name, "effect": "late"}
    aws.control("PUT", "/_emulator/settings", json.dumps({"faults": {name: hold}}).encode())
    client = aws.client("ssm", Config(retries={"total_max_attempts": 1}))
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(client.put_parameter, Name=name, Value="1", Type="String")
        eventually(lambda: json.loads(aws.control("GET", "/_local/held")[1]) == [name])
        aws.control("POST", "/_emulator/reset")
        with pytest.raises(ClientError, match="503"):
            asking.result()
    with pytest.raises(client.exceptions.ParameterNotFound):
        client.get_parameter(Name=name)


def test_the_asked_number_of_environments_is_started(
    aws: Connection, name: str, function: Callable[..., str], server: Server
) -> None:
    function("def handler(*_):\n    pass\n")
    assert aws.control("POST", f"/_local/environments?function={name}&count=2") == (200, "")
    assert len([*server.state.glob(f"tmp-*/ministack-lambda-{name}-*")]) == 2


def test_a_function_that_does_not_start_says_why(aws: Connection, name: str, function: Callable[..., str]) -> None:
    function("import nowhere\n")
    status, text = aws.control("POST", f"/_local/environments?function={name}&count=1")
    assert status == 400
    assert "No module named 'nowhere'" in text
