"""Leaving the block of a hub: what is still published and delivered, and for how long."""

import logging
from contextlib import asynccontextmanager

import anyio
import pytest

from trio_sse import open_hub
from trio_sse._runtime import current_runtime

from .kit import (
    Archive,
    Held,
    Late,
    enter_and_read_into,
    publish_all,
    raises,
    read_from,
    seen,
    take,
)

pytestmark = pytest.mark.anyio


class Unanswering(Archive):
    """Answers nothing once it is away; who waits is told when it is closed."""

    def __init__(self):
        super().__init__()
        self.away = False
        self.over = anyio.Event()

    @asynccontextmanager
    async def open(self, sink):
        async with super().open(sink):
            yield
        self.over.set()

    async def publish(self, topic, event):
        await self.answering()
        return await super().publish(topic, event)

    async def reaches(self, topics, position):
        await self.answering()
        return await super().reaches(topics, position)

    async def earliest(self):
        await self.answering()
        return await super().earliest()

    async def answering(self):
        if self.away:
            await self.over.wait()
            raise ConnectionError("the connection was closed")


EARLIEST = {"last_event_id": "earliest"}
FIRST = {"last_event_id": "archive-1"}


async def test_what_is_in_the_outbox_is_published_when_the_block_is_left():
    received = []
    async with anyio.create_task_group() as group:
        async with open_hub() as hub:
            group.start_soon(enter_and_read_into, received, hub.subscribe("a"))
            await anyio.sleep(1)
            for n in range(100):
                hub.publish_nowait("a", n)
    assert received == ["<ready>", *map(str, range(100))]
    assert hub.statistics().outbox_length == 0


async def test_an_engine_that_is_slow_holds_the_end_of_the_block():
    engine = Held("1")
    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine) as hub:
            hub.publish_nowait("a", "1")
            hub.publish_nowait("a", "2")

            @group.start_soon
            async def later():
                await anyio.sleep(4)
                with raises("ClosedResourceError"):
                    hub.publish_nowait("a", "the outbox is closed")
                engine.let_go("1")

            began = anyio.current_time()
        assert anyio.current_time() == began + 4
    assert engine.asked == ["1", "2"]
    assert hub.statistics().failed == 0


async def test_a_block_that_is_cancelled_discards_the_outbox_and_nobody_waits_for_it():
    engine, over = Held("1"), anyio.Event()

    async def publish():
        try:
            await hub.publish("a", "3")
        except current_runtime().ClosedResourceError:
            pass
        over.set()

    async with anyio.create_task_group() as group:
        with anyio.move_on_after(5) as scope:
            async with open_hub(engine=engine) as hub:
                hub.publish_nowait("a", "1")
                hub.publish_nowait("a", "2")
                group.start_soon(publish)
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        with anyio.fail_after(1):
            await over.wait()
    assert "2" not in engine.asked
    assert hub.statistics().outbox_length == 0
    for publish_now in (hub.publish_nowait, hub.publish_from_thread):
        with raises("ClosedResourceError"):
            publish_now("a", "4")


async def test_clean_up_of_a_block_that_is_cancelled_is_told_that_nobody_empties_the_outbox():
    with anyio.move_on_after(1):
        async with open_hub() as hub:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(1)
                    with raises("ClosedResourceError"):
                        hub.publish_nowait("a", "x")


@pytest.mark.parametrize(
    ("options", "seconds"), [({}, 5), ({"close_timeout": 0}, 0), ({"close_timeout": 2.5}, 2.5)]
)
async def test_an_engine_that_answers_no_more_holds_the_end_of_the_block_so_long(
    caplog, options, seconds
):
    engine = Held("1")
    async with open_hub(engine=engine, **options) as hub:
        hub.publish_nowait("a", "1")
        hub.publish_from_thread("a", "2")
        await anyio.sleep(1)
        began = anyio.current_time()
    assert anyio.current_time() == began + seconds
    assert engine.asked == ["1"]
    statistics = hub.statistics()
    assert (statistics.failed, statistics.outbox_length, statistics.published) == (2, 0, 0)
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "the hub was closed before 2 events could be published")
    ]


async def test_the_time_to_close_is_no_time_to_live(caplog):
    async with open_hub(close_timeout=1) as hub:
        await anyio.sleep(100)
        hub.publish_nowait("a", "1")
        await hub.publish("a", "2")
    assert (hub.statistics().published, hub.statistics().failed) == (2, 0)
    assert caplog.text == ""


async def test_what_is_accepted_while_the_block_is_left_is_delivered_too():
    engine, received = Late(), []

    async def later():
        await anyio.sleep(2)
        await hub.publish("a", "3")
        await anyio.sleep(2)
        engine.catch_up()

    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine) as hub:
            group.start_soon(enter_and_read_into, received, hub.subscribe("a"))
            hub.publish_nowait("a", "1")
            await hub.publish("a", "2")
            group.start_soon(later)
            began = anyio.current_time()
        assert anyio.current_time() == began + 4
    assert received == ["<ready>", "1", "2", "3"]


async def test_what_was_accepted_is_waited_for_until_the_last_of_it_is_there():
    engine, received = Late(), []

    async def later():
        for record in list(engine.undelivered):
            await anyio.sleep(1)
            engine.sink.deliver(record)

    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine) as hub:
            group.start_soon(enter_and_read_into, received, hub.subscribe("a"))
            await publish_all(hub, "a", "123")
            group.start_soon(later)
            began = anyio.current_time()
        assert anyio.current_time() == began + 3
    assert received == ["<ready>", "1", "2", "3"]


