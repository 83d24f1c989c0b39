"""A hub on real servers: whoever is cut off and comes back has missed nothing.

What is random comes from a seed, which is printed. Three environment variables:

* ``RECONNECT_SEED``: the seed; a new one each time by default.
* ``RECONNECT_CLIENTS``: how many clients come back again and again; 40 by default.
* ``RECONNECT_EVENTS``: how many events they are to see; 2000 by default.
"""

import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from signal import SIGTERM
from typing import Any
from urllib.parse import urlencode

import pytest
import trio

from hostile.clients import NeverReads
from hostile.kinds import until
from trio_sse import EventStreamDecoder, MessageEvent

from .process import TESTS, Process
from .reconnecting import CUTS, Publisher, Reader, make_plan
from .wire import Address, Http1

pytest.importorskip("hypercorn")
pytest.importorskip("uvicorn")

pytestmark = [pytest.mark.server, pytest.mark.once]

SEED = os.environ.get("RECONNECT_SEED") or secrets.token_hex(4)
CLIENTS = int(os.environ.get("RECONNECT_CLIENTS", "40"))
EVENTS = int(os.environ.get("RECONNECT_EVENTS", "2000"))

# A client stays for so many seconds, and away for so many events, at most: the more clients
# there are, the longer, so that not all that the server does is to greet them.
PATIENCE = CLIENTS / 40
AWAY = CLIENTS // 2

# Seconds that all of them may take to see everything; waited out only by a test that fails.
LIMIT = 60 + EVENTS / 50

# How many events the hub keeps: all; and so few that it is soon too late to come back.
LOG = EVENTS
SHORT_LOG = 100

# How long a stream may last after it was revoked.
REVOKED_WITHIN = 2.0

# More, all together, than the buffers on the way to a client can take; less than the log.
LARGE = "x" * 65536
LARGE_COUNT = 100

SUBSCRIBERS = 50

HYPERCORN = ("-m", "hypercorn", "--bind", "127.0.0.1:0", "servers.hub_app:app", "-k", "trio")
UVICORN = ("-m", "uvicorn", "--port", "0", "servers.hub_app:app")


@contextmanager
def serving(
    command: tuple[str, ...] = HYPERCORN, *, log: int = LOG
) -> Iterator[tuple[Process, Address]]:
    environment = {"HUB_MAX_EVENTS": str(log)}
    with Process(*command, directory=TESTS, environment=environment) as process:
        yield process, process.address()


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with serving() as (_, address):
        yield address


def ask(address: Address, path: str, method: str = "GET", body: object = None) -> Any:
    """Make a request on a connection of its own; the answer is JSON."""
    with Http1(address) as client:
        client.request(path, method, json.dumps(body).encode())
        return json.loads(client.read_rest())


def publish(address: Address, *events: tuple[str, str]) -> list[str]:
    ids: list[str] = ask(address, "/publish", "POST", events)
    return ids


def subscribe(client: Http1, *topics: str, **query: str) -> None:
    client.request(f"/events?{urlencode({'topic': topics, **query}, doseq=True)}")


def next_event(client: Http1) -> MessageEvent:
    [event] = EventStreamDecoder().receive_data(client.read_event())
    return event


def reconnect_at_random(address: Address, log: int, away: int) -> tuple[Counter[str], Counter[str]]:
    """Let clients be cut and come back until they have seen everything; check what they saw.

    Args:
        address: The server.
        log: How many events its hub keeps.
        away: How many events are published while a client is away, at most.

    Returns:
        How often what was done, and the reasons for gaps.
    """
    print(f"RECONNECT_SEED={SEED}")
    random = Random(SEED)
    started = time.monotonic()
    publisher = Publisher(address, make_plan(random, EVENTS), random)
    with Http1(address) as client:
        subscribe(client, "nothing is published here")
        beginning = next_event(client).last_event_id
    readers = [
        Reader(address, publisher, Random(random.random()), beginning, away, PATIENCE)
        for _ in range(CLIENTS)
    ]

    async def run() -> None:
        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                for each in (publisher, *readers):
                    nursery.start_soon(each.run)

    trio.run(run)
    for reader in readers:
        reader.check(log)
    counts: Counter[str] = sum((reader.counts for reader in readers), Counter())
    gaps: Counter[str] = sum((reader.gaps for reader in readers), Counter())
    used = ask(address, "/statistics")
    print(f"{time.monotonic() - started:.1f} s, {dict(counts)}, gaps: {dict(gaps)}")
    print(f"server: {used['cpu']:.1f} s of CPU, {used['peak'] / 2**20:.0f} MiB at most")
    return counts, gaps


