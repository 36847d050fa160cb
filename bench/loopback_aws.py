"""The services that a function calls, on one loopback port: WorkMail's emulator, and stubs of the others.

`python -m bench.loopback_aws` prints its URL and runs until it is ended. The stubs keep nothing and answer at once, as
an empty ledger, a queue and a bus do. A cold start's figure is thus the function's own.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local.workmail.asgi import Receive, Scope, Send, application
from local.workmail.emulator import Emulator

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework


def main() -> None:
    """Listen on a free port, print its URL, and serve until the process is ended."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.include_date_header = False
    config.keep_alive_max_requests = sys.maxsize
    config.loglevel = "ERROR"
    asyncio.run(serve(cast("ASGIFramework", _services()), config))


def _services() -> Callable[[Scope, Receive, Send], Any]:
    workmail = application(Emulator())

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        operation = headers.get(b"x-amz-target", b"").decode().partition(".")[2]
        if scope["type"] == "http" and operation in _STUBS:
            asked = b""
            while True:
                message = await receive()
                asked += message.get("body", b"")
                if not message.get("more_body", False):
                    break
            body = json.dumps(_STUBS[operation](asked)).encode()
            length = (b"content-length", str(len(body)).encode())
            await send({"type": "http.response.start", "status": 200, "headers": [length]})
            await send({"type": "http.response.body", "body": body})
        else:
            await workmail(scope, receive, send)

    return route


def _item(asked: bytes) -> Any:
    """Return a completed sweep. The ledger knows of nothing else."""
    completed = {"completed": {"S": datetime.now(UTC).isoformat(timespec="milliseconds")}, "table": {"S": "ledger"}}
    return {"Item": completed} if b'"sweep"' in asked else {}


_STUBS: dict[str, Callable[[bytes], Any]] = {
    "GetItem": _item,
    "DescribeTable": lambda _: {"Table": {"TableId": "ledger"}},
    "UpdateItem": lambda _: {"Attributes": {"version": {"N": "0"}}},
    "PutItem": lambda _: {},
    "Query": lambda _: {"Items": [], "Count": 0},
    "PutEvents": lambda _: {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]},
    "SendMessageBatch": lambda _: {"Successful": [{"Id": "0", "MessageId": "1", "MD5OfMessageBody": ""}], "Failed": []},
    "GetQueueAttributes": lambda _: {"Attributes": {"ApproximateNumberOfMessages": "0"}},
    "ChangeMessageVisibility": lambda _: {},
}


if __name__ == "__main__":
    main()
