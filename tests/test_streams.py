"""One response being served: causes, deadlines, pings and clean-up, at exact moments."""

import asyncio
import gc
import itertools
import logging
import math
from contextlib import suppress
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from fake_servers import Uvicorn
from fakes import FakeClient, Recorder
from trio_sse import CloseReason, EventSourceResponse, Instrument, ServerSentEvent, drain
from trio_sse._runtime import current_runtime
from trio_sse._source import _iteration

pytestmark = pytest.mark.anyio


async def endless(send):
    await send.send("first")
    await anyio.sleep_forever()


async def once(send):
    await send.send("only")


async def fails(send):
    await send.send("before")
    raise LookupError("mine")


# Ends and their reasons


async def test_a_producer_that_returns_completes_the_stream():
    client, closed = FakeClient(), Recorder()
    await client.call(EventSourceResponse(once, on_close=closed))
    assert client.complete
    assert closed.reasons == [CloseReason.COMPLETED]


async def test_a_client_that_leaves_while_idle_cancels_the_producer():
    client, closed, cleaned = FakeClient(), Recorder(), []

    async def produce(send):
        try:
            await endless(send)
        finally:
            cleaned.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(produce, ping=0, on_close=closed))
        await client.wait_for_body(b"first")
        await anyio.sleep(3)
        left_at = anyio.current_time()
        client.disconnect()
    assert cleaned == closed.times == [left_at]
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]
    assert not client.complete


async def test_a_client_that_leaves_during_a_send_ends_the_stream():
    client, closed = FakeClient(freeze_at=1), Recorder()
    await client.call_and_leave(EventSourceResponse(endless, on_close=closed))
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_a_request_that_arrives_late_is_no_disconnect():
    client = FakeClient()
    client.incoming = [{"type": "http.request", "body": b"late", "more_body": False}] * 2
    await client.call(EventSourceResponse(once))
    assert client.complete


@pytest.mark.parametrize("fail_at", [0, 1, 2], ids=["start", "event", "final"])
async def test_an_oserror_from_send_is_the_client_leaving(fail_at):
    client, closed = FakeClient(fail_at=fail_at), Recorder()
    await client.call(EventSourceResponse(once, on_close=closed))
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_an_oserror_from_the_send_of_a_ping_is_the_client_leaving():
    client, closed = FakeClient(fail_at=2), Recorder()
    await client.call(EventSourceResponse(endless, on_close=closed))
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_another_error_from_send_ends_the_stream_and_leaves_a_trace(caplog):
    client, closed = FakeClient(fail_at=1, error=LookupError("protocol")), Recorder()
    await client.call(EventSourceResponse(once, on_close=closed))
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]
    assert "send raised after the response had started" in caplog.text
    assert "LookupError: protocol" in caplog.text


async def test_an_error_from_the_send_of_the_headers_is_the_apps():
    client, closed = FakeClient(fail_at=0, error=LookupError("middleware")), Recorder()
    with pytest.raises(LookupError, match="middleware"):
        await client.call(EventSourceResponse(once, on_close=closed))
    assert closed.reasons == [CloseReason.ERROR]


async def test_an_oserror_from_receive_is_the_client_leaving():
    client, closed = FakeClient(), Recorder()

    async def receive():
        await anyio.sleep(2)
        raise OSError("gone")

    await EventSourceResponse(endless, on_close=closed)(client.scope, receive, client.asgi_send)
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_another_error_from_receive_is_the_apps():
    client, closed = FakeClient(), Recorder()

    async def receive():
        await anyio.sleep(2)
        raise LookupError("middleware")

    with pytest.raises(LookupError, match="middleware"):
        await EventSourceResponse(endless, on_close=closed)(client.scope, receive, client.asgi_send)
    assert closed.reasons == [CloseReason.ERROR]
    assert not client.complete


async def test_a_producer_that_raises_tears_the_stream_and_its_exception_leaves_alone():
    client, closed = FakeClient(), Recorder()
    with pytest.raises(LookupError, match="mine") as caught:
        await client.call(EventSourceResponse(fails, on_close=closed))
    assert not isinstance(caught.value, BaseExceptionGroup)
    assert client.data == ["before"]
    assert not client.complete
    assert closed.reasons == [CloseReason.ERROR]


async def test_a_failed_stream_over_http2_is_given_a_final_body():
    """HTTP/2 has no broken connection to show a failure by; the client must not wait."""
    client, closed = FakeClient(http_version="2"), Recorder()
    with pytest.raises(LookupError, match="mine"):
        await client.call(EventSourceResponse(fails, on_close=closed))
    assert client.data == ["before"]
    assert client.complete
    assert closed.reasons == [CloseReason.ERROR]


async def test_a_failed_stream_over_http2_whose_client_has_gone_still_raises():
    client = FakeClient(http_version="2", fail_at=2)
    with pytest.raises(LookupError, match="mine"):
        await client.call(EventSourceResponse(fails))
    assert not client.complete


