"""Clients that see what is on the wire: HTTP/1.1 over a socket, HTTP/2 by h2 over TLS.

Both have the same methods, and read no further than they are asked to.
"""

import socket
import ssl
import time
from typing import Any, Self

# For each read. Nothing waits for it to pass, unless a test is about to fail.
READ_TIMEOUT = 30.0

# For all that is left of a body, which may be long, but ends.
REST_TIMEOUT = 60.0

READ_SIZE = 65536

EVENT_END = b"\r\n\r\n"

Address = tuple[str, int]


class TruncatedError(Exception):
    """The connection or the stream broke before the end of the body."""


class Client:
    """One connection, one request at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(READ_TIMEOUT)
        self.status = 0
        self.headers: dict[str, str] = {}
        self.head_reads = 0
        """How many reads it took until the headers were there."""
        self.body = b""
        """What was read of the body and not yet taken."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def request(self, path: str, method: str = "GET", body: bytes = b"") -> None:
        """Send a request and read until its headers are there."""
        raise NotImplementedError

    def read_event(self) -> bytes:
        """Read until there is an event, and take it."""
        while EVENT_END not in self.body:
            if not self._read_body():
                raise TruncatedError("the body ended in, or before, an event")
        event, end, self.body = self.body.partition(EVENT_END)
        return event + end

    def read_rest(self) -> bytes:
        """Read to the end of the body, and take what is left of it.

        Raises:
            TruncatedError: if it has no proper end; the rest stays in ``body``.
        """
        deadline = time.monotonic() + REST_TIMEOUT
        while self._read_body():
            assert time.monotonic() < deadline, "the body does not end"
        rest, self.body = self.body, b""
        return rest

    def _read_body(self) -> bool:
        """Add to the body; False at the end of it."""
        raise NotImplementedError

    def _receive(self) -> bytes:
        try:
            data = self._connection.recv(READ_SIZE)
        except ConnectionResetError as error:
            raise TruncatedError from error
        if not data:
            raise TruncatedError
        return data


class Http1(Client):
    """HTTP/1.1, with chunks decoded here so that no library hides a missing last one."""

    def __init__(self, address: Address) -> None:
        super().__init__(socket.create_connection(address, READ_TIMEOUT))
        self._received = b""
        self._left = 0

    def request(self, path: str, method: str = "GET", body: bytes = b"") -> None:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n{length}\r\n"
        self._connection.sendall(head.encode() + body)
        self._read_head(method)

    def _read_head(self, method: str) -> None:
        self.head_reads, self.body = 0, b""
        while b"\r\n\r\n" not in self._received:
            self._received += self._receive()
            self.head_reads += 1
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(status_line.split()[1])
        fields = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in fields}
        empty = method == "HEAD" or self.status == 204
        self._left = 0 if empty else int(self.headers.get("content-length", -1))

    def _read_body(self) -> bool:
        if self._left < 0:
            chunk = self._read_chunk()
        else:
            chunk = self._take(self._left)
            self._left = 0
        self.body += chunk
        return bool(chunk)

    def _read_chunk(self) -> bytes:
        while b"\r\n" not in self._received:
            self._received += self._receive()
        line, _, self._received = self._received.partition(b"\r\n")
        chunk = self._take(int(line, 16))
        assert self._take(2) == b"\r\n"
        if not chunk:
            self._left = 0
        return chunk

    def _take(self, size: int) -> bytes:
        while len(self._received) < size:
            self._received += self._receive()
        taken, self._received = self._received[:size], self._received[size:]
        return taken


class Http2(Client):
    """HTTP/2 over TLS; a new stream for each request."""

    def __init__(self, address: Address, context: ssl.SSLContext) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        connection = socket.create_connection(address, READ_TIMEOUT)
        super().__init__(context.wrap_socket(connection, server_hostname=address[0]))
        self._h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._stream = 0
        self._ended = False

    def request(self, path: str, method: str = "GET", body: bytes = b"") -> None:
        self.status, self.head_reads, self.body, self._ended = 0, 0, b"", False
        self._stream = self._h2.get_next_available_stream_id()
        pseudo = {":method": method, ":path": path, ":scheme": "https", ":authority": "test"}
        self._h2.send_headers(self._stream, list(pseudo.items()), end_stream=not body)
        if body:
            self._h2.send_data(self._stream, body, end_stream=True)
        self._flush()
        while not self.status:
            self._read_frames()
            self.head_reads += 1

    def reset(self) -> None:
        """Give up the stream and keep the connection."""
        self._h2.reset_stream(self._stream, error_code=8)
        self._flush()

    def _read_body(self) -> bool:
        if self._ended:
            return False
        self._read_frames()
        return True

    def _read_frames(self) -> None:
        for event in self._h2.receive_data(self._receive()):
            self._handle(event)
        self._flush()

    def _handle(self, event: Any) -> None:
        if getattr(event, "stream_id", None) != self._stream:
            return
        match type(event).__name__:
            case "ResponseReceived":
                self.headers = dict(event.headers)
                self.status = int(self.headers.pop(":status"))
            case "DataReceived":
                self.body += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, self._stream)
            case "StreamEnded":
                self._ended = True
            case "StreamReset":
                raise TruncatedError("the stream was reset")

    def _flush(self) -> None:
        self._connection.sendall(self._h2.data_to_send())
