"""Run the emulator alone, over plain HTTP on the loopback interface: `python -m local.workmail --port N`."""

import argparse
import asyncio
import logging
import signal
import socket
import sys
from typing import TYPE_CHECKING, cast

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local.workmail.asgi import application
from local.workmail.emulator import Emulator

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework


def main() -> None:
    """Serve until SIGTERM or Ctrl-C. The first line of output is the URL, printed once connections are accepted."""
    parser = argparse.ArgumentParser(prog="python -m local.workmail", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one (default)")
    port = parser.parse_args().port
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    except (OSError, OverflowError) as error:
        parser.error(f"--port {port}: {error}; expected a free port, 0 to 65535")
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    asyncio.run(_serve(listener.detach()))


async def _serve(listening: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    config = Config()
    config.bind = [f"fd://{listening}"]
    config.include_date_header = False  # the emulator's own has the skew of the settings
    config.keep_alive_timeout = 300
    config.keep_alive_max_requests = sys.maxsize
    config.graceful_timeout = 0.2
    config.loglevel = "WARNING"
    await serve(cast("ASGIFramework", application(Emulator())), config, shutdown_trigger=stop.wait)


if __name__ == "__main__":
    main()