async def test_a_producer_that_raises_during_its_clean_up_is_heard():
    async def produce(send):
        try:
            await endless(send)
        finally:
            raise LookupError("clean-up")

    client, closed = FakeClient(), Recorder()

    async def disconnect():
        await client.wait_for_body(b"first")
        client.disconnect()

    async with anyio.create_task_group() as group:
        group.start_soon(disconnect)
        with pytest.raises(LookupError, match="clean-up"):
            await client.call(EventSourceResponse(produce, on_close=closed))
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_an_error_in_clean_up_wins_over_an_outer_cancellation():
    async def produce(send):
        try:
            await endless(send)
        finally:
            raise LookupError("clean-up")

    client, closed = FakeClient(), Recorder()
    with pytest.raises(LookupError), anyio.move_on_after(2):
        await client.call(EventSourceResponse(produce, on_close=closed))
    assert closed.reasons == [CloseReason.CANCELLED]


async def test_a_group_that_user_code_raised_leaves_as_it_is():
    async def produce(send):
        raise ExceptionGroup("mine", [LookupError()])

    with pytest.raises(ExceptionGroup, match="mine"):
        await FakeClient().call(EventSourceResponse(produce))


async def test_an_interrupt_in_a_producer_leaves_alone_and_before_anything_else():
    class Interrupt(BaseException):
        pass

    async def produce(send):
        raise Interrupt

    async def fill():
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("clean-up")

    client, closed = FakeClient(), Recorder()
    with pytest.raises(Interrupt):
        await client.call(EventSourceResponse(produce, data_sender_callable=fill, on_close=closed))
    assert closed.reasons == [CloseReason.CANCELLED]


async def test_an_outer_cancellation_never_ends_the_body():
    client, closed = FakeClient(http_version="2"), Recorder()
    with anyio.move_on_after(5) as scope:
        await client.call(EventSourceResponse(endless, on_close=closed))
    assert scope.cancelled_caught
    assert not client.complete
    assert closed.reasons == [CloseReason.CANCELLED]
    assert closed.times == [5]


async def test_the_final_body_is_sent_whole_though_a_disconnect_arrives_from_within_it():
    client, closed = FakeClient(), Recorder()

    async def send(message):
        if message.get("more_body") is False:
            client.disconnect()  # as hypercorn does
            await anyio.sleep(0.9)
        await client.asgi_send(message)

    await EventSourceResponse(once, on_close=closed)(client.scope, client.asgi_receive, send)
    assert client.complete
    assert closed.reasons == [CloseReason.COMPLETED]


async def test_a_client_that_leaves_during_the_final_body_does_not_hold_the_stream():
    client, closed = FakeClient(freeze_at=2), Recorder()
    await client.call_and_leave(EventSourceResponse(once, on_close=closed), after=5)
    assert (closed.reasons, closed.times) == ([CloseReason.CLIENT_DISCONNECTED], [6])


async def test_a_client_that_leaves_while_the_final_body_waits_for_a_ping_is_gone():
    async def produce(send):
        await anyio.sleep(20)

    client, closed = FakeClient(freeze_at=2), Recorder()
    await client.call_and_leave(EventSourceResponse(produce, on_close=closed), after=10)
    assert (closed.reasons, closed.times) == ([CloseReason.CLIENT_DISCONNECTED], [25])


async def test_a_receive_that_never_suspends_lets_others_run():
    client = FakeClient()

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    await EventSourceResponse(once)(client.scope, receive, client.asgi_send)
    assert client.complete


async def cancelled_task():
    task = asyncio.create_task(asyncio.sleep(100))
    task.cancel()
    await task


@pytest.mark.parametrize("kind", ["producer", "generator"])
async def test_a_cancellation_from_nowhere_is_an_error(anyio_backend_name, kind):
    """On asyncio, awaiting what somebody cancelled looks like being cancelled."""
    if anyio_backend_name == "trio":
        return

    async def produce(send):
        await send.send("a")
        await anyio.sleep(1)
        await cancelled_task()

    async def generate():
        yield "a"
        await anyio.sleep(1)
        await cancelled_task()

    client, closed, background = FakeClient(), Recorder(), Recorder()
    response = EventSourceResponse(
        produce if kind == "producer" else generate(),
        on_close=closed,
        background=BackgroundTask(background, "ran"),
    )
    with pytest.raises(RuntimeError, match="was cancelled"):
        await client.call(response)
    assert client.data == ["a"]
    assert not client.complete
    assert closed.reasons == [CloseReason.ERROR]
    assert background.reasons == []


