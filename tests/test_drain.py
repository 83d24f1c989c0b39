"""Leaving: every live stream of a run ends, promptly and whole."""

import gc
from contextvars import copy_context

import anyio
import anyio.lowlevel
import pytest
import trio

from fakes import FakeClient, Recorder, serving
from trio_sse import (
    CloseReason,
    EventSourceResponse,
    ServerSentEvent,
    drain,
    draining,
    is_draining,
)
from trio_sse._drain import run_streams
from trio_sse._runtime import current_runtime
from trio_sse._supervisor import Stream

pytestmark = pytest.mark.anyio

FAREWELL = ServerSentEvent("bye", event="farewell", retry=900)


async def endless(send):
    await send.send("first")
    await anyio.sleep_forever()


async def test_draining_ends_every_stream_with_its_farewell_and_a_final_body():
    clients, closed = [FakeClient() for _ in range(3)], Recorder()
    async with anyio.create_task_group() as group:
        for client in clients:
            response = EventSourceResponse(endless, farewell=FAREWELL, on_close=closed)
            group.start_soon(client.call, response)
            await client.wait_for_body(b"first")
        await drain()
        assert anyio.current_time() == 0
        assert closed.reasons == [CloseReason.SHUTDOWN] * 3
    for client in clients:
        assert [event.type for event in client.events] == ["message", "farewell"]
        assert client.complete


async def test_the_reconnection_time_of_a_farewell_is_spread():
    retries = set()
    async with anyio.create_task_group() as group:
        clients = [FakeClient() for _ in range(50)]
        for client in clients:
            group.start_soon(client.call, EventSourceResponse(endless, farewell=FAREWELL))
            await client.wait_for_body(b"first")
        await drain()
    for client in clients:
        [line] = [line for line in client.body.split(b"\r\n") if line.startswith(b"retry: ")]
        retries.add(int(line.removeprefix(b"retry: ")))
    assert 600 <= min(retries) < max(retries) <= 1200
    assert len(retries) > 10


async def test_a_farewell_without_a_reconnection_time_gets_one():
    client = FakeClient()
    async with anyio.create_task_group() as group:
        response = EventSourceResponse(endless, farewell=ServerSentEvent("bye"))
        group.start_soon(client.call, response)
        await client.wait_for_body(b"first")
        await drain()
    assert b"retry: " in client.body


async def test_without_a_farewell_a_drained_stream_just_ends():
    client = FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(endless))
        await client.wait_for_body(b"first")
        await drain()
    assert client.body == b"data: first\r\n\r\n"
    assert client.complete


@pytest.mark.parametrize("asks", ["calls draining", "waits for what it was given"])
async def test_a_producer_that_asks_for_draining_gets_the_grace(asks):
    client, closed = FakeClient(), Recorder()
    given = draining()

    async def produce(send):
        event = draining() if asks == "calls draining" else given
        assert not event.is_set()
        await event.wait()
        assert event.is_set()
        await anyio.sleep(0.7)
        await send.send("last")

    async with anyio.create_task_group() as group:
        group.start_soon(
            client.call, EventSourceResponse(produce, farewell=FAREWELL, on_close=closed)
        )
        await anyio.sleep(1)
        await drain(grace=1)
    assert client.data == ["last", "bye"]
    assert closed.reasons == [CloseReason.SHUTDOWN]
    assert closed.times == [1.7]


async def test_a_producer_that_outlasts_the_grace_is_cancelled_at_its_end():
    client, closed = FakeClient(), Recorder()

    async def produce(send):
        await draining().wait()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        response = EventSourceResponse(produce, on_close=closed, farewell=FAREWELL)
        group.start_soon(client.call, response)
        await anyio.sleep(1)
        await drain(grace=3)
    assert closed.reasons == [CloseReason.SHUTDOWN]
    assert closed.times == [4]
    assert client.events[-1].type == "farewell"


async def test_a_producer_that_does_not_ask_is_cancelled_at_once_while_others_have_grace():
    quick, slow, closed = FakeClient(), FakeClient(), Recorder()

    async def produce(send):
        await draining().wait()
        await anyio.sleep(2)

    async with anyio.create_task_group() as group:
        group.start_soon(quick.call, EventSourceResponse(endless, on_close=closed))
        group.start_soon(slow.call, EventSourceResponse(produce, on_close=closed))
        await anyio.sleep(1)
        await drain(grace=5)
    assert closed.times == [1, 3]


async def test_what_was_accepted_is_sent_before_the_farewell():
    client = FakeClient(slow=0.1)
    send, receive = current_runtime().open_memory_channel(10)
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(receive, farewell=FAREWELL))
        await client.wait_for(lambda client: len(client.messages) == 2)
        for letter in "abc":
            send.send_nowait(letter)
        await drain()
    send.close()
    assert client.data == ["a", "b", "c", "bye"]
    assert client.complete


