"""Coming back: ids, and what is said when there is a gap."""

import random
from functools import partial

import anyio
import pytest

from trio_sse import (
    MemoryEngine,
    ServerSentEvent,
    open_hub,
)

from .kit import UNREADABLE, Archive, position_of, publish_all, read_from, take_all

pytestmark = pytest.mark.anyio


async def test_a_client_that_comes_back_goes_on_after_the_last_event_it_has_seen():
    async with open_hub() as hub:
        ids = await publish_all(hub, "a", "123")
        for seen_before, expected in zip(ids, ["23", "3", ""], strict=True):
            assert await read_from(hub, "a", last_event_id=seen_before) == [
                "<resumed>",
                *expected,
            ]


async def test_ready_has_the_id_that_a_client_came_back_with():
    async with open_hub() as hub:
        first, _ = await publish_all(hub, "a", "12")
        async with hub.subscribe("a", last_event_id=first) as subscription:
            assert await subscription.receive() == ServerSentEvent(
                '{"resumed":true}', event="ready", id=first
            )


async def test_a_client_that_has_seen_nothing_but_ready_comes_back():
    async with open_hub() as hub:
        async with hub.subscribe("a") as subscription:
            ready = (await subscription.receive()).id
        assert ready.endswith("-0")
        await hub.publish("a", "1")
        assert await read_from(hub, "a", last_event_id=ready) == ["<resumed>", "1"]


async def test_an_id_of_another_topic_is_a_place_in_the_log():
    async with open_hub() as hub:
        secret, _, _ = [await hub.publish(topic, topic) for topic in ("secret", "a", "secret")]
        assert await read_from(hub, "a", last_event_id=secret) == ["<resumed>", "a"]


async def test_earliest_is_all_that_the_log_has():
    async with open_hub(max_events=3) as hub:
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>"]
        await publish_all(hub, "a", "12345")
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", *"345"]
        await hub.publish("b", "6")
        assert await read_from(hub, "a", "b", last_event_id="earliest") == ["<ready>", *"456"]


async def test_earliest_is_not_more_than_the_log_may_have():
    async with open_hub(max_age=5) as hub:
        await hub.publish("a", "1")
        await anyio.sleep(4)
        await hub.publish("a", "2")
        await anyio.sleep(2)
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", "2"]


@pytest.mark.parametrize("pattern", UNREADABLE, ids=lambda text: ascii(text)[:30])
async def test_an_id_that_nobody_has_given_is_unknown(pattern):
    engine = MemoryEngine()
    async with open_hub(engine=engine) as hub:
        await publish_all(hub, "a", "12")
        last_event_id = pattern.replace("{epoch}", engine.epoch)
        subscription = hub.subscribe("a", last_event_id=last_event_id)
        await hub.publish("a", "3")
        async with subscription:
            event = await subscription.receive()
            assert event == ServerSentEvent(
                '{"reason":"unknown"}', event="reset", id=f"{engine.epoch}-2"
            )
            assert await take_all(subscription) == ["3"]
        assert hub.statistics().resets == {"unknown": 1}


async def test_an_id_of_the_future_is_unknown():
    async with open_hub() as hub:
        last = await hub.publish("a", "1")
        assert await read_from(hub, "a", last_event_id=last) == ["<resumed>"]
        future = last[:-1] + "2"
        assert await read_from(hub, "a", last_event_id=future) == ["<unknown>"]


@pytest.mark.parametrize("length", [128, 129])
async def test_an_id_that_is_too_long_is_not_looked_at(length):
    class Lengthy(MemoryEngine):
        def write_position(self, position):
            return str(position).zfill(length - len(self.epoch) - 1)

        def read_position(self, text):
            return int(text)

    async with open_hub(engine=Lengthy()) as hub:
        id_ = await hub.publish("a", "1")
        assert len(id_) == length
        expected = "<resumed>" if length == 128 else "<unknown>"
        assert await read_from(hub, "a", last_event_id=id_) == [expected]


@pytest.mark.parametrize("last_event_id", ["other-0", "0123456789-1", "earliest-1", "E-99999"])
async def test_an_id_of_another_epoch_is_from_before_a_restart(last_event_id):
    async with open_hub() as hub:
        await publish_all(hub, "a", "12")
        subscription = hub.subscribe("a", last_event_id=last_event_id)
        await hub.publish("a", "3")
        async with subscription:
            assert await take_all(subscription) == ["<restarted>", "3"]


async def test_an_id_that_the_log_does_not_reach_back_to_has_expired():
    async with open_hub(max_events=2) as hub:
        ids = await publish_all(hub, "a", "1234")
        for id_, expected in zip(ids, [["<expired>"], ["<resumed>", *"34"]], strict=False):
            assert await read_from(hub, "a", last_event_id=id_) == expected
        async with hub.subscribe("a", last_event_id=ids[0]) as subscription:
            await hub.publish("a", "5")
            assert (await subscription.receive()).id == ids[-1]
            assert await take_all(subscription) == ["5"]


