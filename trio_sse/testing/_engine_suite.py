"""The guarantees of an engine, as tests."""

import random
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import anyio
import anyio.abc

from .._abc import Engine
from .._event import JSONServerSentEvent, ServerSentEvent
from .._history import Record
from .._hub import Hub, open_hub
from .._runtime import current_runtime
from .._subscription import Subscription

# Seconds; what is on its way through any engine arrives long before.
TIMEOUT = 30

NOT_POSITIONS = ["", " ", "x", "-", "-1", "1.", "1 ", " 1", "+1", "\u0661", "\u00b2", "\ufffd"]

_READY, _RESUMED = '{"resumed":false}', '{"resumed":true}'

EVENTS = [
    ServerSentEvent("one"),
    ServerSentEvent("two\nlines, and \u2028 no third", event="pair", retry=1500),
    ServerSentEvent("\N{SNOWMAN}", comment="a comment\nof two lines"),
    ServerSentEvent("", event="message"),
    ServerSentEvent(event="nothing but a name"),
    JSONServerSentEvent({"nested": [1, None, "\r\n"]}),
]


class EngineSuite:
    """Tests of what `Engine` promises, and of what a hub promises by it.

    Subclass it, say how to make an engine, and let pytest run it with anyio's plugin, on
    trio and on asyncio::

        @pytest.mark.anyio
        class TestMyEngine(EngineSuite):
            def make_engine(self):
                return MyEngine()
    """

    def make_engine(self) -> Engine:
        """Return a new engine that shares nothing with those made before."""
        raise NotImplementedError

    async def test_each_event_is_delivered_once_with_a_growing_position(self) -> None:
        """Also when many are published at once."""
        returned: list[int] = []

        async def publish(n: int) -> None:
            returned.append(await engine.publish(f"topic {n % 3}", ServerSentEvent(n)))

        engine, sink = self.make_engine(), _Inbox()
        async with engine.open(sink):
            [start] = sink.begun
            assert sink.records == []
            async with anyio.create_task_group() as group:
                for n in range(20):
                    group.start_soon(publish, n)
            await sink.wait_for(20)
        positions = [record.position for record in sink.records]
        assert positions == sorted(set(positions))
        assert positions == sorted(returned)
        assert positions[0] > start
        assert {(record.topic, record.event) for record in sink.records} == {
            (f"topic {n % 3}", ServerSentEvent(n)) for n in range(20)
        }

    async def test_what_is_published_later_comes_later(self) -> None:
        """Whatever its topic, and in whatever way it was published."""
        async with self._open() as hub:
            subscription = hub.subscribe("a", "b")
            for n in range(30):
                if n % 3:
                    await hub.publish("ab"[n % 2], n)
                else:
                    hub.publish_nowait("ab"[n % 2], n)
            async with subscription:
                assert await _data(subscription, 31) == [_READY, *map(str, range(30))]

    async def test_an_event_arrives_as_it_was_published_with_the_id_that_was_returned(self) -> None:
        """Every field of it."""
        async with self._open() as hub, hub.subscribe("a") as subscription:
            ids = [await hub.publish("a", event) for event in EVENTS]
            assert len(set(ids)) == len(ids)
            received = (await _receive(subscription, 1 + len(EVENTS)))[1:]
        for event, id_, got in zip(EVENTS, ids, received, strict=True):
            assert got == ServerSentEvent(
                event.data, event=event.event, id=id_, retry=event.retry, comment=event.comment
            )

    async def test_a_subscription_gets_its_topics_and_no_others(self) -> None:
        """An id of another topic is a position, and grants nothing."""
        async with self._open() as hub:
            secret = await hub.publish("secret", "1")
            await hub.publish("secret", "2")
            await hub.publish("mine", "3")
            async with hub.subscribe("mine", last_event_id=secret) as subscription:
                assert await _data(subscription, 2) == [_RESUMED, "3"]

    async def test_nothing_is_missed_that_is_published_after_subscribe_was_called(self) -> None:
        """Before the subscription is entered, and before it is first read."""
        async with self._open() as hub:
            subscription = hub.subscribe("a")
            await hub.publish("a", "1")
            async with subscription:
                await hub.publish("a", "2")
                assert await _data(subscription, 3) == [_READY, "1", "2"]

    async def test_who_was_cut_after_ready_gets_what_was_published_meanwhile(self) -> None:
        """The id of ``ready`` is enough to come back with."""
        async with self._open() as hub:
            async with hub.subscribe("a") as subscription:
                [ready] = await _receive(subscription, 1)
            await hub.publish("a", "1")
            await hub.publish("a", "2")
            async with hub.subscribe("a", last_event_id=ready.id) as subscription:
                assert await _data(subscription, 3) == [_RESUMED, "1", "2"]

    async def test_each_event_is_seen_once_over_any_number_of_reconnects(self) -> None:
        """While others publish; each reader leaves after a few events, at random."""
        seed = random.randrange(2**32)
        chance = random.Random(seed)
        seen: dict[int, list[str | None]] = {n: [] for n in range(5)}

        async def publish() -> None:
            for n in range(100):
                await hub.publish("ab"[n % 2], n)

        async def read(n: int, last_id: str | None) -> None:
            while len(seen[n]) < 100:
                count = min(chance.randint(1, 9), 101 - len(seen[n]))
                async with hub.subscribe("a", "b", last_event_id=last_id) as subscription:
                    for event in await _receive(subscription, count):
                        last_id = event.id
                        if event.event is None:
                            seen[n].append(event.data)

        async with self._open() as hub:
            async with hub.subscribe("a") as subscription:
                [ready] = await _receive(subscription, 1)
            async with anyio.create_task_group() as group:
                group.start_soon(publish)
                for n in seen:
                    group.start_soon(read, n, ready.id)
        assert list(seen.values()) == [[str(n) for n in range(100)]] * 5, f"seed {seed}"

    async def test_replay_and_live_are_the_same_events(self) -> None:
        """Byte for byte, also for who asks for the earliest there is."""
        async with self._open() as hub:
            async with hub.subscribe("a", "b") as live:
                for n in range(20):
                    await hub.publish("ab"[n % 2], n)
                ready, *events = await _receive(live, 21)
            for last_id in (ready.id, "earliest"):
                async with hub.subscribe("a", "b", last_event_id=last_id) as replay:
                    replayed = (await _receive(replay, 21))[1:]
                assert [event.encode() for event in replayed] == [
                    event.encode() for event in events
                ]

    async def test_a_quiet_topic_can_be_resumed_while_another_is_busy(self) -> None:
        """Its events are all there: what was dropped is none of its own."""
        async with open_hub(engine=self.make_engine(), max_events=5) as hub:
            async with hub.subscribe("quiet") as subscription:
                [ready] = await _receive(subscription, 1)
            async with hub.subscribe("busy") as subscription:
                for n in range(50):
                    await hub.publish("busy", n)
                    await _receive(subscription, 2 if n == 0 else 1)
            await hub.publish("quiet", "psst")
            async with hub.subscribe("quiet", last_event_id=ready.id) as subscription:
                assert await _data(subscription, 2) == [_RESUMED, "psst"]

    async def test_an_id_of_another_engine_is_from_before_a_restart(self) -> None:
        """The epoch tells; the subscription goes on with what comes now."""
        async with self._open() as hub:
            foreign = await hub.publish("a", "elsewhere")
        async with self._open() as hub:
            await hub.publish("a", "before")
            async with hub.subscribe("a", last_event_id=foreign) as subscription:
                await hub.publish("a", "after")
                reset, *_ = received = await _receive_until(subscription, "after")
            assert (reset.event, reset.data) == ("reset", '{"reason":"restarted"}')
            assert len({event.id for event in received}) == len(received)

    async def test_what_is_no_position_is_none(self) -> None:
        """Clients send what they like."""
        engine, sink = self.make_engine(), _Inbox()
        async with engine.open(sink):
            assert engine.epoch.isascii()
            assert engine.epoch.isalnum()
            published = await engine.publish("a", ServerSentEvent("x"))
            for position in (*sink.begun, published):
                text = engine.write_position(position)
                assert engine.read_position(text) == position
                assert text == "".join(text.split())
            for text in NOT_POSITIONS:
                assert engine.read_position(text) is None

    async def test_a_publish_that_was_cancelled_before_it_began_has_not_taken_place(self) -> None:
        """It is a checkpoint, always."""
        async with self._open() as hub, hub.subscribe("a") as subscription:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await hub.publish("a", "never")
            assert scope.cancelled_caught
            await hub.publish("a", "this")
            assert await _data(subscription, 2) == [_READY, "this"]

    async def test_closing_delivers_what_was_accepted_and_then_ends(self) -> None:
        """Nothing that was published is lost to who is there, and nobody waits for ever."""
        received: list[ServerSentEvent] = []

        async def read(
            subscription: Subscription, *, task_status: anyio.abc.TaskStatus[None]
        ) -> None:
            async with subscription:
                task_status.started()
                received.extend([event async for event in subscription])

        async with anyio.create_task_group() as group:
            async with self._open() as hub:
                await group.start(read, hub.subscribe("a"))
                await hub.publish("a", "1")
                hub.publish_nowait("a", "2")
        assert [event.data for event in received] == [_READY, "1", "2"]

    async def test_who_is_let_in_while_the_hub_closes_is_told_the_end(self) -> None:
        """Ids are still written then."""
        asked, closed = anyio.Event(), anyio.Event()
        received: list[ServerSentEvent] = []

        async def authorize(topics: tuple[str, ...]) -> bool:
            asked.set()
            await closed.wait()
            return True

        async def read() -> None:
            async with hub.subscribe("a", authorize=authorize) as subscription:
                received.extend([event async for event in subscription])

        async with anyio.create_task_group() as group:
            async with self._open() as hub:
                group.start_soon(read)
                await asked.wait()
            closed.set()
        assert [event.data for event in received] == [_READY]

    async def test_after_close_everything_raises_closed_resource_error(self) -> None:
        """Nobody waits for what will never come."""
        closed = current_runtime().ClosedResourceError
        async with self._open() as hub:
            subscription = hub.subscribe("a")
        raised: list[Exception] = []
        for call in (lambda: hub.publish("a", "x"), subscription.__aenter__):
            try:
                await call()
            except closed as error:
                raised.append(error)
        assert len(raised) == 2

    def _open(self) -> AbstractAsyncContextManager[Hub]:
        return open_hub(engine=self.make_engine())


class _Inbox:
    """A sink that notes what it is told."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.records: list[Record] = []
        self._news = anyio.Event()

    def begin(self, position: int, kept: Iterable[Record] = (), /) -> None:
        self.begun.append(position)

    def deliver(self, record: Record, /) -> None:
        self.records.append(record)
        self._news.set()

    def lost(self, position: int, /) -> None:
        raise AssertionError(f"everything up to {position} is lost")

    async def wait_for(self, count: int) -> None:
        with anyio.fail_after(TIMEOUT):
            while len(self.records) < count:
                self._news = anyio.Event()
                await self._news.wait()


async def _receive(subscription: Subscription, count: int) -> list[ServerSentEvent]:
    with anyio.fail_after(TIMEOUT):
        return [await subscription.receive() for _ in range(count)]


async def _receive_until(subscription: Subscription, data: str) -> list[ServerSentEvent]:
    received = await _receive(subscription, 1)
    while received[-1].data != data:
        received += await _receive(subscription, 1)
    return received


async def _data(subscription: Subscription, count: int) -> list[str | None]:
    return [event.data for event in await _receive(subscription, count)]
