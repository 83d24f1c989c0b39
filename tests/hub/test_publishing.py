"""Publishing to a hub: at once, without waiting, from threads."""

import itertools
import logging
import pickle
import threading
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from stepping import Steps, counted
from trio_sse import (
    MemoryEngine,
    PublishError,
    ServerSentEvent,
    open_hub,
)
from trio_sse._runtime import current_runtime

from .kit import (
    Held,
    Inbox,
    Late,
    Refusing,
    position_of,
    publish_all,
    raises,
    seen,
    take,
    take_all,
)

pytestmark = pytest.mark.anyio


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


async def test_an_error_of_the_engine_in_the_outbox_is_logged_and_what_follows_is_published(caplog):
    async with open_hub(engine=Refusing()) as hub, hub.subscribe("a") as subscription:
        for item in ("1", "bad", "2"):
            hub.publish_nowait("a", item)
        hub.publish_from_thread("a", "bad")
        await hub.publish("a", "3")  # of the errors of others it hears nothing
        assert await take(subscription, 4) == ["<ready>", "1", "2", "3"]
    assert [record.message for record in caplog.records] == [
        "1 event(s) could not be published, the first for topic 'a'"
    ] * 2
    assert caplog.records[0].levelno == logging.ERROR
    assert "LookupError: the store is away" in caplog.text


async def test_an_error_of_the_engine_reaches_who_publishes():
    async with open_hub(engine=Refusing()) as hub:
        with pytest.raises(LookupError, match="the store is away"):
            await hub.publish("a", "bad")
        assert (await hub.publish("a", "good")).endswith("-1")


class Batching(Refusing):
    """Takes three at once, and notes what it was given."""

    max_batch = 3

    def __init__(self):
        super().__init__()
        self.batches = []

    async def publish_all(self, events):
        self.batches.append([event.data for _, event in events])
        return await super().publish_all(events)


async def test_an_engine_is_given_as_many_at_once_as_it_takes_in_order():
    engine = Batching()
    async with open_hub(engine=engine) as hub, hub.subscribe("a", "b") as reader:
        for n in range(8):
            hub.publish_nowait("ab"[n % 2], n)
        assert await take(reader, 9) == ["<ready>", *map(str, range(8))]
        hub.publish_nowait("a", "alone")
        await hub.publish("a", "by itself")
        assert await take(reader, 2) == ["alone", "by itself"]
    assert engine.batches == [[*"012"], [*"345"], [*"67"], ["alone"]]


async def test_an_engine_takes_one_at_once_unless_it_says_so():
    class OneByOne(Batching):
        max_batch = MemoryEngine.max_batch

    engine = OneByOne()
    async with open_hub(engine=engine) as hub:
        for n in range(3):
            hub.publish_nowait("a", n)
    assert engine.batches == [["0"], ["1"], ["2"]]


async def test_of_a_batch_one_that_is_refused_does_not_stop_the_others(caplog):
    engine = Batching()
    async with open_hub(engine=engine) as hub, hub.subscribe("a", "b") as reader:
        for topic, item in [("a", "1"), ("b", "bad"), ("a", "2"), ("a", "3")]:
            hub.publish_nowait(topic, item)
        assert await take(reader, 4) == ["<ready>", "1", "2", "3"]
        assert hub.statistics().failed == 1
    assert engine.batches == [["1", "bad", "2"], ["3"]]
    assert [record.message for record in caplog.records] == [
        "1 event(s) could not be published, the first for topic 'b'"
    ]


async def test_an_engine_that_refuses_a_batch_as_a_whole_is_given_the_next(caplog):
    class Whole(Batching):
        async def publish_all(self, events):
            results = await super().publish_all(events)
            return [self.whole(result) for result in results]

        def whole(self, result):
            if isinstance(result, Exception):
                raise result
            return result

    async with open_hub(engine=Whole()) as hub, hub.subscribe("a") as reader:
        for item in ("bad", "bad", "bad", "1", "2"):
            hub.publish_nowait("a", item)
        await hub.publish("a", "3")
        assert await take(reader, 4) == ["<ready>", "1", "2", "3"]
        assert (hub.statistics().failed, hub.statistics().outbox_length) == (3, 0)
    assert [record.message for record in caplog.records] == [
        "3 event(s) could not be published, the first for topic 'a'"
    ]
    assert caplog.text.count("LookupError: the store is away") == 1


async def test_a_batch_is_in_the_outbox_until_it_is_published():
    class Slow(Batching):
        async def publish_all(self, events):
            await anyio.sleep(10)
            return await super().publish_all(events)

    async with open_hub(engine=Slow(), outbox_size=4) as hub:
        for n in range(4):
            hub.publish_nowait("a", n)
        await anyio.sleep(5)
        assert hub.statistics().outbox_length == 4
        with raises("WouldBlock"):
            hub.publish_nowait("a", "too much")
        await anyio.sleep(10)
        assert hub.statistics().outbox_length == 1
        await anyio.sleep(10)
        assert (hub.statistics().outbox_length, hub.statistics().published) == (0, 4)


async def test_an_engine_publishes_one_after_the_other_what_nobody_waits_for_by_default():
    engine, sink = Refusing(), Inbox()
    async with engine.open(sink):
        events = [(topic, ServerSentEvent(text)) for topic, text in ["a1", "b2"]]
        bad = ("a", ServerSentEvent("bad"))
        first, error, second = await engine.publish_all([events[0], bad, events[1]])
        assert (first, second) == (1, 2)
        assert isinstance(error, LookupError)
        assert await engine.publish_all([]) == []
    assert [told[1][1:] for told in sink.told[1:]] == events


