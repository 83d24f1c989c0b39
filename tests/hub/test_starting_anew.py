"""A store that was emptied and starts anew, under another epoch: what subscriptions are told."""

import random
from contextlib import asynccontextmanager

import anyio
import pytest

from fakes import FakeClient, serving
from trio_sse import (
    AccessDeniedError,
    CloseReason,
    EventSourceResponse,
    Record,
    ServerSentEvent,
    open_hub,
)

from .kit import (
    Archive,
    Pausing,
    Witness,
    behind,
    enter_and_read_into,
    publish_all,
    raises,
    read_from,
    read_into,
    seen,
    take,
    take_all,
)

pytestmark = pytest.mark.anyio


async def test_a_subscription_is_told_once_and_gets_all_that_is_published_then():
    witness, engine = Witness(), Archive()
    async with open_hub(engine=engine, instrument=witness) as hub, hub.subscribe("a") as reader:
        await publish_all(hub, "a", "123")
        assert await take(reader, 2) == ["<ready>", "1"]
        engine.start_anew()
        await publish_all(hub, "a", "45")
        assert await reader.receive() == ServerSentEvent(
            '{"reason":"restarted"}', event="reset", id="archivex-0"
        )
        assert await reader.receive() == ServerSentEvent("4", id="archivex-1")
        await hub.publish("a", "6")
        assert await take_all(reader) == ["5", "6"]
        assert hub.statistics().resets == {"restarted": 1}
        assert hub.statistics().lagged == 0
    assert witness.gaps == [("reset", ("a",), "restarted")]


async def test_a_subscription_that_waits_is_woken():
    engine, received = Archive(), []
    async with open_hub(engine=engine) as hub, anyio.create_task_group() as group:
        for topics in ("a", "ab"):
            group.start_soon(enter_and_read_into, received, hub.subscribe(*topics))
        await anyio.sleep(1)
        engine.start_anew()
        await anyio.sleep(1)
        assert received == ["<ready>"] * 2 + ["<restarted>"] * 2
        await hub.publish("a", "1")
        await anyio.sleep(1)
        assert received[4:] == ["1"] * 2
        group.cancel_scope.cancel()


async def test_a_subscription_that_was_made_before_and_is_entered_after_is_told():
    engine, readers = Archive(), []
    async with open_hub(engine=engine) as hub:
        await hub.publish("a", "1")
        for last_event_id in (None, "archive-1", "earliest"):
            reader = hub.subscribe("a", last_event_id=last_event_id)
            await hub.publish("a", "2")
            readers.append(reader)
        engine.start_anew(kept=1)
        await hub.publish("a", "3")
        for reader in readers:
            async with reader:
                assert await take_all(reader) == ["<restarted>", "old 1", "3"]


async def test_one_that_has_not_read_that_it_is_ready_is_told_nothing_else():
    engine = Archive()
    async with open_hub(engine=engine) as hub:
        async with hub.subscribe("a") as reader, hub.subscribe("a", last_event_id="?") as other:
            engine.start_anew()
            engine.start_anew()
            for each in (reader, other):
                event = await each.receive()
                assert (seen(event), event.id) == ("<restarted>", "archivexx-0")
                assert await take_all(each) == []


async def test_a_revoked_one_is_told_that_and_no_more():
    engine = Archive()
    async with open_hub(engine=engine) as hub:
        async with hub.subscribe("a", key=1) as reader:
            await take(reader, 1)
            hub.revoke(key=1)
            engine.start_anew()
            await hub.publish("a", "1")
            assert await take_all(reader) == ["<revoked>"]
            assert reader.close_reason is CloseReason.REVOKED
        async with hub.subscribe("a", key=1) as reader:
            engine.start_anew()
            hub.revoke(key=1)
            assert await take_all(reader) == ["<revoked>"]
        assert hub.statistics().resets == {}


async def test_one_that_was_disconnected_for_being_slow_stays_so():
    engine = Archive()
    async with open_hub(engine=engine, max_events=1) as hub:
        async with hub.subscribe("a", slow_consumer="disconnect") as reader:
            await publish_all(hub, "a", "12")
            engine.lost = 2
            assert await take_all(reader) == ["<ready>"]
            engine.start_anew()
            await hub.publish("a", "3")
            assert await take_all(reader) == []
            assert reader.close_reason is CloseReason.LAGGED