@pytest.mark.parametrize("cut", ["disconnect", "outer cancellation", "drain", "send timeout"])
async def test_an_error_is_the_reason_though_writing_what_came_before_it_is_cut(cut):
    async def produce(send):
        send.send_nowait("a")
        raise LookupError("mine")

    client, closed = FakeClient(freeze_at=1), Recorder()
    response = EventSourceResponse(
        produce, on_close=closed, send_timeout=5 if cut == "send timeout" else None
    )

    async def act():
        await client.frozen.wait()
        await anyio.sleep(1)
        if cut == "disconnect":
            client.disconnect()
        elif cut == "outer cancellation":
            scope.cancel()
        elif cut == "drain":
            await drain()

    async with anyio.create_task_group() as group:
        group.start_soon(act)
        with pytest.raises(LookupError, match="mine"), anyio.CancelScope() as scope:
            await client.call(response)
    assert closed.reasons == [CloseReason.ERROR]


async def test_every_error_of_a_nursery_that_fails_while_it_is_cut_is_heard():
    async def fail_with(error):
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    async def produce(send):
        async with anyio.create_task_group() as group:
            group.start_soon(fail_with, LookupError("one"))
            group.start_soon(fail_with, KeyError("other"))

    client = FakeClient()

    async def disconnect():
        await anyio.sleep(1)
        client.disconnect()

    async with anyio.create_task_group() as group:
        group.start_soon(disconnect)
        with pytest.raises(ExceptionGroup) as caught:
            await client.call(EventSourceResponse(produce))
    assert {type(error) for error in caught.value.exceptions} == {LookupError, KeyError}


async def test_an_interrupt_in_a_group_leaves_alone():
    class Interrupt(BaseException):
        pass

    async def produce(send):
        raise BaseExceptionGroup("mine", [Interrupt()])

    with pytest.raises(Interrupt):
        await FakeClient().call(EventSourceResponse(produce))


async def test_an_interrupt_in_a_nursery_of_a_producer_wins_and_leaves_alone():
    class Interrupt(BaseException):
        pass

    async def interrupt():
        raise Interrupt

    async def fail():
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError

    async def produce(send):
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            await anyio.sleep(1)
            group.start_soon(interrupt)

    with pytest.raises(Interrupt):
        await FakeClient().call(EventSourceResponse(produce))


async def test_a_stream_that_ends_before_its_headers_sends_nothing():
    client, closed = FakeClient(), Recorder()

    async def produce(send, *, task_status):
        await anyio.sleep_forever()

    response = EventSourceResponse(produce, preflight=True, on_close=closed)
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, response)
        await anyio.sleep(1)
        client.disconnect()
    assert client.messages == []
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


# Send deadlines


@pytest.mark.parametrize(
    ("freeze_at", "moment"),
    [(0, 4), (1, 4), (2, 14), (3, 25)],
    ids=["start", "event", "ping", "final"],
)
async def test_each_send_has_the_send_timeout(freeze_at, moment):
    async def produce(send):
        await send.send("event")
        await anyio.sleep(21)

    client, closed = FakeClient(freeze_at=freeze_at), Recorder()
    began = anyio.current_time()
    ping = 0 if freeze_at == 3 else 10
    if freeze_at == 3:
        client.freeze_at = 2
    await client.call(EventSourceResponse(produce, ping=ping, send_timeout=4, on_close=closed))
    assert [time - began for time in closed.times] == [pytest.approx(moment)]
    assert closed.reasons == [CloseReason.SEND_TIMEOUT]


async def test_the_retry_frame_has_the_send_timeout_too():
    client, closed = FakeClient(freeze_at=1), Recorder()
    await client.call(EventSourceResponse(endless, retry=5, send_timeout=4, on_close=closed))
    assert (closed.reasons, closed.times) == ([CloseReason.SEND_TIMEOUT], [4])


async def test_a_send_that_takes_almost_the_send_timeout_is_in_time():
    async def produce(send):
        for n in range(5):
            await send.send(n)
            await anyio.sleep(10)

    client, closed = FakeClient(slow=3.9), Recorder()
    await client.call(EventSourceResponse(produce, ping=0, send_timeout=4, on_close=closed))
    assert closed.reasons == [CloseReason.COMPLETED]
    assert len(client.data) == 5


async def test_without_a_send_timeout_a_send_may_take_for_ever():
    client, closed = FakeClient(freeze_at=1), Recorder()
    with anyio.move_on_after(1e6):
        await client.call(EventSourceResponse(once, ping=0, on_close=closed))
    assert (closed.reasons, closed.times) == ([CloseReason.CANCELLED], [1e6])


# Pings


def pings(client):
    return [
        time
        for time, message in zip(client.times, client.messages, strict=True)
        if b"ping" in message.get("body", b"")
    ]


async def test_a_ping_comes_after_each_idle_interval():
    client = FakeClient()
    with anyio.move_on_after(50):
        await client.call(EventSourceResponse(endless))
    assert pings(client) == [15, 30, 45]
    assert client.body == b"data: first\r\n\r\n" + 3 * b": ping\r\n\r\n"


async def test_a_busy_stream_sends_no_ping():
    async def produce(send):
        for n in range(100):
            await send.send(n)
            await anyio.sleep(14)

    client = FakeClient()
    await client.call(EventSourceResponse(produce))
    assert pings(client) == []


