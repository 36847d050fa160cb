"""Requests from senders who can only call a URL: who sent one, and whether it may be passed on to the bus.

Two ways to show who one is, chosen for each sender in the configuration:

``hmac``
    ``x-lockout-timestamp: SECONDS`` since 1970 and ``x-lockout-signature: sha256=HEX``, the HMAC-SHA256 of the
    timestamp, a full stop and the raw body, under the secret's text as UTF-8. Each request is passed on once, within
    :data:`WINDOW` of its timestamp; a second time only if we crashed before we noted the first.
``basic``
    ``Authorization: Basic …`` (RFC 7617) with what the secret holds: ``{"username": …, "password": …}``.

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
"""By how much a request's timestamp may differ from our clock, either way."""
MOST_BYTES = 128 * 1024
"""Of a body, as it came and as it goes on; an event on the bus has room for 256 KiB, envelope and all."""
SOURCE_PREFIX = "webhook."
DETAIL_TYPE = "Webhook"


class SecretsPort(Protocol):
    """:class:`device_lockout.aws.secret_store.SecretStore`."""

    def values(self, secret: str, now: datetime, *, previous_for: timedelta, anew: bool = False) -> tuple[str, ...]: ...


class LogPort(Protocol):
    """:class:`device_lockout.aws.webhook_log.WebhookLog`."""

    def begin(self, sender: str, signature: str, until: datetime, now: datetime) -> bool: ...
    def finish(self, sender: str, signature: str, until: datetime, *, passed: bool) -> None: ...


class EventPort(Protocol):
    """:class:`device_lockout.aws.bus.Bus`."""

    def put(self, source: str, detail_type: str, detail: dict[str, Any]) -> str: ...


class RefusedRequestError(Exception):
    """The request is not passed on; ``status`` is all that the caller is told, the message is for our log."""

    def __init__(self, status: Literal[400, 401, 405, 413], because: str) -> None:
        super().__init__(because)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the function's URL: headers in lower case, the body as it was sent."""

    method: str
    sender: str
    headers: Mapping[str, str]
    body: bytes
    address: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request showed: its ``signature``, and until when that could be shown again; none for credentials."""

    signature: str
    until: datetime


def read(event: dict[str, Any]) -> Request:
    """The request in an event of a function URL; RefusedRequestError for a body that is not what it says.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
    """
    http = event["requestContext"]["http"]
    body = event.get("body") or ""
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError as error:
        raise RefusedRequestError(400, f"the body can't be decoded: {error}") from error
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    return Request(http["method"], event.get("rawPath", "").strip("/"), headers, raw, http.get("sourceIp", ""))


def about(event: dict[str, Any]) -> dict[str, str]:
    """What our log keeps of a request that was not passed on: where it came from and asked for, nothing it showed."""
    http = event.get("requestContext", {}).get("http", {})
    kept = {"method": http.get("method"), "path": event.get("rawPath"), "address": http.get("sourceIp")}
    return {name: str(value)[:200] for name, value in kept.items()}


@dataclass(frozen=True, slots=True)
class Door:
    """Where webhooks come in: the senders, their secrets, and the bus behind it."""

    webhooks: Mapping[str, Webhook]
    secrets: SecretsPort
    log: LogPort
    bus: EventPort

    def let_in(self, request: Request, now: datetime) -> str:
        """Pass a request on to the bus; the ID of the event that it became.

        RefusedRequestError if it may not be; TransientError if it can't be now, and may be sent again as it is.
        """
        if request.method != "POST":
            raise RefusedRequestError(405, "not a POST")
        known = self.webhooks.get(request.sender)
        if known is None:
            raise RefusedRequestError(401, "no such sender")
        hold = partial(self.secrets.values, known.secret, now, previous_for=known.accept_previous_for)
        try:
            shown = authenticate(request, known, hold(), now)
        except RefusedRequestError:
            shown = authenticate(request, known, hold(anew=True), now)
        said = detail(request)
        if shown is not None and not self.log.begin(known.name, shown.signature, shown.until, now):
            raise RefusedRequestError(401, "this very request was passed on before")
        passed = False
        try:
            event_id = self.bus.put(SOURCE_PREFIX + known.name, DETAIL_TYPE, said)
            passed = True
        finally:
            if shown is not None:
                self.log.finish(known.name, shown.signature, shown.until, passed=passed)
        return event_id


def authenticate(request: Request, webhook: Webhook, values: Iterable[str], now: datetime) -> Shown | None:
    """Whether the request shows one of the secret's ``values``; RefusedRequestError if not, with the reason."""
    return (_signed if webhook.authenticate == "hmac" else _with_credentials)(request, values, now)


def detail(request: Request) -> dict[str, Any]:
    """The body as the detail of an event; RefusedRequestError unless it is a JSON object of reasonable size."""
    _bounded(request.body)
    try:
        # Not what JSON has no word for, a number too large for one among it. Halves of surrogate pairs, which JSON can
        # spell and the bus does not take, become question marks.
        text = wire.compact(json.loads(request.body)).encode(errors="replace")
        clean = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedRequestError(400, f"the body is not JSON: {error}") from error
    if not isinstance(clean, dict):
        raise RefusedRequestError(400, "the body is not a JSON object")
    _bounded(text)
    return clean


def _bounded(body: bytes) -> None:
    if len(body) > MOST_BYTES:
        raise RefusedRequestError(413, f"the body has {len(body)} bytes: expected at most {MOST_BYTES}")


def sign(key: str, timestamp: int, body: bytes) -> str:
    """The signature that a sender sends."""
    signature = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"sha256={signature.hexdigest()}"


def _signed(request: Request, values: Iterable[str], now: datetime) -> Shown:
    written, signature = request.headers.get("x-lockout-timestamp"), request.headers.get("x-lockout-signature")
    if not written or not signature:
        raise RefusedRequestError(401, "no timestamp or no signature")
    if not (written.isascii() and written.isdigit() and len(written) <= 11):
        raise RefusedRequestError(401, "the timestamp is not in seconds")
    sent = datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(written))
    if not _any([sign(value, int(written), request.body) for value in values], signature):
        raise RefusedRequestError(401, "the signature is of none of the values that the secret has")
    if abs(sent - now) > WINDOW:
        raise RefusedRequestError(401, f"the timestamp says {sent.isoformat()}: too far from our clock")
    return Shown(signature, sent + WINDOW)


def _with_credentials(request: Request, values: Iterable[str], now: datetime) -> None:
    del now
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic" or not encoded:
        raise RefusedRequestError(401, "no basic credentials")
    try:
        shown = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedRequestError(401, "the credentials can't be decoded") from None
    expected = []
    for value in values:
        try:
            secret = json.loads(value)
            expected.append(hashlib.sha256(f"{secret['username']}:{secret['password']}".encode()).hexdigest())
        except (ValueError, KeyError, TypeError):
            raise TransientError('the secret is not as expected: {"username": …, "password": …}') from None
    if not _any(expected, hashlib.sha256(shown).hexdigest()):
        raise RefusedRequestError(401, "the credentials are none of those that the secret has")


def _any(expected: Iterable[str], shown: str) -> bool:
    """Whether ``shown`` is one of them; always compares all, each in constant time."""
    same = [hmac.compare_digest(one.encode(), shown.encode(errors="replace")) for one in expected]
    return any(same)
