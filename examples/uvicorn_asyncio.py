"""The same on asyncio: a producer and a memory channel of anyio, served by uvicorn.

Run ``python examples/uvicorn_asyncio.py``, then ``curl -N http://127.0.0.1:8000/``. Ctrl-C
ends the open streams: they learn from uvicorn that it shuts down.
``PORT=8001`` before the command for another port.
"""

import asyncio
import os
from itertools import count

import uvicorn
from anyio.streams.memory import MemoryObjectSendStream
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import EventSourceResponse, ServerSentEvent


async def ticks(send: MemoryObjectSendStream[ServerSentEvent]) -> None:
    for n in count(1):
        await send.send(ServerSentEvent(f"tick {n}", id=n))
        await asyncio.sleep(1)


async def stream(request: Request) -> EventSourceResponse:
    return EventSourceResponse(ticks)


app = Starlette(routes=[Route("/", stream)])

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    uvicorn.run(app, port=port)
