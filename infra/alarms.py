"""The alarms. Each tells people of what they must look at, and of its section of the runbook."""

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.notices import Notices

RUNBOOK = {
    "ApproximateNumberOfMessagesVisible": "send-dead-letters-back",
    "Paged": "when-an-outcome-pages",
    "held": "when-an-outcome-pages",
    "SweepCompleted": "when-a-sweep-lets-nothing-back-in",
    "DrillToDeny": "when-a-drill-fails",
}
"""The section of docs/runbook.md about an alarm, by its metric. The others are in the table of all alarms."""


def add_alarm(
    scope: Construct,
    id: str,
    metric: cloudwatch.Metric,
    description: str,
    notices: Notices | None,
    *,
    threshold: float = 1,
    missing_for: int = 0,
    missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
) -> None:
    """Add an alarm that is on while the last period's value reaches the threshold. Without notices nobody is told.

    With `missing_for` it is on after so many periods that all stay below the threshold, or have no value.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
    """
    comparison = cloudwatch.ComparisonOperator
    alarm = cloudwatch.Alarm(
        scope,
        id,
        alarm_description=description,
        metric=metric,
        threshold=threshold,
        evaluation_periods=missing_for or 1,
        comparison_operator=comparison.LESS_THAN_THRESHOLD
        if missing_for
        else comparison.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.BREACHING if missing_for else missing,
    )
    if notices:
        notices.notify_on(alarm)


def explain_alarms(stack: Stack) -> None:
    """Give each alarm a name that a person can read, and its section of the runbook."""
    for alarm in stack.node.find_all():
        if isinstance(alarm, cloudwatch.CfnAlarm):
            alarm.alarm_name = alarm.node.path.removesuffix("/Resource").replace("/", " ")
            section = RUNBOOK.get(alarm.metric_name or "", "when-an-alarm-goes-off")
            alarm.alarm_description = f"{alarm.alarm_description} docs/runbook.md#{section}"
