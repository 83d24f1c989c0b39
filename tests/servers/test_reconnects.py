"""A hub on real servers: whoever is cut off and comes back has missed nothing.

What is random, and how much of it there is, comes from the environment: see `reconnecting`.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from signal import SIGTERM

import pytest

from hostile.clients import NeverReads
from hostile.kinds import until
from trio_sse import EventStreamDecoder, MessageEvent

from .hub_server import HYPERCORN, UVICORN, ask, next_event, publish, serving, subscribe
from .reconnecting import AWAY, CUTS, EVENTS, Crowd
from .wire import Address, Http1

pytest.importorskip("hypercorn")
pytest.importorskip("uvicorn")

pytestmark = [pytest.mark.server, pytest.mark.once]

# How many events the hub keeps: all; and so few that it is soon too late to come back.
LOG = EVENTS
SHORT_LOG = 100

# How long a stream may last after it was revoked.
REVOKED_WITHIN = 2.0

# More, all together, than the buffers on the way to a client can take; less than the log.
LARGE = "x" * 65536
LARGE_COUNT = 100

SUBSCRIBERS = 50


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with serving(log=LOG) as (_, address):
        yield address


def reconnect_at_random(address: Address, log: int, away: int) -> Crowd:
    """Let clients be cut and come back until they have seen everything; check what they saw.

    Args:
        address: The server.
        log: How many events its hub keeps.
        away: How many events are published while a client is away, at most.
    """
    crowd = Crowd([address], away)
    crowd.run()
    crowd.check(log)
    assert all(crowd.counts[cut] for cut in CUTS)
    return crowd


def test_clients_that_are_cut_at_any_moment_see_each_event_once_and_in_order() -> None:
    with serving(log=LOG) as (process, address):
        assert not reconnect_at_random(address, LOG, AWAY).gaps
    assert process.complaints() == []


def test_clients_that_are_away_for_too_long_are_told_so_and_miss_nothing_from_there_on() -> None:
    with serving(log=SHORT_LOG) as (process, address):
        gaps = reconnect_at_random(address, SHORT_LOG, 3 * SHORT_LOG).gaps
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
    with serving(command, log=LOG) as (process, address), Http1(address) as client:
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
    with serving(log=LOG) as (process, address), ExitStack() as stack:
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
