"""Sync iterables, which run in worker threads: in real time, since threads take some."""

import threading

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from fakes import FakeClient, serving
from trio_sse import EncodeError, EventSourceResponse, ServerSentEvent
from trio_sse._runtime import current_runtime
from trio_sse._source import MAX_CHUNK_SIZE

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request):
    return request.param


EVENTS = [ServerSentEvent("x" * 100, id=n) for n in range(1000)]


@pytest.mark.parametrize(
    "content", [["a", "b"], ("a", "b"), {"a": 1, "b": 2}.keys()], ids=["list", "tuple", "keys"]
)
async def test_an_iterable_is_streamed_to_a_complete_body(content):
    client = FakeClient()
    await client.call(EventSourceResponse(content))
    assert client.body == b"data: a\r\n\r\ndata: b\r\n\r\n"
    assert client.complete


async def test_a_bad_item_of_an_iterable_ends_the_stream_after_what_came_before():
    client = FakeClient()
    with pytest.raises(EncodeError, match="dict"):
        await client.call(EventSourceResponse(["a", {"bad": 1}, "b"]))
    assert client.data == ["a"]
    assert not client.complete


async def test_an_iterator_can_be_streamed_only_once():
    response = EventSourceResponse(iter(["a"]))
    await FakeClient().call(response)
    with pytest.raises(RuntimeError, match="a new EventSourceResponse for each request"):
        await FakeClient().call(response)


async def test_a_burst_of_a_list_leaves_in_order():
    client = FakeClient()
    await client.call(EventSourceResponse(EVENTS))
    assert client.body == b"".join(event.encode() for event in EVENTS)
    assert len(client.chunks) < len(EVENTS)


async def test_what_an_iterator_gave_before_it_raised_is_written_first():
    def generate():
        yield "a"
        raise LookupError("mine")

    client = FakeClient()
    with pytest.raises(LookupError, match="mine"):
        await client.call(EventSourceResponse(generate()))
    assert client.data == ["a"]
    assert not client.complete


async def test_an_iterable_is_iterated_in_worker_threads_one_at_a_time():
    threads, inside = set(), 0

    def generate():
        nonlocal inside
        for n in range(50):
            inside += 1
            assert inside == 1
            threads.add(threading.get_ident())
            inside -= 1
            yield n

    client = FakeClient()
    await client.call(EventSourceResponse(generate(), ping=0))
    assert client.data == [str(n) for n in range(50)]
    assert threading.get_ident() not in threads


async def test_an_iterator_that_blocks_delivers_each_item_before_it_blocks_again():
    gate = threading.Event()

    def generate():
        yield "a"
        gate.wait(10)
        yield "b"

    client = FakeClient()
    async with serving(client, EventSourceResponse(generate(), ping=0)):
        await client.wait_for_body(b"a")
        gate.set()
        await client.wait_for(lambda client: client.complete)
    assert client.data == ["a", "b"]


async def test_an_iterator_that_is_quick_is_taken_from_in_slices():
    client = FakeClient()
    big = "x" * 1000
    await client.call(EventSourceResponse((big for _ in range(200)), ping=0))
    assert client.data == [big] * 200


async def test_an_abandoned_thread_closes_the_iterator_itself():
    inside, gate, closed = threading.Event(), threading.Event(), threading.Event()

    def generate():
        try:
            yield "a"
            inside.set()
            gate.wait(10)
            yield "never sent"
        finally:
            closed.set()

    client = FakeClient()
    async with serving(client, EventSourceResponse(generate(), ping=0)):
        await client.wait_for_body(b"a")
        await anyio.to_thread.run_sync(inside.wait)
    assert not closed.is_set()
    gate.set()
    assert await anyio.to_thread.run_sync(closed.wait, 10)
    assert client.data == ["a"]


async def test_an_abandoned_thread_logs_an_iterator_that_cannot_be_closed(caplog):
    inside, gate, closed = threading.Event(), threading.Event(), threading.Event()

    class Stubborn:
        def __iter__(self):
            return self

        def __next__(self):
            inside.set()
            gate.wait(10)
            return "a"

        def close(self):
            threading.Timer(0.01, closed.set).start()
            raise LookupError("will not close")

    client = FakeClient()
    async with serving(client, EventSourceResponse(Stubborn(), ping=0)):
        await anyio.to_thread.run_sync(inside.wait)
    gate.set()
    assert await anyio.to_thread.run_sync(closed.wait, 10)
    assert "abandoned thread" in caplog.text
    assert "will not close" in caplog.text


async def test_an_iterator_between_items_is_closed_by_a_thread_within_the_stream():
    made, closed = [], []
    limiter = current_runtime().CapacityLimiter(1)

    def generate():
        try:
            while True:
                made.append(1)
                yield "x" * MAX_CHUNK_SIZE
        finally:
            closed.append(threading.get_ident())

    client = FakeClient(slow=0.01)
    async with serving(client, EventSourceResponse(generate(), ping=0, sync_limit=limiter)):
        await client.wait_for(lambda client: len(client.chunks) == 1)
        client.freeze_at = client.sends
        # One item with the client, one in the mailbox, and nobody in a thread.
        while len(made) < 3 or limiter.borrowed_tokens:
            await anyio.sleep(0.001)
        assert not closed
    assert len(closed) == 1
    assert closed != [threading.get_ident()]


async def test_an_iterable_that_is_no_iterator_can_be_streamed_again():
    response, first, second = EventSourceResponse(["a"]), FakeClient(), FakeClient()
    await first.call(response)
    await second.call(response)
    assert first.data == second.data == ["a"]


async def test_sync_limit_bounds_the_threads_of_iterables():
    limiter = current_runtime().CapacityLimiter(1)
    inside, gate = threading.Event(), threading.Event()

    def block():
        inside.set()
        gate.wait(10)
        yield "a"

    first, second = FakeClient(), FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(first.call, EventSourceResponse(block(), sync_limit=limiter, ping=0))
        await anyio.to_thread.run_sync(inside.wait)
        group.start_soon(second.call, EventSourceResponse(["b"], sync_limit=limiter, ping=0))
        await second.wait_for(lambda client: bool(client.messages))
        assert limiter.borrowed_tokens == 1
        assert second.data == []
        gate.set()
    assert (first.data, second.data) == (["a"], ["b"])
