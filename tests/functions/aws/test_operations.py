"""Each gateway's ``OPERATIONS`` are the calls in its source."""

import re
from pathlib import Path

import boto3
import pytest
from botocore import xform_name

from device_lockout.aws import command_queue, event_bus, ledger_table, secret_store, workmail

GATEWAYS = {
    "dynamodb": ledger_table,
    "events": event_bus,
    "secretsmanager": secret_store,
    "sqs": command_queue,
    "workmail": workmail,
}


@pytest.mark.parametrize("service", GATEWAYS)
def test_a_gateway_declares_the_operations_that_it_calls_and_no_others(service):
    gateway = GATEWAYS[service]
    words = set(re.findall(r"\w+", Path(gateway.__file__).read_text(encoding="utf-8")))
    model = boto3.client(service, region_name="eu-west-1").meta.service_model
    assert set(gateway.OPERATIONS) == {
        f"{service}:{name}" for name in model.operation_names if xform_name(name) in words
    }


def test_only_these_modules_are_gateways_to_aws():
    modules = Path(workmail.__file__).parent.glob("*.py")
    with_client = {path.stem for path in modules if "boto3.client(" in path.read_text(encoding="utf-8")}
    assert with_client == {gateway.__name__.rpartition(".")[2] for gateway in GATEWAYS.values()}
