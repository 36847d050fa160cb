"""Webhooks: requests from senders who can only call a URL, authenticated and passed on to the bus.

The configuration chooses one of two ways for each sender:

``hmac``
    Two headers: ``x-lockout-timestamp: SECONDS`` since 1970, and ``x-lockout-signature: sha256=HEX``. The signature is
    the HMAC-SHA256 of the timestamp, a full stop and the raw body. Its key is the secret's text in UTF-8. A request is
    accepted within :data:`WINDOW` of its timestamp and passed on once. After a crash it may be passed on twice.
``basic``
    ``Authorization: Basic …`` (RFC 7617). The secret is ``{"username": …, "password": …}``.

>>> sign("key", 1795338000, b'{"a":1}')
'sha256=4d26061dea0712e5148bd9c7e200c0d6cd0fa641d61236ee12e43a556743dbad'
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, Protocol

from device_lockout.values import wire
from device_lockout.values.errors import TransientError
from device_lockout.values.settings import Webhook

WINDOW = timedelta(minutes=5)
"""How far a request's timestamp may be from our clock, in either direction."""
MAX_BYTES = 128 * 1024
"""The size limit of a body, before and after it is cleaned. An event on the bus has room for 256 KiB in all."""
SHORTEST_SECRET = 16
"""Bytes of a signing key or a password. A shorter one could be guessed."""
DETAIL_TYPE = "Webhook"


class SecretsPort(Protocol):
    """:class:`device_lockout.aws.secret_store.SecretStore`."""

    def values(
        self, secret: str, now: datetime, *, previous_for: timedelta, refresh: bool = False
    ) -> tuple[str, ...]: ...


class LogPort(Protocol):
    """:class:`device_lockout.aws.webhook_log.WebhookLog`."""

    def begin(self, sender: str, signature: str, until: datetime, now: datetime) -> bool: ...
    def finish(self, sender: str, signature: str, until: datetime, *, passed: bool) -> None: ...


class EventPort(Protocol):
    """:class:`device_lockout.aws.bus.Bus`."""

    def put(self, source: str, detail_type: str, detail: dict[str, Any]) -> str: ...


class RefusedRequestError(Exception):
    """The request is not passed on. The caller learns only ``status``. The message is for our log."""

    def __init__(self, status: Literal[400, 401, 405, 413], because: str) -> None:
        super().__init__(because)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the function's URL.

    Attributes:
        method: The HTTP method.
        sender: The path of the URL, which is the sender's name in the configuration.
        headers: The headers, with names in lower case.
        body: The body as it was sent.
        address: The caller's IP address.
    """

    method: str
    sender: str
    headers: Mapping[str, str]
    body: bytes
    address: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A request's valid signature, and until when it is accepted."""

    text: str
    until: datetime


def read(event: dict[str, Any]) -> Request:
    """Return the request in an event of a function URL.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads

    Raises:
        RefusedRequestError: The body can't be decoded.
    """
    http = event["requestContext"]["http"]
    body = event.get("body") or ""
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError as error:
        raise RefusedRequestError(400, f"the body can't be decoded: {error}") from error
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    return Request(http["method"], event.get("rawPath", "").strip("/"), headers, raw, http.get("sourceIp", ""))


def log_fields(event: dict[str, Any]) -> dict[str, str]:
    """Return what our log keeps of a request that was not passed on. Headers and body are not among it."""
    http = event.get("requestContext", {}).get("http", {})
    fields = {"method": http.get("method"), "path": event.get("rawPath"), "address": http.get("sourceIp")}
    return {name: str(value)[:200] for name, value in fields.items()}


