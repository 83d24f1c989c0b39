"""What a subscription receives, and when it ends."""

import anyio
import anyio.to_thread
import pytest

from trio_sse import (
    JSONServerSentEvent,
    ServerSentEvent,
    open_hub,
)
from trio_sse._subscription import cursor_of

from .kit import publish_all, raises, seen, take, take_all

pytestmark = pytest.mark.anyio


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
