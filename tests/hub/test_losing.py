"""Records that the store cannot deliver any more: who has missed something, and who has not."""

import anyio
import pytest

from trio_sse import MemoryEngine, ServerSentEvent, open_hub

from .kit import (
    Late,
    Witness,
    enter_and_read_into,
    position_of,
    publish_all,
    raises,
    read_from,
    seen,
    take,
    take_all,
)

pytestmark = pytest.mark.anyio


def publish_elsewhere(engine, topic, count):
    for n in range(count):
        engine.publish_now(topic, ServerSentEvent(f"elsewhere {n}"))


@pytest.mark.parametrize("slow_consumer", ["reset", "disconnect"])
async def test_who_missed_something_is_told_and_who_did_not_goes_on(slow_consumer):
    witness, engine = Witness(), Late()
    options = {"slow_consumer": slow_consumer}
    async with open_hub(engine=engine, instrument=witness) as hub:
        async with hub.subscribe("a", **options) as a, hub.subscribe("quiet", **options) as quiet:
            assert await take(a, 1) == await take(quiet, 1) == ["<ready>"]
            publish_elsewhere(engine, "a", 5)
            engine.lose(kept=0)
            assert await a.receive() == ServerSentEvent(
                '{"reason":"expired"}', event="reset", id="archive-5"
            )
            for topic in ("a", "quiet"):
                await hub.publish(topic, f"{topic} goes on")
            engine.catch_up()
            assert await take_all(a) == ["a goes on"]
            assert await take_all(quiet) == ["quiet goes on"]
            assert a.close_reason is quiet.close_reason is None
        statistics = hub.statistics()
        assert (statistics.lagged, statistics.resets) == (0, {"expired": 1})
    assert witness.gaps == [("reset", ("a",), "expired")]


async def test_those_who_wait_are_woken():
    engine, received = Late(), []
    async with open_hub(engine=engine) as hub, anyio.create_task_group() as group:
        for topics in (["a"], ["a", "b"], ["quiet"]):
            group.start_soon(enter_and_read_into, received, hub.subscribe(*topics))
        await anyio.sleep(1)
        publish_elsewhere(engine, "a", 1)
        engine.lose(kept=0)
        await anyio.sleep(1)
        assert received == ["<ready>"] * 3 + ["<expired>"] * 2
        engine.publish_now("quiet", ServerSentEvent("psst"))
        engine.catch_up()
        await anyio.sleep(1)
        assert received[5:] == ["psst"]
        group.cancel_scope.cancel()


async def test_what_the_engine_still_has_is_read_and_nobody_is_told():
    engine = Late()
    async with open_hub(engine=engine) as hub, hub.subscribe("a") as reader:
        await take(reader, 1)
        publish_elsewhere(engine, "a", 3)
        engine.lose(kept=3)
        assert await take_all(reader) == ["elsewhere 0", "elsewhere 1", "elsewhere 2"]
        assert hub.statistics().resets == {}


async def test_with_an_engine_that_reads_nothing_everyone_is_told():
    engine = MemoryEngine()
    async with open_hub(engine=engine) as hub:
        async with hub.subscribe("a") as reader, hub.subscribe("quiet") as quiet:
            assert await take(reader, 1) == ["<ready>"]
            await hub.publish("a", "1")
            hub._feed.lost(7)
            assert await take_all(reader) == ["<expired>"]
            assert await take_all(quiet) == ["<ready>", "<expired>"]
        assert (hub.statistics().lagged, hub.statistics().resets) == (0, {"expired": 2})
        assert hub.statistics().log_length == hub.statistics().log_bytes == 0


async def test_who_comes_back_from_before_is_told_if_it_has_missed_something():
    engine = Late()
    async with open_hub(engine=engine) as hub:
        await hub.publish("a", "1")
        publish_elsewhere(engine, "a", 4)
        engine.lose(kept=2)
        assert await read_from(hub, "a", last_event_id="archive-2") == ["<expired>"]
        kept = ["elsewhere 2", "elsewhere 3"]
        assert await read_from(hub, "a", last_event_id="archive-3") == ["<resumed>", *kept]
        assert await read_from(hub, "quiet", last_event_id="archive-0") == ["<resumed>"]
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", *kept]


async def test_who_subscribes_after_it_begins_there():
    engine = Late()
    async with open_hub(engine=engine) as hub:
        publish_elsewhere(engine, "a", 4)
        engine.lose(kept=0)
        async with hub.subscribe("a") as reader:
            event = await reader.receive()
            assert (seen(event), position_of(event)) == ("<ready>", 4)
            assert await take_all(reader) == []
        assert engine.reads == []


async def test_who_subscribed_before_it_and_is_entered_after_is_told_once():
    engine = Late()
    async with open_hub(engine=engine) as hub:
        reader, quiet = hub.subscribe("a"), hub.subscribe("quiet")
        publish_elsewhere(engine, "a", 4)
        engine.lose(kept=0)
        async with reader, quiet:
            assert await take_all(reader) == ["<expired>"]
            assert await take_all(quiet) == ["<ready>"]
        assert hub.statistics().resets == {"expired": 1}


async def test_who_is_too_slow_after_it_lags():
    engine = Late()
    async with open_hub(engine=engine, max_events=1) as hub:
        async with hub.subscribe("a", slow_consumer="disconnect") as reader:
            publish_elsewhere(engine, "a", 2)
            engine.lose(kept=0)
            assert await take_all(reader) == ["<ready>", "<expired>"]
            publish_elsewhere(engine, "a", 2)
            engine.catch_up()
            engine.lost = 4
            with raises("EndOfChannel"):
                await reader.receive()
        assert (hub.statistics().lagged, hub.statistics().resets) == (1, {"expired": 1})


async def test_a_hub_that_waits_for_what_is_lost_waits_no_more():
    engine = Late()
    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine, close_timeout=10) as hub:
            await publish_all(hub, "a", "12")
            began = anyio.current_time()

            @group.start_soon
            async def later():
                await anyio.sleep(3)
                engine.lose(kept=0)

        assert anyio.current_time() == began + 3
