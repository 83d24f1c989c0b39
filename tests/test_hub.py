"""A hub in one process: publishing, subscribing, coming back, and leaving."""

import asyncio
import gc
import itertools
import json
import logging
import random
import threading
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio
import trio.testing

from stepping import Steps, counted
from trio_sse import (
    AccessDeniedError,
    CloseReason,
    Engine,
    Instrument,
    JSONServerSentEvent,
    MemoryEngine,
    Record,
    ServerSentEvent,
    open_hub,
)
from trio_sse._feed import Feed, Wording
from trio_sse._history import Bounds, Log
from trio_sse._instrument import HubObserver
from trio_sse._runtime import current_runtime
from trio_sse._subscription import cursor_of
from trio_sse.testing import VirtualTimeLoop

pytestmark = pytest.mark.anyio

UNREADABLE = [
    "x",
    "1",
    "-",
    "-1",
    "{epoch}",
    "{epoch}-",
    "{epoch}--1",
    "{epoch}-+1",
    "{epoch}-01",
    "{epoch}-1 ",
    "{epoch}-1.0",
    "{epoch}-1_0",
    "{epoch}-1-1",
    "{epoch}-0x1",
    "{epoch}-\u0661",  # a digit one, to Unicode
    "{epoch}-\u00b9",
    "{epoch}-\ufffd",
    "{epoch}-\ud800",
    "{epoch}-1\udc80",
    "{epoch} -1",
    "\u00e9poch-1",
    "\ud800-1",
    "\ufffd-1",
    " {epoch}-1",
    "{epoch}-1\n",
    "a b-1",
    "Earliest",
    "earliest ",
    "other-",
    "other-x",
    "{epoch}-" + "1" * 120,
    "e" * 127 + "-1",
    "1" * 100_000,
]


class Archive(Engine):
    """Keeps all events in a list, so more than the log of its hub.

    Args:
        page: How many events, of whatever topics, it looks at in one read.
        before: How many events there are that the hub has never been delivered.
    """

    def __init__(self, page=1000, before=0):
        self.records = [Record(n + 1, "a", ServerSentEvent(f"old {n + 1}")) for n in range(before)]
        self.lost = 0
        self.page = page
        self.reads = []
        self.open_now = False

    epoch = "archive"

    @asynccontextmanager
    async def open(self, deliver):
        self._deliver = deliver
        self.open_now = True
        try:
            yield len(self.records)
        finally:
            self.open_now = False

    async def publish(self, topic, event):
        await anyio.lowlevel.checkpoint()
        return self.publish_now(topic, event)

    def publish_now(self, topic, event):
        """What another process does: deliver without a step of any task of this one."""
        record = Record(len(self.records) + 1, topic, event)
        self.records.append(record)
        self._deliver(record)
        return record.position

    async def reaches(self, topics, position):
        await anyio.lowlevel.checkpoint()
        return position >= self.lost

    async def read(self, topics, position, limit):
        self.reads.append((topics, position, limit))
        await self.answering()
        if position < self.lost:
            return None
        looked_at = self.records[position : position + self.page]
        found = [record for record in looked_at if record.topic in topics][:limit]
        if len(found) == limit:
            return found, found[-1].position
        return found, position + len(looked_at)

    async def answering(self):
        await anyio.lowlevel.checkpoint()


class Held(MemoryEngine):
    """Keeps what it is to publish until it is let go."""

    def __init__(self, *held):
        super().__init__()
        self.gates = {data: anyio.Event() for data in held}
        self.asked = []

    def let_go(self, data):
        self.gates[data].set()

    async def publish(self, topic, event):
        self.asked.append(event.data)
        if event.data in self.gates:
            await self.gates[event.data].wait()
        return await super().publish(topic, event)


class Refusing(MemoryEngine):
    """Accepts no event that is bad."""

    async def publish(self, topic, event):
        if event.data == "bad":
            raise LookupError("the store is away")
        return await super().publish(topic, event)


class Witness(Instrument):
    """Notes what it is told."""

    def __init__(self):
        self.told = []

    def published(self, topic, event):
        self.told.append(("published", topic, event))

    def reset(self, topics, reason):
        self.told.append(("reset", topics, reason))

    def lagged(self, topics):
        self.told.append(("lagged", topics))


def raises(name, **options):
    """Expect an exception of the runtime, by trio's name."""
    if trio.lowlevel.in_trio_run():
        return pytest.raises(getattr(trio, name), **options)
    name = {"EndOfChannel": "EndOfStream"}.get(name, name)
    return pytest.raises(getattr(anyio, name), **options)


def seen(event):
    """What an event tells a client: its data, or what the hub says in it."""
    if event.event == "ready":
        return "<resumed>" if json.loads(event.data)["resumed"] else "<ready>"
    if event.event in ("reset", "revoked"):
        return f"<{json.loads(event.data)['reason']}>"
    return event.data


async def take(subscription, count):
    """Receive so many events, which must all be there."""
    with anyio.fail_after(1):
        return [seen(await subscription.receive()) for _ in range(count)]


async def take_all(subscription):
    """Receive what there is."""
    received = []
    with anyio.move_on_after(1):
        await read_into(received, subscription)
    return received


async def read_into(received, subscription):
    """Receive until the end, or until cancelled."""
    async for event in subscription:
        received.append(seen(event))


async def publish_all(hub, topic, items):
    return [await hub.publish(topic, item) for item in items]


async def read_from(hub, *topics, **options):
    """Subscribe, and receive what there is."""
    async with hub.subscribe(*topics, **options) as subscription:
        return await take_all(subscription)


async def enter_and_read_into(received, subscription):
    with anyio.fail_after(1000):
        async with subscription:
            await read_into(received, subscription)


def position_of(event):
    return int(event.id.rpartition("-")[2])


def living_tasks():
    if trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


def run_trio(main):
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def run_asyncio(main):
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


# --- publishing ---------------------------------------------------------------------------


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


# --- the life of a hub --------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        LookupError("mine"),
        ExceptionGroup("mine", [LookupError()]),
        ExceptionGroup("mine", [ExceptionGroup("inner", [LookupError()])]),
        ExceptionGroup("mine", [LookupError(), KeyError()]),
        BaseExceptionGroup("mine", [KeyboardInterrupt()]),
        KeyboardInterrupt(),
        SystemExit(3),
    ],
    ids=repr,
)
async def test_what_the_block_raises_leaves_as_itself(error):
    engine = Archive()

    async def main():
        async with open_hub(engine=engine):
            raise error

    with pytest.raises(type(error)) as caught:
        await main()
    # trio's nurseries make a copy of a group.
    assert caught.value is error or isinstance(error, BaseExceptionGroup)
    assert repr(caught.value) == repr(error)
    assert not engine.open_now


async def test_a_cancellation_goes_through():
    engine = Archive()
    with anyio.move_on_after(3) as scope:
        async with open_hub(engine=engine):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert not engine.open_now


