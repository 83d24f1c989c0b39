"""Redis refuses what it is asked: nothing is published, until it is cured."""

import random
import re
from pathlib import Path

import anyio
import pytest

from redis_server import RedisServer, free_port
from trio_sse import PublishError

from .kit import (
    EVENTS,
    engines,
    key,
    opened,
    publish,
    read_all,
    subscribed,
    take,
    take_until,
    until,
)

pytestmark = pytest.mark.anyio


async def is_refused(hub, reason):
    """Publish in vain; the time may be up while an answer is on its way, so more than once."""
    outcomes = []
    while "not_sent" not in outcomes:
        with pytest.raises(PublishError) as caught:
            await publish(hub, "a", "refused")
        outcomes.append(caught.value.outcome)
        assert len(outcomes) < 10
        assert outcomes[-1] == "unknown" or re.search(reason, str(caught.value), re.IGNORECASE)


async def check(own_redis, name, break_it, cure, match, url=None):
    [engine] = engines(url or own_redis.url, name, 1, publish_timeout=0.3)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        await publish(hub, "a", "before")
        assert await take(subscription, 1) == ["before"]
        for command in break_it:
            own_redis.cli(*command)
        await is_refused(hub, match)
        hub.publish_nowait("a", "accepted")
        await anyio.wait_all_tasks_blocked()
        for command in cure:
            own_redis.cli(*command)
        # Those that were accepted are first, however long that takes.
        await until(lambda: not hub.statistics().outbox_length)
        await until(lambda: engine.connected)
        await publish(hub, "a", "after")
        assert await take(subscription, 2) == ["accepted", "after"]
        assert hub.statistics().resets == {}
        assert hub.statistics().failed == 0


async def test_no_memory(own_redis, name):
    limit = ("CONFIG", "SET", "maxmemory")
    await check(own_redis, name, [(*limit, "1")], [(*limit, "0")], "OOM|maxmemory")


async def test_a_redis_that_is_full_can_still_be_read(own_redis, name):
    async with opened(*engines(own_redis.url, name, 1)) as (hub,):
        first, *_ = await publish(hub, "a", "1", "2", "3")
        own_redis.cli("CONFIG", "SET", "maxmemory", "1")
        async with opened(*engines(own_redis.url, name, 1), max_events=1) as (other,):
            for last_event_id, said in ((first, "<resumed>"), ("earliest", "<ready>")):
                async with other.subscribe("a", last_event_id=last_event_id) as subscription:
                    assert (await take(subscription, 2))[0] == said
            async with other.subscribe("a", last_event_id="before-0-0") as subscription:
                assert await take(subscription, 1) == ["<restarted>"]


async def test_a_replica(own_redis, name):
    nowhere = ("REPLICAOF", "127.0.0.1", str(free_port()))
    await check(own_redis, name, [nowhere], [("REPLICAOF", "NO", "ONE")], "read.?only|replica")


@pytest.mark.parametrize("commands", [["xadd"], ["evalsha", "eval"]], ids=" ".join)
async def test_a_user_who_may_not(own_redis, name, commands):
    user = ("ACL", "SETUSER", "web")
    own_redis.cli(*user, "on", ">secret", "~*", "+@all")
    location = own_redis.url.removeprefix("redis://")
    forbid, allow = ([(*user, *(sign + command for command in commands))] for sign in "-+")
    url = f"redis://web:secret@{location}"
    await check(own_redis, name, forbid, allow, "permission|can't run", url=url)


async def test_a_key_of_another_type(own_redis, name):
    """What was kept there is gone: that is another epoch."""
    [engine] = engines(own_redis.url, name, 1, publish_timeout=0.3)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        await publish(hub, "a", "before")
        assert await take(subscription, 1) == ["before"]
        own_redis.cli("SET", key(name, EVENTS), "something else")
        await is_refused(hub, "wrong")
        own_redis.cli("DEL", key(name, EVENTS))
        await until(lambda: engine.connected)
        await publish(hub, "a", "after")
        assert await take(subscription, 2) == ["<restarted>", "after"]


async def test_scripts_that_redis_has_forgotten_are_sent_again(own_redis, name):
    [engine] = engines(own_redis.url, name, 1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        for n in range(3):
            own_redis.cli("SCRIPT", "FLUSH")
            await publish(hub, "a", n)
        assert await take(subscription, 3) == ["0", "1", "2"]
        own_redis.cli("SCRIPT", "FLUSH")
        assert await engine.reaches(["a"], 0)
        assert engine.connected


async def test_redis_that_is_loading_is_away(tmp_path, name):
    """It refuses whatever it is asked, and then it is there."""
    options = ("--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024")
    with RedisServer(tmp_path, *options) as own_redis:
        await reload(own_redis, name)


def wait_for_loading(server):
    answer = "PONG"
    while "LOADING" not in answer:
        try:
            answer = server.cli("PING")
        except AssertionError as error:  # which redis-cli makes of it
            answer = str(error)


async def reload(own_redis, name):
    [engine] = engines(own_redis.url, name, 1)
    async with opened(engine) as (hub,), subscribed(hub) as (subscription,):
        await publish(hub, "a", "before")
        own_redis.cli("CONFIG", "SET", "key-load-delay", "10000")
        for n in range(50):
            own_redis.cli("SET", f"key {n}", random.randbytes(2000).hex())
        own_redis.cli("SAVE")
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, own_redis.cli, "DEBUG", "RELOAD", "NOSAVE")
            await anyio.to_thread.run_sync(wait_for_loading, own_redis)
            await publish(hub, "a", "after")
        assert await take(subscription, 2) == ["before", "after"]
        assert hub.statistics().resets == {}


async def test_a_user_who_may_do_what_the_documentation_says_may_do_all_that_is_needed(own_redis):
    """Forgetting topics, reading old events, seeing what was deleted, and beginning anew, too."""
    text = (Path(__file__).parents[2] / "docs" / "processes.md").read_text()
    own_redis.cli(*re.search("ACL SETUSER web [^`]+", text)[0].split())
    url = own_redis.url.replace("//", "//web:password@")
    [engine] = engines(url, "hub", 1, max_topics=2)
    async with opened(engine, max_events=1) as (hub,), subscribed(hub) as (subscription,):
        ids = [await hub.publish("abc"[n % 3], n) for n in range(9)]
        assert await take(subscription, 3) == ["0", "3", "6"]
        assert await read_all(hub, "a", last_event_id=ids[0]) == ["<resumed>", "3", "6"]
        own_redis.cli("XDEL", key("hub", EVENTS), *(id_.partition("-")[2] for id_ in ids[-2:]))
        await publish(hub, "a", "later")
        assert await take_until(subscription, "later") == ["(the end)"]
        own_redis.cli("DEL", key("hub", EVENTS))
        assert await take(subscription, 1) == ["<restarted>"]
        await publish(hub, "a", "anew")
        assert await take(subscription, 1) == ["anew"]
