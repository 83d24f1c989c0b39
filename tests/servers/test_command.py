"""``python -m trio_sse`` as a process, with the example of the README for a server."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from client.sockets import SocketServer

from .process import ROOT, STOP_TIMEOUT, Process
from .test_examples import HELLO_PAGE, STRICT

pytest.importorskip("hypercorn")
pytest.importorskip("httpx")

pytestmark = pytest.mark.server

COMMAND = (*STRICT, "-m", "trio_sse")


@contextmanager
def hello(port: int | str = 0) -> Iterator[tuple[Process, int]]:
    """Run the example on a port, or on a free one."""
    with Process(*STRICT, "examples/hello.py", environment={"PORT": str(port)}) as process:
        yield process, process.address(HELLO_PAGE)[1]


@contextmanager
def reading(port: int, *options: str) -> Iterator[Process]:
    """Run the command, and see that it complains of nothing."""
    with Process(*COMMAND, f"http://127.0.0.1:{port}/events", *options) as command:
        yield command
    assert command.complaints() == []


def interrupt(command: Process) -> None:
    """Press Ctrl-C."""
    command.send_signal(signal.SIGINT)
    assert command.wait() == 130


def test_events_are_printed_as_they_come_until_ctrl_c() -> None:
    with hello() as (_, port), reading(port) as command:
        for n in (1, 2):
            command.wait_for(rf"id: {n}\ndata: tick {n}\n\n")
            assert f"tick {n + 1}" not in command.stdout
        interrupt(command)
        assert command.stdout.startswith("id: 1\n")
        assert command.stderr == ""


def test_events_are_printed_as_json() -> None:
    with hello() as (_, port), reading(port, "--json") as command:
        line = command.wait_for(r"(\{.*\})\n")[1]
        assert json.loads(line) == {"type": "message", "data": "tick 1", "last_event_id": "1"}
        interrupt(command)


def test_it_goes_on_when_the_server_is_back() -> None:
    with hello() as (server, port), reading(port) as command:
        command.wait_for("tick 1\n")
        server.send_signal(signal.SIGTERM)
        command.wait_for(r"trio_sse: the stream has ended; connecting again in 3\.0 s\n")
        assert server.wait() == 0
        with hello(port):
            command.wait_for(r"(?s)tick 1\n.*tick 1\n")
            interrupt(command)


def test_headers_and_the_last_event_id_are_sent() -> None:
    options = ("--header", "X-Name: 1", "--last-event-id", "5")
    with SocketServer([]) as server, Process(*COMMAND, server.url, *options) as command:
        assert command.wait() == 0
    lines = server.requests[0].lower().split(b"\r\n")
    assert {b"x-name: 1", b"last-event-id: 5"} < {*lines}
    assert command.stderr == ""


def test_an_answer_that_is_no_event_stream_is_the_end() -> None:
    with hello() as (_, port):
        url = f"http://127.0.0.1:{port}/nothing"
        with Process(*COMMAND, url) as command:
            assert command.wait() == 1
    assert command.stderr == f"trio_sse: the answer is no event stream: 404 from {url}\nNot Found\n"
    assert command.stdout == ""


def test_a_header_that_is_none_is_a_mistake() -> None:
    with Process(*COMMAND, "http://127.0.0.1/", "--header", "nothing") as command:
        assert command.wait() == 2
    assert re.search(r"usage: python -m trio_sse .*'nothing' is not", command.stderr, re.DOTALL)


def test_it_ends_when_nobody_reads_what_it_prints() -> None:
    with hello() as (_, port):
        command = [sys.executable, *COMMAND, f"http://127.0.0.1:{port}/events"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe) as process:
            try:
                assert process.stdout.readline() == b"id: 1\n"
                process.stdout.close()
                assert process.stderr.read() == b""
                assert process.wait(STOP_TIMEOUT) == 0
            finally:
                process.kill()
