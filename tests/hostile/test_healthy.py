"""Clients that read: what is done about those that do not must not be done to them."""

from collections.abc import Callable, Sequence

import pytest

from .clients import Http2Peer, Reads
from .kinds import HYPERCORN_TRIO, KINDS, SERVE, Certificate, Kind, Server

pytestmark = [pytest.mark.server, pytest.mark.hostile]

# Several times what all buffers on the way hold, so that each send has to wait.
SIZE = 3_000_000

# Short, and yet far more than any send to a client that reads takes.
TIMEOUT = 2.0


Read = Callable[[Server, str], int]


def http1(server: Server, path: str) -> int:
    with Reads(server.plain, path) as reader:
        return reader.read(SIZE, 0.0)


def tls(server: Server, path: str) -> int:
    with Reads(server.over_tls, path, server.certificate.http1) as reader:
        return reader.read(SIZE, 0.0)


def http2(server: Server, path: str) -> int:
    with Http2Peer(server.over_tls, server.certificate.http2) as peer:
        stream = peer.open(path)
        peer.read_until(lambda: len(stream.body) >= SIZE or stream.reset)
        return len(stream.body)


def ways(kind: Kind) -> Sequence[Read]:
    """How this server is read from."""
    if kind in (HYPERCORN_TRIO, SERVE):
        return http1, tls, http2
    return (http1, tls) if kind.tls else (http1,)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_client_that_reads_all_that_comes_is_never_dropped(
    kind: Kind, certificate: Certificate
) -> None:
    with kind.running(certificate) as server:
        cut = []
        for read in ways(kind):
            for prefix in ("", "/behind"):
                name = f"{read.__name__}{prefix}"
                if read(server, f"{prefix}/flood?name={name}&send_timeout={TIMEOUT}") < SIZE:
                    cut.append(name)
        assert cut == []
