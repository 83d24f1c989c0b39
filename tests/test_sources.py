"""The four kinds of content, and the contract that they meet."""

import math
from contextlib import suppress
from functools import partial

import anyio
import anyio.lowlevel
import pytest
import trio

from fakes import FakeClient, Recorder, serving
from trio_sse import CloseReason, EncodeError, EventSourceResponse, ServerSentEvent
from trio_sse._runtime import current_runtime
from trio_sse._source import MAX_CHUNK_SIZE
from trio_sse._source._channel import ENOUGH_TO_JOIN

pytestmark = pytest.mark.anyio


async def two(send):
    await send.send("a")
    await send.send("b")


async def two_generated():
    yield "a"
    yield "b"


class TwoIterated:
    """An async iterator of a class, with an aclose that tells."""

    def __init__(self):
        self.left = ["a", "b"]
        self.closed = 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        await anyio.lowlevel.checkpoint()
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)

    async def aclose(self):
        await anyio.lowlevel.checkpoint()
        self.closed += 1


class Producer:
    async def method(self, send):
        await two(send)

    async def __call__(self, send):
        await two(send)


def full_channel(items=("a", "b"), library=None):
    library = library or current_runtime()
    send, receive = library.open_memory_channel(math.inf)
    for item in items:
        send.send_nowait(item)
    send.close()
    return receive


async def two_with(prefix, send):
    await two(send)


CONTENTS = {
    "producer function": lambda: two,
    "producer method": lambda: Producer().method,
    "producer object": Producer,
    "producer partial": lambda: partial(two_with, "prefix"),
    "producer lambda": lambda: lambda send: two(send),
    "receive channel": full_channel,
    "async generator": two_generated,
    "async iterator": TwoIterated,
}


@pytest.mark.parametrize("kind", CONTENTS)
async def test_each_kind_of_content_is_streamed_to_a_complete_body(kind):
    client = FakeClient()
    await client.call(EventSourceResponse(CONTENTS[kind](), ping=0))
    assert client.body == b"data: a\r\n\r\ndata: b\r\n\r\n"
    assert client.complete


async def test_an_anyio_channel_is_streamed_on_either_runtime():
    from trio_sse._runtime import _anyio

    client = FakeClient()
    await client.call(EventSourceResponse(full_channel(library=_anyio)))
    assert client.data == ["a", "b"]


async def test_a_trio_channel_on_asyncio_is_an_error_that_says_what_to_use(anyio_backend_name):
    if anyio_backend_name == "trio":
        return
    _, receive = trio.open_memory_channel[str](1)
    client, closed = FakeClient(), Recorder()
    with pytest.raises(RuntimeError, match=r"anyio\.create_memory_object_stream"):
        await client.call(EventSourceResponse(receive, on_close=closed))
    assert client.messages == []
    assert closed.reasons == [CloseReason.ERROR]
    with pytest.raises(trio.ClosedResourceError):
        receive.receive_nowait()


class OtherChannel(trio.abc.ReceiveChannel[str]):
    """A receive channel that is no memory channel."""

    def __init__(self):
        self.left = ["a", "b"]
        self.closed = False

    async def receive(self):
        if not self.left:
            raise trio.EndOfChannel
        return self.left.pop(0)

    async def aclose(self):
        self.closed = True


async def test_a_receive_channel_of_another_make_is_iterated_and_closed(anyio_backend_name):
    if anyio_backend_name == "asyncio":
        return
    channel, client = OtherChannel(), FakeClient()
    await client.call(EventSourceResponse(channel))
    assert client.data == ["a", "b"]
    assert channel.closed


async def test_every_kind_of_item_is_sent():
    items = [
        ServerSentEvent("a", id=1),
        "b",
        {"data": "c", "event": "e"},
        b"data: d\r\n\r\n",
        5,
        None,
        b"",
    ]
    client = FakeClient()
    await client.call(EventSourceResponse(full_channel(items)))
    assert client.data == ["a", "b", "c", "d", "5", "None"]


async def test_the_separator_of_the_response_is_used_for_every_item():
    client = FakeClient()
    await client.call(
        EventSourceResponse(full_channel([ServerSentEvent("a"), "b", {"data": "c"}]), sep="\n")
    )
    assert client.body == b"data: a\n\ndata: b\n\ndata: c\n\n"


