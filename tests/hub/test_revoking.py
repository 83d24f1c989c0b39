"""Revoking subscriptions."""

import anyio
import anyio.lowlevel
import pytest

from trio_sse import (
    AccessDeniedError,
    CloseReason,
    ServerSentEvent,
    open_hub,
)
from trio_sse._subscription import cursor_of

from .kit import enter_and_read_into, publish_all, raises, read_from, seen, take, take_all

pytestmark = pytest.mark.anyio


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
