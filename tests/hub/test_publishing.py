"""Publishing to a hub: at once, without waiting, from threads."""

import itertools
import logging
import threading
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from stepping import Steps, counted
from trio_sse import (
    MemoryEngine,
    ServerSentEvent,
    open_hub,
)
from trio_sse._runtime import current_runtime

from .kit import Held, enter_and_read_into, publish_all, raises, seen, take

pytestmark = pytest.mark.anyio


class Refusing(MemoryEngine):
    """Accepts no event that is bad."""

    async def publish(self, topic, event):
        if event.data == "bad":
            raise LookupError("the store is away")
        return await super().publish(topic, event)


async def test_publish_returns_the_id_of_the_event():
    engine = MemoryEngine()
    async with open_hub(engine=engine) as hub:
        ids = [await hub.publish(topic, "x") for topic in ("a", "b", "a")]
        assert ids == [f"{engine.epoch}-{n}" for n in (1, 2, 3)]


async def test_each_hub_has_an_epoch_of_its_own():
    async with open_hub() as one, open_hub() as other:
        ids = [await one.publish("a", "x"), await other.publish("a", "x")]
        assert ids[0] != ids[1]
        assert [id_.partition("-")[2] for id_ in ids] == ["1", "1"]


def test_an_epoch_is_made_of_letters_and_digits():
    assert all(MemoryEngine().epoch.isalnum() for _ in range(100))
    assert len({MemoryEngine().epoch for _ in range(100)}) == 100


async def test_a_publish_that_is_cancelled_has_published_nothing():
    async with open_hub() as hub:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await hub.publish("a", "never")
        assert scope.cancelled_caught
        assert hub.statistics().published == 0
        assert (await hub.publish("a", "first")).endswith("-1")


async def test_what_is_published_is_anything_but_raw_bytes():
    items = [ServerSentEvent("event"), "text", {"data": "dict", "retry": 5}, 7, None, ["list"]]
    async with open_hub() as hub, hub.subscribe("a") as subscription:
        await publish_all(hub, "a", items)
        expected = ["<ready>", "event", "text", "dict", "7", "None", "['list']"]
        assert await take(subscription, 7) == expected


async def test_an_event_that_is_published_stays_as_it_is():
    event = ServerSentEvent("x")
    async with open_hub() as hub:
        first, second = await publish_all(hub, "a", [event, event])
        assert first != second
    assert event == ServerSentEvent("x")
    assert event.encode() == b"data: x\r\n\r\n"


@pytest.mark.parametrize("pattern", list(itertools.product("ant", repeat=3)), ids="".join)
async def test_what_one_task_publishes_is_in_order_in_whatever_way_it_does(pattern):
    async with open_hub() as hub, hub.subscribe("a", "b") as subscription:
        for n in range(12):
            way, topic = pattern[n % 3], "ab"[n % 2]
            if way == "a":
                await hub.publish(topic, n)
            elif way == "n":
                hub.publish_nowait(topic, n)
            else:
                hub.publish_from_thread(topic, n)
        assert await take(subscription, 13) == ["<ready>", *map(str, range(12))]


async def test_what_one_thread_publishes_is_in_order():
    async with open_hub(outbox_size=10_000) as hub, hub.subscribe("a") as subscription:

        def publish(letter):
            for n in range(200):
                hub.publish_from_thread("a", f"{letter}{n}")

        threads = [threading.Thread(target=publish, args=(letter,)) for letter in "xyz"]
        for thread in threads:
            thread.start()
        received = [seen(await subscription.receive()) for _ in range(601)][1:]
        for thread in threads:
            thread.join()
    for letter in "xyz":
        assert [data for data in received if data[0] == letter] == [
            f"{letter}{n}" for n in range(200)
        ]


async def test_who_waits_for_the_outbox_is_woken_when_its_turn_has_come(anyio_backend_name):
    steps = Steps(at=0, action=lambda: None)
    with steps.counting(anyio_backend_name):
        async with open_hub() as hub, anyio.create_task_group() as group:
            for n in range(100):
                hub.publish_nowait("a", n)
            token = counted.set(True)
            group.start_soon(hub.publish, "a", "last")
            counted.reset(token)
    assert hub.statistics().published == 101
    assert 0 < steps.taken < 10


