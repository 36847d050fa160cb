"""The gateway to the command queue."""

from dataclasses import replace
from datetime import timedelta

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber

from device_lockout.aws import command_queue
from device_lockout.values.command import Reassert, Target, command_id, group_id
from device_lockout.values.errors import TransientError
from device_lockout.values.wire import dump
from local.in_memory import BOB, DEVICE, ORGANIZATION, at, cause
from tests.functions.aws.failing_calls import failing

URL = "https://sqs.eu-west-1.amazonaws.com/000000000000/commands.fifo"
TARGET = Target(ORGANIZATION, BOB, DEVICE)


@pytest.fixture(scope="module")
def client():
    return boto3.client("sqs", region_name="eu-west-1", aws_access_key_id="nobody", aws_secret_access_key="nothing")


@pytest.fixture
def stubber(client):
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def queue(client):
    return command_queue.CommandQueue(URL, "dead letters", lambda: client)


def test_the_client_is_made_once_and_only_when_it_is_needed(client, stubber):
    made = []
    queue = command_queue.CommandQueue(URL, "dead letters", lambda: made.append(client) or client)
    assert made == []
    for _ in range(2):
        stubber.add_response("get_queue_attributes", {"Attributes": {"ApproximateNumberOfMessages": "7"}})
        assert queue.waiting() == 7
    assert made == [client]


def commands(count):
    return [Reassert(cause("run-1", at(0)), replace(TARGET, device=f"device{number}")) for number in range(count)]


def entries(batch):
    return {
        "QueueUrl": URL,
        "Entries": [
            {
                "Id": str(number),
                "MessageBody": dump(command),
                "MessageGroupId": group_id(command),
                "MessageDeduplicationId": command_id(command),
            }
            for number, command in enumerate(batch)
        ],
    }


def taken(batch, failed=()):
    good = [number for number in range(len(batch)) if number not in failed]
    return {
        "Successful": [{"Id": str(number), "MessageId": "m", "MD5OfMessageBody": "x"} for number in good],
        "Failed": [
            {"Id": str(n), "SenderFault": False, "Code": "InternalError", "Message": "try again"} for n in failed
        ],
    }


def test_commands_go_in_batches_of_ten_each_in_its_group(queue, stubber):
    sent = commands(23)
    for batch in (sent[:10], sent[10:20], sent[20:]):
        stubber.add_response("send_message_batch", taken(batch), entries(batch))
    assert queue.send(iter(sent)) == 23


@pytest.mark.usefixtures("stubber")
def test_nothing_to_send_is_no_call(queue):
    assert queue.send([]) == 0


def test_a_batch_taken_in_part_is_an_error(queue, stubber):
    sent = commands(3)
    stubber.add_response("send_message_batch", taken(sent, failed=[1]), entries(sent))
    with pytest.raises(TransientError, match="1 of 3 commands: try again"):
        queue.send(sent)


def test_a_batch_refused_is_an_error_that_says_why(queue, stubber):
    stubber.add_client_error("send_message_batch", "AccessDenied", "not sqs:SendMessage", http_status_code=403)
    with pytest.raises(TransientError, match=r"3 commands.*AccessDenied.*not sqs:SendMessage"):
        queue.send(commands(3))


def test_a_batch_without_an_answer_may_be_sent_again(queue, client):
    with failing(client, ReadTimeoutError(endpoint_url=URL)), pytest.raises(TransientError):
        queue.send(commands(1))


def test_a_message_is_postponed_by_whole_seconds(queue, stubber):
    stubber.add_response(
        "change_message_visibility", {}, {"QueueUrl": URL, "ReceiptHandle": "r", "VisibilityTimeout": 3}
    )
    queue.postpone("r", timedelta(seconds=3.9))


def test_what_waits_is_counted_by_the_queue(queue, stubber):
    stubber.add_response(
        "get_queue_attributes",
        {"Attributes": {"ApproximateNumberOfMessages": "7"}},
        {"QueueUrl": URL, "AttributeNames": ["ApproximateNumberOfMessages"]},
    )
    assert queue.waiting() == 7
