"""What it costs, per resource, from the prices in prices.toml: `python -m infra.cost` prints the README's table.

How much of each is used follows from the code; durations are generous against what `make bench` measures.
"""

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

HOURS = 730
"""In a month."""

MEMORY_GB = 0.5
POLLERS = 5
"""That Lambda keeps on an idle queue, each with a long poll of 20 seconds.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"""


@dataclass(frozen=True, slots=True)
class Use:
    """So much of one priced thing, and why so much."""

    resource: str
    price: str
    count: float
    why: str


ALARMS = 10
"""Of one organization without webhooks."""


def at_rest() -> list[Use]:
    """A month of one organization with an hourly sweep of nothing."""
    polls = POLLERS * HOURS * 3600 / 20
    return [
        Use("SQS", "sqs_standard", polls, "Lambda asks for reports, five at a time, each 20 s"),
        Use("SQS", "sqs_fifo", polls, "and for commands"),
        Use("CloudWatch", "alarm", ALARMS, "alarms"),
        Use("CloudWatch", "metric_hour", 5 * HOURS, "five metrics of each sweep"),
        Use("CloudWatch", "log_gb", HOURS * 2e-6, "2 KB a sweep"),
        Use("Lambda", "lambda_gb_second", HOURS * 2 * MEMORY_GB, "a sweep each hour, 2 s with its cold start"),
        Use("Lambda", "lambda_request", HOURS, ""),
        Use("DynamoDB", "dynamodb_read", HOURS * 4, "last sweep, users, devices, inventory"),
        Use("DynamoDB", "dynamodb_write", HOURS, "last sweep"),
        Use("EventBridge", "event", HOURS, "Sweep Completed"),
        Use("EventBridge", "schedule", HOURS, ""),
    ]


def locks(count: int = 1000) -> list[Use]:
    """So many locks, one at a time: nothing is saved by batches."""
    return [
        Use("EventBridge", "event", 2 * count, "the report, its outcome"),
        Use("SQS", "sqs_standard", 3 * count, "the rule sends, Lambda receives and deletes"),
        Use("SQS", "sqs_fifo", 3 * count, "the same for the command"),
        Use("Lambda", "lambda_request", 2 * count, "router and writer"),
        Use("Lambda", "lambda_gb_second", count * (0.05 + 0.5) * MEMORY_GB, "50 ms and 500 ms"),
        Use("DynamoDB", "dynamodb_write", 6 * count, "name 1, device 1 and 2, outcome 2"),
        Use("DynamoDB", "dynamodb_read", count, "the user's item"),
        Use("DynamoDB", "dynamodb_gb_month", count * 4e-6 * 13, "4 KB kept for 400 days"),
        Use("DynamoDB", "dynamodb_backup_gb_month", count * 4e-6 * 13, "and its recovery"),
        Use("CloudWatch", "log_gb", count * 4e-6, "4 KB of lines and metrics"),
        Use("CloudWatch", "metric_hour", 24 * 4, "four metrics, if they come over a day"),
    ]


def sweep(overrides: int = 100_000, ours: int = 10_000) -> list[Use]:
    """One sweep, of whose overrides so many are ours; 50 expire, 500 devices are added to the inventory."""
    pages = overrides / 100
    return [
        Use("Lambda", "lambda_gb_second", pages * 0.05 * MEMORY_GB, "50 ms a page"),
        Use("DynamoDB", "dynamodb_read", ours / 4, "the ledger, 1 KB a device"),
        Use("DynamoDB", "dynamodb_write", 500 + 50 * 5, "inventory, and what expires"),
        Use("SQS", "sqs_fifo", 50 * 3, "what expires"),
        Use("Lambda", "lambda_request", 50 + 1, ""),
        Use("EventBridge", "event", 50 + 1, ""),
        Use("CloudWatch", "log_gb", 50 * 1e-6, ""),
    ]


def table() -> str:
    """Markdown: a row for each resource, a column for each of the three."""
    prices = tomllib.loads((Path(__file__).parent / "prices.toml").read_text())
    columns = {
        "a month at rest": at_rest(),
        "1,000 locks": locks(),
        "a sweep of 100,000": sweep(),
    }
    resources = sorted({use.resource for uses in columns.values() for use in uses})
    lines = [f"| US dollars | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}"]
    for resource in [*resources, "together"]:
        cells = []
        for uses in columns.values():
            chosen = [use for use in uses if resource in (use.resource, "together")]
            cells.append(f"{sum(use.count * prices[use.price]['price'] for use in chosen):.4f}" if chosen else "")
        lines.append(f"| {resource} | {' | '.join(cells)} |")
    unconfirmed = [name for name, price in prices.items() if not price["confirmed"]]
    return "\n".join([*lines, "", f"Not confirmed: {', '.join(unconfirmed)}."])


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
