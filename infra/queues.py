"""Queues that lose nothing: encrypted, TLS only, kept for 14 days, with somebody told of what ends up dead."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.notices import Notices

RETENTION = Duration.days(14)
"""The longest that SQS keeps a message. Past it a message is dropped, not dead-lettered, so a queue's receives times
its visibility timeout must stay below: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html"""

STUCK_AFTER = Duration.minutes(15)
"""The age of the oldest message at which people are told that work is not getting done.

Of a message that keeps failing the functions tell (`FailingFor`): the queue's own figure leaves out what was received
three times.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"""


class DeadLetters(Construct):
    """The queue at the end of a hop, and the alarm that says there is something in it."""

    def __init__(self, scope: Construct, id: str, *, notices: Notices, fifo: bool = False, holds: str) -> None:
        super().__init__(scope, id)
        self.queue = _queue(self, "Queue", fifo)
        alarm = cloudwatch.Alarm(
            self,
            "Alarm",
            alarm_description=f"{holds}. Nothing is lost: look at the message, mend the cause, send it back.",
            metric=self.queue.metric_approximate_number_of_messages_visible(
                period=Duration.minutes(1), statistic=cloudwatch.Stats.MAXIMUM
            ),
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        notices.tell_of(alarm)


class WorkQueue(Construct):
    """A queue that a function works off, its dead letters, and the alarm that says it is stuck.

    The visibility timeout outlasts any consumer: six times its timeout, as AWS advises, and `settle` on top where a
    killed consumer's last call may still take effect.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-queueconfig
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        notices: Notices,
        holds: str,
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
            self, "DeadLetters", notices=notices, fifo=fifo, holds=f"{holds} that failed {receives} times"
        )
        self.queue = _queue(
            self,
            "Queue",
            fifo,
            visibility=visibility,
            dead_letters=sqs.DeadLetterQueue(queue=self.dead_letters.queue, max_receive_count=receives),
        )
        alarm = cloudwatch.Alarm(
            self,
            "Stuck",
            alarm_description=f"{holds} have been waiting for {STUCK_AFTER.to_human_string()}: see the function's log.",
            metric=self.queue.metric_approximate_age_of_oldest_message(
                period=Duration.minutes(1), statistic=cloudwatch.Stats.MAXIMUM
            ),
            threshold=STUCK_AFTER.to_seconds(),
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        notices.tell_of(alarm)


def _queue(
    scope: Construct,
    id: str,
    fifo: bool,
    *,
    visibility: Duration | None = None,
    dead_letters: sqs.DeadLetterQueue | None = None,
) -> sqs.Queue:
    """A FIFO queue has one order, and one deduplication, per message group."""
    return sqs.Queue(
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
