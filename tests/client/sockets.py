"""A server on a socket, in a thread, that does to each connection what it is told."""

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from enum import Enum, auto
from itertools import chain, repeat
from typing import Self

# For each read and write. Nothing waits for it to pass, unless a test is about to fail.
TIMEOUT = 30.0

EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


class Act(Enum):
    """What a server does beside sending."""

    HOLD = auto()
    """Wait until the client closes the connection."""
    RESET = auto()
    """Close the connection by RST."""


Step = bytes | Act
Connection = Iterable[Step] | Callable[[bytes], Iterable[Step]]


def stream(*parts: Step) -> list[Step]:
    """An event stream that lasts as long as the connection."""
    return [EVENT_STREAM + b"Connection: close\r\n\r\n", *parts]


def chunked(*parts: bytes) -> list[Step]:
    """An event stream in chunks, without the last."""
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    return [EVENT_STREAM + b"Transfer-Encoding: chunked\r\n\r\n", *chunks]


def answer(status: str, *headers: str, body: bytes = b"") -> list[Step]:
    """A response that is complete."""
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"HTTP/1.1 {status}", *headers, *length, "Connection: close"]
    return ["".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body]


class SocketServer:
    """Listens on a free port, and plays one script after the other.

    Args:
        connections: What to do with each connection when its request is there, before closing
            it: steps, or what makes them of the request. The one that comes after is answered
            with 204, and any that comes yet with 410.
        listening: Whether to listen from the start.
    """

    def __init__(self, connections: Iterable[Connection], *, listening: bool = True) -> None:
        self.requests: list[bytes] = []
        self.sent = 0
        """How many bytes were sent, on all connections."""
        self.broken = 0
        """How many connections the client has closed while there was more to send."""
        self.holding = threading.Event()
        self._connections = chain(
            connections, [answer("204 No Content")], repeat(answer("410 Gone"))
        )
        self._error: Exception | None = None
        self._over = False
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.url = "http://{}:{}/events".format(*self.address)
        self._thread = threading.Thread(target=self._serve)
        if listening:
            self.listen()

    def listen(self) -> None:
        """Begin to accept connections."""
        self._listener.listen()
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._over = True
        if self._thread.is_alive():
            socket.create_connection(self.address).close()  # lets it see that it is over
            self._thread.join()
        self._listener.close()
        if self._error is not None:
            raise self._error

    @property
    def first_lines(self) -> list[str]:
        """The first line of each request, without the version."""
        return [request.partition(b" HTTP/1.1\r\n")[0].decode() for request in self.requests]

    def headers(self, name: bytes) -> list[bytes | None]:
        """Return the value of a header of each request."""
        found = [re.search(rb"(?im)^%b: (.*)\r$" % name, request) for request in self.requests]
        return [match and match[1] for match in found]

    def _serve(self) -> None:
        try:
            for connection in self._connections:
                with self._listener.accept()[0] as client:
                    if self._over:
                        return
                    client.settimeout(TIMEOUT)
                    self._play(client, connection)
        except Exception as error:
            self._error = error

    def _play(self, client: socket.socket, connection: Connection) -> None:
        try:
            request = self._read_request(client)
            for step in connection(request) if callable(connection) else connection:
                self._take(step, client)
        except ConnectionError:
            self.broken += 1

    def _read_request(self, client: socket.socket) -> bytes:
        """Read a request to the end of its body, and note it."""
        request = b""
        while not (body := request.partition(b"\r\n\r\n"))[1]:
            request += self._receive(client)
        _, found, length = body[0].lower().partition(b"content-length: ")
        size = int(length.split()[0]) if found else 0
        while len(request) < len(body[0]) + 4 + size:
            request += self._receive(client)
        self.requests.append(request)
        return request

    def _receive(self, client: socket.socket) -> bytes:
        data = client.recv(65536)
        if not data:
            raise ConnectionError("closed within a request")
        return data

    def _take(self, step: Step, client: socket.socket) -> None:
        match step:
            case Act.HOLD:
                self.holding.set()
                if client.recv(1):
                    raise AssertionError("the client has sent more than a request")
            case Act.RESET:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            case bytes():
                client.sendall(step)
                self.sent += len(step)
