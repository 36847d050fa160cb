"""The gateway to Secrets Manager: what it answers, and what fails."""

from datetime import timedelta

import boto3
import pytest
from botocore.stub import Stubber

from device_lockout.aws.secret_store import SecretStore
from device_lockout.values.errors import TransientError
from local.in_memory import at

NOW = at(0)


def test_a_secret_that_can_t_be_had_is_a_trouble_that_may_pass() -> None:
    client = boto3.client("secretsmanager", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        stub.add_client_error("get_secret_value", "InternalServiceError")
        with pytest.raises(TransientError):
            SecretStore(client).values("lockout", NOW, previous_for=timedelta())
        stub.add_response("get_secret_value", {"SecretString": "x", "CreatedDate": NOW})
        stub.add_client_error("get_secret_value", "ResourceNotFoundException")
        assert SecretStore(client).values("lockout", NOW, previous_for=timedelta(days=1)) == ("x",)
