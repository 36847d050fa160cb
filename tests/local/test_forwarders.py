"""Two stacks in two regions: an event on the default bus of one locks a device through the bus of the other."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

import app
from config_reader import loader
from infra import bundling
from local.connection import Connection
from local.deploy import Stack, deploy, read
from local.deployment import Deployment, rfc3339
from local.up import create_webhook_secrets
from tests.local.end_to_end.watching import denied, new_device
from tests.local.observing import ACCOUNT, eventually

pytestmark = [pytest.mark.local_aws, pytest.mark.slow]

MORE = """
[[sources]]
name = "soc"
forwarders = ["security"]
pattern = { source = ["acme.soc"], account = ["000000000000"] }
realm = "account"
action = "lock"
reason = "stolen"
user = "detail.user"
device = "detail.device"

[[forwarders]]
name = "security"
account = "000000000000"
region = "us-east-1"
"""


@dataclass
class There:
    """Both stacks."""

    deployment: Deployment
    elsewhere: Connection
    forwarder: Stack

    def put(self, source: str = "acme.soc", **detail: str) -> None:
        """Put an event on the default bus of the forwarder's region."""
        entry = {"Source": source, "DetailType": "Theft", "Detail": json.dumps({"at": rfc3339(), **detail})}
        assert self.elsewhere.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0

    def unforwarded(self) -> dict[str, Any] | None:
        """The next message of the forwarder's dead-letter queue."""
        found = self.elsewhere.client("sqs").receive_message(
            QueueUrl=self.forwarder.outputs["UnforwardedEventsQueueUrl"],
            MessageAttributeNames=["All"],
            VisibilityTimeout=0,
        )
        return next(iter(found.get("Messages", [])), None)


@pytest.fixture(scope="module")
def there(aws: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[There]:
    local = (loader.DIRECTORY / "local.toml").read_text(encoding="utf-8")
    elsewhere = replace(aws, region="us-east-1")
    bus = elsewhere.client("events").create_event_bus(Name="soc")["EventBusArn"]
    first = f'account = "{ACCOUNT}"\nforward_outcomes = "{bus}"\n'
    configuration = loader.read(f"{first}{local}{MORE}", "config/local.toml")
    outputs = [tmp_path_factory.mktemp(name) for name in ("deployment", "forwarder")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CDK_VALIDATION", "false")
        app.synthesize(configuration, bundling.package(configuration.settings), outputs[0])
        app.forward(configuration, "security", outputs[1])
    forwarder = deploy(read(outputs[1]), elsewhere)
    create_webhook_secrets(aws)
    stack = deploy(read(outputs[0]), aws)
    yield There(Deployment.find(aws, stack.name), elsewhere, forwarder)
    for connection, name in ((aws, stack.name), (elsewhere, forwarder.name)):
        connection.client("cloudformation").delete_stack(StackName=name)
    elsewhere.client("events").delete_event_bus(Name="soc")


def test_an_event_of_another_region_locks_the_device(there: There) -> None:
    device = new_device()
    there.put(user="bob", device=device)
    assert denied(there.deployment, "bob", device).why == "stolen"
    assert there.unforwarded() is None


def test_outcomes_go_to_the_other_regions_bus_as_well(there: There) -> None:
    events, sqs = there.elsewhere.client("events"), there.elsewhere.client("sqs")
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:soc-outcomes"
    sender = {"Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **sender}]}
    url = sqs.create_queue(QueueName="soc-outcomes", Attributes={"Policy": json.dumps(policy)})["QueueUrl"]
    events.put_rule(Name="all", EventBusName="soc", EventPattern=json.dumps({"source": ["device-lockout"]}))
    events.put_targets(Rule="all", EventBusName="soc", Targets=[{"Id": "queue", "Arn": arn}])
    device = new_device()
    there.put(user="bob", device=device)

    def told() -> str | None:
        found = sqs.receive_message(QueueUrl=url).get("Messages", [])
        bodies = [json.loads(each["Body"]) for each in found]
        return next((each["detail-type"] for each in bodies if each["detail"]["deviceId"] == device), None)

    assert eventually(told) == "Device Locked"
    events.remove_targets(Rule="all", EventBusName="soc", Ids=["queue"])
    events.delete_rule(Name="all", EventBusName="soc")
    sqs.delete_queue(QueueUrl=url)


def test_what_the_bus_policy_refuses_waits_in_the_forwarders_dead_letter_queue(there: There) -> None:
    """The bus reserves `helpdesk` for others than the forwarder's role."""
    events = there.elsewhere.client("events")
    (rule,) = events.list_rules(NamePrefix=there.forwarder.name)["Rules"]
    events.put_rule(Name=rule["Name"], EventPattern=json.dumps({"source": ["acme.soc", "device-lockout"]}))
    there.put("device-lockout", user="bob", device=new_device())
    message = eventually(there.unforwarded)
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_PERMISSIONS"
    assert json.loads(message["Body"])["source"] == "device-lockout"
