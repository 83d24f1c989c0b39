"""Redis has lost what it had: each subscriber is told once, and gets what comes then."""

import signal

import anyio
import pytest

from hub.kit import Witness, raises
from trio_sse import PublishError
from trio_sse.redis import PUBLISH_SCRIPT, RedisEngine

from .kit import (
    EVENTS,
    OLD,
    PROMPT,
    STATE,
    TOPICS,
    engines,
    fill,
    freeze_reader,
    key,
    keys,
    length,
    messages,
    opened,
    publish,
    publish_elsewhere,
    read_all,
    subscribed,
    take,
    take_until,
    until,
)
from .proxy import never, publishes

pytestmark = pytest.mark.anyio


def different(several, epoch):
    """Whether all of these have begun another epoch, the same."""
    return lambda: (epoch not in (new := {engine.epoch for engine in several})) and len(new) == 1


async def all_get(subscriptions, hubs, *expected):
    for hub in hubs:
        await publish(hub, "a", *expected)
    for subscription in subscriptions:
        assert await take(subscription, 1) == ["<restarted>"]
        assert await take(subscription, 2 * len(expected)) == [*expected, *expected]


async def test_flushed_while_idle_is_noticed_by_all_within_a_heartbeat(own_redis, name):
    several, witness = engines(own_redis.url, name), Witness()
    async with opened(*several, instrument=witness) as hubs, subscribed(*hubs) as subscriptions:
        epoch = several[0].epoch
        [old] = await publish(hubs[0], "a", "before")
        for subscription in subscriptions:
            assert await take(subscription, 1) == ["before"]
        own_redis.flush()
        await until(different(several, epoch))
        await all_get(subscriptions, hubs, "after", "more")
        assert [hub.statistics().resets for hub in hubs] == [{"restarted": 1}] * 2
        assert witness.gaps == [("reset", ("a",), "restarted")] * 2
        assert await read_all(hubs[0], "a", last_event_id=old) == ["<restarted>"]
        for hub, engine in zip(hubs, several, strict=True):
            [id_] = await publish(hub, "b", "x")
            assert id_.startswith(f"{engine.epoch}-")
            assert not id_.startswith(f"{epoch}-")


async def test_flushed_and_published_at_once_by_another_process(own_redis, name):
    several = engines(own_redis.url, name, heartbeat=100)
    async with opened(*several) as hubs, subscribed(*hubs) as subscriptions:
        epoch = several[0].epoch
        await publish(hubs[0], "a", "before")
        for subscription in subscriptions:
            assert await take(subscription, 1) == ["before"]
        own_redis.flush()
        [id_] = await publish(hubs[1], "a", "after")
        assert not id_.startswith(f"{epoch}-")
        assert id_.startswith(f"{several[1].epoch}-")
        for subscription in subscriptions:
            assert await take(subscription, 2) == ["<restarted>", "after"]
        assert different(several, epoch)()
        assert [hub.statistics().resets for hub in hubs] == [{"restarted": 1}] * 2


async def test_flushed_and_published_at_once_by_a_program(own_redis, name):
    several = engines(own_redis.url, name, heartbeat=100)
    async with opened(*several) as hubs, subscribed(*hubs) as subscriptions:
        own_redis.flush()
        publish_elsewhere(own_redis, name, "a", "2", "data", "after")
        for subscription in subscriptions:
            assert await take(subscription, 2) == ["<restarted>", "after"]


async def test_flushed_twice_tells_twice(own_redis, name):
    several = engines(own_redis.url, name)
    async with opened(*several) as hubs, subscribed(*hubs) as subscriptions:
        for n in range(2):
            own_redis.flush()
            await publish(hubs[n], "a", n)
            for subscription in subscriptions:
                assert await take(subscription, 2) == ["<restarted>", str(n)]


async def test_redis_comes_back_empty(own_redis, name):
    several = engines(own_redis.url, name)
    async with opened(*several) as hubs, subscribed(*hubs) as subscriptions:
        epoch = several[0].epoch
        await publish(hubs[0], "a", "before")
        for subscription in subscriptions:
            assert await take(subscription, 1) == ["before"]
        own_redis.kill()
        await until(lambda: not any(engine.connected for engine in several))
        own_redis.start()
        await until(different(several, epoch))
        await all_get(subscriptions, hubs, "after")


async def test_redis_comes_back_with_an_older_state(own_redis, name):
    several = engines(own_redis.url, name)
    async with opened(*several) as hubs, subscribed(*hubs) as subscriptions:
        epoch = several[0].epoch
        [saved] = await publish(hubs[0], "a", "saved")
        own_redis.cli("SAVE")
        [lost] = await publish(hubs[0], "a", "lost")
        for subscription in subscriptions:
            assert await take(subscription, 2) == ["saved", "lost"]
        own_redis.kill()
        await until(lambda: not any(engine.connected for engine in several))
        own_redis.start()
        await until(different(several, epoch))
        await all_get(subscriptions, hubs, "after")
        for id_ in (saved, lost):
            assert await read_all(hubs[1], "a", last_event_id=id_) == ["<restarted>"]


