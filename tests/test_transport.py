"""The connection below ASGI: found behind any ``send``, and let go of on every way out."""

import logging
import signal
import socket
from contextlib import closing, contextmanager
from functools import partial
from types import SimpleNamespace

import anyio
import anyio.lowlevel
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from fake_servers import (
    CLOSE_WAIT,
    RESET_ON_CLOSE,
    FakeTransport,
    HTTPStream,
    Hypercorn,
    HypercornH2,
    HypercornH3,
    Uvicorn,
    UvicornH2,
)
from fakes import FakeClient, Recorder, serving
from trio_sse import (
    CloseReason,
    EventSourceResponse,
    Instrument,
    ServerSentEvent,
    drain,
    draining,
    is_draining,
)
from trio_sse._runtime import current_runtime
from trio_sse._transport import _descriptor, find_connection, with_send
from trio_sse._writer import RESET_TIMEOUT, SEND_GRACE

pytestmark = pytest.mark.anyio

FAREWELL = ServerSentEvent("bye")


async def endless(send):
    await send.send("first")
    await anyio.sleep_forever()


async def one(send):
    await send.send("one")


async def three_large():
    for _ in range(3):
        yield "x" * 70_000


async def two(send):
    await send.send("one")
    await anyio.sleep(1)
    await send.send("two")


def servers(**options):
    """Return one of each server whose socket can be reached; the names are their ids."""
    return [
        pytest.param(partial(Hypercorn, **options), id="hypercorn on trio"),
        pytest.param(partial(Uvicorn, **options), id="uvicorn"),
    ]


def socket_of(client):
    return client.transport.socket if isinstance(client, Uvicorn) else client.server.socket


# A send in flight, and what may end its stream.


@pytest.mark.parametrize("server", servers(freeze_at=1))
async def test_a_peer_that_stops_reading_is_reset_after_send_timeout(server):
    client, closed = server(), Recorder()
    await client.call(EventSourceResponse(endless, send_timeout=5, on_close=closed))
    assert closed.reasons == [CloseReason.SEND_TIMEOUT]
    assert socket_of(client).was_reset
    assert 5 + SEND_GRACE <= anyio.current_time() <= 5 + 2 * SEND_GRACE


@pytest.mark.parametrize("stuck", [b"two", b"ping"])
async def test_an_instrument_is_not_told_of_what_was_not_sent_in_time(stuck):
    class Shielded(Hypercorn):
        async def asgi_send(self, message):
            if stuck in message.get("body", b""):
                with anyio.CancelScope(shield=True):
                    await self.server.socket.closed.wait()  # and returns, as if all were well
            else:
                await super().asgi_send(message)

    class Count(Instrument):
        def sent(self, scope, size):
            told.append(size)

        def pinged(self, scope):
            told.append("ping")

    told, closed = [], Recorder()
    response = EventSourceResponse(
        two, ping=0.7, send_timeout=5, instrument=Count(), on_close=closed
    )
    await Shielded().call(response)
    assert told[:1] == [len(b"data: one\r\n\r\n")]
    assert told[1:] == (["ping"] if stuck == b"two" else [])
    assert closed.reasons == [CloseReason.SEND_TIMEOUT]


@pytest.mark.parametrize("server", servers(freeze_at=1))
async def test_a_producer_is_cleaned_up_after_before_the_grace_of_the_send(server):
    stopped = []

    async def produce(send):
        try:
            await send.send("first")
            await anyio.sleep_forever()
        finally:
            stopped.append(anyio.current_time())

    await server().call(EventSourceResponse(produce, send_timeout=5))
    assert stopped == [5]


@pytest.mark.parametrize("server", servers(freeze_at=1))
async def test_an_outer_scope_ends_a_stream_whose_client_does_not_read(server):
    client, closed = server(), Recorder()
    with anyio.move_on_after(3) as scope:
        await client.call(EventSourceResponse(endless, on_close=closed))
    assert scope.cancelled_caught
    assert closed.reasons == [CloseReason.CANCELLED]
    assert socket_of(client).was_reset
    assert anyio.current_time() <= 3 + 2 * SEND_GRACE


@pytest.mark.parametrize("server", servers(freeze_at=1))
async def test_a_client_that_half_closes_while_a_send_is_stuck_is_reset(server):
    client, closed = server(), Recorder()
    await client.call_and_leave(EventSourceResponse(endless, on_close=closed), after=2)
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]
    assert socket_of(client).was_reset
    assert anyio.current_time() == 2 + SEND_GRACE


