"""Two engines with one name are two processes that share a hub."""

import anyio
import pytest

from hub.kit import UNREADABLE, Witness
from trio_sse import JSONServerSentEvent, ServerSentEvent, open_hub
from trio_sse.redis import RedisEngine

from .kit import TIMEOUT, engines, freeze_reader, opened, publish, read_all, subscribed, take, until

pytestmark = pytest.mark.anyio

EVENTS = [
    ServerSentEvent("plain"),
    ServerSentEvent(""),
    ServerSentEvent("", event="", comment=""),
    ServerSentEvent(event="named"),
    ServerSentEvent(retry=0),
    ServerSentEvent("x", retry=10**30),
    ServerSentEvent(comment="nothing but\r\na comment"),
    ServerSentEvent("one\ntwo\rthree\r\nfour\n", event="message", retry=1, comment="c"),
    ServerSentEvent("\N{SNOWMAN} \u2028 \x85 \U0010ffff \ufeff\ufffd"),
    ServerSentEvent("".join(map(chr, range(256)))),
    ServerSentEvent("data", event="prev topic data", comment="topic"),
    ServerSentEvent("$3\r\nfoo\r\n*1\r\n"),
    ServerSentEvent("long " * 100_000),
    JSONServerSentEvent({"a": [1, None, "\r\n\0"]}),
]


async def test_what_is_published_in_one_arrives_in_the_other_with_the_same_id(redis, name):
    async with opened(*engines(redis.url, name)) as (one, other):
        async with subscribed(one, other) as (here, there):
            ids = await publish(one, "a", "1") + await publish(other, "a", "2")
            with anyio.fail_after(TIMEOUT):
                for subscription in (here, there):
                    events = [await subscription.receive() for _ in range(2)]
                    assert [event.data for event in events] == ["1", "2"]
                    assert [event.id for event in events] == ids
        assert one.statistics().published == other.statistics().published == 2


async def test_any_event_arrives_in_the_other_as_it_was_published(redis, name):
    async with opened(*engines(redis.url, name)) as (one, other), subscribed(other) as (there,):
        ids = await publish(one, "a", *EVENTS)
        with anyio.fail_after(TIMEOUT):
            for event, id_ in zip(EVENTS, ids, strict=True):
                assert await there.receive() == ServerSentEvent(
                    event.data, event=event.event, id=id_, retry=event.retry, comment=event.comment
                )


async def test_any_topic_arrives_in_the_other(redis, name):
    topics = ["a b", "\N{SNOWMAN}" * 170, "prev", "{a}", "x" * 512, "\x85\u2028\x7f", "1-1", "*"]
    async with opened(*engines(redis.url, name)) as (one, other):
        async with subscribed(other, topics=topics) as (there,):
            for topic in topics:
                await publish(one, topic, topic)
            assert await take(there, len(topics)) == topics


async def test_who_leaves_one_goes_on_in_the_other(redis, name):
    async with opened(*engines(redis.url, name)) as (one, other):
        ids = await publish(one, "a", *range(5))
        for n, id_ in enumerate(ids):
            expected = ["<resumed>", *map(str, range(n + 1, 5))]
            async with other.subscribe("a", last_event_id=id_) as subscription:
                assert await take(subscription, len(expected)) == expected
        async with subscribed(one) as (subscription,):
            pass
        async with one.subscribe("a") as subscription:
            ready = await subscription.receive()
        await publish(other, "a", "later")
        async with other.subscribe("a", last_event_id=ready.id) as subscription:
            assert await take(subscription, 2) == ["<resumed>", "later"]


async def test_who_comes_with_an_id_that_this_process_has_not_read_yet_waits_for_more(
    redis, proxy, name
):
    [engine], [late] = engines(redis.url, name, 1), engines(proxy.url, name, 1)
    async with opened(engine, late) as (hub, behind):
        await publish(hub, "a", "1")
        await freeze_reader(proxy)
        [id_] = await publish(hub, "a", "2")
        async with behind.subscribe("a", last_event_id=id_) as subscription:
            assert await take(subscription, 1) == ["<resumed>"]
            await publish(hub, "a", "3")
            assert behind.statistics().published < 3
            proxy.thaw()
            assert await take(subscription, 1) == ["3"]
        assert behind.statistics().resets == {}


