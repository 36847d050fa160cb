"""The front of MiniStack: the emulator's controls, and WorkMail as one more service.

It also holds requests to any service, for faults of the kind `hold`.
"""

# ruff: noqa: SLF001 - MiniStack has no public names for this

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from ministack import app as ministack
from ministack.core import iam_actions, iam_evaluator, responses, router
from ministack.services import eventbridge

from local import lambda_environments
from local.account import ACCOUNT, REGION
from local.workmail import Emulator
from local.workmail.asgi import application as workmail_application
from local.workmail.controls import is_control
from local.workmail.errors import ControlError
from local.workmail.protocol import Response

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type Application = Callable[[Message, Receive, Send], Awaitable[None]]

RECEIVE: ContextVar[Receive] = ContextVar("receive")
"""The ASGI channel of the current request. MiniStack does not pass it to its services."""


def application(when_ready: Callable[[], None]) -> Application:
    """Return the ASGI application. It calls `when_ready` once MiniStack has started.

    - `/_emulator/…` are the emulator's controls.
    - `/_local/environments` starts environments of a function.
    - `/_local/held` returns the names of the faults that hold a request now, as JSON.
    - Everything else goes to MiniStack.
    """
    emulator = Emulator(account=ACCOUNT, region=REGION)
    emulator.publish = publish
    register(emulator)
    controls = workmail_application(emulator)
    requests = HeldRequests(emulator)

    async def front(scope: Message, receive: Receive, send: Send) -> None:
        async def tell_when_ready(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                when_ready()

        if scope["type"] == "lifespan":
            await ministack.app(scope, receive, tell_when_ready)
        elif scope["type"] == "http" and is_control(scope["path"]):
            await controls(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/_local/environments":
            await answer(send, *await start_environments(scope["query_string"].decode()))
        elif scope["type"] == "http" and scope["path"] == "/_local/held":
            await answer(send, 200, json.dumps(requests.held))
        elif scope["type"] == "http":
            await requests.pass_on(scope, receive, send)
        else:
            await to_ministack(scope, receive, send)

    return front


async def to_ministack(scope: Message, receive: Receive, send: Send) -> None:
    """Let MiniStack answer, and let WorkMail see when its client is gone."""
    RECEIVE.set(receive)
    await ministack.app(scope, receive, send)


class HeldRequests:
    """Holds requests to any service, as the emulator's faults of the kind `hold` say.

    `held` has the fault's name for each request that is held now. An effect `applied` is done by then.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.held: list[str] = []
        self._emulator = emulator

    async def pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on to MiniStack, or hold it."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        target = headers.get("x-amz-target")
        faults = [fault for fault in self._emulator.settings.faults.values() if fault.kind == "hold"]
        if not faults or target is None:
            await to_ministack(scope, receive, send)
            return
        body = await read_body(receive)
        principal = iam_evaluator.request_caller_arn(headers)
        fault = next((each for each in faults if each.holds(target, principal, body.decode(errors="replace"))), None)
        if fault is None:
            await to_ministack(scope, replay(body, receive), send)
            return
        if fault.effect == "applied":
            await to_ministack(scope, replay(body, wait_forever), discard)
        self.held.append(fault.name)
        gone = await self._emulator.hold(lambda: disconnected(receive))
        self.held.remove(fault.name)
        if not gone:
            await answer(send, 503, "released by a reset of the emulator")
        elif fault.effect == "late":
            await to_ministack(scope, replay(body, wait_forever), discard)


async def read_body(receive: Receive) -> bytes:
    """Return the body of a request, up to a disconnect."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a channel that begins with a body that was already read."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


async def disconnected(receive: Receive) -> None:
    """Return once the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def wait_forever() -> Message:
    """Stand for the channel of a client that just waits."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def discard(message: Message) -> None:
    """Drop a part of an answer."""


async def start_environments(query: str) -> tuple[int, str]:
    """Answer `/_local/environments?function=NAME&count=N` with a status and a text."""
    values = parse_qs(query)
    try:
        await asyncio.to_thread(lambda_environments.start, values["function"][0], int(values["count"][0]))
    except (LookupError, ValueError, RuntimeError) as error:
        return 400, str(error)
    return 200, ""


async def answer(send: Send, status: int, text: str) -> None:
    """Send a short answer in plain text."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})


def register(emulator: Emulator) -> None:
    """Make WorkMail a service that MiniStack routes to and that its IAM protects."""
    original = iam_actions.extract_resource_arn

    def resource_arn(service: str, method: str, path: str, headers: Mapping[str, str], body: bytes, *rest: Any) -> str:
        if service == "workmail":
            return organization_arn(body)
        return str(original(service, method, path, headers, body, *rest))

    async def handle(
        _method: str, _path: str, headers: Mapping[str, str], body: bytes, _query: Mapping[str, Sequence[str]]
    ) -> Response:
        receive = RECEIVE.get()
        principal = iam_evaluator.caller_arn()
        return await emulator.handle(headers, body, principal=principal, gone=lambda: disconnected(receive))

    ministack.SERVICE_HANDLERS["workmail"] = handle
    router.SERVICE_PATTERNS["workmail"] = {"target_prefixes": ["WorkMailService."]}
    iam_actions.SERVICE_TO_IAM_NAMESPACE["workmail"] = "workmail"
    iam_actions.extract_resource_arn = resource_arn


def organization_arn(body: bytes) -> str:
    """Return the ARN of a WorkMail request's organization, `*` if the request has none.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonworkmail.html
    """
    try:
        organization = json.loads(body or b"{}").get("OrganizationId")
    except (ValueError, AttributeError):
        return "*"
    return f"arn:aws:workmail:{REGION}:{ACCOUNT}:organization/{organization}" if organization else "*"


def publish(event: Mapping[str, Any]) -> None:
    """Put an event on the default bus, or on the bus in its extra member `bus`.

    The source can be any, as for AWS services and partners. `PutEvents` refuses `aws.…` from clients.
    Raises ControlError for an unknown bus.
    """
    responses.set_request_account_id(ACCOUNT)
    responses.set_request_region(REGION)
    bus = event.get("bus", "default")
    if bus not in eventbridge._event_buses:
        known = ", ".join(sorted(eventbridge._event_buses))
        raise ControlError(f"no event was put: bus is {bus!r:.100}; expected one of {known}")
    iam_evaluator.pin_request_origin("127.0.0.1", True)  # queues that insist on TLS would refuse a rule's delivery
    record = {
        "EventId": event["id"],
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Detail": json.dumps(event["detail"]),
        "EventBusName": bus,
        "Time": int(datetime.fromisoformat(event["time"]).timestamp()),
        "Resources": event["resources"],
        "Account": event["account"],
        "Region": event["region"],
    }
    eventbridge._dispatch_event(record)
    eventbridge._archive_event(record)
