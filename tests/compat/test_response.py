"""sse-starlette's response, on this package's: what its own tests do not say.

Threads take real time, in which virtual time would run on to the next ping: there are none then.
"""

import logging
import math
import re

import anyio
import anyio.lowlevel
import pytest
import trio
from starlette.background import BackgroundTask

import trio_sse
from fakes import FakeClient, serving
from trio_sse.compat import EventSourceResponse, SendTimeoutError, ServerSentEvent

pytestmark = pytest.mark.anyio


async def endless():
    yield "first"
    await anyio.sleep_forever()


def closing(log, items=("a", "b")):
    """Return a generator that notes when it was asked for an item, and when it was closed."""

    async def generate():
        try:
            for item in items:
                log.append((item, anyio.current_time()))
                yield item
        finally:
            log.append(("closed", anyio.current_time()))

    return generate()


# What is streamed


@pytest.mark.parametrize("sep", ["\r\n", "\r", "\n"])
async def test_items_of_all_kinds_are_streamed_each_in_a_message(sep):
    async def generate():
        yield {"data": 1, "event": "dict"}
        yield ServerSentEvent("own", sep="\n")
        yield trio_sse.ServerSentEvent("native")
        yield b": raw\n\n"
        yield 5

    client = FakeClient()
    await client.call(EventSourceResponse(generate(), sep=sep))
    end = sep.encode()
    assert client.chunks == [
        b"event: dict" + end + b"data: 1" + 2 * end,
        b"data: own\n\n",
        b"data: native" + 2 * end,
        b": raw\n\n",
        b"data: 5" + 2 * end,
    ]
    assert client.complete


@pytest.mark.parametrize("make", [list, iter, lambda items: (item for item in items)])
async def test_an_iterable_is_streamed_each_item_in_a_message(make):
    client = FakeClient()
    await client.call(EventSourceResponse(make(["a", "b", b"", "c"]), ping=0))
    assert client.chunks == [b"data: a\r\n\r\n", b"data: b\r\n\r\n", b"data: c\r\n\r\n"]


async def test_a_channel_is_streamed_and_closed():
    send, receive = anyio.create_memory_object_stream(2)
    async with send:
        send.send_nowait("a")
        send.send_nowait("b")
    client = FakeClient()
    await client.call(EventSourceResponse(receive))
    assert client.data == ["a", "b"]
    with pytest.raises(anyio.ClosedResourceError):
        receive.receive_nowait()


async def test_a_channel_of_trio_is_streamed_on_trio(anyio_backend_name):
    if anyio_backend_name != "trio":
        return
    send, receive = trio.open_memory_channel(2)
    async with send:
        send.send_nowait("a")
    client = FakeClient()
    await client.call(EventSourceResponse(receive))
    assert client.data == ["a"]


async def test_a_subscription_is_streamed():
    async with trio_sse.open_hub() as hub:
        client = FakeClient()
        async with serving(client, EventSourceResponse(hub.subscribe("news"))):
            await client.wait_for_body(b"ready")
            await hub.publish("news", "hello")
            await client.wait_for_body(b"hello")


async def test_an_iterable_without_close_and_an_async_one_without_aclose_will_do():
    class Counter:
        def __init__(self):
            self.left = [1, 2]

        def __aiter__(self):
            return self

        async def __anext__(self):
            await anyio.lowlevel.checkpoint()
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    client = FakeClient()
    await client.call(EventSourceResponse(Counter()))
    assert client.data == ["1", "2"]


@pytest.mark.parametrize("content", ["text", b"bytes", {"data": 1}, 0, None, ServerSentEvent])
async def test_what_is_no_stream_is_refused_before_the_headers(content):
    client = FakeClient()
    with pytest.raises(TypeError, match="content"):
        await client.call(EventSourceResponse(content))
    assert client.messages == []


async def test_a_producer_is_referred_to_the_native_response():
    async def produce(send):
        await send.send("x")

    with pytest.raises(TypeError, match=re.escape("is for trio_sse.EventSourceResponse")):
        await FakeClient().call(EventSourceResponse(produce))


# One after the other


async def test_the_next_item_is_asked_for_when_the_one_before_has_been_sent():
    log, client = [], FakeClient(slow=2)
    await client.call(EventSourceResponse(closing(log), ping=0))
    # Two seconds each for the headers, and for each item.
    assert log == [("a", 0), ("b", 4), ("closed", 6)]
    assert client.times == [2, 4, 6, 8]


