"""What stands before MiniStack: WorkMail registered as one more of its services, and the emulator's controls."""

# ruff: noqa: SLF001 - MiniStack has places for this, though not under public names

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

from local import environments
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
"""The current request's ASGI channel, which MiniStack does not hand on to its services."""


def application(when_ready: Callable[[], None]) -> Application:
    """The ASGI application: `/_emulator/…` to the emulator's controls, `/_local/…` to ours, all else to MiniStack.

    Ours are `/_local/environments`, and `/_local/held`: the names of the faults that hold a request now, as JSON.

    `when_ready` is called when MiniStack has started.
    """
    emulator = Emulator(account=ACCOUNT, region=REGION)
    emulator.publish = publish
    register(emulator)
    controls = workmail_application(emulator)
    holds = Holds(emulator)

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
            await answer(send, 200, json.dumps(holds.held))
        elif scope["type"] == "http":
            await holds.pass_on(scope, receive, send)
        else:
            await to_ministack(scope, receive, send)

    return front


async def to_ministack(scope: Message, receive: Receive, send: Send) -> None:
    """Let MiniStack answer, and its services see when their client is gone."""
    RECEIVE.set(receive)
    await ministack.app(scope, receive, send)


class Holds:
    """Requests to any service that the emulator's settings have held, by faults of the kind `hold`.

    `held` has the fault's name for each request that is held now: with `applied`, its effect is there already.
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
        body = await whole(receive)
        principal = iam_evaluator.request_caller_arn(headers)
        fault = next((each for each in faults if each.holds(target, principal, body.decode(errors="replace"))), None)
        if fault is None:
            await to_ministack(scope, replayed(body, receive), send)
            return
        if fault.effect == "applied":
            await to_ministack(scope, replayed(body, never), nowhere)
        self.held.append(fault.name)
        gone = await self._emulator.hold(lambda: disconnected(receive))
        self.held.remove(fault.name)
        if not gone:
            await answer(send, 503, "let go of by a reset of the emulator")
        elif fault.effect == "late":
            await to_ministack(scope, replayed(body, never), nowhere)


async def whole(receive: Receive) -> bytes:
    """The body of a request, as far as it comes."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body


def replayed(body: bytes, receive: Receive) -> Receive:
    """A channel that begins with a body that was read already."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


async def disconnected(receive: Receive) -> None:
    """Return once the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def never() -> Message:
    """A channel of a client that just waits."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def nowhere(message: Message) -> None:
    """Take an answer that nobody is to have."""


async def start_environments(query: str) -> tuple[int, str]:
    """Answer `/_local/environments?function=NAME&count=N`."""
    values = parse_qs(query)
    try:
        await asyncio.to_thread(environments.start, values["function"][0], int(values["count"][0]))
    except (LookupError, ValueError, RuntimeError) as error:
        return 400, str(error)
    return 200, ""


async def answer(send: Send, status: int, text: str) -> None:
    """Send a short answer in plain text."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})


def register(emulator: Emulator) -> None:
    """Make WorkMail a service that MiniStack routes to, and that IAM decides on by the caller's role."""
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
    """The ARN that a WorkMail request is about, `*` for one that names no organization.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonworkmail.html
    """
    try:
        organization = json.loads(body or b"{}").get("OrganizationId")
    except (ValueError, AttributeError):
        return "*"
    return f"arn:aws:workmail:{REGION}:{ACCOUNT}:organization/{organization}" if organization else "*"


def publish(event: Mapping[str, Any]) -> None:
    """Put an event on a bus, the default one or the one in its extra member `bus`, under any source.

    As AWS services and partners do: for clients, `PutEvents` refuses the sources that begin with `aws.`.
    ControlError for a bus that there is not.
    """
    responses.set_request_account_id(ACCOUNT)
    responses.set_request_region(REGION)
    bus = event.get("bus", "default")
    if bus not in eventbridge._event_buses:
        there = ", ".join(sorted(eventbridge._event_buses))
        raise ControlError(f"no event: bus is {bus!r:.100}; expected is the name of a bus that is there: {there}")
    iam_evaluator.pin_request_origin("127.0.0.1", True)  # else queues that insist on TLS refuse what rules deliver
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