@pytest.mark.parametrize("server", servers(freeze_at=1))
async def test_a_drain_resets_a_client_that_does_not_take_its_farewell(server):
    client, closed = server(), Recorder()
    async with serving(client, EventSourceResponse(endless, farewell=FAREWELL, on_close=closed)):
        await client.frozen.wait()
        await drain()
    assert closed.reasons == [CloseReason.SHUTDOWN]
    assert socket_of(client).was_reset
    assert 1 + SEND_GRACE <= anyio.current_time() <= 1 + 3 * SEND_GRACE


async def test_a_send_that_comes_to_its_end_in_the_grace_is_not_broken_off():
    client = Hypercorn(freeze_at=1)
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(endless))
        await client.frozen.wait()
        group.cancel_scope.cancel()
        client.thawed.set()
    assert not client.server.socket.closed.is_set()
    assert anyio.current_time() == 0


@pytest.mark.parametrize("server", servers())
async def test_a_stream_that_completes_leaves_its_connection_alone(server):
    client = server()
    await client.call(EventSourceResponse(one))
    assert client.complete
    assert not socket_of(client).closed.is_set()


@pytest.mark.parametrize("server", servers())
async def test_a_stream_that_is_cut_between_sends_leaves_the_breaking_to_the_server(server):
    client = server()
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
    assert not client.complete
    assert not socket_of(client).closed.is_set()
    assert anyio.current_time() == 0


async def test_a_stream_that_never_began_leaves_its_connection_alone():
    async def refuse(send, *, task_status):
        await anyio.sleep(1)
        raise ValueError("no")

    client = HypercornH2()
    with pytest.raises(ValueError, match="no"):
        await client.call(EventSourceResponse(refuse, preflight=True))
    assert client.messages == []
    assert client.protocol.resets == []


@pytest.mark.parametrize("ends", ["send timeout", "cancellation"])
async def test_behind_a_middleware_that_sends_from_a_task_of_its_own_the_server_is_asked(ends):
    """Such as ``BaseHTTPMiddleware``: the stream's own send can be cancelled, the other not."""
    client, closed = Hypercorn(freeze_at=1), Recorder()
    outer = HTTPStream(client)
    send, receive = anyio.create_memory_object_stream(0)
    scope = with_send(client.scope, outer.app_send)
    response = EventSourceResponse(two, send_timeout=5, on_close=closed)

    async def pass_on():
        async for message in receive:
            await outer.app_send(message)

    async with receive, anyio.create_task_group() as group:
        group.start_soon(pass_on)
        with anyio.move_on_after(3 if ends == "cancellation" else 100):
            await response(scope, client.asgi_receive, send.send)
        send.close()
    assert client.server.socket.was_reset
    assert closed.times == [3 + SEND_GRACE if ends == "cancellation" else 1 + 5 + SEND_GRACE]


async def test_with_tls_the_socket_below_is_closed():
    client = Hypercorn(freeze_at=1)
    client.server.stream = SimpleNamespace(transport_stream=client.server.stream)
    await client.call(EventSourceResponse(endless, send_timeout=5))
    assert client.server.socket.was_reset


async def test_a_server_that_never_learns_of_an_abort_is_not_waited_for():
    client = Uvicorn(freeze_at=1)  # its disconnect gets lost, as behind a pipelined request
    await client.call(EventSourceResponse(endless, send_timeout=5))
    assert anyio.current_time() == pytest.approx(5 + 2 * SEND_GRACE)


async def test_on_asyncio_hypercorn_drops_its_buffers():
    transport = FakeTransport()
    client = Hypercorn(transport=transport)
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
        transport.buffered = 1
    assert transport.aborted
    assert transport.socket.was_reset


# Flushing.


async def test_the_end_of_a_stream_waits_until_the_transport_has_written_it():
    client, closed = Uvicorn(), Recorder()
    async with anyio.create_task_group() as group:
        client.transport.buffered = 1
        group.start_soon(client.call, EventSourceResponse(one, on_close=closed))
        await client.wait_for(lambda client: client.complete)
        await anyio.sleep(7)
        client.transport.empty.set()
    assert client.transport.limits == [{"high": 1, "low": 0}, {}]
    assert closed.times == [7]
    assert closed.reasons == [CloseReason.COMPLETED]


async def test_a_client_that_does_not_take_the_end_has_the_send_timeout_for_it():
    client, closed = Uvicorn(), Recorder()
    client.transport.buffered = 1
    await client.call(EventSourceResponse(one, send_timeout=5, on_close=closed))
    assert client.transport.aborted
    assert client.transport.limits[-1] == {}
    assert closed.reasons == [CloseReason.SEND_TIMEOUT]


