"""Carry out commands: the only function that changes overrides.

Devices are handled in parallel. The commands of one device run in order.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from device_lockout import wiring
from device_lockout.aws import sqs_batch
from device_lockout.aws.call_rate import EnoughTime, Pace
from device_lockout.protocol import authority, steps
from device_lockout.protocol.ports import Ports
from device_lockout.protocol.redelivery import delay_after
from device_lockout.values import command, wire
from device_lockout.values.errors import LockoutError, TransientError, UnreadableError
from device_lockout.values.outcome import DRILL, Outcome

logger, metrics = wiring.logger_and_metrics()
pace = Pace()  # The rate of calls. Each invocation of this environment begins with what the last one learned.


def apply(message: sqs_batch.Message, ports: Ports, enough_time: EnoughTime) -> tuple[command.Cause, Outcome] | None:
    """Carry out one command. Return None for a message that is none: it goes to the dead letters, its group goes on.

    Raises:
        NotTriedError: So little time is left that the function could be killed in the middle.
    """
    try:
        loaded = wire.load(message.body)
        asked = authority.checked(loaded, wiring.settings(), message.sent, ports.ledger)
    except UnreadableError as error:
        wiring.command_queue().bury(message.body, message.group, message.id)
        logger.error("buried", message_id=message.id, because=str(error))  # noqa: TRY400 (no trace of our own)
        return None
    with pace.command(enough_time):
        own = message.group == command.group_id(loaded)
        outcome = steps.carry_out(asked, ports, wiring.settings().rules, datetime.now(UTC), in_own_group=own)
    logger.info(
        outcome.message(asked.target.device, asked.target.user),
        event_id=asked.cause.event_id,
        command_id=command.command_id(asked),
        command=type(asked).__name__,
        result=outcome.result,
        organization=asked.target.organization,
        about=asked.target.identities,
    )
    return asked.cause, outcome


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take a batch from ``commands.fifo``. Only failed messages come back, later and in order."""
    limits = wiring.settings().limits
    call = limits.workmail_timeout.total_seconds()

    def enough_time(calls: int, wait: float) -> bool:
        return bool(context.get_remaining_time_in_millis() > (wait + calls * call) * 1000)

    ports = wiring.ports(attempts=1, pace=pace, enough_time=partial(enough_time, 1))
    enough_for_command = partial(enough_time, command.CALLS_OF_A_COMMAND)
    applied, failures = sqs_batch.process_groups(
        sqs_batch.read(event), lambda message: apply(message, ports, enough_for_command)
    )
    now = datetime.now(UTC)
    _count(filter(None, applied), now)
    sqs_batch.count_failures(failures, metrics, now)
    _postpone(failures, limits.settle)
    return sqs_batch.response(failures)


def _count(applied: Iterable[tuple[command.Cause, Outcome]], now: datetime) -> None:
    for cause, outcome in applied:
        milliseconds = ((outcome.written or now) - cause.received).total_seconds() * 1000
        if cause.source == DRILL:
            if outcome.result == "locked":
                metrics.add_metric(name="DrillToDeny", unit="Milliseconds", value=milliseconds)
            continue
        metrics.add_metric(name=outcome.result, unit="Count", value=1)
        if outcome.page or cause.page:
            metrics.add_metric(name="Paged", unit="Count", value=1)
        if outcome.result == "locked":
            metrics.add_metric(name=f"locked-{outcome.why}", unit="Count", value=1)
            metrics.add_metric(name="ReportToDeny", unit="Milliseconds", value=milliseconds)


def _postpone(failures: Iterable[sqs_batch.Failure], settle: timedelta) -> None:
    """Log each failure and let its message come back after a delay, which a group's messages share."""
    delays: dict[str, timedelta] = {}
    for failure in failures:
        message = failure.message
        delay = delays.setdefault(message.group, delay_after(failure.error, message.receives, settle))
        logger.warning(
            str(failure.error),
            message_id=message.id,
            receives=message.receives,
            again_in=str(delay),
            exc_info=failure.unforeseen,
            about=_identities(message),
        )
        try:
            wiring.command_queue().postpone(message.receipt, delay)
        except LockoutError as error:
            logger.warning(str(error), message_id=message.id)


def _identities(message: sqs_batch.Message) -> tuple[str, ...]:
    try:
        return wire.load(message.body).target.identities
    except (UnreadableError, TransientError):
        return ()
