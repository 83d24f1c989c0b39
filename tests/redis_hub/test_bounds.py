"""What Redis keeps, and who is told of what it has dropped."""

import anyio
import pytest

from trio_sse import open_hub
from trio_sse.redis import RedisEngine
from trio_sse.redis._entry import position_of

from .kit import (
    OLD,
    STATE,
    TIMEOUT,
    TOPICS,
    engines,
    fill,
    fill_slowly,
    key,
    length,
    opened,
    publish,
    publish_elsewhere,
    read_all,
    subscribed,
    take,
    until,
)

pytestmark = pytest.mark.anyio


async def test_redis_keeps_about_as_many_events_as_it_is_told_to(redis, name):
    async with opened(*engines(redis.url, name, 1, max_events=100)):
        fill(redis, name, "a", 500)
        assert 100 <= length(redis, name) <= 200


async def test_redis_drops_what_is_too_old(redis, name):
    async with opened(*engines(redis.url, name, 1, max_age=0.05)) as (hub,):
        fill(redis, name, "a", 99)
        with anyio.fail_after(TIMEOUT):
            while redis.cli("XRANGE", key(name, "events"), "-", "+", "COUNT", "1").endswith("\n0"):
                await publish(hub, "b", "later")
        assert length(redis, name) <= 200


async def test_redis_drops_what_is_too_old_while_nothing_is_published(redis, name):
    async with opened(*engines(redis.url, name, 1, max_age=0.05, heartbeat=0.05)) as (hub,):
        [id_] = await publish(hub, "a", "1")
        await until(lambda: not length(redis, name))
    async with opened(*engines(redis.url, name, 1)) as (hub,):
        assert await read_all(hub, "quiet", last_event_id=id_) == ["<resumed>"]
        [later] = await publish(hub, "a", "2")
        assert await read_all(hub, "a", last_event_id=id_) == ["<resumed>", "2"]
        assert later > id_


async def test_the_bounds_of_the_last_process_hold(redis, name):
    async with opened(*engines(redis.url, name, 1, max_events=100)):
        pass
    async with opened(*engines(redis.url, name, 1, max_events=1000, max_age=60, max_topics=7)):
        fill(redis, name, "a", 500)
        assert length(redis, name) == 500
        bounds = ("max_events", "max_age", "max_topics")
        assert redis.cli("HMGET", key(name, STATE), *bounds).split() == ["1000", "60000", "7"]


async def test_who_has_missed_something_is_told_and_who_has_not_is_not(redis, name):
    async with opened(*engines(redis.url, name, 1, max_events=100)) as (hub,):
        [quiet] = await publish(hub, "quiet", "1")
        [busy] = await publish(hub, "a", "2")
        fill(redis, name, "a", 500)
    async with opened(*engines(redis.url, name, 1, max_events=100), max_events=1) as (hub,):
        for topics, last_event_id, expected in (
            (["a"], busy, "<expired>"),
            (["a", "quiet"], busy, "<expired>"),
            (["quiet"], quiet, "<resumed>"),
            (["never"], quiet, "<resumed>"),
        ):
            async with hub.subscribe(*topics, last_event_id=last_event_id) as subscription:
                assert await take(subscription, 1) == [expected]
        statistics = hub.statistics()
        assert (statistics.resets, statistics.lagged) == ({"expired": 2}, 0)


async def test_earliest_after_trimming_is_what_is_left(redis, name):
    async with opened(*engines(redis.url, name, 1, max_events=100), max_events=1) as (hub,):
        await fill_slowly(redis, name, hub, "a", 500)
        left = length(redis, name)
        async with hub.subscribe("a", last_event_id="earliest") as subscription:
            expected = ["<ready>", *map(str, range(500 - left, 500))]
            assert await take(subscription, 1 + left) == expected


async def test_the_last_id_that_is_not_lost_is_enough(redis, name):
    [engine] = engines(redis.url, name, 1, max_events=100)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        await fill_slowly(redis, name, hub, "a", 350)
        with anyio.fail_after(TIMEOUT):
            positions = [place(await subscription.receive()) for _ in range(350)]
        first = 350 - length(redis, name)
        assert 0 < first < 350
        assert await engine.reaches(["a"], positions[first - 1])
        assert not await engine.reaches(["a"], positions[first - 2])
        assert await engine.read(["a"], positions[first - 2], 1) is None
        [record], _ = await engine.read(["a"], positions[first - 1], 1)
        assert record.position == positions[first]
        assert await engine.earliest() == positions[first - 1]


