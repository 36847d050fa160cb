"""EventBridge events in CloudTrail's shape for writes to WorkMail.

AWS publishes no sample of an override call. The member names follow its samples of other WorkMail writes:
https://docs.aws.amazon.com/workmail/latest/adminguide/logging-using-cloudtrail.html
"""

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from local.workmail.errors import WorkMailError

type Json = dict[str, Any]

_ASSUMED_ROLE = re.compile(r"arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/(.+)/[^/]+")


def event_of(
    operation: str,
    request: Mapping[str, Any],
    principal: str,
    now: datetime,
    account: str,
    region: str,
    error: WorkMailError | None = None,
) -> Json:
    """Return the event that a trail would put on the default bus.

    `principal` is the caller's ARN or, if that is unknown, the access key.
    """
    detail: Json = {
        "eventVersion": "1.09",
        "userIdentity": _identity(principal, account),
        "eventTime": _iso(now),
        "eventSource": "workmail.amazonaws.com",
        "eventName": operation,
        "awsRegion": region,
        "sourceIPAddress": "127.0.0.1",
        "requestParameters": {name[:1].lower() + name[1:]: value for name, value in request.items()},
        "responseElements": None,
        "requestID": str(uuid.uuid4()),
        "eventID": str(uuid.uuid4()),
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }
    if error is not None:
        detail |= {"errorCode": error.code, "errorMessage": error.message}
    return envelope("aws.workmail", "AWS API Call via CloudTrail", detail, now, account, region)


def envelope(source: str, detail_type: str, detail: Json, now: datetime, account: str, region: str) -> Json:
    """Return an EventBridge event with a new ID."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": account,
        "time": _iso(now),
        "region": region,
        "resources": [],
        "detail": detail,
    }


def _identity(principal: str, account: str) -> Json:
    role = _ASSUMED_ROLE.fullmatch(principal)
    if role:
        issuer = {"type": "Role", "arn": f"arn:{role[1]}:iam::{role[2]}:role/{role[3]}", "accountId": role[2]}
        issuer["userName"] = role[3].rpartition("/")[2]
        session = {"sessionIssuer": issuer}
        return {"type": "AssumedRole", "arn": principal, "accountId": role[2], "sessionContext": session}
    if not principal.startswith("arn:"):
        return {"type": "IAMUser", "arn": principal, "accountId": account, "accessKeyId": principal}
    kind = "Root" if principal.endswith(":root") else "IAMUser"
    return {"type": kind, "arn": principal, "accountId": principal.split(":")[4]}


def _iso(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
