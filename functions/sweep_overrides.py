"""Sweep on a schedule: list an organization's overrides, plan, and enqueue commands. WorkMail is never changed here.

Once a day it may tell what can wait until then, too.
"""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from device_lockout import wiring
from device_lockout.aws.call_rate import Pace
from device_lockout.protocol import announcement, sweep
from device_lockout.values import instant
from device_lockout.values.errors import SettingsError

LIST_ATTEMPTS = 5
"""Tries of one page, with botocore's backoff. There is time for them, and a failed page fails the run."""
TIME_TO_FINISH = timedelta(seconds=120)
"""Time that must be left when a page is read: a minute for its tries, and a minute to plan and enqueue."""

logger, metrics = wiring.logger_and_metrics()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Sweep the organization in ``event``, which the schedule sends.

    ``acceptLedger`` is a person's word that this table is right, although it is another than at the last sweep.
    An event with ``digest`` asks for no sweep, but for the digest of the day that ends then.

    Raises:
        SettingsError: It is none of the configuration's, or the ledger has another name.
    """
    if "digest" in event:
        return _tell_of_day(instant.read(event["digest"]))
    organization = event.get("organizationId")
    if organization not in {known.id for known in wiring.settings().organizations}:
        raise SettingsError(f"organizationId is {json.dumps(organization)[:100]}: expected one of the configuration's")
    accepted, table = event.get("acceptLedger"), wiring.environment("LEDGER_TABLE")
    if accepted not in (None, table):
        raise SettingsError(f"acceptLedger is {json.dumps(accepted)[:300]}: expected {table}, the ledger's table")

    def enough_time(wait: float) -> bool:
        return bool(context.get_remaining_time_in_millis() > (wait + TIME_TO_FINISH.total_seconds()) * 1000)

    now = _clock()
    this = sweep.Run(
        id=f"{context.aws_request_id} {now:%H:%M:%S}",  # Lambda retries a run under its ID
        organization=organization,
        now=now,
        clock=_clock,
        enough_time=lambda: enough_time(0),
        pause=lambda: time.sleep(1),
        accepted=accepted is not None,
    )
    result = sweep.run(this, wiring.ports(LIST_ATTEMPTS, Pace(), enough_time), wiring.settings())
    for item in (*result.plan.removals, *result.plan.reasserts, *result.plan.left):
        logger.info("planned", run=this.id, item=announcement.row(item), about=item.key[1:])
    guard = result.refused.guard if result.refused else None
    logger.info(
        result.refused.because if result.refused else "swept",
        run=this.id,
        organization=this.organization,
        guard=guard,
        seen=result.plan.seen,
    )
    metrics.add_dimension("organization", this.organization)
    metrics.add_metric(name="SweepCompleted", unit="Count", value=int(result.completed))
    metrics.add_metric(name="OverridesSeen", unit="Count", value=sum(result.plan.seen.values()))
    metrics.add_metric(name="LocksStanding", unit="Count", value=result.plan.seen["ours"])
    metrics.add_metric(name="Enqueued", unit="Count", value=result.enqueued)
    metrics.add_metric(name="SweepDuration", unit="Seconds", value=(_clock() - this.now).total_seconds())
    if guard:
        metrics.add_metric(name=f"SweepRefused-{guard}", unit="Count", value=1)
    return {"completed": result.completed, "guard": guard, "enqueued": result.enqueued}


def _tell_of_day(until: datetime) -> dict[str, Any]:
    told = announcement.of_day(wiring.ledger().timeline(until - timedelta(days=1), until, "today"), until)
    if told:
        wiring.bus().announce(told["detailType"], told["detail"])
    return {"digest": told is not None}


def _clock() -> datetime:
    return datetime.now(UTC)
