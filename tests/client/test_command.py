"""The command, in this process: what it prints, and how it ends."""

import io
import json
import os
import sys
from importlib import import_module

import pytest

from .sockets import Act, SocketServer, answer, stream

pytest.importorskip("httpx")

GREETING = "id: 1\nevent: greeting\ndata: hello\ndata: 🌍\n\n"
EVENTS = stream(f"retry: 1\n\n{GREETING}data: b\n\n".encode())


@pytest.fixture
def run(monkeypatch):
    """Run the command, and return its exit status."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["trio_sse", *arguments])
        monkeypatch.delitem(sys.modules, "trio_sse.__main__", raising=False)
        with pytest.raises(SystemExit) as caught:
            import_module("trio_sse.__main__")
        return caught.value.code

    return run


def test_it_prints_events_as_they_are_on_the_wire(run, capsys):
    with SocketServer([EVENTS]) as server:
        assert run(server.url) == 0
    assert capsys.readouterr().out == f"{GREETING}id: 1\ndata: b\n\n"


@pytest.mark.parametrize("stream_of", ["data\n\n", "event:  x\ndata:  y\n\n", "data: a\rdata:\r\r"])
def test_what_it_prints_can_be_read_as_the_events_it_has_read(run, capsys, stream_of):
    printed = stream_of
    for _ in range(2):
        before = printed
        with SocketServer([stream(b"retry: 1\n\n" + printed.encode())]) as server:
            assert run(server.url) == 0
        printed = capsys.readouterr().out
    assert printed == before != ""


def test_it_prints_a_line_of_json_for_each_event(run, capsys):
    with SocketServer([EVENTS]) as server:
        assert run(server.url, "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"type": "greeting", "data": "hello\n🌍", "last_event_id": "1"},
        {"type": "message", "data": "b", "last_event_id": "1"},
    ]
    assert "🌍" in lines[0]


def test_it_sends_headers_and_the_last_event_id(run):
    with SocketServer([]) as server:
        headers = ["--header", "Authorization: Bearer a:b", "--header", "X-Name:1"]
        assert run(server.url, *headers, "--last-event-id", "7") == 0
        assert server.first_lines == ["GET /events"]
        assert server.headers(b"authorization") == [b"Bearer a:b"]
        assert server.headers(b"x-name") == [b"1"]
        assert server.headers(b"last-event-id") == [b"7"]


@pytest.mark.usefixtures("no_backoff")
def test_it_says_when_and_why_it_connects_again(run, capsys):
    busy = answer("503 Service Unavailable", body=b"come back")
    with SocketServer([EVENTS, busy, [Act.RESET]]) as server:
        assert run(server.url) == 0
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "trio_sse: the stream has ended; connecting again in 0.1 s"
    assert second.startswith("trio_sse: ")
    assert second.endswith(f"503 from {server.url}; connecting again in 0.1 s")
    assert third.startswith("trio_sse: ")
    assert third.endswith("; connecting again in 0.1 s")


def test_an_answer_that_is_no_event_stream_is_the_end(run, capsys):
    with SocketServer([answer("404 Not Found", body=b"n\xf6thing here\xff")]) as server:
        assert run(server.url) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("trio_sse: the answer is no event stream: 404 from ")
    assert output.err.endswith("\nn\ufffdthing here\ufffd\n")


def test_a_url_that_is_none_is_an_error(run, capsys):
    assert run("server/events") == 1
    assert capsys.readouterr().err.startswith("trio_sse: url must begin with http://")


@pytest.mark.parametrize("header", ["X-Name", ": 1", " : 1"])
def test_a_header_that_is_none_is_a_mistake(run, capsys, header):
    assert run("http://server/", "--header", header) == 2
    assert f"{header!r} is not of the form 'NAME: VALUE'" in capsys.readouterr().err


class Interrupted(io.TextIOWrapper):
    """Somebody presses Ctrl-C when something is printed."""

    def __init__(self):
        super().__init__(io.BytesIO())

    def write(self, text):
        raise KeyboardInterrupt


def test_an_interrupt_ends_it_with_the_status_that_shells_know(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Interrupted())
    with SocketServer([[*EVENTS, Act.HOLD]]) as server:
        assert run(server.url) == 130
    assert capsys.readouterr().err == ""


def test_it_prints_utf_8_whatever_the_terminal_says(run, monkeypatch):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "ascii"))
    with SocketServer([EVENTS]) as server:
        assert run(server.url) == 0
    assert printed.getvalue().decode() == f"{GREETING}id: 1\ndata: b\n\n"


def test_it_ends_when_nobody_reads_what_it_prints(run, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with SocketServer([EVENTS]) as server, os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert run(server.url) == 0
        assert len(server.requests) == 1
    assert capsys.readouterr().err == ""


def test_an_error_that_says_nothing_is_told_by_what_is_behind_it(run, monkeypatch, capsys):
    def fail(url, **options):
        error = OSError()
        error.__cause__ = LookupError("the reason")
        raise error

    monkeypatch.setattr("trio_sse._command.open_event_source", fail)
    assert run("http://server") == 1
    assert capsys.readouterr().err == "trio_sse: the reason\n"