EVENTS = [ServerSentEvent("x" * 100, id=n) for n in range(1000)]


async def burst_nowait(send):
    for event in EVENTS:
        send.send_nowait(event)


async def burst_generated():
    for event in EVENTS:
        yield event


@pytest.mark.parametrize(
    "content",
    [lambda: burst_nowait, burst_generated, lambda: full_channel(EVENTS)],
    ids=["send_nowait", "generator", "channel"],
)
async def test_a_burst_leaves_joined_and_in_order(content):
    client = FakeClient()
    await client.call(EventSourceResponse(content(), max_buffer_size=1000))
    expected = b"".join(event.encode() for event in EVENTS)
    assert client.body == expected
    assert client.sends <= math.ceil(len(expected) / MAX_CHUNK_SIZE) + 2


@pytest.mark.parametrize("size", [1000, 16, 4])
@pytest.mark.parametrize("producing", [True, False], ids=["producer", "channel"])
async def test_events_that_are_sent_one_after_the_other_leave_joined(producing, size):
    async def produce(send):
        for n in range(160):
            await send.send(n)
        await send.aclose()

    client = FakeClient()
    if producing:
        await client.call(EventSourceResponse(produce, max_buffer_size=size))
    else:
        send, receive = current_runtime().open_memory_channel(size)
        response = EventSourceResponse(receive, data_sender_callable=partial(produce, send))
        await client.call(response)
    assert client.data == [str(n) for n in range(160)]
    assert len(client.chunks) <= 160 / min(size, ENOUGH_TO_JOIN) + 4


async def test_a_channel_whose_items_others_receive_too_is_not_waited_for_for_ever():
    send, receive = anyio.create_memory_object_stream(100)
    other = receive.clone()
    for n in range(4):
        send.send_nowait(n)

    async def take_turns():
        while True:  # there is always something, and never much
            send.send_nowait("more")
            await anyio.lowlevel.checkpoint()
            send.send_nowait("more")
            await anyio.lowlevel.checkpoint()
            for _ in range(2):
                with suppress(anyio.WouldBlock):
                    other.receive_nowait()

    client = FakeClient()
    with send, other:
        async with serving(client, EventSourceResponse(receive)) as group:
            group.start_soon(take_turns)
            with anyio.move_on_after(1):
                for _ in range(500):
                    await anyio.lowlevel.checkpoint()
    assert len(client.chunks) > 5


async def test_an_event_that_is_sent_alone_leaves_alone_and_at_once():
    async def produce(send):
        for n in range(3):
            await anyio.sleep(1)
            await send.send(n)

    client = FakeClient()
    await client.call(EventSourceResponse(produce))
    assert client.times[2:5] == [1, 2, 3]


async def test_a_chunk_stops_growing_at_the_byte_limit():
    client = FakeClient()
    big = ServerSentEvent("x" * (MAX_CHUNK_SIZE - 100))
    await client.call(EventSourceResponse(full_channel([big, big, big])))
    assert len(client.chunks) == 2  # two pass the limit together, the third leaves alone
    assert client.complete


