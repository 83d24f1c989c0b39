"""Every example, run as its docstring says, with all warnings turned into errors."""

import ast
import json
import os
import re
import runpy
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from trio.testing import MockClock

from redis_server import RedisServer, free_port
from trio_sse import EventStreamDecoder, MessageEvent, open_hub

from .browser import Browser, Page
from .process import LISTENING, ROOT, Process
from .wire import READ_TIMEOUT, Address, Http1, TruncatedError

pytest.importorskip("hypercorn")
pytest.importorskip("uvicorn")

pytestmark = [pytest.mark.server, pytest.mark.once]

STRICT = ("-X", "dev", "-W", "error")

STREAMS = {
    "hello": "/events",
    "channels": "/",
    "generator": "/",
    "uvicorn_asyncio": "/",
    "broadcast": "/events",
    "resume": "/events",
    "jobs": "/jobs/{id}",
    "many_workers": "/events",
    "fastapi_app": "/prices",
    "finite": "/events",
    "database_asyncio": "/",
    "database_trio": "/",
    "pings_and_errors": "/sum/1,2,oops,4",
    "circuit_breaker": "/",
    "merged_producers": "/merged",
    "send_timeout": "/",
    "cooperative_shutdown": "/",
    "disconnect_cleanup": "/0.5",
    "connection_limit": "/events",
}

# Those of test_network_examples.
OTHERS = ("load_simulation", "network_interruption", "custom_protocol", "threads")

# What else must be installed.
NEEDS = {
    "many_workers": ("coredis",),
    "database_asyncio": ("sqlalchemy", "aiosqlite"),
    "fastapi_app": ("fastapi",),
}

# What the examples say of themselves once a browser can be pointed at them.
HELLO_PAGE = r"page: +http://127\.0\.0\.1:(\d+)/"

# uvicorn, done with shutting down, dies of the signal that it was sent.
EXIT_CODES = {
    (example, signal.SIGTERM): -signal.SIGTERM
    for example in ("uvicorn_asyncio", "database_asyncio")
}

# A row of the table in which all examples are listed.
ROW = re.compile(r"\| \[(\w+)\]\((\w+)\.py\) \| .+ \| `(.+?)` \|(?: `(.+)`)? \|")

# What `pip install` is to be given, beside the package with hypercorn, for what is in an example.
INSTALLED_BY = {
    r"^from sqlalchemy ": '"sqlalchemy[asyncio]"',
    r"sqlite\+aiosqlite:": "aiosqlite",
    r"^from fastapi ": "fastapi",
    r"^import uvicorn$|``uvicorn ": "uvicorn",
    r"^from trio_sse\.client |\bpython -m trio_sse\b": "client",
    r"^from trio_sse\.redis ": "redis",
}


