"""The response in FastAPI: endpoints that return it, and those that yield."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest
import trio
from starlette.exceptions import HTTPException

from trio_sse import (
    CloseReason,
    EncodeError,
    EventSourceResponse,
    Hub,
    JSONServerSentEvent,
    ServerSentEvent,
    compat,
    last_event_id,
    open_hub,
)
from trio_sse.testing import open_stream

fastapi = pytest.importorskip("fastapi")

from fastapi import BackgroundTasks, Depends, FastAPI, Request, Response  # noqa: E402
from pydantic import BaseModel  # noqa: E402

pytestmark = pytest.mark.anyio

VERSION = tuple(map(int, fastapi.__version__.split(".")[:2]))
yields = pytest.mark.skipif(VERSION < (0, 134), reason="this FastAPI has no endpoints that yield")


class Price(BaseModel):
    symbol: str
    amount: float


PRICE = Price(symbol="ABC", amount=12.5)
PRICE_JSON = '{"symbol":"ABC","amount":12.5}'


@pytest.fixture
def app() -> FastAPI:
    return FastAPI()


async def data_of(app: Any, path: str = "/") -> list[str]:
    """Read a stream to its end."""
    async with open_stream(app, path) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        data = [event.data async for event in stream]
        assert stream.complete
    return data


# --- endpoints that return the response ---------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"response_class": EventSourceResponse}])
async def test_an_endpoint_returns_the_response(app: FastAPI, options: Any):
    @app.get("/", **options)
    async def endpoint() -> EventSourceResponse:
        return EventSourceResponse(["a", "b"])

    assert await data_of(app) == ["a", "b"]


async def test_an_endpoint_that_is_no_coroutine_returns_the_response(app: FastAPI):
    @app.get("/", response_class=EventSourceResponse)
    def endpoint() -> EventSourceResponse:
        return EventSourceResponse(["a", "b"])

    assert await data_of(app) == ["a", "b"]


async def test_parameters_are_validated_before_there_is_a_stream(app: FastAPI):
    @app.get("/{count}", response_class=EventSourceResponse)
    async def endpoint(count: int) -> EventSourceResponse:
        return EventSourceResponse(range(count))

    assert await data_of(app, "/2") == ["0", "1"]
    async with open_stream(app, "/two") as stream:
        assert stream.status == 422


async def test_a_hub_is_a_dependency(app: FastAPI):
    async def get_hub(request: Request) -> Hub:
        hub: Hub = request.state.hub
        return hub

    @app.get("/")
    async def endpoint(
        request: Request, hub: Annotated[Hub, Depends(get_hub)]
    ) -> EventSourceResponse:
        return EventSourceResponse(hub.subscribe("a", last_event_id=last_event_id(request)))

    @app.post("/")
    async def publish(price: Price, hub: Annotated[Hub, Depends(get_hub)]) -> None:
        await hub.publish("a", JSONServerSentEvent(price, event="price"))

    async with open_hub() as hub:
        scope = {"state": {"hub": hub}}
        async with open_stream(app, scope=scope) as stream:
            ready = await stream.receive()
        headers, body = {"content-type": "application/json"}, PRICE_JSON.encode()
        async with open_stream(app, method="POST", scope=scope, headers=headers, body=body):
            pass
        async with open_stream(app, scope=scope, last_event_id=ready.last_event_id) as stream:
            events = [await stream.receive() for _ in range(2)]
    assert [(event.type, event.data) for event in events] == [
        ("ready", '{"resumed":true}'),
        ("price", PRICE_JSON),
    ]


# --- endpoints that yield -----------------------------------------------------------------


@yields
async def test_an_endpoint_that_yields_is_streamed_as_it_yields(app: FastAPI):
    @app.get("/", response_class=EventSourceResponse)
    async def endpoint(start: int = 2) -> AsyncIterator[Any]:
        for n in range(start, 0, -1):
            yield ServerSentEvent(n)
            await anyio.sleep(60)
        yield "text"
        yield PRICE

    began = anyio.current_time()
    async with open_stream(app) as stream:
        assert (await stream.receive()).data == "2"
        assert anyio.current_time() == began
        assert await stream.receive_comment() == "ping"
        assert [event.data async for event in stream] == ["1", "text", PRICE_JSON]
    assert anyio.current_time() == began + 120


@yields
async def test_an_endpoint_that_yields_in_a_thread_is_streamed(app: FastAPI):
    threads = set()

    @app.get("/", response_class=EventSourceResponse)
    def endpoint() -> Iterator[ServerSentEvent]:
        threads.add(threading.current_thread())
        yield ServerSentEvent("a")
        yield ServerSentEvent("b")

    assert await data_of(app) == ["a", "b"]
    assert threading.current_thread() not in threads


@yields
async def test_headers_status_and_background_tasks_of_an_endpoint_that_yields(app: FastAPI):
    done: list[str] = []

    async def note() -> None:
        done.append("task")

    async def prepare(response: Response, tasks: BackgroundTasks) -> None:
        response.headers["X-Prepared"] = "yes"
        tasks.add_task(note)

    @app.get(
        "/",
        response_class=EventSourceResponse,
        status_code=201,
        dependencies=[Depends(prepare)],
    )
    async def endpoint() -> AsyncIterator[str]:
        yield "a"

    async with open_stream(app) as stream:
        assert (stream.status, stream.headers["x-prepared"]) == (201, "yes")
        assert stream.headers["cache-control"] == "no-store"
        assert [event.data async for event in stream] == ["a"]
    assert done == ["task"]


class Slow(EventSourceResponse):
    """A response with options of its own, for those that FastAPI makes."""

    def __init__(self, content: Any, status_code: int = 200, **options: Any) -> None:
        super().__init__(content, status_code, ping=3, **options)


@yields
async def test_a_subclass_gives_the_options_of_an_endpoint_that_yields(app: FastAPI):
    @app.get("/", response_class=Slow)
    async def endpoint() -> AsyncIterator[str]:
        await anyio.sleep(4)
        yield "a"

    async with open_stream(app) as stream:
        began = anyio.current_time()
        await stream.receive_comment()
        assert anyio.current_time() == began + 3


def current_task() -> object:
    return trio.lowlevel.current_task() if trio.lowlevel.in_trio_run() else asyncio.current_task()


class Guarded:
    """An endpoint that notes which task runs and which task closes it."""

    def __init__(self) -> None:
        self.tasks: list[object] = []

    async def stream(self) -> AsyncIterator[str]:
        self.tasks.append(current_task())
        try:
            with anyio.CancelScope():  # to be left in the task that entered it
                for n in range(1_000_000):
                    yield f"{n} " + "x" * 1000
        finally:
            self.tasks.append(current_task())


@yields
@pytest.mark.parametrize("response_class", [EventSourceResponse, compat.EventSourceResponse])
async def test_an_endpoint_that_waits_at_a_yield_is_closed_in_its_task(
    app: FastAPI, response_class: Any
):
    """Its client reads no more; nothing is left to the garbage collector, which would warn."""
    guarded = Guarded()
    app.get("/", response_class=response_class)(guarded.stream)
    async with open_stream(app) as stream:
        await stream.receive()
        stream.freeze()
        await anyio.sleep(10)
        assert len(guarded.tasks) == 1
    assert len(guarded.tasks) == 2
    assert guarded.tasks[0] is guarded.tasks[1]
    gc.collect()
    await anyio.sleep(1)


async def test_a_generator_that_is_named_as_that_of_fastapi_is_streamed_itself():
    async def _async_stream_raw(async_gen: Any) -> AsyncIterator[Any]:
        for item in async_gen:
            yield item * 2

    assert await data_of(EventSourceResponse(_async_stream_raw("ab"))) == ["aa", "bb"]


@yields
async def test_what_an_endpoint_raises_while_it_yields_leaves_as_itself(app: FastAPI):
    @app.get("/", response_class=EventSourceResponse)
    async def endpoint() -> AsyncIterator[str]:
        yield "a"
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        await data_of(app)


@yields
async def test_an_event_of_fastapi_is_refused_with_the_remedy(app: FastAPI):
    sse = pytest.importorskip("fastapi.sse")

    @app.get("/", response_class=EventSourceResponse)
    async def endpoint() -> AsyncIterator[Any]:
        yield sse.ServerSentEvent(data="x")

    with pytest.raises(EncodeError, match=r"fastapi\.sse\.ServerSentEvent is no trio_sse"):
        await data_of(app)


# --- what FastAPI makes JSON of -----------------------------------------------------------


async def not_returned(send: Any) -> None:
    raise AssertionError("it is never called")


RETURNED = {
    "list": ["a", "b"],
    "empty list": [],
    "dict": {"data": "a"},
    "text": "a",
    "number": 5,
    "nothing": None,
    "model": PRICE,
    "models": [PRICE],
    "producer": not_returned,
}


@pytest.mark.parametrize("kind", RETURNED)
@pytest.mark.parametrize("response_class", [EventSourceResponse, Slow])
async def test_what_is_not_a_response_is_an_error_that_says_to_return_one(
    app: FastAPI, kind: str, response_class: Any
):
    @app.get("/", response_class=response_class)
    async def endpoint():
        return RETURNED[kind]

    with pytest.raises(TypeError, match=r"FastAPI .* return EventSourceResponse\(content\)"):
        async with open_stream(app):
            pass


async def test_a_list_that_an_endpoint_gives_to_the_response_is_content(app: FastAPI):
    @app.get("/")
    async def endpoint():
        return Slow(["a", PRICE, {"data": "b"}])

    assert await data_of(app) == ["a", PRICE_JSON, "b"]


# --- dependencies -------------------------------------------------------------------------


class Sessions:
    """A dependency that notes what happens."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    async def open(self) -> AsyncIterator[str]:
        self.notes.append("opened")
        try:
            yield "session"
        except BaseException as error:
            self.notes.append(type(error))
            raise
        finally:
            await anyio.lowlevel.checkpoint()
            self.notes.append("left")


