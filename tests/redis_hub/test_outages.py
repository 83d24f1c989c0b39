"""Redis goes away and comes back with all that it had: nobody loses anything, nobody is told."""

import logging
import signal
import ssl
from functools import partial

import anyio
import pytest

from hub.kit import Inbox, raises
from trio_sse import PublishError, open_hub
from trio_sse.redis._session import READS
from trio_sse.redis._store import Store
from trio_sse.testing import check_leaks

from .kit import (
    TIMEOUT,
    away,
    engines,
    fill,
    key,
    messages,
    opened,
    publish,
    read_all,
    subscribed,
    take,
    until,
)
from .proxy import reads

pytestmark = pytest.mark.anyio


async def test_subscribers_stay_and_get_what_they_have_missed(own_redis, own_proxy, name):
    [engine], [late] = engines(own_redis.url, name, 1), engines(own_proxy.url, name, 1)
    async with opened(engine, late) as hubs, subscribed(*hubs) as subscriptions:
        epoch = engine.epoch
        await publish(hubs[0], "a", "before")
        own_proxy.refuses = True
        own_proxy.cut()
        await until(lambda: not late.connected)
        await publish(hubs[0], "a", "meanwhile")
        with away(own_redis):
            await until(lambda: not engine.connected)
        await until(lambda: engine.connected)
        own_proxy.refuses = False
        await publish(hubs[1], "a", "after")
        for subscription in subscriptions:
            assert await take(subscription, 3) == ["before", "meanwhile", "after"]
        assert engine.connected
        assert late.connected
        assert engine.epoch == late.epoch == epoch
        assert hubs[0].statistics().resets == hubs[1].statistics().resets == {}


async def test_who_waits_in_receive_is_not_woken_by_an_outage(own_redis, name):
    received = []
    [engine] = engines(own_redis.url, name, 1)
    async with (
        open_hub(engine=engine) as hub,
        subscribed(hub) as (subscription,),
        anyio.create_task_group() as group,
    ):

        async def receive():
            received.extend(await take(subscription, 2))

        group.start_soon(receive)
        for data in "12":
            with away(own_redis):
                await until(lambda: not engine.connected)
            await publish(hub, "a", data)
    assert received == ["1", "2"]


async def test_publish_waits_until_redis_is_back(own_redis, name):
    [engine] = engines(own_redis.url, name, 1)
    ids = []
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        async with anyio.create_task_group() as group:
            with away(own_redis):
                await until(lambda: not engine.connected)

                async def publish_one():
                    ids.extend(await publish(hub, "a", "1"))

                group.start_soon(publish_one)
                await anyio.wait_all_tasks_blocked()
                assert ids == []
        with anyio.fail_after(TIMEOUT):
            event = await subscription.receive()
        assert (event.data, [event.id]) == ("1", ids)


