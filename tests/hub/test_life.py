"""Opening a hub and closing it."""

import asyncio
import gc
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
import trio

from trio_sse import (
    MemoryEngine,
    Record,
    ServerSentEvent,
    open_hub,
)

from .kit import Archive, Inbox, enter_and_read_into, publish_all, raises, seen, take

pytestmark = pytest.mark.anyio


def living_tasks():
    if trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


@pytest.mark.parametrize(
    "error",
    [
        LookupError("mine"),
        ExceptionGroup("mine", [LookupError()]),
        ExceptionGroup("mine", [ExceptionGroup("inner", [LookupError()])]),
        ExceptionGroup("mine", [LookupError(), KeyError()]),
        BaseExceptionGroup("mine", [KeyboardInterrupt()]),
        KeyboardInterrupt(),
        SystemExit(3),
    ],
    ids=repr,
)
async def test_what_the_block_raises_leaves_as_itself(error):
    engine = Archive()

    async def main():
        async with open_hub(engine=engine):
            raise error

    with pytest.raises(type(error)) as caught:
        await main()
    # trio's nurseries make a copy of a group.
    assert caught.value is error or isinstance(error, BaseExceptionGroup)
    assert repr(caught.value) == repr(error)
    assert not engine.open_now


async def test_a_cancellation_goes_through():
    engine = Archive()
    with anyio.move_on_after(3) as scope:
        async with open_hub(engine=engine):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert not engine.open_now


async def test_nothing_of_a_hub_outlives_it():
    tasks = living_tasks()
    for cancelled in (False, True):
        with anyio.CancelScope() as scope:
            async with open_hub() as hub, hub.subscribe("a") as subscription:
                await take(subscription, 1)
                assert living_tasks() == tasks + 1
                if cancelled:
                    scope.cancel()
                await anyio.lowlevel.checkpoint()
        assert living_tasks() == tasks


async def test_a_hub_that_was_left_is_garbage():
    class Marked(MemoryEngine):
        pass

    async with open_hub(engine=Marked()) as hub, hub.subscribe("a") as subscription:
        await hub.publish("a", "x")
        await take(subscription, 2)
    del hub, subscription
    await anyio.lowlevel.checkpoint()
    gc.collect()
    assert [found for found in gc.get_objects() if isinstance(found, Marked)] == []


async def test_an_engine_that_was_used_before_is_refused_by_name():
    engine = MemoryEngine()
    async with open_hub(engine=engine):
        pass
    with pytest.raises(RuntimeError, match="MemoryEngine serves one hub, once"):
        async with open_hub(engine=engine):
            pass


async def test_a_memory_engine_that_serves_no_hub_publishes_nothing():
    engine, sink = MemoryEngine(), Inbox()
    with raises("ClosedResourceError"):
        await engine.publish("a", ServerSentEvent("x"))
    async with engine.open(sink):
        assert sink.told == [("begin", 0, ())]
        assert await engine.publish("a", ServerSentEvent("x")) == 1
    with raises("ClosedResourceError"):
        await engine.publish("a", ServerSentEvent("x"))
    assert sink.told[1:] == [("deliver", Record(1, "a", ServerSentEvent("x")))]


def test_a_hub_is_made_outside_of_an_event_loop_and_opened_inside():
    opening = open_hub()

    async def main():
        async with opening as hub:
            return await hub.publish("a", "x")

    assert trio.run(main).endswith("-1")


async def test_a_hub_whose_engine_takes_its_time_to_close_accepts_nothing_more():
    class Slow(MemoryEngine):
        @asynccontextmanager
        async def open(self, sink):
            async with super().open(sink):
                yield
                await anyio.sleep(10)

    async def publish():
        await anyio.sleep(5)
        with raises("ClosedResourceError", match="the hub is closed"):
            await hub.publish("a", "late")

    async with anyio.create_task_group() as group:
        async with open_hub(engine=Slow()) as hub:
            group.start_soon(publish)
    assert hub.statistics().published == 0


async def test_a_closed_hub_refuses_everything():
    async with open_hub() as hub:
        early = hub.subscribe("a")
    with raises("ClosedResourceError", match="the hub is closed"):
        hub.subscribe("a")
    with raises("ClosedResourceError", match="the hub is closed"):
        async with early:
            pass
    with raises("ClosedResourceError", match="the hub is closed"):
        await hub.publish("a", "x")
    with raises("ClosedResourceError", match="the hub is closed"):
        hub.publish_nowait("a", "x")
    with raises("ClosedResourceError", match="the hub is closed"):
        hub.publish_from_thread("a", "x")
    assert hub.revoke(key="nobody") == 0
    assert hub.statistics().subscribers == 0


async def test_a_subscription_ends_when_the_hub_is_closed_while_it_waits():
    received, ends = [], []

    async def receive(subscription):
        async with subscription:
            await take(subscription, 1)
            with raises("EndOfChannel"):
                await subscription.receive()
            with raises("EndOfChannel"):
                await subscription.receive()
            ends.append(subscription.close_reason)

    async with anyio.create_task_group() as group:
        async with open_hub() as hub:
            group.start_soon(enter_and_read_into, received, hub.subscribe("a"))
            group.start_soon(receive, hub.subscribe("a"))
            await anyio.sleep(5)
    assert received == ["<ready>"]
    assert ends == [None]


async def test_what_was_published_before_the_close_is_still_received():
    async with open_hub() as hub:
        subscription, late = hub.subscribe("a"), hub.subscribe("a", "b")
        await subscription.__aenter__()
        await late.__aenter__()
        await take(late, 1)
        await publish_all(hub, "a", "123")
        hub.publish_nowait("b", "4")
    for reader, expected in [(subscription, ["<ready>", "1", "2", "3"]), (late, ["1", "2", "3"])]:
        for text in expected:
            assert seen(await reader.receive()) == text
    assert seen(await late.receive()) == "4"
    for reader in (subscription, late):
        with raises("EndOfChannel"):
            await reader.receive()
        await reader.__aexit__(None, None, None)
        with raises("ClosedResourceError"):
            await reader.receive()
    assert hub.statistics().subscribers == 0


async def test_what_comes_after_the_close_is_not_read():
    """An engine may deliver until its own context is left."""
    engine, received = Archive(), []

    class Closing(Archive):
        @asynccontextmanager
        async def open(self, sink):
            async with super().open(sink):
                yield
                self.publish_now("a", ServerSentEvent("late"))
                await anyio.sleep(1)

    engine = Closing()
    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine) as hub:
            group.start_soon(enter_and_read_into, received, hub.subscribe("a"))
            await hub.publish("a", "1")
            await anyio.sleep(1)
    assert received == ["<ready>", "1"]
    assert hub.statistics().published == 2


async def test_a_subscription_ends_when_the_block_of_the_hub_is_cancelled():
    received = []
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(5):
            async with open_hub() as hub:
                group.start_soon(enter_and_read_into, received, hub.subscribe("a"))
                await hub.publish("a", "1")
                await anyio.sleep_forever()
    assert received == ["<ready>", "1"]