@pytest.fixture
def sessions(app: FastAPI) -> Sessions:
    sessions = Sessions()

    @app.get("/returned")
    async def returned(session: Annotated[str, Depends(sessions.open)]) -> EventSourceResponse:
        async def produce(send: Any) -> None:
            for _ in range(2):
                await anyio.sleep(1)
                sessions.notes.append("sent")
                await send.send(session)

        return EventSourceResponse(produce, on_close=sessions.notes.append)

    @app.get("/yielded", response_class=EventSourceResponse, response_model=None)
    async def yielded(session: Annotated[str, Depends(sessions.open)]) -> AsyncIterator[str]:
        for _ in range(2):
            await anyio.sleep(1)
            sessions.notes.append("sent")
            yield session

    @app.get("/raising")
    async def raising(session: Annotated[str, Depends(sessions.open)]) -> EventSourceResponse:
        async def produce(send: Any, *, task_status: Any) -> None:
            raise HTTPException(404)

        return EventSourceResponse(produce, preflight=True)

    return sessions


spans = pytest.mark.skipif(VERSION < (0, 118), reason="this FastAPI leaves dependencies before")


@spans
async def test_a_dependency_is_open_until_the_stream_has_ended(app: FastAPI, sessions: Sessions):
    assert await data_of(app, "/returned") == ["session", "session"]
    assert sessions.notes == ["opened", "sent", "sent", CloseReason.COMPLETED, "left"]


