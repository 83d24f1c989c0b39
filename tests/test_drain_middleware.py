"""Told to end: a wrapped app hears signals, and hypercorn's worker, and drains before it goes."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio

from fakes import FakeClient, Recorder
from trio_sse import (
    DrainMiddleware,
    EventSourceResponse,
    ServerSentEvent,
    draining,
    is_draining,
)
from trio_sse._runtime import current_runtime
from trio_sse._signals import overheard
from trio_sse._transport import worker_above

pytestmark = pytest.mark.anyio

on_trio = pytest.mark.parametrize("virtual_time_backend", ["trio"], indirect=True)
on_asyncio = pytest.mark.parametrize("virtual_time_backend", ["asyncio"], indirect=True)

SIGNALS = [signal.SIGTERM, signal.SIGINT]
FAREWELL = ServerSentEvent("bye", event="farewell")


@pytest.fixture(autouse=True)
def former_handlers():
    """Put back the handlers that were there before the test."""
    formers = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, former in formers.items():
        signal.signal(number, former)


@pytest.fixture
def handled():
    """The signals that came to the handler which was there before the middleware."""
    numbers = []
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: numbers.append(number))
    return numbers


class Lifespan:
    """A server's side of the life of an app."""

    def __init__(self):
        self.started = anyio.Event()
        self.over = anyio.Event()
        self._told = False

    async def receive(self):
        if not self._told:
            self._told = True
            return {"type": "lifespan.startup"}
        await self.over.wait()
        return {"type": "lifespan.shutdown"}

    async def send(self, message):
        if message["type"] == "lifespan.startup.complete":
            self.started.set()


@asynccontextmanager
async def alive(app):
    """Let an app live, with a task group beside it; then let it shut down."""
    lifespan = Lifespan()
    with anyio.fail_after(1000):
        async with anyio.create_task_group() as group:
            group.start_soon(app, {"type": "lifespan"}, lifespan.receive, lifespan.send)
            await lifespan.started.wait()
            yield group
            lifespan.over.set()


async def live(scope, receive, send):
    assert (await receive())["type"] == "lifespan.startup"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    await send({"type": "lifespan.shutdown.complete"})


def app_of(response):
    async def app(scope, receive, send):
        await (live if scope["type"] == "lifespan" else response)(scope, receive, send)

    return app


async def endless(send):
    await send.send("first")
    await anyio.sleep_forever()


async def until_draining_and_cleaned_up(send, *, seconds):
    await send.send("first")
    await draining().wait()
    await anyio.sleep(seconds)
    await send.send("last")


def middleware_of(producer, **options):
    response = EventSourceResponse(producer, farewell=FAREWELL, **options)
    return DrainMiddleware(app_of(response))


@asynccontextmanager
async def streaming(app):
    """Let an app live that has begun a stream."""
    client = FakeClient()
    async with alive(app) as group:
        group.start_soon(app, client.scope, client.asgi_receive, client.asgi_send)
        await client.wait_for_body(b"first")
        yield client


async def completed(client):
    await client.wait_for(lambda client: client.complete)


async def settle():
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_ends_the_streams_and_reaches_whoever_handles_it(number, handled):
    async with streaming(middleware_of(endless)) as client:
        signal.raise_signal(number)
        assert handled == [number]
        await completed(client)
        assert anyio.current_time() == 0
    assert client.data == ["first", "bye"]


async def test_the_former_handler_gets_the_frame_that_was_interrupted():
    frames = []
    signal.signal(signal.SIGTERM, lambda number, frame: frames.append(frame))
    async with alive(middleware_of(endless)):
        signal.raise_signal(signal.SIGTERM)
    assert frames[0].f_code.co_name


