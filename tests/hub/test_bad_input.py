"""Bad input, refused where the mistake was made."""

from functools import partial

import pytest

from trio_sse import (
    Instrument,
    MemoryEngine,
    ServerSentEvent,
    open_hub,
)

from .kit import read_from, take

pytestmark = pytest.mark.anyio


BAD_TOPICS = [
    ("", ValueError, "topic must not be empty"),
    ("a\nb", ValueError, "topic must not hold CR or LF"),
    ("a\r", ValueError, "topic must not hold CR or LF"),
    ("a\0", ValueError, "topic must not hold NUL"),
    ("\ud800", ValueError, "topic holds a lone surrogate at position 0"),
    ("x" * 513, ValueError, "topic must not be longer than 512 bytes"),
    ("\u20ac" * 171, ValueError, "topic must not be longer than 512 bytes"),
    (b"a", TypeError, "topic must be str, not bytes"),
    (5, TypeError, "topic must be str, not int"),
    (None, TypeError, "topic must be str, not NoneType"),
    (["a", "b"], TypeError, "topic must be str, not list"),
]

BAD_EVENTS = [
    (b"x", TypeError, "event is bytes, .* publish a ServerSentEvent, str or dict"),
    (bytearray(b"x"), TypeError, "event is bytearray"),
    (memoryview(b"x"), TypeError, "event is memoryview"),
    (ServerSentEvent("x", id=7), ValueError, r"an id of its own \('7'\).*leave it out"),
    (ServerSentEvent("x", id=""), ValueError, "an id of its own"),
    ({"data": "x", "id": 7}, ValueError, "an id of its own"),
    ({"data": "x", "topic": "a"}, TypeError, r"not \['topic'\]; use JSONServerSentEvent"),
    ({}, ValueError, "at least one of data"),
    ({"data": "x", "event": "a\nb"}, ValueError, "event must not hold CR or LF"),
    ("\ud800", ValueError, "data holds a lone surrogate"),
    ("x" * 2000, ValueError, r"event has 2010 bytes, more than .*\(max_bytes=2000\)"),
]


def ways_to_publish(hub, topic, event):
    """Return functions that publish, each in its way."""

    async def nowait():
        hub.publish_nowait(topic, event)

    async def from_thread():
        hub.publish_from_thread(topic, event)

    return [partial(hub.publish, topic, event), nowait, from_thread]


@pytest.mark.parametrize(("topic", "error", "message"), BAD_TOPICS, ids=lambda _: "")
async def test_a_topic_that_is_none_is_refused(topic, error, message):
    async with open_hub() as hub:
        for publish in ways_to_publish(hub, topic, "x"):
            with pytest.raises(error, match=message):
                await publish()
        with pytest.raises(error, match=message):
            hub.subscribe(topic)
        with pytest.raises(error, match=message):
            hub.subscribe("a", topic)
        assert hub.statistics().topics == 0


@pytest.mark.parametrize("topic", ["x" * 512, "\u20ac" * 170, " ", "a\tb", "\u2028"])
async def test_a_topic_is_any_line_of_text(topic):
    async with open_hub() as hub, hub.subscribe(topic) as subscription:
        await hub.publish(topic, "1")
        assert await take(subscription, 2) == ["<ready>", "1"]


@pytest.mark.parametrize(("event", "error", "message"), BAD_EVENTS, ids=lambda _: "")
async def test_an_event_that_cannot_be_published_is_refused(event, error, message):
    async with open_hub(max_bytes=2000) as hub:
        for publish in ways_to_publish(hub, "a", event):
            with pytest.raises(error, match=message):
                await publish()
        statistics = hub.statistics()
        assert (statistics.published, statistics.outbox_length, statistics.topics) == (0, 0, 0)


async def test_the_size_of_an_event_is_that_of_its_bytes():
    text = "\u20ac" * 100
    async with open_hub(max_bytes=200) as hub:
        with pytest.raises(ValueError, match="event has 310 bytes"):
            await hub.publish("a", text)
    async with open_hub(max_bytes=400) as hub:
        await hub.publish("a", text)
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", text]


async def test_an_event_as_large_as_the_log_is_in_it():
    async with open_hub(max_bytes=200) as hub:
        text = "x" * (200 - len("data: \r\n\r\n"))
        await hub.publish("a", text)
        assert hub.statistics().log_bytes == 200
        assert await read_from(hub, "a", last_event_id="earliest") == ["<ready>", text]


async def test_an_engine_that_looks_like_nothing_is_used():
    class Sized(MemoryEngine):
        def __len__(self):
            return 0

    engine = Sized()
    async with open_hub(engine=engine) as hub:
        assert (await hub.publish("a", "x")).startswith(engine.epoch)