async def test_nothing_of_a_hub_outlives_it():
    tasks = living_tasks()
    for cancelled in (False, True):
        with anyio.CancelScope() as scope:
            async with open_hub() as hub, hub.subscribe("a") as subscription:
                await take(subscription, 1)
                assert living_tasks() == tasks + 1
                if cancelled:
                    scope.cancel()
                await anyio.lowlevel.checkpoint()
        assert living_tasks() == tasks


async def test_a_hub_that_was_left_is_garbage():
    class Marked(MemoryEngine):
        pass

    async with open_hub(engine=Marked()) as hub, hub.subscribe("a") as subscription:
        await hub.publish("a", "x")
        await take(subscription, 2)
    del hub, subscription
    await anyio.lowlevel.checkpoint()
    gc.collect()
    assert [found for found in gc.get_objects() if isinstance(found, Marked)] == []


async def test_an_engine_that_was_used_before_is_refused_by_name():
    engine = MemoryEngine()
    async with open_hub(engine=engine):
        pass
    with pytest.raises(RuntimeError, match="MemoryEngine serves one hub, once"):
        async with open_hub(engine=engine):
            pass


async def test_a_memory_engine_that_serves_no_hub_publishes_nothing():
    engine, delivered = MemoryEngine(), []
    with raises("ClosedResourceError"):
        await engine.publish("a", ServerSentEvent("x"))
    async with engine.open(delivered.append) as start:
        assert start == 0
        assert await engine.publish("a", ServerSentEvent("x")) == 1
    with raises("ClosedResourceError"):
        await engine.publish("a", ServerSentEvent("x"))
    assert delivered == [Record(1, "a", ServerSentEvent("x"))]


def test_a_hub_is_made_outside_of_an_event_loop_and_opened_inside():
    opening = open_hub()

    async def main():
        async with opening as hub:
            return await hub.publish("a", "x")

    assert trio.run(main).endswith("-1")


async def test_a_hub_whose_engine_takes_its_time_to_close_accepts_nothing_more():
    class Slow(MemoryEngine):
        @asynccontextmanager
        async def open(self, deliver):
            async with super().open(deliver) as start:
                yield start
                await anyio.sleep(10)

    async def publish():
        await anyio.sleep(5)
        with raises("ClosedResourceError", match="the hub is closed"):
            await hub.publish("a", "late")

    async with anyio.create_task_group() as group:
        async with open_hub(engine=Slow()) as hub:
            group.start_soon(publish)
    assert hub.statistics().published == 0


async def test_a_closed_hub_refuses_everything():
    async with open_hub() as hub:
        early = hub.subscribe("a")
    with raises("ClosedResourceError", match="the hub is closed"):
        hub.subscribe("a")
    with raises("ClosedResourceError", match="the hub is closed"):
        async with early:
            pass
    with raises("ClosedResourceError", match="the hub is closed"):
        await hub.publish("a", "x")
    with raises("ClosedResourceError", match="the hub is closed"):
        hub.publish_nowait("a", "x")
    with raises("ClosedResourceError", match="the hub is closed"):
        hub.publish_from_thread("a", "x")
    assert hub.revoke(key="nobody") == 0
    assert hub.statistics().subscribers == 0


async def test_a_subscription_ends_when_the_hub_is_closed_while_it_waits():
    received, ends = [], []

    async def receive(subscription):
        async with subscription:
            await take(subscription, 1)
            with raises("EndOfChannel"):
                await subscription.receive()
            with raises("EndOfChannel"):
                await subscription.receive()
            ends.append(subscription.close_reason)

    async with anyio.create_task_group() as group:
        async with open_hub() as hub:
            group.start_soon(enter_and_read_into, received, hub.subscribe("a"))
            group.start_soon(receive, hub.subscribe("a"))
            await anyio.sleep(5)
    assert received == ["<ready>"]
    assert ends == [None]


async def test_what_was_published_before_the_close_is_still_received():
    async with open_hub() as hub:
        subscription, late = hub.subscribe("a"), hub.subscribe("a", "b")
        await subscription.__aenter__()
        await late.__aenter__()
        await take(late, 1)
        await publish_all(hub, "a", "123")
        hub.publish_nowait("b", "4")
    for reader, expected in [(subscription, ["<ready>", "1", "2", "3"]), (late, ["1", "2", "3"])]:
        for text in expected:
            assert seen(await reader.receive()) == text
    assert seen(await late.receive()) == "4"
    for reader in (subscription, late):
        with raises("EndOfChannel"):
            await reader.receive()
        await reader.__aexit__(None, None, None)
        with raises("ClosedResourceError"):
            await reader.receive()
    assert hub.statistics().subscribers == 0


async def test_what_comes_after_the_close_is_not_read():
    """An engine may deliver until its own context is left."""
    engine, received = Archive(), []

    class Closing(Archive):
        @asynccontextmanager
        async def open(self, deliver):
            async with super().open(deliver) as start:
                yield start
                self.publish_now("a", ServerSentEvent("late"))
                await anyio.sleep(1)

    engine = Closing()
    async with anyio.create_task_group() as group:
        async with open_hub(engine=engine) as hub:
            group.start_soon(enter_and_read_into, received, hub.subscribe("a"))
            await hub.publish("a", "1")
            await anyio.sleep(1)
    assert received == ["<ready>", "1"]
    assert hub.statistics().published == 2


async def test_a_subscription_ends_when_the_block_of_the_hub_is_cancelled():
    received = []
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(5):
            async with open_hub() as hub:
                group.start_soon(enter_and_read_into, received, hub.subscribe("a"))
                await hub.publish("a", "1")
                await anyio.sleep_forever()
    assert received == ["<ready>", "1"]


# --- what is received ---------------------------------------------------------------------


async def test_ready_comes_first_with_the_position_as_its_id():
    async with open_hub() as hub:
        last = (await publish_all(hub, "b", "12"))[-1]
        async with hub.subscribe("a") as subscription:
            assert await subscription.receive() == ServerSentEvent(
                '{"resumed":false}', event="ready", id=last
            )


async def test_what_was_published_before_is_not_received():
    async with open_hub() as hub:
        await publish_all(hub, "a", "12")
        subscription = hub.subscribe("a")
        await publish_all(hub, "a", "34")
        async with subscription:
            await publish_all(hub, "a", "56")
            assert await take_all(subscription) == ["<ready>", "3", "4", "5", "6"]


async def test_ready_has_the_position_of_subscribe_not_of_entering():
    async with open_hub() as hub:
        first = await hub.publish("a", "1")
        subscription = hub.subscribe("a")
        await hub.publish("a", "2")
        async with subscription:
            assert (await subscription.receive()).id == first


async def test_topics_are_received_in_the_order_of_publication():
    async with open_hub() as hub, hub.subscribe("b", "a", "c") as subscription:
        for n, topic in enumerate("aabcbdacb"):
            await hub.publish(topic, f"{n}{topic}")
        assert await take_all(subscription) == [
            "<ready>",
            *["0a", "1a", "2b", "3c", "4b", "6a", "7c", "8b"],
        ]


async def test_a_topic_that_is_named_twice_is_read_once():
    async with open_hub() as hub, hub.subscribe("b", "a", "b", "a") as subscription:
        assert subscription.topics == ("b", "a")
        await publish_all(hub, "b", "12")
        assert await take_all(subscription) == ["<ready>", "1", "2"]