async def test_a_transport_that_is_closed_meanwhile_has_nothing_to_write():
    client, closed = Uvicorn(limits=RuntimeError("closed")), Recorder()
    client.transport.buffered = 1
    await client.call(EventSourceResponse(one, on_close=closed))
    assert client.complete
    assert closed.reasons == [CloseReason.COMPLETED]


# HTTP/2.


async def test_over_http2_a_stream_whose_client_grants_no_window_is_reset_alone():
    client, closed = HypercornH2(), Recorder()
    client.starved = True
    await client.call(EventSourceResponse(endless, send_timeout=5, on_close=closed))
    assert closed.reasons == [CloseReason.SEND_TIMEOUT]
    assert client.protocol.resets == [(1, 8)]
    assert client.buffer.closed
    assert (client.protocol.woken, client.protocol.flushes) == (1, 1)
    assert not client.server.socket.closed.is_set()
    assert anyio.current_time() == 5 + SEND_GRACE


async def test_over_http2_nothing_more_is_sent_until_the_client_has_taken_what_was():
    client = HypercornH2()
    client.starved = True
    async with serving(client, EventSourceResponse(three_large(), ping=0)):
        await client.wait_for(lambda client: client.chunks)
        await anyio.sleep(100)
        assert len(client.chunks) == 1
        client.starved = False
        client.buffer.take()
        await client.wait_for(lambda client: client.complete)
    assert len(client.chunks) == 3


async def test_over_http2_a_connection_that_is_slow_is_not_broken_for_one_stream():
    client, closed = HypercornH2(), Recorder()
    client.starved = client.protocol.blocked = True

    async def take():
        await anyio.sleep(5 + SEND_GRACE / 2)
        client.server.socket.acknowledged += 1

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        group.start_soon(client.call, EventSourceResponse(two, send_timeout=5, on_close=closed))
        await anyio.sleep(6)
        assert closed.reasons == [CloseReason.SEND_TIMEOUT]
        assert client.protocol.resets == [(1, 8)]
        assert not client.server.socket.closed.is_set()
        client.server.socket.closed.set()  # the reset goes out in its own time


async def test_over_http2_several_responses_to_one_request_are_paced_once():
    client = HypercornH2()
    stream = HTTPStream(client)
    for _ in range(2):
        find(client, stream.app_send)
        paced = stream.send
    assert paced is stream.send
    assert paced._send == client.protocol.stream_send


async def test_over_http2_on_uvicorn_it_is_the_stream_that_is_reset():
    client = UvicornH2()
    client.keep_alive = False
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
    assert client.aborted == 1
    assert not client.transport.aborted
    assert not client.complete


async def test_over_http2_a_connection_that_takes_not_even_a_reset_is_broken():
    client = HypercornH2()
    client.starved = client.protocol.blocked = True
    await client.call(EventSourceResponse(endless, send_timeout=5))
    assert client.server.socket.was_reset
    assert client.buffer.closed
    assert anyio.current_time() <= 5 + SEND_GRACE + RESET_TIMEOUT + SEND_GRACE


@pytest.mark.parametrize("how", ["error", "cancellation"])
async def test_over_http2_a_stream_that_fails_or_is_cancelled_is_reset(how):
    async def fail(send):
        await send.send("first")
        raise ValueError("no")

    client = HypercornH2()
    if how == "error":
        with pytest.raises(ValueError, match="no"):
            await client.call(EventSourceResponse(fail))
    else:
        async with serving(client, EventSourceResponse(endless)):
            await client.wait_for_body(b"first")
    assert client.protocol.resets == [(1, 8)]
    assert not client.complete
    assert anyio.current_time() == 0


async def test_over_http2_a_reset_of_a_stream_that_is_closed_already_is_none():
    client = HypercornH2()
    client.protocol.reset_error = ValueError("closed")
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
    assert client.protocol.resets == []
    assert not client.server.socket.closed.is_set()


async def test_over_http2_a_client_that_left_is_not_sent_a_reset():
    client = HypercornH2()
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
        client.disconnect()
    assert client.protocol.resets == []


async def test_over_http2_the_buffer_is_made_to_be_looked_at_once_more_before_the_end():
    client = HypercornH2()
    await client.call(EventSourceResponse(one))
    assert client.complete
    assert client.buffer.cleared == 1
    assert client.protocol.resets == []


async def test_over_http2_a_stream_that_the_server_has_forgotten_is_no_error():
    client = HypercornH2()
    async with serving(client, EventSourceResponse(two)):
        await client.wait_for_body(b"one")
        del client.protocol.stream_buffers[1]
        await client.wait_for(lambda client: client.complete)
    client = HypercornH2()
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
        del client.protocol.stream_buffers[1]


