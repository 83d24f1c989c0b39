"""What is read of a stream that was trimmed, against all that there ever was."""

from collections import Counter
from random import Random

import pytest

from hub.kit import Inbox
from trio_sse import ServerSentEvent
from trio_sse._history import Record

from .kit import EVENTS, engines, key, opened, publish, take_until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("by_hand", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(8))
async def test_a_page_has_all_that_there_was_or_there_is_none(own_redis, name, seed, by_hand):
    """Topics are forgotten early, entries are dropped one by one, and some are not events."""
    own_redis.cli("CONFIG", "SET", "stream-node-max-entries", "1")
    random = Random(seed)
    bounds = {"max_topics": random.choice([2, 3, 5]), "max_events": random.choice([4, 8, 20])}
    [engine] = engines(own_redis.url, name, 1, **bounds)
    topics = [f"topic {n}" for n in range(random.choice([3, 6, 12]))]
    published: list[Record] = []
    found = Counter()
    async with engine.open(Inbox()):
        for n in range(120):
            if random.random() < by_hand / 4:  # it takes a process
                own_redis.cli("XADD", key(name, EVENTS), "*", "x", "y")
                continue
            topic = random.choice([topics[0], *topics])
            event = ServerSentEvent(n)
            published.append(Record(await engine.publish(topic, event), topic, event))
            topic = random.choice(topics)
            after = random.choice([0, *(each.position for each in published)])
            page = await engine.read([topic], after, 1000)
            if page is not None:
                records, _ = page
                wanted = [each for each in published if each.topic == topic]
                assert list(records) == [each for each in wanted if each.position > after]
            found[page is not None] += 1
    assert found[True]
    assert found[False]


@pytest.mark.parametrize("count", [9, 10])
async def test_entries_by_hand_at_the_beginning_hide_nothing(redis, name, count):
    async with opened(*engines(redis.url, name, 1)) as (hub,):
        redis.cli(stdin=f'XADD "{key(name, EVENTS)}" * x y\n' * count)
        first, *_ = await publish(hub, "a", "1", "2", "3")
    async with opened(*engines(redis.url, name, 1)) as (hub,):
        async with hub.subscribe("a", last_event_id=first) as subscription:
            assert await take_until(subscription, "3") == ["<resumed>", "2"]
        async with hub.subscribe("a", last_event_id="earliest") as subscription:
            assert await take_until(subscription, "3") == ["<ready>", "1", "2"]
