"""An app as it is written for sse-starlette; its tests change what it imports, and no more."""

import logging
from collections.abc import AsyncIterator

import anyio
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message

logging.basicConfig()

notes: list[str] = []


async def ticks(shutdown: anyio.Event) -> AsyncIterator[object]:
    try:
        yield ServerSentEvent("hello", event="greeting", id="1")
        yield {"data": "two\nlines", "id": "2"}
        await shutdown.wait()
        yield {"event": "farewell", "data": AppStatus.should_exit}
    finally:
        notes.append("cleaned up")


async def left(message: Message) -> None:
    notes.append(message["type"])


async def events(request: Request) -> EventSourceResponse:
    shutdown = anyio.Event()
    return EventSourceResponse(
        ticks(shutdown),
        headers={"X-Page": request.query_params.get("page", "")},
        ping=0.05,
        ping_message_factory=lambda: ServerSentEvent(comment="still here"),
        send_timeout=5,
        client_close_handler_callable=left,
        shutdown_event=shutdown,
        shutdown_grace_period=1,
        background=BackgroundTask(notes.append, "background"),
    )


async def stuck(request: Request) -> EventSourceResponse:
    return EventSourceResponse((b"x" * 65536 for _ in range(1000)), send_timeout=0.5)


async def log(request: Request) -> JSONResponse:
    return JSONResponse(notes)


app = Starlette(routes=[Route("/events", events), Route("/stuck", stuck), Route("/log", log)])
