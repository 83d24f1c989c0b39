"""Engines, readers and helpers that the tests of a hub share."""

import json
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
import trio

from trio_sse import (
    Engine,
    Instrument,
    MemoryEngine,
    Record,
    ServerSentEvent,
)

UNREADABLE = [
    "x",
    "1",
    "-",
    "-1",
    "{epoch}",
    "{epoch}-",
    "{epoch}--1",
    "{epoch}-+1",
    "{epoch}-01",
    "{epoch}-1 ",
    "{epoch}-1.0",
    "{epoch}-1_0",
    "{epoch}-1-1",
    "{epoch}-0x1",
    "{epoch}-\u0661",  # a digit one, to Unicode
    "{epoch}-\u00b9",
    "{epoch}-\ufffd",
    "{epoch}-\ud800",
    "{epoch}-1\udc80",
    "{epoch} -1",
    "\u00e9poch-1",
    "\ud800-1",
    "\ufffd-1",
    " {epoch}-1",
    "{epoch}-1\n",
    "a b-1",
    "Earliest",
    "earliest ",
    "other-",
    "other-x",
    "{epoch}-" + "1" * 120,
    "e" * 127 + "-1",
    "1" * 100_000,
]


class Archive(Engine):
    """Keeps all events in a list, so more than the log of its hub.

    Args:
        page: How many events, of whatever topics, it looks at in one read.
        before: How many events there are that the hub has never been delivered.
        kept: How many of these the hub is given when it begins.
    """

    def __init__(self, page=1000, before=0, kept=0):
        self.records = old_records(before)
        self.epoch = "archive"
        self.lost = 0
        self.page = page
        self.kept = kept
        self.reads = []
        self.open_now = False

    epoch = ""

    @asynccontextmanager
    async def open(self, sink):
        self.sink = sink
        self.open_now = True
        start = len(self.records) - self.kept
        sink.begin(start, self.records[start:])
        try:
            yield
        finally:
            self.open_now = False

    async def publish(self, topic, event):
        await anyio.lowlevel.checkpoint()
        return self.publish_now(topic, event)

    def publish_now(self, topic, event):
        """What another process does: deliver without a step of any task of this one."""
        record = Record(len(self.records) + 1, topic, event)
        self.records.append(record)
        self.sink.deliver(record)
        return record.position

    def start_anew(self, kept=0):
        """What happens when the store was emptied: other events have these positions."""
        self.epoch += "x"
        self.records = old_records(kept)
        self.sink.begin(0, self.records)

    def has_lost(self, topics, position):
        return any(record.topic in topics for record in self.records[position : self.lost])

    async def reaches(self, topics, position):
        await anyio.lowlevel.checkpoint()
        return position <= len(self.records) and not self.has_lost(topics, position)

    async def earliest(self):
        await anyio.lowlevel.checkpoint()
        return self.lost

    async def read(self, topics, position, limit):
        assert self.open_now, "it is asked when it is closed"
        self.reads.append((topics, position, limit))
        await self.answering()
        if self.has_lost(topics, position):
            return None
        looked_at = self.records[position : position + self.page]
        found = [record for record in looked_at if record.topic in topics][:limit]
        if len(found) == limit:
            return found, found[-1].position
        return found, position + len(looked_at)

    async def answering(self):
        await anyio.lowlevel.checkpoint()


class Pausing(Archive):
    """Answers when it is told to."""

    def __init__(self, *args):
        super().__init__(*args)
        self.asked = anyio.Event()
        self.answer = anyio.Event()

    async def reaches(self, topics, position):
        await self.answering()
        return await super().reaches(topics, position)

    async def answering(self):
        self.asked.set()
        await self.answer.wait()


