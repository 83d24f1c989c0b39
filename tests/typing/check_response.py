"""The types of the response, draining and instruments, as users meet them."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, assert_type

import trio
from anyio import CapacityLimiter
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from trio_sse import (
    CloseReason,
    ConnectionLimit,
    Draining,
    EventSourceResponse,
    Instrument,
    LimitStatistics,
    ServerSentEvent,
    Subscription,
    drain,
    draining,
    is_draining,
)


async def on_trio(send: trio.MemorySendChannel[ServerSentEvent]) -> None:
    await send.send(ServerSentEvent("x"))


async def on_asyncio(send: MemoryObjectSendStream[str]) -> int:
    await send.send("x")
    return 1


async def preflighted(
    send: trio.MemorySendChannel[str], *, task_status: trio.TaskStatus[None]
) -> None:
    task_status.started()


async def generate() -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent("x")


def generate_sync() -> Iterator[str]:
    yield "x"


def not_async(send: object) -> int:
    return 1


async def ping() -> ServerSentEvent:
    return ServerSentEvent(comment="ping")


async def on_close(reason: CloseReason) -> None:
    assert_type(reason, CloseReason)


def contents(
    trio_channel: trio.MemoryReceiveChannel[str],
    anyio_channel: MemoryObjectReceiveStream[str],
    subscription: Subscription,
) -> None:
    EventSourceResponse(on_trio)
    EventSourceResponse(on_asyncio)
    EventSourceResponse(preflighted, preflight=True)
    EventSourceResponse(generate())
    EventSourceResponse(generate_sync())
    EventSourceResponse(["a", ServerSentEvent("b"), {"data": "c"}, b"data: d\n\n"])
    EventSourceResponse(trio_channel)
    EventSourceResponse(anyio_channel)
    EventSourceResponse(subscription)


def wrong_contents() -> None:
    EventSourceResponse()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    EventSourceResponse(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventSourceResponse(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventSourceResponse(not_async)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventSourceResponse(generate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def endpoint(request: Request) -> Response:
    return EventSourceResponse(
        on_trio,
        200,
        {"x-a": "1"},
        ping=0.5,
        ping_message_factory=ping,
        on_close=on_close,
        sync_limit=CapacityLimiter(5),
        headers=None,  # type: ignore[misc]  # pyright: ignore[reportCallIssue]
    )


def options() -> None:
    EventSourceResponse(on_trio, headers=[(b"x-a", "1")], on_close=print, instrument=Counting())
    EventSourceResponse(on_trio, ping_message_factory=lambda: ServerSentEvent("x"))
    EventSourceResponse(on_trio, None, None, "text/x", None, 15)  # type: ignore[call-arg,arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    EventSourceResponse(on_trio, ping="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventSourceResponse(on_trio, farewell="bye")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Counting(Instrument):
    def sent(self, scope: Mapping[str, Any], size: int, /) -> None:
        assert_type(size, int)


async def leaving() -> None:
    assert_type(draining(), Draining)
    assert_type(draining().is_set(), bool)
    assert_type(is_draining(), bool)
    await draining().wait()
    await drain()
    await drain(grace=2)
    await drain(2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def refuse(scope: Mapping[str, Any]) -> Exception | None:
    return HTTPException(429) if scope["path"] == "/" else None


def refuse_always(scope: Mapping[str, Any]) -> HTTPException:
    return HTTPException(429)


def refuse_by_a_response(scope: Mapping[str, Any]) -> Response:
    return Response(status_code=429)


async def refuse_later(scope: Mapping[str, Any]) -> None:
    return None


def limits(limit: ConnectionLimit) -> None:
    ConnectionLimit(total=5)
    ConnectionLimit(per_key=5, total=None)
    ConnectionLimit(total=5, per_key=5, retry=1000, refusal="auto")
    ConnectionLimit(total=5, refusal="event")
    ConnectionLimit(total=5, refusal="error")
    ConnectionLimit(total=5, refusal=refuse)
    ConnectionLimit(total=5, refusal=refuse_always)
    ConnectionLimit(total=5, refusal=lambda scope: None)

    ConnectionLimit(5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ConnectionLimit(total="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ConnectionLimit(total=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ConnectionLimit(total=5, retry=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ConnectionLimit(total=5, refusal="never")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ConnectionLimit(total=5, refusal=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ConnectionLimit(total=5, refusal=refuse_by_a_response)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ConnectionLimit(total=5, refusal=refuse_later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    EventSourceResponse(on_trio, limit=limit)
    EventSourceResponse(on_trio, limit=None, limit_key=None)
    for key in (5, "user", ("a", 1), frozenset([1]), None):
        EventSourceResponse(on_trio, limit=limit, limit_key=key)

    EventSourceResponse(on_trio, limit=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventSourceResponse(on_trio, limit=limit, limit_key=["user"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def check_the_statistics_of_a_limit(limit: ConnectionLimit) -> None:
    statistics = limit.statistics()
    assert_type(statistics, LimitStatistics)
    assert_type(statistics.connections, int)
    assert_type(statistics.keys, int)
    assert_type(statistics.refused, int)

    statistics.refused = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
