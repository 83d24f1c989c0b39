"""The types of the names of sse-starlette, as its users meet them."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import anyio
import trio
from anyio.streams.memory import MemoryObjectReceiveStream
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

import trio_sse
from trio_sse.compat import (
    AppStatus,
    EventSourceResponse,
    JSONServerSentEvent,
    SendTimeoutError,
    ServerSentEvent,
    ensure_bytes,
    install_as_sse_starlette,
)


async def generate() -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent("x")


async def generate_dicts() -> AsyncIterator[dict[str, str]]:
    yield {"data": "x"}


def generate_sync() -> Iterator[str]:
    yield "x"


async def produce(send: trio.MemorySendChannel[str]) -> None: ...


async def left(message: Message) -> None: ...


def not_async(message: Message) -> None: ...


async def fill() -> None: ...


def events() -> None:
    event = ServerSentEvent({"any": "thing"}, event="a", id="1", retry=5, comment="c", sep="\n")
    assert_type(event.encode(), bytes)
    assert_type(event.data, Any)
    assert_type(event.id, str | None)
    event.retry = 10
    assert_type(JSONServerSentEvent([1], event="a").encode(), bytes)
    assert_type(ensure_bytes({"data": 1}, "\n"), bytes)

    ServerSentEvent("x", id=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ServerSentEvent("x", "event")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    event.encode("\n")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    event.retry = "10"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    ensure_bytes("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def endpoint(
    request: Request,
    channel: MemoryObjectReceiveStream[str],
    trio_channel: trio.MemoryReceiveChannel[str],
) -> EventSourceResponse:
    EventSourceResponse(generate_dicts(), 201, {"X-A": "b"}, "text/event-stream", None, 5)
    EventSourceResponse(generate_sync(), ping=0.5, sep="\n")
    EventSourceResponse(["a", {"data": "b"}], ping_message_factory=lambda: ServerSentEvent("p"))
    EventSourceResponse(channel, data_sender_callable=fill, send_timeout=5)
    EventSourceResponse(trio_channel, shutdown_event=trio.Event(), cleanup_timeout=None)

    EventSourceResponse()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    EventSourceResponse(produce)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventSourceResponse(generate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventSourceResponse([], ping="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventSourceResponse([], client_close_handler_callable=not_async)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventSourceResponse([], on_close=left)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    response = EventSourceResponse(
        generate(),
        background=BackgroundTask(fill),
        client_close_handler_callable=left,
        shutdown_event=anyio.Event(),
        shutdown_grace_period=1.5,
    )
    assert_type(response.ping_interval, float)
    assert_type(response.active, bool)
    response.ping_interval = 5
    response.body_iterator = generate()
    as_response: Response = response

    response.ping_interval = "5"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    native: trio_sse.EventSourceResponse = response  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del as_response, native
    return response


def leaving() -> None:
    assert_type(AppStatus.should_exit, bool)
    AppStatus.should_exit = True
    AppStatus.original_handler = print
    AppStatus.handle_exit(15, None)
    AppStatus.disable_automatic_graceful_drain()
    AppStatus.enable_automatic_graceful_drain_mode()
    AppStatus.should_exit_event = None

    AppStatus.should_exit = "yes"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


def rest() -> None:
    error: TimeoutError = SendTimeoutError("slow")
    native: type[trio_sse.SendTimeoutError] = SendTimeoutError
    install_as_sse_starlette()
    raise error from native()
