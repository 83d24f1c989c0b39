"""The app of ``examples/nginx`` behind a real nginx, with the configuration beside it."""

import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from hostile.clients import NeverReads
from nginx_server import NginxServer
from trio_sse import MessageEvent
from trio_sse.client import EventSource as ClientEventSource
from trio_sse.client import open_event_source

from .process import ROOT, Process
from .test_examples import STRICT, EventSource, status
from .wire import READ_TIMEOUT, Address, TruncatedError

pytest.importorskip("hypercorn")
pytest.importorskip("httpx")

pytestmark = [pytest.mark.server, pytest.mark.once]

CONFIGURATION = (ROOT / "examples" / "nginx" / "nginx.conf").read_text()

# What hypercorn's streams have without a word for it: trio_sse's default.
PING = 15

# More, all together, than all kernels on the way to a client take for it.
LARGE = b"x" * 65536
LARGE_COUNT = 400

# What is published last around a reload, and seconds between what comes before.
END = "the end"
PAUSE = 0.02

# Never waited out, unless a test is about to fail.
PATIENCE = 60


@contextmanager
def running(directory: Path) -> Iterator[tuple[Process, NginxServer]]:
    """Run the app and nginx; the app must complain of nothing."""
    command = (*STRICT, "examples/nginx/app.py")
    with Process(*command, environment={"PORT": "0"}) as app:
        with NginxServer(directory, CONFIGURATION, app.address()) as nginx:
            yield app, nginx
    assert app.complaints() == []


@contextmanager
def listening(address: Address, last_event_id: str = "") -> Iterator[EventSource]:
    with EventSource(address) as client:
        client.resume("/events", last_event_id)
        assert client.status == 200
        assert client.headers["content-type"].startswith("text/event-stream")
        yield client


def say(nginx: NginxServer, text: str) -> None:
    assert status(nginx.address, "/say", "POST", text.encode()) == 204


def test_events_come_one_by_one_each_before_the_next_is_published(tmp_path: Path) -> None:
    with running(tmp_path) as (_, nginx), listening(nginx.address) as client:
        assert client.read_message().type == "ready"
        for text in ("one", "two", "three"):
            say(nginx, text)
            assert client.read_message().data == text
            assert client.body == b""


def test_sigterm_of_the_app_ends_a_stream_with_its_farewell_and_a_whole_body(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as (app, nginx), listening(nginx.address) as client:
        client.read_message()
        app.send_signal(signal.SIGTERM)
        [farewell] = client.read_messages()  # fails if the body is not ended
        assert (farewell.type, farewell.data) == ("farewell", "the app is leaving")
        assert app.wait() == 0


def test_a_stream_that_breaks_does_not_look_like_one_that_has_ended(tmp_path: Path) -> None:
    with running(tmp_path) as (app, nginx), listening(nginx.address) as client:
        client.read_message()
        app.send_signal(signal.SIGKILL)
        with pytest.raises(TruncatedError):
            client.read_rest()


def test_while_the_app_is_away_clients_are_told_to_come_back(tmp_path: Path) -> None:
    with running(tmp_path) as (app, nginx):
        app.send_signal(signal.SIGTERM)
        assert app.wait() == 0
        with listening(nginx.address) as client:
            assert client.read_rest() == b"retry: 3000\n\n"
        assert status(nginx.address, "/say", "POST", b"anybody?") == 502


def test_the_app_hears_of_a_client_that_leaves(tmp_path: Path) -> None:
    with running(tmp_path) as (app, nginx):
        with listening(nginx.address) as client:
            client.read_message()
        left = time.monotonic()
        app.wait_for("a stream has ended: client_disconnected\n")
        assert time.monotonic() - left < PING  # it was told, and has not found out by a ping


def test_the_app_gives_up_a_client_that_takes_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (app, nginx), NeverReads(nginx.address, "/events"):
        for _ in range(LARGE_COUNT):
            assert status(app.address(), "/say", "POST", LARGE) == 204
        app.wait_for("a stream has ended: send_timeout\n")


def test_a_request_tells_who_asks_and_for_what_and_does_not_ask_to_close(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as app,
        NginxServer(tmp_path, CONFIGURATION, app.getsockname()) as nginx,
        socket.create_connection(nginx.address) as client,
    ):
        app.settimeout(READ_TIMEOUT)
        client.sendall(b"GET /events HTTP/1.1\r\nHost: example.org\r\n\r\n")
        connection, _ = app.accept()
        with connection, connection.makefile("rb") as reader:
            connection.settimeout(READ_TIMEOUT)
            request, *headers = iter(reader.readline, b"\r\n")
    assert request == b"GET /events HTTP/1.1\r\n"
    assert b"Host: example.org\r\n" in headers
    assert b"X-Forwarded-For: 127.0.0.1\r\n" in headers
    assert not any(header.lower().startswith(b"connection:") for header in headers)


def test_an_app_that_only_pings_is_not_given_up(tmp_path: Path) -> None:
    [seconds] = re.findall(r"^ *proxy_read_timeout (\d+)s;", CONFIGURATION, re.MULTILINE)
    assert int(seconds) > 2 * PING


def test_a_reload_cuts_a_stream_and_the_client_comes_back_with_nothing_missing(
    tmp_path: Path,
) -> None:
    published: list[str] = []
    seen: list[MessageEvent] = []

    async def publish(nginx: NginxServer, text: str) -> None:
        await trio.to_thread.run_sync(say, nginx, text)
        published.append(text)

    async def publish_across_a_reload(nginx: NginxServer, source: ClientEventSource) -> None:
        await publish(nginx, "before")
        await trio.to_thread.run_sync(nginx.reload)
        while source.statistics().streams < 2:
            await publish(nginx, str(len(published)))
            await trio.sleep(PAUSE)
        await publish(nginx, END)

    async def read(nginx: NginxServer) -> None:
        with trio.fail_after(PATIENCE):
            async with (
                open_event_source(f"{nginx.url}/events", reconnection_time=0.1) as source,
                trio.open_nursery() as nursery,
            ):
                seen.append(await source.receive())
                nursery.start_soon(publish_across_a_reload, nginx, source)
                while seen[-1].data != END:
                    seen.append(await source.receive())

    with running(tmp_path) as (_, nginx):
        trio.run(read, nginx)
    assert [event.data for event in seen if event.type == "message"] == published
    others = [event.json() for event in seen if event.type != "message"]
    assert others == [{"resumed": False}, {"resumed": True}]