async def test_the_next_item_of_an_iterable_is_asked_for_when_the_one_before_has_been_sent():
    asked, client = [], FakeClient()

    def generate():
        for item in "abc":
            asked.append((item, client.chunks[-1:]))
            yield item

    await client.call(EventSourceResponse(generate(), ping=0))
    assert asked == [("a", []), ("b", [b"data: a\r\n\r\n"]), ("c", [b"data: b\r\n\r\n"])]


async def test_a_generator_that_waits_to_go_on_is_closed_when_the_stream_is_cut():
    log, client = [], FakeClient(freeze_at=1)
    await client.call_and_leave(EventSourceResponse(closing(log)), after=3)
    assert log == [("a", 0), ("closed", 3)]


async def test_an_error_while_closing_is_logged_and_hides_nothing(caplog):
    async def generate():
        try:
            yield {"unknown": 1}
        finally:
            raise LookupError("while closing")

    with pytest.raises(TypeError, match="unknown"):
        await FakeClient().call(EventSourceResponse(generate()))
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "trio_sse.compat"
    assert "LookupError: while closing" in caplog.text


async def test_the_iterator_of_an_iterable_is_closed_in_the_middle():
    closed = []

    def generate():
        try:
            yield "a"
            yield {"unknown": 1}
        finally:
            closed.append(True)

    class Iterable:
        def __iter__(self):
            return generate()

    with pytest.raises(TypeError, match="unknown"):
        await FakeClient().call(EventSourceResponse(Iterable(), ping=0))
    assert closed == [True]


async def test_body_iterator_is_what_is_streamed():
    response = EventSourceResponse(content := endless())
    assert response.body_iterator is content
    await content.aclose()

    async def upper(items):
        async for item in items:
            yield item.upper()

    response = EventSourceResponse(["a", "b"], ping=0)
    response.body_iterator = upper(response.body_iterator)
    client = FakeClient()
    await client.call(response)
    assert client.data == ["A", "B"]


async def test_a_data_sender_fills_a_channel():
    send, receive = anyio.create_memory_object_stream(0)

    async def fill():
        async with send:
            await send.send("a")

    client = FakeClient()
    await client.call(EventSourceResponse(receive, data_sender_callable=fill))
    assert client.data == ["a"]


async def test_chunks_are_logged(caplog):
    with caplog.at_level(logging.DEBUG, "trio_sse.compat"):
        await FakeClient().call(EventSourceResponse(["a"], ping=0))
    assert ("trio_sse.compat", "chunk: b'data: a\\r\\n\\r\\n'") in [
        (record.name, record.getMessage()) for record in caplog.records
    ]


# Arguments, attributes and headers


def test_attributes_are_what_they_were():
    response = EventSourceResponse([])
    assert response.ping_interval == EventSourceResponse.DEFAULT_PING_INTERVAL == 15
    assert response.sep == EventSourceResponse.DEFAULT_SEPARATOR == "\r\n"
    assert EventSourceResponse.DEFAULT_CLEANUP_TIMEOUT == 30.0
    assert response.status_code == 200
    assert response.media_type == "text/event-stream"
    assert response.send_timeout is response.background is None
    assert response.data_sender_callable is response.client_close_handler_callable is None
    assert response.active


async def test_the_stream_is_active_until_its_generator_is_closed():
    seen = []

    async def generate():
        try:
            yield "a"
        finally:
            seen.append(response.active)

    response = EventSourceResponse(generate(), ping=0)
    await FakeClient().call(response)
    assert seen == [True]
    assert not response.active


async def test_the_ping_interval_is_that_of_the_call():
    response, client = EventSourceResponse(endless(), ping=4), FakeClient()
    async with serving(client, response):
        await client.wait_for_body(b"first")
        response.ping_interval = 1
        await client.wait_for(lambda client: len(client.comments) == 2)
    assert anyio.current_time() == 8


@pytest.mark.parametrize("sep", ["", "\n\n", "x"])
def test_a_separator_that_ends_no_line_is_refused(sep):
    expected = f"sep must be one of: \\r\\n, \\r, \\n, got: {sep}"
    with pytest.raises(ValueError, match=re.escape(expected)):
        EventSourceResponse([], sep=sep)


