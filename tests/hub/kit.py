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
    """

    def __init__(self, page=1000, before=0):
        self.records = [Record(n + 1, "a", ServerSentEvent(f"old {n + 1}")) for n in range(before)]
        self.lost = 0
        self.page = page
        self.reads = []
        self.open_now = False

    epoch = "archive"

    @asynccontextmanager
    async def open(self, deliver):
        self._deliver = deliver
        self.open_now = True
        try:
            yield len(self.records)
        finally:
            self.open_now = False

    async def publish(self, topic, event):
        await anyio.lowlevel.checkpoint()
        return self.publish_now(topic, event)

    def publish_now(self, topic, event):
        """What another process does: deliver without a step of any task of this one."""
        record = Record(len(self.records) + 1, topic, event)
        self.records.append(record)
        self._deliver(record)
        return record.position

    async def reaches(self, topics, position):
        await anyio.lowlevel.checkpoint()
        return position >= self.lost

    async def read(self, topics, position, limit):
        assert self.open_now, "it is asked when it is closed"
        self.reads.append((topics, position, limit))
        await self.answering()
        if position < self.lost:
            return None
        looked_at = self.records[position : position + self.page]
        found = [record for record in looked_at if record.topic in topics][:limit]
        if len(found) == limit:
            return found, found[-1].position
        return found, position + len(looked_at)

    async def answering(self):
        await anyio.lowlevel.checkpoint()


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


def position_of(event):
    return int(event.id.rpartition("-")[2])


def deliver(feed, *topics):
    for topic in topics:
        feed.deliver(Record(feed.log.head + 1, topic, ServerSentEvent("x")))