async def test_those_who_gave_up_waiting_for_the_outbox_leave_nothing_behind():
    engine = Held("1")
    async with open_hub(engine=engine) as hub:
        hub.publish_nowait("a", "1")
        for _ in range(10):
            with anyio.move_on_after(1):
                await hub.publish("a", "2")
        assert len(hub._outbox._awaited) == 1
        engine.let_go("1")
        await hub.publish("a", "3")
        assert not hub._outbox._awaited
    assert engine.asked == ["1", "3"]


async def test_publishing_from_within_publishing_blocks_nobody():
    """As a signal handler does."""
    async with open_hub() as hub, hub.subscribe("a") as reader:
        call_soon = hub._outbox._call_soon
        handlers = [partial(hub.publish_from_thread, "a", "from a handler")]

        def interrupted(function):
            for handler in [handlers.pop() for _ in handlers]:
                handler()
            call_soon(function)

        hub._outbox._call_soon = interrupted
        hub.publish_from_thread("a", "1")
        assert await take(reader, 3) == ["<ready>", "1", "from a handler"]


async def test_a_publish_waits_for_what_was_accepted_before_it():
    engine = Held("1")
    async with open_hub(engine=engine) as hub, anyio.create_task_group() as group:
        hub.publish_nowait("a", "1")
        hub.publish_from_thread("a", "2")
        group.start_soon(hub.publish, "a", "3")
        await anyio.sleep(1)
        assert engine.asked == ["1"]
        engine.let_go("1")
        await anyio.sleep(1)
        assert engine.asked == ["1", "2", "3"]


async def test_a_publish_does_not_wait_for_what_was_accepted_after_it():
    engine = Held("1", "3")
    async with open_hub(engine=engine) as hub, anyio.create_task_group() as group:
        hub.publish_nowait("a", "1")
        group.start_soon(hub.publish, "a", "2")
        await anyio.sleep(1)
        hub.publish_nowait("a", "3")
        engine.let_go("1")
        await anyio.sleep(1)
        assert sorted(engine.asked) == ["1", "2", "3"]
        assert hub.statistics().published == 2
        engine.let_go("3")


async def test_several_wait_for_the_outbox_each_for_as_long_as_it_must():
    engine = Held("1", "2", "3")
    returned = []

    async def publish(item):
        await hub.publish("a", item)
        returned.append(item)

    async with open_hub(engine=engine) as hub, anyio.create_task_group() as group:
        for n in ("1", "2", "3"):
            hub.publish_nowait("a", n)
            group.start_soon(publish, f"after {n}")
            await anyio.sleep(1)
        for n in ("1", "2", "3"):
            assert returned == [f"after {before}" for before in range(1, int(n))]
            engine.let_go(n)
            await anyio.sleep(1)
    assert returned == ["after 1", "after 2", "after 3"]


async def test_a_publisher_that_waits_can_be_cancelled():
    engine = Held("1")
    async with open_hub(engine=engine) as hub:
        hub.publish_nowait("a", "1")
        with anyio.move_on_after(1) as scope:
            await hub.publish("a", "2")
        assert scope.cancelled_caught
        engine.let_go("1")
        await hub.publish("a", "3")
        assert engine.asked == ["1", "3"]


async def test_a_full_outbox_accepts_nothing():
    engine = Held("1")
    async with open_hub(engine=engine, outbox_size=2) as hub:
        hub.publish_nowait("a", "1")
        hub.publish_nowait("a", "2")
        for publish in (hub.publish_nowait, hub.publish_from_thread):
            with raises("WouldBlock", match=r"the outbox is full \(outbox_size=2\)"):
                publish("a", "3")
        await anyio.sleep(1)
        with raises("WouldBlock"):  # what is being published has not been
            hub.publish_nowait("a", "3")
        assert hub.statistics().outbox_length == 2
        engine.let_go("1")
        await anyio.sleep(1)
        assert hub.statistics().outbox_length == 0
        hub.publish_nowait("a", "4")
        await anyio.sleep(1)
        assert engine.asked == ["1", "2", "4"]


