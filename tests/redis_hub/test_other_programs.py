"""Programs in other languages publish with the script, and may write what they should not."""

import anyio
import pytest

from hub.kit import Witness
from trio_sse import ServerSentEvent, open_hub
from trio_sse.redis import PUBLISH_SCRIPT, RedisEngine
from trio_sse.redis._scripts import RETRY_WINDOW
from trio_sse.redis._store import Store

from .kit import (
    EVENTS,
    STATE,
    TIMEOUT,
    engines,
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

pytestmark = pytest.mark.anyio

REALLY = ["retry", "5000", "comment", "a\ncomment", "event", "named", "data", "two\nlines \u2603"]


async def test_redis_cli_publishes_with_the_script_in_a_file(redis, name, tmp_path):
    path = tmp_path / "publish.lua"
    path.write_text(PUBLISH_SCRIPT)
    async with opened(*engines(redis.url, name)) as hubs, subscribed(*hubs) as subscriptions:
        arguments = ["", "a", "8", *REALLY, "other", "2", "data", "x", "a", "2", "data", ""]
        answer = redis.cli("--eval", str(path), *keys(name), ",", *arguments).split()
        with anyio.fail_after(TIMEOUT):
            for subscription in subscriptions:
                assert await subscription.receive() == ServerSentEvent(
                    "two\nlines \u2603",
                    event="named",
                    id=f"{answer[0]}-{answer[1]}",
                    retry=5000,
                    comment="a\ncomment",
                )
                event = await subscription.receive()
                assert event == ServerSentEvent("", id=f"{answer[0]}-{answer[3]}")


async def test_a_program_may_publish_before_any_hub_is_opened(redis, name):
    epoch, id_ = publish_elsewhere(redis, name, "a", "2", "data", "1")
    [engine] = engines(redis.url, name, 1)
    async with open_hub(engine=engine) as hub:
        assert engine.epoch == epoch
        assert await read_all(hub, "a", last_event_id="earliest") == ["<ready>", "1"]
        async with hub.subscribe("a", last_event_id=f"{epoch}-{id_}") as subscription:
            assert await take(subscription, 2) == ["<resumed>", "(the end)"]


async def test_a_sequence_makes_sending_again_harmless(redis, name):
    publisher = key(name, "publisher:mine")
    async with opened(*engines(redis.url, name, 1)) as (hub,):

        def send(sequence, data):
            arguments = [str(sequence), "a", "2", "data", data]
            return redis.cli("EVAL", PUBLISH_SCRIPT, "5", *keys(name), publisher, *arguments)

        first = send(1, "1")
        assert send(1, "1") == first
        second = send(2, "2")
        assert second != first
        assert send(2, "2") == second
        with pytest.raises(AssertionError, match="STALE"):
            send(1, "1")
        assert await read_all(hub, "a", last_event_id="earliest") == ["<ready>", "1", "2"]
        assert 0 < int(redis.cli("TTL", publisher)) <= RETRY_WINDOW


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a"],
        ["a", "0"],
        ["a", ""],
        ["a", "x", "data", "x"],
        ["a", "-2", "data", "x"],
        ["a", "1", "data"],
        ["a", "1", "data", "x"],
        ["a", "3", "data", "x", "event"],
        ["a", "2", "data"],
        ["a", "4", "data", "x"],
        ["a", "inf", "data", "x"],
        ["a", "nan", "data", "x"],
        ["a", "2.5", "data", "x", "y"],
        ["a", "0x2", "data", "x"],
        ["a", "2e0", "data", "x"],
        ["a", " 2", "data", "x"],
        ["a", "99999999999999999999", "data", "x"],
        ["", "2", "data", "x"],
        ["x" * 513, "2", "data", "x"],
        ["a\nb", "2", "data", "x"],
        ["a\rb", "2", "data", "x"],
        ["a", "2", "id", "1"],
        ["a", "2", "prev", "1"],
        ["a", "2", "topic", "b"],
        ["a", "2", "Data", "x"],
        ["a", "2", "", "x"],
        ["a", "4", "data", "x", "foo", "bar"],
        ["a", "2", "event", "a\nb"],
        ["a", "4", "data", "x", "event", "a\rb"],
        ["a", "2", "retry", "soon"],
        ["a", "2", "retry", "-1"],
        ["a", "2", "retry", ""],
        ["a", "20000", *["data", "x"] * 10_000],
    ],
)
def test_a_malformed_list_of_arguments_is_an_error_and_changes_nothing(redis, name, arguments):
    before = redis.cli("DUMP", key(name, STATE)), length(redis, name)
    for given in (arguments, ["a", "2", "data", "first", *arguments] if arguments else ["a"]):
        with pytest.raises(AssertionError, match="ERR"):
            publish_elsewhere(redis, name, *given)
    assert (redis.cli("DUMP", key(name, STATE)), length(redis, name)) == before


@pytest.mark.parametrize("sequence", ["x", "nan", "1.5", "-1", "1 2"])
def test_a_sequence_that_is_no_number_is_an_error_and_changes_nothing(redis, name, sequence):
    arguments = [sequence, "a", "2", "data", "x"]
    with pytest.raises(AssertionError, match="ERR"):
        redis.cli("EVAL", PUBLISH_SCRIPT, "5", *keys(name), key(name, "publisher:mine"), *arguments)
    assert length(redis, name) == 0


