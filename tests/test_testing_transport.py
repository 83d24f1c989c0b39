"""An HTTP client of an app in-process: httpx, and httpx2, whose own transport cannot stream."""

from functools import partial

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

import trio_sse
from fakes import Recorder
from trio_sse import CloseReason, EventSourceResponse, ServerSentEvent
from trio_sse.client import open_event_source
from trio_sse.testing import StreamingASGITransport, check_leaks

pytestmark = pytest.mark.anyio

START = {"type": "http.response.start", "status": 200, "headers": []}


@pytest.fixture(params=["httpx", "httpx2"])
def library(request):
    return pytest.importorskip(request.param)


@pytest.fixture
def opened(library):
    """A client of an app; closing it leaves nothing behind."""
    return lambda app: library.AsyncClient(
        transport=StreamingASGITransport(app), base_url="http://server"
    )


async def endless(send):
    await send.send("first")
    await anyio.sleep_forever()


async def count(send):
    for n in range(3):
        await send.send(str(n))
        await anyio.sleep(1)


def responding(make_response):
    """An app whose response is made for each request."""

    async def app(scope, receive, send):
        await make_response()(scope, receive, send)

    return app


async def echo(request):
    """Answer with what was asked."""
    return JSONResponse(
        {
            "method": request.method,
            "host": request.url.netloc,
            "path": request.scope["path"],
            "raw_path": request.scope["raw_path"].decode(),
            "query": request.scope["query_string"].decode(),
            "x": request.headers.get("x"),
            "body": (await request.body()).decode(),
        }
    )


ECHO = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])


async def test_lines_come_as_they_are_sent(opened):
    response = partial(EventSourceResponse, count, sep="\n")
    async with opened(responding(response)) as client, client.stream("GET", "/") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        begin = anyio.current_time()
        seen = [(line, anyio.current_time() - begin) async for line in answer.aiter_lines()]
    assert seen[::2] == [("data: 0", 0), ("data: 1", 1), ("data: 2", 2)]


async def test_the_app_is_asked_what_the_client_asks(opened):
    async with opened(ECHO) as client:
        answer = await client.post("/a%20b/é?c=d&e=%20", headers={"X": "y"}, content=b"text")
    assert answer.json() == {
        "method": "POST",
        "host": "server",
        "path": "/a b/é",
        "raw_path": "/a%20b/%C3%A9",
        "query": "c=d&e=%20",
        "x": "y",
        "body": "text",
    }


async def test_a_body_that_the_client_streams_is_read_first(opened):
    async def halves():
        yield b"one "
        yield b"half"

    async with opened(ECHO) as client:
        answer = await client.post("/", content=halves())
    assert answer.json()["body"] == "one half"


async def test_a_client_that_reads_nothing_holds_the_app_up(opened):
    sent = []

    async def app(scope, receive, send):
        await send(START)
        for n in range(3):
            await send({"type": "http.response.body", "body": b"x" * 40000, "more_body": True})
            sent.append(n)

    async with opened(app) as client, client.stream("GET", "/") as answer:
        await anyio.sleep(1)
        assert sent == [0]
        assert len(await answer.aread()) == 120000
        assert sent == [0, 1, 2]


async def test_leaving_an_endless_stream_is_a_disconnect_and_waits_for_the_clean_up(opened):
    closed = Recorder()
    response = partial(EventSourceResponse, endless, on_close=closed)
    async with check_leaks(), opened(responding(response)) as client:
        async with client.stream("GET", "/"):
            await anyio.sleep(3)
            left_at = anyio.current_time()
        assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]
        assert closed.times == [left_at]


async def test_closing_the_client_ends_what_is_still_open(opened):
    closed = Recorder()
    response = partial(EventSourceResponse, endless, on_close=closed)
    async with check_leaks():
        async with opened(responding(response)) as client:
            request = client.build_request("GET", "/")
            await client.send(request, stream=True)
        assert len(closed.reasons) == 1


async def test_two_streams_are_open_at_once(opened):
    response = partial(EventSourceResponse, count)
    async with opened(responding(response)) as client:
        async with client.stream("GET", "/a") as a, client.stream("GET", "/b") as b:
            begin, whole = anyio.current_time(), b"data: 0\r\n\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n"
            assert [await a.aread(), await b.aread()] == [whole, whole]
            assert anyio.current_time() - begin == 3


