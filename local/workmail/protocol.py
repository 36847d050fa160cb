"""AWS's JSON 1.1 protocol: signature, operation, request and error."""

import json
import re
from collections.abc import Mapping
from typing import Any

from local.workmail.errors import WorkMailError

type Json = dict[str, Any]
type Headers = Mapping[str, str]
type Response = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""

CONTENT_TYPE = "application/x-amz-json-1.1"
_TARGET = "WorkMailService."
_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d{8}(?:/[^/,\s]+)?/(?P<service>[^/,\s]+)/aws4_request")
_LARGEST_REQUEST = 1024 * 1024


def error_document(error: WorkMailError) -> Json:
    """Return the error in the form that boto3, the AWS CLI and the JavaScript SDK read.

    WorkMail's model has `Message`. Most other services have `message`.
    """
    return {"__type": error.code, "Message": error.message, "message": error.message}


def target(headers: Headers) -> str:
    """Return the requested operation, known or not; empty if the header names none."""
    wanted = headers.get("x-amz-target", "")
    return wanted.removeprefix(_TARGET) if wanted.startswith(_TARGET) else ""


def unknown_operation(headers: Headers) -> WorkMailError:
    """Return the error for a target that WorkMail does not have."""
    wanted = headers.get("x-amz-target")
    return WorkMailError(
        "UnknownOperationException",
        f"X-Amz-Target is {wanted!r:.200}; expected {_TARGET} followed by the name of a WorkMail operation",
    )


def access_key(headers: Headers) -> str:
    """Return the access key of a request's signature.

    The header must be complete and scoped to WorkMail. The signature itself is not checked.
    """
    authorization = headers.get("authorization", "")
    if not authorization.startswith("AWS4-"):
        raise WorkMailError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
    credential = _CREDENTIAL.search(authorization)
    missing = [part for part in ("SignedHeaders=", "Signature=") if part not in authorization]
    if credential is None:
        missing.insert(0, "Credential=KEY/DATE/REGION/workmail/aws4_request")
    if credential is None or missing:
        what = " and ".join(missing)
        raise WorkMailError("IncompleteSignatureException", f"The Authorization header lacks {what}", 403)
    if credential["service"] != "workmail":
        raise WorkMailError(
            "InvalidSignatureException",
            f"Credential should be scoped to correct service: 'workmail', not '{credential['service']}'",
            403,
        )
    return credential["key"]


def request_document(body: bytes) -> Json:
    """Return the request's JSON object; an empty body is an empty object."""
    if len(body) > _LARGEST_REQUEST:
        raise WorkMailError("RequestEntityTooLargeException", f"Requests have at most {_LARGEST_REQUEST} bytes", 413)
    try:
        request = json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise WorkMailError("SerializationException", f"The request is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise WorkMailError("SerializationException", f"The request is {request!r:.100}; expected a JSON object")
    return request