@pytest.mark.parametrize("slow_consumer", ["reset", "disconnect"])
@pytest.mark.parametrize("found", [True, False], ids=["found", "lost"])
async def test_what_was_being_read_from_the_engine_is_not_received(found, slow_consumer):
    engine = Pausing()
    async with open_hub(engine=engine, max_events=1) as hub:
        async with behind(hub, slow_consumer=slow_consumer) as (reader, received):
            engine.start_anew()
            engine.publish_now("a", ServerSentEvent("new"))
            engine.has_lost = lambda topics, position: not found
            engine.answer.set()
    assert received == ["<restarted>", "new"]
    assert reader.close_reason is None
    assert hub.statistics().lagged == 0


async def test_one_that_is_being_authorized_is_told():
    async def authorize(topics):
        engine.start_anew()
        return True

    engine = Archive()
    async with open_hub(engine=engine, max_age=5) as hub:
        async with hub.subscribe("a", authorize=authorize) as reader:
            assert hub.statistics().topics == 1
            assert hub.statistics().resets == {"restarted": 1}
            assert await take_all(reader) == ["<restarted>"]
        assert hub.statistics().topics == 1
        await anyio.sleep(6)
        assert hub.statistics().topics == 0


async def test_one_that_is_refused_leaves_nothing_behind():
    async def authorize(topics):
        engine.start_anew()
        return False

    engine = Archive()
    async with open_hub(engine=engine) as hub:
        with pytest.raises(AccessDeniedError):
            await read_from(hub, "a", authorize=authorize)
        assert (hub.statistics().subscribers, hub.statistics().topics) == (0, 0)


async def test_it_starts_anew_while_the_engine_is_asked_how_far_it_reaches():
    engine = Pausing(1000, 5)
    async with open_hub(engine=engine) as hub, anyio.create_task_group() as group:

        @group.start_soon
        async def come_back():
            async with hub.subscribe("a", last_event_id="archive-2") as reader:
                assert await take_all(reader) == ["<restarted>", "1"]

        await engine.asked.wait()
        engine.start_anew()
        engine.publish_now("a", ServerSentEvent("1"))
        engine.answer.set()


async def test_two_tasks_that_read_one_subscription_are_told_once():
    engine, received = Archive(), []
    async with open_hub(engine=engine) as hub, hub.subscribe("a") as reader:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(read_into, received, reader)
            await anyio.sleep(1)
            engine.start_anew()
            engine.publish_now("a", ServerSentEvent("1"))
            await anyio.sleep(1)
            group.cancel_scope.cancel()
    assert sorted(received) == ["1", "<ready>", "<restarted>"]


async def test_a_topic_is_not_forgotten_while_one_that_was_told_reads_it():
    engine = Archive()
    async with open_hub(engine=engine, max_age=5) as hub:
        async with hub.subscribe("a", "b") as reader:
            engine.start_anew()
            assert hub.statistics().topics == 0
            assert await take_all(reader) == ["<restarted>"]
            await anyio.sleep(50)
            assert hub.statistics().topics == 2
        assert hub.statistics().topics == 2
        await anyio.sleep(5.1)
        assert hub.statistics().topics == 0


async def test_one_that_is_left_before_it_read_on_leaves_nothing_behind():
    engine = Archive()
    async with open_hub(engine=engine) as hub:
        async with hub.subscribe("a"):
            engine.start_anew()
        async with hub.subscribe("a", key=1) as revoked:
            engine.start_anew()
            hub.revoke(key=1)
            assert await take_all(revoked) == ["<revoked>"]
        assert (hub.statistics().topics, hub.statistics().subscribers) == (0, 0)


async def test_what_the_store_has_again_already_is_received_and_was_not_published_here():
    witness, engine = Witness(), Archive()
    async with open_hub(engine=engine, instrument=witness) as hub, hub.subscribe("a") as reader:
        await take(reader, 1)
        engine.start_anew(kept=3)
        assert await take_all(reader) == ["<restarted>", "old 1", "old 2", "old 3"]
        assert await read_from(hub, "a", last_event_id="archivex-2") == ["<resumed>", "old 3"]
        assert await read_from(hub, "a") == ["<ready>"]
        assert hub.statistics().published == 0
    assert witness.gaps == witness.told


