"""Batches of SQS messages."""

import threading
from datetime import UTC, datetime

import pytest

from device_lockout.aws import sqs_batch
from device_lockout.aws.sqs_batch import Message
from device_lockout.values.errors import NotTriedError, TransientError

NOW = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)


def message(number, group):
    return Message(f"m{number}", f"body {number}", group, f"receipt-{number}", 1, NOW)


def test_a_message_is_read_as_lambda_hands_it_over():
    attributes = {"ApproximateReceiveCount": "3", "SentTimestamp": "1795332600000", "MessageGroupId": "g"}
    attributes["SequenceNumber"] = "18849496460467696128"
    record = {"messageId": "m1", "body": "b", "receiptHandle": "r", "attributes": attributes}
    assert sqs_batch.read({"Records": [record]}) == [Message("m1", "b", "g", "r", 3, NOW)]


def test_a_message_of_a_standard_queue_is_a_group_of_its_own():
    attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1795332600000", "MessageGroupId": "fair"}
    record = {"messageId": "m1", "body": "b", "receiptHandle": "r", "attributes": attributes}
    assert sqs_batch.read({"Records": [record]})[0].group == "m1"


def test_groups_are_done_at_the_same_time():
    together = threading.Barrier(10, timeout=5)
    done, failures = sqs_batch.process_groups([message(n, f"g{n}") for n in range(10)], lambda _: together.wait())
    assert sorted(done) == list(range(10))
    assert failures == []


def test_a_groups_messages_are_done_in_order_and_never_two_at_once():
    under_way, order = [], []

    def do(one):
        assert one.group not in under_way
        under_way.append(one.group)
        order.append(one.id)
        under_way.remove(one.group)

    sqs_batch.process_groups([message(n, f"g{n % 2}") for n in range(10)], do)
    for parity in (0, 1):
        assert [name for name in order if int(name[1:]) % 2 == parity] == [f"m{n}" for n in range(parity, 10, 2)]


@pytest.mark.parametrize("error", [TransientError("no"), KeyError("unforeseen")])
def test_what_follows_a_failure_in_its_group_is_not_tried_and_other_groups_go_on(error):
    tried = []

    def do(one):
        tried.append(one.id)
        if one.id == "m1":
            raise error
        return one.id

    messages = [message(0, "a"), message(1, "b"), message(2, "b"), message(3, "a")]
    done, failures = sqs_batch.process_groups(messages, do)
    assert sorted(done) == ["m0", "m3"]
    assert sorted(tried) == ["m0", "m1", "m3"]
    assert [failure.message.id for failure in failures] == ["m1", "m2"]
    assert failures[0].error is error
    assert isinstance(failures[1].error, NotTriedError)
    assert sqs_batch.response(failures) == {"batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}]}


def test_an_empty_batch_is_done():
    assert sqs_batch.process_groups([], lambda one: one) == ([], [])
