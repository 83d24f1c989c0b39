"""Whoever waits can be cancelled, and leaves nothing."""

import signal
from contextlib import suppress
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from hub.kit import Inbox, raises
from trio_sse import ServerSentEvent
from trio_sse._runtime import current_runtime
from trio_sse.testing import check_leaks

from .kit import TIMEOUT, away, engines, fill, opened, publish, read_all, subscribed, take, until
from .proxy import always

pytestmark = pytest.mark.anyio


async def test_a_publish_that_is_cancelled_before_it_is_sent_is_not_published(own_redis, name):
    [engine] = engines(own_redis.url, name, 1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        with away(own_redis):
            await until(lambda: not engine.connected)
            async with anyio.create_task_group() as group:
                for n in range(20):
                    group.start_soon(hub.publish, "a", f"cancelled {n}")
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
        await publish(hub, "a", "later")
        assert await take(subscription, 1) == ["later"]
        assert await read_all(hub, "a", last_event_id="earliest") == ["<ready>", "later"]


async def test_a_publish_in_a_scope_that_is_cancelled_already_is_not_published(redis, name):
    async with opened(*engines(redis.url, name, 1)) as (hub,):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await hub.publish("a", "cancelled")
        assert scope.cancelled_caught
        assert await read_all(hub, "a", last_event_id="earliest") == ["<ready>"]


async def test_one_of_several_that_wait_is_cancelled(own_redis, name):
    [engine] = engines(own_redis.url, name, 1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        async with anyio.create_task_group() as group:
            with away(own_redis):
                await until(lambda: not engine.connected)
                group.start_soon(publish, hub, "a", "1")
                await anyio.wait_all_tasks_blocked()
                with anyio.move_on_after(0.01):
                    await hub.publish("a", "cancelled")
                group.start_soon(publish, hub, "a", "2")
                await anyio.wait_all_tasks_blocked()
        assert sorted(await take(subscription, 2)) == ["1", "2"]


async def test_what_is_cancelled_during_an_outage_is_not_kept_until_its_end(own_redis, name):
    [engine] = engines(own_redis.url, name, 1)
    async with opened(engine) as (hub,):
        with away(own_redis):
            await until(lambda: not engine.connected)
            for _ in range(20):
                with anyio.move_on_after(0.001):
                    await hub.publish("a", "cancelled")
            assert len(engine._session._publisher._queue) <= 1


async def test_whatever_waits_can_be_cancelled_and_leaves_nothing(redis, proxy, name, short_tail):
    fill(redis, name, "a", 50)
    [engine] = engines(proxy.url, name, 1)
    async with opened(engine) as (hub,), anyio.create_task_group() as ours:

        async def subscribe(**options):
            async with hub.subscribe("a", **options) as subscription:
                await take(subscription, 100)

        async with hub.subscribe("a", last_event_id="earliest") as behind:
            await take(behind, 1)
            before = hub.statistics()
            async with check_leaks():
                proxy.freeze(always)
                async with anyio.create_task_group() as group:
                    for call in (
                        partial(engine.reaches, ["a"], 0),
                        engine.earliest,
                        partial(engine.read, ["a"], 0, 1),
                        partial(hub.publish, "a", "perhaps"),
                        partial(subscribe, last_event_id="earliest"),
                        partial(subscribe, last_event_id=f"{engine.epoch}-0-0"),
                        partial(subscribe),
                        behind.receive,
                    ):
                        group.start_soon(call)
                    await anyio.wait_all_tasks_blocked()
                    group.cancel_scope.cancel()
                proxy.thaw()
            assert hub.statistics().subscribers == before.subscribers
            with anyio.fail_after(TIMEOUT):
                assert await engine.reaches(["a"], 0)
            assert await take(behind, 50) == list(map(str, range(50)))
            await publish(hub, "a", "later")
            received = await take(behind, 1)
            if received == ["perhaps"]:
                received = await take(behind, 1)
            assert received == ["later"]
        ours.cancel_scope.cancel()


async def test_opening_can_be_cancelled(own_redis, own_proxy):
    [engine] = engines(own_proxy.url, "hub", 1, response_timeout=60)
    own_proxy.freeze(always)
    async with check_leaks():
        with anyio.move_on_after(0.1) as scope:
            async with opened(engine):
                pass
        assert scope.cancelled_caught
    own_proxy.thaw()
    async with opened(engine) as (hub,):
        assert await publish(hub, "a", "1")


async def test_cancelling_the_block_of_a_hub_leaves_nothing(redis, name):
    [engine] = engines(redis.url, name, 1)
    async with check_leaks():
        with anyio.CancelScope() as scope:
            async with opened(engine) as (hub,), subscribed(hub):
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
    assert engine.connected is False


async def test_who_is_cancelled_while_redis_refuses_is_not_published_and_the_other_is(
    own_redis, name
):
    """Both are in one batch, which goes back into the queue."""
    [engine] = engines(own_redis.url, name, 1, response_timeout=20)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        await publish(hub, "a", "before")
        own_redis.cli("CONFIG", "SET", "maxmemory", "1")
        own_redis.send_signal(signal.SIGSTOP)
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as cancelled:
                    cancelled.start_soon(hub.publish, "a", "cancelled")
                    group.start_soon(publish, hub, "a", "published")
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            own_redis.send_signal(signal.SIGCONT)
            own_redis.cli("PING")  # after what was sent before
            await anyio.lowlevel.checkpoint()
            own_redis.cli("CONFIG", "SET", "maxmemory", "0")
        await publish(hub, "a", "after")
        assert await take(subscription, 3) == ["before", "published", "after"]


async def test_a_publish_that_begins_when_the_engine_is_closed_is_told(redis, name):
    [engine] = engines(redis.url, name, 1)
    raised = []

    async def publish_in_vain():
        with raises("ClosedResourceError"):
            await engine.publish("a", ServerSentEvent("x"))
        raised.append(True)

    async with anyio.create_task_group() as group:
        async with engine.open(Inbox()):
            group.start_soon(publish_in_vain)
    assert raised == [True]


async def test_a_publish_that_begins_at_any_moment_of_the_close_ends(redis, name):
    """It is accepted, or told that the engine is closed; one begins at each step."""
    [engine] = engines(redis.url, name, 1)
    ended, accepted = [], []

    async def begin():
        while not over.is_set():
            group.start_soon(attempt)
            await anyio.lowlevel.checkpoint()

    async def attempt():
        with raises_if_closed, anyio.fail_after(TIMEOUT):
            accepted.append(await engine.publish("a", ServerSentEvent("x")))
        ended.append(True)

    over = anyio.Event()
    raises_if_closed = suppress(current_runtime().ClosedResourceError, RuntimeError)
    async with anyio.create_task_group() as group:
        async with engine.open(Inbox()):
            group.start_soon(begin)
            await until(lambda: accepted)
        over.set()
    assert len(ended) > len(accepted)