def test_clients_that_are_cut_at_any_moment_see_each_event_once_and_in_order() -> None:
    with serving() as (process, address):
        counts, gaps = reconnect_at_random(address, LOG, AWAY)
        assert all(counts[cut] for cut in CUTS)
        assert not gaps
    assert process.complaints() == []


def test_clients_that_are_away_for_too_long_are_told_so_and_miss_nothing_from_there_on() -> None:
    with serving(log=SHORT_LOG) as (process, address):
        counts, gaps = reconnect_at_random(address, SHORT_LOG, 3 * SHORT_LOG)
        assert all(counts[cut] for cut in CUTS)
        assert gaps["expired"]
        assert gaps.keys() <= {"expired", "lagged"}
    assert process.complaints() == []


def test_who_has_seen_nothing_but_ready_misses_nothing(address: Address) -> None:
    with Http1(address) as client:
        subscribe(client, "news")
        ready = next_event(client)
    published = publish(address, ("news", "one"), ("news", "two"))
    with Http1(address) as client:
        subscribe(client, "news", last_event_id=ready.last_event_id)
        assert next_event(client) == MessageEvent("ready", '{"resumed":true}', ready.last_event_id)
        seen = [next_event(client) for _ in published]
    assert seen == [
        MessageEvent("message", data, event_id)
        for data, event_id in zip(("one", "two"), published, strict=True)
    ]


def test_the_id_of_an_event_of_somebody_else_grants_nothing(address: Address) -> None:
    ids = publish(address, ("alice", "first"), ("alice", "second"))
    publish(address, ("bob", "hello"))
    with Http1(address) as client:
        subscribe(client, "bob", last_event_id=ids[0])
        assert [next_event(client).data for _ in range(2)] == ['{"resumed":true}', "hello"]
        publish(address, ("alice", "third"), ("bob", "goodbye"))
        assert next_event(client).data == "goodbye"


@pytest.mark.parametrize("command", [HYPERCORN, UVICORN], ids=lambda command: command[1])
def test_revoke_ends_the_streams_of_those_who_read_and_of_those_who_do_not(
    command: tuple[str, ...],
) -> None:
    with serving(command) as (process, address), Http1(address) as client:
        with NeverReads(address, "/events?topic=flood&key=user"):
            subscribe(client, "news", key="user")
            ready = next_event(client)
            block(address, "flood")
            revoked = time.monotonic()
            assert ask(address, "/revoke?key=user", "POST") == 2
            assert until(lambda: len(reasons(address, "user")) == 2, REVOKED_WITHIN)
            assert time.monotonic() - revoked < REVOKED_WITHIN
        assert reasons(address, "user") == ["revoked", "revoked"]
        assert next_event(client) == MessageEvent(
            "revoked", '{"reason":"revoked"}', ready.last_event_id
        )
        assert client.read_rest() == b""
    assert process.complaints() == []


def block(address: Address, topic: str) -> None:
    """Publish more than the one who has subscribed to a topic takes, and wait for that to show."""
    assert until(lambda: ask(address, "/statistics")["subscribers"] == 2)
    for _ in range(LARGE_COUNT):
        publish(address, (topic, LARGE))
    delivered = -1
    while delivered != (delivered := ask(address, "/statistics")["delivered"]):
        pass
    assert delivered < LARGE_COUNT


def reasons(address: Address, key: str) -> list[str]:
    """Return why streams of a key have ended."""
    ended: list[str] = ask(address, "/statistics")["reasons"].get(key, [])
    return ended


def test_sigterm_ends_every_stream_whole_after_what_was_published() -> None:
    with serving() as (process, address), ExitStack() as stack:
        clients = [stack.enter_context(Http1(address)) for _ in range(SUBSCRIBERS)]
        for client in clients:
            subscribe(client, "news")
            assert next_event(client).type == "ready"
        publish(address, *(("news", text) for text in "abc"))
        process.send_signal(SIGTERM)
        for client in clients:
            events = EventStreamDecoder().receive_data(client.read_rest())
            assert [event.data for event in events] == ["a", "b", "c"]
        assert process.wait() == 0
    assert process.complaints() == []