# HTTP/3.


async def test_over_http3_a_stream_that_fails_is_reset():
    client = HypercornH3()
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
    assert client.protocol.quic.resets == [(0, 0x10C)]
    assert client.protocol.datagrams == 1


def stop_sending(quic):
    quic._streams[0].sender._reset_error_code = 7


def forget(quic):
    quic._streams.clear()


def close(quic):
    quic._close_event = object()


@pytest.mark.parametrize("leave", [stop_sending, forget, close])
async def test_over_http3_a_client_that_left_is_noticed_at_the_next_ping(leave):
    client, closed = HypercornH3(), Recorder()
    async with serving(client, EventSourceResponse(endless, ping=10, on_close=closed)):
        await client.wait_for_body(b"first")
        leave(client.protocol.quic)
        await anyio.sleep(11)
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]
    assert closed.times == [10]
    assert client.protocol.quic.resets == []


async def test_over_http3_a_client_that_left_is_not_sent_a_reset():
    client = HypercornH3()
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
        close(client.protocol.quic)
    assert client.protocol.quic.resets == []


async def test_over_http3_a_client_that_left_is_noticed_at_the_next_event(caplog):
    client, closed = HypercornH3(), Recorder()
    async with serving(client, EventSourceResponse(two, on_close=closed)):
        await client.wait_for_body(b"one")
        close(client.protocol.quic)
        await anyio.sleep(2)
    assert closed.times == [1]
    assert client.data == ["one"]
    assert caplog.messages == []  # it is no error of the server


# What the server knows.


@pytest.mark.parametrize("server", servers())
async def test_a_peer_that_has_closed_unnoticed_is_noticed_at_the_next_ping(server):
    client, closed = server(), Recorder()
    async with serving(client, EventSourceResponse(endless, ping=10, on_close=closed)):
        await client.wait_for_body(b"first")
        socket_of(client).state = CLOSE_WAIT
        await anyio.sleep(11)
    assert closed.times == [10]
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_a_socket_that_cannot_be_asked_has_not_closed(monkeypatch):
    client, closed = Hypercorn(), Recorder()
    monkeypatch.delattr(socket, "TCP_INFO")
    async with serving(client, EventSourceResponse(endless, ping=10, on_close=closed)):
        await client.wait_for_body(b"ping")
        assert closed.reasons == []


async def test_uvicorn_with_a_transport_that_closes_gets_no_more_events():
    client, closed = Uvicorn(), Recorder()
    async with serving(client, EventSourceResponse(two, on_close=closed)):
        await client.wait_for_body(b"one")
        client.transport.half_closed = True
        await anyio.sleep(2)
    assert client.data == ["one"]
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_uvicorn_tells_of_an_end_of_file_that_its_transport_waits_behind():
    client, closed = Uvicorn(), Recorder()
    async with serving(client, EventSourceResponse(endless, on_close=closed)):
        await client.wait_for_body(b"first")
        client.transport.eof_received()
        await anyio.lowlevel.checkpoint()
        await current_runtime().checkpoint()
    assert client.transport.calls == ["eof_received"]
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def shut_down_hypercorn(client):
    client.context.terminated.set()


async def shut_down_uvicorn(client):
    client.transport.shutdown()


@pytest.mark.parametrize(
    ("server", "shut_down"),
    [(Hypercorn, shut_down_hypercorn), (Uvicorn, shut_down_uvicorn)],
    ids=["hypercorn", "uvicorn"],
)
async def test_a_server_that_shuts_down_drains_its_streams(server, shut_down):
    async def produce(send):
        await send.send("first")
        await draining().wait()
        await send.send("last")

    client = server()
    async with anyio.create_task_group() as group:
        response = EventSourceResponse(produce, farewell=FAREWELL)
        group.start_soon(client.call, response)
        await client.wait_for_body(b"first")
        await shut_down(client)
    assert client.data == ["first", "last", "bye"]
    assert client.complete


async def test_a_producer_that_waits_for_draining_gets_the_default_grace():
    async def stubborn(send):
        draining()
        await anyio.sleep_forever()

    client, closed = Hypercorn(), Recorder()
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(stubborn, on_close=closed))
        await client.wait_for(lambda client: client.messages)
        client.context.terminated.set()
    assert closed.times == [1]
    assert client.complete


async def test_another_server_in_the_same_event_loop_is_not_draining_afterwards():
    client = Hypercorn()
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(endless))
        await client.wait_for_body(b"first")
        client.context.terminated.set()
        await client.wait_for(lambda client: client.complete)
        assert is_draining()
    assert not is_draining()
    client = Hypercorn()
    await client.call(EventSourceResponse(one))
    assert client.data == ["one"]


