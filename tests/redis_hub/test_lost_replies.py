"""Replies are lost, and commands: each event is added once, or the publisher knows."""

import random
from collections import Counter

import anyio
import pytest

from trio_sse import PublishError
from trio_sse.redis import PUBLISH_SCRIPT
from trio_sse.redis._publisher import MAX_AGE
from trio_sse.redis._scripts import RETRY_WINDOW

from .kit import (
    EVENTS,
    TIMEOUT,
    engines,
    key,
    keys,
    length,
    opened,
    publish,
    publish_elsewhere,
    read_all,
    subscribed,
    take,
    take_until,
    until,
)
from .proxy import never, publishes

pytestmark = pytest.mark.anyio


def once(condition):
    """A condition that is true once."""
    times = []

    def ask(data):
        if condition(data):
            times.append(data)
        return condition(data) and len(times) == 1

    return ask


@pytest.mark.parametrize("lost", ["loses_command", "loses_reply"])
async def test_what_is_lost_once_is_sent_again_and_added_once(redis, proxy, name, lost):
    async with opened(*engines(proxy.url, name, 1)) as (hub,), subscribed(hub) as (subscription,):
        for n in range(3):
            setattr(proxy, lost, once(publishes))
            [id_] = await publish(hub, "a", n)
            with anyio.fail_after(TIMEOUT):
                event = await subscription.receive()
            assert (event.data, event.id) == (str(n), id_)
        assert length(redis, name) == 3


@pytest.mark.parametrize("lost", ["loses_command", "loses_reply"])
async def test_what_is_lost_until_time_is_up_may_be_there(redis, proxy, name, lost):
    """A command that was given to the connection may have been executed, for all one knows."""
    [engine] = engines(proxy.url, name, 1, publish_timeout=0.2)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        # This one for ever: its last attempt may be on its way to the proxy when time is up.
        setattr(proxy, lost, lambda data: publishes(data) and b"\r\nlost\r\n" in data)
        with pytest.raises(PublishError, match="not acknowledged") as caught:
            await publish(hub, "a", "lost")
        assert caught.value.outcome == "unknown"
        await publish(hub, "a", "later")
        received = await take_until(subscription, "later")
        assert received == (["lost"] if lost == "loses_reply" else [])