async def test_a_ping_comes_an_interval_after_the_last_write():
    async def produce(send):
        await anyio.sleep(10)
        await send.send("late")
        await anyio.sleep(100)

    client = FakeClient()
    with anyio.move_on_after(60):
        await client.call(EventSourceResponse(produce))
    assert pings(client) == [25, 40, 55]


async def test_ping_0_sends_none():
    client = FakeClient()
    with anyio.move_on_after(1e6):
        await client.call(EventSourceResponse(endless, ping=0))
    assert client.body == b"data: first\r\n\r\n"


async def test_no_ping_comes_before_the_headers():
    async def produce(send, *, task_status):
        await anyio.sleep(100)
        task_status.started()
        await anyio.sleep(20)

    client = FakeClient()
    await client.call(EventSourceResponse(produce, preflight=True))
    assert client.messages[0]["type"] == "http.response.start"
    assert client.times[0] == 100
    assert pings(client) == [115]


async def test_no_ping_comes_while_a_send_is_in_flight():
    async def produce(send):
        await send.send("slow")
        await anyio.sleep(100)

    client = FakeClient(slow=40)
    with anyio.move_on_after(101):
        await client.call(EventSourceResponse(produce))
    # start until 40, the event until 80, idle until 95: that ping is on its way.
    assert client.times == [40, 80]


async def test_a_ping_that_cannot_be_sent_is_not_made_more_often_than_one_that_can():
    made = []

    def make():
        made.append(anyio.current_time())
        return ServerSentEvent(comment="ping")

    client = FakeClient(freeze_at=1)
    with anyio.move_on_after(100):
        await client.call(EventSourceResponse(endless, ping_message_factory=make))
    assert made == [0, 15, 30, 45, 60, 75, 90]


async def test_the_ping_after_a_slow_send_comes_at_its_moment():
    async def produce(send):
        await anyio.sleep(10)
        await send.send("slow")
        await anyio.sleep(100)

    client = FakeClient()

    async def send(message):
        client.slow = 20 if b"slow" in message.get("body", b"") else 0
        await client.asgi_send(message)

    with anyio.move_on_after(61):
        await EventSourceResponse(produce)(client.scope, client.asgi_receive, send)
    assert pings(client) == [45, 60]


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\r\r", b"\n\r\n", b"\r\r\n", b"\n\r"])
async def test_no_ping_comes_inside_raw_bytes_that_do_not_end_an_event(end):
    async def produce(send):
        await send.send(b"data: half")
        await anyio.sleep(20)
        for byte in end:
            await send.send(bytes([byte]))
            await anyio.sleep(1)
        await anyio.sleep(20)

    client = FakeClient()
    await client.call(EventSourceResponse(produce))
    assert client.body.startswith(b"data: half" + end + b": ping")


async def test_a_single_line_ending_does_not_end_an_event():
    async def produce(send):
        await send.send(b"data: half\r\n")
        await anyio.sleep(50)

    client = FakeClient()
    await client.call(EventSourceResponse(produce))
    assert client.body == b"data: half\r\n"


async def test_a_ping_is_what_the_factory_returns():
    numbers = iter(range(100))

    def make():
        return ServerSentEvent(next(numbers), event="ping")

    client = FakeClient()
    with anyio.move_on_after(31):
        await client.call(EventSourceResponse(endless, ping_message_factory=make, sep="\n"))
    assert client.body.endswith(b"event: ping\ndata: 1\n\nevent: ping\ndata: 2\n\n")


async def test_a_factory_of_pings_may_be_async():
    async def make():
        await anyio.sleep(1)
        return ServerSentEvent(comment="thought about it")

    client = FakeClient()
    with anyio.move_on_after(33):
        await client.call(EventSourceResponse(endless, ping_message_factory=make))
    assert client.times[2] == 1 + 15 + 1
    assert b": thought about it\r\n\r\n" in client.body


async def test_a_ping_whose_making_was_overtaken_by_an_event_is_dropped():
    made = []

    async def make():
        made.append(anyio.current_time())
        await anyio.sleep(0 if len(made) == 1 else 5)
        return ServerSentEvent(comment="ping")

    async def produce(send):
        await anyio.sleep(17)
        await send.send("overtakes")
        await anyio.sleep(10)

    client = FakeClient()
    await client.call(EventSourceResponse(produce, ping_message_factory=make))
    assert made == [0, 15]
    assert pings(client) == []


@pytest.mark.parametrize("wrong", ["text", None, {"data": "x"}])
async def test_a_factory_that_returns_no_event_is_an_error_before_the_headers(wrong):
    client = FakeClient()
    with pytest.raises(TypeError, match="ping_message_factory must return a ServerSentEvent"):
        await client.call(EventSourceResponse(endless, ping_message_factory=lambda: wrong))
    assert client.messages == []