async def test_clients_come_back_to_the_new_epoch_and_not_to_the_old():
    engine = Archive()
    async with open_hub(engine=engine) as hub:
        [old] = await publish_all(hub, "a", "1")
        engine.start_anew()
        new, _ = await publish_all(hub, "a", "23")
        assert (old, new) == ("archive-1", "archivex-1")
        assert await read_from(hub, "a", last_event_id=old) == ["<restarted>"]
        assert await read_from(hub, "a", last_event_id=new) == ["<resumed>", "3"]
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", "2", "3"]


async def test_the_log_is_as_bounded_as_before():
    engine = Archive()
    async with open_hub(engine=engine, max_events=2) as hub:
        await publish_all(hub, "a", "123")
        engine.start_anew(kept=5)
        assert hub.statistics().log_length == 2
        await publish_all(hub, "a", "123")
        assert hub.statistics().log_length == 2
        assert hub.statistics().published == 6


async def test_one_that_was_told_to_end_is_told_of_it_too_and_ends():
    engine = Archive()
    async with open_hub(engine=engine) as hub:
        reader = hub.subscribe("a")
        await reader.__aenter__()
        await hub.publish("a", "1")
        engine.start_anew()
        await hub.publish("a", "2")
    assert [seen(event) async for event in reader] == ["<restarted>", "2"]
    await reader.__aexit__(None, None, None)


async def test_a_response_tells_its_client():
    engine, client = Archive(), FakeClient()
    async with open_hub(engine=engine) as hub:
        async with serving(client, EventSourceResponse(hub.subscribe("a"), ping=0)):
            await client.wait_for_body(b"ready")
            engine.start_anew()
            await publish_all(hub, "a", "12")
            await client.wait_for_body(b"data: 2")
    assert [event.last_event_id for event in client.events] == [
        *["archive-0", "archivex-0", "archivex-1", "archivex-2"]
    ]


@pytest.mark.parametrize("max_events", [1000, 2])
@pytest.mark.parametrize("seed", range(5))
async def test_no_reader_misses_an_event_of_an_epoch_that_it_was_told_of(seed, max_events):
    chance = random.Random(seed)
    engine, published, received = Archive(page=3), {"archive": []}, {n: [] for n in range(5)}

    async def read(n):
        async with hub.subscribe("a") as reader:
            async for event in reader:
                received[n].append((event.id.partition("-")[0], seen(event)))
                await anyio.sleep(chance.random() * n)

    async with open_hub(engine=engine, max_events=max_events) as hub:
        async with anyio.create_task_group() as group:
            for n in received:
                group.start_soon(read, n)
            await anyio.sleep(1)
            for n in range(200):
                if chance.random() < 0.05:
                    engine.start_anew()
                    published[engine.epoch] = []
                engine.publish_now("a", ServerSentEvent(n))
                published[engine.epoch].append(str(n))
                await anyio.sleep(chance.random())
            await anyio.sleep(1000)
            group.cancel_scope.cancel()
    assert len(published) > 3
    for got in received.values():
        epochs = list(dict.fromkeys(epoch for epoch, _ in got))
        assert epochs == [epoch for epoch in published if epoch in epochs]
        assert epochs[-1] == engine.epoch
        for epoch in epochs:
            first, *events = [text for of, text in got if of == epoch]
            assert first == ("<ready>" if epoch == "archive" else "<restarted>")
            assert events == published[epoch][: len(events)]
        assert len(events) == len(published[engine.epoch])
        assert hub.statistics().resets.keys() == {"restarted"}


async def test_a_hub_that_waits_for_what_it_was_promised_waits_no_more():
    class Promising(Archive):
        async def publish(self, topic, event):
            self.records.append(Record(1, topic, event))
            return 1

    engine = Promising()
    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine, close_timeout=10) as hub:
            await hub.publish("a", "1")
            began = anyio.current_time()

            @group.start_soon
            async def later():
                await anyio.sleep(3)
                engine.start_anew()

        assert anyio.current_time() == began + 3


