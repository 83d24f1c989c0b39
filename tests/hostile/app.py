"""What hostile clients ask for, on trio and on asyncio.

Each stream has a name. While it is open, ``/log`` says how far it got; when it is over, a
line of JSON on standard output says what became of it. The moments in both are of
``time.monotonic``, which all processes of one machine share.
"""

import asyncio
import gc
import json
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from trio_sse import CloseReason, DrainMiddleware, EventSourceResponse, ServerSentEvent

TICK = 0.1

KILOBYTE = ServerSentEvent("x" * 1000)
FAREWELL = ServerSentEvent("bye", event="bye")

Visit = dict[str, Any]
Producer = Callable[[Visit, Any], Awaitable[None]]

visits: dict[str, Visit] = {}
"""The streams that are open."""


async def flood(visit: Visit, send: Any) -> None:
    while True:
        await send.send(KILOBYTE)
        visit["progress"] = time.monotonic()


async def quiet(visit: Visit, send: Any) -> None:
    await send.send(str(os.getpid()))
    visit["progress"] = time.monotonic()
    await anyio.sleep_forever()


async def ticks(visit: Visit, send: Any) -> None:
    while True:
        await send.send("tick")
        visit["progress"] = time.monotonic()
        await anyio.sleep(TICK)


async def noted(producer: Producer, visit: Visit, send: Any) -> None:
    visit["started"] = time.monotonic()
    try:
        await producer(visit, send)
    finally:
        visit["cleaned up"] = time.monotonic()


def closed(name: str, reason: CloseReason) -> None:
    visit = visits.pop(name)
    over = {"name": name, **visit, "closed": time.monotonic(), "reason": reason.value}
    # In one piece: a server may be writing its log there, from another thread.
    os.write(1, f"{json.dumps(over)}\n".encode())


async def stream(producer: Producer, request: Request) -> EventSourceResponse:
    query = request.query_params
    visit = visits[query["name"]] = {}
    return EventSourceResponse(
        partial(noted, producer, visit),
        ping=float(query.get("ping", 0)),
        send_timeout=float(query["send_timeout"]) if "send_timeout" in query else None,
        farewell=FAREWELL,
        on_close=partial(closed, query["name"]),
    )


async def large(request: Request) -> Response:
    return Response(b"x" * int(request.query_params["size"]))


async def log(request: Request) -> JSONResponse:
    return JSONResponse(visits)


async def census(request: Request) -> JSONResponse:
    gc.collect()
    return JSONResponse(
        {
            "resident": count_pages(),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "tasks": count_tasks(),
        }
    )


def count_pages() -> int:
    """Return how many pages of memory are resident."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def count_tasks() -> int:
    if trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


class Between(BaseHTTPMiddleware):
    """Does nothing; but it is a task and a memory stream between the app and its server."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


streams: list[BaseRoute] = [
    Route(f"/{producer.__name__}", partial(stream, producer)) for producer in (flood, quiet, ticks)
]

app = Starlette(
    routes=[
        *streams,
        Mount("/behind", routes=streams, middleware=[Middleware(Between)]),
        Route("/large", large),
        Route("/log", log),
        Route("/census", census),
    ]
)

wrapped = DrainMiddleware(app)