async def test_redis_comes_back_with_an_older_state_and_a_program_publishes_at_once(
    own_redis, name
):
    """So that there are later ids than the one that the processes have."""
    several = engines(own_redis.url, name)
    async with opened(*several) as hubs, subscribed(*hubs) as subscriptions:
        epoch = several[0].epoch
        await publish(hubs[0], "a", "saved")
        own_redis.cli("SAVE")
        await publish(hubs[0], "a", "lost")
        for subscription in subscriptions:
            assert await take(subscription, 2) == ["saved", "lost"]
        own_redis.kill()
        own_redis.start()  # before any process has had a turn
        publish_elsewhere(own_redis, name, "a", "2", "data", "program")
        await until(different(several, epoch))
        await publish(hubs[0], "a", "after")
        for subscription in subscriptions:
            received = await take_until(subscription, "after")
            assert received[0] == "<restarted>"
            assert set(received[1:]) <= {"program"}


@pytest.mark.parametrize("kind", [EVENTS, STATE, TOPICS, OLD])
async def test_one_key_is_lost(own_redis, name, kind):
    """Redis may do so when its memory is full, if it is told to."""
    several = engines(own_redis.url, name, max_topics=1)
    async with opened(*several) as hubs, subscribed(*hubs) as subscriptions:
        epoch = several[0].epoch
        await publish(hubs[0], "b", "1")
        await publish(hubs[0], "a", "2")
        for subscription in subscriptions:
            assert await take(subscription, 1) == ["2"]
        assert own_redis.cli("DEL", key(name, kind)) == "1"
        await until(different(several, epoch))
        await all_get(subscriptions, hubs, "after")


async def test_what_is_asked_after_a_loss_waits_until_this_process_knows_of_it(
    own_redis, own_proxy, name
):
    [engine] = engines(own_proxy.url, name, 1, heartbeat=100)
    async with opened(engine) as (hub,):
        [id_] = await publish(hub, "a", "1")
        epoch = engine.epoch
        await until(lambda: hub.statistics().published == 1)
        await freeze_reader(own_proxy)
        own_redis.flush()
        publish_elsewhere(own_redis, name, "a", "2", "data", "2")
        results = []

        async def ask(call):
            results.append(await call())

        async def subscribe():
            async with hub.subscribe("a", last_event_id=id_[:-1] + "9999") as subscription:
                results.append(await take(subscription, 2))

        async with anyio.create_task_group() as group:
            group.start_soon(ask, engine.earliest)
            group.start_soon(ask, lambda: engine.reaches(["a"], 0))
            group.start_soon(ask, lambda: engine.read(["a"], 0, 1))
            group.start_soon(subscribe)
            publication = anyio.Event()

            async def publish_then():
                results.append((await publish(hub, "a", "3"))[0].split("-")[0] != epoch)
                publication.set()

            group.start_soon(publish_then)
            await anyio.sleep(0.2)  # for answers that must not come
            assert results == []
            own_proxy.thaw()
        assert len(results) == 5
        assert ["<restarted>", "2"] in results


async def test_a_reply_that_comes_again_after_a_loss_holds_up_nobody(own_redis, own_proxy, name):
    """The batch was answered in an epoch that is over; that is what its second copy is told."""
    [engine] = engines(own_proxy.url, name, 1, publish_timeout=2)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        epoch = engine.epoch
        await publish(hub, "a", "0")  # so that Redis knows the script
        own_proxy.loses_reply = publishes
        hub.publish_nowait("a", "1")
        assert await take(subscription, 2) == ["0", "1"]
        own_proxy.loses_command = publishes
        own_redis.cli("DEL", *keys(name))
        await until(lambda: engine.epoch != epoch)
        own_proxy.loses_command = own_proxy.loses_reply = lambda data: False
        hub.publish_nowait("a", "2")
        await publish(hub, "a", "3")
        received = await take_until(subscription, "3")
        assert received[0] == "<restarted>"
        assert received[-1] == "2"


