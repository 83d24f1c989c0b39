"""What an instrument is told of a stream, and when."""

import anyio
import pytest

from fakes import FakeClient, serving
from trio_sse import (
    CloseReason,
    EventSourceResponse,
    Instrument,
    ServerSentEvent,
    drain,
    draining,
    open_hub,
)
from trio_sse._fields import LINE_ENDINGS

pytestmark = pytest.mark.anyio

SCOPED = (
    "opened",
    "started",
    "first_byte",
    "sent",
    "delivered",
    "pinged",
    "drained",
    "closed",
)


class Log(Instrument):
    """Notes all that it is told."""

    def __init__(self):
        self.told = []

    def names(self):
        return [name for name, *_ in self.told]

    def told_of(self, wanted):
        return [args for name, *args in self.told if name == wanted]


def noting(name):
    def note(self, scope, *args):
        assert scope["path"] == "/"
        self.told.append((name, *args))

    return note


for _name in SCOPED:
    setattr(Log, _name, noting(_name))


async def call(content, **options):
    """Stream a content, that of a list in one message."""
    log = Log()
    content = one_by_one(content) if isinstance(content, list) else content
    await FakeClient().call(EventSourceResponse(content, instrument=log, **options))
    return log


async def one_by_one(items):
    for item in items:
        yield item


async def test_everything_is_told_in_order():
    async def produce(send):
        await anyio.sleep(3)
        await send.send("a")
        await anyio.sleep(20)
        await send.send("bc")

    assert (await call(produce)).told == [
        ("opened",),
        ("started",),
        ("first_byte", 3),
        ("sent", len("data: a\r\n\r\n")),
        ("delivered", 1),
        ("pinged",),
        ("sent", len("data: bc\r\n\r\n")),
        ("delivered", 1),
        ("closed", CloseReason.COMPLETED),
    ]


async def test_a_ping_is_no_first_byte():
    async def produce(send):
        await anyio.sleep(20)
        await send.send("a")

    log = await call(produce)
    assert log.names().index("pinged") < log.names().index("first_byte")
    assert log.told_of("first_byte") == [[20]]


async def test_the_first_byte_is_counted_from_the_call_and_not_from_the_headers():
    async def produce(send, *, task_status):
        await anyio.sleep(2)
        task_status.started()
        await anyio.sleep(3)
        await send.send("a")

    assert (await call(produce, preflight=True)).told_of("first_byte") == [[5]]


async def test_a_stream_without_events_has_no_first_byte():
    assert (await call([])).names() == ["opened", "started", "closed"]


@pytest.mark.parametrize("sep", LINE_ENDINGS)
async def test_the_events_of_a_message_are_counted_whatever_ends_their_lines(sep):
    items = ["a", ServerSentEvent("b\nc", event="e", id=1), {"data": ""}, "d\r\r\r\n\ne"]
    assert (await call(items, sep=sep)).told_of("delivered") == [[4]]


@pytest.mark.parametrize("end", ["\n\n", "\r\r", "\r\n\r\n", "\r\n\n", "\n\r\n", "\r\r\n", "\n\r"])
async def test_events_that_are_bytes_already_are_counted_by_their_ends(end):
    raw = b"".join(f"data: {n}{end}".encode() for n in range(3))
    assert (await call([raw, "x", b"data: no end"])).told_of("delivered") == [[4]]


async def test_bytes_that_end_no_event_are_sent_and_not_counted_as_one():
    log = await call([b"data: "])
    assert log.names() == ["opened", "started", "first_byte", "sent", "closed"]


async def test_a_stream_is_told_to_drain_before_it_is_closed():
    log, client = Log(), FakeClient()

    async def produce(send):
        await send.send("a")
        await anyio.sleep_forever()

    async with serving(client, EventSourceResponse(produce, instrument=log)):
        await client.wait_for_body(b"a")
        await drain()
    assert log.told[-2:] == [("drained",), ("closed", CloseReason.SHUTDOWN)]


async def test_a_stream_that_has_a_grace_is_told_at_its_beginning_and_once():
    log, client = Log(), FakeClient()

    async def produce(send):
        await draining().wait()
        assert log.names() == ["opened", "started", "drained"]
        await send.send("bye")

    async with serving(client, EventSourceResponse(produce, instrument=log)):
        await anyio.sleep(1)
        await drain()
    assert log.names().count("drained") == 1
    assert log.names()[-1] == "closed"


async def test_a_response_that_is_called_while_draining_is_closed_and_not_drained():
    await drain()
    assert (await call(["a"], retry=5)).told == [
        ("opened",),
        ("started",),
        *(("first_byte", 0), ("sent", len("retry: 5\r\n\r\n")), ("delivered", 1)),
        ("closed", CloseReason.SHUTDOWN),
    ]


async def test_a_stream_that_ends_by_itself_is_not_drained():
    assert "drained" not in (await call(["a"])).names()


@pytest.mark.parametrize("method", SCOPED)
async def test_an_instrument_that_raises_in_any_method_is_told_of_the_end_alone(method, caplog):
    async def produce(send):
        await send.send("a")
        await anyio.sleep(20)
        await draining().wait()

    def fail(self, scope, *args):
        noting(method)(self, scope, *args)
        raise LookupError("broken")

    log, client = type("Broken", (Log,), {method: fail})(), FakeClient()
    async with serving(client, EventSourceResponse(produce, instrument=log)):
        await anyio.sleep(30)
        await drain()
    assert client.complete
    assert log.names()[log.names().index(method) :] in ([method, "closed"], ["closed"])
    assert caplog.text.count("LookupError: broken") == 1


async def test_one_instrument_watches_streams_and_a_hub():
    class Both(Log):
        def published(self, topic, event):
            self.told.append(("published", topic))

    log = Both()
    async with open_hub(instrument=log) as hub:
        subscription = hub.subscribe("a")
        await hub.publish("a", "x")
        client = FakeClient()
        async with serving(client, EventSourceResponse(subscription, instrument=log)):
            await client.wait_for_body(b"data: x")
    assert log.names()[0] == "published"
    assert sum(count for [count] in log.told_of("delivered")) == 2  # ready is an event too
