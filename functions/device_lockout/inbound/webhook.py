"""Webhooks: requests from senders who can only call a URL, authenticated and passed on to the bus.

:data:`device_lockout.values.webhook_schemes.SCHEMES` has the ways in which senders authenticate.
What an authentic sender sends is never only refused. A body that can't be read becomes an event of its own, which the
router rejects, so that people are told. The sender gets a 2xx then: it did its part, and senders that meet errors stop
sending.

A GET or HEAD with a good proof passes nothing on. Senders test the connection so. One who signs signs the empty body.
Without any proof it is nobody's guess: the doctor asks so whether the secret is as it should be.
"""

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from device_lockout.inbound import lenient_reading
from device_lockout.values import wire
from device_lockout.values.errors import TransientError, UnreadableError
from device_lockout.values.lean_dataclass import dataclass
from device_lockout.values.settings import UNREADABLE, Webhook
from device_lockout.values.webhook_schemes import HOUR, SCHEMES, Scheme

MAX_BYTES = 128 * 1024
"""The size limit of a body, unpacked, before and after it is cleaned. An event on the bus has room for 256 KiB."""
GZIP = b"\x1f\x8b"
"""How it begins where gzip packed it. No JSON does, and not every sender has the header that says so."""
SHORTEST_SECRET = 16  # Bytes of a key, a password or any other secret. A shorter one could be guessed.
REMEMBERED = HOUR  # How long a list, or a body that can't be read, is remembered. The same one again is a repetition.
DETAIL_TYPE = "Webhook"


class SecretsPort(Protocol):
    """:class:`device_lockout.aws.secret_store.SecretStore`."""

    def values(
        self, secret: str, now: datetime, *, previous_for: timedelta, refresh: bool = False
    ) -> tuple[str, ...]: ...


class LogPort(Protocol):
    """:class:`device_lockout.aws.webhook_log.WebhookLog`."""

    def begin(self, sender: str, key: str, until: datetime, now: datetime) -> bool: ...
    def finish(self, sender: str, key: str, until: datetime, *, passed: bool) -> None: ...


class EventPort(Protocol):
    """:class:`device_lockout.aws.event_bus.Bus`."""

    def put(self, source: str, detail_type: str, detail: dict[str, Any]) -> str: ...


class RefusedRequestError(Exception):
    """The request is not passed on. The caller learns only ``status``. The message is for our log.

    Attributes:
        status: The answer's HTTP status.
        known: Whether the request names a sender that we know.
    """

    def __init__(self, because: str, status: int = 401, *, known: bool = True) -> None:
        super().__init__(because)
        self.status = status
        self.known = known


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the function's URL."""

    method: str
    sender: str  # The path of the URL, which is the sender's name in the configuration.
    headers: Mapping[str, str]  # The headers, with names in lower case.
    body: bytes  # The body as it was sent.


@dataclass(frozen=True, slots=True)
class Answer:
    """What an authentic request is answered."""

    status: int  # The HTTP status.
    body: str = ""  # JSON, or empty.
    event_ids: tuple[str, ...] = ()  # The IDs of the events that were passed on. A repetition has none.


@dataclass(frozen=True, slots=True)
class Repetition:
    """How a repetition of a request is known, and until when."""

    key: str
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
        raise RefusedRequestError(f"the body can't be decoded: {error}", 400, known=False) from error
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    return Request(http["method"], event.get("rawPath", "").strip("/"), headers, raw)


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

    def accept(self, request: Request, now: datetime) -> Answer:
        """Pass a request on to the bus. A list makes one event of each element.

        Each element is remembered by itself. So a sender whose call failed halfway repeats it, and nothing comes twice.
        After a crash one event may come twice. So may what has no signature: if all of it was passed on, the same again
        is another report.

        Raises:
            RefusedRequestError: The request is not authentic.
            TransientError: The request can't be passed on now. The sender may repeat it unchanged.
        """
        webhook = self.webhooks.get(request.sender)
        if webhook is None:
            raise RefusedRequestError("no such sender", known=False)
        secret_values = partial(self.secrets.values, webhook.secret, now, previous_for=webhook.accept_previous_for)
        try:
            repetition = authenticate(request, webhook, secret_values(), now)
        except RefusedRequestError:
            repetition = authenticate(request, webhook, secret_values(refresh=True), now)
        if request.method in ("GET", "HEAD"):
            challenge = request.headers.get(SCHEMES[webhook.authenticate].challenge)
            return Answer(200, "" if challenge is None else wire.compact({"verification": challenge}))
        source, of_body = webhook.source, Repetition(_sha256(request.body), now + REMEMBERED)
        try:
            parts = details(request.body, webhook.at_most)
            signed = repetition is not None
            repetition = repetition if len(parts) == 1 else of_body
        except UnreadableError as error:
            source, repetition, signed = source + UNREADABLE, of_body, True
            size = f"{len(request.body)} bytes (SHA-256 {of_body.key})"
            parts = [{"because": f"the webhook sender {webhook.name} sent {size} that were not taken: {error}"}]
        puts = [partial(self.bus.put, source, DETAIL_TYPE, part) for part in parts]
        if repetition is None:
            return Answer(202, event_ids=tuple(put() for put in puts))
        once = partial(self._once, webhook.name, repetition, now)
        event_ids = tuple(filter(None, [once(number, put) for number, put in enumerate(puts)]))
        if not signed:
            for number in range(len(puts)):
                self.log.finish(webhook.name, f"{repetition.key}#{number}", repetition.until, passed=False)
        return Answer(202, event_ids=event_ids)

    def _once(self, sender: str, repetition: Repetition, now: datetime, number: int, put: Callable[[], str]) -> str:
        """Put an event on the bus, and return its ID. Return an empty text if it was passed on before."""
        key, until = f"{repetition.key}#{number}", repetition.until
        if not self.log.begin(sender, key, until, now):
            return ""
        passed = False
        try:
            event_id = put()
            passed = True
        finally:
            self.log.finish(sender, key, until, passed=passed)
        return event_id