async def test_a_channel_that_expires_while_the_server_drains_is_ended_once():
    client, closed = FakeClient(slow=0.5), Recorder()
    send, receive = current_runtime().open_memory_channel(10)
    for letter in "ab":
        send.send_nowait(letter)
    async with anyio.create_task_group() as group:
        response = EventSourceResponse(receive, max_age=0.7, on_close=closed, farewell=FAREWELL)
        group.start_soon(client.call, response)
        await anyio.sleep(0.6)
        await drain()
    send.close()
    assert client.data == ["a", "b", "bye"]
    assert len(closed.reasons) == 1


async def test_senders_into_a_drained_channel_learn_of_it():
    client, raised = FakeClient(), []
    send, receive = current_runtime().open_memory_channel(0)

    async def fill():
        try:
            while True:
                await send.send("x")
                await anyio.sleep(1)
        except Exception as error:
            raised.append(type(error).__name__)
        send.close()

    async with anyio.create_task_group() as group:
        group.start_soon(fill)
        group.start_soon(client.call, EventSourceResponse(receive, ping=0))
        await anyio.sleep(2.5)
        await drain()
    assert client.data == ["x"] * 3
    assert raised == ["BrokenResourceError"]


async def test_a_drained_channel_is_closed_before_what_it_held_is_written():
    client = FakeClient(slow=0.5)
    send, receive = current_runtime().open_memory_channel(10)
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(receive))
        send.send_nowait("a")
        await anyio.sleep(0.25)
        group.start_soon(drain)
        await anyio.sleep(0.5)
        assert not client.complete
        with pytest.raises((trio.BrokenResourceError, anyio.BrokenResourceError)):
            send.send_nowait("b")
    send.close()
    assert client.data == ["a"]


async def test_the_clean_up_of_a_producer_comes_before_the_farewell():
    client = FakeClient()

    async def produce(send):
        try:
            await endless(send)
        finally:
            with anyio.move_on_after(5, shield=True):
                await anyio.sleep(2)
                await send.send("saved")

    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(produce, farewell=FAREWELL))
        await client.wait_for_body(b"first")
        await drain()
        assert anyio.current_time() == 2
    assert client.data == ["first", "saved", "bye"]


async def test_a_data_sender_is_cancelled_and_what_it_sent_is_delivered():
    client = FakeClient()
    send, receive = current_runtime().open_memory_channel(5)

    async def fill():
        try:
            await send.send("a")
            await anyio.sleep_forever()
        finally:
            send.send_nowait("b")

    async with anyio.create_task_group() as group:
        response = EventSourceResponse(receive, data_sender_callable=fill)
        group.start_soon(client.call, response)
        await client.wait_for_body(b"a")
        await drain()
    send.close()
    assert client.data == ["a", "b"]
    assert client.complete


@pytest.mark.parametrize("send_timeout", [None, 0.5, 100])
async def test_a_client_that_takes_nothing_is_given_up(send_timeout):
    client, closed = FakeClient(freeze_at=1), Recorder()
    async with anyio.create_task_group() as group:
        response = EventSourceResponse(endless, on_close=closed, send_timeout=send_timeout)
        group.start_soon(client.call, response)
        await client.frozen.wait()
        await anyio.sleep(0.25)
        began = anyio.current_time()
        await drain()
        took = anyio.current_time() - began
    assert took == (0.25 if send_timeout == 0.5 else 1)
    assert closed.reasons == [CloseReason.SHUTDOWN]
    assert not client.complete


async def test_a_client_that_takes_each_send_slowly_does_not_hold_up_the_others():
    client, closed = FakeClient(slow=0.4), Recorder()
    send, receive = current_runtime().open_memory_channel(100)
    for _ in range(100):
        send.send_nowait("x" * 70_000)
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(receive, on_close=closed))
        await anyio.sleep(1)
        await drain()
        assert anyio.current_time() == 2
    send.close()
    assert closed.reasons == [CloseReason.SHUTDOWN]
    assert not client.complete


async def test_a_ping_factory_that_never_returns_is_given_up():
    client, closed = FakeClient(), Recorder()
    async with anyio.create_task_group() as group:
        response = EventSourceResponse(
            endless, ping_message_factory=anyio.sleep_forever, on_close=closed
        )
        group.start_soon(client.call, response)
        await anyio.sleep(1)
        await drain()
        assert anyio.current_time() == 2
    assert closed.reasons == [CloseReason.SHUTDOWN]


async def test_a_farewell_that_nobody_takes_is_given_up():
    client, closed = FakeClient(freeze_at=2), Recorder()
    async with anyio.create_task_group() as group:
        response = EventSourceResponse(endless, on_close=closed, farewell=FAREWELL)
        group.start_soon(client.call, response)
        await client.wait_for_body(b"first")
        await drain()
        assert anyio.current_time() == 1
    assert closed.reasons == [CloseReason.SHUTDOWN]


async def test_a_stream_that_already_sends_its_final_body_is_completed():
    client, closed = FakeClient(), Recorder()

    async def once(send):
        await send.send("only")

    async def send(message):
        client.slow = 0 if message.get("more_body", True) else 0.5
        await client.asgi_send(message)

    async with anyio.create_task_group() as group:
        response = EventSourceResponse(once, on_close=closed, farewell=FAREWELL)
        group.start_soon(response, client.scope, client.asgi_receive, send)
        await client.wait_for_body(b"only")
        await anyio.sleep(0.25)
        await drain()
    assert closed.reasons == [CloseReason.COMPLETED]
    assert client.data == ["only"]