@pytest.mark.parametrize("sep", ["\r\n", "\n", "\r"])
async def test_an_event_is_received_as_it_was_published_with_its_id(sep):
    events = [
        ServerSentEvent("two\nlines\r\nand three", event="e"),
        ServerSentEvent("x", comment="a comment\nof two lines", retry=10),
        ServerSentEvent("x", event="message"),
        ServerSentEvent("", event=""),
        ServerSentEvent(event="no data"),
        ServerSentEvent(retry=0),
        ServerSentEvent(comment="nothing else"),
        ServerSentEvent("\u2028\U0001f600\0"),
        JSONServerSentEvent({"a": [1, "\n"]}, event="json"),
    ]
    async with open_hub(sep=sep) as hub, hub.subscribe("a") as subscription:
        ids = await publish_all(hub, "a", events)
        await subscription.receive()
        received = [await subscription.receive() for _ in events]
    for event, id_, got in zip(events, ids, received, strict=True):
        fields = {"event": event.event, "retry": event.retry, "comment": event.comment}
        assert got == ServerSentEvent(event.data, id=id_, **fields)
        assert got.encode(sep) == f"id: {id_}{sep}".encode() + event.encode(sep)


@pytest.mark.parametrize("sep", ["\r\n", "\n"])
async def test_an_event_is_encoded_once_for_all(sep):
    class Counting(ServerSentEvent):
        encoded = 0

        def _text(self, sep):
            type(self).encoded += 1
            return super()._text(sep)

    async with open_hub(sep=sep) as hub:
        event = Counting("x")
        async with hub.subscribe("a") as one, hub.subscribe("a", "b") as other:
            await hub.publish("a", event)
            received = []
            for subscription in (one, other):
                await subscription.receive()
                received.append(await subscription.receive())
            async with hub.subscribe("a", last_event_id="earliest") as replayed:
                await replayed.receive()
                received.append(await replayed.receive())
    bodies = [got.encode(sep) for got in received]
    assert bodies[0] is bodies[1] is bodies[2]
    assert Counting.encoded == 1


async def test_the_names_of_what_the_hub_says_can_be_chosen():
    async with open_hub(ready="go", reset="gap", revoked="out", max_events=1) as hub:
        async with hub.subscribe("a", key=1) as subscription:
            assert (await subscription.receive()).event == "go"
            await publish_all(hub, "a", "12")
            assert (await subscription.receive()).event == "gap"
            hub.revoke(key=1)
            assert (await subscription.receive()).event == "out"
        async with hub.subscribe("a", last_event_id="?") as subscription:
            assert (await subscription.receive()).event == "gap"


async def test_a_subscription_is_iterated():
    async with open_hub() as hub:
        await publish_all(hub, "a", "123")
        received = []
        async with hub.subscribe("a", last_event_id="earliest") as subscription:
            async for event in subscription:
                received.append(seen(event))
                if len(received) == 3:
                    break
            assert await take(subscription, 1) == ["3"]
    assert received == ["<ready>", "1", "2"]


async def test_every_receive_is_a_checkpoint():
    async with open_hub() as hub, hub.subscribe("a") as subscription:
        await publish_all(hub, "a", "12")
        for expected in ("<ready>", "1", "2"):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await subscription.receive()
            assert scope.cancelled_caught
            assert await take(subscription, 1) == [expected]


async def test_a_subscription_must_be_entered_with_async_with():
    async with open_hub() as hub:
        subscription = hub.subscribe("a")
        with pytest.raises(RuntimeError, match="async with"):
            async for _ in subscription:
                pass
        with pytest.raises(RuntimeError, match="async with"):
            await subscription.receive()
        async with subscription:
            assert await take(subscription, 1) == ["<ready>"]


async def test_a_subscription_is_entered_once():
    async with open_hub() as hub:
        async with hub.subscribe("a") as subscription:
            with pytest.raises(RuntimeError, match="subscribe again"):
                await subscription.__aenter__()
            assert await take(subscription, 1) == ["<ready>"]
        with pytest.raises(RuntimeError, match="subscribe again"):
            async with subscription:
                pass
        assert hub.statistics().subscribers == 0


async def test_a_subscription_that_was_left_before_it_was_entered_is_not_entered():
    """A response leaves it so to a client that it refuses."""
    async with open_hub() as hub:
        subscription = hub.subscribe("a")
        await subscription.__aexit__(None, None, None)
        with pytest.raises(RuntimeError, match="subscribe again"):
            await subscription.__aenter__()
        assert hub.statistics().subscribers == 0


async def test_a_subscription_that_was_left_receives_nothing_more():
    async with open_hub() as hub:
        async with hub.subscribe("a") as subscription:
            await hub.publish("a", "1")
        with raises("ClosedResourceError", match="the subscription is closed"):
            await subscription.receive()
        with raises("ClosedResourceError", match="the subscription is closed"):
            await anext(subscription)
        assert subscription.close_reason is None
        async with hub.subscribe("a") as subscription:
            assert await take(subscription, 1) == ["<ready>"]
        with raises("ClosedResourceError"), anyio.fail_after(1):
            await subscription.receive()


async def test_leaving_a_subscription_wakes_the_task_that_waits():
    async with open_hub() as hub, anyio.create_task_group() as group:
        async with hub.subscribe("a") as subscription:
            await take(subscription, 1)

            @group.start_soon
            async def wait():
                with raises("ClosedResourceError"):
                    await subscription.receive()

            await anyio.sleep(1)


async def test_subscribe_can_be_called_in_a_thread():
    async with open_hub() as hub:
        subscription = await anyio.to_thread.run_sync(hub.subscribe, "a")
        await hub.publish("a", "1")
        async with subscription:
            assert [seen(await subscription.receive()) for _ in "12"] == ["<ready>", "1"]


@pytest.mark.parametrize("limit", [1, 20, 21, 100, 10_000])
async def test_a_reader_of_bytes_gets_events_up_to_its_limit(limit):
    """The event that reaches it included; what the hub says comes alone."""
    async with open_hub() as hub, hub.subscribe("a") as subscription:
        await publish_all(hub, "a", range(100))
        cursor, events = cursor_of(subscription), []
        assert len(await cursor.read(limit)) == 1
        while len(events) < 100:
            batch = await cursor.read(limit)
            sizes = [len(event.encode()) for event in batch]
            assert sum(sizes[:-1]) < limit
            assert sum(sizes) >= limit or len(events) + len(batch) == 100
            events.extend(batch)
        assert hub.statistics().delivered == 100
    assert [event.data for event in events] == [str(n) for n in range(100)]


# --- coming back --------------------------------------------------------------------------


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


# --- falling behind -----------------------------------------------------------------------


