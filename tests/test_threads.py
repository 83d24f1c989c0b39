"""Sync iterables, which run in worker threads: in real time, since threads take some."""

import threading
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from fakes import FakeClient, serving
from sweep import Cancel, Disconnect, Drain, Freeze, NativeCancel, Stage, sweep
from trio_sse import EncodeError, EventSourceResponse, ServerSentEvent, drain
from trio_sse._runtime import current_runtime
from trio_sse._source import MAX_CHUNK_SIZE
from trio_sse._source._thread import ThreadSource

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request):
    return request.param


EVENTS = [ServerSentEvent("x" * 100, id=n) for n in range(1000)]


async def test_a_drained_iterable_ends_whole():
    def endless():
        while True:
            yield "x"

    client = FakeClient(slow=0.01)
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(endless(), ping=0))
        await client.wait_for_body(b"x")
        await drain()
    assert client.complete


async def test_a_thread_that_starts_after_the_stream_has_ended_touches_nothing():
    touched = []

    def generate():
        touched.append(True)
        yield "a"

    source = ThreadSource(current_runtime(), generate(), 100, None, 5, "\n")
    await source.close()()
    assert source._fill(touched.append)
    assert touched == []


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


async def test_an_iterator_that_raises_and_then_cannot_be_closed_is_heard_twice():
    class Stubborn:
        def __iter__(self):
            return self

        def __next__(self):
            raise KeyError("next")

        def close(self):
            raise LookupError("close")

    with pytest.raises(ExceptionGroup) as caught:
        await FakeClient().call(EventSourceResponse(Stubborn()))
    assert [type(error) for error in caught.value.exceptions] == [KeyError, LookupError]


async def test_an_iterator_whose_closing_takes_too_long_is_logged(caplog):
    gate = threading.Event()

    class Slow:
        def __iter__(self):
            return self

        def __next__(self):
            raise StopIteration

        def close(self):
            gate.wait(10)

    client = FakeClient()
    await client.call(EventSourceResponse(Slow(), cleanup_timeout=0.01))
    gate.set()
    assert client.complete
    assert "cancelled after cleanup_timeout (0.01 seconds)" in caplog.text


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
        while len(made) < 3 or limiter.borrowed_tokens:  # noqa: ASYNC110  # threads set no event
            await anyio.sleep(0.001)
        assert not closed
    assert len(closed) == 1
    assert closed != [threading.get_ident()]


async def test_an_iterable_that_is_no_iterator_can_be_streamed_again():
    response, first, second = EventSourceResponse(["a"]), FakeClient(), FakeClient()
    await first.call(response)
    await second.call(response)
    assert first.data == second.data == ["a"]


def iterates(stage):
    """An iterator whose thread may be abandoned; it closes what it opened when it notices."""
    closed = threading.Event()

    def generate():
        stage.opens("iterator")
        try:
            yield from "abc"
        finally:
            stage.closes("iterator")

    class Iterator:
        def __init__(self):
            self.generator = generate()

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.generator)

        def close(self):
            self.generator.close()
            closed.set()

    async def settled():
        assert await anyio.to_thread.run_sync(closed.wait, 10)

    stage.settled = settled
    return Iterator()


# A deadline that a healthy send keeps on a busy machine; only a frozen client needs one.
@pytest.mark.parametrize(
    ("injection", "send_timeout"),
    [(Cancel(), 60), (Disconnect(), 60), (Drain(), 60), (Freeze(), 0.25)],
    ids=["Cancel", "Disconnect", "Drain", "Freeze"],
)
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_nothing_is_left_behind_whichever_step_of_an_iterable_is_interrupted(
    backend, injection, send_timeout
):
    stage = partial(Stage, iterates, lambda stage: {"ping": 0}, slow=0, send_timeout=send_timeout)
    assert sweep(stage, injection, partial(anyio.run, backend=backend)) > 10


def test_nothing_is_left_behind_whichever_step_of_an_iterable_a_native_cancellation_hits():
    stage = partial(Stage, iterates, lambda stage: {"ping": 0}, slow=0)
    assert sweep(stage, NativeCancel(), partial(anyio.run, backend="asyncio")) > 10


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