@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        ({"ping": "ten"}, TypeError, "ping interval must be int or float"),
        ({"ping": -1}, ValueError, "ping interval must be >= 0 (0 disables ping)"),
        ({"shutdown_grace_period": -1}, ValueError, "shutdown_grace_period must be >= 0"),
        ({"cleanup_timeout": -1}, ValueError, "cleanup_timeout must be >= 0"),
    ],
)
def test_what_is_out_of_range_is_refused_when_the_response_is_made(argument, error, message):
    with pytest.raises(error, match=re.escape(message)):
        EventSourceResponse([], **argument)


@pytest.mark.parametrize(
    "arguments",
    [
        {"status_code": 204},
        {"headers": {"x": "a\r\nb: c"}},
        {"headers": {"Content-Length": "5"}},
        {"send_timeout": 0},
        {"ping": math.nan},
    ],
)
async def test_what_makes_no_stream_is_refused_when_it_is_called(arguments):
    client = FakeClient()
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must|headers: (the value|an)"):
        await client.call(EventSourceResponse([], **arguments))
    assert client.messages == []


@pytest.mark.parametrize("name", ["ping_message_factory", "client_close_handler_callable"])
async def test_what_cannot_be_called_is_refused_before_the_headers(name):
    client = FakeClient()
    with pytest.raises(TypeError, match=f"{name} must be callable, not str"):
        await client.call(EventSourceResponse([], **{name: "x"}))
    assert client.messages == []


@pytest.mark.parametrize(
    "name", ["send_timeout", "cleanup_timeout", "shutdown_grace_period", "ping"]
)
async def test_a_time_may_be_infinite(name):
    client = FakeClient()
    await client.call(EventSourceResponse(closing([]), **{name: math.inf}))
    assert client.complete


def test_compression_is_refused():
    with pytest.raises(NotImplementedError, match="Compression is not supported"):
        EventSourceResponse([]).enable_compression(force=True)


@pytest.mark.parametrize(
    ("http_version", "connection"),
    [("1.0", "keep-alive"), ("1.1", "keep-alive"), ("2", None), ("3", None)],
)
async def test_connection_is_no_header_where_it_is_forbidden(http_version, connection):
    client = FakeClient(http_version=http_version)
    headers = {"Connection": "close", "X-Accel-Buffering": "yes", "X-Mine": "1"}
    await client.call(EventSourceResponse([], ping=0, headers=headers))
    assert client.headers.get("connection") == connection
    assert client.headers["x-accel-buffering"] == "no"
    assert client.headers["cache-control"] == "no-store"
    assert client.headers["x-mine"] == "1"


def test_of_headers_that_differ_in_case_alone_the_last_one_counts():
    response = EventSourceResponse([], headers={"cache-control": "one", "Cache-Control": "two"})
    assert response.headers.getlist("cache-control") == ["two"]


async def test_the_media_type_is_that_of_the_class_if_it_is_none():
    class Plain(EventSourceResponse):
        media_type = "text/plain"

    for kind, media_type in ((Plain, "text/plain"), (EventSourceResponse, "text/event-stream")):
        client = FakeClient()
        await client.call(kind([], ping=0, media_type=None))
        assert client.headers["content-type"] == f"{media_type}; charset=utf-8"


async def test_nothing_is_left_of_a_stream(leak_check):
    client = FakeClient()
    async with leak_check(), serving(client, EventSourceResponse(endless(), send_timeout=5)):
        await client.wait_for_body(b"first")


async def test_what_is_changed_before_the_call_counts():
    response = EventSourceResponse(["a"], ping=0, media_type="text/x-events")
    response.status_code = 202
    response.sep = "\n"
    response.headers["x-late"] = "1"
    response.set_cookie("session", "2")
    client = FakeClient()
    await client.call(response)
    assert client.status == 202
    assert client.headers["content-type"] == "text/x-events; charset=utf-8"
    assert client.headers["x-late"] == "1"
    assert client.headers["set-cookie"].startswith("session=2")
    assert client.body == b"data: a\n\n"


# Pings


async def test_a_ping_is_a_comment_with_the_time_when_nothing_was_written():
    client = FakeClient()
    async with serving(client, EventSourceResponse(endless(), ping=4, sep="\n")):
        await client.wait_for(lambda client: len(client.comments) == 2)
    assert [time for time in client.times if time] == [4, 8]
    assert re.fullmatch(r"ping - \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+00:00", client.comments[0])


