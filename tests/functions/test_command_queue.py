"""The gateway to the command queue, and commands as they travel on it."""

from dataclasses import replace
from datetime import timedelta

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from device_lockout.aws import command_queue
from device_lockout.values.command import (
    Cause,
    Enroll,
    Expire,
    Lock,
    Reassert,
    Reject,
    Release,
    Retire,
    Target,
    command_id,
    group_id,
)
from device_lockout.values.device import DeviceName
from device_lockout.values.errors import TransientError
from device_lockout.values.override import Override
from device_lockout.values.record import Claim
from device_lockout.values.tag import HOLD
from device_lockout.values.wire import dump, load
from local.in_memory import BOB, DEVICE, ORGANIZATION, START, at, cause

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
    return command_queue.CommandQueue(URL, lambda: client)


def test_the_client_is_made_once_and_only_when_it_is_needed(client, stubber):
    made = []
    queue = command_queue.CommandQueue(URL, lambda: made.append(client) or client)
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
    def fail(**_):
        raise ReadTimeoutError(endpoint_url=URL)

    client.meta.events.register_first("before-call.sqs", fail)
    try:
        with pytest.raises(TransientError):
            queue.send(commands(1))
    finally:
        client.meta.events.unregister("before-call.sqs", fail)


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


# Commands as text, and their IDs.

texts = st.text(max_size=40)
instants = st.integers(0, 10**12).map(lambda milliseconds: START + timedelta(milliseconds=milliseconds))
causes = st.builds(Cause, texts, texts, texts, instants, instants, texts)
names = st.lists(st.builds(DeviceName, st.sampled_from(["serial", "asset"]), texts), unique_by=lambda name: name.kind)
targets = st.builds(Target, texts, texts, texts, names.map(tuple), st.booleans())
scopes = st.sampled_from(["device", "user"])
untils = st.just(HOLD) | instants.map(lambda instant: instant.replace(microsecond=0))
claims = st.builds(Claim, texts, scopes, texts, instants, untils, texts, texts)
overrides = st.builds(Override, st.sampled_from(["ALLOW", "DENY"]), st.none() | texts)
every_command = st.one_of(
    st.builds(Lock, causes, targets, claims, st.booleans()),
    st.builds(Release, causes, targets, scopes),
    st.builds(Expire, causes, targets, overrides),
    st.builds(Reassert, causes, targets),
    st.builds(Enroll, causes, targets),
    st.builds(Retire, causes, targets),
    st.builds(Reject, causes, targets, texts),
)


@given(every_command)
def test_a_command_is_the_same_after_its_journey(command):
    assert load(dump(command)) == command
    assert command_id(load(dump(command))) == command_id(command)
    assert len(command_id(command)) == len(group_id(command)) == 64


def test_a_message_that_is_no_command_says_so():
    text = dump(Reassert(cause("run-1", at(0)), TARGET)).replace('"reassert"', '"rejoice"')
    with pytest.raises(ValueError, match="command is 'rejoice': expected one of lock, release"):
        load(text)


def test_one_event_about_several_devices_makes_commands_of_several_ids():
    """Else SQS would drop all but the first as copies."""
    ids = {command_id(command) for command in commands(1000)}
    assert len(ids) == 1000


def test_the_next_sweeps_command_is_no_copy_of_this_ones():
    assert command_id(Reassert(cause("run-1", at(0)), TARGET)) != command_id(Reassert(cause("run-2", at(0)), TARGET))


def test_a_lock_and_a_release_by_one_event_differ():
    claim = Claim("aaaaaaaa", "device", "lost", at(0), HOLD)
    assert command_id(Lock(cause("e", at(0)), TARGET, claim)) != command_id(
        Release(cause("e", at(0)), TARGET, "device")
    )


def test_all_commands_of_a_device_share_its_group_whatever_its_case_and_whoever_is_named():
    claim = Claim("aaaaaaaa", "device", "lost", at(0), HOLD)
    of_one_device = [
        Lock(cause("e1", at(0)), Target(ORGANIZATION, "bob", DEVICE.upper()), claim),
        Release(cause("e2", at(0)), Target(ORGANIZATION, "Bob@example.com", DEVICE), "device"),
        Expire(cause("run", at(0)), Target(ORGANIZATION, BOB, DEVICE, resolved=True), Override("DENY")),
        Enroll(cause("e3", at(0)), Target(ORGANIZATION, BOB, DEVICE, (DeviceName("serial", "C02"),))),
        Reject(cause("e4", at(0)), Target(ORGANIZATION, "", DEVICE), "because"),
    ]
    assert len({group_id(command) for command in of_one_device}) == 1
    others = [
        replace(TARGET, device="other"),
        replace(TARGET, organization=f"m-{'0' * 32}"),
        replace(TARGET, device=""),
    ]
    groups = {group_id(Reassert(cause("e5", at(0)), target)) for target in others}
    assert len(groups) == 3
    assert groups.isdisjoint({group_id(of_one_device[0])})


def test_rejected_reports_of_nobody_do_not_wait_for_each_other():
    nobody = Target("", "", "")
    assert group_id(Reject(cause("e1", at(0)), nobody, "x")) != group_id(Reject(cause("e2", at(0)), nobody, "x"))