async def test_a_server_that_leaves_while_the_program_drains_does_not_undo_it():
    client = Hypercorn()
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(endless))
        await client.wait_for_body(b"first")
        client.context.terminated.set()
        await drain()
    assert is_draining()


@pytest.mark.parametrize("told_by", ["its protocol", "who handles SIGTERM"])
async def test_a_stream_that_starts_when_uvicorn_is_already_leaving_ends_too(told_by, monkeypatch):
    client = Uvicorn()
    client.scope["headers"] = [(b"host", b"test")]
    if told_by == "its protocol":
        client.keep_alive = False
    else:
        server = SimpleNamespace(should_exit=True, __self__=None)
        handler = SimpleNamespace(__self__=server)
        monkeypatch.setattr(signal, "getsignal", lambda number: handler)
    await client.call(EventSourceResponse(endless, farewell=FAREWELL))
    assert client.data == ["bye"] or client.data == ["first", "bye"]
    assert client.complete


@pytest.mark.parametrize(
    "asks",
    [{"http_version": "1.0"}, {"headers": [(b"host", b"test"), (b"connection", b"Close")]}],
    ids=repr,
)
async def test_a_client_that_does_not_keep_its_connection_is_no_sign_of_leaving(asks):
    client = Uvicorn()
    client.keep_alive = False
    client.scope |= asks
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
        await anyio.sleep(10)
        assert not is_draining()


async def test_streams_of_one_protocol_that_overlap_are_all_told():
    clients = [Uvicorn() for _ in range(3)]
    transport = clients[0].transport
    async with anyio.create_task_group() as group:
        for client in clients:
            client.transport = transport
            group.start_soon(client.call, EventSourceResponse(endless, farewell=FAREWELL))
            await client.wait_for_body(b"first")
        clients[0].disconnect()
        await anyio.sleep(1)
        transport.shutdown()
    assert [client.complete for client in clients] == [False, True, True]
    assert not {"shutdown", "eof_received"} & {*vars(transport)}


async def test_a_hook_that_somebody_has_wrapped_stays_and_does_nothing():
    client, calls = Uvicorn(), []
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
        ours = client.transport.shutdown
        client.transport.shutdown = lambda: calls.append(ours())
    client.transport.shutdown()
    assert calls == [None]
    assert client.transport.calls == ["shutdown"]
    assert not is_draining()


async def test_a_server_that_cannot_be_heard_of_after_all_is_served_without(caplog):
    caplog.set_level(logging.DEBUG, "trio_sse")
    client = Hypercorn()
    client.context.terminated = SimpleNamespace(wait=None)
    await client.call(EventSourceResponse(one))
    assert client.complete
    assert "cannot be heard of" in caplog.text


async def test_a_stream_that_begins_when_a_server_is_leaving_is_told_too():
    live, slow, late, closed = Hypercorn(), Hypercorn(slow=0.4), Hypercorn(), Recorder()
    slow.context = late.context = live.context
    async with anyio.create_task_group() as group:
        group.start_soon(live.call, EventSourceResponse(endless))
        await anyio.sleep(0.1)
        live.context.terminated.set()
        await anyio.lowlevel.checkpoint()
        group.start_soon(slow.call, EventSourceResponse(endless))  # lingers while it is refused
        await anyio.sleep(0.3)
        await late.call(EventSourceResponse(endless, on_close=closed))
    assert closed.reasons == [CloseReason.SHUTDOWN]


async def test_a_server_that_cannot_be_followed_after_all_is_served_without(monkeypatch, caplog):
    class Treacherous:
        @property
        def should_exit(self):
            raise OSError("gotcha")

        def handle_exit(self):
            pass

    caplog.set_level(logging.DEBUG, "trio_sse")
    monkeypatch.setattr(signal, "getsignal", lambda number: Treacherous().handle_exit)
    client = Uvicorn()
    await client.call(EventSourceResponse(one))
    assert client.complete
    assert "cannot be heard of" in caplog.text
    assert not {"shutdown", "eof_received"} & {*vars(client.transport)}


async def test_uvicorn_has_its_own_methods_back_after_the_stream():
    client = Uvicorn()
    before = client.transport.shutdown
    await client.call(EventSourceResponse(one))
    assert client.transport.shutdown == before
    assert not {"shutdown", "eof_received"} & {*vars(client.transport)}


