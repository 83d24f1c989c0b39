"""Pings of many streams at once, which one task waits for."""

import gc
from contextvars import ContextVar

import anyio
import pytest

from fake_servers import Hypercorn
from fakes import FakeClient, serving
from trio_sse import EventSourceResponse, ServerSentEvent
from trio_sse._ping import Pinger

pytestmark = pytest.mark.anyio

request_id: ContextVar[str] = ContextVar("request_id")


async def wait_for_ever(send):
    await anyio.Event().wait()  # on asyncio, a timer would refer to the context for longer


def pings(client):
    return [
        time
        for time, message in zip(client.times, client.messages, strict=True)
        if b"ping" in message.get("body", b"")
    ]


async def serve_for(seconds, client, response):
    with anyio.move_on_after(seconds):
        await client.call(response)


async def test_each_stream_has_its_own_interval():
    clients = {ping: FakeClient() for ping in (30, 4, 10, 7)}
    with anyio.move_on_after(31):
        async with anyio.create_task_group() as group:
            for ping, client in clients.items():
                group.start_soon(client.call, EventSourceResponse(wait_for_ever, ping=ping))
    for ping, client in clients.items():
        assert pings(client) == [*range(ping, 31, ping)]


async def test_a_stream_that_comes_later_is_not_kept_waiting_by_those_that_are_there():
    early, late = FakeClient(), FakeClient()
    async with serving(early, EventSourceResponse(wait_for_ever, ping=100)):
        await anyio.sleep(50)
        await serve_for(5, late, EventSourceResponse(wait_for_ever, ping=2))
    assert pings(late) == [52, 54]


@pytest.mark.parametrize("leaving", [[0], [1], [0, 1], [2, 3], [0, 1, 2]])
async def test_the_pings_go_on_whoever_leaves(leaving):
    clients = [FakeClient() for _ in range(4)]
    async with anyio.create_task_group() as group:
        for number, client in enumerate(clients):
            seconds = 20 if number in leaving else 61
            group.start_soon(serve_for, seconds, client, EventSourceResponse(wait_for_ever))
            await anyio.sleep(1)
    for number, client in enumerate(clients):
        due = [number + n * 15 for n in (1, 2, 3, 4)]
        assert pings(client) == (due[:1] if number in leaving else due)


async def test_of_streams_that_have_ended_next_to_nothing_is_kept():
    async def end(send):
        pass

    def count():
        gc.collect()
        return sum(isinstance(each, Pinger) for each in gc.get_objects())

    before = count()
    client = FakeClient()
    async with serving(client, EventSourceResponse(wait_for_ever)):
        for _ in range(100):
            await FakeClient().call(EventSourceResponse(end))
        assert count() <= before + 3
        await anyio.sleep(20)
        assert pings(client) == [15]
        assert count() <= before + 2
    assert count() <= before + 1  # this one's own response


async def test_a_ping_that_returns_when_its_stream_has_ended_is_the_last():
    class Shielded(Hypercorn):
        async def asgi_send(self, message):
            if b"ping" in message.get("body", b""):
                with anyio.CancelScope(shield=True):
                    await self.server.socket.closed.wait()  # and returns, as if all were well
            else:
                await super().asgi_send(message)

    beside = FakeClient()
    async with serving(beside, EventSourceResponse(wait_for_ever)):
        await serve_for(16, Shielded(), EventSourceResponse(wait_for_ever))
        await anyio.sleep_until(61)
    assert pings(beside) == [15, 30, 45, 60]


async def test_a_ping_is_made_in_the_context_of_its_request():
    def make():
        return ServerSentEvent(comment=f"ping for {request_id.get()}")

    async def serve(name, client):
        request_id.set(name)
        await serve_for(20, client, EventSourceResponse(wait_for_ever, ping_message_factory=make))

    first, second = FakeClient(), FakeClient()
    async with anyio.create_task_group() as group:
        group.start_soon(serve, "first", first)
        await anyio.sleep(1)
        group.start_soon(serve, "second", second)
    assert b"ping for first" in first.body
    assert b"ping for second" in second.body
    assert b"first" not in second.body


async def test_the_context_of_a_stream_that_has_ended_is_not_kept_for_the_others():
    class Request:
        pass

    def count():
        gc.collect()
        return sum(isinstance(each, Request) for each in gc.get_objects())

    async def serve(seconds):
        request_id.set(Request())
        await serve_for(seconds, FakeClient(), EventSourceResponse(wait_for_ever, ping=1))

    async with anyio.create_task_group() as group:
        for seconds in (10, 20, 30):
            group.start_soon(serve, seconds)
        await anyio.sleep(15)
        assert count() == 2
        await anyio.sleep(10)
        assert count() == 1
