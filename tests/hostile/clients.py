"""Clients that behave badly, each in its own way, over loopback.

A receive buffer of a few kilobytes makes it soon show that they do not read.
"""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Self

from servers.wire import EVENT_END, READ_SIZE, READ_TIMEOUT, Address

SMALL_BUFFER = 4096

# Enough for a client that does read, and less than the kernel would have by itself.
BUFFER = 2**17

# One byte per this many seconds, from a client that reads as slowly as can be.
TRICKLE = 1.0

# More than any test sends.
WIDE_WINDOW = 2**30

# What a stream may be sent before the client has granted anything.
FIRST_WINDOW = 65535

# Until it has been.
SETTLING = 5.0

CANCEL = 8


def connect(address: Address, context: ssl.SSLContext | None, buffer: int) -> socket.socket:
    """Connect with a receive buffer of this size, which has to be asked for before."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(READ_TIMEOUT)
    connection.connect(address)
    if context is None:
        return connection
    return context.wrap_socket(connection, server_hostname=address[0])


class Peer:
    """One connection, and the ways to end it."""

    buffer: ClassVar[int] = SMALL_BUFFER

    def __init__(self, address: Address, context: ssl.SSLContext | None = None) -> None:
        self._connection = connect(address, context, self.buffer)
        self.ports: tuple[int, int] = (address[1], self._connection.getsockname()[1])
        """Those of the server and of the client."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close: the kernel sends a FIN, or a RST if there is something that was not read."""
        self._connection.close()

    def reset(self) -> None:
        """Close with a RST, also in the middle of an event."""
        linger = struct.pack("ii", 1, 0)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._connection.close()

    def half_close(self) -> None:
        """Send a FIN and stay; read nothing more."""
        self._connection.shutdown(socket.SHUT_WR)

    def settle(self) -> None:
        """Get to where it starts to behave badly."""

    def await_moment(self) -> None:
        """Wait for the moment to leave at, if there is one."""

    def ask(self, *paths: str) -> None:
        """Send these requests of HTTP/1.1 in one go."""
        requests = (f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n" for path in paths)
        self._connection.sendall("".join(requests).encode())

    def receive(self) -> bytes:
        """Read some; nothing when the server has closed."""
        return self._connection.recv(READ_SIZE)

    def read_event(self) -> None:
        """Read the headers and the first event, so that nothing is left to read."""
        received = b""
        while received.count(EVENT_END) < 2:
            more = self.receive()
            assert more, f"closed after {received!r}"
            received += more


class NeverReads(Peer):
    """Asks over HTTP/1.1 and never reads."""

    def __init__(self, address: Address, path: str, context: ssl.SSLContext | None = None) -> None:
        super().__init__(address, context)
        self.ask(path)


class Trickles(NeverReads):
    """Asks over HTTP/1.1 and reads a byte now and then."""

    def __init__(self, address: Address, path: str) -> None:
        super().__init__(address, path)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def close(self) -> None:
        self._left.set()
        self._thread.join()
        super().close()

    def _read(self) -> None:
        with suppress(OSError):
            while not self._left.wait(TRICKLE):
                self._connection.recv(1)


class Listens(NeverReads):
    """Asks over HTTP/1.1 and reads until there has been an event."""

    def settle(self) -> None:
        self.read_event()


class Reads(NeverReads):
    """Asks over HTTP/1.1 and reads all that comes."""

    buffer = BUFFER

    def read(self, size: int, seconds: float) -> int:
        """Read this much or to the end, evenly over some time; return how much it was."""
        started, received = time.monotonic(), 0
        while received < size and (data := self.receive()):
            received += len(data)
            due = started + seconds * received / size
            time.sleep(max(0.0, due - time.monotonic()))
        return received


class Pipelines(Peer):
    """Asks for more over HTTP/1.1 before the first answer can have ended."""

    def __init__(self, address: Address, path: str) -> None:
        super().__init__(address)
        self.ask(path, "/log")

    def settle(self) -> None:
        self.read_event()

    def await_moment(self) -> None:
        """Read everything, without which there is no FIN, up to a ping.

        Right after it the next is a whole interval away, and may not be the one that only causes
        a reset for a third to meet.
        """
        timeout = self._connection.gettimeout()
        with suppress(BlockingIOError):
            self._connection.settimeout(0)
            self.receive()
        self._connection.settimeout(timeout)
        self.receive()


class Stream:
    """What came of one stream of an HTTP/2 connection."""

    def __init__(self) -> None:
        self.body = b""
        self.arrivals: list[float] = []
        """When parts of the body came."""
        self.ended = False
        self.reset = False


class Http2Peer(Peer):
    """HTTP/2 over TLS. The window of the connection is wide; those of streams are as asked."""

    def __init__(self, address: Address, context: ssl.SSLContext) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        super().__init__(address, context)
        self.streams: dict[int, Stream] = {}
        self._h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WIDE_WINDOW)
        self._flush()

    def open(self, path: str, *, starved: bool = False) -> Stream:
        """Ask on a new stream; a starved one is never granted more than its first window."""
        number = self._h2.get_next_available_stream_id()
        pseudo = {":method": "GET", ":path": path, ":scheme": "https", ":authority": "test"}
        self._h2.send_headers(number, list(pseudo.items()), end_stream=True)
        if not starved:
            self._h2.increment_flow_control_window(WIDE_WINDOW, number)
        self._flush()
        stream = self.streams[number] = Stream()
        return stream

    def give_up(self, stream: Stream) -> None:
        """Reset one stream and keep the connection."""
        number = next(number for number, known in self.streams.items() if known is stream)
        self._h2.reset_stream(number, error_code=CANCEL)
        self._flush()

    def read_until(self, condition: Callable[[], bool], seconds: float = READ_TIMEOUT) -> bool:
        """Read until something holds; whether it does at last."""
        deadline = time.monotonic() + seconds
        while not condition():
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self.receive()
            except TimeoutError:
                return False
            if not data:
                return condition()
            for event in self._h2.receive_data(data):
                self._handle(event)
            self._flush()
        return True

    def _handle(self, event: Any) -> None:
        stream = self.streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            return
        match type(event).__name__:
            case "DataReceived":
                stream.body += event.data
                stream.arrivals.append(time.monotonic())
            case "StreamEnded":
                stream.ended = True
            case "StreamReset":
                stream.reset = True

    def _flush(self) -> None:
        self._connection.sendall(self._h2.data_to_send())


class NeverReadsHttp2(Http2Peer):
    """Asks over HTTP/2, grants all that can be granted, and never reads: TCP itself blocks."""

    def __init__(self, address: Address, path: str, context: ssl.SSLContext) -> None:
        super().__init__(address, context)
        self.open(path)


class StarvesHttp2(Http2Peer):
    """Asks over HTTP/2 and reads all that it gets, but grants the stream nothing."""

    def __init__(self, address: Address, path: str, context: ssl.SSLContext) -> None:
        super().__init__(address, context)
        self.starved = self.open(path, starved=True)

    @property
    def settled(self) -> bool:
        """Whether the first window is used up."""
        return len(self.starved.body) >= FIRST_WINDOW

    def settle(self) -> None:
        self.read_until(lambda: self.settled, SETTLING)