def place(event):
    """The position of an event."""
    return position_of(event.id.partition("-")[2])


async def publish_to_each(hub, topics):
    """Publish to one topic after the other, and return the position of the last."""
    position = 0
    for topic in topics.split():
        position = position_of((await publish(hub, topic, topic))[0].partition("-")[2])
    return position


async def test_topics_are_forgotten_in_turns_and_who_comes_back_to_one_may_be_told(redis, name):
    [engine] = engines(redis.url, name, 1, max_topics=3, max_events=100)

    async def reached(topics, position):
        return {topic for topic in topics.split() if await engine.reaches([topic], position)}

    async with opened(engine) as (hub,):
        third = await publish_to_each(hub, "first second third")
        assert int(redis.cli("HLEN", key(name, TOPICS))) == 3
        await publish_to_each(hub, "fourth")
        assert int(redis.cli("HLEN", key(name, OLD))) == 3
        fill(redis, name, "fourth", 400)
        # Known still: they had nothing after it.
        everything = "first second third fourth never"
        assert await reached(everything, third) == {"first", "second", "third", "never"}
        assert await reached(everything, third - 1) == {"first", "second", "never"}
        await publish_to_each(hub, "fifth sixth seventh")
        assert redis.cli("HKEYS", key(name, TOPICS)) == "seventh"
        assert set(redis.cli("HKEYS", key(name, OLD)).split()) == {"fourth", "fifth", "sixth"}
        # Forgotten, but what is forgotten is not later than the third.
        everything = "first second third never"
        assert await reached(everything, third) == set(everything.split())
        assert await reached(everything, third - 1) == set()
        await publish_to_each(hub, "eighth ninth")
        ninth = await publish_to_each(hub, "ninth")
        await publish_to_each(hub, "tenth")
        fill(redis, name, "tenth", 400)
        assert await reached("first fifth sixth never seventh", third) == set()
        assert await reached("first fifth never seventh ninth tenth", ninth) == {
            *("first", "fifth", "never", "seventh", "ninth")
        }


@pytest.mark.parametrize("count", [200, 800])
async def test_what_is_older_than_the_log_is_read_from_redis_past_other_topics(
    redis, name, short_tail, count
):
    """Few events are found by themselves; many are searched for, among all others."""
    async with opened(*engines(redis.url, name, 1)) as (hub,):
        ids = await publish(hub, "a", "1", "2")
        for start in range(0, 5000, 200):
            several = (("other", "2", "data", str(n)) for n in range(start, start + 200))
            publish_elsewhere(redis, name, *(part for parts in several for part in parts))
        await publish(hub, "a", *range(3, count))
    reads = []

    class Watched(RedisEngine):
        async def read(self, topics, position, limit):
            page = await super().read(topics, position, limit)
            reads.append(len(page[0]))
            return page

    async with open_hub(engine=Watched(redis.url, name=name), max_events=2) as hub:
        async with hub.subscribe("a", last_event_id=ids[0]) as subscription:
            expected = ["<resumed>", *map(str, range(2, count))]
            assert await take(subscription, len(expected)) == expected
            await publish(hub, "a", "new")
            assert await take(subscription, 1) == ["new"]
        assert hub.statistics().resets == {}
    assert (0 in reads) is (count == 800)  # a page of others
    assert sum(reads) >= count - 4


async def test_a_slow_reader_goes_on_from_redis_and_one_too_slow_is_told(redis, name):
    async with opened(*engines(redis.url, name, 1, max_events=500), max_events=10) as (hub,):
        async with subscribed(hub) as (subscription,):
            await fill_slowly(redis, name, hub, "a", 300)
            assert await take(subscription, 300) == list(map(str, range(300)))
            await fill_slowly(redis, name, hub, "a", 1500)
            assert await take(subscription, 1) == ["<lagged>"]
            await publish(hub, "a", "new")
            assert await take(subscription, 1) == ["new"]
        assert hub.statistics().resets == {"lagged": 1}
