"""hypercorn as a version might be that is not known: less is possible, and that is said once."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from servers.wire import Client, Http1, Http2

from .drops import HTTP1, limit
from .kinds import HYPERCORN_TRIO, Certificate, Server

pytestmark = [pytest.mark.server, pytest.mark.hostile]

UNKNOWN = replace(
    HYPERCORN_TRIO,
    name="hypercorn-unknown",
    command=("-m", "hostile.changed", *HYPERCORN_TRIO.command[2:]),
)

TIMEOUT = 1.0


@pytest.fixture(scope="module")
def server(certificate: Certificate) -> Iterator[Server]:
    with UNKNOWN.running(certificate) as server:
        yield server


def test_streams_work_and_what_is_lost_is_said_once(server: Server) -> None:
    for name in ("one", "two", "three"):
        read_ticks(Http1(server.plain), f"{name}-http1")
        read_ticks(Http2(server.over_tls, server.certificate.http2), f"{name}-http2")
        assert server.wait_over(f"{name}-http1")["reason"] == "client_disconnected"
        assert server.wait_over(f"{name}-http2")["reason"] == "client_disconnected"
    (warning,) = warnings(server)
    assert "DrainMiddleware" in warning


def read_ticks(client: Client, name: str) -> None:
    with client:
        client.request(f"/ticks?name={name}")
        for _ in range(3):
            assert client.read_event() == b"data: tick\r\n\r\n"


def warnings(server: Server) -> list[str]:
    """The records of the package's logger; see `changed` for their format."""
    lines = server.process.stderr.splitlines()
    return [line for line in lines if line.startswith("WARNING trio_sse")]


def test_a_client_that_stops_reading_is_dropped_by_its_descriptor(server: Server) -> None:
    drop = HTTP1.run(server, TIMEOUT)
    assert drop.reason == "send_timeout"
    assert drop.over <= limit(TIMEOUT)
    assert drop.gone is not None
    assert drop.gone <= limit(TIMEOUT)
    assert len(warnings(server)) <= 1
