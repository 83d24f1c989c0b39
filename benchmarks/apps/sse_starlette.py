"""Streams of sse-starlette."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from ._control import Controlled
from ._events import FIRST, REST, stream_texts, texts
from ._queues import Queue, Queues
from ._runtime import checkpoint, open_memory_channel


@dataclass
class BroadcastStream:
    """The stream of its example of broadcasting, which asks for a disconnect before each event."""

    request: Request
    queue: Queue

    def __aiter__(self) -> "BroadcastStream":
        """Iterate over what is broadcast."""
        return self

    async def __anext__(self) -> ServerSentEvent:
        """Return the next event."""
        if await self.request.is_disconnected():
            raise StopAsyncIteration
        event = await self.queue.get()
        if event is None:
            raise StopAsyncIteration
        return event


async def stream(request: Request) -> EventSourceResponse:
    """Stream from one task."""
    count, paced = int(request.query_params["n"]), request.path_params["pace"] == "paced"

    async def fill(send: Any) -> None:
        async with send:
            for number in range(FIRST, FIRST + count):
                await send.send(f"{number}{REST}")
                if paced:
                    await checkpoint()

    if request.path_params["variant"] == "generator":
        return EventSourceResponse(stream_texts(paced, count))
    send, receive = open_memory_channel[Any](10)
    return EventSourceResponse(receive, data_sender_callable=partial(fill, send))


async def fan_out(request: Request) -> EventSourceResponse:
    """Stream what is published."""

    async def broadcast() -> AsyncIterator[ServerSentEvent]:
        with request.scope["audience"].queue() as queue:
            async for event in BroadcastStream(request, queue):
                yield event

    async def queued() -> AsyncIterator[ServerSentEvent]:
        with request.scope["audience"].queue() as queue:
            async for event in queue:
                yield event

    return EventSourceResponse(
        broadcast() if request.path_params["variant"] == "broadcast" else queued()
    )


async def idle(request: Request) -> EventSourceResponse:
    """Stream one event, and pings."""

    async def one() -> AsyncIterator[str]:
        yield texts(1)[0]
        await anyio.sleep_forever()

    return EventSourceResponse(one(), ping=float(request.query_params["ping"]))


routes = [
    Route("/fanout/{variant:str}", fan_out),
    Route("/{pace:str}/{variant:str}", stream),
    Route("/idle", idle),
]
app = Controlled(Starlette(routes=routes), Queues(ServerSentEvent).open, "sse_starlette")
