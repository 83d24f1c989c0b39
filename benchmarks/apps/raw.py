"""Streams without any library: what ASGI itself costs, one event a message or what is ready."""

from typing import Any
from urllib.parse import parse_qs

import anyio

from ._control import Controlled
from ._events import FIRST, REST, texts
from ._queues import EMPTY, Queues
from ._runtime import checkpoint, open_nursery

PING = b": ping\r\n\r\n"
JOINED = 64
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}
END = {"type": "http.response.body", "body": b"", "more_body": False}


def encode(text: str) -> bytes:
    """Return an event."""
    return f"data: {text}\r\n\r\n".encode()


def body(chunk: bytes) -> dict[str, Any]:
    """Return a message."""
    return {"type": "http.response.body", "body": chunk, "more_body": True}


async def stream(send: Any, count: int, paced: bool) -> None:
    """Stream one by one."""
    for number in range(FIRST, FIRST + count):
        await send(body(encode(f"{number}{REST}")))
        if paced:
            await checkpoint()


async def stream_joined(send: Any, count: int) -> None:
    """Stream as if so many events were ready each time."""
    for first in range(FIRST, FIRST + count, JOINED):
        numbers = range(first, min(first + JOINED, FIRST + count))
        await send(body(b"".join([encode(f"{number}{REST}") for number in numbers])))


async def fan_out(send: Any, queue: Any) -> None:
    """Stream what is published, one by one."""
    async for chunk in queue:
        await send(body(chunk))


async def fan_out_joined(send: Any, queue: Any) -> None:
    """Stream what is published: what is ready of it, joined."""
    while (chunk := await queue.get()) is not None:
        chunks = [chunk]
        try:
            while len(chunks) < JOINED and (chunk := queue.get_nowait()) is not None:
                chunks.append(chunk)
        except EMPTY:
            pass
        await send(body(b"".join(chunks)))
        if chunk is None:
            return


async def idle(receive: Any, send: Any, ping: float) -> None:
    """Stream one event, and pings until the client leaves, which takes a task to hear of."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        nursery.cancel_scope.cancel()

    async with open_nursery() as nursery:
        nursery.start_soon(watch)
        await send(body(encode(texts(1)[0])))
        while True:
            await anyio.sleep(ping)
            await send(body(PING))


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """Serve a stream."""
    query = parse_qs(scope["query_string"].decode())
    await send(START)
    match scope["path"].strip("/").split("/"):
        case ["idle"]:
            await idle(receive, send, float(query["ping"][0]))
            return  # there is nobody left to be sent the end
        case ["fanout", variant]:
            with scope["audience"].queue() as queue:
                await (fan_out_joined if variant == "joined" else fan_out)(send, queue)
        case [_, "joined"]:
            await stream_joined(send, int(query["n"][0]))
        case [pace, _]:
            await stream(send, int(query["n"][0]), pace == "paced")
    await send(END)


app = Controlled(serve, Queues(encode).open, "benchmarks")