async def test_trimmed_past_a_reader_that_was_away(own_redis, own_proxy, name, caplog):
    received, asked = [], []

    class Watched(RedisEngine):
        async def read(self, topics, *arguments):
            answer = await super().read(topics, *arguments)
            if topics == ("quiet",):
                asked.append(answer)
            return answer

    async def receive(subscription):
        received.extend(await take(subscription, 1))

    [engine] = engines(own_redis.url, name, 1, max_events=100)
    late = Watched(own_proxy.url, name=name, max_events=100, **PROMPT)
    async with opened(engine, late) as (hub, behind):
        async with (
            subscribed(behind) as (busy,),
            subscribed(behind, topics=["quiet"]) as (quiet,),
            subscribed(behind, topics=["quiet", "a"]) as (both,),
        ):
            await publish(hub, "quiet", "1")
            assert await take(quiet, 1) == await take(both, 1) == ["1"]
            [id_] = await publish(hub, "a", "2")
            assert await take(busy, 1) == await take(both, 1) == ["2"]
            own_proxy.refuses = True
            own_proxy.cut()
            await until(lambda: not late.connected)
            fill(own_redis, name, "a", 500)
            async with anyio.create_task_group() as group:
                # It asks when the gap is there: later it could not tell "3" from what is lost.
                group.start_soon(receive, quiet)
                own_proxy.refuses = False
                for subscription in (busy, both):
                    assert await take(subscription, 1) == ["<expired>"]
                await until(lambda: asked)
                await publish(hub, "quiet", "3")
                await publish(hub, "a", "4")
            assert received == ["3"]
            assert await take_until(busy, "4") == []
            assert await take_until(both, "4") == ["3"]
            statistics = behind.statistics()
            assert (statistics.resets, statistics.lagged) == ({"expired": 2}, 0)
        async with behind.subscribe("a", last_event_id=id_) as subscription:
            assert await take(subscription, 1) == ["<expired>"]
        async with behind.subscribe("never", last_event_id=id_) as subscription:
            assert await take(subscription, 1) == ["<resumed>"]
    assert any("dropped events" in message for message in messages(caplog, "WARNING"))


async def test_the_script_begins_the_same_epoch_as_a_process_would(own_redis, name):
    [engine] = engines(own_redis.url, name, 1)
    async with opened(engine):
        epoch = engine.epoch
        own_redis.flush()
        arguments = ["", "a", "2", "data", "x"]
        new, _ = own_redis.cli("EVAL", PUBLISH_SCRIPT, "4", *keys(name), *arguments).split()
        await until(lambda: engine.epoch == new)
        assert new != epoch
        assert new.isalnum()


async def test_redis_is_stopped_and_flushed_before_it_goes_on(own_redis, name):
    [engine] = engines(own_redis.url, name, 1, response_timeout=0.1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        epoch = engine.epoch
        own_redis.send_signal(signal.SIGSTOP)
        await until(lambda: not engine.connected)
        own_redis.send_signal(signal.SIGCONT)
        own_redis.flush()
        await until(lambda: engine.epoch != epoch)
        await publish(hub, "a", "1")
        assert await take(subscription, 2) == ["<restarted>", "1"]


async def test_who_waits_for_what_this_process_does_not_know_yet_is_let_go_when_it_is_closed(
    own_redis, own_proxy, name
):
    [engine] = engines(own_proxy.url, name, 1, heartbeat=100)
    raised = []

    async def ask_in_vain(call):
        with raises("ClosedResourceError"):
            await call()
        raised.append(True)

    async with anyio.create_task_group() as group:
        async with opened(engine, close_timeout=0.1) as (hub,):
            await publish(hub, "a", "1")
            await freeze_reader(own_proxy)
            own_redis.flush()
            publish_elsewhere(own_redis, name, "a", "2", "data", "2")
            group.start_soon(ask_in_vain, engine.earliest)
            group.start_soon(ask_in_vain, lambda: engine.read(["a"], 0, 1))
            group.start_soon(ask_in_vain, lambda: hub.publish("a", "3"))
            await anyio.wait_all_tasks_blocked()
            await until(lambda: length(own_redis, name) == 2)
            await anyio.wait_all_tasks_blocked()
    assert raised == [True] * 3


async def test_lost_twice_before_this_process_knows_of_it(own_redis, own_proxy, name):
    [engine] = engines(own_proxy.url, name, 1, heartbeat=100)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        await freeze_reader(own_proxy)
        own_redis.flush()
        results = []

        async def ask():
            results.append(await engine.earliest())

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await until(lambda: own_redis.cli("EXISTS", key(name, STATE)) == "1")
            await anyio.wait_all_tasks_blocked()
            own_redis.flush()
            publish_elsewhere(own_redis, name, "a", "2", "data", "2")
            own_proxy.thaw()
        assert results == [0]
        assert await take(subscription, 2) == ["<restarted>", "2"]


async def test_an_event_of_an_epoch_that_is_over_is_not_known_to_be_there(
    own_redis, own_proxy, name
):
    [engine] = engines(own_proxy.url, name, 1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        epoch = engine.epoch
        await publish(hub, "a", "0")  # so that Redis knows the script
        own_proxy.loses_reply = publishes

        async def publish_in_vain():
            with pytest.raises(PublishError, match="lost") as caught:
                await publish(hub, "a", "1")
            assert caught.value.outcome == "unknown"

        async with anyio.create_task_group() as group:
            group.start_soon(publish_in_vain)
            assert await take(subscription, 2) == ["0", "1"]
            own_proxy.loses_command = publishes
            own_redis.cli("DEL", *keys(name))
            await until(lambda: engine.epoch != epoch)
            own_proxy.loses_command = own_proxy.loses_reply = never
        await publish(hub, "a", "2")
        assert await take(subscription, 2) == ["<restarted>", "2"]