async def test_publish_gives_up_after_its_time_and_then_it_is_not_published(own_redis, name):
    [engine] = engines(own_redis.url, name, 1, publish_timeout=0.1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        with away(own_redis):
            await until(lambda: not engine.connected)
            with pytest.raises(PublishError, match="not accepted an event within") as caught:
                await publish(hub, "a", "lost")
            assert caught.value.outcome == "not_sent"
            assert caught.value.__cause__ is not None
        await until(lambda: engine.connected)
        await publish(hub, "a", "later")
        assert await take(subscription, 1) == ["later"]
        assert await read_all(hub, "a", last_event_id="earliest") == ["<ready>", "later"]


async def test_what_was_accepted_without_waiting_is_published_afterwards_in_order(own_redis, name):
    [engine] = engines(own_redis.url, name, 1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        with away(own_redis):
            await until(lambda: not engine.connected)
            for n in range(250):
                hub.publish_nowait("a", n)
            await anyio.wait_all_tasks_blocked()
            assert hub.statistics().outbox_length == 250
        await publish(hub, "a", 250)
        assert await take(subscription, 251) == list(map(str, range(251)))
        assert hub.statistics().failed == 0


async def test_publish_waits_for_what_was_accepted_before_and_gives_up_too(own_redis, name):
    [engine] = engines(own_redis.url, name, 1, publish_timeout=0.1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        with away(own_redis):
            await until(lambda: not engine.connected)
            hub.publish_nowait("a", "1")
            with pytest.raises(PublishError, match="accepted before") as caught:
                await publish(hub, "a", "lost")
            assert caught.value.outcome == "not_sent"
        assert await take(subscription, 1) == ["1"]
        await publish(hub, "a", "2")
        assert await take(subscription, 1) == ["2"]


async def test_what_has_to_be_read_is_waited_for(own_redis, name, short_tail):
    """By a subscription that is entered, one that reads on, and one that asks for all."""
    fill(own_redis, name, "a", 100)
    [engine] = engines(own_redis.url, name, 1)
    async with opened(engine) as (hub,), anyio.create_task_group() as group:
        received = []

        async def read(**options):
            async with hub.subscribe("a", **options) as subscription:
                received.append(await take(subscription, 101))

        async with hub.subscribe("a", last_event_id="earliest") as subscription:
            assert await take(subscription, 1) == ["<ready>"]
            with away(own_redis):
                await until(lambda: not engine.connected)
                group.start_soon(partial(read, last_event_id="earliest"))
                group.start_soon(partial(read, last_event_id=f"{engine.epoch}-0-0"))
                await anyio.wait_all_tasks_blocked()
                assert received == []
            assert await take(subscription, 100) == list(map(str, range(100)))
    assert sorted(first for first, *_ in received) == ["<ready>", "<resumed>"]
    assert [rest for _, *rest in received] == [list(map(str, range(100)))] * 2


async def test_what_is_being_asked_when_redis_goes_away_is_asked_again(own_redis, own_proxy, name):
    """The answers are lost: to `reaches`, `earliest` and `read`."""
    [engine] = engines(own_proxy.url, name, 1)
    async with opened(engine) as (hub,):
        await publish(hub, "a", "1")
        lost = []

        def lose_one(data):
            lost.append(data)
            return len(lost) == 1

        for ask in (
            lambda: engine.reaches(["a"], 0),
            lambda: engine.earliest(),
            lambda: engine.read(["a"], 0, 5),
        ):
            lost.clear()
            own_proxy.loses_reply = lambda data: b"EVALSHA" in data and lose_one(data)
            with anyio.fail_after(TIMEOUT):
                assert await ask() is not None
            assert len(lost) >= 2


async def test_all_connections_killed_is_an_outage_of_a_moment(own_redis, name):
    several = engines(own_redis.url, name)
    async with opened(*several) as hubs, subscribed(*hubs) as subscriptions:
        for n in range(5):
            own_redis.cli("CLIENT", "KILL", "TYPE", "normal")
            await publish(hubs[n % 2], "a", n)
        for subscription in subscriptions:
            assert await take(subscription, 5) == list("01234")
        assert [hub.statistics().resets for hub in hubs] == [{}, {}]


async def test_redis_that_does_not_answer_in_time_is_away(own_redis, name):
    [engine] = engines(own_redis.url, name, 1, response_timeout=0.1, heartbeat=0.1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        await publish(hub, "a", "1")
        own_redis.send_signal(signal.SIGSTOP)
        await until(lambda: not engine.connected)
        hub.publish_nowait("a", "2")
        own_redis.send_signal(signal.SIGCONT)
        await publish(hub, "a", "3")
        assert await take(subscription, 3) == ["1", "2", "3"]
        assert engine.connected
        assert hub.statistics().resets == {}


async def test_a_publish_that_redis_was_asked_for_and_did_not_answer_is_unknown(own_redis, name):
    options = {"response_timeout": 10, "publish_timeout": 0.1}
    [engine] = engines(own_redis.url, name, 1, **options)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        await publish(hub, "a", "before")  # so that Redis knows the script
        own_redis.send_signal(signal.SIGSTOP)
        with pytest.raises(PublishError, match="not acknowledged an event within") as caught:
            await publish(hub, "a", "perhaps")
        assert caught.value.outcome == "unknown"
        own_redis.send_signal(signal.SIGCONT)
        await publish(hub, "a", "later")
        assert await take(subscription, 3) == ["before", "perhaps", "later"]


async def test_a_new_connection_that_is_never_answered_is_given_up(own_redis, own_proxy, name):
    """Redis has moved, say: what took its place at first let nobody through."""
    [engine] = engines(own_proxy.url, name, 1, response_timeout=0.1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        own_proxy.freeze(lambda passage: passage.number < 6)
        own_proxy.cut()
        await publish(hub, "a", "1")
        assert await take(subscription, 1) == ["1"]


async def test_each_outage_is_logged_once_for_each_connection_and_so_is_its_end(
    own_redis, name, caplog
):
    caplog.set_level(logging.INFO)
    [engine] = engines(own_redis.url, name, 1)
    async with opened(engine) as (hub,), subscribed(hub):
        assert messages(caplog, "INFO") == messages(caplog, "WARNING") == []
        for outage in (1, 2):
            with away(own_redis):
                await until(lambda: not engine.connected)
                await until(lambda n=outage: len(messages(caplog, "WARNING")) == 2 * n)
            await publish(hub, "a", "back")
            await until(lambda n=outage: len(messages(caplog, "INFO")) == 2 * n)
        for purpose in ("the event stream", "publishing"):
            for level, text in (
                ("WARNING", "no connection to Redis for "),
                ("INFO", "is back, for "),
            ):
                said = [message for message in messages(caplog, level) if text + purpose in message]
                assert len(said) == 2, said
    assert messages(caplog, "ERROR") == []


async def test_a_process_that_only_listens_logs_each_outage_too(own_redis, name, caplog):
    caplog.set_level(logging.INFO)
    [engine] = engines(own_redis.url, name, 1)
    async with opened(engine) as (hub,), subscribed(hub):
        for outage in (1, 2):
            with away(own_redis):
                await until(lambda: not engine.connected)
                await until(lambda n=outage: len(messages(caplog, "WARNING")) == 2 * n)
            await until(lambda n=outage: len(messages(caplog, "INFO")) == 2 * n)
            await until(lambda: engine.connected)


async def test_a_hub_that_is_closed_during_an_outage_is_left_in_time(own_redis, name, caplog):
    [engine] = engines(own_redis.url, name, 1, publish_timeout=60)
    raised, ended = [], []

    async def publish_in_vain(hub):
        with raises("ClosedResourceError"):
            await hub.publish("a", "waiting")
        raised.append(True)

    async def subscribe_in_vain(hub, **options):
        with raises("ClosedResourceError"):
            async with hub.subscribe("a", **options):
                pass
        raised.append(True)

    async def listen(hub):
        async with hub.subscribe("a") as subscription:
            ended.extend([event async for event in subscription])

    with anyio.fail_after(TIMEOUT):
        async with check_leaks(), anyio.create_task_group() as group:
            async with open_hub(engine=engine, close_timeout=0.2) as hub:
                group.start_soon(listen, hub)
                await until(lambda: hub.statistics().subscribers == 1)
                own_redis.shutdown("SAVE")
                await until(lambda: not engine.connected)
                group.start_soon(publish_in_vain, hub)
                group.start_soon(partial(subscribe_in_vain, hub, last_event_id="earliest"))
                later = f"{engine.epoch}-99999999999999-0"
                group.start_soon(partial(subscribe_in_vain, hub, last_event_id=later))
                await anyio.wait_all_tasks_blocked()
                hub.publish_nowait("a", "1")
                hub.publish_nowait("a", "2")
                start = anyio.current_time()
            assert anyio.current_time() - start < 5
    assert raised == [True] * 3
    assert len(ended) == 1  # ready
    assert hub.statistics().failed == 2
    assert len(messages(caplog, "ERROR")) == 1
    assert engine.connected is False


async def test_a_hub_that_is_closed_while_all_is_well_leaves_nothing(own_redis, name):
    [engine] = engines(own_redis.url, name, 1)
    async with check_leaks():
        async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
            hub.publish_nowait("a", "1")
        assert hub.statistics().failed == 0
        assert subscription is not None
    async with opened(engine) as (hub,):
        assert await read_all(hub, "a", last_event_id="earliest") == ["<ready>", "1"]


async def test_an_error_of_the_block_during_an_outage_is_raised_alone(own_redis, name):
    [engine] = engines(own_redis.url, name, 1)

    async def fail_in_an_outage():
        async with open_hub(engine=engine, close_timeout=0.1):
            own_redis.shutdown("NOSAVE")
            await until(lambda: not engine.connected)
            raise LookupError

    with pytest.raises(LookupError):
        await fail_in_an_outage()


@pytest.mark.parametrize(("useful", "expected"), [(0, {1}), (1000, {1, 2, 3, 4})])
async def test_who_loses_a_connection_that_was_of_use_tries_again_soon(
    own_redis, name, monkeypatch, useful, expected
):
    """And later and later if each is lost at once."""
    failures = []

    def note(count, first, most):
        failures.append(count)
        return 0.001

    monkeypatch.setattr("trio_sse.redis._link.USEFUL", useful)
    monkeypatch.setattr("trio_sse.redis._link.backoff", note)
    [engine] = engines(own_redis.url, name, 1)
    async with opened(engine):
        for n in range(4):
            await until(lambda: engine.connected)
            own_redis.cli("CLIENT", "KILL", "TYPE", "normal")
            await until(lambda n=n: len(failures) >= 2 * (n + 1))
        await until(lambda: engine.connected)  # an attempt that is cut short counts as one, too
    assert set(failures) == expected


async def test_an_engine_that_is_closed_at_the_moment_a_connection_is_made_or_lost(own_redis, name):
    """Those that wait for one have been woken, and have not run yet."""
    [engine] = engines(own_redis.url, name, 1)
    async with engine.open(Inbox()):
        links = engine._session._links
        own_redis.shutdown("NOSAVE")
        await until(lambda: not engine.connected)
        await anyio.wait_all_tasks_blocked()
        for link in links:
            link._wake()
    assert engine.connected is False


async def test_what_is_too_much_for_one_answer_is_taken_in_smaller_ones(own_redis, own_proxy, name):
    """A page of large events would take longer over this network than an answer may."""
    [near] = engines(own_redis.url, name, 1)
    [far] = engines(own_proxy.url, name, 1, response_timeout=0.3)
    async with opened(near, far) as (hub, behind), subscribed(behind) as (subscription,):
        own_proxy.freeze(reads)
        await publish(hub, "a", *(f"{n} {'x' * 50_000}" for n in range(60)))
        own_proxy.rate = 3_000_000
        own_proxy.thaw()
        assert [data[:2].strip() for data in await take(subscription, 60)] == [*map(str, range(60))]
        assert behind.statistics().resets == {}
    async with opened(far) as (again,):
        assert again.statistics().log_length < 60  # a process that starts does not insist
        assert len(await read_all(again, "a", last_event_id="earliest")) == 61


async def test_a_thousand_that_come_back_are_served_a_few_at_a_time(redis, name, monkeypatch):
    """What is published meanwhile, and Redis itself, is not held up by them."""
    at_once, most = 0, 0
    read = Store.read

    async def watched(*arguments):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await read(*arguments)
        finally:
            at_once -= 1

    monkeypatch.setattr(Store, "read", watched)
    async with opened(*engines(redis.url, name, 1), max_events=1) as (hub,):
        ids = await publish(hub, "a", "1", "2", "3")
        await until(lambda: hub.statistics().published == 3)  # the log has dropped the first two

        async def come_back():
            async with hub.subscribe("a", last_event_id=ids[0]) as subscription:
                assert await take(subscription, 3) == ["<resumed>", "2", "3"]

        async with anyio.create_task_group() as group:
            for _ in range(1000):
                group.start_soon(come_back)
    assert most == READS


async def test_an_error_of_the_transport_is_an_outage(redis, name):
    """TLS has errors of its own, which coredis hands on."""

    async def break_tls():
        await receive()
        raise ssl.SSLError(1, "decryption failed")

    [engine] = engines(redis.url, name, 1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        for link in engine._session._links:
            stream = link._connection.stream
            receive, stream.receive = stream.receive, break_tls
        await publish(hub, "a", "1", "2", "3")
        assert await take(subscription, 3) == ["1", "2", "3"]


async def test_an_answer_of_an_epoch_that_nobody_reads_any_more_is_no_answer(redis, name):
    """Redis has kept it, and nothing else that was published then."""
    [engine] = engines(redis.url, name, 1)
    async with opened(engine) as (hub,):
        publisher = key(name, f"publisher:{engine._session._publisher._name}")
        for sequence in (1, 2):
            redis.cli("SET", publisher, f"{sequence} abcdef 1-0")
            if sequence == 1:
                hub.publish_nowait("a", "lost")
                await until(lambda: hub.statistics().failed == 1)
            else:
                with pytest.raises(PublishError, match="lost") as caught:
                    await publish(hub, "a", "lost")
                assert caught.value.outcome == "unknown"
        assert hub.statistics().outbox_length == 0
        await publish(hub, "a", "not lost")
