"""The emulator and its controls as an ASGI application."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from local.workmail import controls
from local.workmail.emulator import Emulator

type Scope = MutableMapping[str, Any]
type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def application(emulator: Emulator) -> Application:
    """Return an application that passes `/_emulator/…` to the controls and all else to the API."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _http(emulator, scope, receive, send)

    return serve


async def _http(emulator: Emulator, scope: Scope, receive: Receive, send: Send) -> None:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    body = b"".join(chunks)

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    if controls.is_control(scope["path"]):
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        response = await controls.handle(emulator, scope["method"], scope["path"], body, query)
    else:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        response = await emulator.handle(headers, body, gone=gone)
    status, sent, content = response
    lines = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    lines.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": content})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
