"""The types of what tests are written with, as users meet them."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, assert_type

import httpx
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from trio_sse import DrainMiddleware, Engine, EventSourceResponse, MemoryEngine, MessageEvent
from trio_sse.client import open_event_source
from trio_sse.testing import (
    EngineSuite,
    LeakError,
    StreamClient,
    StreamingASGITransport,
    VirtualTimeLoop,
    check_leaks,
    open_stream,
)


async def app(scope: Scope, receive: Receive, send: Send) -> None: ...


async def not_an_app(request: str) -> None: ...


def not_async(scope: Scope, receive: Receive, send: Send) -> None: ...


class StreamTests(EngineSuite):
    def make_engine(self) -> Engine:
        return MemoryEngine()


class WrongSuite(EngineSuite):
    def make_engine(self) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return "engine"


def what_can_be_opened(starlette: Starlette, fastapi: FastAPI) -> None:
    assert_type(open_stream(app), AbstractAsyncContextManager[StreamClient])
    open_stream(starlette, "/events", exit_timeout=5)
    open_stream(fastapi, "/events", exit_timeout=0.5)
    open_stream(EventSourceResponse(["a"]), method="POST", body=b"{}", body_complete=False)
    open_stream(DrainMiddleware(starlette))
    open_stream(app, headers={"a": "b"}, last_event_id="5", scope={"state": {}}, buffer_size=0.5)
    open_stream(app, slow=1, freeze_at=0, fail_at=None, error=OSError(), http_version="2")

    open_stream()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_stream(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_stream(not_an_app)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_stream(not_async)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_stream(app, b"/")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_stream(app, exit_timeout="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_stream(app, body="text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_stream(app, freeze_at="0")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_stream(app, methd="POST")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_stream(app, "/", 5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def reading() -> None:
    async with open_stream(app) as stream:
        assert_type(stream, StreamClient)
        assert_type(stream.status, int | None)
        assert_type(stream.headers, dict[str, str])
        assert_type(await stream.receive(), MessageEvent)
        assert_type(await stream.receive_comment(), str)
        assert_type(await stream.receive_bytes(), bytes)
        assert_type(await stream.read_body(), bytes)
        assert_type([event async for event in stream], list[MessageEvent])
        assert_type(stream.events, list[MessageEvent])
        assert_type(stream.comments, list[str])
        assert_type(stream.chunks, list[bytes])
        assert_type(stream.body, bytes)
        assert_type(stream.messages, list[dict[str, Any]])
        assert_type(stream.times, list[float])
        assert_type(stream.complete, bool)
        assert_type(stream.frozen.is_set(), bool)
        await stream.ended.wait()
        await stream.wait_for(lambda client: client.complete)
        stream.freeze()
        stream.disconnect()

        stream.status = 200  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
        stream.complete = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
        for _ in stream:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportAttributeAccessIssue]
            pass
    with open_stream(app):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportAttributeAccessIssue]
        pass


async def clients() -> None:
    client = StreamClient(
        "/events",
        method="POST",
        headers=[("x-a", "1"), (b"x-b", b"2")],
        last_event_id="5",
        scope={"state": {}},
        buffer_size=float("inf"),
        slow=0.5,
        freeze_at=1,
        fail_at=2,
        error=OSError(),
    )
    await client.call(app)
    await client.call(EventSourceResponse(["a"]))
    await client.started()
    StreamClient(headers={"x-a": "1"})

    StreamClient("/", "GET")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    StreamClient(headers="x-a: 1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamClient(body="text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamClient(last_event_id=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamClient(freeze_at=0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamClient(error="gone")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.call(not_an_app)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def with_httpx() -> None:
    async with httpx.AsyncClient(transport=StreamingASGITransport(app)) as client:
        open_event_source("http://test/", client=client)

    StreamingASGITransport()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    StreamingASGITransport("app")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def leaking() -> None:
    check: AbstractAsyncContextManager[None] = check_leaks()
    async with check as nothing:
        assert_type(nothing, None)
    error: AssertionError = LeakError("left")
    raise error


def in_virtual_time() -> None:
    loop: asyncio.AbstractEventLoop = VirtualTimeLoop()
    assert_type(loop.time(), float)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(asyncio.sleep(3600))

    VirtualTimeLoop(0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
