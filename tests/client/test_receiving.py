"""Receiving events, and what the event source tells of itself."""

import gzip
import pickle

import anyio
import pytest
import trio

from trio_sse import MessageEvent
from trio_sse.client import EventSourceError, EventSourceStatistics, ReadyState, StallError

from .scripted import FOREVER, Answer, Server, opened, read, receive_into, redirect

pytestmark = pytest.mark.anyio

A, B, C = (f"data: {letter}\n\n".encode() for letter in "abc")
CONNECTING, OPEN, CLOSED = ReadyState.CONNECTING, ReadyState.OPEN, ReadyState.CLOSED

END = (trio.EndOfChannel, anyio.EndOfStream)


# Receiving


async def test_an_event_is_received_as_it_was_sent(library):
    stream = "id: 1\nevent: greeting\ndata: hello\ndata: 🌍\n\n".encode()
    async with opened(Server(library, Answer(stream))) as source:
        assert await source.receive() == MessageEvent("greeting", "hello\n🌍", "1")


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
async def test_chunks_may_end_anywhere(library, size):
    stream = b"\xef\xbb\xbf" + "data: 🌍\r\rdata: b\r\n\r\n".encode()
    chunks = [stream[n : n + size] for n in range(0, len(stream), size)]
    assert await read(Server(library, Answer(*chunks))) == ["🌍", "b"]


async def test_an_empty_chunk_is_not_the_end(library):
    server = Server(library, Answer(b"", A, b"", b"", B))
    async with opened(server) as source:
        assert [(await source.receive()).data for _ in "ab"] == ["a", "b"]
    assert len(server.requests) == 1


async def test_a_server_that_compresses_all_the_same_is_understood(library):
    headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    compressed = gzip.compress(A + B)
    chunks = [compressed[n : n + 1] for n in range(len(compressed))]
    assert await read(Server(library, Answer(*chunks, headers=headers)), repeat=False) == ["a", "b"]


async def test_at_the_end_the_channel_is_at_its_end(library):
    async with opened(Server(library)) as source:
        for _ in range(2):
            with pytest.raises(END) as caught:
                await source.receive()
            runtime = trio if trio.lowlevel.in_trio_run() else anyio
            assert type(caught.value).__module__.split(".")[0] == runtime.__name__


async def test_an_error_comes_out_once(library):
    async with opened(Server(library, Answer(status=404))) as source:
        with pytest.raises(EventSourceError):
            await source.receive()
        assert [event async for event in source] == []
        assert isinstance(source.last_error, EventSourceError)


async def test_receiving_is_a_checkpoint(library):
    async with opened(Server(library, Answer(A + B, FOREVER))) as source:
        await source.receive()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await source.receive()
        assert scope.cancelled_caught
        assert (await source.receive()).data == "b"


async def test_cancelling_receive_loses_nothing_and_keeps_the_connection(library):
    server = Server(library, Answer(1.0, A, 1.0, B, 1.0, C, FOREVER))
    received = []
    async with opened(server) as source:
        while len(received) < 3:
            with anyio.move_on_after(0.25):
                received.append((await source.receive()).data)
    assert received == ["a", "b", "c"]
    assert server.times == [0]


async def test_several_receivers_share_the_events(library):
    server = Server(library, *[Answer(A, 1.0, B + C, 1.0, A + B)] * 2)
    received = []
    async with opened(server) as source, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(receive_into, received, source)
    assert sorted(received) == ["a"] * 4 + ["b"] * 4 + ["c"] * 2


async def test_one_of_several_receivers_gets_the_error_and_the_others_the_end(library):
    caught = []

    async def receive(source):
        try:
            await source.receive()
        except (EventSourceError, *END) as error:
            caught.append(type(error))

    async with opened(Server(library, Answer(1.0, status=404))) as source:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(receive, source)
    assert caught.count(EventSourceError) == 1
    assert sum(issubclass(error, END) for error in caught) == 2


async def test_no_more_is_read_until_what_was_read_is_received(library):
    server = Server(library, Answer(A, b": comment\n", B + C, A, *[B] * 100))
    async with opened(server) as source:
        for taken, sent in enumerate([1, 3, 3, 4]):
            await anyio.sleep(100)
            assert server.sent == sent, taken
            await source.receive()
        await anyio.sleep(100)
        assert server.sent == 5


async def test_who_does_not_receive_does_not_let_it_connect_again(library):
    server = Server(library, Answer(A), Answer(B))
    async with opened(server) as source:
        await anyio.sleep(100)
        assert (await source.receive()).data == "a"
        assert (await source.receive()).data == "b"
    assert server.times == [0, 103]


# Comments


async def test_each_comment_is_told(library):
    comments = []
    server = Server(library, Answer(b": one\n:two\n" + A), Answer(b":\n\n", B))
    async with opened(server, on_comment=comments.append) as source:
        assert [event.data async for event in source] == ["a", "b"]
        assert source.statistics().comments == 3
    assert comments == ["one", "two", ""]


# What it tells of itself


class Observer:
    """Notes what an event source says whenever its state changes."""

    def __init__(self):
        self.states = []

    def __call__(self, source):
        error = source.last_error
        self.states.append((source.state, source.attempt, source.delay, error and type(error)))


