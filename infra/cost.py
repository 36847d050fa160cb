"""The cost of a deployment by AWS service, from the prices in `prices.toml`.

`python -m infra.cost` prints the table in docs/performance-and-cost.md. The quantities follow from the code. Durations
are longer than what `make bench` measures.
"""

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

HOURS_A_MONTH = 730

MEMORY_GB = 0.5

POLLERS = 5
"""Long polls of 20 seconds that Lambda keeps open on an idle queue.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"""

ALARMS = 19  # Alarms of a deployment with one organization and no webhooks.


@dataclass(frozen=True, slots=True)
class Use:
    """A quantity that AWS charges for."""

    service: str  # The row of the table.
    price: str  # A table of `prices.toml`.
    count: float  # How many units of that price.
    why: str  # What they are for.


def at_rest() -> list[Use]:
    """Return the use of one organization in a month of hourly sweeps that find nothing."""
    polls = POLLERS * HOURS_A_MONTH * 3600 / 20
    return [
        Use("SQS", "sqs_standard", polls, "Lambda polls for reports"),
        Use("SQS", "sqs_fifo", polls, "Lambda polls for commands"),
        Use("CloudWatch", "alarm", ALARMS, ""),
        Use("CloudWatch", "dashboard", 1, ""),
        Use("CloudWatch", "metric_hour", 5 * HOURS_A_MONTH, "five metrics a sweep"),
        Use("CloudWatch", "log_gb", HOURS_A_MONTH * 2e-6, "2 KB a sweep"),
        Use("Lambda", "lambda_gb_second", HOURS_A_MONTH * 2 * MEMORY_GB, "2 s a sweep, with a cold start"),
        Use("Lambda", "lambda_request", HOURS_A_MONTH, ""),
        Use("DynamoDB", "dynamodb_read", HOURS_A_MONTH * 4, "last sweep, users, devices, inventory"),
        Use("DynamoDB", "dynamodb_write", HOURS_A_MONTH * 5, "last sweep 1, the run 2, in the index 2"),
        Use("DynamoDB", "dynamodb_gb_month", HOURS_A_MONTH * 4e-6 * 13, "runs of 2 KB, twice, kept for 400 days"),
        Use("EventBridge", "event", HOURS_A_MONTH, "Sweep Completed"),
        Use("EventBridge", "schedule", HOURS_A_MONTH, ""),
    ]


def locks(count: int = 1000) -> list[Use]:
    """Return the use of locks that come one at a time, so that batches save nothing."""
    return [
        Use("EventBridge", "event", 2 * count, "the report and its outcome"),
        Use("SQS", "sqs_standard", 3 * count, "the rule sends, Lambda receives and deletes"),
        Use("SQS", "sqs_fifo", 3 * count, "the router sends, Lambda receives and deletes"),
        Use("Lambda", "lambda_request", 2 * count, "router and writer"),
        Use("Lambda", "lambda_gb_second", count * (0.05 + 0.5) * MEMORY_GB, "50 ms and 500 ms"),
        Use("DynamoDB", "dynamodb_write", 10 * count, "name 1, device 1 and 2, outcome 3, in the index 3"),
        Use("DynamoDB", "dynamodb_read", 3 * count, "the outcome, the name, the user's item"),
        Use("DynamoDB", "dynamodb_gb_month", count * 8e-6 * 13, "8 KB kept for 400 days, the index included"),
        Use("DynamoDB", "dynamodb_backup_gb_month", count * 5e-6 * 13, "its recovery"),
        Use("CloudWatch", "log_gb", count * 4e-6, "4 KB of lines and metrics"),
        Use("CloudWatch", "metric_hour", 24 * 4, "four metrics, spread over a day"),
    ]


def sweep(overrides: int = 100_000, ours: int = 10_000) -> list[Use]:
    """Return the use of one sweep that expires 50 locks and adds 500 devices to the inventory."""
    pages = overrides / 100
    return [
        Use("Lambda", "lambda_gb_second", pages * 0.05 * MEMORY_GB, "50 ms a page"),
        Use("DynamoDB", "dynamodb_read", ours / 4, "the ledger, 1 KB a device"),
        Use("DynamoDB", "dynamodb_write", 500 + 50 * 9, "the inventory and expired locks"),
        Use("SQS", "sqs_fifo", 50 * 3, "commands that expire locks"),
        Use("Lambda", "lambda_request", 50 + 1, ""),
        Use("EventBridge", "event", 50 + 1, ""),
        Use("CloudWatch", "log_gb", 50 * 1e-6, ""),
    ]


def table() -> str:
    """Return the costs in Markdown, one row a service."""
    prices = tomllib.loads((Path(__file__).parent / "prices.toml").read_text())
    columns = {"a month at rest": at_rest(), "1,000 locks": locks(), "a sweep of 100,000": sweep()}
    services = sorted({use.service for uses in columns.values() for use in uses})
    lines = [f"| US dollars | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}"]
    for service in [*services, "together"]:
        cells = []
        for uses in columns.values():
            chosen = [use for use in uses if service in (use.service, "together")]
            cells.append(f"{sum(use.count * prices[use.price]['price'] for use in chosen):.4f}" if chosen else "")
        lines.append(f"| {service} | {' | '.join(cells)} |")
    unconfirmed = [name for name, price in prices.items() if not price["confirmed"]]
    return "\n".join([*lines, "", f"Not confirmed: {', '.join(unconfirmed)}."])


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
