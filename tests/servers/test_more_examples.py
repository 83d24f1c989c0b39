"""The examples of what one may want of a stream, each run as its docstring says."""

import json
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import pytest
import trio

from trio_sse import MessageEvent
from trio_sse.client import open_event_source

from .browser import Browser
from .process import Process
from .test_examples import STREAMS, STRICT, EventSource, running, serving, status
from .wire import READ_TIMEOUT, Address, Http1

pytest.importorskip("hypercorn")
pytest.importorskip("uvicorn")

pytestmark = [pytest.mark.server, pytest.mark.once]

DATABASES = ["database_asyncio", "database_trio"]

# So many that some of them leave while rows are fetched, or while a connection is given back.
LEAVING = 30

ADD_ROW = "INSERT INTO readings (celsius) VALUES (30)"

ROWS = [(n + 1, 20 + n % 50 / 10) for n in range(20_000)]


def get(address: Address, path: str, method: str = "GET") -> str:
    """Make a request on a connection of its own, and return the answer."""
    with Http1(address) as client:
        client.request(path, method)
        assert client.status == 200
        return client.read_rest().decode()


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again; looking is what waits, for an answer or an event."""
    deadline = time.monotonic() + READ_TIMEOUT
    while not condition():
        assert time.monotonic() < deadline


# --- finite ---------------------------------------------------------------------------------


def test_finite_ends_with_an_event_that_says_so_and_is_not_asked_for_again() -> None:
    with running("finite") as (process, client):
        *numbers, end = client.read_messages()
        assert [message.data for message in numbers] == [str(n) for n in range(10, 0, -1)]
        assert (end.type, end.data) == ("end", "lift-off")
        with EventSource(process.address()) as again:
            again.resume("/events", end.last_event_id)
            assert again.status == 204


def test_finite_goes_on_where_its_client_was() -> None:
    with serving("finite") as (_, address), EventSource(address) as client:
        client.resume("/events", "4")
        assert [message.data for message in client.read_messages()] == ["3", "2", "1", "lift-off"]


def test_the_page_of_finite_closes_its_event_source(browser: Browser) -> None:
    pytest.importorskip("websockets")
    with serving("finite") as (_, (host, port)):
        page = browser.page()
        page.open(f"http://{host}:{port}/")
        page.wait_for("""count.textContent === "lift-off" """)
        assert page.evaluate("source.readyState === EventSource.CLOSED")


# --- databases ------------------------------------------------------------------------------


def connect(process: Process) -> sqlite3.Connection:
    """Connect to the database of an example, and wait for nobody."""
    path = process.wait_for("database: (.+)\n")[1]
    return sqlite3.connect(path, timeout=0, isolation_level=None)


def change(process: Process, statement: str) -> None:
    with closing(connect(process)) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("example", DATABASES)
def test_every_row_is_streamed_once_and_in_order(example: str) -> None:
    with running(example) as (process, client):
        *rows, end = client.read_messages()
    assert [(int(row.last_event_id), row.json()["celsius"]) for row in rows] == ROWS
    assert end.type == "end"
    assert process.complaints() == []


@pytest.mark.parametrize("example", DATABASES)
def test_rows_go_on_after_the_last_that_was_seen(example: str) -> None:
    with serving(example) as (_, address), EventSource(address) as client:
        client.resume("/", "19998")
        messages = [(message.type, message.last_event_id) for message in client.read_messages()]
    assert messages == [("message", "19999"), ("message", "20000"), ("end", "20000")]


def test_a_query_is_open_while_it_is_streamed_and_closed_when_its_client_leaves() -> None:
    with running("database_asyncio") as (process, client):
        client.read_message()
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            change(process, ADD_ROW)
        client.close()
        process.wait_for("client_disconnected: .* Connections in pool: 1 .* out connections: 0\n")
        change(process, ADD_ROW)
        process.send_signal(signal.SIGTERM)
        process.wait()
        assert process.complaints() == []


def test_clients_that_leave_at_any_moment_do_no_harm_to_a_connection() -> None:
    with serving("database_asyncio") as (process, address):
        for count in range(LEAVING):
            with EventSource(address) as client:
                client.request("/")
                for _ in range(5 * count):
                    client.read_message()
        wait_until(
            lambda: (
                status(address, "/nothing") == 404
                and process.stdout.count("client_disconnected: ") == LEAVING
            )
        )
        *_, last = re.findall("client_disconnected: (.+)\n", process.stdout)
        assert last.endswith("Current Checked out connections: 0")
        process.send_signal(signal.SIGTERM)
        process.wait()
        assert process.complaints() == []


def test_between_two_pages_nothing_is_open() -> None:
    with running("database_trio") as (process, client):
        first = client.read_message()
        assert first.last_event_id == "1"
        change(process, "UPDATE readings SET celsius = 30 WHERE id = 20000")
        change(process, ADD_ROW)
        *_, changed, added, end = client.read_messages()
    assert (changed.last_event_id, changed.json()) == ("20000", {"celsius": 30})
    assert (added.last_event_id, end.type) == ("20001", "end")


def test_others_are_served_while_the_database_is_waited_for() -> None:
    with serving("database_trio") as (process, address), closing(connect(process)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with EventSource(address) as client:
            client.request("/")
            assert status(address, "/nothing") == 404
            assert client.body == b""
            connection.execute("ROLLBACK")
            assert client.read_message().last_event_id == "1"


# --- pings_and_errors -----------------------------------------------------------------------


def split_pings(messages: list[MessageEvent]) -> tuple[list[MessageEvent], list[MessageEvent]]:
    """Return what is a ping, and what is not."""
    pings = [message for message in messages if message.type == "ping"]
    return pings, [message for message in messages if message.type != "ping"]


def test_a_failure_is_an_event_and_then_the_end_of_the_stream() -> None:
    with running("pings_and_errors") as (process, client):
        _, messages = split_pings(client.read_messages())
    assert [message.type for message in messages] == ["progress", "progress", "failure"]
    assert messages[1].json() == {"total": 3}
    assert messages[2].json()["position"] == 3
    assert "'oops'" in messages[2].json()["reason"]
    assert process.complaints() == []


def test_pings_are_events_while_there_is_nothing_else_to_say() -> None:
    with serving("pings_and_errors") as (_, address), EventSource(address) as client:
        client.request("/sum/12")
        pings, [progress, done] = split_pings(client.read_messages())
    assert pings
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6}", ping.data) for ping in pings)
    assert (progress.type, done.type, done.json()) == ("progress", "done", {"total": 12})


# --- circuit_breaker ------------------------------------------------------------------------


def fail(address: Address, times: int) -> int:
    """Let the upstream fail, and return how often it still had to."""
    answer = re.fullmatch(r"(\d+) failures were left\n", get(address, f"/fail/{times}", "POST"))
    assert answer
    return int(answer[1])


def test_two_failures_of_the_upstream_are_noticed_by_nobody() -> None:
    with running("circuit_breaker") as (process, client):
        messages = [client.read_message()]
        fail(process.address(), 2)
        messages += [client.read_message() for _ in range(4)]
        assert fail(process.address(), 0) == 0
    assert [message.data for message in messages] == [f"quote {n}" for n in range(1, 6)]


def test_an_upstream_that_fails_on_is_left_alone_and_clients_are_told_when_to_come_back() -> None:
    with running("circuit_breaker") as (process, client):
        address = process.address()
        fail(address, 1000)
        wait_until(lambda: client.read_message().type == "unavailable")
        assert client.read_rest() == b""
        assert fail(address, 1000) == 1000 - 4
        for _ in range(3):
            with EventSource(address) as another:
                another.request(STREAMS["circuit_breaker"])
                assert [message.type for message in another.read_messages()] == ["unavailable"]
                assert another.reconnection_time is not None
                assert 0 < another.reconnection_time <= 3000
        assert fail(address, 0) == 1000


def test_when_the_upstream_is_back_a_client_goes_on_with_nothing_missing() -> None:
    pytest.importorskip("httpx")
    seen: list[tuple[str, str]] = []

    async def listen(address: Address) -> None:
        host, port = address
        async with open_event_source(f"http://{host}:{port}/") as source:
            async for event in source:
                seen.append((event.type, event.data))
                if len(seen) == 2:
                    await trio.to_thread.run_sync(fail, address, 4)
                if seen[-1] == ("message", "quote 6"):
                    return

    async def run(address: Address) -> None:
        with trio.fail_after(READ_TIMEOUT):
            await listen(address)

    with serving("circuit_breaker") as (_, address):
        trio.run(run, address)
    assert ("unavailable", "") in seen
    assert [data for kind, data in seen if kind == "message"] == [f"quote {n}" for n in range(1, 7)]


# --- merged_producers -----------------------------------------------------------------------


def numbers(messages: list[MessageEvent], name: str) -> list[int]:
    return [int(message.data.split()[0]) for message in messages if message.type == name]


def check_none_is_missing(messages: list[MessageEvent], name: str) -> None:
    seen = numbers(messages, name)
    assert seen == [*range(1, len(seen) + 1)]


def test_merged_producers_share_a_stream_and_each_is_in_order() -> None:
    with running("merged_producers") as (_, client):
        messages: list[MessageEvent] = []

        def slow_has_come_twice() -> bool:
            messages.append(client.read_message())
            return len(numbers(messages, "slow")) == 2

        wait_until(slow_has_come_twice)
    check_none_is_missing(messages, "slow")
    check_none_is_missing(messages, "fast")
    assert len(numbers(messages, "fast")) > 2


def test_a_generator_alone_is_a_stream() -> None:
    with serving("merged_producers") as (_, address), EventSource(address) as client:
        client.request("/slow")
        check_none_is_missing([client.read_message() for _ in range(3)], "slow")


def test_a_client_that_does_not_read_holds_back_what_is_made_for_it() -> None:
    with running("merged_producers") as (process, client):

        def made() -> int:
            fast: int = json.loads(get(process.address(), "/made"))["fast"]
            return fast

        # A turn of the event loop is enough to make one, and a request takes several.
        wait_until(lambda: made() == made())
        held_at = made()
        messages: list[MessageEvent] = []
        while len(numbers(messages, "fast")) < held_at:
            messages.append(client.read_message())
        check_none_is_missing(messages, "fast")
        wait_until(lambda: made() > held_at)


# --- send_timeout ---------------------------------------------------------------------------


def test_a_frozen_client_is_dropped_after_two_seconds_and_another_does_not_notice() -> None:
    with running("send_timeout") as (process, client):
        port = str(process.address()[1])
        command = (*STRICT, "examples/send_timeout.py", "freeze")
        with Process(*command, environment={"PORT": port}) as frozen:

            def dropped() -> bool:
                client.read_message()
                return "a stream has ended" in process.stdout

            wait_until(dropped)
            assert frozen.wait() == 0
        ended = process.wait_for(r"ended after (\d+\.\d) seconds: send_timeout\n")
        broken = frozen.wait_for(r"broken after (\d+\.\d) seconds\n")
        assert float(ended[1]) >= 2
        assert float(broken[1]) >= 2
        client.read_message()
        assert process.stdout.count("a stream has ended") == 1
        assert (process.complaints(), frozen.complaints()) == ([], [])


# --- cooperative_shutdown -------------------------------------------------------------------


def test_a_producer_has_its_last_words_and_then_there_is_a_farewell() -> None:
    with running("cooperative_shutdown") as (process, client):
        address = process.address()
        message = client.read_message()
        assert status(address, "/ready") == 200
        process.send_signal(signal.SIGTERM)
        while message.type == "message":
            last, message = message, client.read_message()
        assert message.type == "stopping"
        assert status(address, "/ready") == 503
        stopped, farewell = client.read_messages()
        assert process.wait() == 0
    assert (stopped.type, stopped.data) == ("stopped", f"stopped after {last.data}")
    assert stopped.last_event_id == last.last_event_id
    assert (farewell.type, farewell.data) == ("farewell", "come back")
    assert client.reconnection_time is not None
    assert 3000 < client.reconnection_time < 7000


def test_work_that_was_stopped_goes_on_where_it_was() -> None:
    with serving("cooperative_shutdown") as (_, address), EventSource(address) as client:
        client.resume("/", "3")
        assert client.read_message().data == "step 4"


# --- disconnect_cleanup ---------------------------------------------------------------------


def test_a_producer_saves_what_it_has_when_its_client_leaves() -> None:
    with running("disconnect_cleanup") as (process, client):
        assert [client.read_message().data for _ in range(2)] == ["What", "is"]
        client.close()
        process.wait_for(r"saved: What is.*\nthe stream has ended.*: client_disconnected\n")
        assert process.complaints() == []


def test_clean_up_that_takes_too_long_is_given_up() -> None:
    with serving("disconnect_cleanup") as (process, address), EventSource(address) as client:
        client.request("/60")
        client.read_message()
        client.close()
        process.wait_for(r"not saved in time: What.*\nthe stream has ended.*: client_disconnected")


# --- connection_limit -----------------------------------------------------------------------


def test_streams_are_limited_in_all_and_for_each_user_until_one_ends() -> None:
    with serving("connection_limit") as (_, address), ExitStack() as stack:

        def listen(user: str) -> EventSource:
            client = stack.enter_context(EventSource(address))
            client.request(f"/events?user={user}")
            return client

        def statistics() -> dict[str, int]:
            counted: dict[str, int] = json.loads(get(address, "/statistics"))
            return counted

        first = listen("ann")
        assert [first.status, listen("ann").status] == [200, 200]
        refused = listen("ann")
        assert refused.status == 503
        assert 2 <= int(refused.headers["retry-after"]) <= 4
        assert [listen("bob").status, listen("bob").status, listen("eve").status] == [200, 503, 503]
        assert statistics() == {"connections": 3, "keys": 2, "refused": 3}
        first.close()
        wait_until(lambda: statistics()["connections"] < 3)
        assert listen("eve").status == 200


def test_a_browser_that_is_refused_is_told_by_an_event_and_comes_back() -> None:
    with running("connection_limit") as (process, _), ExitStack() as stack:
        clients = [stack.enter_context(EventSource(process.address())) for _ in range(2)]
        for client in clients:
            client.request_with("/events", "Sec-Fetch-Mode: cors")
            assert client.status == 200
        [message] = clients[1].read_messages()
        assert message.type == "overloaded"
        assert clients[1].reconnection_time is not None
        assert 2000 <= clients[1].reconnection_time <= 4000


def test_the_page_of_connection_limit_says_that_it_waits_until_there_is_room(
    browser: Browser,
) -> None:
    pytest.importorskip("websockets")
    with serving("connection_limit") as (_, address), ExitStack() as stack:
        clients = [stack.enter_context(EventSource(address)) for _ in range(2)]
        for client in clients:
            client.request("/events?user=ann")
            assert client.status == 200
        page = browser.page()
        page.open("http://{}:{}/?user=ann".format(*address))
        page.wait_for("text.textContent === 'too many, please wait'")
        clients[0].close()
        page.wait_for("text.textContent.startsWith('tick ')")
