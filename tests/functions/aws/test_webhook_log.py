"""The log of webhooks that were passed on: exact requests to DynamoDB."""

import boto3
import pytest
from botocore.stub import Stubber

from device_lockout.aws.webhook_log import WebhookLog
from device_lockout.values.errors import TransientError
from local.in_memory import at


def test_an_event_is_noted_before_and_after_it_is_passed_on() -> None:
    client = boto3.client("dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    key = {"pk": {"S": "webhook#signer"}, "sk": {"S": "1f#0"}}
    expires = {"N": str(int(at(300).timestamp()) + 1)}
    begun = {"passed": {"BOOL": False}, "begun": {"N": str(int(at(0).timestamp()))}, "expires": expires}
    asked = {
        "TableName": "ledger",
        "Item": key | begun,
        "ConditionExpression": "attribute_not_exists(pk) OR expires < :now OR (passed = :no AND begun < :crashed)",
        "ExpressionAttributeValues": {
            ":now": {"N": str(int(at(0).timestamp()))},
            ":no": {"BOOL": False},
            ":crashed": {"N": str(int(at(-20).timestamp()))},
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    passed, failed = ({"passed": {"BOOL": each}, "begun": {"N": "0"}, "expires": expires} for each in (True, False))
    with Stubber(client) as stub:
        requests = WebhookLog(client, "ledger")
        stub.add_response("put_item", {}, asked)
        assert requests.begin("signer", "1f#0", at(300), at(0))
        stub.add_response("put_item", {}, {"TableName": "ledger", "Item": key | passed})
        requests.finish("signer", "1f#0", at(300), passed=True)
        stub.add_response("put_item", {}, {"TableName": "ledger", "Item": key | failed})
        requests.finish("signer", "1f#0", at(300), passed=False)
        stub.add_client_error(
            "put_item", "ConditionalCheckFailedException", expected_params=asked, modeled_fields={"Item": key | passed}
        )
        assert not requests.begin("signer", "1f#0", at(300), at(0))
        stub.add_client_error(
            "put_item", "ConditionalCheckFailedException", expected_params=asked, modeled_fields={"Item": key | begun}
        )
        with pytest.raises(TransientError, match="the same event is being passed on"):
            requests.begin("signer", "1f#0", at(300), at(0))
        stub.assert_no_pending_responses()
