"""The samples of the contract, as `aws events put-events --entries` takes them."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.validate import validate_parameters

from config_reader import loader
from device_lockout.inbound import report
from device_lockout.values.actions import DETAIL_TYPES
from device_lockout.values.command import Change, Enroll, Lock, Reject, Release, Retire
from local.in_memory import at

SAMPLES = Path(__file__).parents[2] / "samples"
COMMANDS = {"lock": Lock, "release": Release, "change": Change, "enroll": Enroll, "retire": Retire}


@pytest.mark.parametrize("detail_type", DETAIL_TYPES)
def test_there_is_a_sample_of_each_detail_type_and_the_router_takes_it(detail_type: str) -> None:
    kind = DETAIL_TYPES[detail_type]
    entries = json.loads((SAMPLES / kind.schema).read_text(encoding="utf-8"))
    model = boto3.client("events", region_name="eu-west-1").meta.service_model.operation_model("PutEvents")
    validate_parameters({"Entries": entries}, model.input_shape)
    (entry,) = entries
    assert (entry["EventBusName"], entry["DetailType"]) == ("device-security", detail_type)
    detail: dict[str, Any] = json.loads(entry["Detail"])
    event = {"id": "e", "source": entry["Source"], "detail-type": detail_type, "detail": detail}
    (command,) = report.read(json.dumps(event), "m", at(1), loader.load("local").settings)
    assert not isinstance(command, Reject), command.because
    assert isinstance(command, COMMANDS[kind.action.removesuffix("-user")])
    assert command.cause.happened == at(0), "it says when it happened"
