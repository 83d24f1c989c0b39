"""The same on asyncio: a producer and a memory channel of anyio, served by uvicorn.

Run ``python examples/uvicorn_asyncio.py``, then ``curl -N http://127.0.0.1:8000/``. Ctrl-C
ends the open streams first: uvicorn by itself waits for them, and for ever.
``PORT=8001`` before the command for another port.
"""

import asyncio
import os
import socket
from contextlib import suppress
from itertools import count

import uvicorn
from anyio.streams.memory import MemoryObjectSendStream
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import EventSourceResponse, ServerSentEvent, drain


async def ticks(send: MemoryObjectSendStream[ServerSentEvent]) -> None:
    for n in count(1):
        await send.send(ServerSentEvent(f"tick {n}", id=n))
        await asyncio.sleep(1)


async def stream(request: Request) -> EventSourceResponse:
    return EventSourceResponse(ticks)


class Server(uvicorn.Server):
    """Drains before it shuts down; the shutdown of the app's lifespan would be too late."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down without streams to wait for."""
        await drain()
        await super().shutdown(sockets)


app = Starlette(routes=[Route("/", stream)])

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    # Only for responses that are no event streams, or whose client does not read.
    config = uvicorn.Config(app, port=port, timeout_graceful_shutdown=3)
    with suppress(KeyboardInterrupt):  # uvicorn repeats the signal that ended it
        Server(config).run()
