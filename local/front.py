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
from local.server import ACCOUNT, REGION
from local.workmail import Emulator
from local.workmail.asgi import application as controls_of
from local.workmail.errors import ControlError

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type Application = Callable[[Message, Receive, Send], Awaitable[None]]
type Answer = tuple[int, dict[str, str], bytes]

RECEIVE: ContextVar[Receive] = ContextVar("receive")
"""The current request's ASGI channel, which MiniStack does not hand on to its services."""


def application(when_ready: Callable[[], None]) -> Application:
    """The ASGI application: `/_emulator/…` to the emulator's controls, `/_local/…` to ours, all else to MiniStack.

    `when_ready` is called when MiniStack has started.
    """
    emulator = Emulator(account=ACCOUNT, region=REGION)
    emulator.publish = publish
    register(emulator)
    controls = controls_of(emulator)

    async def front(scope: Message, receive: Receive, send: Send) -> None:
        async def tell_when_ready(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                when_ready()

        if scope["type"] == "lifespan":
            await ministack.app(scope, receive, tell_when_ready)
        elif scope["type"] == "http" and f"{scope['path']}/".startswith("/_emulator/"):
            await controls(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/_local/environments":
            await answer(send, *await start_environments(scope["query_string"].decode()))
        else:
            RECEIVE.set(receive)
            await ministack.app(scope, receive, send)

    return front


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
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Sequence[str]]
    ) -> Answer:
        receive = RECEIVE.get()

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        principal = iam_evaluator.caller_arn()
        return await emulator.handle(method, path, headers, body, query, principal=principal, gone=gone)

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
    """
    responses.set_request_account_id(ACCOUNT)
    responses.set_request_region(REGION)
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
    ControlError for a bus that there is not.
    bus = event.get("bus", "default")
    if bus not in eventbridge._event_buses:
        there = ", ".join(sorted(eventbridge._event_buses))
        raise ControlError(f"no event: bus is {bus!r:.100}; expected is the name of a bus that is there: {there}")