async def test_a_factory_that_fails_later_ends_the_stream_with_its_exception():
    results = [ServerSentEvent("x")]

    client, closed = FakeClient(), Recorder()
    with pytest.raises(IndexError):
        await client.call(
            EventSourceResponse(endless, ping_message_factory=results.pop, on_close=closed)
        )
    assert closed.reasons == [CloseReason.ERROR]
    assert not client.complete


async def test_a_factory_that_fails_beside_a_data_sender_is_heard_alone():
    results = [ServerSentEvent("x")]
    send, receive = current_runtime().open_memory_channel(0)

    async def fill():
        async with send:
            while True:
                await send.send("x")
                await anyio.sleep(100)

    with pytest.raises(IndexError):
        await FakeClient().call(
            EventSourceResponse(
                receive, data_sender_callable=fill, ping_message_factory=results.pop
            )
        )


async def test_no_ping_follows_the_final_body():
    client = FakeClient()

    async def send(message):
        client.slow = 0 if message.get("more_body", True) else 100
        await client.asgi_send(message)

    await EventSourceResponse(once)(client.scope, client.asgi_receive, send)
    assert client.complete


# Clean-up


async def test_a_generator_is_closed_when_the_client_leaves_while_it_waits_in_a_yield():
    closed, client = [], FakeClient(freeze_at=1)

    async def generate():
        try:
            while True:
                yield "x" * 10_000
        finally:
            await anyio.sleep(1)  # shielded by the response
            closed.append(anyio.current_time())

    await client.call_and_leave(EventSourceResponse(generate()))
    assert closed == [1]


async def test_a_generator_whose_clean_up_takes_too_long_is_cancelled_and_logged(caplog):
    client = FakeClient(freeze_at=1)

    async def generate():
        try:
            while True:
                yield "x" * 10_000
        finally:
            await anyio.sleep(100)

    await client.call_and_leave(EventSourceResponse(generate(), cleanup_timeout=3))
    assert anyio.current_time() == 3
    assert "cancelled after cleanup_timeout (3 seconds)" in caplog.text


async def test_a_generator_that_raises_while_it_is_closed_is_heard():
    client = FakeClient(freeze_at=1)

    async def generate():
        try:
            while True:
                yield "x" * 10_000
        finally:
            raise LookupError("clean-up")

    async def disconnect():
        await client.frozen.wait()
        client.disconnect()

    async with anyio.create_task_group() as group:
        group.start_soon(disconnect)
        with pytest.raises(LookupError, match="clean-up"):
            await client.call(EventSourceResponse(generate()))


async def test_the_clean_up_of_a_generator_does_not_hide_why_it_was_closed():
    async def generate():
        try:
            yield {"bad": 1}
        finally:
            await anyio.sleep(100)

    with pytest.raises(ValueError, match="JSONServerSentEvent"):
        await FakeClient().call(EventSourceResponse(generate(), cleanup_timeout=3))


async def test_a_generator_whose_nursery_fails_while_it_is_closed_is_heard():
    async def child():
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("child")

    async def generate():
        async with anyio.create_task_group() as group:
            group.start_soon(child)
            while True:
                yield "x" * 10_000

    client = FakeClient(freeze_at=1)

    async def disconnect():
        await client.frozen.wait()
        client.disconnect()

    async with anyio.create_task_group() as group:
        group.start_soon(disconnect)
        with pytest.raises(ExceptionGroup) as caught:
            await client.call(EventSourceResponse(generate()))
    [error] = caught.value.exceptions
    assert isinstance(error, LookupError)


async def test_a_generator_within_a_scope_and_a_nursery_is_closed_without_corrupting_them():
    order = []

    async def child():
        try:
            await anyio.sleep_forever()
        finally:
            order.append("child")

    async def generate():
        with anyio.move_on_after(1000):
            async with anyio.create_task_group() as group:
                group.start_soon(child)
                try:
                    while True:
                        yield "x" * 10_000
                finally:
                    order.append("generator")
                    group.cancel_scope.cancel()

    client = FakeClient(freeze_at=1)
    await client.call_and_leave(EventSourceResponse(generate()))
    assert sorted(order) == ["child", "generator"]
    await anyio.sleep(1)  # the scopes of this task are intact


async def test_a_timeout_of_a_generator_that_passes_while_it_is_suspended_is_its_own():
    async def generate():
        with anyio.move_on_after(1):
            for _ in range(100):
                yield "x" * 40_000
                await anyio.lowlevel.checkpoint()
        yield "after"

    client, closed = FakeClient(slow=0.4), Recorder()
    await client.call(EventSourceResponse(generate(), on_close=closed))
    assert client.data[-1] == "after"
    assert client.complete
    assert closed.reasons == [CloseReason.COMPLETED]


async def test_a_deadline_of_a_generator_that_passes_while_it_is_suspended_is_raised():
    async def generate():
        with anyio.fail_after(1):
            while True:
                yield "x" * 40_000
                await anyio.lowlevel.checkpoint()

    client, closed = FakeClient(slow=0.4), Recorder()
    with pytest.raises(TimeoutError):
        await client.call(EventSourceResponse(generate(), on_close=closed))
    assert closed.reasons == [CloseReason.ERROR]


