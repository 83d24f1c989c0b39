"""An app written for sse-starlette, with only its imports changed, on real servers."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.process import Process
from servers.wire import Address, Http1, TruncatedError

pytest.importorskip("hypercorn")
pytest.importorskip("uvicorn")

pytestmark = pytest.mark.server

HYPERCORN = ("-m", "hypercorn", "--bind", "127.0.0.1:0", "changed:app", "-k")
COMMANDS = {
    "hypercorn-trio": (*HYPERCORN, "trio"),
    "hypercorn-asyncio": (*HYPERCORN, "asyncio"),
    "uvicorn": ("-m", "uvicorn", "--port", "0", "changed:app"),
}

# uvicorn, done with shutting down, dies of the signal that it was sent.
EXIT_CODES = {"uvicorn": -signal.SIGTERM}

GREETING = b"id: 1\r\nevent: greeting\r\ndata: hello\r\n\r\n"
LINES = b"id: 2\r\ndata: two\r\ndata: lines\r\n\r\n"
PING = b": still here\r\n\r\n"
FAREWELL = b"event: farewell\r\ndata: False\r\n\r\n"


@pytest.fixture(params=COMMANDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(kind: str, tmp_path: Path) -> Iterator[Process]:
    written = (Path(__file__).parent / "sse_app.py").read_text()
    changed = written.replace("sse_starlette.sse", "trio_sse.compat")
    changed = changed.replace("sse_starlette", "trio_sse.compat")
    (tmp_path / "changed.py").write_text(changed)
    with Process("-X", "dev", *COMMANDS[kind], directory=tmp_path) as process:
        yield process


@pytest.fixture
def client(server: Process) -> Iterator[Http1]:
    with Http1(server.address()) as client:
        yield client


def wait_for_notes(address: Address, count: int) -> list[str]:
    while True:
        with Http1(address) as client:
            client.request("/log")
            notes: list[str] = json.loads(client.read_rest())
        if len(notes) >= count:
            return notes


def test_events_and_pings_are_what_they_were(client: Http1) -> None:
    client.request("/events?page=5")
    assert client.status == 200
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert client.headers["cache-control"] == "no-store"
    assert client.headers["x-accel-buffering"] == "no"
    assert client.headers["x-page"] == "5"
    assert [client.read_event() for _ in range(4)] == [GREETING, LINES, PING, PING]


def test_a_client_that_leaves_is_noticed(server: Process, client: Http1) -> None:
    client.request("/events")
    assert client.read_event() == GREETING
    client.close()
    notes = wait_for_notes(server.address(), 3)
    assert notes == ["cleaned up", "http.disconnect", "background"]


def test_a_shutdown_leaves_time_for_a_farewell(server: Process, client: Http1, kind: str) -> None:
    client.request("/events")
    assert [client.read_event() for _ in range(2)] == [GREETING, LINES]
    server.send_signal(signal.SIGTERM)
    assert client.read_rest().replace(PING, b"") == FAREWELL
    assert server.wait() == EXIT_CODES.get(kind, 0)
    assert server.complaints() == []


def test_a_client_that_does_not_read_is_an_error_that_names_it(
    server: Process, client: Http1
) -> None:
    client.request("/stuck")
    server.wait_for("trio_sse.SendTimeoutError: a send took longer than 0.5 seconds")
    with pytest.raises(TruncatedError):
        client.read_rest()
