"""Every example, run as its docstring says, with all warnings turned into errors."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .process import LISTENING, ROOT, Process
from .wire import Http1

pytest.importorskip("hypercorn")
pytest.importorskip("uvicorn")

pytestmark = pytest.mark.server

STRICT = ("-X", "dev", "-W", "error")

STREAMS = {"hello": "/events", "channels": "/", "generator": "/", "uvicorn_asyncio": "/"}

# What the examples say of themselves once a browser can be pointed at them.
HELLO_PAGE = r"page: +http://127\.0\.0\.1:(\d+)/"

# uvicorn, done with shutting down, dies of the signal that it was sent.
EXIT_CODES = {("uvicorn_asyncio", signal.SIGTERM): -signal.SIGTERM}


@contextmanager
def running(example: str) -> Iterator[tuple[Process, Http1]]:
    """Run an example on a free port, with a client that has asked for its stream."""
    with Process(*STRICT, f"examples/{example}.py", environment={"PORT": "0"}) as process:
        address = process.address(HELLO_PAGE if example == "hello" else LISTENING)
        with Http1(address) as client:
            client.request(STREAMS[example])
            assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
            yield process, client


def test_there_is_a_test_for_each_example() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {*STREAMS}


@pytest.mark.parametrize("example", STREAMS)
def test_an_example_is_shorter_than_60_lines(example: str) -> None:
    assert len((ROOT / "examples" / f"{example}.py").read_text().splitlines()) < 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("example", STREAMS)
def test_a_signal_ends_an_open_stream_properly_and_then_the_example(
    example: str, number: signal.Signals
) -> None:
    with running(example) as (process, client):
        client.read_event()
        process.send_signal(number)
        client.read_rest()  # fails if the body is not ended
        assert process.wait() == EXIT_CODES.get((example, number), 0)
        assert process.complaints() == []


@pytest.mark.parametrize("example", ["hello", "uvicorn_asyncio"])
def test_ticks_are_numbered_and_come_one_after_the_other(example: str) -> None:
    with running(example) as (_, client):
        for n in (1, 2, 3):
            assert client.read_event() == f"id: {n}\r\ndata: tick {n}\r\n\r\n".encode()
            assert client.body == b""


def test_hello_names_a_page_that_listens_and_a_command_that_shows_the_stream() -> None:
    with running("hello") as (process, client):
        url = process.wait_for(r"page: +(http://\S+/)\n")[1]
        assert f"curl -N {url}events\n" in process.stdout
        client.close()
        with Http1(process.address(HELLO_PAGE)) as browser:
            browser.request("/")
            assert browser.headers["content-type"] == "text/html; charset=utf-8"
            assert b'new EventSource("/events")' in browser.read_rest()


def test_hello_says_what_to_do_when_its_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Process(*STRICT, "examples/hello.py", environment={"PORT": str(port)}) as process:
            assert process.wait() == 1
    assert f"port {port} is taken" in process.stderr
    assert f"PORT={port + 1} python examples/hello.py" in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_hello_says_what_to_do_when_hypercorn_is_not_installed() -> None:
    program = (
        "import runpy, sys; sys.modules['hypercorn'] = None; "
        "runpy.run_path('examples/hello.py', run_name='__main__')"
    )
    with Process(*STRICT, "-c", program) as process:
        assert process.wait() == 1
    assert process.stderr == ("hypercorn is not installed: pip install 'trio-sse[hypercorn]'\n")


def test_channels_interleaves_the_events_of_all_its_sensors() -> None:
    with running("channels") as (_, client):
        missing = {b"temperature", b"pressure", b"humidity"}
        while missing:
            name, data = client.read_event().splitlines()[:2]
            assert data.startswith(b'data: {"reading":')
            missing.discard(name.removeprefix(b"event: "))


def test_generator_says_that_it_was_closed_and_why_when_the_client_leaves() -> None:
    with running("generator") as (process, client):
        assert client.read_event() == b"event: token\r\ndata: A\r\n\r\n"
        client.close()
        process.wait_for("the generator was closed\nthe stream ended: client_disconnected\n")
