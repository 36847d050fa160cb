"""Queues with dead letters and alarms. They are encrypted, demand TLS and keep messages for 14 days."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.alarms import add_alarm
from infra.ledger import keep_if_replaced
from infra.notices import Notices

MOST: Any = {"period": Duration.minutes(1), "statistic": cloudwatch.Stats.MAXIMUM}
"""What the alarms look at: the highest value of a minute."""

RETENTION = Duration.days(14)
"""The longest that SQS keeps a message. It drops older ones and does not dead-letter them.

A queue's receives times its visibility timeout must stay below this.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
"""

STUCK_AFTER = Duration.minutes(15)
"""The age of a FIFO queue's oldest message at which people are notified.

For a standard queue it is two visibility timeouts. SQS's figure leaves out messages that were received three times.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""


class DeadLetters(Construct):
    """A dead-letter queue, and an alarm that is on while it has messages.

    SQS stops to measure a queue that nobody has used for six hours. The alarm then stays as it is.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/monitoring-using-cloudwatch.html

    The alarm's description begins with `contents`.
    """

    def __init__(self, scope: Construct, id: str, *, notices: Notices, fifo: bool = False, contents: str) -> None:
        super().__init__(scope, id)
        self.queue = _queue(self, "Queue", fifo)
        waiting = self.queue.metric_approximate_number_of_messages_visible(**MOST)
        said = f"{contents}. Nothing is lost. Read the messages and fix the cause. Then do what the runbook says."
        add_alarm(self, "Alarm", waiting, said, notices, missing=cloudwatch.TreatMissingData.IGNORE)

    def reserve(self, senders: Sequence[str], operators: Sequence[str]) -> None:
        """As :meth:`WorkQueue.reserve`: what is here may be sent back."""
        _reserve(self.queue, senders, operators)


class WorkQueue(Construct):
    """A queue that a function consumes, its dead-letter queue, and an alarm on messages that wait too long.

    The visibility timeout outlasts any consumer. It is six times the consumer's timeout, as AWS advises, plus `settle`:
    the seconds in which a killed consumer's last call may still take effect.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-queueconfig

    The alarms' descriptions begin with `contents`.

    Raises:
        ValueError: SQS would drop a message before `receives` receives.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        notices: Notices,
        contents: str,
        consumer_timeout: int,
        settle: int = 0,
        receives: int,
        fifo: bool = False,
    ) -> None:
        super().__init__(scope, id)
        visibility = Duration.seconds(6 * consumer_timeout + settle)
        if receives * visibility.to_seconds() >= RETENTION.to_seconds():
            raise ValueError(
                f"{self.node.path}: {receives} receives of {visibility.to_human_string()} each last longer than"
                f" the queue keeps a message ({RETENTION.to_human_string()}): it would be lost, not dead-lettered"
            )
        self.dead_letters = DeadLetters(
            self, "DeadLetters", notices=notices, fifo=fifo, contents=f"{contents} that failed {receives} times"
        )
        self.queue = _queue(
            self,
            "Queue",
            fifo,
            visibility=visibility,
            dead_letters=sqs.DeadLetterQueue(queue=self.dead_letters.queue, max_receive_count=receives),
        )
        stuck_after = STUCK_AFTER if fifo else Duration.seconds(2 * visibility.to_seconds())
        age = self.queue.metric_approximate_age_of_oldest_message(**MOST)
        said = f"{contents} have been waiting for {stuck_after.to_human_string()}. See the function's log."
        add_alarm(self, "Stuck", age, said, notices, threshold=stuck_after.to_seconds())

    def reserve(self, senders: Sequence[str], operators: Sequence[str]) -> None:
        """Deny sending to everybody but AWS's own services and these IAM principals, whatever their policies say.

        The queue's other statements say which rules may. The operators may also redrive dead letters, which takes the
        permission to send to the queue.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
        """
        for queue in (self.queue, self.dead_letters.queue):
            _reserve(queue, senders, operators)


def _reserve(queue: sqs.Queue, senders: Sequence[str], operators: Sequence[str]) -> None:
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            sid="OnlyTheStackAndOperatorsSend",
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            conditions={
                "ArnNotLike": {"aws:PrincipalArn": [*senders, *operators] or ["arn:aws:iam::*:role/nobody"]},
                "Bool": {"aws:PrincipalIsAWSService": "false"},
            },
        )
    )


def _queue(
    scope: Construct,
    id: str,
    fifo: bool,
    *,
    visibility: Duration | None = None,
    dead_letters: sqs.DeadLetterQueue | None = None,
) -> sqs.Queue:
    """Add a queue. If it is FIFO, each message group has its own order and deduplication."""
    queue = sqs.Queue(
        scope,
        id,
        fifo=True if fifo else None,  # CloudFormation refuses `false`
        deduplication_scope=sqs.DeduplicationScope.MESSAGE_GROUP if fifo else None,
        fifo_throughput_limit=sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID if fifo else None,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=RETENTION,
        visibility_timeout=visibility,
        dead_letter_queue=dead_letters,
    )
    keep_if_replaced(queue)
    return queue
