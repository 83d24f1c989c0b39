"""HTTP/3 by aioquic, as `servers.wire` has HTTP/1.1 and HTTP/2: a client that reads on demand."""

import socket
import ssl
import time
from typing import Any

from servers.wire import READ_SIZE, READ_TIMEOUT, Address, Client, TruncatedError

# What a client says that has what it wanted: RFC 9114, section 8.1.
NO_ERROR = 0x100
REQUEST_CANCELLED = 0x10C

# The shortest wait for a datagram, when a timer of QUIC is due: 0 would not block at all.
AT_ONCE = 0.001


class Http3(Client):
    """HTTP/3; a new stream for each request.

    aioquic validates what it receives: a response that is malformed, as by a header that
    belongs to one connection of HTTP/1.1, raises `TruncatedError`.
    """

    def __init__(self, address: Address) -> None:
        from aioquic.h3.connection import H3_ALPN, H3Connection
        from aioquic.quic.configuration import QuicConfiguration
        from aioquic.quic.connection import QuicConnection

        connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        connection.connect(address)
        super().__init__(connection)
        # Whose certificate it is does not matter here.
        configuration = QuicConfiguration(alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE)
        self._quic = QuicConnection(configuration=configuration)
        self._quic.connect(address, now=time.monotonic())
        self._h3 = H3Connection(self._quic)
        self._stream = 0
        self._ended = False
        self._closed = False

    def close(self) -> None:
        """Close the connection, and say so."""
        if not self._closed:
            self._closed = True
            self._quic.close(error_code=NO_ERROR)
            self._flush()
        super().close()

    def request(self, path: str, method: str = "GET", body: bytes = b"") -> None:
        self.status, self.body, self._ended = 0, b"", False
        self._stream = self._quic.get_next_available_stream_id()
        pseudo = {":method": method, ":scheme": "https", ":authority": "test", ":path": path}
        headers = [(name.encode(), value.encode()) for name, value in pseudo.items()]
        self._h3.send_headers(self._stream, headers, end_stream=not body)
        if body:
            self._h3.send_data(self._stream, body, end_stream=True)
        self._flush()
        while not self.status:
            self._read_events()

    def stop(self) -> None:
        """Give up the stream and keep the connection."""
        self._quic.stop_stream(self._stream, REQUEST_CANCELLED)
        self._flush()

    def _read_body(self) -> bool:
        if self._ended:
            return False
        self._read_events()
        return True

    def _read_events(self) -> None:
        """Read until something happens, be it in another stream."""
        deadline = time.monotonic() + READ_TIMEOUT
        while (event := self._quic.next_event()) is None:
            self._read_datagram(deadline)
            self._flush()
        self._handle(event)
        for h3_event in self._h3.handle_event(event):
            self._handle(h3_event)
        self._flush()

    def _read_datagram(self, deadline: float) -> None:
        """Read one, unless a timer comes first."""
        timer = self._quic.get_timer() or deadline
        now = time.monotonic()
        if now >= deadline:
            raise TimeoutError
        self._connection.settimeout(max(min(timer, deadline) - now, AT_ONCE))
        try:
            data = self._connection.recv(READ_SIZE)
        except TimeoutError:
            self._quic.handle_timer(now=time.monotonic())
        else:
            self._quic.receive_datagram(data, self._connection.getpeername(), time.monotonic())

    def _handle(self, event: Any) -> None:
        if type(event).__name__ == "ConnectionTerminated":
            raise TruncatedError(event.reason_phrase)
        if getattr(event, "stream_id", None) != self._stream:
            return
        match type(event).__name__:
            case "HeadersReceived":
                self.headers = {name.decode(): value.decode() for name, value in event.headers}
                self.status = int(self.headers.pop(":status"))
                self._ended = event.stream_ended
            case "DataReceived":
                self.body += event.data
                self._ended = event.stream_ended
            case "StreamReset":
                raise TruncatedError("the stream was reset")

    def _flush(self) -> None:
        for data, _ in self._quic.datagrams_to_send(now=time.monotonic()):
            self._connection.send(data)