class EventSource(Http1):
    """A client that reads events, and can ask for those after one, as a browser does."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._decoder = EventStreamDecoder()

    @property
    def reconnection_time(self) -> int | None:
        """The milliseconds after which it is to come back, if it was told."""
        return self._decoder.reconnection_time

    def resume(self, path: str, last_event_id: str) -> None:
        self.request_with(path, f"Last-Event-ID: {last_event_id}")

    def request_with(self, path: str, header: str) -> None:
        """Send a request with one more header, and read until its own are there."""
        self._connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n{header}\r\n\r\n".encode())
        self._read_head("GET")

    def read_message(self) -> MessageEvent:
        """Read the next event that has data."""
        deadline = time.monotonic() + READ_TIMEOUT
        while not (messages := self._decoder.receive_data(self.read_event())):
            assert time.monotonic() < deadline, "nothing came but pings"
        return messages[0]

    def read_messages(self) -> list[MessageEvent]:
        """Read to the end of the stream."""
        return self._decoder.receive_data(self.read_rest())


@contextmanager
def serving(example: str) -> Iterator[tuple[Process, Address]]:
    """Run an example on a free port, with a Redis if it needs one."""
    environment = {"PORT": "0"}
    for package in NEEDS.get(example, ()):
        pytest.importorskip(package)
    with ExitStack() as stack:
        if example == "many_workers":
            directory = stack.enter_context(TemporaryDirectory())
            environment["REDIS_URL"] = stack.enter_context(RedisServer(Path(directory))).url
        process = stack.enter_context(
            Process(*STRICT, f"examples/{example}.py", environment=environment)
        )
        yield process, process.address(HELLO_PAGE if example == "hello" else LISTENING)


@contextmanager
def running(example: str) -> Iterator[tuple[Process, EventSource]]:
    """Run an example on a free port, with a client that has asked for its stream."""
    with serving(example) as (process, address), EventSource(address) as client:
        client.request(start_job(address) if example == "jobs" else STREAMS[example])
        assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield process, client


def start_job(address: Address) -> str:
    """Start a job, and return the path of its stream."""
    with Http1(address) as client:
        client.request("/jobs", "POST")
        assert client.status == 201
        path = STREAMS["jobs"].format(**json.loads(client.read_rest()))
        assert client.headers["location"] == path
    return path


def status(address: Address, path: str, method: str = "GET", body: bytes = b"") -> int:
    with Http1(address) as client:
        client.request(path, method, body)
        return client.status


def test_there_is_a_test_for_each_example() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {*STREAMS, *OTHERS}


def test_each_example_is_in_the_table_with_the_command_that_runs_it() -> None:
    rows = ROW.findall((ROOT / "examples" / "README.md").read_text())
    assert [row[:3] for row in rows] == [
        (example, example, f"python examples/{example}.py")
        for example in sorted([*STREAMS, *OTHERS])
    ]


def test_the_table_says_what_else_an_example_needs() -> None:
    said, needed = {}, {}
    for example, _, _, cell in ROW.findall((ROOT / "examples" / "README.md").read_text()):
        code = (ROOT / "examples" / f"{example}.py").read_text()
        extras = re.search(r'"\.\[(.+?)\]"', cell)
        rest = cell.replace(extras[0], " ".join(extras[1].split(","))) if extras else cell
        said[example] = sorted(rest.split())
        needed[example] = sorted(
            name for use, name in INSTALLED_BY.items() if re.search(use, code, re.MULTILINE)
        )
    assert said == needed


@pytest.mark.parametrize("example", [*STREAMS, *OTHERS])
def test_an_example_says_what_runs_it(example: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / "examples" / f"{example}.py").read_text()))
    assert docstring is not None
    assert f"``python examples/{example}.py``" in docstring


@pytest.mark.parametrize("example", [*STREAMS, *OTHERS])
def test_an_example_is_shorter_than_80_lines(example: str) -> None:
    assert len((ROOT / "examples" / f"{example}.py").read_text().splitlines()) < 80


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


@pytest.mark.parametrize("example", ["hello", "broadcast", "resume"])
def test_a_page_listens_to_the_events(example: str) -> None:
    with serving(example) as (_, address), Http1(address) as browser:
        browser.request("/")
        assert browser.headers["content-type"] == "text/html; charset=utf-8"
        assert b'new EventSource("/events")' in browser.read_rest()


@contextmanager
def page_of(example: str, browser: Browser, query: str = "") -> Iterator[Page]:
    """Open the page of an example, which must have no error in its scripts."""
    pytest.importorskip("websockets")
    with serving(example) as (_, (host, port)):
        page = browser.page()
        page.open(f"http://{host}:{port}/{query}")
        yield page
        assert [complaint for complaint in page.complaints if "Error" in complaint] == []


def test_the_page_of_hello_shows_events_as_they_arrive(browser: Browser) -> None:
    with page_of("hello", browser) as page:
        page.wait_for("list.innerText.includes('tick 2')")


def test_what_is_typed_on_the_page_of_broadcast_is_shown_on_all(browser: Browser) -> None:
    with page_of("broadcast", browser) as page:
        other = browser.page()
        other.open(page.evaluate("location.href"))
        page.click("input")
        page.type("<i>hello</i>")
        page.press("Enter")
        for each in (page, other):
            each.wait_for("list.innerText === '<i>hello</i>'")


def test_hello_names_its_page_and_a_command_that_shows_the_stream() -> None:
    with serving("hello") as (process, _):
        url = process.wait_for(r"page: +(http://\S+/)\n")[1]
        process.wait_for(re.escape(f"curl -N {url}events\n"))


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


def test_channels_interleaves_the_events_of_all_its_sensors_which_go_on() -> None:
    with running("channels") as (_, client):
        counts = Counter({"temperature": 0, "pressure": 0, "humidity": 0})
        deadline = time.monotonic() + READ_TIMEOUT
        while min(counts.values()) < 2:
            event = client.read_message()
            assert [*event.json()] == ["reading"]
            counts[event.type] += 1
            assert time.monotonic() < deadline, f"not all of them go on: {counts}"
    assert counts["temperature"] > counts["humidity"]  # each at its own pace
    assert len(counts) == 3


def test_generator_says_that_it_was_closed_and_why_when_the_client_leaves() -> None:
    with running("generator") as (process, client):
        assert client.read_event() == b"event: token\r\ndata: A\r\n\r\n"
        client.close()
        process.wait_for("the generator was closed\nthe stream ended: client_disconnected\n")


def test_broadcast_lets_everybody_hear_what_one_says() -> None:
    with running("broadcast") as (process, first), EventSource(process.address()) as second:
        second.request("/events")
        for client in (first, second):
            assert client.read_message().type == "ready"
        assert status(process.address(), "/say", "POST", "hello 🌍".encode()) == 204
        for client in (first, second):
            assert client.read_message().data == "hello 🌍"


def test_broadcast_lets_a_client_that_was_away_hear_what_was_said() -> None:
    with running("broadcast") as (process, client):
        last = client.read_message()
        client.close()
        for text in (b"are you there?", b"hello?"):
            assert status(process.address(), "/say", "POST", text) == 204
        with EventSource(process.address()) as again:
            again.resume("/events", last.last_event_id)
            heard = [again.read_message().data for _ in range(3)]
    assert heard == ['{"resumed":true}', "are you there?", "hello?"]


def test_resume_cuts_a_stream_and_goes_on_with_no_number_missing() -> None:
    with running("resume") as (process, client):
        messages = client.read_messages()
        for _ in range(2):
            with EventSource(process.address()) as again:
                again.resume("/events", messages[-1].last_event_id)
                messages += again.read_messages()
    numbers = [int(message.data) for message in messages if message.type == "message"]
    assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    others = [message.json() for message in messages if message.type != "message"]
    assert others == [{"resumed": False}, {"resumed": True}, {"resumed": True}]


def test_resume_tells_a_client_that_it_was_restarted() -> None:
    with running("resume") as (_, client):
        last = client.read_message()
    with serving("resume") as (_, address), EventSource(address) as again:
        again.resume("/events", last.last_event_id)
        message = again.read_message()
    assert (message.type, message.json()) == ("reset", {"reason": "restarted"})


@contextmanager
def watching(address: Address, path: str, last_event_id: str = "") -> Iterator[EventSource]:
    """Watch a job; an id that is empty counts as none."""
    with EventSource(address) as client:
        client.resume(path, last_event_id)
        yield client


def test_a_job_is_the_same_for_who_is_cut_off_and_for_who_comes_when_it_is_done() -> None:
    with serving("jobs") as (_, address):
        path = start_job(address)
        with watching(address, path) as client:
            seen = [client.read_message() for _ in range(4)]
        with watching(address, path, seen[-1].last_event_id) as client:
            ready, *rest = client.read_messages()
        with watching(address, path) as client:
            assert client.read_messages() == seen + rest
    assert (ready.type, ready.json()) == ("ready", {"resumed": True})
    assert [message.type for message in seen] == ["ready", "token", "token", "token"]
    assert {message.type for message in rest[:-1]} == {"token"}
    assert (rest[-1].type, rest[-1].data) == ("done", "finished")


@pytest.mark.parametrize("last_event_id", ["nobody gave it", "0123456789-1"])
def test_all_of_a_job_is_seen_again_by_who_has_missed_something(last_event_id: str) -> None:
    with serving("jobs") as (_, address):
        path = start_job(address)
        with watching(address, path) as client:
            seen = client.read_messages()
        with watching(address, path, last_event_id) as client:
            reset, *rest = client.read_messages()
    assert reset.type == "reset"
    assert rest == seen


def test_a_job_that_is_stopped_says_so_and_ends_the_streams_of_all_who_watch() -> None:
    with serving("jobs") as (_, address):
        path = start_job(address)
        with watching(address, path) as first, watching(address, path) as second:
            assert [first.read_message().type for _ in range(2)] == ["ready", "token"]
            assert status(address, path, "DELETE") == 204
            for client in (first, second):
                last = client.read_messages()[-1]
                assert (last.type, last.data) == ("done", "stopped")
        assert status(address, path, "DELETE") == 204


def test_a_client_that_has_seen_the_end_of_a_job_is_told_not_to_come_back() -> None:
    with serving("jobs") as (_, address):
        path = start_job(address)
        assert status(address, path, "DELETE") == 204
        with watching(address, path) as client:
            last = client.read_messages()[-1]
        with watching(address, path, last.last_event_id) as client:
            assert client.status == 204


def test_a_job_that_is_not_known_is_not_found() -> None:
    with serving("jobs") as (_, address):
        for method in ("GET", "DELETE"):
            assert status(address, "/jobs/0", method) == 404


def test_a_job_is_forgotten_a_minute_after_its_end() -> None:
    example = runpy.run_path(str(ROOT / "examples" / "jobs.py"))
    jobs, last_ids = example["jobs"], example["last_ids"]

    async def run() -> None:
        async with open_hub() as hub, trio.open_nursery() as nursery:
            jobs["job/0"] = trio.CancelScope()
            nursery.start_soon(example["run"], hub, "job/0")
            jobs["job/0"].cancel()
            await trio.sleep(59)
            assert (*jobs, *last_ids) == ("job/0", "job/0")
        assert (*jobs, *last_ids) == ()

    trio.run(run, clock=MockClock(autojump_threshold=0))


def say(address: Address, text: str) -> str:
    """Say something to any of the workers, and return the number of the one that heard it."""
    with Http1(address) as client:
        client.request("/say", "POST", text.encode())
        client.read_rest()
        return client.headers["worker"]


def test_what_is_said_to_one_of_many_workers_is_heard_at_the_others_in_one_order() -> None:
    with serving("many_workers") as (_, address), ExitStack() as stack:
        listening: dict[str, EventSource] = {}
        while len(listening) < 2:
            client = stack.enter_context(EventSource(address))
            client.request("/events")
            assert client.read_message().type == "ready"
            listening[client.headers["worker"]] = client
        asked = set()
        while len(asked) < 2:
            asked.add(say(address, str(len(asked))))
        say(address, "the end")
        heard = []
        for client in listening.values():
            messages = [client.read_message()]
            while not messages[-1].data.startswith("the end"):
                messages.append(client.read_message())
            heard.append(messages)
        assert asked == {*listening}
        assert heard[0] == heard[1]


def test_a_client_of_a_worker_that_is_killed_goes_on_at_another_and_misses_nothing() -> None:
    with serving("many_workers") as (process, address), EventSource(address) as client:
        client.request("/events")
        client.read_message()
        say(address, "before")
        last = client.read_message()
        killed = client.headers["worker"]
        os.kill(int(killed), signal.SIGKILL)
        with pytest.raises((TruncatedError, ConnectionResetError)):
            client.read_rest()
        for n in range(3):
            assert say(address, str(n)) != killed
        with EventSource(address) as again:
            again.resume("/events", last.last_event_id)
            assert again.headers["worker"] != killed
            heard = [again.read_message().data.split(" ")[0] for _ in range(4)]
        assert heard == ['{"resumed":true}', "0", "1", "2"]
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def test_many_workers_says_what_to_start_when_there_is_no_redis() -> None:
    pytest.importorskip("coredis")
    port = free_port()
    environment = {"PORT": "0", "REDIS_URL": f"redis://127.0.0.1:{port}"}
    with Process(*STRICT, "examples/many_workers.py", environment=environment) as process:
        assert process.wait() == 1
    assert f"127.0.0.1:{port}" in process.stderr
    assert "redis-server" in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr
