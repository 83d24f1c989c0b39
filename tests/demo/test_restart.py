"""One server after the other, on one listening socket."""

import json
import signal
import socket

import pytest
import trio

pytest.importorskip("hypercorn")

from trio_sse import EventStreamDecoder
from trio_sse.demo._server import leave_at, run
from trio_sse.demo._show import open_show

from .kit import real_time

pytestmark = [pytest.mark.anyio, real_time]

ENOUGH = 30


class Client:
    """A client that gives its connections back in the end."""

    def __init__(self, address):
        self._address = address
        self._streams = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *raised):
        for stream in self._streams:
            await trio.aclose_forcefully(stream)

    async def ask(self, path, method="GET", header="x: y"):
        """Send a request, and return the stream that the answer comes on."""
        stream = await trio.open_tcp_stream(*self._address)
        self._streams.append(stream)
        head = f"{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{header}\r\n\r\n"
        await stream.send_all(head.encode())
        return stream

    async def come_back(self, path, last_event_id, text):
        """Ask again until there is an answer with a text: servers that leave refuse softly."""
        received = b""
        while text not in received:
            stream = await self.ask(path, header=f"last-event-id: {last_event_id}")
            received = await read_until(stream, text)
        return stream, received


async def read_until(stream, text):
    """Read until there is a text, or no more."""
    received = b""
    while text not in received and (chunk := await stream.receive_some()):
        received += chunk
    return received


async def read_rest(stream):
    return b"".join([chunk async for chunk in stream])


def events_of(received):
    """Return the events of a body in chunks, each of which is some whole events."""
    body = received.partition(b"\r\n\r\n")[2]
    return EventStreamDecoder().receive_data(body)


def numbers_of(events):
    return [json.loads(event.data)["number"] for event in events if event.type == "numbers"]


async def test_browsers_go_on_at_the_next_server_where_they_were(capsys):
    listener = socket.create_server(("127.0.0.1", 0))
    with trio.fail_after(ENOUGH):
        async with trio.open_nursery() as nursery, Client(listener.getsockname()) as client:
            nursery.start_soon(run, listener, "hello")
            stream = await client.ask("/events?page=a")
            received = await read_until(stream, b"event: numbers")
            await read_rest(await client.ask("/drain", "POST"))
            received += await read_rest(stream)
            assert received.endswith(b"0\r\n\r\n")
            events = events_of(received)
            assert (events[-1].type, events[-1].data) == ("farewell", "until the next server")
            before, last = numbers_of(events), events[-1].last_event_id

            stream, received = await client.come_back("/events?page=a", last, b'"server":2')
            events = events_of(received)
            assert json.loads(events[0].data) == {"resumed": True}
            numbers = before + numbers_of(events)
            assert len(numbers) > len(before) > 0
            assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]

            signal.raise_signal(signal.SIGTERM)
            assert (await read_rest(stream)).endswith(b"0\r\n\r\n")
    assert capsys.readouterr().out == "hello\n"
    assert listener.fileno() == -1


async def test_a_client_that_leaves_in_the_middle_of_its_message_is_no_error(capfd):
    listener = socket.create_server(("127.0.0.1", 0))
    with trio.fail_after(ENOUGH):
        async with trio.open_nursery() as nursery, Client(listener.getsockname()) as client:
            nursery.start_soon(run, listener, "hello")
            stream = await client.ask("/publish?page=a", "POST", "content-length: 9\r\n\r\nhell")
            await stream.send_eof()
            await read_rest(stream)
            signal.raise_signal(signal.SIGTERM)
    assert capfd.readouterr().err == ""


async def test_the_first_signal_lets_the_server_leave_and_the_second_cancels_it():
    async def signals():
        yield signal.SIGINT
        assert show.leaving
        assert not serving.cancel_called
        yield signal.SIGINT

    async with open_show() as show:
        serving = trio.CancelScope()
        await leave_at(signals(), show, serving)
        assert serving.cancel_called