async def test_what_this_process_has_not_read_yet_is_missed_by_nobody_who_comes_back(
    redis, proxy, name
):
    [engine], [late] = engines(redis.url, name, 1), engines(proxy.url, name, 1)
    async with opened(engine, late) as (hub, behind):
        [id_] = await publish(hub, "a", "1")
        await until(lambda: behind.statistics().published == 1)
        await freeze_reader(proxy)
        await publish(hub, "a", "2")
        async with behind.subscribe("a", last_event_id=id_) as subscription:
            assert await take(subscription, 1) == ["<resumed>"]
            proxy.thaw()
            assert await take(subscription, 1) == ["2"]


@pytest.mark.parametrize("later", ["{epoch}-99999999999999-0", "{epoch}-18446744073709551615-1"])
async def test_an_id_that_has_not_been_given_is_unknown(redis, name, later):
    [engine] = engines(redis.url, name, 1)
    async with open_hub(engine=engine) as hub:
        await publish(hub, "a", "1")
        id_ = later.format(epoch=engine.epoch)
        assert await read_all(hub, "a", last_event_id=id_) == ["<unknown>"]


async def test_an_id_between_those_that_were_given_is_a_position(redis, name):
    [engine] = engines(redis.url, name, 1)
    async with open_hub(engine=engine) as hub:
        [id_] = await publish(hub, "a", "1")
        milliseconds = int(id_.split("-")[1])
        before = f"{engine.epoch}-{milliseconds - 1}-7"
        for last_event_id in (before, f"{engine.epoch}-0-0"):
            async with hub.subscribe("a", last_event_id=last_event_id) as subscription:
                assert await take(subscription, 2) == ["<resumed>", "1"]


async def test_an_id_of_another_epoch_says_restarted(redis, name):
    async with open_hub(engine=RedisEngine(redis.url, name=f"{name} other")) as hub:
        [id_] = await publish(hub, "a", "1")
    async with open_hub(engine=RedisEngine(redis.url, name=name)) as hub:
        assert await read_all(hub, "a", last_event_id=id_) == ["<restarted>"]


UNREADABLE_HERE = [
    *UNREADABLE,
    *(
        f"{{epoch}}-{text}"
        for text in ("1-", "-1-1", "1-1-1", "01-1", "1-01", "1-+1", "1 -1", "1-\u0661", "x-1")
    ),
    "{epoch}-18446744073709551616-0",
    "{epoch}-0-18446744073709551616",
    "{epoch}-1:1",
]
UNREADABLE_HERE.remove("{epoch}-1-1")  # it is a position here


async def test_what_is_no_id_is_unknown(redis, name):
    [engine] = engines(redis.url, name, 1)
    async with open_hub(engine=engine) as hub:
        await publish(hub, "a", "1")
        for text in UNREADABLE_HERE:
            id_ = text.format(epoch=engine.epoch)
            async with hub.subscribe("a", last_event_id=id_) as subscription:
                assert await take(subscription, 1) == ["<unknown>"], text


async def test_hubs_of_other_names_share_nothing(redis, name):
    witness = Witness()
    async with opened(
        RedisEngine(redis.url, name=name),
        *(RedisEngine(redis.url, name=f"{name}{more}") for more in (" ", ":events", "*")),
        instrument=witness,
    ) as (hub, *others):
        [id_] = await publish(hub, "a", "1")
        for other in others:
            assert await read_all(other, "a", last_event_id="earliest") == ["<ready>"]
            assert await read_all(other, "a", last_event_id=id_) == ["<restarted>"]
        await until(lambda: hub.statistics().published == 1)


async def test_what_many_processes_publish_is_in_one_order(redis, name):
    async with (
        opened(*engines(redis.url, name, 3)) as hubs,
        subscribed(*hubs) as subscriptions,
        anyio.create_task_group() as group,
    ):
        for n, hub in enumerate(hubs):
            group.start_soon(publish, hub, "a", *(f"{n}.{m}" for m in range(50)))
        received = [await take(subscription, 150) for subscription in subscriptions]
    assert received[0] == received[1] == received[2]
    for n in range(3):
        mine = [data for data in received[0] if data.startswith(f"{n}.")]
        assert mine == [f"{n}.{m}" for m in range(50)]


async def test_a_process_has_two_connections_and_says_goodbye(own_redis, name):
    async with opened(*engines(own_redis.url, name, client_name="ours")) as hubs:
        async with subscribed(*hubs * 10, topics=[f"topic {n}" for n in range(10)]):
            await publish(hubs[0], "a", "1")
            assert own_redis.cli("CLIENT", "LIST").count("name=ours") == 4
    await until(lambda: "name=ours" not in own_redis.cli("CLIENT", "LIST"))
