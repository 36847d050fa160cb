"""Carry out commands: the only function that changes overrides. A device's commands come one at a time, in order."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics

from device_lockout import wiring
from device_lockout.aws import sqs_batch
from device_lockout.aws.pace import Fits, Pace
from device_lockout.protocol import steps
from device_lockout.protocol.ports import Ports
from device_lockout.protocol.redelivery import delay_after
from device_lockout.values import command, wire
from device_lockout.values.errors import LockoutError
from device_lockout.values.outcome import Outcome

CALLS_OF_A_COMMAND = 3
"""The most calls to WorkMail that one command makes: who is the user, what stands, one write."""

logger = Logger()
metrics = Metrics()
pace = Pace()
"""Learned in one batch, it holds for the next."""


def apply(message: sqs_batch.Message, ports: Ports, fits: Fits) -> tuple[command.Cause, Outcome]:
    """Carry out one command, unless so little time is left that the function could be killed in the middle of it."""
    asked = wire.load(message.body)
    with pace.command(fits):
        outcome = steps.carry_out(asked, ports, wiring.settings().rules, datetime.now(UTC))
    logger.info(
        outcome.message(asked.target.device, asked.target.user),
        event_id=asked.cause.event_id,
        command_id=command.command_id(asked),
        command=type(asked).__name__,
        result=outcome.result,
        organization=asked.target.organization,
    )
    return asked.cause, outcome


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a batch from ``commands.fifo``. What failed comes back later, in order, without the rest."""
    limits = wiring.settings().limits
    call = limits.workmail_timeout.total_seconds()

    def fit(calls: int, wait: float) -> bool:
        return bool(context.get_remaining_time_in_millis() > (wait + calls * call) * 1000)

    ports = wiring.ports(attempts=1, pace=pace, fits=partial(fit, 1))
    whole = partial(fit, CALLS_OF_A_COMMAND)
    applied, failures = sqs_batch.side_by_side(sqs_batch.read(event), lambda message: apply(message, ports, whole))
    now = datetime.now(UTC)
    for cause, outcome in applied:
        metrics.add_metric(name=outcome.result, unit="Count", value=1)
        if outcome.page:
            metrics.add_metric(name="Paged", unit="Count", value=1)
        if outcome.result == "locked":
            metrics.add_metric(name=f"locked-{outcome.why}", unit="Count", value=1)
            elapsed = (now - cause.received).total_seconds()
            metrics.add_metric(name="ReportToDeny", unit="Milliseconds", value=elapsed * 1000)
    sqs_batch.count(failures, metrics, now)
    delays: dict[str, timedelta] = {}
    for failure in failures:
        message = failure.message
        delay = delays.setdefault(message.group, delay_after(failure.error, message.receives, limits.settle))
        unforeseen = None if isinstance(failure.error, LockoutError) else failure.error
        logger.warning(
            str(failure.error),
            message_id=message.id,
            receives=message.receives,
            again_in=str(delay),
            exc_info=unforeseen,
        )
        try:
            wiring.command_queue().postpone(message.receipt, delay)
        except LockoutError as error:
            logger.warning(str(error), message_id=message.id)
    return sqs_batch.answer(failures)