def authenticate(request: Request, webhook: Webhook, values: Iterable[str], now: datetime) -> Repetition | None:
    """Return how a repetition of this request is known, or None if it can be replayed.

    Raises:
        RefusedRequestError: It has no proof made of one of the secret's ``values``, or an old one.
        TransientError: The secret is not as the sender's scheme needs it.
    """
    scheme = SCHEMES[webhook.authenticate]
    header = scheme.header or webhook.header.lower()
    given, time = (request.headers.get(name, "") for name in (header, scheme.timestamp))
    signed = scheme.signed % {b"time": time.encode(errors="replace"), b"body": request.body}
    expected = [_sha256(proof(scheme, value, signed).encode()) for value in values]
    if not given:
        raise RefusedRequestError(f"no header {header}", known=request.method not in ("GET", "HEAD"))
    # A sender that rotates its key signs with both. Hashes are compared: the time tells nothing, not even a length.
    start = len(scheme.prefix)
    candidates = [each.strip() for each in (given.split(",") if scheme.signed else [given])]
    found = [_sha256((each[:start].lower() + each[start:]).encode(errors="replace")) for each in candidates]
    same = [hmac.compare_digest(one, other) for one in expected for other in found]
    if not any(same):
        raise RefusedRequestError(f"{header} is made of none of the values that the secret has")
    if not scheme.signed:
        return None
    sent = lenient_reading.read_time(time) if scheme.timestamp else now
    if sent is None or abs(sent - now) > scheme.window:
        raise RefusedRequestError(f"{scheme.timestamp} says {time[:40]!r}: expected a time near {now.isoformat()}")
    return Repetition(_sha256(signed), sent + scheme.window)


def proof(scheme: Scheme, value: str, signed: bytes) -> str:
    """Return the header that a sender makes of a secret's value, its prefix in lower case.

    >>> proof(SCHEMES["hmac"], "key of 16 bytes!", b'1795338000.{"a":1}')
    'sha256=860818e353498b33c652cd34453682750e645135c2511a9d4e32f29d306908f4'

    Raises:
        TransientError: The value is not as the scheme needs it.
    """
    key = password = value.encode()
    if scheme.proof == "login":
        try:
            login = json.loads(value)
            password = login["password"].encode() if login["username"] else b""
            key = f"{login['username']}:".encode() + password
        except (AttributeError, ValueError, KeyError, TypeError):
            raise TransientError('the secret is not as expected: {"username": …, "password": …}') from None
    if len(password) < SHORTEST_SECRET:
        raise TransientError(f"the secret has less than {SHORTEST_SECRET} bytes, or no user name")
    match scheme.proof:
        case "plain":
            return scheme.prefix + value
        case "login":
            return scheme.prefix + base64.b64encode(key).decode()
        case "hex":
            return scheme.prefix + hmac.digest(key, signed, "sha256").hex()
        case "base64":
            return scheme.prefix + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def details(body: bytes, at_most: int) -> list[dict[str, Any]]:
    """Return the details of the events that a body makes: a JSON object, or those in an array or in lines of JSON.

    Raises:
        UnreadableError: The body can't be read, or has too much. The message has no text of the sender's.
    """
    if body.startswith(GZIP):
        body = unpacked(body)
    _check_size(body)
    try:
        found = _json(body)
    except (ValueError, RecursionError):
        raise UnreadableError("expected JSON") from None
    parts = found if isinstance(found, list) else [found]
    if not all(isinstance(part, dict) for part in parts):
        raise UnreadableError("expected a JSON object, or a list of nothing else")
    if not 1 <= len(parts) <= at_most:
        raise UnreadableError(f"{len(parts)} JSON objects: expected 1 to {at_most}")
    return parts


def _json(body: bytes) -> Any:
    """Return the value of a JSON text, or those of its lines.

    NaN and numbers too large for a float are refused: JSON has no word for them. JSON can spell halves of surrogate
    pairs, which the bus does not take. They become question marks.
    """
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = [json.loads(line) for line in text.split("\n") if line.strip()]
    clean = wire.compact(found).encode(errors="replace")
    _check_size(clean)
    return json.loads(clean)


def unpacked(body: bytes) -> bytes:
    """Return what gzip packed, but no more than one byte over the limit.

    Raises:
        UnreadableError: It is not one gzip, and whole.
    """
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        whole = unpacking.decompress(body, MAX_BYTES + 1)
    except zlib.error:
        whole = b""
    if len(whole) <= MAX_BYTES and (not unpacking.eof or unpacking.unused_data):
        raise UnreadableError("expected one whole gzip")
    return whole


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BYTES:
        raise UnreadableError(f"expected at most {MAX_BYTES} bytes of JSON")


def _sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
