"""One hub in two processes, of trio and of asyncio, over one Redis: clients are cut, and more.

Redis goes away and comes back, with its data and without; a process is killed. What is random,
and how much of it there is, comes from the environment: see `reconnecting`.
"""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest
import trio

from redis_server import RedisServer

from .hub_server import HYPERCORN, UVICORN, ask, next_event, publish, serving, subscribe
from .process import Process
from .reconnecting import (
    AWAY,
    CUTS,
    EVENTS,
    Crowd,
    Publisher,
    Reader,
    Seen,
    number_of,
    position_of,
)
from .wire import READ_SIZE, Address, Http1

pytest.importorskip("coredis")
pytest.importorskip("hypercorn")
pytest.importorskip("uvicorn")

pytestmark = [pytest.mark.server, pytest.mark.once]

KEYS = "trio_sse:{hub}"

# How many events a hub, or Redis, keeps: all; and so few that it is soon too late to come back.
ALL = EVENTS
FEW = 200

# So few that Redis is asked for almost anyone who comes back.
HARDLY_ANY = 5

# Seconds for which Redis may be away, and no client notices: what the project promises.
OUTAGE = 5.0

# How many clients of each process are never cut.
STEADY = 4

# Seconds that a burst takes to be published, often: what breaks it off comes within.
PUBLISHING = 0.02

# How often the connections to Redis are broken, at least.
BREAKS = 5

# Subscribers of each process that are there when it has to leave.
SUBSCRIBERS = 20

# Seconds that a process may take to leave: `close_timeout`, what hypercorn grants by default,
# and what a loaded machine may take to end an interpreter.
LEAVING = 5.0 + 3.0 + 2.0

# In development mode: coredis does not close what it has made for a connection whose making was
# cut short.
COREDIS = re.compile(
    r"anyio/streams/memory\.py:\d+: ResourceWarning: Unclosed <MemoryObject\w+Stream at \w+>$"
    r"|^ResourceWarning: Enable tracemalloc to get the object allocation traceback$"
)

EXIT_CODES = (0, -SIGTERM)  # hypercorn's, and uvicorn's


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@contextmanager
def serving_twice(
    redis: RedisServer, *, log: int = ALL, kept: int = ALL
) -> Iterator[tuple[list[Process], list[Address]]]:
    """Start both processes; see in the end that neither has written of a problem."""
    with ExitStack() as stack:
        both = [
            stack.enter_context(serving(command, log=log, redis=redis.url, kept=kept))
            for command in (HYPERCORN, UVICORN)
        ]
        processes = [process for process, _ in both]
        yield processes, [address for _, address in both]
    for process in processes:
        complaints = [line for line in process.complaints() if not COREDIS.search(line)]
        assert complaints == [], process.stderr


def settle(publisher: Publisher, redis: RedisServer) -> None:
    """See that everything is in Redis once, as it was published; tell of what was doubtful."""
    epoch = redis.cli("HGET", f"{KEYS}:state", "epoch")
    stored: dict[int, str] = {}
    for event_id, fields in json.loads(redis.cli("--json", "XRANGE", f"{KEYS}:events", "-", "+")):
        number = number_of(dict(zip(fields[::2], fields[1::2], strict=True))["data"])
        assert number not in stored, "an event was added twice"
        stored[number] = f"{epoch}-{event_id}"
    assert publisher.ids.items() <= stored.items()
    assert stored.keys() <= publisher.ids.keys() | publisher.doubtful
    found = len(stored.keys() - publisher.ids.keys())
    print(f"of {len(publisher.doubtful)} events in doubt {found} are published")
    publisher.ids = stored


def check_nothing_is_missing(crowd: Crowd, redis: RedisServer) -> None:
    settle(crowd.publisher, redis)
    crowd.check(ALL)
    assert not crowd.gaps
    for address in crowd.addresses:
        assert ask(address, "/statistics")["resets"] == {}


@pytest.mark.parametrize(
    ("log", "away"), [(ALL, AWAY), (FEW, 3 * FEW)], ids=["from the log", "from Redis"]
)
def test_clients_of_many_processes_see_each_event_once_and_in_order(
    redis: RedisServer, log: int, away: int
) -> None:
    with serving_twice(redis, log=log) as (_, addresses):
        crowd = Crowd(addresses, away)
        crowd.run()
        check_nothing_is_missing(crowd, redis)
        assert all(crowd.counts[cut] for cut in CUTS)


