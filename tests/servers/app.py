"""The app that every server of the matrix serves, on trio and on asyncio.

A stream is opened with a name (``/stream/<kind>?name=...``) and does what it is told by
orders (``POST /order?name=...``), one at a time. So a test sees each event before the
next one can exist, and needs no clock. What became of a stream is read from ``/log``.
"""

import asyncio
import gc
import os
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from types import CoroutineType
from typing import Any

import anyio
import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import trio_sse
from trio_sse import CloseReason, EventSourceResponse, ServerSentEvent

END = "end"
FAIL = "fail"
LAST_WORDS = "last words"

# A thread cannot be cancelled, so an iterator that blocks looks up now and then.
LOOK_UP = 0.02

FINITE = (
    ServerSentEvent("one", id=1),
    ServerSentEvent("two\nlines", event="pair", id=2, retry=1500),
    "text \N{SNOWMAN}",
    {"data": "a dict", "event": "mapping"},
    b": raw bytes\r\n\r\n",
    ServerSentEvent(comment="a comment"),
    4,
)


class ToldToFail(Exception):
    pass


class Visit:
    """One stream: the orders it is given, and notes of what became of it."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.sync_orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._send, self._orders = anyio.create_memory_object_stream[str](float("inf"))

    def order(self, text: str) -> None:
        self.sync_orders.put(text)
        self._send.send_nowait(text)

    async def next_order(self) -> str:
        return await self._orders.receive()

    def closed(self, reason: CloseReason) -> None:
        self.notes.append(reason.value)
        self._send.close()
        self._orders.close()


visits: dict[str, Visit] = {}

Send = Callable[[str], Any]


async def obey(visit: Visit, send: Send) -> None:
    """Send what is ordered until told to end."""
    visit.notes.append("started")
    try:
        while (order := await visit.next_order()) != END:
            if order == FAIL:
                await send(LAST_WORDS)
                raise ToldToFail
            await send(order)
    finally:
        visit.notes.append("cleaned up")


async def produce(visit: Visit, send: Any) -> None:
    await obey(visit, send.send)


async def generate(visit: Visit) -> AsyncIterator[str]:
    visit.notes.append("started")
    try:
        while (order := await visit.next_order()) != END:
            if order == FAIL:
                yield LAST_WORDS
                raise ToldToFail
            yield order
    finally:
        visit.notes.append("cleaned up")


def iterate(visit: Visit) -> Iterator[str | bytes]:
    visit.notes.append("started")
    try:
        while True:
            try:
                order = visit.sync_orders.get(timeout=LOOK_UP)
            except queue.Empty:
                yield b""
                continue
            if order == END:
                return
            if order == FAIL:
                yield LAST_WORDS
                raise ToldToFail
            yield order
    finally:
        visit.notes.append("cleaned up")


async def fill(visit: Visit, send: MemoryObjectSendStream[str]) -> None:
    async with send:
        await obey(visit, send.send)


def handed_in(visit: Visit) -> EventSourceResponse:
    send, receive = anyio.create_memory_object_stream[str](0)

    def closed(reason: CloseReason) -> None:
        if not receive.statistics().open_receive_streams:
            visit.notes.append("channel closed")
        send.close()  # a stream that was never started has not called fill()
        visit.closed(reason)

    return EventSourceResponse(
        receive, data_sender_callable=partial(fill, visit, send), on_close=closed
    )


async def stream(request: Request) -> EventSourceResponse:
    visit = visits[request.query_params["name"]] = Visit()
    kind = request.path_params["kind"]
    if kind == "channel":
        return handed_in(visit)
    make: dict[str, Callable[[Visit], Any]] = {
        "producer": partial(partial, produce),
        "generator": generate,
        "iterator": iterate,
    }
    return EventSourceResponse(make[kind](visit), on_close=visit.closed)


async def finite(request: Request) -> EventSourceResponse:
    content: Any = {
        "producer": send_finite,
        "generator": generate_finite(),
        "iterator": FINITE,
        "channel": full_channel(),
    }[request.path_params["kind"]]
    return EventSourceResponse(content, ping=0)


async def send_finite(send: Any) -> None:
    for item in FINITE:
        await send.send(item)


async def generate_finite() -> AsyncIterator[object]:
    for item in FINITE:
        yield item


def full_channel() -> MemoryObjectReceiveStream[object]:
    send, receive = anyio.create_memory_object_stream[object](len(FINITE))
    with send:
        for item in FINITE:
            send.send_nowait(item)
    return receive


async def order(request: Request) -> Response:
    visits[request.query_params["name"]].order((await request.body()).decode())
    return Response(status_code=204)


async def log(request: Request) -> JSONResponse:
    return JSONResponse({name: visit.notes for name, visit in visits.items()})


def count_tasks() -> int:
    if trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


def count_descriptors() -> int:
    directory = Path("/proc/self/fd")
    return len(os.listdir(directory)) if directory.exists() else 0


def is_ours(thing: object) -> bool:
    """Tell instances of the package's classes, and its coroutines that have not ended."""
    if type(thing) is CoroutineType:
        return thing.cr_code.co_filename.startswith(str(Path(trio_sse.__file__).parent))
    return str(type(thing).__module__).partition(".")[0] == "trio_sse"


async def census(request: Request) -> JSONResponse:
    gc.collect()
    return JSONResponse(
        {
            "tasks": count_tasks(),
            "descriptors": count_descriptors(),
            "objects": sum(map(is_ours, gc.get_objects())),
        }
    )


app = Starlette(
    routes=[
        Route("/stream/{kind}", stream),
        Route("/finite/{kind}", finite),
        Route("/order", order, methods=["POST"]),
        Route("/log", log),
        Route("/census", census),
    ]
)
