"""The schedule's function: list an organization's overrides, plan, enqueue; it never changes WorkMail itself."""

import time
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics

from device_lockout import bus, command_queue, ledger, settings, sweep, workmail
from device_lockout.pace import Fits, Pace

LIST_ATTEMPTS = 5
"""Of one page, with botocore's own backoff; the sweep has the time, and a failed page fails the run."""
TIME_TO_FINISH = timedelta(seconds=120)
"""Kept back when a page is asked for: its attempts may take a minute, planning and enqueueing the other."""

logger = Logger()
metrics = Metrics()


@cache
def client() -> Any:
    return workmail.client(settings.load().limits.workmail_timeout, LIST_ATTEMPTS)


def parties(fits: Fits) -> sweep.Parties:
    return sweep.Parties(
        workmail=workmail.WorkMail(client(), Pace(), fits),
        ledger=ledger.Ledger(ledger.client(), settings.environment("LEDGER_TABLE")),
        queue=command_queue.CommandQueue(settings.environment("COMMANDS_QUEUE_URL")),
        bus=bus.Bus(bus.client(), settings.environment("LOCKOUT_EVENT_BUS")),
    )


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Entry point: ``event`` names the organization, as the schedule gives it."""

    def fits(wait: float) -> bool:
        return bool(context.get_remaining_time_in_millis() > (wait + TIME_TO_FINISH.total_seconds()) * 1000)

    this = sweep.Run(
        id=context.aws_request_id,
        organization=event["organizationId"],
        now=_clock(),
        clock=_clock,
        enough_time=lambda: fits(0),
        pause=lambda: time.sleep(1),
    )
    report = sweep.run(this, parties(fits), settings.load())
    for item in (*report.plan.removals, *report.plan.reasserts, *report.plan.left):
        logger.info("planned", run=this.id, item=sweep.row(item))
    guard = report.refused.guard if report.refused else None
    logger.info(
        report.refused.because if report.refused else "swept",
        run=this.id,
        organization=this.organization,
        guard=guard,
        seen=report.plan.seen,
    )
    metrics.add_dimension("organization", this.organization)
    metrics.add_metric(name="SweepCompleted", unit="Count", value=int(report.completed))
    metrics.add_metric(name="OverridesSeen", unit="Count", value=sum(report.plan.seen.values()))
    metrics.add_metric(name="LocksStanding", unit="Count", value=report.plan.seen["ours"])
    metrics.add_metric(name="Enqueued", unit="Count", value=report.enqueued)
    metrics.add_metric(name="SweepDuration", unit="Seconds", value=(_clock() - this.now).total_seconds())
    if guard:
        metrics.add_metric(name=f"SweepRefused-{guard}", unit="Count", value=1)
    return {"completed": report.completed, "guard": guard, "enqueued": report.enqueued}


def _clock() -> datetime:
    return datetime.now(UTC)
