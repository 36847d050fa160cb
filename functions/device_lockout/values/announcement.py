"""The events that announce outcomes on the bus: for people, for other rules, and for the ledger to keep."""

from datetime import datetime
from typing import Any

from device_lockout.values import instant
from device_lockout.values.command import Cause, Command, command_id
from device_lockout.values.outcome import Outcome
from device_lockout.values.tag import write_time


def announcement(command: Command, outcome: Outcome, decided: datetime) -> dict[str, Any]:
    """Return ``{"detailType", "detail"}`` for ``outcome``. Every repetition of a command has the same ``detail.id``."""
    cause, target = command.cause, command.target
    return {
        "detailType": outcome.detail_type,
        "detail": {
            "id": command_id(command),
            "eventId": cause.event_id,
            "source": cause.source,
            "organizationId": target.organization,
            "userId": target.user,
            "deviceId": target.device,
            "result": outcome.result,
            "reason": outcome.why,
            "until": write_time(outcome.until) if outcome.until else None,
            "reference": outcome.reference,
            "verified": outcome.verified,
            "devices": outcome.devices,
            "page": outcome.page,
            "message": f"{outcome.message(target.device, target.user)} ({_report(cause)})",
            "before": outcome.before.fields() if outcome.before else None,
            "after": outcome.after.fields() if outcome.after else None,
            "times": {
                "happened": instant.write(cause.happened),
                "received": instant.write(cause.received),
                "decided": instant.write(decided),
            },
        },
    }


def _report(cause: Cause) -> str:
    """Name the report, for people who have only the message."""
    return ", ".join(filter(None, (f"event {cause.event_id} from {cause.source}", cause.reference)))