async def test_a_drain_completes_a_stream(opened):
    response = partial(EventSourceResponse, endless, farewell=ServerSentEvent("bye"))
    async with opened(responding(response)) as client, client.stream("GET", "/") as answer:
        await trio_sse.drain()
        assert b"data: bye\r\n" in await answer.aread()


# What comes out


async def test_what_the_app_raises_before_the_start_comes_out_of_the_call(opened):
    async def app(scope, receive, send):
        await anyio.sleep(1)
        raise LookupError("the app's")

    async with opened(app) as client:
        with pytest.raises(LookupError, match="the app's"):
            await client.get("/")


async def test_what_the_app_raises_in_mid_stream_comes_out_of_reading(opened):
    async def fail(send):
        await send.send("before")
        raise LookupError("the app's")

    response = partial(EventSourceResponse, fail)
    async with opened(responding(response)) as client, client.stream("GET", "/") as answer:
        pieces = answer.aiter_bytes()
        assert await anext(pieces) == b"data: before\r\n\r\n"
        with pytest.raises(LookupError, match="the app's"):
            await anext(pieces)


async def test_an_app_that_returns_without_an_answer_is_an_error(opened):
    async def app(scope, receive, send):
        pass

    async with opened(app) as client:
        with pytest.raises(RuntimeError, match="without a response"):
            await client.get("/")


async def test_what_the_app_raises_and_nobody_reads_comes_out_when_it_is_left(opened):
    async def app(scope, receive, send):
        await send(START)
        raise LookupError("mine")

    async with opened(app) as client:
        with pytest.raises(LookupError, match="mine"):
            async with client.stream("GET", "/"):
                await anyio.sleep(1)


async def test_a_client_may_have_it_in_several_places(library):
    async def once(send):
        await send.send("a")

    transport = StreamingASGITransport(EventSourceResponse(once, sep="\n"))
    mounts = {"http://other": transport}
    async with library.AsyncClient(transport=transport, mounts=mounts) as client:
        for url in ("http://one/", "http://other/"):
            assert (await client.get(url)).text == "data: a\n\n"


async def test_what_the_test_raises_comes_out_as_itself(opened):
    async def visit():
        async with opened(responding(partial(EventSourceResponse, endless))) as client:
            async with client.stream("GET", "/"):
                raise KeyError("the test's")

    with pytest.raises(KeyError, match="the test's"):
        await visit()


async def test_a_client_must_be_entered(opened):
    client = opened(PlainTextResponse("never"))
    with pytest.raises(RuntimeError, match="enter the client first"):
        await client.get("/")
    await client.aclose()


async def test_a_transport_that_was_left_is_closed_and_can_be_left_again():
    transport = StreamingASGITransport(PlainTextResponse("never"))
    async with transport:
        pass
    await transport.__aexit__()
    with pytest.raises(RuntimeError, match="enter the client first"):
        await transport.handle_async_request(None)


async def test_a_request_that_is_given_up_before_the_headers_is_a_disconnect(opened):
    told = []

    async def app(scope, receive, send):
        while (message := await receive())["type"] != "http.disconnect":
            pass
        told.append((message["type"], anyio.current_time()))

    async with opened(app) as client:
        with anyio.move_on_after(3):
            await client.get("/")
        given_up_at = anyio.current_time()
        await anyio.sleep(1)
        assert told == [("http.disconnect", given_up_at)]


# With a client that reconnects


async def test_an_event_source_reconnects_with_the_last_event_id(opened):
    async def resume(request):
        number = int(trio_sse.last_event_id(request) or 0) + 1

        async def produce(send):
            await send.send(ServerSentEvent(f"event {number}", id=number))

        return EventSourceResponse(produce)

    app = Starlette(routes=[Route("/events", resume)])
    async with opened(app) as client:
        async with open_event_source("http://server/events", client=client) as source:
            begin, events = anyio.current_time(), [await source.receive() for _ in range(3)]
            assert anyio.current_time() - begin == 2 * source.reconnection_time
        assert source.statistics().streams == 3
    assert [event.data for event in events] == ["event 1", "event 2", "event 3"]