@pytest.mark.usefixtures("longest_backoff")
async def test_each_change_of_its_state_is_told(library):
    observer = Observer()
    answers = [
        Answer(status=503),
        Answer(before=["ConnectError"]),
        Answer(b"retry: 200\n" + A),
        Answer(B, "ReadError"),
        Answer(FOREVER),
        Answer(status=404),
    ]
    with pytest.raises(EventSourceError):
        await read(Server(library, *answers), on_state=observer, stall_timeout=5)
    assert observer.states == [
        (CONNECTING, 2, 4, EventSourceError),
        (CONNECTING, 3, 5, library.ConnectError),
        (OPEN, 3, 5, library.ConnectError),
        (CONNECTING, 1, 0.2, None),
        (OPEN, 1, 0.2, None),
        (CONNECTING, 1, 0.2, library.ReadError),
        (OPEN, 1, 0.2, library.ReadError),
        (CONNECTING, 1, 0.2, StallError),
        (CLOSED, 1, 0.2, EventSourceError),
    ]


async def test_it_tells_what_it_begins_with(library):
    async with opened(Server(library, Answer(FOREVER)), reconnection_time=7) as source:
        assert (source.state, source.attempt, source.delay) == (CONNECTING, 1, 0)
        assert (source.last_error, source.last_event_id) == (None, "")
        assert (source.reconnection_time, source.url) == (7, "http://server/events")
        assert source.statistics() == EventSourceStatistics(0, 0, 0, 0, 0)
        await anyio.sleep(1)
        assert source.state is OPEN
    assert source.state is CLOSED


@pytest.mark.parametrize("way_out", ["end", "aclose", "leave"])
async def test_that_it_is_closed_is_told_once(library, way_out):
    observer = Observer()
    server = Server(library, *[Answer(FOREVER)] * (way_out != "end"))
    async with opened(server, on_state=observer) as source:
        await anyio.sleep(1)
        if way_out == "aclose":
            await source.aclose()
            await source.aclose()
    assert [state for state, *_ in observer.states].count(CLOSED) == 1
    assert observer.states[-1][0] is CLOSED


async def test_the_reconnection_time_is_known_while_the_stream_is_open(library):
    async with opened(Server(library, Answer(b"retry: 700\n", A, FOREVER))) as source:
        assert source.reconnection_time == 3
        await source.receive()
        assert source.reconnection_time == 0.7


async def test_the_url_is_where_it_has_moved_to_for_good(library):
    server = Server(library, redirect(302, "/a"), Answer(A), redirect(301, "/b"), Answer(B))
    async with opened(server) as source:
        await source.receive()
        assert source.url == "http://server/events"
        await source.receive()
        assert source.url == "http://server/b"


async def test_statistics_count_what_it_has_done(library):
    answers = [Answer(status=503), Answer(b": hi\n" + A, B), Answer(before=["ReadError"])]
    server = Server(library, redirect(302, "/there"), *answers, Answer(C + C, FOREVER))
    async with opened(server) as source:
        for _ in range(3):
            await source.receive()
        size = len(b": hi\n" + A + B + C + C)
        assert source.statistics() == EventSourceStatistics(
            attempts=4, streams=2, events=4, comments=1, bytes=size
        )


# Functions of the user that fail


class Failing:
    """Fails when it is called for the n-th time."""

    def __init__(self, at):
        self._left = at

    def __call__(self, about):
        self._left -= 1
        if not self._left:
            raise LookupError(about)


@pytest.mark.parametrize(
    ("hook", "at", "received"),
    [("on_state", 1, []), ("on_state", 2, ["a"]), ("on_state", 3, ["a"]), ("on_comment", 2, ["a"])],
)
async def test_what_a_function_of_the_user_raises_ends_it_and_comes_out(
    library, hook, at, received
):
    server = Server(library, Answer(b":\n", A, b":\n", b":\n"), Answer(B))
    seen = []
    async with opened(server, **{hook: Failing(at)}) as source:
        with pytest.raises(LookupError):
            await receive_into(seen, source)
        assert source.state is CLOSED
        assert isinstance(source.last_error, LookupError)
    assert (seen, server.open) == (received, 0)


async def test_what_a_function_raises_at_the_end_comes_out_too(library):
    async with opened(Server(library), on_state=Failing(1)) as source:
        with pytest.raises(LookupError):
            await source.receive()
        with pytest.raises(END):
            await source.receive()


async def test_an_error_is_not_hidden_by_what_a_function_raises_then(library):
    with pytest.raises(EventSourceError):
        await read(Server(library, Answer(status=404)), on_state=Failing(1))


@pytest.mark.parametrize("hook", ["on_state", "on_comment"])
async def test_what_a_function_raises_is_never_taken_for_a_failure_of_the_network(library, hook):
    def ask(_):
        raise library.ConnectError("of somebody else")

    server = Server(library, Answer(b": comment\n\n", A), Answer(B))
    async with opened(server, **{hook: ask}) as source:
        with pytest.raises(library.ConnectError, match="of somebody else"):
            await source.receive()
    assert len(server.requests) == 1


async def test_an_error_can_be_copied_and_shows_no_password(library):
    server = Server(library, Answer(b"no", status=401))
    async with opened(server, "http://me:secret@server/") as source:
        with pytest.raises(EventSourceError) as caught:
            await source.receive()
        assert source.url == "http://server/"
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == "the answer is no event stream: 401 from http://server/"
    assert vars(error) == vars(caught.value)
    assert (error.status, error.body) == (401, b"no")