async def test_uvicorn_has_what_somebody_else_put_there_back_after_the_stream():
    client, calls = Uvicorn(), []
    client.transport.shutdown = partial(calls.append, "shutdown")
    theirs = client.transport.shutdown
    async with serving(client, EventSourceResponse(endless)):
        await client.wait_for_body(b"first")
        client.transport.shutdown()
        await client.wait_for(lambda client: client.complete)
    assert client.transport.shutdown is theirs
    assert calls == ["shutdown"]


# The kernel's own timeout.


@pytest.mark.parametrize("server", servers())
@pytest.mark.parametrize(
    ("options", "milliseconds"),
    [
        ({"send_timeout": 5}, [30_000]),
        ({"send_timeout": 20}, [40_000]),
        ({"send_timeout": 5, "tcp_user_timeout": 2.5}, [2500]),
        ({"tcp_user_timeout": 0.0001}, [1]),
        ({"send_timeout": 2e6}, [2**31 - 1]),
        ({"send_timeout": 5, "tcp_user_timeout": 0}, []),
        ({}, []),
    ],
    ids=repr,
)
async def test_the_kernel_is_told_when_to_give_up_a_vanished_peer(server, options, milliseconds):
    client = server()
    await client.call(EventSourceResponse(one, **options))
    told = [v for option, v in socket_of(client).options if option == socket.TCP_USER_TIMEOUT]
    assert told == milliseconds


@pytest.mark.parametrize(
    ("client", "bytes_"),
    [
        pytest.param(Hypercorn, [], id="hypercorn on trio, which has one"),
        pytest.param(lambda: Hypercorn(transport=FakeTransport()), [131072], id="hypercorn"),
        pytest.param(Uvicorn, [131072], id="uvicorn"),
    ],
)
async def test_the_kernel_is_told_not_to_take_megabytes_that_it_cannot_send(client, bytes_):
    client = client()
    await client.call(EventSourceResponse(one))
    told = [v for option, v in socket_of(client).options if option == socket.TCP_NOTSENT_LOWAT]
    assert told == bytes_


@pytest.mark.parametrize("client", [FakeClient, HypercornH3])
async def test_where_there_is_no_socket_the_kernel_is_not_told(client):
    client = client()
    await client.call(EventSourceResponse(one, tcp_user_timeout=2))
    assert client.complete


async def test_a_kernel_that_knows_no_such_options_is_not_told(monkeypatch):
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT")
    client = Uvicorn()
    await client.call(EventSourceResponse(one, send_timeout=5))
    assert client.complete
    assert client.transport.socket.options == []


# Finding the connection.


def named(connection):
    return type(connection).__name__


def find(client, send=None, receive=None):
    stream = client.asgi_send if send is None else send
    return find_connection(current_runtime(), client.scope, receive or client.asgi_receive, stream)


class Asked:
    """An endpoint that notes what connection it finds behind what it is called with."""

    def __init__(self):
        self.found = []

    async def __call__(self, scope, receive, send):
        connection = find_connection(current_runtime(), scope, receive, send)
        self.found.append(named(connection))
        await EventSourceResponse(one)(scope, receive, send)


async def dispatch(request, call_next):
    return await call_next(request)


MIDDLEWARES = {
    "none": [],
    "GZip": [Middleware(GZipMiddleware)],
    "CORS": [Middleware(CORSMiddleware, allow_origins=["*"])],
    "BaseHTTP": [Middleware(BaseHTTPMiddleware, dispatch=dispatch)],
    "all, twice": [
        Middleware(GZipMiddleware),
        Middleware(BaseHTTPMiddleware, dispatch=dispatch),
        Middleware(CORSMiddleware, allow_origins=["*"]),
    ]
    * 2,
}


@pytest.mark.parametrize("middleware", MIDDLEWARES.values(), ids=MIDDLEWARES)
async def test_a_connection_is_found_behind_middlewares(middleware):
    asked, client = Asked(), Uvicorn()
    client.scope |= {"headers": [(b"origin", b"http://a"), (b"accept-encoding", b"gzip")]}
    client.scope |= {"query_string": b"", "root_path": ""}
    app = Starlette(routes=[Route("/", asked)], middleware=middleware)
    await app(client.scope, client.asgi_receive, client.asgi_send)
    assert asked.found == ["UvicornConnection"]


async def test_a_connection_is_found_behind_partials_and_callable_objects():
    class Wrapper:
        def __init__(self, send):
            self._send = send

        async def __call__(self, message):
            await self._send(message)

    client = Uvicorn()
    assert named(find(client, partial(client.asgi_send))) == "UvicornConnection"
    assert named(find(client, Wrapper(client.asgi_send), print)) == "UvicornConnection"
    assert named(find(client, partial(print, send=client.asgi_send), print)) == "UvicornConnection"