@yields
async def test_a_dependency_of_an_endpoint_that_yields_is_open_until_its_end(
    app: FastAPI, sessions: Sessions
):
    assert await data_of(app, "/yielded") == ["session", "session"]
    assert sessions.notes == ["opened", "sent", "sent", "left"]


@spans
@pytest.mark.parametrize("path", ["/returned", pytest.param("/yielded", marks=yields)])
async def test_a_dependency_is_left_without_an_error_when_the_client_leaves(
    app: FastAPI, sessions: Sessions, path: str
):
    async with open_stream(app, path) as stream:
        await stream.receive()
    assert sessions.notes[:2] == ["opened", "sent"]
    assert sessions.notes[-1] == "left"
    assert not any(isinstance(note, type) for note in sessions.notes)


@spans
async def test_a_dependency_hears_of_a_refusal_before_the_headers(app: FastAPI, sessions: Sessions):
    async with open_stream(app, "/raising") as stream:
        assert stream.status == 404
    assert sessions.notes == ["opened", HTTPException, "left"]


@spans
async def test_a_dependency_is_left_when_a_scope_around_the_app_is_cancelled(
    app: FastAPI, sessions: Sessions
):
    async def cancelling(scope: Any, receive: Any, send: Any) -> None:
        with anyio.move_on_after(1.5):
            await app(scope, receive, send)

    async with open_stream(cancelling, "/returned") as stream:
        await stream.receive()
        await stream.ended.wait()
    assert sessions.notes[:3] == ["opened", "sent", CloseReason.CANCELLED]
    assert sessions.notes[3] in (trio.Cancelled, anyio.get_cancelled_exc_class())


async def test_a_session_that_the_producer_opens_is_open_with_every_version(app: FastAPI):
    sessions = Sessions()

    @app.get("/")
    async def endpoint() -> EventSourceResponse:
        async def produce(send: Any) -> None:
            async with asynccontextmanager(sessions.open)() as session:
                await send.send(session)

        return EventSourceResponse(produce, on_close=sessions.notes.append)

    assert await data_of(app) == ["session"]
    assert sessions.notes == ["opened", "left", CloseReason.COMPLETED]