async def test_every_further_signal_is_handed_on_too(handled):
    async with alive(middleware_of(endless)):
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
            await settle()
    assert handled == [signal.SIGTERM, signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_receiver_of_the_event_loop_still_hears_a_signal(number):
    with anyio.open_signal_receiver(*SIGNALS) as numbers:
        async with streaming(middleware_of(endless)) as client:
            signal.raise_signal(number)
            assert await anext(numbers) == number
            await completed(client)


@pytest.mark.parametrize(("grace", "ended"), [(0, 1), (1, 2), (5, 4)])
async def test_a_producer_that_asks_for_it_gets_the_grace(grace, ended, handled):
    closed = Recorder()
    producer = partial(until_draining_and_cleaned_up, seconds=3)
    app = DrainMiddleware(app_of(EventSourceResponse(producer, on_close=closed)), grace=grace)
    async with streaming(app) as client:
        await anyio.sleep(1)
        signal.raise_signal(signal.SIGTERM)
        await completed(client)
    assert closed.times == [ended]


async def test_a_producer_gets_a_second_of_grace_by_default(handled):
    closed = Recorder()
    producer = partial(until_draining_and_cleaned_up, seconds=100)
    async with streaming(middleware_of(producer, on_close=closed)) as client:
        signal.raise_signal(signal.SIGTERM)
        await completed(client)
    assert closed.times == [1]


async def test_the_app_drains_until_it_has_shut_down_and_no_longer(handled):
    async with streaming(middleware_of(endless)) as client:
        assert not is_draining()
        signal.raise_signal(signal.SIGTERM)
        await completed(client)
        await settle()
        assert is_draining()
    assert not is_draining()


async def test_no_signal_is_heard_before_the_app_lives_and_after_it(handled):
    before = [signal.getsignal(number) for number in SIGNALS]
    async with alive(middleware_of(endless)):
        assert not set(before) & {signal.getsignal(number) for number in SIGNALS}
    assert [signal.getsignal(number) for number in SIGNALS] == before


async def test_a_handler_that_was_installed_meanwhile_stays(handled):
    def newer(number, frame):
        pass

    former = signal.getsignal(signal.SIGINT)
    async with alive(middleware_of(endless)):
        signal.signal(signal.SIGTERM, newer)
    assert signal.getsignal(signal.SIGTERM) is newer
    assert signal.getsignal(signal.SIGINT) is former


def test_a_handler_that_outlives_the_app_where_nobody_handled_sigterm_ends_the_process():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with overheard(print):
        ours = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, ours)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with sigterm_held_back():
        ours(signal.SIGTERM, None)
        assert signal.SIGTERM in signal.sigpending()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_the_shutdown_of_the_app_waits_until_its_streams_have_ended():
    told = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            told.append(await receive())
            assert is_draining()
        else:
            await EventSourceResponse(produce)(scope, receive, send)

    async def produce(send):
        await send.send("first")
        await draining().wait()
        await anyio.sleep(0.5)

    async def shutdown():
        return {"type": "lifespan.shutdown"}

    middleware, client = DrainMiddleware(app), FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(middleware, client.scope, client.asgi_receive, client.asgi_send)
        await client.wait_for_body(b"first")
        await middleware({"type": "lifespan"}, shutdown, None)
        assert client.complete
        assert anyio.current_time() == 0.5
    assert told == [{"type": "lifespan.shutdown"}]