async def test_what_leads_in_circles_is_left_after_a_while():
    def first_send(message):
        return second_send(message)

    def second_send(message):
        return first_send(message)

    assert named(find(FakeClient(), first_send, first_send)) == "Connection"


async def test_nothing_is_followed_for_ever():
    client = Uvicorn()
    send = client.asgi_send
    for _ in range(150):
        send = partial(print, send)
    assert named(find(client, send, print)) == "Connection"


async def test_a_variable_that_has_no_value_yet_leads_nowhere():
    def wrap():
        async def sender(message):
            await later_send(message)

        found = find(FakeClient(), sender, sender)
        later_send = FakeClient().asgi_send
        return found

    assert named(wrap()) == "Connection"


async def test_a_wrapper_of_the_app_leads_to_the_connection_whatever_is_between():
    client = Uvicorn()
    client.scope = with_send(client.scope, client.asgi_send)
    assert named(find(client, print, print)) == "UvicornConnection"


async def test_of_several_wrappers_the_outermost_is_nearest_to_the_server():
    scope = with_send({}, print)
    assert with_send(scope, repr) is scope


async def test_the_handshake_of_a_websocket_is_not_looked_behind(caplog):
    caplog.set_level(logging.DEBUG, "trio_sse")
    client = Uvicorn()
    client.scope["type"] = "websocket"
    assert named(find(client)) == "Connection"
    assert caplog.messages == []


async def test_a_scope_keeps_the_extensions_that_it_has():
    scope = with_send({"extensions": {"other": {}}}, print)
    assert scope["extensions"] == {"other": {}, "trio_sse": {"send": print}}


async def test_what_cannot_be_examined_is_nothing_and_says_why(caplog):
    class Treacherous:
        @property
        def transport(self):
            raise OSError("gotcha")

        async def send(self, message):
            pass

    class Enigmatic:
        @property
        def __self__(self):
            raise OSError("never")

        def __call__(self):
            pass

    caplog.set_level(logging.DEBUG, "trio_sse")
    assert named(find(FakeClient(), Treacherous().send)) == "Connection"
    assert "is not what it was" in caplog.text
    assert "gotcha" in caplog.text
    assert named(find(FakeClient(), Enigmatic())) == "Connection"
    assert "could not be examined" in caplog.text
    assert "never" in caplog.text


async def test_what_was_found_is_logged_once(caplog):
    caplog.set_level(logging.DEBUG, "trio_sse")
    for _ in range(3):
        find(Uvicorn())
    assert caplog.messages == ["event streams reach their connection by uvicorn's transport"]


@pytest.mark.parametrize("server", [Hypercorn, HypercornH2])
@pytest.mark.parametrize("addresses", [None, ("127.0.0.1", 1)])
async def test_a_server_that_has_changed_is_told_of_once_with_what_to_do(
    server, addresses, monkeypatch, caplog
):
    monkeypatch.setattr(HTTPStream, "__module__", "hypercorn.protocol.http_stream")
    for _ in range(2):
        client = server()
        client.scope |= {"server": addresses, "client": addresses}
        client.protocol.send = None
        await client.call(EventSourceResponse(one))
        assert client.data == ["one"]
        assert client.complete
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "this version of hypercorn is not known" in record.getMessage()
    assert "app = trio_sse.DrainMiddleware(app)" in record.getMessage()
    assert ("no timeout" in record.getMessage()) == (addresses is None)


@pytest.mark.parametrize("missing", ["get_extra_info", "abort"])
async def test_a_transport_that_lacks_something_is_not_taken_for_one(missing, monkeypatch):
    client = Uvicorn()
    client.transport = SimpleNamespace(abort=None)
    assert named(find(client)) == "Connection"
    assert named(find(broken_trio_stream())) == "Connection"


async def test_a_protocol_that_takes_no_attributes_is_not_followed():
    class Fixed:
        __slots__ = ()

        def shutdown(self):
            pass

        def eof_received(self):
            pass

    client = Uvicorn()
    client.transport.get_protocol = Fixed
    assert named(find(client)) == "Connection"


def broken_trio_stream():
    client = Hypercorn()
    client.server.stream.socket = SimpleNamespace(close=None)
    client.send = client.protocol.stream_send  # as a stream of hypercorn has one
    return client


async def test_internals_that_break_later_do_not_raise_into_a_stream(caplog):
    caplog.set_level(logging.DEBUG, "trio_sse")
    client, closed = HypercornH2(), Recorder()
    async with serving(client, EventSourceResponse(endless, on_close=closed)):
        await client.wait_for_body(b"first")
        client.protocol._window_updated = None
        del client.server.stream
    assert closed.reasons == [CloseReason.CANCELLED]
    assert "the connection could not be let go of" in caplog.text