@dataclass(frozen=True, slots=True)
class Receiver:
    """Accepts the requests of configured senders."""

    webhooks: Mapping[str, Webhook]
    secrets: SecretsPort
    log: LogPort
    bus: EventPort

    def accept(self, request: Request, now: datetime) -> str:
        """Pass a request on to the bus. Return the event's ID.

        Raises:
            RefusedRequestError: The request is not authentic, or not valid, or was passed on before.
            TransientError: The request can't be passed on now. The sender may repeat it unchanged.
        """
        if request.method != "POST":
            raise RefusedRequestError(405, "not a POST")
        webhook = self.webhooks.get(request.sender)
        if webhook is None:
            raise RefusedRequestError(401, "no such sender")
        secret_values = partial(self.secrets.values, webhook.secret, now, previous_for=webhook.accept_previous_for)
        try:
            signature = authenticate(request, webhook, secret_values(), now)
        except RefusedRequestError:
            signature = authenticate(request, webhook, secret_values(refresh=True), now)
        body = detail(request)
        if signature is not None and not self.log.begin(webhook.name, signature.text, signature.until, now):
            raise RefusedRequestError(401, "this very request was passed on before")
        passed = False
        try:
            event_id = self.bus.put(webhook.source, DETAIL_TYPE, body)
            passed = True
        finally:
            if signature is not None:
                self.log.finish(webhook.name, signature.text, signature.until, passed=passed)
        return event_id


def authenticate(request: Request, webhook: Webhook, values: Iterable[str], now: datetime) -> Signature | None:
    """Return the request's signature, or None if it has valid credentials.

    Raises:
        RefusedRequestError: Neither is of one of the secret's ``values``.
    """
    if webhook.authenticate == "hmac":
        values = [*values]
        if any(len(value.encode()) < SHORTEST_SECRET for value in values):
            raise TransientError(f"the signing key has less than {SHORTEST_SECRET} bytes")
        return _check_signature(request, values, now)
    _check_credentials(request, values)
    return None


def detail(request: Request) -> dict[str, Any]:
    """Return the body as an event's detail.

    Raises:
        RefusedRequestError: The body is not a JSON object, or too large.
    """
    _check_size(request.body)
    try:
        # NaN and numbers too large for a float are refused: JSON has no word for them. JSON can spell halves of
        # surrogate pairs, which the bus does not take. They become question marks.
        text = wire.compact(json.loads(request.body)).encode(errors="replace")
        clean = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedRequestError(400, f"the body is not JSON: {error}") from error
    if not isinstance(clean, dict):
        raise RefusedRequestError(400, "the body is not a JSON object")
    _check_size(text)
    return clean


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BYTES:
        raise RefusedRequestError(413, f"the body has {len(body)} bytes: expected at most {MAX_BYTES}")


def sign(key: str, timestamp: int, body: bytes) -> str:
    """Return the signature header of a request."""
    signature = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"sha256={signature.hexdigest()}"


def _check_signature(request: Request, values: Iterable[str], now: datetime) -> Signature:
    timestamp, signature = request.headers.get("x-lockout-timestamp"), request.headers.get("x-lockout-signature")
    if not timestamp or not signature:
        raise RefusedRequestError(401, "no timestamp or no signature")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 11):
        raise RefusedRequestError(401, "the timestamp is not in seconds")
    sent = datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(timestamp))
    if not _is_any_of([sign(value, int(timestamp), request.body) for value in values], signature):
        raise RefusedRequestError(401, "the signature is of none of the values that the secret has")
    if abs(sent - now) > WINDOW:
        raise RefusedRequestError(401, f"the timestamp says {sent.isoformat()}: too far from our clock")
    return Signature(signature, sent + WINDOW)


def _check_credentials(request: Request, values: Iterable[str]) -> None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or not encoded:
        raise RefusedRequestError(401, "no basic credentials")
    try:
        credentials = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedRequestError(401, "the credentials can't be decoded") from None
    expected = []
    for value in values:
        try:
            secret = json.loads(value)
            if not secret["username"] or len(secret["password"].encode()) < SHORTEST_SECRET:
                raise TransientError(f"the user name is empty, or the password has less than {SHORTEST_SECRET} bytes")
            expected.append(hashlib.sha256(f"{secret['username']}:{secret['password']}".encode()).hexdigest())
        except (AttributeError, ValueError, KeyError, TypeError):
            raise TransientError('the secret is not as expected: {"username": …, "password": …}') from None
    if not _is_any_of(expected, hashlib.sha256(credentials).hexdigest()):
        raise RefusedRequestError(401, "the credentials are none of those that the secret has")


def _is_any_of(expected: Iterable[str], given: str) -> bool:
    """Return whether ``given`` is one of ``expected``. Compares with all of them, each in constant time."""
    same = [hmac.compare_digest(one.encode(), given.encode(errors="replace")) for one in expected]
    return any(same)
