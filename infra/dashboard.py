"""The dashboard of a deployment, and saved queries of its logs."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs

from config_reader.loader import Configuration
from device_lockout.values.outcome import RESULTS
from infra.function import Function

QUERIES = {
    "undone, rejected or failed": "fields @timestamp, result, message"
    ' | filter result in ["rejected", "failed", "reasserted", "contested", "held"] | sort @timestamp desc',
    "one device or user": "fields @timestamp, @message"
    " | filter @message like 'DEVICE, USER, OR THE #HASH THAT STANDS FOR IT' | sort @timestamp desc",
}
"""Queries of all functions' logs, by name. The console asks for which time."""


def add_dashboard(
    stack: Stack,
    configuration: Configuration,
    functions: Sequence[Function],
    queues: Sequence[sqs.Queue],
    dead: Sequence[sqs.Queue],
) -> None:
    """Add them. The first function is the router, the second the writer.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
    """
    ours = configuration.metrics_namespace

    def of_writer(metric: str, **options: str) -> list[Any]:
        return [ours, metric, "service", "apply_commands", {"label": metric, **options}]

    def of_sweep(metrics: str) -> list[Any]:
        search = f"SEARCH('{{\"{ours}\",organization,service}} {metrics}', 'Maximum', 3600)"
        return [{"expression": search, "label": "${PROP('MetricName')} ${PROP('Dim.organization')}"}]

    def of_queue(metric: str, queue: sqs.Queue) -> list[Any]:
        return ["AWS/SQS", metric, "QueueName", queue.queue_name, {"stat": "Maximum"}]

    alarms = [each.alarm_arn for each in stack.node.find_all() if isinstance(each, cloudwatch.Alarm)]
    visible, age = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
    graphs: dict[str, list[list[Any]]] = {
        "Locks that stand": [of_sweep("LocksStanding")],
        "Results": [of_writer(result, stat="Sum") for result in RESULTS if result != "skipped"],
        "Milliseconds from report to deny": [
            of_writer("ReportToDeny", stat=stat, label=stat) for stat in ("p50", "p95")
        ],
        "Drills, in milliseconds": [of_writer("DrillToDeny", stat="Maximum")],
        "Queues": [of_queue(visible, queue) for queue in queues],
        "Seconds that the oldest waits": [of_queue(age, queue) for queue in queues],
        "Dead letters": [of_queue(visible, queue) for queue in dead],
        "Sweeps": [of_sweep("(SweepCompleted OR OverridesSeen OR Enqueued OR SweepDuration)")],
        "Guards": [of_sweep("SweepRefused")],
        "Functions: errors and throttles": [
            ["AWS/Lambda", metric, "FunctionName", each.function.function_name, {"stat": "Sum"}]
            for each in functions
            for metric in ("Errors", "Throttles")
        ],
    }
    widgets: list[dict[str, Any]] = [
        {"type": "alarm", "width": 24, "height": 6, "properties": {"title": "Alarms", "alarms": alarms}}
    ]
    for title, metrics in graphs.items():
        graph = {"title": title, "metrics": metrics, "region": stack.region, "period": 300, "view": "timeSeries"}
        widgets.append({"type": "metric", "width": 8, "height": 6, "properties": graph})
    cloudwatch.CfnDashboard(
        stack, "Dashboard", dashboard_name=stack.stack_name, dashboard_body=stack.to_json_string({"widgets": widgets})
    )
    for number, (name, query) in enumerate(QUERIES.items(), 1):
        logs.CfnQueryDefinition(
            stack,
            f"Query{number}",
            name=f"{stack.stack_name}/{name}",
            query_string=query,
            log_group_names=[each.log_group.log_group_name for each in functions],
        )