@pytest.mark.parametrize(
    ("made", "written"),
    [
        (ServerSentEvent(comment="mine"), b": mine\r\n\r\n"),
        (trio_sse.ServerSentEvent(comment="native"), b": native\n\n"),
        ({"event": "ping"}, b"event: ping\n\n"),
        (b": raw\n\n", b": raw\n\n"),
    ],
)
async def test_a_ping_is_whatever_an_item_may_be(made, written):
    client = FakeClient()
    response = EventSourceResponse(endless(), ping=4, sep="\n", ping_message_factory=lambda: made)
    async with serving(client, response):
        await client.wait_for(lambda client: len(client.chunks) == 2)
    assert client.chunks[1] == written


@pytest.mark.parametrize("ping", [0, math.inf])
async def test_there_may_be_no_pings(ping):
    client = FakeClient()
    async with serving(client, EventSourceResponse(endless(), ping=ping)):
        await anyio.sleep(80_000)
    assert client.comments == []


# Ends


async def test_a_send_that_times_out_raises_and_runs_no_background():
    ran, client = [], FakeClient(freeze_at=1)
    response = EventSourceResponse(
        endless(), send_timeout=5, background=BackgroundTask(ran.append, "background")
    )
    with pytest.raises(SendTimeoutError, match="longer than 5 seconds") as caught:
        await client.call(response)
    assert isinstance(caught.value, trio_sse.SendTimeoutError)
    assert anyio.current_time() == 5
    assert not response.active
    assert ran == []


async def test_a_client_that_leaves_is_told_of_once_the_generator_is_closed():
    log, client = [], FakeClient()

    async def generate():
        try:
            yield "first"
            await anyio.sleep_forever()
        finally:
            log.append("closed")

    async def left(message):
        log.append(message)
        assert not response.active

    response = EventSourceResponse(
        generate(),
        client_close_handler_callable=left,
        background=BackgroundTask(log.append, "background"),
    )
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, response)
        await client.wait_for_body(b"first")
        assert response.active
        client.disconnect()
    assert log == ["closed", {"type": "http.disconnect"}, "background"]


async def test_a_client_that_leaves_without_a_handler_runs_the_background():
    ran, client = [], FakeClient(freeze_at=1)
    background = BackgroundTask(ran.append, "background")
    await client.call_and_leave(EventSourceResponse(endless(), background=background))
    assert ran == ["background"]


async def test_the_handler_is_not_called_of_a_stream_that_completes():
    async def left(message):
        raise AssertionError("nobody has left")

    client = FakeClient()
    await client.call(EventSourceResponse(["a"], ping=0, client_close_handler_callable=left))
    assert client.complete


async def test_what_the_handler_raises_is_raised():
    async def left(message):
        raise LookupError("handler")

    client = FakeClient(freeze_at=1)
    with pytest.raises(ExceptionGroup) as caught:
        await client.call_and_leave(
            EventSourceResponse(endless(), client_close_handler_callable=left)
        )
    assert caught.group_contains(LookupError, match="handler")


@pytest.mark.parametrize("fail_at", [0, 1, 2], ids=["start", "event", "final"])
@pytest.mark.parametrize("error", [OSError("gone"), LookupError("middleware")])
async def test_what_send_raises_is_raised(fail_at, error):
    ran, client = [], FakeClient(fail_at=fail_at, error=error)
    background = BackgroundTask(ran.append, "background")
    with pytest.raises(type(error)) as caught:
        await client.call(EventSourceResponse(["a"], ping=0, background=background))
    assert caught.value is error
    assert ran == []


@pytest.mark.parametrize("cleanup_timeout", [7, None])
async def test_closing_is_cut_short_after_the_cleanup_timeout(cleanup_timeout, caplog):
    async def generate():
        try:
            yield "first"
        finally:
            await anyio.sleep(100)

    client = FakeClient(freeze_at=1)
    response = EventSourceResponse(generate(), cleanup_timeout=cleanup_timeout)
    await client.call_and_leave(response)
    assert anyio.current_time() == (cleanup_timeout or 100)
    assert ("cleanup_timeout" in caplog.text) == (cleanup_timeout is not None)