def test_clients_that_are_away_for_longer_than_redis_keeps_what_they_miss_are_told_so(
    redis: RedisServer,
) -> None:
    with serving_twice(redis, log=FEW // 2, kept=FEW) as (_, addresses):
        crowd = Crowd(addresses, 3 * FEW)
        crowd.run()
        crowd.check(FEW, by_topic=False)
        assert all(crowd.counts[cut] for cut in CUTS)
        assert crowd.gaps["expired"]
        assert crowd.gaps.keys() <= {"expired", "lagged"}


@pytest.mark.parametrize("log", [ALL, HARDLY_ANY], ids=["from the log", "from Redis"])
def test_while_redis_is_away_nobody_is_cut_and_nothing_is_lost(
    redis: RedisServer, log: int
) -> None:
    with serving_twice(redis, log=log) as (_, addresses):
        crowd = Crowd(addresses, steady=STEADY)

        async def be_away() -> None:
            await crowd.publisher.wait_until(EVENTS // 3)
            await trio.to_thread.run_sync(redis.shutdown, "SAVE")
            await trio.sleep(OUTAGE)
            await trio.to_thread.run_sync(redis.start)

        crowd.run(be_away)
        check_nothing_is_missing(crowd, redis)
        assert {reader.counts["connections"] for reader in crowd.steady} == {1}


def test_when_connections_to_redis_break_what_is_not_answered_is_not_added_twice(
    redis: RedisServer,
) -> None:
    with serving_twice(redis) as (_, addresses):
        crowd = Crowd(addresses, steady=STEADY)

        async def break_connections() -> None:
            while not crowd.publisher.finished:
                await crowd.publisher.wait_for(crowd.random.randint(1, EVENTS // BREAKS))
                seconds = crowd.random.uniform(0, PUBLISHING)
                await trio.to_thread.run_sync(leave_unanswered, redis, seconds)

        crowd.run(break_connections)
        check_nothing_is_missing(crowd, redis)
        assert {reader.counts["connections"] for reader in crowd.steady} == {1}


def leave_unanswered(redis: RedisServer, seconds: float) -> None:
    """Have Redis do what it is asked for some time, and break all connections before it answers.

    It answers when it has done all that has come, and that is made to come at once.
    """
    with socket.create_connection(("127.0.0.1", redis.port)) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(READ_SIZE) == b"+PONG\r\n"
        redis.send_signal(SIGSTOP)
        time.sleep(seconds)
        client.sendall(b"CLIENT KILL TYPE normal SKIPME yes\r\n")
        redis.send_signal(SIGCONT)
        assert client.recv(READ_SIZE).startswith(b":")


def test_when_redis_has_lost_its_data_everyone_is_told_once_and_goes_on(
    redis: RedisServer,
) -> None:
    with serving_twice(redis) as (_, addresses):
        crowd = Crowd(addresses, steady=STEADY)

        async def lose_everything() -> None:
            await crowd.publisher.wait_until(EVENTS // 2)
            await trio.to_thread.run_sync(redis.kill)
            await trio.sleep(OUTAGE)  # so that one process may be back long before the other
            await trio.to_thread.run_sync(redis.start)

        crowd.run(lose_everything)
        epoch = redis.cli("HGET", f"{KEYS}:state", "epoch")
        for reader in crowd.everyone:
            check_was_told_of_a_new_beginning(reader, crowd.publisher, epoch)
        assert {gap.id for reader in crowd.steady for gap in reader.gaps} == {f"{epoch}-0-0"}


def check_was_told_of_a_new_beginning(reader: Reader, publisher: Publisher, epoch: str) -> None:
    """See that a reader has seen the old events up to some point, one reset, and all after it."""
    [gap] = reader.gaps
    assert gap.reason == "restarted"
    assert gap.id.startswith(f"{epoch}-")
    at = reader.seen.index(gap)
    before, after = reader.seen[:at], reader.seen[at + 1 :]
    acknowledged = [
        Seen(number, publisher.ids[number])
        for _, number in publisher.in_order()
        if reader.wants(number)
    ]
    new = [seen for seen in acknowledged if seen.id.startswith(f"{epoch}-")]
    assert after
    assert after == [seen for seen in new if position_of(seen.id) > position_of(gap.id)]
    # What the old Redis had added, and not yet acknowledged, was sent to the new one again.
    again = {seen.number for seen in new}
    old = [seen for seen in acknowledged if seen not in new]
    known = [seen for seen in before if isinstance(seen, Seen) and seen.number not in again]
    assert known
    assert known == old[: len(known)]


@pytest.mark.parametrize("which", [0, 1], ids=["hypercorn", "uvicorn"])
def test_when_a_process_is_killed_its_clients_go_on_at_another(
    redis: RedisServer, which: int
) -> None:
    with serving_twice(redis) as (processes, addresses):
        crowd = Crowd(addresses)

        async def kill() -> None:
            await crowd.publisher.wait_until(EVENTS // 3)
            await crowd.publisher.wait_until_asking(addresses[which])
            await trio.sleep(crowd.random.uniform(0, PUBLISHING))
            del addresses[which]
            processes[which].send_signal(SIGKILL)
            # With it, its children are killed: hypercorn's worker.
            assert await trio.to_thread.run_sync(processes[which].wait) == -SIGKILL

        crowd.run(kill)
        check_nothing_is_missing(crowd, redis)
        assert crowd.counts["by the end of the server"]


@pytest.mark.parametrize("left", [0, 3], ids=["nothing to publish", "something to publish"])
def test_sigterm_ends_every_stream_whole_while_redis_is_away(redis: RedisServer, left: int) -> None:
    with serving_twice(redis) as (processes, addresses), ExitStack() as stack:
        clients = [
            stack.enter_context(Http1(address)) for address in addresses for _ in range(SUBSCRIBERS)
        ]
        for client in clients:
            subscribe(client, "news")
            assert next_event(client).type == "ready"
        for address, text in zip(addresses, "ab", strict=True):
            publish(address, ("news", text))
        for client in clients:
            assert [next_event(client).data for _ in "ab"] == ["a", "b"]
        redis.shutdown("NOSAVE")
        for process, address in zip(processes, addresses, strict=True):
            for purpose in ("the event stream", "publishing"):
                process.wait_for(f"no connection to Redis for {purpose}")
            for _ in range(left):
                ask(address, "/publish_nowait", "POST", ("news", "lost"))
        started = time.monotonic()
        for process in processes:
            process.send_signal(SIGTERM)
        for client in clients:
            assert client.read_rest() == b""
        assert tuple(process.wait() for process in processes) == EXIT_CODES
        assert time.monotonic() - started < LEAVING