async def test_a_thousand_events_are_accepted_without_waiting_by_default():
    async with open_hub() as hub:
        for n in range(1000):
            hub.publish_nowait("a", n)
        with raises("WouldBlock"):
            hub.publish_nowait("a", "one more")
    assert hub.statistics().published == 1000


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
                await anyio.sleep(5)
                with raises("ClosedResourceError"):
                    hub.publish_nowait("a", "the outbox is closed")
                engine.let_go("1")

            began = anyio.current_time()
        assert anyio.current_time() == began + 5
    assert engine.asked == ["1", "2"]


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


async def test_an_error_of_the_engine_in_the_outbox_is_logged_and_what_follows_is_published(caplog):
    async with open_hub(engine=Refusing()) as hub, hub.subscribe("a") as subscription:
        for item in ("1", "bad", "2"):
            hub.publish_nowait("a", item)
        hub.publish_from_thread("a", "bad")
        await hub.publish("a", "3")  # of the errors of others it hears nothing
        assert await take(subscription, 4) == ["<ready>", "1", "2", "3"]
    assert [record.message for record in caplog.records] == [
        "an event for topic 'a' could not be published"
    ] * 2
    assert caplog.records[0].levelno == logging.ERROR
    assert "LookupError: the store is away" in caplog.text


async def test_an_error_of_the_engine_reaches_who_publishes():
    async with open_hub(engine=Refusing()) as hub:
        with pytest.raises(LookupError, match="the store is away"):
            await hub.publish("a", "bad")
        assert (await hub.publish("a", "good")).endswith("-1")


async def test_publish_nowait_in_a_thread_names_the_other_method():
    async with open_hub() as hub:
        with pytest.raises(RuntimeError, match="use publish_from_thread"):
            await anyio.to_thread.run_sync(hub.publish_nowait, "a", "x")
        assert hub.statistics().outbox_length == 0


async def test_publish_from_thread_works_in_any_thread():
    async with open_hub() as hub, hub.subscribe("a") as subscription:
        await subscription.receive()
        await anyio.to_thread.run_sync(hub.publish_from_thread, "a", "worker")
        assert (await subscription.receive()).data == "worker"
        thread = threading.Thread(target=hub.publish_from_thread, args=("a", "plain"))
        thread.start()
        assert (await subscription.receive()).data == "plain"
        thread.join()
        hub.publish_from_thread("a", "own")
        assert (await subscription.receive()).data == "own"


async def test_what_is_wrong_is_raised_in_the_thread():
    async with open_hub() as hub:
        for topic, event, error in [
            ("", "x", ValueError),
            ("a", b"x", TypeError),
            ("a", ServerSentEvent("x", id=1), ValueError),
        ]:
            with pytest.raises(error):
                await anyio.to_thread.run_sync(hub.publish_from_thread, topic, event)
    with raises("ClosedResourceError"):
        await anyio.to_thread.run_sync(hub.publish_from_thread, "a", "x")


async def test_what_a_thread_has_published_while_the_hub_was_closed_is_published():
    """Each event is either refused, in the thread, or published: never lost."""
    accepted, full, closed = [], current_runtime().WouldBlock, current_runtime().ClosedResourceError

    def publish(name):
        for n in itertools.count():
            try:
                hub.publish_from_thread("a", n)
            except full:
                continue
            except closed:
                return
            accepted.append((name, n))

    for _ in range(5):
        accepted.clear()
        async with open_hub() as hub:
            threads = [threading.Thread(target=publish, args=(n,)) for n in range(3)]
            for thread in threads:
                thread.start()
            while hub.statistics().published < 50:
                await anyio.lowlevel.checkpoint()
        for thread in threads:
            thread.join()
        assert hub.statistics().published == len(accepted)
