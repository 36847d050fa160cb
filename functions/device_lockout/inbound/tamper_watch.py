"""The tamper watch: somebody else's change of an override, as CloudTrail tells it, becomes a command to look at it.

Only the place of the change is trusted. The writer reads afresh what stands there.
https://docs.aws.amazon.com/workmail/latest/adminguide/logging-using-cloudtrail.html
"""

import re
from datetime import datetime
from typing import Any

from device_lockout.inbound.contract import text
from device_lockout.values.command import WATCH, Cause, Reassert, Target
from device_lockout.values.outcome import SOURCE
from device_lockout.values.settings import Settings

_ODD = r"[^A-Za-z0-9+=,.@:/_-]"
"""No ARN or address has these characters. A session's name may have been chosen for people to read."""


def read(event: dict[str, Any], message_id: str, received: datetime, settings: Settings) -> tuple[Reassert, ...]:
    """Return the command to look at the override that a call changed, or nothing if it is not one of ours.

    SQS's ID of the message stands in for an event without an ID. SQS received the message at ``received``.
    """
    detail = _fields(event.get("detail"))
    asked, identity = _fields(detail.get("requestParameters")), _fields(detail.get("userIdentity"))
    organization = settings.organization(text(asked.get("organizationId")))
    user, device = text(asked.get("userId")), text(asked.get("deviceId"), 64)
    if organization is None or not user or not device:
        return ()
    who = re.sub(_ODD, "?", text(identity.get("arn"))) or "somebody"
    where = re.sub(_ODD, "?", text(detail.get("sourceIPAddress"), 64)) or "an unknown address"
    cause = Cause(
        event_id=text(detail.get("eventID")) or message_id,
        source=SOURCE,
        detail_type=WATCH,
        happened=received,
        received=received,
        correction=f"changed by {who} from {where}",
    )
    return (Reassert(cause, Target(organization.id, user, device)),)


def _fields(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