@pytest.mark.parametrize("name", ["max_events", "max_bytes", "outbox_size"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "must be 1 or more, not 0"),
        (-1, ValueError, "must be 1 or more, not -1"),
        (True, TypeError, "must be int, not bool"),
        (1.5, TypeError, "must be int, not float"),
        ("1", TypeError, "must be int, not str"),
        (None, TypeError, "must be int, not NoneType"),
        (float("inf"), TypeError, "must be int, not float"),
    ],
)
def test_a_count_that_bounds_nothing_is_refused_by_name(name, value, error, message):
    with pytest.raises(error, match=f"^{name} {message}"):
        open_hub(**{name: value})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_age": 0}, ValueError, "max_age must be a finite number of seconds, greater than 0"),
        ({"max_age": -1}, ValueError, "max_age must be"),
        ({"max_age": float("inf")}, ValueError, "max_age must be a finite number"),
        ({"max_age": float("nan")}, ValueError, "max_age must be a finite number"),
        ({"max_age": True}, TypeError, "max_age must be a number of seconds, not bool"),
        ({"max_age": None}, TypeError, "max_age must be a number of seconds, not NoneType"),
        (
            {"close_timeout": -1},
            ValueError,
            "close_timeout must be .*, 0 or more, not -1",
        ),
        ({"close_timeout": float("inf")}, ValueError, "close_timeout must be a finite number"),
        ({"close_timeout": float("nan")}, ValueError, "close_timeout must be a finite number"),
        ({"close_timeout": True}, TypeError, "close_timeout must be a number of seconds, not bool"),
        ({"close_timeout": "5"}, TypeError, "close_timeout must be a number of seconds, not str"),
        ({"close_timeout": None}, TypeError, "close_timeout must be a number of .* not NoneType"),
        ({"engine": MemoryEngine}, TypeError, "engine must be Engine, not ABCMeta"),
        ({"engine": "memory"}, TypeError, "engine must be Engine, not str"),
        ({"instrument": Instrument}, TypeError, "instrument must be Instrument, not type"),
        ({"sep": "\n\n"}, ValueError, "sep must be one of"),
        ({"sep": ""}, ValueError, "sep must be one of"),
        ({"sep": None}, ValueError, "sep must be one of"),
        ({"sep": 5}, ValueError, "sep must be one of"),
    ],
    ids=str,
)
def test_an_argument_of_open_hub_that_is_wrong_is_refused_by_name(options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        open_hub(**options)


@pytest.mark.parametrize("name", ["ready", "reset", "revoked"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("a\nb", ValueError, "must not hold CR or LF"),
        ("a\r", ValueError, "must not hold CR or LF"),
        ("", ValueError, "must not be empty"),
        ("\ud800", ValueError, "holds a lone surrogate"),
        (None, TypeError, "must be str"),
        (5, TypeError, "must be str"),
        (b"x", TypeError, "must be str"),
    ],
)
def test_what_is_no_name_of_an_event_is_refused_by_name(name, value, error, message):
    with pytest.raises(error, match=f"^{name} {message}"):
        open_hub(**{name: value})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"last_event_id": 5}, TypeError, "last_event_id must be str, not int"),
        ({"last_event_id": b"e-1"}, TypeError, "last_event_id must be str, not bytes"),
        ({"authorize": True}, TypeError, "authorize must be callable, not bool"),
        ({"key": ["me"]}, TypeError, "key must be hashable"),
        ({"key": ({},)}, TypeError, "key must be hashable"),
        ({"slow_consumer": "drop"}, ValueError, "slow_consumer must be 'reset' or 'disconnect'"),
        ({"slow_consumer": None}, ValueError, "slow_consumer must be 'reset' or 'disconnect'"),
        ({"slow_consumer": []}, ValueError, "slow_consumer must be 'reset' or 'disconnect'"),
    ],
    ids=str,
)
async def test_an_argument_of_subscribe_that_is_wrong_is_refused_by_name(options, error, message):
    async with open_hub() as hub:
        with pytest.raises(error, match=f"^{message}"):
            hub.subscribe("a", **options)


async def test_a_subscription_to_nothing_is_refused():
    async with open_hub() as hub:
        with pytest.raises(ValueError, match="topics: name at least one"):
            hub.subscribe()


async def test_a_key_that_cannot_be_one_is_refused_when_it_is_revoked():
    async with open_hub() as hub:
        with pytest.raises(TypeError, match="unhashable"):
            hub.revoke(key=["me"])
