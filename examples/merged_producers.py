"""Generators merged into one stream, and held back by its client. Hypercorn on trio.

Run ``python examples/merged_producers.py``, then ``curl -N http://127.0.0.1:8000/slow``: a
generator alone is a stream, made as it is taken. To have several in one stream each gets a task
that sends what it makes: ``curl -N http://127.0.0.1:8000/merged``. The channel between them and
the client is backpressure: with ``--limit-rate 20k`` the fast one makes what curl takes, and
``curl http://127.0.0.1:8000/made`` tells how much that is. ``PORT`` is the port.

Generators for what is one after the other; a channel for what happens at the same time.
"""

import os
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import count

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trio_sse import EventSourceResponse, ServerSentEvent
from trio_sse.hypercorn import serve

PADDING = "." * 1000

SendChannel = trio.MemorySendChannel[ServerSentEvent]

made: Counter[str] = Counter()


async def numbers(name: str, period: float) -> AsyncGenerator[ServerSentEvent]:
    for n in count(1):
        made[name] = n
        yield ServerSentEvent(f"{n} {PADDING}", event=name)
        await trio.sleep(period)


async def forward(events: AsyncGenerator[ServerSentEvent], send: SendChannel) -> None:
    async with send, aclosing(events):
        async for event in events:
            await send.send(event)  # waits until the one before is on its way


async def merge(send: SendChannel) -> None:
    async with send, trio.open_nursery() as nursery:
        nursery.start_soon(forward, numbers("fast", 0), send.clone())
        nursery.start_soon(forward, numbers("slow", 0.5), send.clone())


async def slow(request: Request) -> EventSourceResponse:
    return EventSourceResponse(numbers("slow", 0.5))


async def merged(request: Request) -> EventSourceResponse:
    return EventSourceResponse(merge, max_buffer_size=0)


async def show_made(request: Request) -> Response:
    return JSONResponse(made)


app = Starlette(routes=[Route("/slow", slow), Route("/merged", merged), Route("/made", show_made)])

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
