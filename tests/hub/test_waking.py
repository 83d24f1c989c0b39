"""Who is woken by what is published."""

import anyio
import pytest
import trio

from stepping import Steps, counted
from trio_sse import (
    MemoryEngine,
    ServerSentEvent,
    open_hub,
)
from trio_sse._feed import Feed, Wording
from trio_sse._history import Bounds
from trio_sse._instrument import HubObserver
from trio_sse._runtime import current_runtime

from .kit import Archive, deliver, enter_and_read_into, raises, read_into

pytestmark = pytest.mark.anyio


class FakeReader:
    """A reader that notes what its feed does to it."""

    def __init__(self, *topics, key=None):
        self.topics = topics
        self.key = key
        self.woken = 0
        self.stopped = 0

    def wake(self, record=None):
        self.woken += 1

    def stop(self):
        self.stopped += 1


def make_feed():
    wording = Wording("\r\n", "ready", "reset", "revoked")
    bounds = Bounds(1000, 10**6, 100)
    feed = Feed(current_runtime(), MemoryEngine(), bounds, wording, HubObserver(None))
    feed.begin(0)
    return feed


async def test_a_reader_that_does_not_wait_is_not_woken():
    feed, reader = make_feed(), FakeReader("a")
    feed.add(reader)
    deliver(feed, *"aaa")
    feed.wait(reader)
    feed.wait_no_more(reader)
    deliver(feed, *"aaa")
    assert reader.woken == 0


async def test_a_reader_that_waits_is_woken_once_for_a_burst():
    feed, reader, other = make_feed(), FakeReader("a"), FakeReader("b")
    for each in (reader, other):
        feed.add(each)
        feed.wait(each)
    deliver(feed, *"caaaa")
    assert (reader.woken, other.woken) == (1, 0)
    feed.wait(reader)
    feed.wait(reader)
    deliver(feed, *"ab")
    assert (reader.woken, other.woken) == (2, 1)


@pytest.mark.parametrize("news", [lambda feed: feed.begin(5), lambda feed: feed.lost(5)])
async def test_who_waits_is_woken_by_what_is_news_for_everyone_and_waits_no_more(news):
    feed, readers = make_feed(), [FakeReader("a"), FakeReader("b"), FakeReader("b")]
    for reader in readers[:2]:
        feed.wait(reader)
    news(feed)
    deliver(feed, *"ab")
    assert [reader.woken for reader in readers] == [1, 1, 0]


async def test_closing_a_feed_stops_each_reader_once():
    feed = make_feed()
    readers = [FakeReader("a", key=key) for key in (1, 1, None)]
    for reader in readers:
        feed.add(reader)
    feed.close()
    assert [reader.stopped for reader in readers] == [1, 1, 1]
    with raises("ClosedResourceError", match="the hub is closed"):
        feed.add(FakeReader("a"))
    for reader in readers:
        feed.remove(reader)
    assert feed.readers == 0


async def test_a_burst_costs_a_waiting_reader_one_wake_up_and_a_step_for_each_event():
    """Of the task that reads; for several topics too."""
    steps = Steps(-1, lambda: None)
    engine, got = Archive(), []
    runtime = "trio" if trio.lowlevel.in_trio_run() else "asyncio"
    with steps.counting(runtime):
        async with open_hub(engine=engine) as hub, hub.subscribe("a", "b") as subscription:
            async with anyio.create_task_group() as group:
                token = counted.set(True)
                group.start_soon(read_into, got, subscription)
                counted.reset(token)
                await anyio.sleep(1)
                taken = []
                for burst in (1, 1, 10):
                    before = steps.taken
                    for n in range(burst):
                        engine.publish_now("ab"[n % 2], ServerSentEvent(n))
                    await anyio.sleep(1)
                    taken.append(steps.taken - before)
                group.cancel_scope.cancel()
    assert got == ["<ready>", "0", "0", *map(str, range(10))]
    assert taken[0] == taken[1] == 1
    assert taken[2] <= 10 * (1 if runtime == "trio" else 2)


async def test_nobody_is_left_waiting():
    async with open_hub() as hub:
        feed = hub._feed
        async with anyio.create_task_group() as group:
            for topics in ("a", "ab", "b"):
                group.start_soon(enter_and_read_into, [], hub.subscribe(*topics))
            await anyio.sleep(1)
            assert {topic: len(waiting) for topic, waiting in feed._waiting.items()} == {
                "a": 2,
                "b": 2,
            }
            await hub.publish("a", "x")
            await anyio.sleep(1)
            group.cancel_scope.cancel()
        assert feed._waiting == feed._readers == {}