async def test_a_generator_that_never_suspends_gives_way_after_its_turn(monkeypatch):
    clock = itertools.count(0, _iteration.TURN / 4)
    monkeypatch.setattr(_iteration, "monotonic", lambda: next(clock))

    async def generate():
        for n in range(100):
            yield b"" if n % 2 else f"data: {n}\n\n".encode()

    client = FakeClient()
    await client.call(EventSourceResponse(generate()))
    assert len(client.data) == 50
    assert len(client.chunks) > 10


async def test_a_generator_that_is_cut_in_its_turn_stops(monkeypatch):
    clock = itertools.count(0, _iteration.TURN / 4)
    monkeypatch.setattr(_iteration, "monotonic", lambda: next(clock))

    async def generate():
        while True:
            yield b""

    client = FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(generate()))
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        client.disconnect()
    assert client.body == b""


async def test_an_iterator_of_a_class_is_closed_when_it_is_exhausted():
    closed = []

    class Iterator:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

        async def aclose(self):
            closed.append(True)

    await FakeClient().call(EventSourceResponse(Iterator()))
    assert closed == [True]


async def test_an_iterator_of_a_class_need_not_have_anything_to_close():
    class Iterator:
        def __init__(self):
            self.left = ["a", b"", "b"]

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    client = FakeClient()
    await client.call(EventSourceResponse(Iterator()))
    assert client.data == ["a", "b"]


async def test_what_is_iterated_is_closed_and_what_made_it_is_not():
    closed = []

    class Iterable:
        async def __aiter__(self):
            try:
                yield "a"
            finally:
                closed.append("iterator")

        async def aclose(self):
            closed.append("iterable")

    response = EventSourceResponse(Iterable())
    for _ in range(2):
        client = FakeClient()
        await client.call(response)
        assert client.data == ["a"]
    head = FakeClient(method="HEAD")
    await head.call(response)
    assert closed == ["iterator", "iterator"]


# on_close


async def test_on_close_may_be_async_and_is_shielded():
    done = []

    async def on_close(reason):
        await anyio.sleep(2)
        done.append((reason, anyio.current_time()))

    with anyio.move_on_after(5):
        await FakeClient().call(EventSourceResponse(endless, on_close=on_close))
    assert done == [(CloseReason.CANCELLED, 7)]


async def test_on_close_comes_after_the_producer_has_stopped():
    order = []

    async def produce(send):
        try:
            await endless(send)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)
            order.append("producer")

    with anyio.move_on_after(1):
        await FakeClient().call(
            EventSourceResponse(produce, on_close=lambda reason: order.append(reason))
        )
    assert order == ["producer", CloseReason.CANCELLED]


async def test_on_close_that_takes_too_long_is_cancelled_and_logged(caplog):
    async def on_close(reason):
        await anyio.sleep(100)

    await FakeClient().call(EventSourceResponse(once, on_close=on_close, cleanup_timeout=3))
    assert anyio.current_time() == 3
    assert "on_close was cancelled after cleanup_timeout (3 seconds)" in caplog.text


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_exception_in_on_close_is_logged_and_hides_nothing(caplog, is_async):
    async def raise_async(reason):
        raise KeyError("on_close")

    def raise_sync(reason):
        raise KeyError("on_close")

    with pytest.raises(LookupError, match="mine"):
        await FakeClient().call(
            EventSourceResponse(fails, on_close=raise_async if is_async else raise_sync)
        )
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "on_close raised"
    assert isinstance(record.exc_info[1], KeyError)


# background


@pytest.mark.parametrize(
    ("cause", "runs"),
    [
        ("completed", True),
        ("disconnected", True),
        ("timed out", True),
        ("expired", True),
        ("error", False),
        ("cancelled", False),
    ],
)
async def test_background_runs_after_an_end_that_is_no_error(cause, runs):
    order = []

    async def background():
        order.append("background")

    client = FakeClient(freeze_at=1 if cause == "timed out" else None)
    if cause == "disconnected":
        client.disconnect()
    response = EventSourceResponse(
        {"completed": once, "error": fails}.get(cause, endless),
        background=BackgroundTask(background),
        send_timeout=2,
        max_age=5 if cause == "expired" else None,
        on_close=lambda reason: order.append("on_close"),
    )
    with anyio.move_on_after(20):
        try:
            await client.call(response)
        except LookupError:
            assert cause == "error"
    assert order == (["on_close", "background"] if runs else ["on_close"])


# preflight


async def test_headers_wait_for_started_in_a_preflight():
    async def produce(send, *, task_status):
        await anyio.sleep(3)
        task_status.started()
        await send.send("a")

    client = FakeClient()
    await client.call(EventSourceResponse(produce, preflight=True))
    assert client.times[0] == 3
    assert client.data == ["a"]


