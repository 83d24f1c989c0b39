"""Falling off the log."""

import anyio
import pytest

from trio_sse import (
    CloseReason,
    ServerSentEvent,
    open_hub,
)
from trio_sse._subscription import cursor_of

from .kit import Witness, publish_all, raises, seen, take, take_all

pytestmark = pytest.mark.anyio


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