async def test_a_reader_that_falls_off_the_log_is_told_once_and_goes_on_from_the_end():
    witness = Witness()
    async with open_hub(max_events=3, instrument=witness) as hub, hub.subscribe("a") as reader:
        await take(reader, 1)
        await publish_all(hub, "a", "123")
        assert await take(reader, 1) == ["1"]
        ids = await publish_all(hub, "a", "456")
        event = await reader.receive()
        assert event == ServerSentEvent('{"reason":"lagged"}', event="reset", id=ids[-1])
        assert await take_all(reader) == []
        await hub.publish("a", "7")
        assert await take_all(reader) == ["7"]
        assert reader.close_reason is None
        assert (hub.statistics().lagged, hub.statistics().resets) == (1, {"lagged": 1})
    assert [told for told in witness.told if told[0] != "published"] == [
        ("lagged", ("a",)),
        ("reset", ("a",), "lagged"),
    ]


async def test_a_reader_may_be_behind_by_all_that_the_log_has():
    async with open_hub(max_events=3) as hub, hub.subscribe("a", "b") as reader:
        await publish_all(hub, "a", "123")
        assert await take_all(reader) == ["<ready>", "1", "2", "3"]
        await publish_all(hub, "c", range(100))
        await publish_all(hub, "a", "456")
        assert await take_all(reader) == ["4", "5", "6"]


async def test_a_reader_falls_behind_by_bytes_and_by_age_too():
    async with open_hub(max_bytes=100, max_age=5) as hub, hub.subscribe("a") as reader:
        await take(reader, 1)
        await publish_all(hub, "a", ["x" * 60, "y" * 60])
        assert await take_all(reader) == ["<lagged>"]
        await hub.publish("a", "1")
        await anyio.sleep(6)
        await hub.publish("b", "2")
        assert await take_all(reader) == ["<lagged>"]


async def test_what_is_said_before_it_falls_behind_is_said():
    async with open_hub(max_events=1) as hub, hub.subscribe("a") as reader:
        await publish_all(hub, "a", "12")
        assert await take_all(reader) == ["<ready>", "<lagged>"]


async def test_a_slow_consumer_can_be_disconnected():
    witness = Witness()
    async with open_hub(max_events=3, instrument=witness) as hub:
        async with hub.subscribe("a", slow_consumer="disconnect") as reader:
            await take(reader, 1)
            await publish_all(hub, "a", "1234")
            with raises("EndOfChannel"):
                await reader.receive()
            assert reader.close_reason is CloseReason.LAGGED
            await hub.publish("a", "5")
            assert await take_all(reader) == []
            assert hub.statistics().subscribers == 1
        assert (hub.statistics().lagged, hub.statistics().resets) == (1, {})
    assert [told for told in witness.told if told[0] != "published"] == [("lagged", ("a",))]


async def test_iteration_ends_when_a_slow_consumer_is_disconnected():
    async with open_hub(max_events=1) as hub:
        async with hub.subscribe("a", slow_consumer="disconnect") as reader:
            await publish_all(hub, "a", "12")
            assert [seen(event) async for event in reader] == ["<ready>"]
        assert reader.close_reason is CloseReason.LAGGED


async def test_the_end_of_a_slow_consumer_is_announced_to_its_response():
    ends = []
    async with open_hub(max_events=1) as hub:
        cursor = cursor_of(hub.subscribe("a", slow_consumer="disconnect"))
        await cursor.enter(ends.append)
        assert len(await cursor.read(1)) == 1
        await publish_all(hub, "a", "12")
        assert ends == []
        assert await cursor.read(1) == []
        assert await cursor.read(1) == []
        assert ends == [CloseReason.LAGGED]
        cursor.close()
        assert hub.revoke(key="nobody") == 0


# --- revoking -----------------------------------------------------------------------------


async def test_those_with_the_key_are_revoked_and_nobody_else():
    async with open_hub() as hub:
        keys = ["me", "me", "you", None, ("me",)]
        readers = [hub.subscribe("a", key=key) for key in keys]
        for reader in readers:
            await reader.__aenter__()
            await take(reader, 1)
        await hub.publish("a", "1")
        assert hub.revoke(key="me") == 2
        await hub.publish("a", "2")
        assert [await take_all(reader) for reader in readers] == [
            ["<revoked>"],
            ["<revoked>"],
            ["1", "2"],
            ["1", "2"],
            ["1", "2"],
        ]
        assert [reader.close_reason for reader in readers] == [
            *[CloseReason.REVOKED] * 2,
            *[None] * 3,
        ]
        for reader in readers:
            await reader.__aexit__(None, None, None)


async def test_revoking_whom_nobody_knows_is_nothing():
    async with open_hub() as hub:
        async with hub.subscribe("a", key="me"):
            assert hub.revoke(key="you") == 0
            assert hub.revoke(key="me") == 1
        assert hub.revoke(key="me") == 0


async def test_everyone_without_a_key_is_not_revoked():
    async with open_hub() as hub, hub.subscribe("a"):
        with pytest.raises(ValueError, match="key must not be None"):
            hub.revoke(key=None)


async def test_who_waits_hears_at_once_that_it_is_revoked():
    received = []
    async with open_hub() as hub, anyio.create_task_group() as group:
        group.start_soon(enter_and_read_into, received, hub.subscribe("a", key=1))
        await anyio.sleep(1)
        hub.revoke(key=1)
        with anyio.fail_after(0.1):
            while hub.statistics().subscribers:
                await anyio.lowlevel.checkpoint()
    assert received == ["<ready>", "<revoked>"]


async def test_who_is_behind_gets_nothing_more_than_that_it_is_revoked():
    async with open_hub() as hub, hub.subscribe("a", key=1) as reader:
        ids = await publish_all(hub, "a", "123")
        assert await take(reader, 2) == ["<ready>", "1"]
        hub.revoke(key=1)
        assert await reader.receive() == ServerSentEvent(
            '{"reason":"revoked"}', event="revoked", id=ids[0]
        )
        with raises("EndOfChannel"):
            await reader.receive()
    async with open_hub(max_events=1) as hub, hub.subscribe("a", key=1) as reader:
        await publish_all(hub, "a", "123")
        hub.revoke(key=1)
        assert await take_all(reader) == ["<revoked>"]
        assert hub.statistics().lagged == 0


async def test_who_has_received_nothing_yet_hears_only_that_it_is_revoked():
    async with open_hub() as hub, hub.subscribe("a", key=1) as reader:
        await hub.publish("a", "1")
        hub.revoke(key=1)
        assert [seen(event) async for event in reader] == ["<revoked>"]


async def test_a_revoked_client_goes_on_where_it_was_if_it_may_again():
    async with open_hub() as hub:
        async with hub.subscribe("a", key=1) as reader:
            await publish_all(hub, "a", "12")
            assert await take(reader, 2) == ["<ready>", "1"]
            hub.revoke(key=1)
            id_ = (await reader.receive()).id
        assert await read_from(hub, "a", key=1, last_event_id=id_) == ["<resumed>", "2"]


async def test_revoking_twice_says_it_once():
    async with open_hub() as hub, hub.subscribe("a", key=1) as reader:
        hub.revoke(key=1)
        hub.revoke(key=1)
        assert await take_all(reader) == ["<revoked>"]
        hub.revoke(key=1)
        assert await take_all(reader) == []
        assert reader.close_reason is CloseReason.REVOKED