async def test_an_exception_before_started_leaves_before_the_headers():
    async def produce(send, *, task_status):
        await anyio.sleep(3)
        raise HTTPException(404)

    client, closed = FakeClient(), Recorder()
    with pytest.raises(HTTPException) as caught:
        await client.call(EventSourceResponse(produce, preflight=True, on_close=closed))
    assert caught.value.status_code == 404
    assert client.messages == []
    assert closed.reasons == [CloseReason.ERROR]


async def test_an_exception_after_started_tears_the_stream():
    async def produce(send, *, task_status):
        task_status.started()
        await anyio.lowlevel.checkpoint()
        raise HTTPException(404)

    client = FakeClient()
    with pytest.raises(HTTPException):
        await client.call(EventSourceResponse(produce, preflight=True))
    assert client.status == 200
    assert not client.complete


async def test_a_preflight_that_never_calls_started_is_an_error():
    async def produce(send, *, task_status):
        pass

    client = FakeClient()
    with pytest.raises(RuntimeError, match=r"without calling task_status.started\(\)"):
        await client.call(EventSourceResponse(produce, preflight=True))
    assert client.messages == []


async def test_started_twice_is_an_error():
    async def produce(send, *, task_status):
        task_status.started()
        task_status.started()

    with pytest.raises(RuntimeError, match="called twice"):
        await FakeClient().call(EventSourceResponse(produce, preflight=True))


# max_age, retry


async def test_max_age_ends_the_stream_whole_within_its_last_tenth():
    times = set()
    for _ in range(20):
        began, client, closed = anyio.current_time(), FakeClient(), Recorder()
        await client.call(
            EventSourceResponse(
                endless,
                ping=0,
                max_age=100,
                on_close=closed,
                farewell=ServerSentEvent("bye", event="farewell", retry=900),
            )
        )
        assert closed.reasons == [CloseReason.EXPIRED]
        assert client.complete
        assert [event.type for event in client.events] == ["message", "farewell"]
        times.add(closed.times[0] - began)
    assert 90 <= min(times) < max(times) <= 100


async def test_max_age_ends_a_handed_in_channel_with_what_it_had_accepted():
    send, receive = current_runtime().open_memory_channel(5)

    async def fill():
        while True:
            await send.send("x")
            await anyio.sleep(30)

    client, closed = FakeClient(), Recorder()
    await client.call(
        EventSourceResponse(
            receive, ping=0, max_age=100, on_close=closed, data_sender_callable=fill
        )
    )
    send.close()
    assert client.data == ["x"] * 4
    assert client.complete
    assert closed.reasons == [CloseReason.EXPIRED]


async def test_no_farewell_comes_inside_raw_bytes_that_do_not_end_an_event():
    async def produce(send):
        await send.send(b"data: half")
        await anyio.sleep_forever()

    client = FakeClient()
    await client.call(
        EventSourceResponse(produce, max_age=1, ping=0, farewell=ServerSentEvent("bye"))
    )
    assert client.body == b"data: half"
    assert client.complete


async def test_retry_is_the_first_frame():
    client = FakeClient()
    await client.call(EventSourceResponse(once, retry=1500, sep="\n"))
    assert client.chunks == [b"retry: 1500\n\n", b"data: only\n\n"]


# HEAD and WebSocket


async def test_head_is_answered_with_the_headers_and_starts_no_producer():
    started = []

    async def produce(send):
        started.append(True)

    head, get = FakeClient(method="HEAD"), FakeClient()
    closed, background = Recorder(), []

    async def run_in_background():
        background.append("ran")

    response = EventSourceResponse(
        produce,
        retry=5,
        max_age=5,
        on_close=closed,
        background=BackgroundTask(run_in_background),
    )
    await head.call(response)
    assert not started
    assert head.complete
    assert head.body == b""
    assert len(head.messages) == 2
    assert closed.reasons == [CloseReason.COMPLETED]
    assert background == ["ran"]
    await get.call(response)
    assert get.headers == head.headers


async def test_head_closes_content_that_was_handed_in():
    closed = []

    class Iterator:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise AssertionError("iterated")

        async def aclose(self):
            await anyio.sleep(1)
            closed.append(True)

    await FakeClient(method="HEAD").call(EventSourceResponse(Iterator()))
    assert closed == [True]


async def test_content_that_cannot_be_closed_is_logged(caplog):
    class Iterator:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise AssertionError("iterated")

        async def aclose(self):
            raise LookupError("stuck")

    client, closed = FakeClient(method="HEAD"), Recorder()
    await client.call(EventSourceResponse(Iterator(), on_close=closed))
    assert client.complete
    assert "closing the content raised" in caplog.text
    assert closed.reasons == [CloseReason.COMPLETED]


async def test_a_websocket_that_closes_before_it_is_denied_has_gone():
    client, closed = FakeClient(slow=1), Recorder()
    client.scope = {"type": "websocket"}
    client.incoming = [{"type": "websocket.connect"}, {"type": "websocket.disconnect"}]
    await client.call(EventSourceResponse(once, on_close=closed))
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


