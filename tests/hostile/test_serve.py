"""`trio_sse.hypercorn.serve`: deadlines for every response, and an end that always comes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from signal import SIGINT, SIGUSR1
from typing import Self

import pytest

from servers.wire import Http1

from .clients import Peer, Reads
from .drops import blocked, http1, limit, starved, tls
from .kernel import has_connection
from .kinds import SERVE, Certificate, Server, accepts, until
from .test_leaving import is_farewell

pytestmark = [pytest.mark.server, pytest.mark.hostile]

SIZE = 20_000_000

WRITE_TIMEOUT = 1.0

# How long the reader takes that reads steadily.
READING = 3.0

# What `serve` has by default for producers, and hypercorn for everything that is left.
DRAIN = 1.0
GRACEFUL_TIMEOUT = 3.0

# What it may take beyond these.
EXIT = 1.0

# How many readers there are, what each has read when it is on its way, and looks at in the end.
READERS = 10
SENDING = 100_000
TAIL = 500

IMPATIENT = replace(SERVE, command=(*SERVE.command, "--write-timeout", str(WRITE_TIMEOUT)))
TRIGGERED = replace(SERVE, command=(*SERVE.command, "--stop-on", "SIGUSR1"), stop=SIGUSR1)
INTERRUPTED = replace(SERVE, stop=SIGINT)


@pytest.fixture(scope="module")
def impatient(certificate: Certificate) -> Iterator[Server]:
    """A server that gives up soon who takes nothing."""
    with IMPATIENT.running(certificate) as server:
        yield server


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_a_large_response_is_completed_for_a_client_that_reads_for_longer_than_the_write_timeout(
    impatient: Server, tls: bool
) -> None:
    address = impatient.over_tls if tls else impatient.plain
    context = impatient.certificate.http1 if tls else None
    with Reads(address, f"/large?size={SIZE}", context) as reader:
        assert reader.read(SIZE, READING) >= SIZE


@pytest.mark.parametrize("freeze", [http1, tls, blocked])
def test_a_client_that_never_reads_an_ordinary_response_is_gone_after_the_write_timeout(
    impatient: Server, freeze: Callable[[Server, str], Peer]
) -> None:
    with freeze(impatient, f"/large?size={SIZE}") as peer:
        assert until(lambda: not has_connection(*peer.ports), limit(WRITE_TIMEOUT))


def test_a_stream_without_a_window_for_an_ordinary_response_is_gone_after_the_write_timeout(
    impatient: Server,
) -> None:
    with starved(impatient, f"/large?size={SIZE}") as peer:
        peer.settle()
        assert peer.read_until(lambda: peer.starved.reset, limit(WRITE_TIMEOUT))


def test_nobody_that_never_reads_an_ordinary_response_holds_up_the_exit(
    certificate: Certificate,
) -> None:
    with SERVE.running(certificate) as server, ExitStack() as stack:
        for freeze in (http1, tls, blocked, starved):
            stack.enter_context(freeze(server, f"/large?size={SIZE}")).settle()
        server.ask("/log")  # answered after the others have begun to be
        seconds, code = server.leave()
        assert seconds <= DRAIN + GRACEFUL_TIMEOUT + EXIT
        assert code == 0


@pytest.mark.parametrize("attempt", range(3))
def test_an_interrupt_while_many_streams_are_sending_ends_the_process(
    certificate: Certificate, attempt: int
) -> None:
    with INTERRUPTED.running(certificate) as server, ExitStack() as stack:
        readers = [stack.enter_context(Reader(server, n)) for n in range(READERS)]
        assert until(lambda: all(reader.received > SENDING for reader in readers))
        seconds, code = server.leave()
        assert seconds <= DRAIN + EXIT
        assert code == 0
        for reader in readers:
            reader.join()
        assert [reader.tail for reader in readers if not reader.whole] == []


class Reader:
    """A client that reads a flood of events to its end, in a thread."""

    def __init__(self, server: Server, number: int) -> None:
        self.received = 0
        self.tail = b""
        self._peer = Reads(server.plain, f"/flood?name=reader-{number}")
        self._thread = threading.Thread(target=self._read)

    @property
    def whole(self) -> bool:
        """Whether the last that was read is a farewell and the last chunk."""
        return b"event: bye" in self.tail and self.tail.endswith(b"\r\n0\r\n\r\n")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.join()
        self._peer.close()

    def join(self) -> None:
        self._thread.join()

    def _read(self) -> None:
        with suppress(OSError):
            while data := self._peer.receive():
                self.received += len(data)
                self.tail = (self.tail + data)[-TAIL:]


def test_a_trigger_ends_streams_whole_and_then_the_server(certificate: Certificate) -> None:
    with TRIGGERED.running(certificate) as server, Http1(server.plain) as client:
        client.request("/quiet?name=triggered")
        client.read_event()
        server.process.send_signal(server.kind.stop)
        assert is_farewell(client.read_rest())
        assert server.process.wait() == 0


def test_it_says_where_it_listens_and_after_its_end_nobody_does(certificate: Certificate) -> None:
    with SERVE.running(certificate) as server:
        started = server.process.wait_for("started: (.*)")[1]
        ports = {url.rpartition(":")[2] for url in started.split()}
        assert ports == {str(server.plain[1]), str(server.over_tls[1])}
        assert server.leave()[1] == 0
        assert not accepts(server.plain)
        assert not accepts(server.over_tls)