async def test_who_was_disconnected_for_being_slow_stays_so():
    async with open_hub(max_events=1) as hub:
        async with hub.subscribe("a", key=1, slow_consumer="disconnect") as reader:
            await publish_all(hub, "a", "12")
            assert await take_all(reader) == ["<ready>"]
            hub.revoke(key=1)
            assert await take_all(reader) == []
            assert reader.close_reason is CloseReason.LAGGED


async def test_a_subscription_that_is_not_entered_yet_is_not_revoked():
    async with open_hub() as hub:
        reader = hub.subscribe("a", key=1)
        assert hub.revoke(key=1) == 0
        async with reader:
            assert await take_all(reader) == ["<ready>"]


async def test_a_subscription_that_is_being_authorized_is_refused():
    async def authorize(topics):
        hub.revoke(key=1)
        return True

    async with open_hub() as hub:
        reader = hub.subscribe("a", key=1, authorize=authorize)
        with pytest.raises(AccessDeniedError, match="revoked before it had begun"):
            async with reader:
                pass
        assert reader.close_reason is CloseReason.REVOKED
        assert hub.statistics().subscribers == 0


async def test_a_revoked_subscription_ends_once_when_the_hub_is_closed_too():
    async with open_hub() as hub:
        reader = hub.subscribe("a", key=1)
        await reader.__aenter__()
        await publish_all(hub, "a", "12")
        hub.revoke(key=1)
    assert [seen(event) async for event in reader] == ["<revoked>"]
    await reader.__aexit__(None, None, None)


async def test_the_end_by_a_revocation_is_announced_to_its_response():
    ends = []
    async with open_hub() as hub:
        cursors = [cursor_of(hub.subscribe("a", key=1)) for _ in range(3)]
        for cursor in cursors:
            await cursor.enter(ends.append)
        cursors[2].close()
        hub.revoke(key=1)
        hub.revoke(key=1)
        assert ends == [CloseReason.REVOKED] * 2
        for cursor in cursors:
            cursor.close()
        assert hub.statistics().subscribers == 0


# --- authorizing --------------------------------------------------------------------------


async def test_authorize_is_asked_with_the_topics_before_anything_else():
    asked = []

    async def authorize(topics):
        asked.append((topics, hub.statistics().subscribers))
        await anyio.sleep(1)
        return True

    async with open_hub() as hub:
        reader = hub.subscribe("b", "a", "b", authorize=authorize)
        assert asked == []
        async with reader:
            await hub.publish("a", "1")
            assert await take_all(reader) == ["<ready>", "1"]
    assert asked == [(("b", "a"), 1)]


async def test_who_may_not_gets_nothing_and_leaves_nothing():
    async def authorize(topics):
        return False

    async with open_hub() as hub:
        with pytest.raises(AccessDeniedError, match="authorize has refused"):
            async with hub.subscribe("a", authorize=authorize):
                pass
        assert hub.statistics().subscribers == 0


async def test_what_authorize_raises_leaves_as_itself():
    error = LookupError("mine")

    async def authorize(topics):
        raise error

    async with open_hub() as hub:
        with pytest.raises(LookupError) as caught:
            async with hub.subscribe("a", authorize=authorize):
                pass
        assert caught.value is error
        assert hub.statistics().subscribers == 0


@pytest.mark.parametrize("answer", [None, 1, 0, "yes", []], ids=repr)
async def test_an_answer_that_is_no_bool_is_refused(answer):
    async def authorize(topics):
        return answer

    async with open_hub() as hub:
        with pytest.raises(TypeError, match="authorize must return True or False, not"):
            async with hub.subscribe("a", authorize=authorize):
                pass


async def test_an_authorize_that_is_not_async_is_refused():
    async with open_hub() as hub:
        with pytest.raises(TypeError, match="authorize must be an async function"):
            async with hub.subscribe("a", authorize=lambda topics: True):
                pass


async def test_entering_can_be_cancelled_and_leaves_nothing():
    async def authorize(topics):
        await anyio.sleep_forever()

    async with open_hub() as hub:
        for asked in (None, authorize):
            with anyio.move_on_after(0 if asked is None else 1) as scope:
                async with hub.subscribe("a", key=1, authorize=asked):
                    pass
            assert scope.cancelled_caught
            assert hub.statistics().subscribers == 0
            assert hub.revoke(key=1) == 0


@pytest.mark.parametrize("answer", [False, LookupError])
async def test_who_is_refused_leaves_no_topic_behind(answer):
    async def authorize(topics):
        if answer is LookupError:
            raise answer
        return answer

    async with open_hub() as hub:
        with pytest.raises((AccessDeniedError, LookupError)):
            async with hub.subscribe("made up", authorize=authorize):
                pass
        assert hub.statistics().topics == 0


async def test_leaving_while_it_is_being_authorized_leaves_nothing_behind():
    async def authorize(topics):
        await anyio.sleep(10)
        return True

    async with open_hub(max_age=1) as hub, anyio.create_task_group() as group:
        subscription = hub.subscribe("a", authorize=authorize, key=1)

        @group.start_soon
        async def enter():
            with raises("ClosedResourceError", match="the subscription is closed"):
                await subscription.__aenter__()

        await anyio.sleep(5)
        await subscription.__aexit__(None, None, None)
        assert hub.statistics().subscribers == 0
        await anyio.sleep(10)
        assert (hub.statistics().topics, hub.revoke(key=1)) == (0, 0)


# --- several tasks, and cancellation ------------------------------------------------------


async def test_two_tasks_share_a_subscription():
    got = {"one": [], "other": []}

    async def receive(name):
        async for event in subscription:
            got[name].append(seen(event))

    async with open_hub() as hub, hub.subscribe("a", "b", key=1) as subscription:
        async with anyio.create_task_group() as group:
            for name in got:
                group.start_soon(receive, name)
            for n in range(50):
                await hub.publish("ab"[n % 2], n)
                if n % 7 == 0:
                    await anyio.sleep(1)
            await anyio.sleep(1)
            hub.revoke(key=1)
    together = got["one"] + got["other"]
    assert sorted(together) == sorted(["<ready>", "<revoked>", *map(str, range(50))])
    for numbers in ([int(data) for data in part if data.isdigit()] for part in got.values()):
        assert numbers == sorted(numbers)


async def test_a_task_that_is_cancelled_takes_no_wake_up_from_the_other():
    got = []

    async def receive():
        got.append(seen(await subscription.receive()))

    async with open_hub() as hub, hub.subscribe("a", "b") as subscription:
        await take(subscription, 1)
        for cancel_first in (True, False):
            async with anyio.create_task_group() as group:
                scopes = [anyio.CancelScope(), anyio.CancelScope()]

                async def receive_in(scope):
                    with scope:
                        await receive()

                for scope in scopes:
                    group.start_soon(receive_in, scope)
                await anyio.sleep(1)
                scopes[0 if cancel_first else 1].cancel()
                await anyio.sleep(1)
                await hub.publish("a", "x")
    assert got == ["x", "x"]


