"""An engine that keeps more than the log of the hub."""

import anyio
import pytest

from trio_sse import (
    AccessDeniedError,
    CloseReason,
    MemoryEngine,
    ServerSentEvent,
    open_hub,
)
from trio_sse._subscription import cursor_of

from .kit import (
    Archive,
    Late,
    Pausing,
    Witness,
    behind,
    position_of,
    publish_all,
    read_from,
    read_into,
    seen,
    take,
    take_all,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("page", [1, 3, 64, 1000])
@pytest.mark.parametrize("max_events", [1, 2, 50, 99])
async def test_who_falls_off_the_log_reads_on_from_the_engine(page, max_events):
    engine = Archive(page)
    async with open_hub(engine=engine, max_events=max_events) as hub:
        async with hub.subscribe("a") as reader:
            await publish_all(hub, "a", range(100))
            expected = ["<ready>", *map(str, range(100))]
            assert await take_all(reader) == expected
            assert engine.reads != []
            engine.reads.clear()
            await hub.publish("a", "live")
            assert await take_all(reader) == ["live"]
            assert engine.reads == [], "the log has it"
        statistics = hub.statistics()
        assert (statistics.lagged, statistics.delivered, statistics.resets) == (0, 101, {})


@pytest.mark.parametrize("limit", [1, 30, 500, 10_000])
async def test_a_reader_of_bytes_reads_from_the_engine_in_pages(limit):
    engine = Archive()
    async with open_hub(engine=engine, max_events=10) as hub:
        async with hub.subscribe("a", "b") as reader:
            for n in range(300):
                await hub.publish("abc"[n % 3], n)
            cursor, events = cursor_of(reader), []
            await cursor.read(limit)
            while len(events) < 200:
                batch = await cursor.read(limit)
                sizes = [len(event.encode()) for event in batch]
                assert sum(sizes[:-1]) < limit
                events.extend(batch)
    assert [event.data for event in events] == [str(n) for n in range(300) if n % 3 != 2]
    assert [position_of(event) for event in events] == [n + 1 for n in range(300) if n % 3 != 2]
    assert {limit_ for _, _, limit_ in engine.reads} == {1 if limit == 1 else 64}
    assert {topics for topics, _, _ in engine.reads} == {("a", "b")}


async def test_a_client_comes_back_further_than_the_log_reaches():
    engine = Archive(page=2)
    async with open_hub(engine=engine, max_events=3) as hub:
        ids = await publish_all(hub, "a", range(10))
        for n, id_ in enumerate(ids):
            assert await read_from(hub, "a", last_event_id=id_) == [
                "<resumed>",
                *map(str, range(n + 1, 10)),
            ]
        assert hub.statistics().resets == {}


async def test_a_client_comes_back_to_what_was_before_the_hub():
    async with open_hub(engine=Archive(before=5)) as hub:
        await hub.publish("a", "new")
        expected = ["<resumed>", "old 3", "old 4", "old 5", "new"]
        assert await read_from(hub, "a", last_event_id="archive-2") == expected
        assert await read_from(hub, "a") == ["<ready>"]


async def test_earliest_is_all_that_the_engine_has():
    engine = Archive(before=5)
    async with open_hub(engine=engine, max_events=2) as hub:
        await publish_all(hub, "a", "123")
        old = [f"old {n}" for n in range(1, 6)]
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", *old, *"123"]
        engine.lost = 4
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", "old 5", *"123"]
        assert hub.statistics().resets == {}


async def test_earliest_is_what_the_log_has_if_that_is_more():
    engine = Archive()
    async with open_hub(engine=engine, max_events=2) as hub:
        await publish_all(hub, "a", "123")
        engine.lost = 3
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", "2", "3"]


async def test_what_an_engine_has_kept_is_replayed_and_was_not_published_here():
    witness, engine = Witness(), Archive(before=5, kept=3)
    async with open_hub(engine=engine, instrument=witness) as hub:
        statistics = hub.statistics()
        assert (statistics.published, statistics.log_length, witness.told) == (0, 3, [])
        for last_event_id, expected in [("archive-2", "345"), ("archive-4", "5")]:
            assert await read_from(hub, "a", last_event_id=last_event_id) == [
                "<resumed>",
                *(f"old {n}" for n in expected),
            ]
        assert engine.reads == [], "the log has it"
        async with hub.subscribe("a") as reader:
            assert position_of(await reader.receive()) == 5
            await hub.publish("a", "new")
            assert await take_all(reader) == ["new"]
        assert hub.statistics().published == 1


async def test_what_is_kept_has_its_id_and_is_encoded_as_the_hub_writes():
    async with open_hub(engine=Archive(before=3, kept=3), sep="\n") as hub:
        async with hub.subscribe("a", last_event_id="archive-2") as reader:
            await take(reader, 1)
            event = await reader.receive()
    assert event == ServerSentEvent("old 3", id="archive-3")
    assert event.encode("\n") == b"id: archive-3\ndata: old 3\n\n"


async def test_an_id_that_has_not_arrived_here_is_resumed_if_the_engine_knows_it():
    """The client comes from another process."""
    engine = Late()
    async with open_hub(engine=engine) as hub:
        for n in range(1, 6):
            engine.publish_now("a", ServerSentEvent(n))
        async with hub.subscribe("a", last_event_id="archive-3") as reader:
            event = await reader.receive()
            assert (seen(event), event.id) == ("<resumed>", "archive-3")
            engine.catch_up()
            assert await take_all(reader) == ["4", "5"]
        assert hub.statistics().resets == {}


async def test_an_id_that_neither_this_process_nor_the_engine_knows_is_unknown():
    engine = Late()
    async with open_hub(engine=engine) as hub:
        await publish_all(hub, "a", "12")
        engine.catch_up()
        assert await read_from(hub, "a", last_event_id="archive-2") == ["<resumed>"]
        async with hub.subscribe("a", last_event_id="archive-3") as reader:
            event = await reader.receive()
            assert (seen(event), event.id) == ("<unknown>", "archive-2")
        assert hub.statistics().resets == {"unknown": 1}


LARGE = "x" * 200


async def test_an_event_that_is_larger_than_the_log_is_read_from_the_engine():
    """Another process has a larger one."""
    engine = Archive()
    async with open_hub(engine=engine, max_bytes=100) as hub:
        async with hub.subscribe("a") as reader, hub.subscribe("b") as other:
            for topic, text in [("a", "1"), ("b", "2"), ("a", LARGE), ("a", "3")]:
                engine.publish_now(topic, ServerSentEvent(text))
            assert await take_all(reader) == ["<ready>", "1", LARGE, "3"]
            engine.reads.clear()
            assert await take_all(other) == ["<ready>", "2"]
            assert engine.reads == []
        statistics = hub.statistics()
        assert (statistics.published, statistics.log_length, statistics.lagged) == (4, 3, 0)


async def test_who_waits_is_woken_by_an_event_that_is_larger_than_the_log():
    engine, received = Archive(), []
    async with open_hub(engine=engine, max_bytes=100) as hub:
        async with hub.subscribe("a") as reader, anyio.create_task_group() as group:
            group.start_soon(read_into, received, reader)
            await anyio.sleep(1)
            engine.publish_now("a", ServerSentEvent(LARGE))
            await anyio.sleep(1)
            group.cancel_scope.cancel()
    assert received == ["<ready>", LARGE]


async def test_an_event_that_is_larger_than_the_log_and_not_in_the_engine_makes_a_reader_lag():
    engine = Archive()
    async with open_hub(engine=engine, max_bytes=100) as hub:
        async with hub.subscribe("a") as reader, hub.subscribe("b") as other:
            engine.publish_now("b", ServerSentEvent("1"))
            engine.publish_now("a", ServerSentEvent(LARGE))
            engine.lost = 2
            assert await take_all(reader) == ["<ready>", "<lagged>"]
            assert await take_all(other) == ["<ready>", "1"]
        assert hub.statistics().lagged == 1


async def test_an_event_from_the_engine_has_its_id_and_is_encoded_as_the_hub_writes():
    async with open_hub(engine=Archive(before=3), sep="\n") as hub:
        async with hub.subscribe("a", last_event_id="archive-2") as reader:
            await take(reader, 1)
            event = await reader.receive()
    assert event == ServerSentEvent("old 3", id="archive-3")
    assert event.encode("\n") == b"id: archive-3\ndata: old 3\n\n"


async def test_pages_without_any_of_the_topics_are_passed_over():
    engine = Archive(page=5)
    async with open_hub(engine=engine, max_events=2) as hub:
        async with hub.subscribe("rare", "unused") as reader:
            await take(reader, 1)
            for n in range(100):
                await hub.publish("rare" if n % 30 == 29 else "busy", n)
            assert await take_all(reader) == ["29", "59", "89"]
        assert len(engine.reads) < 30


async def test_an_engine_that_has_lost_what_a_client_comes_back_for_has_expired_it():
    engine = Archive()
    async with open_hub(engine=engine, max_events=2) as hub:
        ids = await publish_all(hub, "a", range(10))
        engine.lost = 5
        assert await read_from(hub, "a", last_event_id=ids[3]) == ["<expired>"]
        assert await read_from(hub, "a", last_event_id=ids[4]) == ["<resumed>", *"56789"]
        assert hub.statistics().resets == {"expired": 1}
        assert hub.statistics().lagged == 0


@pytest.mark.parametrize("slow_consumer", ["reset", "disconnect"])
async def test_an_engine_that_loses_what_a_reader_is_about_to_read_makes_it_lag_once(slow_consumer):
    engine = Archive(page=2)
    async with open_hub(engine=engine, max_events=2) as hub:
        async with hub.subscribe("a", slow_consumer=slow_consumer) as reader:
            await publish_all(hub, "a", range(10))
            assert await take(reader, 4) == ["<ready>", *"012"]
            engine.lost = 6
            if slow_consumer == "reset":
                assert await take_all(reader) == ["<lagged>"]
                await hub.publish("a", "live")
                assert await take_all(reader) == ["live"]
            else:
                assert await take_all(reader) == []
                assert reader.close_reason is CloseReason.LAGGED
        assert hub.statistics().lagged == 1


async def test_a_read_that_is_cancelled_loses_nothing():
    class Slow(Archive):
        async def answering(self):
            await anyio.sleep(1)

    async with open_hub(engine=Slow(page=3), max_events=1) as hub:
        async with hub.subscribe("a") as reader:
            await publish_all(hub, "a", range(10))
            assert await take(reader, 1) == ["<ready>"]
            for n in range(10):
                with anyio.move_on_after(0.5) as scope:
                    await reader.receive()
                assert scope.cancelled_caught == (n < 9), "the last is in the log"
                if n < 9:
                    assert seen(await reader.receive()) == str(n)


async def test_an_engine_that_cannot_be_asked_is_heard_and_asked_again():
    class Away(Archive):
        away = False

        async def answering(self):
            if self.away:
                raise ConnectionError("the store is away")

    engine = Away()
    async with open_hub(engine=engine, max_events=1) as hub:
        async with hub.subscribe("a") as reader:
            await publish_all(hub, "a", range(4))
            assert await take(reader, 2) == ["<ready>", "0"]
            engine.away = True
            for _ in range(2):
                with pytest.raises(ConnectionError, match="the store is away"):
                    await reader.receive()
            engine.away = False
            assert await take_all(reader) == ["1", "2", "3"]


async def test_an_engine_that_cannot_be_asked_when_a_client_comes_back_is_heard():
    class Away(Archive):
        async def reaches(self, topics, position):
            raise ConnectionError("the store is away")

    async with open_hub(engine=Away(), max_events=1) as hub:
        first, *_ = await publish_all(hub, "a", range(4))
        with pytest.raises(ConnectionError):
            await read_from(hub, "a", last_event_id=first)
        assert hub.statistics().subscribers == 0


async def test_an_engine_that_cannot_say_what_its_earliest_is_is_heard():
    class Away(Archive):
        async def earliest(self):
            raise ConnectionError("the store is away")

    async with open_hub(engine=Away()) as hub:
        with pytest.raises(ConnectionError, match="the store is away"):
            await read_from(hub, "a", last_event_id="earliest")
        assert hub.statistics().subscribers == 0


async def test_what_is_published_while_the_engine_is_asked_comes_after():
    engine = Pausing()
    async with open_hub(engine=engine, max_events=1) as hub:
        async with behind(hub) as (_, received):
            await publish_all(hub, "a", range(5, 10))
            engine.answer.set()
            await anyio.sleep(1)
            await hub.publish("a", "10")
    assert received == [str(n) for n in range(11)]


async def test_a_revocation_while_the_engine_is_asked_ends_the_subscription():
    engine = Pausing()
    async with open_hub(engine=engine, max_events=1) as hub:
        async with behind(hub, key=1) as (reader, received):
            hub.revoke(key=1)
            engine.answer.set()
    assert received == ["<revoked>"]
    assert reader.close_reason is CloseReason.REVOKED


@pytest.mark.parametrize("slow_consumer", ["reset", "disconnect"])
async def test_a_revocation_while_the_engine_is_losing_it_is_all_that_is_said(slow_consumer):
    engine = Pausing()
    async with open_hub(engine=engine, max_events=1) as hub:
        async with behind(hub, key=1, slow_consumer=slow_consumer) as (reader, received):
            engine.lost = 6
            hub.revoke(key=1)
            engine.answer.set()
    assert received == ["<revoked>"]
    assert reader.close_reason is CloseReason.REVOKED
    assert hub.statistics().lagged == 0


async def test_of_two_tasks_that_ask_the_engine_one_gets_each_event():
    class OneByOne(Archive):
        """The first is answered last."""

        async def answering(self):
            await anyio.sleep(10 if len(self.reads) == 1 else 1)

    received = []
    async with open_hub(engine=OneByOne(), max_events=1) as hub, hub.subscribe("a") as reader:
        await take(reader, 1)
        await publish_all(hub, "a", range(6))
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(read_into, received, reader)
            await anyio.sleep(100)
            group.cancel_scope.cancel()
    assert received == list(map(str, range(6)))


async def test_a_revocation_while_the_engine_is_asked_whether_it_reaches_refuses():
    engine = Pausing(1000, 5)
    async with open_hub(engine=engine) as hub, anyio.create_task_group() as group:

        @group.start_soon
        async def enter():
            with pytest.raises(AccessDeniedError):
                await read_from(hub, "a", key=1, last_event_id="archive-2")

        await engine.asked.wait()
        assert hub.revoke(key=1) == 1
        engine.answer.set()


async def test_who_reads_from_the_engine_when_the_hub_is_closed_ends_and_can_come_back():
    async with open_hub(engine=Archive(), max_events=1) as hub:
        reader = hub.subscribe("a")
        await reader.__aenter__()
        await publish_all(hub, "a", range(5))
        assert await take(reader, 2) == ["<ready>", "0"]
    assert [seen(event) async for event in reader] == []
    await reader.__aexit__(None, None, None)


async def test_who_waits_for_the_engine_when_the_hub_is_closed_ends_in_order():
    engine = Pausing()
    async with anyio.create_task_group() as group:
        reader = None

        async def open_and_close():
            nonlocal reader
            async with open_hub(engine=engine, max_events=1) as hub:
                reader = hub.subscribe("a")
                await reader.__aenter__()
                await take(reader, 1)
                await publish_all(hub, "a", range(5))
                await engine.asked.wait()
            engine.answer.set()

        group.start_soon(open_and_close)
        await anyio.sleep(1)
        received = [seen(event) async for event in reader]
    assert received == list(map(str, range(len(received))))
    await reader.__aexit__(None, None, None)


async def test_an_engine_keeps_no_more_than_the_log_unless_it_says_so():
    engine = MemoryEngine()
    assert await engine.reaches(["a"], 0) is False
    assert await engine.earliest() is None
    assert await engine.read(["a"], 0, 10) is None