class Late(Archive):
    """Accepts what is published, and delivers it when it is told to."""

    def __init__(self, *args):
        super().__init__(*args)
        self.undelivered = []

    def publish_now(self, topic, event):
        """What another process does, or this one: it has not arrived here yet."""
        record = Record(len(self.records) + 1, topic, event)
        self.records.append(record)
        self.undelivered.append(record)
        return record.position

    def catch_up(self):
        for record in self.undelivered:
            self.sink.deliver(record)
        self.undelivered.clear()

    def lose(self, *, kept):
        """Deliver nothing of what there is; some of it can still be read."""
        self.lost = len(self.records) - kept
        self.undelivered.clear()
        self.sink.lost(len(self.records))


class Inbox:
    """A sink that notes what it is told."""

    def __init__(self):
        self.told = []

    def begin(self, position, kept=()):
        self.told.append(("begin", position, tuple(kept)))

    def deliver(self, record):
        self.told.append(("deliver", record))

    def lost(self, position):
        self.told.append(("lost", position))


class Held(MemoryEngine):
    """Keeps what it is to publish until it is let go."""

    def __init__(self, *held):
        super().__init__()
        self.gates = {data: anyio.Event() for data in held}
        self.asked = []

    def let_go(self, data):
        self.gates[data].set()

    async def publish(self, topic, event):
        self.asked.append(event.data)
        if event.data in self.gates:
            await self.gates[event.data].wait()
        return await super().publish(topic, event)


class Refusing(MemoryEngine):
    """Accepts no event that is bad."""

    async def publish(self, topic, event):
        if event.data == "bad":
            raise LookupError("the store is away")
        return await super().publish(topic, event)


class Witness(Instrument):
    """Notes what it is told."""

    def __init__(self):
        self.told = []

    def published(self, topic, event):
        self.told.append(("published", topic, event))

    def reset(self, topics, reason):
        self.told.append(("reset", topics, reason))

    def lagged(self, topics):
        self.told.append(("lagged", topics))

    @property
    def gaps(self):
        return [told for told in self.told if told[0] != "published"]


def raises(name, **options):
    """Expect an exception of the runtime, by trio's name."""
    if trio.lowlevel.in_trio_run():
        return pytest.raises(getattr(trio, name), **options)
    name = {"EndOfChannel": "EndOfStream"}.get(name, name)
    return pytest.raises(getattr(anyio, name), **options)


def seen(event):
    """What an event tells a client: its data, or what the hub says in it."""
    if event.event == "ready":
        return "<resumed>" if json.loads(event.data)["resumed"] else "<ready>"
    if event.event in ("reset", "revoked"):
        return f"<{json.loads(event.data)['reason']}>"
    return event.data


async def take(subscription, count):
    """Receive so many events, which must all be there."""
    with anyio.fail_after(1):
        return [seen(await subscription.receive()) for _ in range(count)]


async def take_all(subscription):
    """Receive what there is."""
    received = []
    with anyio.move_on_after(1):
        await read_into(received, subscription)
    return received


async def read_into(received, subscription):
    """Receive until the end, or until cancelled."""
    async for event in subscription:
        received.append(seen(event))


async def publish_all(hub, topic, items):
    return [await hub.publish(topic, item) for item in items]


async def read_from(hub, *topics, **options):
    """Subscribe, and receive what there is."""
    async with hub.subscribe(*topics, **options) as subscription:
        return await take_all(subscription)


async def enter_and_read_into(received, subscription):
    with anyio.fail_after(1000):
        async with subscription:
            await read_into(received, subscription)


@asynccontextmanager
async def behind(hub, **options):
    """A reader that waits for the engine to answer; what it got is there at the end."""
    received = []
    async with hub.subscribe("a", **options) as reader:
        await take(reader, 1)
        await publish_all(hub, "a", range(5))
        async with anyio.create_task_group() as group:
            group.start_soon(read_into, received, reader)
            await hub._feed.engine.asked.wait()
            yield reader, received
            await anyio.sleep(1)
            group.cancel_scope.cancel()


def old_records(count):
    return [Record(n, "a", ServerSentEvent(f"old {n}")) for n in range(1, count + 1)]


def position_of(event):
    return int(event.id.rpartition("-")[2])


def deliver(feed, *topics):
    for topic in topics:
        feed.deliver(Record(feed.log.head + 1, topic, ServerSentEvent("x")))
