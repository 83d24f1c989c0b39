"""What is shown: it goes on whichever server there is to tell of it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import uniform

import trio

from .. import ConnectionLimit, Hub, JSONServerSentEvent, open_hub
from ._cuts import Cuts
from ._frozen import FrozenClient
from ._instruments import Meter, Snapshot

# Seconds between two numbers: twenty a second, and none like the other.
LEAST_PAUSE, LONGEST_PAUSE = 0.02, 0.08

# Streams that are open at once: more than a few people with a few tabs each.
MOST_STREAMS = 100

# Seconds from one point of the charts to the next.
MEASURE_PERIOD = 0.5


class Show:
    """What the servers of the page share, one after the other.

    Args:
        hub: The hub, whose log the browsers resume from.
        snapshot: Its instrument.
        nursery: For what an endpoint starts and does not wait for.
    """

    def __init__(self, hub: Hub, snapshot: Snapshot, nursery: trio.Nursery) -> None:
        self.hub = hub
        self.snapshot = snapshot
        self.nursery = nursery
        self.meter = Meter()
        self.cuts = Cuts()
        self.limit = ConnectionLimit(total=MOST_STREAMS)
        self.frozen: FrozenClient | None = None
        self.server = 0
        """The number of the server that is there."""
        self.leaving = False
        self.told = trio.Event()
        """Set when that one is to leave."""

    def begin_server(self) -> None:
        """Note that the next server begins."""
        self.server += 1
        self.told = trio.Event()

    def drain(self) -> None:
        """Let the server that is there leave."""
        self.told.set()

    def leave(self) -> None:
        """Let it leave, and no other take its place."""
        self.leaving = True
        self.told.set()

    async def publish_measures(self) -> None:
        """Publish, twice a second, how much is delivered, and to how many."""
        began = before = trio.current_time()
        delivered = 0
        while True:
            await trio.sleep(MEASURE_PERIOD)
            now = trio.current_time()
            total = self.hub.statistics().delivered
            measures = {
                "at": round(now - began, 3),
                "rate": round((total - delivered) / (now - before), 1),
                "clients": self.meter.clients,
                "server": self.server,
            }
            await self.hub.publish("measures", JSONServerSentEvent(measures, event="measures"))
            before, delivered = now, total


async def publish_numbers(hub: Hub) -> None:
    """Publish one number after the other, with the moment of each."""
    number = 0
    while True:
        number += 1
        fields = {"number": number, "at": round(trio.current_time(), 3)}
        await hub.publish("numbers", JSONServerSentEvent(fields, event="numbers"))
        await trio.sleep(uniform(LEAST_PAUSE, LONGEST_PAUSE))


@asynccontextmanager
async def open_show() -> AsyncGenerator[Show]:
    """Let the show go on for as long as a block runs."""
    snapshot = Snapshot()
    async with open_hub(instrument=snapshot) as hub, trio.open_nursery() as nursery:
        show = Show(hub, snapshot, nursery)
        nursery.start_soon(publish_numbers, hub)
        nursery.start_soon(show.publish_measures)
        yield show
        nursery.cancel_scope.cancel()