@pytest.mark.parametrize("extensions", [{"websocket.http.response": {}}, {}, None])
async def test_a_websocket_handshake_is_denied(extensions):
    client, closed = FakeClient(), Recorder()
    client.scope = {"type": "websocket", "extensions": extensions}
    client.incoming = [{"type": "websocket.connect"}]
    await client.call(EventSourceResponse(once, on_close=closed))
    if extensions:
        start, body = client.messages
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
        assert body["type"] == "websocket.http.response.body"
        assert not body["more_body"]
    else:
        assert client.messages == [{"type": "websocket.close"}]
    assert closed.reasons == [CloseReason.COMPLETED]


# Context and instrument


async def test_context_variables_of_the_endpoint_are_seen_by_the_producer():
    user: ContextVar[str] = ContextVar("user")

    async def produce(send):
        await send.send(user.get())

    async def generate():
        yield user.get()

    for content in (lambda: produce, generate):
        client = FakeClient()
        token = user.set("someone")
        await client.call(EventSourceResponse(content()))
        user.reset(token)
        assert client.data == ["someone"]


class Log(Instrument):
    def __init__(self):
        self.calls = []

    def opened(self, scope):
        self.calls.append(("opened", scope["path"]))

    def started(self, scope):
        self.calls.append(("started",))

    def sent(self, scope, size):
        self.calls.append(("sent", size))

    def pinged(self, scope):
        self.calls.append(("pinged",))

    def closed(self, scope, reason):
        self.calls.append(("closed", reason))


async def test_an_instrument_is_told_what_happens():
    async def produce(send):
        await send.send("a")
        await anyio.sleep(20)

    log = Log()
    await FakeClient().call(EventSourceResponse(produce, instrument=log))
    assert log.calls == [
        ("opened", "/"),
        ("started",),
        ("sent", 11),
        ("pinged",),
        ("closed", CloseReason.COMPLETED),
    ]


async def test_an_instrument_need_not_override_anything():
    async def produce(send):
        await send.send("a")
        await anyio.sleep(20)

    client = FakeClient()
    await client.call(EventSourceResponse(produce, instrument=Instrument()))
    assert client.complete


async def test_an_instrument_that_raises_is_logged_and_told_of_the_end_alone(caplog):
    class Broken(Log):
        def started(self, scope):
            super().started(scope)
            raise LookupError("broken")

    log, client = Broken(), FakeClient()
    await client.call(EventSourceResponse(once, instrument=log))
    assert client.complete
    assert log.calls == [("opened", "/"), ("started",), ("closed", CloseReason.COMPLETED)]
    assert "it will be told of the end alone" in caplog.text


async def test_an_infinite_buffer_is_allowed():
    client = FakeClient()
    await client.call(EventSourceResponse(once, max_buffer_size=math.inf))
    assert client.complete


async def test_a_stream_leaves_nothing_to_the_garbage_collector(anyio_backend_name):
    """On asyncio a cancelled task and its exception refer to each other, and to the stream."""
    if anyio_backend_name == "asyncio":
        return

    def ours():
        return sum(str(type(found).__module__).startswith("trio_sse") for found in gc.get_objects())

    async def generate():
        yield "a"

    async def refuse(send, task_status):
        raise LookupError

    cases = {
        "producer": (lambda: once, {}),
        "generator": (generate, {}),
        "failing": (lambda: fails, {}),
        "failing before the headers": (lambda: refuse, {"preflight": True}),
        "without pings": (lambda: once, {"ping": 0}),
        "HEAD": (lambda: once, {"method": "HEAD"}),
    }

    async def visit(make, options):
        client = FakeClient(method=options.get("method", "GET"))
        options = {name: value for name, value in options.items() if name != "method"}
        with suppress(LookupError):
            await client.call(EventSourceResponse(make(), on_close=Recorder(), **options))

    for case in cases.values():
        async with anyio.create_task_group() as group:
            group.start_soon(visit, *case)
    gc.collect()
    before = ours()
    gc.disable()
    try:
        for kind, case in cases.items():
            for _ in range(10):
                async with anyio.create_task_group() as group:
                    group.start_soon(visit, *case)
            assert ours() - before < 10, kind
    finally:
        gc.enable()


@pytest.mark.parametrize("virtual_time_backend", ["asyncio"], indirect=True)
async def test_a_native_cancellation_stops_the_stream_at_once():
    async def produce(send):
        try:
            while True:
                await send.send("again")
                await anyio.sleep(0.01)
        finally:
            stopped.append(anyio.current_time())

    stopped, closed, client = [], Recorder(), Uvicorn(slow=0.003)
    client.transport.buffered = 1  # there is always something on its way
    response = EventSourceResponse(produce, on_close=closed)
    task = asyncio.get_running_loop().create_task(client.call(response))
    await client.wait_for_body(b"again")
    sends, now = client.sends, anyio.current_time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped == [now]
    assert client.sends <= sends + 1
    assert closed.reasons == [CloseReason.CANCELLED]