async def test_entered_after_it_has_started_anew_is_counted_once():
    witness = Witness()
    engine = Archive()
    async with open_hub(engine=engine, instrument=witness) as hub:
        await publish_all(hub, "a", "123")
        reader = hub.subscribe("a")
        engine.start_anew()
        async with reader:
            assert await take_all(reader) == ["<restarted>"]
    assert hub.statistics().resets == {"restarted": 1}
    assert witness.gaps == [("reset", ("a",), "restarted")]


async def test_it_starts_anew_while_the_engine_is_asked_whether_it_reaches():
    class Asked(Archive):
        async def reaches(self, topics, position):
            self.start_anew()
            return False

    engine = Asked()
    async with open_hub(engine=engine, max_events=1) as hub:
        ids = await publish_all(hub, "a", "123")
        assert await read_from(hub, "a", last_event_id=ids[0]) == ["<restarted>"]
    assert hub.statistics().resets == {"restarted": 1}


async def test_a_revoked_one_that_has_not_read_on_is_given_no_id_of_the_new_epoch():
    engine = Archive()
    async with open_hub(engine=engine) as hub:
        async with hub.subscribe("a", key=1) as reader:
            await publish_all(hub, "a", "123")
            assert await take(reader, 4) == ["<ready>", *"123"]
            engine.start_anew()
            await publish_all(hub, "a", "4")
            hub.revoke(key=1)
            event = await reader.receive()
            assert seen(event) == "<revoked>"
            assert event.id is None  # so the client keeps the last one, which is of the old


async def test_anew_after_close_reads_nothing_that_came_after():
    class Closing(Archive):
        @asynccontextmanager
        async def open(self, sink):
            async with super().open(sink):
                yield
                self.start_anew()
                for n in range(3):
                    self.publish_now("a", ServerSentEvent(f"late {n}"))
                await anyio.sleep(1)

    async def read():
        async with hub.subscribe("a") as reader:
            received.extend([seen(event) async for event in reader])

    engine, received = Closing(), []
    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine) as hub:
            group.start_soon(read)
            await publish_all(hub, "a", "12")
            await anyio.sleep(1)
    assert [text for text in received if "late" in text] == []


async def test_a_frozen_reader_does_not_keep_the_events_of_the_old_epoch():
    """Each restart would leave a log of up to max_bytes, never trimmed, for as long as it stays."""
    engine = Archive()
    async with open_hub(engine=engine) as hub, hub.subscribe("a"):
        await publish_all(hub, "a", "123")
        old = hub._feed.log
        engine.start_anew()
        assert len(old) == 0


class Behind(Archive):
    """Has not heard that its store has started anew until it is asked."""

    async def refresh(self):
        await anyio.sleep(1)
        if self.epoch == "archive":
            self.start_anew()
            for n in range(3):
                self.publish_now("a", ServerSentEvent(n))


async def test_a_client_whose_id_is_of_an_epoch_that_is_not_known_yet_goes_on_there():
    async with open_hub(engine=Behind()) as hub:
        assert await read_from(hub, "a", last_event_id="archivex-1") == ["<resumed>", "1", "2"]
        assert hub.statistics().resets == {}


@pytest.mark.parametrize("id_", ["elsewhere-1", "archivexx-1"])
async def test_a_client_whose_id_is_of_no_epoch_gets_what_has_come_since(id_):
    async with open_hub(engine=Behind()) as hub:
        assert await read_from(hub, "a", last_event_id=id_) == ["<restarted>", "0", "1", "2"]
        assert hub.statistics().resets == {"restarted": 1}


async def test_an_engine_that_is_closed_while_it_looks_is_a_hub_that_is_closed():
    class Closing(Archive):
        async def refresh(self):
            await anyio.sleep(1)
            raise LookupError

    async def subscribe(error):
        with error:
            async with hub.subscribe("a", last_event_id="other-1"):
                pass

    async with open_hub(engine=Closing()) as hub:
        await subscribe(pytest.raises(LookupError))
        async with anyio.create_task_group() as group:
            group.start_soon(subscribe, raises("ClosedResourceError"))
            await anyio.sleep(0.5)
            hub._feed.close()