async def test_a_generator_runs_ahead_of_the_client_by_no_more_than_the_limit():
    made = 0

    async def endless():
        nonlocal made
        while True:
            made += 1
            yield ServerSentEvent("x" * 1000)

    client = FakeClient(freeze_at=1)
    async with serving(client, EventSourceResponse(endless())):
        await client.frozen.wait()
        await anyio.sleep(100)
    assert made <= 2 * (MAX_CHUNK_SIZE // 1000 + 1)


async def test_one_event_leaves_at_once():
    gate = anyio.Event()

    async def produce(send):
        await send.send("first")
        await gate.wait()
        await send.send("second")

    client = FakeClient()
    async with serving(client, EventSourceResponse(produce, ping=0)):
        await client.wait_for_body(b"data: first\r\n\r\n")
        gate.set()
        await client.wait_for(lambda client: client.complete)
    assert client.data == ["first", "second"]


async def test_headers_leave_before_any_event_exists():
    client = FakeClient()

    async def silent(send):
        await anyio.sleep_forever()

    async with serving(client, EventSourceResponse(silent, ping=0)):
        await client.wait_for(lambda client: len(client.messages) == 2)
        assert client.messages[1] == {"type": "http.response.body", "body": b"", "more_body": True}


async def test_a_producer_may_send_without_room_for_anything_in_the_channel():
    client = FakeClient()
    await client.call(EventSourceResponse(two, max_buffer_size=0))
    assert client.data == ["a", "b"]


async def test_several_tasks_may_clone_the_channel_of_a_producer():
    async def one(send, letter):
        async with send:
            await send.send(letter)

    async def produce(send):
        async with anyio.create_task_group() as group:
            for letter in "abc":
                group.start_soon(one, send.clone(), letter)

    client = FakeClient()
    await client.call(EventSourceResponse(produce))
    assert sorted(client.data) == ["a", "b", "c"]


async def test_a_producer_that_returns_ends_the_stream_whoever_holds_a_clone():
    clones = []

    async def produce(send):
        clones.append(send.clone())
        await send.send("only")
        await anyio.sleep(1)

    client = FakeClient()
    await client.call(EventSourceResponse(produce))
    assert client.data == ["only"]
    assert client.complete
    with pytest.raises((trio.BrokenResourceError, anyio.BrokenResourceError)):
        clones[0].send_nowait("late")
    clones[0].close()


async def test_a_producer_that_closes_its_channel_may_go_on_until_it_returns():
    saved = []

    async def produce(send):
        with send:
            await send.send("a")
        await anyio.sleep(1)
        saved.append(True)

    client = FakeClient()
    await client.call(EventSourceResponse(produce))
    assert client.data == ["a"]
    assert client.complete
    assert saved


async def test_a_producer_that_closes_its_channel_and_raises_is_heard():
    async def produce(send):
        send.close()
        await anyio.sleep(1)
        raise LookupError("mine")

    client = FakeClient()
    with pytest.raises(LookupError, match="mine"):
        await client.call(EventSourceResponse(produce))
    assert not client.complete


async def test_what_a_producer_sent_before_it_raised_is_written_first():
    async def produce(send):
        send.send_nowait("a")
        send.send_nowait(ServerSentEvent("sorry", event="error"))
        raise LookupError("mine")

    client, closed = FakeClient(slow=1), Recorder()
    with pytest.raises(LookupError, match="mine"):
        await client.call(EventSourceResponse(produce, on_close=closed))
    assert client.data == ["a", "sorry"]
    assert not client.complete
    assert closed.reasons == [CloseReason.ERROR]


async def test_what_a_generator_yielded_before_it_raised_is_written_first():
    async def generate():
        yield "a"
        raise LookupError("mine")

    client = FakeClient()
    with pytest.raises(LookupError, match="mine"):
        await client.call(EventSourceResponse(generate()))
    assert client.data == ["a"]
    assert not client.complete


async def test_the_items_of_a_producer_that_raised_are_bounded_by_the_send_timeout():
    async def produce(send):
        send.send_nowait("a")
        raise LookupError("mine")

    client, began = FakeClient(freeze_at=1), anyio.current_time()
    with pytest.raises(LookupError):
        await client.call(EventSourceResponse(produce, send_timeout=3))
    assert anyio.current_time() - began == 3


class Unprintable:
    def __str__(self):
        raise LookupError("no text")


@pytest.mark.parametrize(
    ("bad", "named"), [({"dat": 1}, "dict"), (Unprintable(), "Unprintable"), ("\ud800", "str")]
)
@pytest.mark.parametrize(
    "make",
    [
        lambda items: full_channel(items),
        lambda items: agenerate(items),
    ],
    ids=["channel", "generator"],
)
async def test_an_item_that_cannot_be_encoded_ends_its_stream_after_what_came_before(
    bad, named, make
):
    client, closed = FakeClient(), Recorder()
    with pytest.raises(EncodeError, match=named):
        await client.call(EventSourceResponse(make(["a", bad, "b"]), on_close=closed))
    assert client.data == ["a"]
    assert not client.complete
    assert closed.reasons == [CloseReason.ERROR]


async def agenerate(items):
    for item in items:
        yield item


async def test_an_item_that_cannot_be_encoded_leaves_other_streams_alone():
    client = FakeClient(slow=1)
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(two))
        with pytest.raises(EncodeError):
            await FakeClient().call(EventSourceResponse(full_channel([{"bad": 1}])))
    assert client.complete