class Sweep:
    """A subscription whose receive() is cancelled before one step of the task that calls it.

    Args:
        at: The number of the step.
        cancel: Cancels, by what the task has put into ``scope`` and ``task``.
        options: Of `open_hub`.
    """

    def __init__(self, at, cancel, **options):
        self.steps = Steps(at, lambda: cancel(self))
        self.hub = open_hub(**options)
        self.got = []
        self.scope = self.task = None

    async def main(self, runtime, read, *others):
        with self.steps.counting(runtime):
            async with self.hub as hub, hub.subscribe("a", "b") as self.subscription:
                with anyio.move_on_after(1000):
                    async with anyio.create_task_group() as group:
                        token = counted.set(True)
                        group.start_soon(read, self)
                        counted.reset(token)
                        for other in others:
                            group.start_soon(other, self)
                        for n in range(12):
                            await hub.publish("ab"[n % 2], n)
                            await hub.publish("other", "x")
                            await anyio.sleep(0.5 if n > 3 else 0)

    async def receive(self):
        self.got.append(seen(await self.subscription.receive()))


ALL = ["<ready>", *map(str, range(12))]


def cancel_scope(sweep):
    if sweep.scope is not None:
        sweep.scope.cancel()


def cancel_task(sweep):
    """Cancel as asyncio does."""
    if sweep.task is not None:
        sweep.task.cancel()


async def receive_again_when_cancelled(sweep):
    if not trio.lowlevel.in_trio_run():
        sweep.task = asyncio.current_task()
    while len(sweep.got) < len(ALL):
        try:
            with anyio.CancelScope() as sweep.scope:
                await sweep.receive()
            if len(sweep.got) == 4:
                await anyio.sleep(3)  # and fall behind
        except asyncio.CancelledError:
            assert not sweep.task.uncancel(), "cancelled from outside"
    sweep.task = None


async def receive_until_cancelled(sweep):
    with anyio.CancelScope() as sweep.scope:
        for _ in range(5):
            await sweep.receive()


async def receive_the_rest(sweep):
    while len(sweep.got) < len(ALL):
        with anyio.move_on_after(1):
            await sweep.receive()


@pytest.mark.parametrize("engine", [MemoryEngine, partial(Archive, page=3)], ids=["memory", "kept"])
@pytest.mark.parametrize(
    ("run", "cancel"),
    [(run_trio, cancel_scope), (run_asyncio, cancel_scope), (run_asyncio, cancel_task)],
    ids=["trio", "asyncio", "asyncio's own"],
)
def test_a_receive_that_is_cancelled_before_whatever_step_loses_nothing(run, cancel, engine):
    runtime = "trio" if run is run_trio else "asyncio"
    for n in itertools.count(1):
        max_events = 100 if engine is MemoryEngine else 2
        sweep = Sweep(n, cancel, engine=engine(), max_events=max_events)
        run(partial(sweep.main, runtime, receive_again_when_cancelled))
        assert sweep.got == ALL, f"cancelled before step {n}"
        if not sweep.steps.acted:
            break
    assert n > len(ALL)


@pytest.mark.parametrize("run", [run_trio, run_asyncio], ids=["trio", "asyncio"])
def test_whoever_is_cancelled_before_whatever_step_the_other_gets_the_rest(run):
    runtime = "trio" if run is run_trio else "asyncio"
    for n in itertools.count(1):
        sweep = Sweep(n, cancel_scope)
        run(partial(sweep.main, runtime, receive_until_cancelled, receive_the_rest))
        assert sweep.got == ALL, f"cancelled before step {n}"
        if not sweep.steps.acted:
            break
    assert n > 5


# --- who is woken -------------------------------------------------------------------------


class FakeReader:
    """A reader that notes what its feed does to it."""

    def __init__(self, *topics, key=None):
        self.topics = topics
        self.key = key
        self.woken = 0
        self.stopped = 0

    def wake(self):
        self.woken += 1

    def stop(self):
        self.stopped += 1


def make_feed():
    wording = Wording("\r\n", "ready", "reset", "revoked")
    feed = Feed(current_runtime(), MemoryEngine(), wording, HubObserver(None))
    feed.log = Log(Bounds(1000, 10**6, 100))
    return feed


def deliver(feed, *topics):
    for topic in topics:
        feed.deliver(Record(feed.log.head + 1, topic, ServerSentEvent("x")))


async def test_a_reader_that_does_not_wait_is_not_woken():
    feed, reader = make_feed(), FakeReader("a")
    feed.add(reader)
    deliver(feed, *"aaa")
    feed.wait(reader)
    feed.wait_no_more(reader)
    deliver(feed, *"aaa")
    assert reader.woken == 0


async def test_a_reader_that_waits_is_woken_once_for_a_burst():
    feed, reader, other = make_feed(), FakeReader("a"), FakeReader("b")
    for each in (reader, other):
        feed.add(each)
        feed.wait(each)
    deliver(feed, *"caaaa")
    assert (reader.woken, other.woken) == (1, 0)
    feed.wait(reader)
    feed.wait(reader)
    deliver(feed, *"ab")
    assert (reader.woken, other.woken) == (2, 1)


async def test_closing_a_feed_stops_each_reader_once():
    feed = make_feed()
    readers = [FakeReader("a", key=key) for key in (1, 1, None)]
    for reader in readers:
        feed.add(reader)
    feed.close()
    assert [reader.stopped for reader in readers] == [1, 1, 1]
    with raises("ClosedResourceError", match="the hub is closed"):
        feed.add(FakeReader("a"))
    for reader in readers:
        feed.remove(reader)
    assert feed.readers == 0


async def test_a_burst_costs_a_waiting_reader_one_wake_up_and_a_step_for_each_event():
    """Of the task that reads; for several topics too."""
    steps = Steps(-1, lambda: None)
    engine, got = Archive(), []
    runtime = "trio" if trio.lowlevel.in_trio_run() else "asyncio"
    with steps.counting(runtime):
        async with open_hub(engine=engine) as hub, hub.subscribe("a", "b") as subscription:
            async with anyio.create_task_group() as group:
                token = counted.set(True)
                group.start_soon(read_into, got, subscription)
                counted.reset(token)
                await anyio.sleep(1)
                taken = []
                for burst in (1, 1, 10):
                    before = steps.taken
                    for n in range(burst):
                        engine.publish_now("ab"[n % 2], ServerSentEvent(n))
                    await anyio.sleep(1)
                    taken.append(steps.taken - before)
                group.cancel_scope.cancel()
    assert got == ["<ready>", "0", "0", *map(str, range(10))]
    assert taken[0] == taken[1] == 1
    assert taken[2] <= 10 * (1 if runtime == "trio" else 2)


async def test_nobody_is_left_waiting():
    async with open_hub() as hub:
        feed = hub._feed
        async with anyio.create_task_group() as group:
            for topics in ("a", "ab", "b"):
                group.start_soon(enter_and_read_into, [], hub.subscribe(*topics))
            await anyio.sleep(1)
            assert {topic: len(waiting) for topic, waiting in feed._waiting.items()} == {
                "a": 2,
                "b": 2,
            }
            await hub.publish("a", "x")
            await anyio.sleep(1)
            group.cancel_scope.cancel()
        assert feed._waiting == feed._readers == {}


