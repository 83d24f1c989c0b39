"""A process that starts has the tail of the stream at hand, and Redis for the rest."""

import anyio
import pytest

from hub.kit import Witness
from trio_sse import open_hub
from trio_sse.redis import RedisEngine

from .kit import TIMEOUT, engines, fill, opened, publish, read_all, subscribed, take, until

pytestmark = pytest.mark.anyio


class Counting(RedisEngine):
    """Counts what it is asked."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.asked = []

    async def reaches(self, topics, position):
        self.asked.append("reaches")
        return await super().reaches(topics, position)

    async def read(self, topics, position, limit):
        self.asked.append("read")
        return await super().read(topics, position, limit)


async def test_who_comes_back_from_before_it_started_is_served_from_its_log(redis, name):
    engine, witness = Counting(redis.url, name=name), Witness()
    async with opened(*engines(redis.url, name, 1)) as (before,):
        ids = await publish(before, "a", *range(10))
    async with open_hub(engine=engine, instrument=witness) as hub:
        statistics = hub.statistics()
        assert (statistics.published, statistics.log_length, statistics.topics) == (0, 10, 1)
        async with hub.subscribe("a", last_event_id=ids[2]) as subscription:
            assert await take(subscription, 8) == ["<resumed>", *map(str, range(3, 10))]
        async with hub.subscribe("quiet", last_event_id=ids[0]) as subscription:
            assert await take(subscription, 1) == ["<resumed>"]
        assert engine.asked == []
        assert witness.told == []
        [id_] = await publish(hub, "a", "new")
        assert id_ > ids[-1]
        await until(lambda: hub.statistics().published == 1)


async def test_a_subscriber_of_a_process_that_starts_gets_what_comes_then(redis, name):
    fill(redis, name, "a", 3)
    async with opened(*engines(redis.url, name, 1)) as (hub,), subscribed(hub) as (subscription,):
        await publish(hub, "a", "new")
        assert await take(subscription, 1) == ["new"]


async def test_what_the_tail_does_not_have_is_read_from_redis(redis, name, monkeypatch):
    monkeypatch.setattr("trio_sse.redis._reader.TAIL_EVENTS", 20)
    monkeypatch.setattr("trio_sse.redis._store.PAGE", 7)
    async with opened(*engines(redis.url, name, 1)) as (before,):
        ids = await publish(before, "a", *range(300))
    engine = Counting(redis.url, name=name)
    async with open_hub(engine=engine) as hub:
        assert 20 <= hub.statistics().log_length < 27
        async with hub.subscribe("a", last_event_id=ids[279]) as subscription:
            assert await take(subscription, 21) == ["<resumed>", *map(str, range(280, 300))]
        assert engine.asked == []
        async with hub.subscribe("a", last_event_id=ids[0]) as subscription:
            assert await take(subscription, 300) == ["<resumed>", *map(str, range(1, 300))]
        assert engine.asked[0] == "reaches"
        assert "read" in engine.asked
        async with hub.subscribe("a", last_event_id="earliest") as subscription:
            assert await take(subscription, 301) == ["<ready>", *map(str, range(300))]


async def test_the_tail_has_no_more_bytes_than_the_log_would_keep(redis, name, monkeypatch):
    monkeypatch.setattr("trio_sse.redis._reader.TAIL_BYTES", 2000)
    monkeypatch.setattr("trio_sse.redis._store.PAGE", 2)
    async with opened(*engines(redis.url, name, 1)) as (before,):
        await publish(before, "a", *(f"{n}" * 500 for n in range(8)))
    async with opened(*engines(redis.url, name, 1)) as (hub,):
        assert hub.statistics().log_length == 4
        assert (await read_all(hub, "a", last_event_id="earliest"))[1] == "0" * 500


async def test_the_log_of_a_process_that_starts_keeps_its_own_bounds(redis, name):
    fill(redis, name, "a", 50)
    async with opened(*engines(redis.url, name, 1), max_events=5) as (hub,):
        assert hub.statistics().log_length == 5
        async with hub.subscribe("a", last_event_id="earliest") as subscription:
            assert await take(subscription, 51) == ["<ready>", *map(str, range(50))]


async def test_the_first_process_begins_with_nothing(redis, name):
    [engine] = engines(redis.url, name, 1)
    async with open_hub(engine=engine) as hub:
        assert hub.statistics().log_length == 0
        async with hub.subscribe("a") as subscription:
            event = await subscription.receive()
        assert event.id == f"{engine.epoch}-0-0"
        await publish(hub, "a", "1")
        async with hub.subscribe("a", last_event_id=event.id) as subscription:
            assert await take(subscription, 2) == ["<resumed>", "1"]


async def test_earliest_is_the_first_that_redis_has(redis, name):
    [engine] = engines(redis.url, name, 1)
    async with open_hub(engine=engine):
        assert await engine.earliest() == 0
    fill(redis, name, "a", 3)
    async with open_hub(engine=engine):
        assert await engine.earliest() == 0


async def test_processes_that_start_at_once_agree_on_the_epoch(redis, name):
    several = engines(redis.url, name, 5)
    async with opened(*several) as hubs:
        assert len({engine.epoch for engine in several}) == 1
        async with subscribed(*hubs) as subscriptions, anyio.create_task_group() as group:
            for hub in hubs:
                group.start_soon(publish, hub, "a", "x")
            with anyio.fail_after(TIMEOUT):
                for subscription in subscriptions:
                    assert await take(subscription, 5) == ["x"] * 5
