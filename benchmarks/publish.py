"""What publishing costs: ``python benchmarks/publish.py``, half a minute.

Three hubs in one run take turns, so that whatever else the machine does meets all alike. A
thousand subscriptions that have stopped reading should cost nothing: a ratio of 1. Then
each of 100,000 topics gets one event.
"""

import time
import tracemalloc
from collections.abc import Iterable
from contextlib import AsyncExitStack
from statistics import median

import trio

from trio_sse import Hub, Subscription, open_hub

TEXT = "x" * 100
TOPICS = 100_000
ROUNDS = 11

# How many subscriptions read, how many do not, and how many events a round publishes.
AUDIENCES = {
    "no subscriptions": (0, 0, 10_000),
    "1,000 live": (1_000, 0, 100),
    "1,000 live + 1,000 frozen": (1_000, 1_000, 100),
}


async def main() -> None:
    """Measure, and print."""
    async with AsyncExitStack() as stack:
        hubs = {name: await stack.enter_async_context(open_hub()) for name in AUDIENCES}
        async with trio.open_nursery() as nursery:
            for name, (live, frozen, _) in AUDIENCES.items():
                for number in range(live + frozen):
                    subscription = await stack.enter_async_context(hubs[name].subscribe("news"))
                    if number < live:
                        nursery.start_soon(read, subscription)
            rounds = [
                {name: await measure(hub, *AUDIENCES[name]) for name, hub in hubs.items()}
                for _ in range(ROUNDS)
            ]
            nursery.cancel_scope.cancel()
    for name, (live, _, events) in AUDIENCES.items():
        seconds, cpu = map(median, zip(*(taken[name] for taken in rounds), strict=True))
        each = f", {cpu / events / live * 1e6:.2f} us per delivery" if live else ""
        print(f"{name:26} {events / seconds:6.0f} events/s, {cpu / events * 1e6:.0f} us each{each}")
    _, without, frozen = AUDIENCES
    ratio = median(taken[frozen][1] / taken[without][1] for taken in rounds)
    print(f"with frozen subscriptions, to without: {ratio:.2f}")
    await measure_topics()


async def read(subscription: Subscription) -> None:
    """Be a live subscription."""
    async for _ in subscription:
        pass


async def measure(hub: Hub, live: int, frozen: int, events: int) -> tuple[float, float]:
    """Publish until everyone who reads has read; return seconds, and seconds of CPU."""
    enough = hub.statistics().delivered + live * events
    seconds, cpu = time.perf_counter(), time.process_time()
    await publish(hub, ["news"] * events)
    while hub.statistics().delivered < enough:
        await trio.lowlevel.checkpoint()
    return time.perf_counter() - seconds, time.process_time() - cpu


async def publish(hub: Hub, topics: Iterable[str]) -> None:
    """Publish an event to each of these topics."""
    for topic in topics:
        await hub.publish(topic, TEXT)


async def measure_topics() -> None:
    """Publish one event to each of many topics: time first, and then memory."""
    topics = [f"user-{number}" for number in range(TOPICS)]
    async with open_hub() as hub:
        cpu = time.process_time()
        await publish(hub, topics)
        print(f"{TOPICS:,} topics: {(time.process_time() - cpu) / TOPICS * 1e6:.1f} us per publish")
    several, one = await count_bytes(topics), await count_bytes(["news"] * TOPICS)
    print(f"{several:.0f} bytes per topic with its event, {several - one:.0f} without")


async def count_bytes(topics: list[str]) -> float:
    """Return how many bytes a hub needs for each of these events."""
    async with open_hub() as hub:
        tracemalloc.start()
        await publish(hub, topics)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size / len(topics)


if __name__ == "__main__":
    trio.run(main)