async def test_an_id_expires_at_its_age_and_not_before():
    async with open_hub(max_age=5) as hub:
        first, second = await publish_all(hub, "a", "12")
        await anyio.sleep(5)
        assert await read_from(hub, "a", last_event_id=first) == ["<resumed>", "2"]
        assert await read_from(hub, "a", last_event_id=first) == ["<expired>"]  # one second later
        assert await read_from(hub, "a", last_event_id=second) == ["<resumed>"]


async def test_a_client_of_a_quiet_topic_comes_back_when_the_busy_ones_are_trimmed():
    async with open_hub(max_events=3) as hub:
        async with hub.subscribe("quiet") as subscription:
            id_ = (await subscription.receive()).id
        await publish_all(hub, "busy", range(100))
        await hub.publish("quiet", "x")
        assert await read_from(hub, "quiet", last_event_id=id_) == ["<resumed>", "x"]
        assert await read_from(hub, "busy", "quiet", last_event_id=id_) == ["<expired>"]


async def test_a_client_that_was_reset_comes_back_with_the_id_of_that():
    async with open_hub(max_events=2) as hub:
        await publish_all(hub, "a", "123")
        async with hub.subscribe("a", last_event_id="?") as subscription:
            id_ = (await subscription.receive()).id
        await hub.publish("a", "4")
        assert await read_from(hub, "a", last_event_id=id_) == ["<resumed>", "4"]


async def test_who_subscribes_and_is_entered_late_is_told_what_was_dropped_meanwhile():
    async with open_hub(max_events=2) as hub:
        fresh, resuming = hub.subscribe("a"), hub.subscribe("a", last_event_id="?")
        await publish_all(hub, "a", "1234")
        async with fresh:
            assert await take_all(fresh) == ["<expired>"]
        async with resuming:
            assert await take_all(resuming) == ["<unknown>"]
        assert await read_from(hub, "a") == ["<ready>"]


class Follower:
    """A client that reconnects, and checks that no gap is hidden from it."""

    def __init__(self, hub, topics, published):
        self.hub, self.topics, self.published = hub, topics, published
        self.position = None
        self.last_id = None
        self.got = []
        self.resets = 0

    def take(self, event):
        position = position_of(event)
        if event.event == "ready":
            assert self.position in (None, position), "it goes on somewhere else"
        elif event.event == "reset":
            assert self.position is None or position >= self.position, "a reset leads back"
            self.resets += 1
        else:
            missed = [
                data
                for at, topic, data in self.published
                if topic in self.topics and self.position < at < position
            ]
            assert missed == [], "events are missing, and no reset has said so"
            assert position > self.position, "an event came again"
            self.got.append(event.data)
        self.position, self.last_id = position, event.id

    async def connect(self, count, pause):
        """Receive so many events, and pause after each."""
        subscription = self.hub.subscribe(*self.topics, last_event_id=self.last_id)
        async with subscription:
            for _ in range(count):
                with anyio.move_on_after(0.5):
                    self.take(await subscription.receive())
                await anyio.sleep(pause())


@pytest.mark.parametrize("engine", [MemoryEngine, partial(Archive, page=7)], ids=["memory", "kept"])
@pytest.mark.parametrize("max_events", [1000, 20, 3])
@pytest.mark.parametrize("seed", range(5))
async def test_no_event_comes_twice_and_no_gap_is_hidden_however_often_clients_reconnect(
    engine, max_events, seed
):
    chance = random.Random(seed)
    published, total = [], 150
    over = anyio.Event()

    async def publish():
        for n in range(total):
            topic = chance.choice("abc")
            id_ = await hub.publish(topic, n)
            published.append((int(id_.rpartition("-")[2]), topic, str(n)))
            if chance.random() < 0.5:
                await anyio.sleep(chance.random())
        over.set()

    async def follow(follower, speed):
        while not over.is_set():
            await anyio.sleep(chance.random() * speed)
            await follower.connect(chance.randint(1, 20), lambda: chance.random() * speed)
        while follower.got[-1:] != [data for _, t, data in published if t in follower.topics][-1:]:
            assert not follower.resets or max_events < total
            before = follower.position
            await follower.connect(50, lambda: 0)
            if follower.position == before:
                break  # the last was lost, and that was told

    async with open_hub(engine=engine(), max_events=max_events) as hub:
        followers = [
            (Follower(hub, topics, published), speed)
            for topics in ("a", "bc", "abc")
            for speed in (0, 0.3, 3)
        ]
        for follower, _ in followers:
            await follower.connect(1, lambda: 0)
        async with anyio.create_task_group() as group:
            group.start_soon(publish)
            for follower, speed in followers:
                group.start_soon(follow, follower, speed)
        assert hub.statistics().subscribers == 0
    for follower, _ in followers:
        if engine is not MemoryEngine or max_events > total:
            assert follower.resets == 0
            assert follower.got == [data for _, t, data in published if t in follower.topics]