# A descriptor with the addresses of the request.


@contextmanager
def connected():
    """Yield the two ends of a TCP connection, the server's first, and a scope of it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            scope = {"server": server.getsockname(), "client": client.getsockname()}
            yield server, client, scope


def was_reset(peer):
    peer.settimeout(10)
    try:
        return not peer.recv(1)
    except ConnectionResetError:
        return True


async def test_a_socket_is_found_by_its_addresses_and_no_other_is_touched():
    with connected() as (server, client, scope), connected() as (other, other_client, _):
        fake = FakeClient(freeze_at=1)
        fake.scope |= scope
        await fake.call(EventSourceResponse(endless, send_timeout=5))
        assert server.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == RESET_ON_CLOSE[1]
        assert was_reset(client)
        server.close()
        other.send(b"x")
        assert other_client.recv(1) == b"x"


async def test_addresses_are_compared_however_they_are_written():
    with connected() as (_, client, scope):
        (host, port), (_, client_port) = scope["server"], scope["client"]
        fake = FakeClient(freeze_at=1)
        fake.scope |= {"server": (host, str(port)), "client": ("::ffff:127.0.0.1", client_port)}
        await fake.call(EventSourceResponse(endless, send_timeout=5))
        assert was_reset(client)


async def test_a_socket_with_two_descriptors_is_one_socket():
    with connected() as (server, client, scope), server.dup():
        fake = FakeClient(freeze_at=1)
        fake.scope |= scope
        await fake.call(EventSourceResponse(endless, send_timeout=5))
        assert was_reset(client)


@pytest.mark.parametrize("header", [b"Forwarded", b"x-forwarded-for", b"x-real-ip"])
async def test_behind_a_proxy_no_socket_is_looked_for(header):
    with connected() as (server, client, scope):
        fake = FakeClient(freeze_at=1)
        fake.scope |= scope | {"headers": [(header, b"192.0.2.1")]}
        await fake.call(EventSourceResponse(endless, send_timeout=5))
        server.send(b"x")
        assert client.recv(1) == b"x"


@pytest.mark.parametrize(
    "scope",
    [
        {"server": ("testserver", 80), "client": ("testclient", 50000)},
        {"server": ("127.0.0.1", 80), "client": None},
        {"server": ("/tmp/socket", None), "client": ("127.0.0.1", 1)},
        {"server": ("127.0.0.1",), "client": ("127.0.0.1", 1)},
    ],
    ids=repr,
)
async def test_what_is_no_pair_of_addresses_has_no_socket(scope):
    client = FakeClient()
    client.scope |= scope
    assert named(find(client)) == "Connection"


async def test_where_descriptors_cannot_be_listed_there_is_no_socket(monkeypatch):
    monkeypatch.setattr(_descriptor, "DESCRIPTORS", "/nowhere")
    client = FakeClient()
    client.scope |= {"server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1)}
    assert named(find(client)) == "Connection"


async def test_addresses_that_no_socket_has_break_nothing(caplog):
    caplog.set_level(logging.DEBUG, "trio_sse")
    with connected() as (server, client, scope):
        fake = FakeClient(freeze_at=1)
        fake.scope |= scope | {"client": ("127.0.0.2", 1)}
        await fake.call(EventSourceResponse(endless, send_timeout=5))
        server.send(b"x")
        assert client.recv(1) == b"x"
    assert "0 sockets connect" in caplog.text


async def test_a_stream_of_which_nothing_is_known_is_only_cancelled():
    client, closed = FakeClient(freeze_at=1), Recorder()
    await client.call(EventSourceResponse(endless, send_timeout=5, on_close=closed))
    assert closed.reasons == [CloseReason.SEND_TIMEOUT]
    assert anyio.current_time() == 5


@pytest.mark.parametrize("headers", [[], [(b"x-forwarded-for", b"192.0.2.1")]], ids=repr)
async def test_over_http2_granian_breaks_a_stream_whose_producer_raised(headers, monkeypatch):
    class Granian(FakeClient):
        pass

    async def fail(send):
        raise ValueError("no")

    monkeypatch.setattr(Granian, "__module__", "granian._granian")
    client = Granian(http_version="2")
    client.scope |= {"server": ("127.0.0.1", "80"), "client": ("127.0.0.1", "1")}
    client.scope |= {"headers": headers}
    with pytest.raises(ValueError, match="no"):
        await client.call(EventSourceResponse(fail))
    assert not client.complete