# --- what it tells of itself --------------------------------------------------------------


async def test_statistics_tell_of_everything():
    engine = Held("held")
    async with open_hub(engine=engine, max_events=3) as hub:
        statistics = hub.statistics()
        assert statistics.resets == {}
        assert set(vars_of(statistics).values()) == {0}
        async with hub.subscribe("a") as one, hub.subscribe("b", "c") as other:
            await publish_all(hub, "a", "1234")
            await hub.publish("b", "5")
            await take_all(one)
            await take_all(other)
            hub.publish_nowait("a", "held")
            await anyio.sleep(1)
            statistics = hub.statistics()
            assert vars_of(statistics) == {
                "topics": 3,
                "subscribers": 2,
                "log_length": 3,
                "log_bytes": 3 * len("data: 1\r\n\r\n"),
                "outbox_length": 1,
                "published": 5,
                "delivered": 1,  # a reset is no event, and neither is ready
                "lagged": 1,
            }
            assert statistics.resets == {"lagged": 1}
            engine.let_go("held")


def vars_of(statistics):
    return {
        name: getattr(statistics, name)
        for name in type(statistics).__dataclass_fields__
        if name != "resets"
    }


async def test_statistics_are_of_one_moment_and_cannot_be_changed():
    async with open_hub() as hub:
        before = hub.statistics()
        await read_from(hub, "a", last_event_id="?")
        assert before.resets == {}
        assert hub.statistics().resets == {"unknown": 1}
        with pytest.raises(AttributeError):
            before.topics = 5
        with pytest.raises(TypeError):
            before.resets["unknown"] = 5


async def test_resets_are_counted_by_their_reason():
    witness = Witness()
    async with open_hub(max_events=2, instrument=witness) as hub:
        first, *_ = await publish_all(hub, "a", "1234")
        for last_event_id in ("?", "other-1", first, "?", None, "earliest"):
            await read_from(hub, "a", "b", last_event_id=last_event_id)
        assert hub.statistics().resets == {"unknown": 2, "restarted": 1, "expired": 1}
    assert [told[1:] for told in witness.told if told[0] == "reset"] == [
        (("a", "b"), reason) for reason in ("unknown", "restarted", "expired", "unknown")
    ]


async def test_statistics_forget_what_is_too_old():
    async with open_hub(max_age=5) as hub:
        await hub.publish("a", "1")
        await anyio.sleep(5)
        assert hub.statistics().log_length == 1
        await anyio.sleep(1)
        statistics = hub.statistics()
        assert (statistics.log_length, statistics.log_bytes, statistics.topics) == (0, 0, 1)
        await anyio.sleep(6)
        assert hub.statistics().topics == 0


async def test_the_topics_of_those_who_left_are_forgotten_and_of_those_who_stay_are_not():
    async with open_hub(max_age=5) as hub, hub.subscribe("a"):
        for _ in range(3):
            await read_from(hub, "a", "b")
        assert hub.statistics().topics == 2
        await anyio.sleep(5.1)
        assert hub.statistics().topics == 1


async def test_what_each_subscription_reads_is_counted():
    async with open_hub() as hub:
        await publish_all(hub, "a", "123")
        for _ in range(4):
            await read_from(hub, "a", last_event_id="earliest")
        statistics = hub.statistics()
        assert (statistics.published, statistics.delivered) == (3, 12)


async def test_an_instrument_is_told_of_each_event_with_its_id():
    witness = Witness()
    async with open_hub(instrument=witness) as hub:
        ids = [await hub.publish("a", "1")]
        hub.publish_nowait("b", ServerSentEvent("2", event="e"))
        ids.append(await hub.publish("a", "3"))
    assert witness.told == [
        ("published", "a", ServerSentEvent("1", id=ids[0])),
        ("published", "b", ServerSentEvent("2", event="e", id=ids[0][:-1] + "2")),
        ("published", "a", ServerSentEvent("3", id=ids[1])),
    ]


async def test_an_instrument_that_raises_is_logged_once_and_told_nothing_more(caplog):
    class Broken(Instrument):
        told = 0

        def published(self, topic, event):
            self.told += 1
            raise LookupError("broken")

        reset = lagged = published

        def __repr__(self):
            return "Broken()"

    broken = Broken()
    async with open_hub(instrument=broken, max_events=1) as hub, hub.subscribe("a") as reader:
        await publish_all(hub, "a", "123")
        assert await take_all(reader) == ["<ready>", "<lagged>"]
        await read_from(hub, "a", last_event_id="?")
    assert broken.told == 1
    assert [record.message for record in caplog.records] == [
        "Broken() raised; it will be told nothing more"
    ]
    assert "LookupError: broken" in caplog.text


async def test_an_instrument_that_overrides_nothing_is_fine(caplog):
    async with open_hub(instrument=Instrument(), max_events=1) as hub:
        async with hub.subscribe("a") as reader:
            await publish_all(hub, "a", "12")
            assert await take_all(reader) == ["<ready>", "<lagged>"]
    assert caplog.text == ""


# --- an engine that keeps more than the log -----------------------------------------------


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
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", "new"]
        assert await read_from(hub, "a") == ["<ready>"]


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


class Pausing(Archive):
    """Answers when it is told to."""

    def __init__(self, *args):
        super().__init__(*args)
        self.asked = anyio.Event()
        self.answer = anyio.Event()

    async def reaches(self, topics, position):
        await self.answering()
        return await super().reaches(topics, position)

    async def answering(self):
        self.asked.set()
        await self.answer.wait()


@asynccontextmanager
async def behind(hub, **options):
    """A reader that waits for the engine to answer; what it got is there at the end."""
    received = []
    async with hub.subscribe("a", **options) as reader:
        await take(reader, 1)
        await publish_all(hub, "a", range(5))
        async with anyio.create_task_group() as group:
            group.start_soon(read_into, received, reader)
            await hub._feed.engine.asked.wait()
            yield reader, received
            await anyio.sleep(1)
            group.cancel_scope.cancel()


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
    assert await engine.read(["a"], 0, 10) is None


# --- bad input ----------------------------------------------------------------------------


BAD_TOPICS = [
    ("", ValueError, "topic must not be empty"),
    ("a\nb", ValueError, "topic must not hold CR or LF"),
    ("a\r", ValueError, "topic must not hold CR or LF"),
    ("a\0", ValueError, "topic must not hold NUL"),
    ("\ud800", ValueError, "topic holds a lone surrogate at position 0"),
    ("x" * 513, ValueError, "topic must not be longer than 512 bytes"),
    ("\u20ac" * 171, ValueError, "topic must not be longer than 512 bytes"),
    (b"a", TypeError, "topic must be str, not bytes"),
    (5, TypeError, "topic must be str, not int"),
    (None, TypeError, "topic must be str, not NoneType"),
    (["a", "b"], TypeError, "topic must be str, not list"),
]