@pytest.mark.parametrize("retry", [None, 900])
async def test_a_response_that_starts_while_draining_is_refused_softly(retry):
    started = []

    async def produce(send):
        started.append(True)

    await drain()
    assert is_draining()
    client, closed = FakeClient(), Recorder()
    await client.call(
        EventSourceResponse(produce, 503, retry=retry, farewell=FAREWELL, on_close=closed)
    )
    assert client.status == 200
    assert client.complete
    [frame] = client.chunks
    milliseconds = int(frame.removeprefix(b"retry: ").removesuffix(b"\r\n\r\n"))
    middle = retry or 3000
    assert 0.66 * middle < milliseconds < 1.34 * middle
    assert closed.reasons == [CloseReason.SHUTDOWN]
    assert not started


async def test_a_second_drain_waits_with_the_first():
    ended = []

    async def produce(send):
        await draining().wait()
        await anyio.sleep(2)

    async def drain_and_note(grace):
        await drain(grace=grace)
        ended.append(anyio.current_time())

    client = FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(produce))
        await anyio.sleep(1)
        group.start_soon(drain_and_note, 10)
        await anyio.sleep(0.5)
        group.start_soon(drain_and_note, 0)
    assert ended == [3, 3]


async def test_a_drain_that_is_cancelled_leaves_no_stream_its_grace():
    closed, client = Recorder(), FakeClient()

    async def produce(send):
        await draining().wait()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(produce, on_close=closed))
        await anyio.sleep(1)
        with anyio.move_on_after(2):
            await drain(grace=100)
    assert closed.times == [3]
    assert client.complete


async def test_a_drain_waits_for_on_close():
    done, client = [], FakeClient()

    async def on_close(reason):
        await anyio.sleep(2)
        done.append(reason)

    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(endless, on_close=on_close))
        await client.wait_for_body(b"first")
        await drain()
        assert done == [CloseReason.SHUTDOWN]


async def test_a_drain_without_streams_is_over_at_once_and_still_a_checkpoint():
    with anyio.CancelScope() as scope:
        scope.cancel()
        await drain()
    assert scope.cancelled_caught
    await drain()


async def test_a_stream_can_be_drained_before_its_producer_was_preflighted():
    client, closed = FakeClient(), Recorder()

    async def produce(send, *, task_status):
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        response = EventSourceResponse(produce, preflight=True, on_close=closed)
        group.start_soon(client.call, response)
        await anyio.sleep(1)
        await drain()
    assert closed.reasons == [CloseReason.SHUTDOWN]
    assert client.status == 200
    assert client.complete


@pytest.mark.parametrize(
    ("grace", "error"),
    [(-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("1", TypeError)],
)
async def test_a_grace_out_of_range_is_refused(grace, error):
    with pytest.raises(error, match="grace"):
        await drain(grace=grace)
    assert not is_draining()


async def test_draining_can_be_asked_for_outside_of_a_stream():
    assert not draining().is_set()
    async with anyio.create_task_group() as group:
        group.start_soon(draining().wait)
        await anyio.lowlevel.checkpoint()
        await drain()


async def test_a_context_that_outlives_its_stream_does_not_keep_it():
    contexts, client = [], FakeClient()

    async def produce(send):
        draining()
        contexts.append(copy_context())

    async with anyio.create_task_group() as group:  # a task keeps its last cancellation
        group.start_soon(client.call, EventSourceResponse(produce))
    gc.collect()
    assert not [found for found in gc.get_objects() if type(found) is Stream]
    assert not contexts[0].run(draining).is_set()


async def test_the_drain_of_one_run_is_not_that_of_another():
    await drain()
    others = []

    async def other():
        others.append(is_draining())

    backend = "trio" if current_runtime().name == "trio" else "asyncio"
    await anyio.to_thread.run_sync(lambda: anyio.run(other, backend=backend))
    assert others == [False]
    assert is_draining()


def test_draining_outside_of_an_event_loop_is_an_error():
    with pytest.raises(RuntimeError):
        is_draining()


async def test_a_client_that_left_is_not_waited_for():
    client = FakeClient()
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
        client.disconnect()
        await drain()
        assert anyio.current_time() == 0


async def test_a_client_that_takes_not_even_its_refusal_is_given_up():
    await drain()
    client, closed = FakeClient(freeze_at=1), Recorder()
    await client.call(EventSourceResponse(endless, on_close=closed))
    assert closed.times == [1]


async def test_one_server_after_another_is_waited_for_in_one_run():
    streams = run_streams()
    for _ in range(2):
        client = FakeClient()
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, EventSourceResponse(slow_to_end))
            await client.wait_for_body(b"first")
            await streams.leave(1)
            assert client.complete
    assert anyio.current_time() == 1


async def slow_to_end(send):
    try:
        await endless(send)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.5)