def test_a_sequence_without_a_key_for_it_is_an_error_and_changes_nothing(redis, name):
    with pytest.raises(AssertionError, match="ERR"):
        redis.cli("EVAL", PUBLISH_SCRIPT, "4", *keys(name), "1", "a", "2", "data", "x")
    assert length(redis, name) == 0


BY_SCRIPT = [["a", "2", "retry", "1" * 5000]]
# What no script has added: redis-cli takes these as escapes only from its standard input.
BY_HAND = [
    "x y",
    "x 1-1",
    "x 99999999999999-0",
    "a b c a data x",
    "prev 1-1",
    "topic a data x",
    "topic a prev 1-1 data x",
    "prev x topic a data x",
    "prev 1-1 topic a data x",
    "prev x topic a foo bar",
    "prev x topic a id 5",
    "prev x topic a self 5",
    'prev x topic a data "\\xff"',
    'prev x topic "\\xff" data x',
    'prev "\\xff" topic a data x',
    'prev x topic "" data x',
    'prev x topic a "\\xff" x',
]


@pytest.mark.parametrize("arguments", BY_SCRIPT, ids=" ".join)
async def test_a_published_event_that_is_none_is_logged_and_left_out(
    redis, name, arguments, caplog
):
    witness = Witness()
    async with opened(*engines(redis.url, name), instrument=witness) as hubs:
        async with subscribed(*hubs) as subscriptions:
            publish_elsewhere(redis, name, *arguments)
            await publish(hubs[0], "a", "later")
            for subscription in subscriptions:
                assert await take(subscription, 1) == ["later"]
        assert len(messages(caplog, "WARNING")) == 2
    assert "is no event" in messages(caplog, "WARNING")[0]
    async with opened(*engines(redis.url, name, 1), instrument=witness) as (hub,):
        assert await read_all(hub, "a", last_event_id="earliest") == ["<ready>", "later"]
    assert witness.gaps == []


@pytest.mark.parametrize("fields", BY_HAND)
@pytest.mark.parametrize("first", [True, False])
async def test_an_entry_added_by_hand_stops_nobody(redis, name, fields, first, caplog):
    """It may arrive, if it could have been published; nobody is told of a gap, nothing is lost."""
    witness, [engine] = Witness(), engines(redis.url, name, 1, heartbeat=0.02)
    heartbeats = []
    check = engine_checks(heartbeats)
    async with open_hub(engine=engine, instrument=witness) as hub:
        epoch = engine.epoch
        async with subscribed(hub) as (subscription,):
            if not first:
                await publish(hub, "a", "before")
            redis.cli(stdin=f'XADD "{key(name, EVENTS)}" * {fields}\n')
            with check:
                await until(lambda: len(heartbeats) >= 2)
            await publish(hub, "a", "later")
            received = await take_until(subscription, "later")
            assert set(received) <= {"before", "x"}
            assert ("before" in received) is not first
            with check:
                await until(lambda: len(heartbeats) >= 4)
        async with hub.subscribe("a", last_event_id="earliest") as subscription:
            received = await take_until(subscription, "later")
            assert set(received) <= {"<ready>", "before", "x"}
            assert ("before" in received) is not first
    async with opened(engine, instrument=witness) as (hub,):
        async with hub.subscribe("a", last_event_id="earliest") as subscription:
            received = await take_until(subscription, "later")
            assert set(received) <= {"<ready>", "before", "x"}
            assert ("before" in received) is not first
        assert engine.epoch == epoch
    assert witness.gaps == []


def engine_checks(noted):
    """Note each time that a process looks at the store."""
    patch = pytest.MonkeyPatch()

    class Patched:
        def __enter__(self):
            check = Store.check

            async def noting(self, *arguments):
                state = await check(self, *arguments)
                noted.append(state)
                return state

            patch.setattr(Store, "check", noting)

        def __exit__(self, *raised):
            patch.undo()

    return Patched()


async def test_an_entry_by_hand_at_the_beginning_hides_nothing_that_was_trimmed(redis, name):
    options = {"max_events": 100}
    async with opened(*engines(redis.url, name, 1, **options), max_events=1) as (hub,):
        [id_] = await publish(hub, "a", "1")
        await publish(hub, "a", "2")
        redis.cli("XADD", key(name, EVENTS), "*", "x", "99999999999999-0")
        await publish(hub, "a", "3")
        await until(lambda: hub.statistics().published == 3)
        redis.cli("XTRIM", key(name, EVENTS), "MAXLEN", "2")
        async with hub.subscribe("a", last_event_id=id_) as subscription:
            assert await take(subscription, 1) == ["<expired>"]
        async with subscribed(hub) as (subscription,):
            await publish(hub, "a", "4")
            assert await take(subscription, 1) == ["4"]
        async with hub.subscribe("a", last_event_id="earliest") as subscription:
            assert await take(subscription, 2) == ["<ready>", "3"]
        assert hub.statistics().resets == {"expired": 1}


async def test_an_event_larger_than_the_log_is_left_out_and_those_who_wait_are_told(redis, name):
    async with opened(RedisEngine(redis.url, name=name), max_bytes=1000) as (hub,):
        async with subscribed(hub) as (subscription,):
            publish_elsewhere(redis, name, "a", "2", "data", "x" * 2000)
            await publish(hub, "a", "later")
            received = await take_until(subscription, "later")
            assert received in (["x" * 2000], ["<lagged>"])
