"""Statistics, instruments and logs."""

import anyio
import pytest

from trio_sse import (
    Instrument,
    ServerSentEvent,
    open_hub,
)

from .kit import Held, Refusing, Witness, publish_all, read_from, take_all

pytestmark = pytest.mark.anyio


async def test_statistics_tell_of_everything():
    engine = Held("held")
    async with open_hub(engine=engine, max_events=3) as hub:
        statistics = hub.statistics()
        assert statistics.resets == {}
        assert set(vars_of(statistics).values()) == {0}
        async with hub.subscribe("a") as one, hub.subscribe("b", "c") as other:
            await publish_all(hub, "a", "1234")
            await hub.publish("b", "5")
            await take_all(one)
            await take_all(other)
            hub.publish_nowait("a", "held")
            await anyio.sleep(1)
            statistics = hub.statistics()
            assert vars_of(statistics) == {
                "topics": 3,
                "subscribers": 2,
                "log_length": 3,
                "log_bytes": 3 * len("data: 1\r\n\r\n"),
                "outbox_length": 1,
                "failed": 0,
                "published": 5,
                "delivered": 1,  # a reset is no event, and neither is ready
                "lagged": 1,
            }
            assert statistics.resets == {"lagged": 1}
            engine.let_go("held")


def vars_of(statistics):
    return {
        name: getattr(statistics, name)
        for name in type(statistics).__dataclass_fields__
        if name != "resets"
    }


async def test_statistics_are_of_one_moment_and_cannot_be_changed():
    async with open_hub() as hub:
        before = hub.statistics()
        await read_from(hub, "a", last_event_id="?")
        assert before.resets == {}
        assert hub.statistics().resets == {"unknown": 1}
        with pytest.raises(AttributeError):
            before.topics = 5
        with pytest.raises(TypeError):
            before.resets["unknown"] = 5


async def test_what_was_accepted_without_waiting_and_could_not_be_published_is_counted():
    async with open_hub(engine=Refusing()) as hub:
        for item in ("1", "bad", "2", "bad"):
            hub.publish_nowait("a", item)
        hub.publish_from_thread("a", "bad")
        with pytest.raises(LookupError):  # who publishes has heard of it
            await hub.publish("a", "bad")
        statistics = hub.statistics()
        assert (statistics.failed, statistics.published, statistics.outbox_length) == (3, 2, 0)


async def test_resets_are_counted_by_their_reason():
    witness = Witness()
    async with open_hub(max_events=2, instrument=witness) as hub:
        first, *_ = await publish_all(hub, "a", "1234")
        for last_event_id in ("?", "other-1", first, "?", None, "earliest"):
            await read_from(hub, "a", "b", last_event_id=last_event_id)
        assert hub.statistics().resets == {"unknown": 2, "restarted": 1, "expired": 1}
    assert [told[1:] for told in witness.told if told[0] == "reset"] == [
        (("a", "b"), reason) for reason in ("unknown", "restarted", "expired", "unknown")
    ]


async def test_statistics_forget_what_is_too_old():
    async with open_hub(max_age=5) as hub:
        await hub.publish("a", "1")
        await anyio.sleep(5)
        assert hub.statistics().log_length == 1
        await anyio.sleep(1)
        statistics = hub.statistics()
        assert (statistics.log_length, statistics.log_bytes, statistics.topics) == (0, 0, 1)
        await anyio.sleep(6)
        assert hub.statistics().topics == 0


async def test_the_topics_of_those_who_left_are_forgotten_and_of_those_who_stay_are_not():
    async with open_hub(max_age=5) as hub, hub.subscribe("a"):
        for _ in range(3):
            await read_from(hub, "a", "b")
        assert hub.statistics().topics == 2
        await anyio.sleep(5.1)
        assert hub.statistics().topics == 1


async def test_what_each_subscription_reads_is_counted():
    async with open_hub() as hub:
        await publish_all(hub, "a", "123")
        for _ in range(4):
            await read_from(hub, "a", last_event_id="earliest")
        statistics = hub.statistics()
        assert (statistics.published, statistics.delivered) == (3, 12)


async def test_an_instrument_is_told_of_each_event_with_its_id():
    witness = Witness()
    async with open_hub(instrument=witness) as hub:
        ids = [await hub.publish("a", "1")]
        hub.publish_nowait("b", ServerSentEvent("2", event="e"))
        ids.append(await hub.publish("a", "3"))
    assert witness.told == [
        ("published", "a", ServerSentEvent("1", id=ids[0])),
        ("published", "b", ServerSentEvent("2", event="e", id=ids[0][:-1] + "2")),
        ("published", "a", ServerSentEvent("3", id=ids[1])),
    ]


async def test_an_instrument_that_raises_is_logged_once_and_told_nothing_more(caplog):
    class Broken(Instrument):
        told = 0

        def published(self, topic, event):
            self.told += 1
            raise LookupError("broken")

        reset = lagged = published

        def __repr__(self):
            return "Broken()"

    broken = Broken()
    async with open_hub(instrument=broken, max_events=1) as hub, hub.subscribe("a") as reader:
        await publish_all(hub, "a", "123")
        assert await take_all(reader) == ["<ready>", "<lagged>"]
        await read_from(hub, "a", last_event_id="?")
    assert broken.told == 1
    assert [record.message for record in caplog.records] == [
        "Broken() raised; it will be told nothing more"
    ]
    assert "LookupError: broken" in caplog.text


async def test_an_instrument_that_overrides_nothing_is_fine(caplog):
    async with open_hub(instrument=Instrument(), max_events=1) as hub:
        async with hub.subscribe("a") as reader:
            await publish_all(hub, "a", "12")
            assert await take_all(reader) == ["<ready>", "<lagged>"]
    assert caplog.text == ""
