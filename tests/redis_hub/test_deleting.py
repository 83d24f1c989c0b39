"""An event can be deleted in Redis, for the sake of privacy: nobody is told, nobody is stopped."""

import pytest

from .kit import (
    EVENTS,
    engines,
    freeze_reader,
    key,
    opened,
    publish,
    read_all,
    subscribed,
    take,
    until,
)

pytestmark = pytest.mark.anyio


def delete(server, name, *ids):
    entries = [id_.partition("-")[2] for id_ in ids]
    assert server.cli("XDEL", key(name, EVENTS), *entries) == str(len(ids))


@pytest.mark.parametrize(
    "deleted",
    [[0], [2], [4], [0, 1], [1, 2], [3, 4], [0, 4], [0, 1, 2, 3, 4]],
    ids=lambda deleted: "-".join(map(str, deleted)),
)
async def test_live_readers_are_told_nothing_and_others_get_the_rest(redis, name, deleted):
    several = engines(redis.url, name, heartbeat=0.02)
    async with opened(*several) as hubs, subscribed(*hubs) as subscriptions:
        ids = await publish(hubs[0], "a", *range(5))
        for subscription in subscriptions:
            assert await take(subscription, 5) == list("01234")
        delete(redis, name, *(ids[n] for n in deleted))
        await publish(hubs[0], "a", "later")
        for subscription in subscriptions:
            assert await take(subscription, 1) == ["later"]
        assert [hub.statistics().resets for hub in hubs] == [{}, {}]
        epoch = several[0].epoch
    [engine] = engines(redis.url, name, 1)
    async with opened(engine) as (hub,):
        assert engine.epoch == epoch
        left = [str(n) for n in range(5) if n not in deleted]
        assert await read_all(hub, "a", last_event_id="earliest") == ["<ready>", *left, "later"]
        for n, id_ in enumerate(ids):
            async with hub.subscribe("a", last_event_id=id_) as subscription:
                rest = [data for data in left if int(data) > n]
                first = await take(subscription, 1)
                if first == ["<expired>"]:  # it has come back to what is not there any more
                    assert any(m in deleted for m in range(n + 1, 5))
                else:
                    assert first == ["<resumed>"]
                    assert await take(subscription, len(rest) + 1) == [*rest, "later"]


@pytest.mark.parametrize("deleted", [[1], [0, 1], [1, 2], [2], [0, 1, 2, 3]])
async def test_a_reader_that_was_behind_gets_the_rest(redis, proxy, name, deleted):
    """Also if the place where it was is gone, and what came next."""
    [engine], [late] = engines(redis.url, name, 1), engines(proxy.url, name, 1)
    async with opened(engine, late) as (hub, behind), subscribed(hub, behind) as (near, far):
        epoch = engine.epoch
        ids = await publish(hub, "a", "first", "0")
        assert await take(far, 2) == ["first", "0"]
        await until(lambda: behind.statistics().published == 2)
        await freeze_reader(proxy)
        proxy.passages[0].cut()
        proxy.passages[1].cut()
        ids = ids[1:] + await publish(hub, "a", "1", "2", "3", "4")
        delete(redis, name, *(ids[n] for n in deleted))
        proxy.thaw()
        left = [str(n) for n in range(1, 5) if n not in deleted]
        assert await take(far, len(left)) == left
        assert await take(near, 6) == ["first", "0", "1", "2", "3", "4"]
        assert engine.epoch == late.epoch == epoch
        assert behind.statistics().resets == {}


async def test_a_reader_whose_place_is_trimmed_and_followed_by_another_s_entry_goes_on(
    redis, proxy, name
):
    """The entry after its place is none of a hub, and says nothing of it."""
    [engine], [late] = engines(redis.url, name, 1), engines(proxy.url, name, 1)
    async with opened(engine, late) as (hub, behind), subscribed(behind) as (far,):
        await publish(hub, "a", "1")
        assert await take(far, 1) == ["1"]
        await freeze_reader(proxy)
        proxy.passages[0].cut()
        proxy.passages[1].cut()
        redis.cli("XADD", key(name, EVENTS), "*", "foo", "bar")
        await publish(hub, "a", "2")
        redis.cli("XTRIM", key(name, EVENTS), "MAXLEN", "2")
        proxy.thaw()
        assert await take(far, 1) == ["2"]
        assert behind.statistics().resets == {}
