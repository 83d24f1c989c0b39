"""Whatever ends an event source, it ends at once, and nothing is left behind."""

import asyncio
from contextlib import suppress
from functools import partial

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing

from stepping import Steps, counted
from trio_sse.client import EventSourceError, ReadyState, open_event_source
from trio_sse.testing import VirtualTimeLoop
from trio_sse.testing._leaks import living_tasks, noting_generators

from .scripted import (
    FOREVER,
    URL,
    Answer,
    Server,
    opened,
    receive_into,
    redirect,
)

A, B = b"data: a\n\n", b"data: b\n\n"

# What it is doing when something ends it, and what the server answers until then.
STATES = {
    "connecting": [Answer(before=[FOREVER])],
    "following a redirect": [redirect(301, "/there"), Answer(before=[FOREVER])],
    "reading": [Answer(b": hello\n", FOREVER)],
    "reading in mid-line": [Answer(b"data: ", FOREVER)],
    "handing over": [Answer(A + B, FOREVER)],
    "handing over the last": [Answer(A)],
    "waiting after a stream": [Answer(b"retry: 1000000\n\n")],
    "waiting after a failure": [Answer(status=503, headers={"retry-after": "3000"})],
    "reading the body of an error": [Answer(b"x", FOREVER, status=404)],
    "closed": [],
    "failed": [Answer(status=404)],
}


@pytest.fixture(params=STATES)
def server(request, library):
    return Server(library, *STATES[request.param])


@pytest.mark.anyio
@pytest.mark.parametrize("way_out", ["leave", "cancel", "raise", "close", "close and leave"])
async def test_it_ends_at_once_and_leaves_nothing(server, way_out):
    tasks = living_tasks()
    with noting_generators() as (_, left), anyio.CancelScope() as scope:
        try:
            async with opened(server) as source:
                await anyio.sleep(0.5)
                match way_out:
                    case "cancel":
                        scope.cancel()
                        await anyio.lowlevel.checkpoint()
                    case "raise":
                        raise LookupError
                    case "close":
                        await source.aclose()
                        assert living_tasks() == tasks
                        assert (source.state, server.open) == (ReadyState.CLOSED, 0)
                    case "close and leave":
                        scope.cancel()
                        await source.aclose()
        except LookupError:
            assert way_out == "raise"
    assert anyio.current_time() == 0.5
    assert (source.state, server.open) == (ReadyState.CLOSED, 0)
    assert living_tasks() == tasks
    assert left == []


@pytest.mark.anyio
@pytest.mark.parametrize("moment", [0, 0.5])
async def test_what_is_closed_from_another_task_is_at_its_end_for_who_receives(server, moment):
    async def close(source):
        await anyio.sleep(moment)
        await source.aclose()

    received = []
    async with opened(server) as source, anyio.create_task_group() as group:
        group.start_soon(close, source)
        await anyio.sleep(moment)
        with suppress(EventSourceError):
            await receive_into(received, source)
    assert received in ([], ["a"], ["a", "b"])
    assert (anyio.current_time(), server.open) == (moment, 0)


@pytest.mark.anyio
async def test_it_can_be_left_before_it_has_begun(library):
    server = Server(library, Answer(A))
    async with opened(server) as source:
        pass
    assert (source.state, server.open) == (ReadyState.CLOSED, 0)
    await source.aclose()
    assert [event async for event in source] == []


@pytest.mark.anyio
async def test_it_can_be_closed_before_it_has_begun(library):
    server = Server(library, Answer(A))
    async with opened(server) as source:
        await source.aclose()
        assert [event async for event in source] == []
    assert server.open == 0


@pytest.mark.anyio
async def test_what_was_not_received_is_dropped_when_it_is_closed(library):
    async with opened(Server(library, Answer(A + B, FOREVER))) as source:
        assert (await source.receive()).data == "a"
        await source.aclose()
        assert [event async for event in source] == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "error",
    [LookupError("mine"), ExceptionGroup("mine", [LookupError()]), StopAsyncIteration()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("answers", [[Answer(FOREVER)], [Answer(A, FOREVER)], [], [Answer(A)]])
async def test_what_the_user_raises_comes_out_as_it_is(library, error, answers):
    async def fail():
        async with opened(Server(library, *answers)):
            await anyio.sleep(1)
            raise error

    with pytest.raises(type(error)) as caught:
        await fail()
    if isinstance(error, ExceptionGroup):  # which trio's cancel scopes make anew
        assert caught.value.exceptions == error.exceptions
    else:
        assert caught.value is error


# Whatever ends a session, before each of its steps


EVENTS = ["a", "b", "a", "a", "b"]


def session(library):
    """A server that does all there is to do within a second of virtual time."""
    return Server(
        library,
        redirect(307, "/there"),
        Answer(b"retry: 10\n: hi\n\n" + A, B, b"data: "),
        Answer(A, "ReadError"),
        Answer(b"busy", status=503),
        Answer(FOREVER),
        Answer(before=["ConnectError"]),
        Answer(A + B, b":\n"),
    )


async def visit(server, scope, received):
    with scope:
        async with opened(server, stall_timeout=0.1, max_backoff=0.01) as source:
            await receive_into(received, source)


async def interrupt_at(step, library):
    """Cancel a session before a step; tell whether there was one."""
    server, scope, tasks = session(library), anyio.CancelScope(), living_tasks()
    steps = Steps(step, scope.cancel)
    name = "trio" if trio.lowlevel.in_trio_run() else "asyncio"
    with noting_generators() as (_, left), steps.counting(name):
        async with anyio.create_task_group() as group:
            token = counted.set(True)
            group.start_soon(visit, server, scope, received := [])
            counted.reset(token)
    assert server.open == 0, step
    assert living_tasks() == tasks, step
    assert left == [], step
    assert received == EVENTS[: len(received)], step
    assert steps.acted or received == EVENTS
    return steps.acted


def run_trio(main):
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def run_asyncio(main):
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


@pytest.mark.parametrize("run", [run_trio, run_asyncio])
def test_a_session_that_is_cancelled_before_any_one_of_its_steps_leaves_nothing(run, library):
    step = 1
    while run(partial(interrupt_at, step, library)):
        step += 1
    assert step > 50


# Nothing ends a generator that never waits, and trio says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.anyio
async def test_a_body_that_never_waits_holds_up_nobody(library):
    class Endless(library.AsyncByteStream):
        async def __aiter__(self):
            while True:
                yield b": again\n\n"

    def answer(request):
        headers = {"content-type": "text/event-stream"}
        return library.Response(200, headers=headers, stream=Endless())

    async with library.AsyncClient(transport=library.MockTransport(answer)) as client:
        async with open_event_source(URL, client=client) as source:
            while source.statistics().comments < 10:
                await anyio.lowlevel.checkpoint()
    assert source.state is ReadyState.CLOSED