class Impatient(Held):
    publish_timeout = 3


async def test_a_publish_waits_for_the_outbox_as_long_as_the_engine_has_and_no_longer():
    engine = Impatient("1")
    async with open_hub(engine=engine) as hub:
        hub.publish_nowait("a", "1")
        for _ in range(2):
            began = anyio.current_time()
            with pytest.raises(PublishError, match="was not published within 3 s") as caught:
                await hub.publish("a", "2")
            assert caught.value.outcome == "not_sent"
            assert anyio.current_time() == began + 3
        engine.let_go("1")
        await hub.publish("a", "3")
        assert engine.asked == ["1", "3"]


async def test_a_publish_that_gets_its_turn_in_time_is_published():
    engine = Impatient("1")
    async with open_hub(engine=engine) as hub, anyio.create_task_group() as group:
        hub.publish_nowait("a", "1")
        group.start_soon(hub.publish, "a", "2")
        await anyio.sleep(2.9)
        engine.let_go("1")
        await anyio.sleep(1)
        assert engine.asked == ["1", "2"]


async def test_an_engine_waits_for_the_outbox_without_end_unless_it_says_so():
    engine = Held("1")
    async with open_hub(engine=engine) as hub, anyio.create_task_group() as group:
        hub.publish_nowait("a", "1")
        group.start_soon(hub.publish, "a", "2")
        await anyio.sleep(10**6)
        engine.let_go("1")
    assert engine.asked == ["1", "2"]


async def test_the_time_of_an_engine_to_publish_is_its_own_once_it_is_asked():
    engine = Impatient("1")
    async with open_hub(engine=engine) as hub, anyio.create_task_group() as group:
        group.start_soon(hub.publish, "a", "1")
        await anyio.sleep(100)
        engine.let_go("1")
    assert hub.statistics().published == 1


async def test_an_event_is_known_of_when_it_is_accepted_not_only_when_it_is_delivered():
    """Who subscribes after it does not get it, however late it arrives."""
    engine = Late()
    async with open_hub(engine=engine) as hub:
        before = hub.subscribe("a")
        id_ = await hub.publish("a", "1")
        after, resuming = hub.subscribe("a"), hub.subscribe("a", last_event_id=id_)
        hub.publish_nowait("a", "2")
        await anyio.sleep(1)
        last = hub.subscribe("a")
        async with before, after, resuming, last:
            assert (await after.receive()).id == id_
            assert (await resuming.receive()).id == id_
            assert position_of(await last.receive()) == 2
            engine.catch_up()
            await hub.publish("a", "3")
            engine.catch_up()
            assert await take_all(before) == ["<ready>", "1", "2", "3"]
            assert await take_all(after) == ["2", "3"]
            assert await take_all(resuming) == ["2", "3"]
            assert await take_all(last) == ["3"]
        assert hub.statistics().resets == {}


async def test_an_engine_is_not_asked_for_what_was_accepted_and_has_not_arrived():
    class Unasked(Late):
        async def reaches(self, topics, position):
            raise AssertionError("it is asked")

    engine = Unasked()
    async with open_hub(engine=engine) as hub:
        id_ = await hub.publish("a", "1")
        async with hub.subscribe("a", last_event_id=id_) as reader:
            engine.catch_up()
            assert await take_all(reader) == ["<resumed>"]


async def test_who_has_a_gap_goes_on_after_what_was_accepted():
    engine = Late()
    async with open_hub(engine=engine, max_events=1) as hub, hub.subscribe("a") as slow:
        await take(slow, 1)
        await publish_all(hub, "a", "123")
        engine.catch_up()
        await hub.publish("a", "4")
        engine.lost = 3
        async with hub.subscribe("a", last_event_id="archive-1") as late:
            for reader, reason in [(slow, "<lagged>"), (late, "<expired>")]:
                event = await reader.receive()
                assert (seen(event), position_of(event)) == (reason, 4)
            await hub.publish("a", "5")
            engine.catch_up()
            engine.lost = 0
            assert await take_all(slow) == await take_all(late) == ["5"]


async def test_events_that_are_accepted_out_of_turn_are_known_to_the_last():
    """Of two tasks that publish, the second may be answered first."""

    class Turned(Late):
        async def publish(self, topic, event):
            position = await super().publish(topic, event)
            await anyio.sleep(3 - position)
            return position

    engine = Turned()
    async with open_hub(engine=engine) as hub:
        async with anyio.create_task_group() as group:
            for n in (1, 2):
                group.start_soon(hub.publish, "a", n)
        async with hub.subscribe("a") as reader:
            engine.catch_up()
            assert position_of(await reader.receive()) == 2
            assert await take_all(reader) == []


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


@pytest.mark.parametrize("outcome", ["not_sent", "unknown"])
def test_an_event_that_was_not_published_in_time_says_what_is_known_of_it(outcome):
    error = PublishError("no answer within 3 s", outcome)
    copy = pickle.loads(pickle.dumps(error))
    for each in (error, copy):
        assert isinstance(each, PublishError)
        assert str(each) == "no answer within 3 s"
        assert each.outcome == outcome
    assert repr(copy) == repr(error)
    assert outcome in repr(error)