async def test_what_nobody_waits_for_any_more_is_not_sent_again(redis, proxy, name):
    [engine] = engines(proxy.url, name, 1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        proxy.loses_command = publishes
        with anyio.move_on_after(0.1):
            await hub.publish("a", "given up")
        hub.publish_nowait("a", "1")
        proxy.loses_command = never
        await publish(hub, "a", "2")
        assert set(await take_until(subscription, "2")) <= {"given up", "1"}


async def test_a_copy_that_comes_after_its_batch_was_given_up_is_refused(redis, proxy, name):
    [engine] = engines(proxy.url, name, 1, publish_timeout=0.5)
    kept = []

    def keep(data):
        if publishes(data) and b"late" in data:
            kept.append(data)
        return publishes(data) and b"late" in data

    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        await publish(hub, "a", "before")
        proxy.loses_command = keep
        with pytest.raises(PublishError):
            await publish(hub, "a", "late")
        await publish(hub, "a", "after")
        # What was on its way all the time arrives now, as it was.
        parts = kept[0].split(b"\r\n")[2::2]
        command, _, count, *arguments = (part.decode() for part in parts)
        assert command == "EVALSHA"
        with pytest.raises(AssertionError, match="STALE"):
            redis.cli("EVAL", PUBLISH_SCRIPT, count, *arguments)
        await publish(hub, "a", "end")
        assert await take(subscription, 3) == ["before", "after", "end"]


@pytest.mark.parametrize("publish_timeout", [0.05, 20])
async def test_events_are_there_once_or_not_as_their_publishers_were_told(
    redis, proxy, name, publish_timeout
):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    proxy.loses_command = lambda data: publishes(data) and chance.random() < 0.1
    proxy.loses_reply = lambda data: publishes(data) and chance.random() < 0.2
    told = {}
    several = engines(proxy.url, name, publish_timeout=publish_timeout)

    async def publish_many(hub, task):
        for n in range(15):
            data = f"{task} {n}"
            try:
                told[data] = await hub.publish(f"topic {task % 3}", data)
            except PublishError as error:
                told[data] = error.outcome

    with anyio.fail_after(2 * TIMEOUT):
        async with opened(*several) as hubs, anyio.create_task_group() as group:
            for task in range(10):
                group.start_soon(publish_many, hubs[task % 2], task)
    async with opened(*engines(redis.url, name, 1)) as (hub,):
        received = await read_all(hub, "topic 0", "topic 1", "topic 2", last_event_id="earliest")
        ids = {}
        async with hub.subscribe("topic 0", "topic 1", "topic 2", last_event_id="earliest") as all_:
            for _ in received:
                event = await all_.receive()
                ids[event.data] = event.id
    counts = Counter(received[1:])
    assert set(counts.values()) <= {1}, f"twice, with seed {seed}"
    for data, outcome in told.items():
        if outcome == "not_sent":
            assert data not in counts, f"seed {seed}"
        elif outcome != "unknown":
            assert counts[data] == 1, f"seed {seed}"
            assert ids[data] == outcome
    assert len(told) == 150
    if publish_timeout == 20:
        assert set(told) == set(counts)
    for task in range(10):
        mine = [int(data.split()[1]) for data in received[1:] if data.startswith(f"{task} ")]
        assert mine == sorted(mine), f"seed {seed}"


async def test_what_was_accepted_without_waiting_is_added_once_in_order(redis, proxy, name):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    proxy.loses_reply = lambda data: publishes(data) and chance.random() < 0.5
    async with opened(*engines(proxy.url, name, 1)) as (hub,), subscribed(hub) as (subscription,):
        for n in range(1000):
            hub.publish_nowait("a", n)
        assert await take(subscription, 1000) == list(map(str, range(1000))), f"seed {seed}"
        await until(lambda: hub.statistics().outbox_length == 0)
        assert length(redis, name) == 1000


async def test_a_batch_is_bounded_in_number_and_bytes(own_redis, own_proxy, name):
    sizes = []

    def note(data):
        if publishes(data):
            sizes.append(data.count(b"$4\r\ndata\r\n"))
        return False

    own_proxy.loses_command = note
    async with opened(*engines(own_proxy.url, name, 1)) as (hub,):
        async with anyio.create_task_group() as group:
            for n in range(500):
                group.start_soon(publish, hub, "a", n)
        assert 1 < max(sizes) <= 300  # of 200 at most: what is read at once may be more
        entries = own_redis.cli("XLEN", key(name, EVENTS))
        assert entries == "500"
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(publish, hub, "a", "x" * 500_000)
        assert own_redis.cli("XLEN", key(name, EVENTS)) == "508"


async def test_another_publisher_is_another_sequence(redis, name):
    for _ in range(2):
        async with opened(*engines(redis.url, name, 1)) as (hub,):
            await publish(hub, "a", "x")
    publish_elsewhere(redis, name, "a", "2", "data", "x")
    assert length(redis, name) == 3
    assert len(redis.cli("KEYS", key(name, "publisher:*").replace("{", "?")).split("\n")) == 2
    assert keys(name)[0] == key(name, EVENTS)


async def test_what_was_accepted_without_waiting_is_given_up_before_its_answer_is_forgotten(
    redis, proxy, name, monkeypatch, caplog
):
    """Redis keeps the answer for a while: what is sent again after that might be added twice."""
    for module in ("_publisher", "_session"):
        monkeypatch.setattr(f"trio_sse.redis.{module}.MAX_AGE", 0.2)
    async with opened(*engines(proxy.url, name, 1)) as (hub,), subscribed(hub) as (subscription,):
        await publish(hub, "a", "0")
        proxy.loses_reply = publishes
        hub.publish_nowait("a", "1")
        hub.publish_nowait("a", "2")
        await until(lambda: hub.statistics().outbox_length == 0)
        assert hub.statistics().failed == 2
        proxy.loses_reply = never
        await publish(hub, "a", "3")
        assert await take(subscription, 4) == ["0", "1", "2", "3"]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "2 event(s) could not be published, the first for topic 'a'"
    ]


def test_what_is_kept_of_an_answer_is_kept_longer_than_it_is_asked_for():
    assert MAX_AGE < RETRY_WINDOW
