"""Shutdowns: of the server, and by `AppStatus`."""

import threading
from contextlib import ExitStack
from functools import partial

import anyio
import anyio.lowlevel
import pytest

import trio_sse
from fakes import FakeClient
from trio_sse import drain, draining, is_draining
from trio_sse.compat import AppStatus, EventSourceResponse
from trio_sse.compat._status import told_to_exit

pytestmark = pytest.mark.anyio

# How a program can say that it leaves; on the switch, from whichever thread.
WAYS = {
    "drain": drain,
    "should_exit": partial(setattr, AppStatus, "should_exit", True),
    "should_exit_event": AppStatus.should_exit_event.set,
    "handle_exit": AppStatus.handle_exit,
}


@pytest.fixture(autouse=True)
def status():
    yield
    AppStatus.should_exit = False
    AppStatus.original_handler = None
    AppStatus.enable_automatic_graceful_drain_mode()


async def endless():
    yield "first"
    await anyio.sleep_forever()


async def leave(way):
    if way == "drain":
        await drain()
    else:
        WAYS[way]()


@pytest.mark.parametrize("way", WAYS)
async def test_a_shutdown_ends_the_stream_at_once_and_whole(way):
    client = FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(endless()))
        await client.wait_for_body(b"first")
        await leave(way)
    assert client.complete
    assert anyio.current_time() == 0


@pytest.mark.parametrize("way", WAYS)
async def test_the_generator_sees_the_event_and_may_say_farewell_in_its_grace(way):
    client, shutdown = FakeClient(), anyio.Event()

    async def generate():
        yield "first"
        await shutdown.wait()
        await anyio.sleep(20)
        yield "farewell"

    response = EventSourceResponse(
        generate(), ping=0, shutdown_event=shutdown, shutdown_grace_period=30
    )
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, response)
        await client.wait_for_body(b"first")
        await leave(way)
    assert client.data == ["first", "farewell"]
    assert client.complete
    assert anyio.current_time() == 20


async def test_a_generator_that_goes_on_is_cancelled_after_its_grace():
    client = FakeClient()
    response = EventSourceResponse(endless(), ping=0, shutdown_grace_period=30)
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, response)
        await client.wait_for_body(b"first")
        await drain()
    assert anyio.current_time() == 30
    assert client.complete


async def test_a_generator_that_asks_for_draining_has_the_grace_of_drain():
    client = FakeClient()

    async def generate():
        yield "first"
        await draining().wait()
        await anyio.sleep(4)
        yield "farewell"

    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(generate()))
        await client.wait_for_body(b"first")
        await anyio.sleep(1)
        await drain(grace=5)
    assert client.data == ["first", "farewell"]


async def test_the_event_is_set_without_a_grace_too():
    client, shutdown = FakeClient(), anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(endless(), shutdown_event=shutdown))
        await client.wait_for_body(b"first")
        await drain()
    assert shutdown.is_set()


async def test_a_stream_may_leave_the_end_to_the_switch():
    AppStatus.disable_automatic_graceful_drain()
    client = FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(endless(), ping=0))
        await client.wait_for_body(b"first")
        group.start_soon(drain)
        await anyio.sleep(100)
        AppStatus.handle_exit()
        await anyio.sleep(100)
        assert not client.ended.is_set()
        AppStatus.should_exit = True
    assert client.complete
    assert anyio.current_time() == 200


async def test_the_switch_drains_streams_of_the_native_response_too():
    clients = [FakeClient(), FakeClient()]
    async with anyio.create_task_group() as group:
        group.start_soon(clients[0].call, EventSourceResponse(endless()))
        group.start_soon(clients[1].call, trio_sse.EventSourceResponse(endless()))
        for client in clients:
            await client.wait_for_body(b"first")
        AppStatus.should_exit = True
    assert all(client.complete for client in clients)
    assert not is_draining()


async def test_a_stream_is_refused_softly_while_the_switch_is_set():
    asked = []

    async def generate():
        asked.append(True)
        yield "never"

    AppStatus.should_exit = True
    for _ in range(2):
        client = FakeClient()
        await client.call(EventSourceResponse(generate()))
        assert client.status == 200
        assert client.body.startswith(b"retry: ")
        assert client.complete
    assert asked == []
    AppStatus.should_exit = False
    client = FakeClient()
    await client.call(EventSourceResponse(generate()))
    assert client.data == ["never"]


async def test_setting_the_switch_twice_and_back_is_setting_it_once():
    client, late = FakeClient(), FakeClient()
    async with anyio.create_task_group() as group:
        response = EventSourceResponse(endless(), ping=0, shutdown_grace_period=10)
        group.start_soon(client.call, response)
        await client.wait_for_body(b"first")
        for value in (True, False, True):
            AppStatus.should_exit = value
            await anyio.sleep(2)
    assert anyio.current_time() == 10
    AppStatus.should_exit = False
    await late.call(EventSourceResponse(["x"], ping=0))
    assert late.data == ["x"]


async def test_a_switch_that_is_heard_of_too_late_changes_nothing():
    client = FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(endless()))
        await client.wait_for_body(b"first")
        [call] = AppStatus._calls
        client.disconnect()
    call()
    await anyio.sleep(1)
    assert not is_draining()


async def test_the_handler_of_before_is_called_by_handle_exit():
    calls = []

    def handle(*args, **kwargs):
        calls.append((args, kwargs))

    AppStatus.original_handler = handle
    AppStatus.disable_automatic_graceful_drain()
    AppStatus.handle_exit("server", 15, frame=None)
    assert calls == [(("server", 15), {"frame": None})]
    assert not AppStatus.should_exit


async def test_the_event_can_be_waited_for():
    event, waited = AppStatus.should_exit_event, []

    async def wait():
        await event.wait()
        waited.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(3)
        assert not event.is_set()
        event.set()
    await wait()
    assert event.is_set()
    assert waited == [3, 3]


async def test_the_event_may_be_replaced_as_tests_do(monkeypatch):
    monkeypatch.setattr(AppStatus, "should_exit_event", None)
    client = FakeClient()
    await client.call(EventSourceResponse(["a"], ping=0))
    assert client.complete


def test_the_switch_reaches_all_event_loops_from_another_thread():
    both = threading.Barrier(3)
    clients = []

    async def serve():
        client = FakeClient()
        clients.append(client)
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, EventSourceResponse(endless()))
            await client.wait_for_body(b"first")
            both.wait()

    threads = [
        threading.Thread(target=anyio.run, args=[serve], kwargs={"backend": backend})
        for backend in ("trio", "asyncio")
    ]
    for thread in threads:
        thread.start()
    both.wait()
    AppStatus.should_exit = True
    for thread in threads:
        thread.join()
    assert [client.complete for client in clients] == [True, True]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_an_event_loop_that_was_left_under_a_stream_keeps_nobody_from_hearing(backend):
    async def enter(stack):
        stack.enter_context(told_to_exit(lambda: None))

    async def wait():
        async with anyio.create_task_group() as group:
            group.start_soon(AppStatus.should_exit_event.wait)
            await anyio.lowlevel.checkpoint()
            AppStatus.should_exit = True

    with ExitStack() as stack:
        anyio.run(enter, stack, backend=backend)
        anyio.run(wait)