async def test_what_was_accepted_is_not_waited_for_longer_than_the_time_to_close(caplog):
    engine, received = Late(), []
    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine, close_timeout=3) as hub:
            group.start_soon(enter_and_read_into, received, hub.subscribe("a"))
            await hub.publish("a", "1")
            began = anyio.current_time()
        assert anyio.current_time() == began + 3
    assert received == ["<ready>"]
    assert hub.statistics().failed == 0, "it was published"
    assert caplog.text == ""


async def test_an_engine_that_closes_itself_before_is_heard_as_it_is():
    engine = Unanswering()
    async with open_hub(engine=engine) as hub:
        engine.away = True
        engine.over.set()
        for call in (lambda: hub.publish("a", "1"), lambda: read_from(hub, "a", **EARLIEST)):
            with pytest.raises(ConnectionError, match="the connection was closed"):
                await call()
        engine.away = False


@pytest.mark.parametrize(
    "call",
    [
        lambda hub: hub.publish("a", "x"),
        lambda hub: read_from(hub, "a", **EARLIEST),
        lambda hub: read_from(hub, "a", **FIRST),
    ],
    ids=["publish", "earliest", "reaches"],
)
async def test_who_waits_for_an_engine_that_is_closed_hears_that_the_hub_is_closed(call):
    engine = Unanswering()

    async def wait():
        with raises("ClosedResourceError", match="the hub is closed") as caught:
            await call(hub)
        assert isinstance(caught.value.__cause__, ConnectionError)
        over.append(hub)

    over = []
    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine, max_events=1) as hub:
            await publish_all(hub, "a", "123")
            engine.away = True
            group.start_soon(wait)
            await anyio.sleep(1)
            began = anyio.current_time()
        assert anyio.current_time() == began, "nobody waits for these"
    assert over == [hub]
    assert hub.statistics().subscribers == 0


async def test_who_reads_from_an_engine_that_is_closed_comes_to_the_end():
    engine, received = Unanswering(), []
    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine, max_events=1) as hub:
            reader = hub.subscribe("a")
            await reader.__aenter__()
            await publish_all(hub, "a", "123")
            assert await take(reader, 2) == ["<ready>", "1"]
            engine.away = True

            @group.start_soon
            async def read():
                received.extend([seen(event) async for event in reader])
                received.append(reader.close_reason)

            await anyio.sleep(1)
    assert received == [None]
    await reader.__aexit__(None, None, None)


async def test_what_an_engine_raises_when_it_is_closed_is_an_end_for_the_outbox_too(caplog):
    engine = Unanswering()
    async with open_hub(engine=engine, close_timeout=2) as hub:
        engine.away = True
        hub.publish_nowait("a", "1")
        await anyio.sleep(1)
        began = anyio.current_time()
    assert anyio.current_time() == began + 2
    assert hub.statistics().failed == 1


async def test_a_block_that_is_cancelled_says_what_it_has_discarded(caplog):
    with anyio.move_on_after(1):
        async with open_hub(engine=Held("1")) as hub:
            for n in range(3):
                hub.publish_nowait("a", n + 1)
            await anyio.sleep_forever()
    assert hub.statistics().failed == 3
    assert [record.message for record in caplog.records] == [
        "the hub was closed before 3 events could be published"
    ]


async def test_what_was_published_before_the_rest_was_given_up_has_not_failed():
    engine = Held("3")
    async with open_hub(engine=engine, close_timeout=1) as hub:
        for n in range(1, 6):
            hub.publish_nowait("a", n)
    assert (hub.statistics().published, hub.statistics().failed) == (2, 3)
    assert not hub._outbox._events, "nothing of them is kept"


async def test_who_waits_for_the_outbox_when_it_is_given_up_hears_that_the_hub_is_closed():
    engine = Held("1")

    async def publish():
        with raises("ClosedResourceError", match="the hub is closed"):
            await hub.publish("a", "2")
        over.append(anyio.current_time())

    over = []
    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine, close_timeout=3) as hub:
            hub.publish_nowait("a", "1")
            group.start_soon(publish)
            await anyio.sleep(1)
            began = anyio.current_time()
    assert over == [began + 3]
    assert hub.statistics().failed == 1
    assert hub.statistics().published == 0


async def test_who_waits_for_the_outbox_when_the_block_is_cancelled_publishes_nothing():
    """A conforming engine that begins at once: the later event overtakes the one given up."""

    class Prompt(Archive):
        gate, asked = None, ()

        async def publish(self, topic, event):
            await anyio.lowlevel.checkpoint_if_cancelled()
            self.asked += (event.data,)
            if event.data == "1":
                await anyio.sleep_forever()
            position = self.publish_now(topic, event)
            await anyio.lowlevel.cancel_shielded_checkpoint()
            return position

    async def publish():
        with raises("ClosedResourceError"):
            await hub.publish("a", "2")

    for _ in range(20):
        engine = Prompt()
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(2):
                async with open_hub(engine=engine) as hub:
                    hub.publish_nowait("a", "1")
                    group.start_soon(publish)
                    await anyio.sleep_forever()
        assert engine.asked == ("1",)