def test_a_handler_that_outlives_the_app_and_calls_its_own_reaches_the_former_one(handled):
    async def app(scope, receive, send):
        ours = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda number, frame: ours(number, frame))

    anyio.run(DrainMiddleware(app), {"type": "lifespan"}, None, None)
    signal.raise_signal(signal.SIGTERM)
    assert handled == [signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_that_is_ignored_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    async with alive(middleware_of(endless)):
        assert signal.getsignal(number) is signal.SIG_IGN
        signal.raise_signal(number)
        await settle()
        assert not is_draining()
    assert signal.getsignal(number) is signal.SIG_IGN


async def test_a_handler_that_is_not_of_python_stays(handled, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(signal, "getsignal", lambda number: None)
        async with alive(middleware_of(endless)):
            signal.raise_signal(signal.SIGTERM)
            await settle()
            assert not is_draining()
    assert handled == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before


async def test_outside_of_the_main_thread_an_app_lives_and_hears_nothing(handled):
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    async def live_and_look():
        async with streaming(middleware_of(endless)) as client:
            seen.append(threading.current_thread() is not threading.main_thread())
            seen.append(signal.getsignal(signal.SIGTERM) is before)
            client.disconnect()

    backend = "trio" if current_runtime().name == "trio" else "asyncio"
    await anyio.to_thread.run_sync(lambda: anyio.run(live_and_look, backend=backend))
    assert seen == [True, True]


def test_what_hears_a_signal_is_told_whether_it_would_have_been_the_end():
    told = []
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with overheard(told.append):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert told == [True, False]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_handlers_are_put_back_after_an_error(handled):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="broken"), overheard(print):
        raise ValueError("broken")
    assert signal.getsignal(signal.SIGTERM) is before


async def test_what_the_app_raises_in_its_life_comes_out_as_itself(handled):
    async def app(scope, receive, send):
        raise ValueError("no database")

    with pytest.raises(ValueError, match="no database"):
        await DrainMiddleware(app)({"type": "lifespan"}, None, None)


async def test_several_errors_of_the_life_of_the_app_come_out_together(handled):
    both = ExceptionGroup("two", [ValueError("one"), TypeError("two")])

    async def app(scope, receive, send):
        raise both

    with pytest.raises(ExceptionGroup) as caught:
        await DrainMiddleware(app)({"type": "lifespan"}, None, None)
    assert caught.value.exceptions == both.exceptions


async def test_an_interrupt_of_the_app_comes_out_as_itself(handled):
    async def app(scope, receive, send):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await DrainMiddleware(app)({"type": "lifespan"}, None, None)


async def test_an_app_that_fails_while_it_drains_drains_no_more(handled):
    async def app(scope, receive, send):
        signal.raise_signal(signal.SIGTERM)
        await settle()
        assert is_draining()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await DrainMiddleware(app)({"type": "lifespan"}, None, None)
    assert not is_draining()


async def test_an_app_that_has_no_use_for_its_life_may_return_at_once(handled):
    before = signal.getsignal(signal.SIGTERM)

    async def app(scope, receive, send):
        pass

    with anyio.fail_after(1):
        await DrainMiddleware(app)({"type": "lifespan"}, None, None)
    assert signal.getsignal(signal.SIGTERM) is before


async def test_the_life_of_an_app_can_be_cancelled(handled):
    before = signal.getsignal(signal.SIGTERM)
    lifespan = Lifespan()
    with anyio.move_on_after(1) as scope:
        await middleware_of(endless)({"type": "lifespan"}, lifespan.receive, lifespan.send)
    assert scope.cancelled_caught
    assert signal.getsignal(signal.SIGTERM) is before


async def test_the_life_of_an_app_is_passed_on_as_it_is():
    given = []

    async def app(scope, receive, send):
        given.extend([scope, await receive(), send])

    async def receive():
        return startup

    scope, startup = {"type": "lifespan", "state": {}}, {"type": "lifespan.startup"}
    await DrainMiddleware(app)(scope, receive, print)
    assert given == [scope, startup, print]
    assert given[0] is scope
    assert given[1] is startup


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("extensions", [{}, {"extensions": None}, {"extensions": {"tls": {}}}])
async def test_a_request_is_passed_on_with_the_outermost_send_in_its_scope(kind, extensions):
    given = []

    async def app(*arguments):
        given.extend(arguments)

    client = FakeClient()
    scope = {"type": kind, "path": "/", **extensions}
    before = dict(scope)
    receive, send = client.asgi_receive, client.asgi_send
    await DrainMiddleware(app)(scope, receive, send)
    expected = {**(extensions.get("extensions") or {}), "trio_sse": {"send": send}}
    assert given == [{**scope, "extensions": expected}, receive, send]
    assert scope == before


async def test_a_request_needs_no_life_of_the_app():
    async def once(send):
        await send.send("only")

    client = FakeClient()
    await middleware_of(once)(client.scope, client.asgi_receive, client.asgi_send)
    assert client.data == ["only"]


async def test_what_a_request_raises_comes_out_as_itself():
    async def app(scope, receive, send):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await DrainMiddleware(app)({"type": "http"}, None, None)


@pytest.mark.parametrize("app", [None, "main:app"])
def test_what_cannot_be_called_is_no_app(app):
    with pytest.raises(TypeError, match=f"app must be an ASGI app, not {type(app).__name__}"):
        DrainMiddleware(app)


@pytest.mark.parametrize(
    ("grace", "error"),
    [(-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("1", TypeError)],
)
def test_a_grace_out_of_range_is_refused(grace, error):
    with pytest.raises(error, match="grace"):
        DrainMiddleware(live, grace=grace)


# Where nobody handles SIGTERM.


@contextmanager
def sigterm_held_back():
    """Let SIGTERM end nothing, only be pending."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # forgets the one that is pending
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


async def sigterm_pending():
    for _ in range(100):
        if signal.SIGTERM in signal.sigpending():
            return
        await anyio.sleep(0.5)
    raise AssertionError("SIGTERM was not raised again")


async def test_where_nobody_handles_sigterm_it_ends_the_process_after_the_streams():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    async with streaming(middleware_of(endless)) as client:
        signal.raise_signal(signal.SIGTERM)
        with sigterm_held_back():
            await sigterm_pending()
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert client.complete
    assert client.data == ["first", "bye"]


async def test_the_end_of_the_process_does_not_wait_for_ever_for_a_producer():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    async def produce(send):
        await send.send("first")
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(100)

    async with streaming(middleware_of(produce)):
        signal.raise_signal(signal.SIGTERM)
        with sigterm_held_back():
            await sigterm_pending()
            assert 3 <= anyio.current_time() < 4


async def test_a_sigterm_that_nobody_handles_ends_the_process_also_if_another_signal_came_first(
    handled,
):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    producer = partial(until_draining_and_cleaned_up, seconds=0.5)
    async with streaming(middleware_of(producer)) as client:
        signal.raise_signal(signal.SIGINT)
        await settle()
        signal.raise_signal(signal.SIGTERM)
        with sigterm_held_back():
            await sigterm_pending()
            assert client.complete
    assert "last" in client.data


async def test_a_sigterm_that_nobody_handles_ends_the_process_long_after_another_signal(handled):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    async with streaming(middleware_of(endless)) as client:
        signal.raise_signal(signal.SIGINT)
        await completed(client)
        await anyio.sleep(100)
        signal.raise_signal(signal.SIGTERM)
        with sigterm_held_back():
            await sigterm_pending()


async def test_a_signal_after_it_does_not_keep_sigterm_from_ending_the_process(handled):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    async with streaming(middleware_of(endless)) as client:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        with sigterm_held_back():
            await sigterm_pending()
            assert client.complete


class TalkativeClient(FakeClient):
    """Says on standard output what it is sent."""

    async def asgi_send(self, message):
        await super().asgi_send(message)
        print(message.get("body"), message.get("more_body"), flush=True)


async def stream_until_sigterm():
    """In a process of its own: a stream that nobody protects from SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    app, client = middleware_of(endless), TalkativeClient()
    async with alive(app) as group:
        group.start_soon(app, client.scope, client.asgi_receive, client.asgi_send)
        await client.wait_for_body(b"first")
        signal.raise_signal(signal.SIGTERM)
        print("not at once", flush=True)
        await anyio.sleep_forever()


async def idle_until_sigterm():
    """In a process of its own: an event loop that has nothing to do when SIGTERM comes."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    lifespan = Lifespan()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    await DrainMiddleware(live)({"type": "lifespan"}, lifespan.receive, lifespan.send)


def run_in_process(async_fn, backend):
    code = (
        "import anyio, test_drain_middleware as tests;"
        f"anyio.run(tests.{async_fn.__name__}, backend={backend!r})"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=os.path.dirname(__file__),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_process_dies_of_sigterm_when_its_streams_are_complete(backend):
    run = run_in_process(stream_until_sigterm, backend)
    assert run.returncode == -signal.SIGTERM
    said = run.stdout.splitlines()
    assert "not at once" in said[:-2]
    assert "data: bye" in said[-2]
    assert said[-1] == "b'' False"


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_an_idle_process_dies_of_sigterm(backend):
    assert run_in_process(idle_until_sigterm, backend).returncode == -signal.SIGTERM


# A worker of hypercorn, which is recognised by what it has.


class Flag:
    """An event of hypercorn's worker."""

    def __init__(self):
        self._event = anyio.Event()
        self.time = None

    async def set(self):
        await anyio.lowlevel.checkpoint()
        self.time = anyio.current_time()
        self._event.set()

    async def wait(self):
        await self._event.wait()


class Worker:
    """What hypercorn's worker has as its context."""

    def __init__(self):
        self.terminate = Flag()
        self.terminated = Flag()


@on_trio
async def test_where_nobody_handles_sigterm_it_ends_the_worker_after_the_streams():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    context = Worker()
    producer = partial(until_draining_and_cleaned_up, seconds=0.5)
    async with streaming(middleware_of(producer)) as client:
        signal.raise_signal(signal.SIGTERM)
        with sigterm_held_back():
            await completed(client)
            assert context.terminate.time is None
            await context.terminate.wait()
            assert context.terminate.time == 0.5
            assert signal.SIGTERM not in signal.sigpending()
    assert "last" in client.data


@on_trio
async def test_a_worker_whose_signal_is_handled_is_left_to_whoever_handles_it(handled):
    context = Worker()
    async with streaming(middleware_of(endless)) as client:
        signal.raise_signal(signal.SIGTERM)
        await completed(client)
        await anyio.sleep(10)
    assert context.terminate.time is None


@on_trio
async def test_the_streams_end_when_a_worker_does():
    context, closed = Worker(), Recorder()
    producer = partial(until_draining_and_cleaned_up, seconds=100)
    app = DrainMiddleware(app_of(EventSourceResponse(producer, on_close=closed)), grace=7)
    async with streaming(app) as client:
        await anyio.sleep(1)
        assert not is_draining()
        await context.terminated.set()
        await completed(client)
    assert closed.times == [8]


@on_asyncio
async def test_on_asyncio_a_worker_is_not_found_and_the_streams_go_on():
    context = Worker()
    async with streaming(middleware_of(endless)) as client:
        await context.terminated.set()
        await settle()
        assert not is_draining()
        client.disconnect()
    assert not client.complete


async def found_worker():
    """Look for a worker from a task below the caller's."""
    found = []

    async def look():
        found.append(worker_above(current_runtime()))

    async with anyio.create_task_group() as group:
        group.start_soon(look)
    return found[0]


@on_trio
async def test_a_worker_is_found_in_any_task_above():
    context = Worker()
    found = []

    async def between():
        await anyio.lowlevel.checkpoint()
        found.append(await found_worker())

    async with anyio.create_task_group() as outer, anyio.create_task_group() as inner:
        inner.start_soon(between)
        outer.start_soon(between)
    assert found == [context, context]


@on_trio
async def test_the_nearest_worker_is_the_one():
    context, found = Worker(), []

    async def nearer(context):
        found.extend([context, await found_worker()])

    async with anyio.create_task_group() as group:
        group.start_soon(nearer, Worker())
    assert found[0] is found[1]
    assert found[1] is not context


@on_trio
@pytest.mark.parametrize("missing", ["terminate", "terminated"])
async def test_something_else_that_is_called_context_is_no_worker(missing):
    async def inner(context):
        delattr(context, missing)
        return await found_worker()

    assert await inner(Worker()) is None
    context = Worker()
    assert await inner(Worker()) is context


async def test_without_a_worker_none_is_found():
    assert await found_worker() is None


@on_trio
async def test_a_task_of_the_same_name_beside_is_not_above():
    async def beside():
        context = Worker()
        await context.terminate.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(beside)
        await settle()
        assert await found_worker() is None
        group.cancel_scope.cancel()


async def functions_above():
    """Name the functions that wait for a task below the caller's."""
    names = []

    async def look():
        names.extend(frame.f_code.co_name for frame in current_runtime().frames_above())

    async with anyio.create_task_group() as group:
        group.start_soon(look)
    return names


@on_trio
async def test_the_frames_above_are_those_of_every_task_above_from_its_outermost_call():
    found = []

    async def outer():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(middle)

    async def middle():
        found.extend(await functions_above())

    await outer()
    test = sys._getframe().f_code.co_name
    ours = [name for name in found if name in ("middle", "functions_above", test, "outer")]
    assert ours == ["middle", "functions_above", test, "outer"]


@on_asyncio
async def test_no_frame_is_above_a_task_of_asyncio():
    assert await functions_above() == []