BAD_EVENTS = [
    (b"x", TypeError, "event is bytes, .* publish a ServerSentEvent, str or dict"),
    (bytearray(b"x"), TypeError, "event is bytearray"),
    (memoryview(b"x"), TypeError, "event is memoryview"),
    (ServerSentEvent("x", id=7), ValueError, r"an id of its own \('7'\).*leave it out"),
    (ServerSentEvent("x", id=""), ValueError, "an id of its own"),
    ({"data": "x", "id": 7}, ValueError, "an id of its own"),
    ({"data": "x", "topic": "a"}, TypeError, r"not \['topic'\]; use JSONServerSentEvent"),
    ({}, ValueError, "at least one of data"),
    ({"data": "x", "event": "a\nb"}, ValueError, "event must not hold CR or LF"),
    ("\ud800", ValueError, "data holds a lone surrogate"),
    ("x" * 2000, ValueError, r"event has 2010 bytes, more than .*\(max_bytes=2000\)"),
]


def ways_to_publish(hub, topic, event):
    """Return functions that publish, each in its way."""

    async def nowait():
        hub.publish_nowait(topic, event)

    async def from_thread():
        hub.publish_from_thread(topic, event)

    return [partial(hub.publish, topic, event), nowait, from_thread]


@pytest.mark.parametrize(("topic", "error", "message"), BAD_TOPICS, ids=lambda _: "")
async def test_a_topic_that_is_none_is_refused(topic, error, message):
    async with open_hub() as hub:
        for publish in ways_to_publish(hub, topic, "x"):
            with pytest.raises(error, match=message):
                await publish()
        with pytest.raises(error, match=message):
            hub.subscribe(topic)
        with pytest.raises(error, match=message):
            hub.subscribe("a", topic)
        assert hub.statistics().topics == 0


@pytest.mark.parametrize("topic", ["x" * 512, "\u20ac" * 170, " ", "a\tb", "\u2028"])
async def test_a_topic_is_any_line_of_text(topic):
    async with open_hub() as hub, hub.subscribe(topic) as subscription:
        await hub.publish(topic, "1")
        assert await take(subscription, 2) == ["<ready>", "1"]


@pytest.mark.parametrize(("event", "error", "message"), BAD_EVENTS, ids=lambda _: "")
async def test_an_event_that_cannot_be_published_is_refused(event, error, message):
    async with open_hub(max_bytes=2000) as hub:
        for publish in ways_to_publish(hub, "a", event):
            with pytest.raises(error, match=message):
                await publish()
        statistics = hub.statistics()
        assert (statistics.published, statistics.outbox_length, statistics.topics) == (0, 0, 0)


async def test_the_size_of_an_event_is_that_of_its_bytes():
    text = "\u20ac" * 100
    async with open_hub(max_bytes=200) as hub:
        with pytest.raises(ValueError, match="event has 310 bytes"):
            await hub.publish("a", text)
    async with open_hub(max_bytes=400) as hub:
        await hub.publish("a", text)
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", text]


async def test_an_event_as_large_as_the_log_is_in_it():
    async with open_hub(max_bytes=200) as hub:
        text = "x" * (200 - len("data: \r\n\r\n"))
        await hub.publish("a", text)
        assert hub.statistics().log_bytes == 200
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", text]


async def test_an_engine_that_looks_like_nothing_is_used():
    class Sized(MemoryEngine):
        def __len__(self):
            return 0

    engine = Sized()
    async with open_hub(engine=engine) as hub:
        assert (await hub.publish("a", "x")).startswith(engine.epoch)


@pytest.mark.parametrize("name", ["max_events", "max_bytes", "outbox_size"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "must be 1 or more, not 0"),
        (-1, ValueError, "must be 1 or more, not -1"),
        (True, TypeError, "must be int, not bool"),
        (1.5, TypeError, "must be int, not float"),
        ("1", TypeError, "must be int, not str"),
        (None, TypeError, "must be int, not NoneType"),
        (float("inf"), TypeError, "must be int, not float"),
    ],
)
def test_a_count_that_bounds_nothing_is_refused_by_name(name, value, error, message):
    with pytest.raises(error, match=f"^{name} {message}"):
        open_hub(**{name: value})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_age": 0}, ValueError, "max_age must be a finite number of seconds, greater than 0"),
        ({"max_age": -1}, ValueError, "max_age must be"),
        ({"max_age": float("inf")}, ValueError, "max_age must be a finite number"),
        ({"max_age": float("nan")}, ValueError, "max_age must be a finite number"),
        ({"max_age": True}, TypeError, "max_age must be a number of seconds, not bool"),
        ({"max_age": None}, TypeError, "max_age must be a number of seconds, not NoneType"),
        ({"engine": MemoryEngine}, TypeError, "engine must be Engine, not ABCMeta"),
        ({"engine": "memory"}, TypeError, "engine must be Engine, not str"),
        ({"instrument": Instrument}, TypeError, "instrument must be Instrument, not type"),
        ({"sep": "\n\n"}, ValueError, "sep must be one of"),
        ({"sep": ""}, ValueError, "sep must be one of"),
        ({"sep": None}, ValueError, "sep must be one of"),
        ({"sep": 5}, ValueError, "sep must be one of"),
    ],
    ids=str,
)
def test_an_argument_of_open_hub_that_is_wrong_is_refused_by_name(options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        open_hub(**options)


@pytest.mark.parametrize("name", ["ready", "reset", "revoked"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("a\nb", ValueError, "must not hold CR or LF"),
        ("a\r", ValueError, "must not hold CR or LF"),
        ("", ValueError, "must not be empty"),
        ("\ud800", ValueError, "holds a lone surrogate"),
        (None, TypeError, "must be str"),
        (5, TypeError, "must be str"),
        (b"x", TypeError, "must be str"),
    ],
)
def test_what_is_no_name_of_an_event_is_refused_by_name(name, value, error, message):
    with pytest.raises(error, match=f"^{name} {message}"):
        open_hub(**{name: value})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"last_event_id": 5}, TypeError, "last_event_id must be str, not int"),
        ({"last_event_id": b"e-1"}, TypeError, "last_event_id must be str, not bytes"),
        ({"authorize": True}, TypeError, "authorize must be callable, not bool"),
        ({"key": ["me"]}, TypeError, "key must be hashable"),
        ({"key": ({},)}, TypeError, "key must be hashable"),
        ({"slow_consumer": "drop"}, ValueError, "slow_consumer must be 'reset' or 'disconnect'"),
        ({"slow_consumer": None}, ValueError, "slow_consumer must be 'reset' or 'disconnect'"),
        ({"slow_consumer": []}, ValueError, "slow_consumer must be 'reset' or 'disconnect'"),
    ],
    ids=str,
)
async def test_an_argument_of_subscribe_that_is_wrong_is_refused_by_name(options, error, message):
    async with open_hub() as hub:
        with pytest.raises(error, match=f"^{message}"):
            hub.subscribe("a", **options)


async def test_a_subscription_to_nothing_is_refused():
    async with open_hub() as hub:
        with pytest.raises(ValueError, match="topics: name at least one"):
            hub.subscribe()


async def test_a_key_that_cannot_be_one_is_refused_when_it_is_revoked():
    async with open_hub() as hub:
        with pytest.raises(TypeError, match="unhashable"):
            hub.revoke(key=["me"])