async def test_a_bad_item_at_the_beginning_is_an_error_at_once():
    with pytest.raises(EncodeError, match="JSONServerSentEvent"):
        await FakeClient().call(EventSourceResponse(full_channel([{"price": 1}])))


async def test_a_handed_in_channel_is_closed_on_the_way_out():
    receive = full_channel()
    await FakeClient().call(EventSourceResponse(receive))
    with pytest.raises((trio.ClosedResourceError, anyio.ClosedResourceError)):
        receive.receive_nowait()


async def test_a_handed_in_channel_that_its_owner_closes_is_an_error():
    send, receive = current_runtime().open_memory_channel(1)
    send.send_nowait("a")

    async def close_soon():
        await anyio.sleep(1.5)  # while the item is being sent
        receive.close()
        send.close()

    client = FakeClient(slow=1)
    async with anyio.create_task_group() as group:
        group.start_soon(close_soon)
        with pytest.raises((trio.ClosedResourceError, anyio.ClosedResourceError)):
            await client.call(EventSourceResponse(receive))
    assert client.data == ["a"]


@pytest.mark.parametrize("virtual_time_backend", ["trio"], indirect=True)
async def test_a_handed_in_channel_that_its_owner_closes_while_it_is_waited_for_is_an_error():
    _send, receive = current_runtime().open_memory_channel(1)

    async def close_soon():
        await anyio.sleep(1)
        receive.close()

    async with anyio.create_task_group() as group:
        group.start_soon(close_soon)
        with pytest.raises(trio.ClosedResourceError):  # anyio's channels tell nobody who waits
            await FakeClient().call(EventSourceResponse(receive))


async def test_a_data_sender_fills_the_channel_that_was_handed_in():
    send, receive = current_runtime().open_memory_channel(0)

    async def fill():
        async with send:
            await two(send)

    client = FakeClient()
    await client.call(EventSourceResponse(receive, data_sender_callable=fill))
    assert client.data == ["a", "b"]
    assert client.complete


async def test_a_data_sender_that_returns_leaves_the_end_to_the_channel():
    send, receive = current_runtime().open_memory_channel(2)

    async def fill():
        await two(send)

    client = FakeClient()
    async with serving(client, EventSourceResponse(receive, data_sender_callable=fill)):
        await client.wait_for_body(b"b")
        await anyio.sleep(5)
        await send.send("c")
        send.close()
        await client.wait_for(lambda client: client.complete)
    assert client.data == ["a", "b", "c"]


async def test_a_data_sender_that_raises_ends_the_stream_after_what_it_sent():
    send, receive = current_runtime().open_memory_channel(2)

    async def fill():
        await send.send("a")
        raise LookupError("mine")

    client = FakeClient()
    with pytest.raises(LookupError, match="mine"):
        await client.call(EventSourceResponse(receive, data_sender_callable=fill))
    send.close()
    assert client.data == ["a"]
    assert not client.complete


async def test_two_tasks_of_one_stream_that_raise_come_in_a_group():
    async def produce(send):
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("producer")

    async def fill():
        raise KeyError("sender")

    client = FakeClient()
    response = EventSourceResponse(produce, data_sender_callable=fill)

    async def disconnect():
        await anyio.sleep(1)
        client.disconnect()

    async with anyio.create_task_group() as group:
        group.start_soon(disconnect)
        with pytest.raises(ExceptionGroup) as caught:
            await client.call(response)
    assert {type(error) for error in caught.value.exceptions} == {LookupError, KeyError}
    assert "producer" in repr(caught.value)


@pytest.mark.parametrize(
    "make",
    [full_channel, two_generated, TwoIterated],
    ids=["channel", "generator", "async iterator"],
)
async def test_a_second_call_is_an_error_where_content_can_be_read_only_once(make):
    response = EventSourceResponse(make())
    await FakeClient().call(response)
    with pytest.raises(RuntimeError, match="a new EventSourceResponse for each request"):
        await FakeClient().call(response)


async def test_a_producer_is_called_anew_for_a_second_call():
    response, first, second = EventSourceResponse(two), FakeClient(), FakeClient()
    await first.call(response)
    await second.call(response)
    assert first.data == second.data == ["a", "b"]
