"""From one process to another over Redis: ``python benchmarks/processes.py``, half a minute.

It starts a ``redis-server`` of its own. Beside each figure is that of the hub in memory, where
the reader is a task of the publisher's process, in the same run.

* *paced*: 500 events a second; the time from the call of ``publish`` to the receipt.
* *one after the other*: each ``publish`` waits for the one before.
* *from 100 tasks*, *from the outbox*: as many as possible at once.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from statistics import median, quantiles

import anyio
import trio

from trio_sse import Hub, Subscription, open_hub
from trio_sse.redis import RedisEngine

ROUNDS = 5
PACED, PACE = 1000, 0.002
ONE_BY_ONE, AT_ONCE = 1000, 10_000
TASKS = 100
FILLER = "x" * 100

Publish = Callable[[Hub, int], Awaitable[None]]


async def paced(hub: Hub, count: int) -> None:
    """Publish at an even pace."""
    start = trio.current_time()
    for number in range(count):
        await trio.sleep_until(start + number * PACE)
        await hub.publish("news", f"{time.monotonic()} {FILLER}")


async def one_by_one(hub: Hub, count: int) -> None:
    """Publish as fast as one task can."""
    for _ in range(count):
        await hub.publish("news", f"{time.monotonic()} {FILLER}")


async def from_tasks(hub: Hub, count: int) -> None:
    """Publish as fast as many tasks can."""
    async with trio.open_nursery() as nursery:
        for _ in range(TASKS):
            nursery.start_soon(one_by_one, hub, count // TASKS)


async def from_outbox(hub: Hub, count: int) -> None:
    """Publish as fast as the outbox is emptied."""
    for _ in range(count):
        while True:
            try:
                hub.publish_nowait("news", f"{time.monotonic()} {FILLER}")
                break
            except trio.WouldBlock:
                await trio.lowlevel.checkpoint()


WORK: dict[str, tuple[Publish, int]] = {
    "paced": (paced, PACED),
    "one after the other": (one_by_one, ONE_BY_ONE),
    "from 100 tasks": (from_tasks, AT_ONCE),
    "from the outbox": (from_outbox, AT_ONCE),
}


async def receive(subscription: Subscription, count: int) -> tuple[float, list[float]]:
    """Receive so many events; return when the last came, and how long each has taken."""
    taken: list[float] = []
    async for event in subscription:
        if event.event is None:
            taken.append(time.monotonic() - float(str(event.data).partition(" ")[0]))
            if len(taken) == count:
                break
    return time.monotonic(), taken


async def measure_memory(publish: Publish, count: int) -> tuple[float, list[float]]:
    """Publish to a task; return events per second, and how long each has taken."""
    async with open_hub() as hub, hub.subscribe("news") as subscription:
        received: list[tuple[float, list[float]]] = []

        async def read() -> None:
            received.append(await receive(subscription, count))

        start = time.monotonic()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await publish(hub, count)
        end, taken = received[0]
        return count / (end - start), taken


async def measure_redis(url: str, publish: Publish, count: int) -> tuple[float, list[float]]:
    """Publish to another process; return events per second, and how long each has taken."""
    command = [sys.executable, __file__, url, str(count)]
    run = partial(trio.run_process, command, stdout=subprocess.PIPE)
    async with open_hub(engine=RedisEngine(url)) as hub, trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        assert process.stdout is not None
        await process.stdout.receive_some()  # it says that it is ready
        start = time.monotonic()
        await publish(hub, count)
        answer = b"".join([part async for part in process.stdout])
        end, *taken = map(float, answer.split())
        return count / (end - start), taken


async def be_received(url: str, count: int) -> None:
    """Be the other process."""
    async with open_hub(engine=RedisEngine(url)) as hub, hub.subscribe("news") as subscription:
        print(end=" ", flush=True)
        end, taken = await receive(subscription, count)
        print(end, *taken)


@asynccontextmanager
async def redis_server() -> AsyncGenerator[str]:
    """Run a Redis; return its URL."""
    if shutil.which("redis-server") is None:
        sys.exit("redis-server is not there: install it, Debian's package for example")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        async with trio.open_nursery() as nursery:
            command = ["redis-server", "--port", str(port), "--dir", directory, "--save", ""]
            nursery.start_soon(partial(trio.run_process, command, capture_stdout=True, check=False))
            while True:
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.05)
            yield f"redis://127.0.0.1:{port}"
            nursery.cancel_scope.cancel()


async def main() -> None:
    """Measure, and print."""
    async with redis_server() as url:
        for name, (publish, count) in WORK.items():
            measured = [
                (await measure_memory(publish, count), await measure_redis(url, publish, count))
                for _ in range(ROUNDS)
            ]
            for where, rounds in zip(("memory", "Redis"), zip(*measured, strict=True), strict=True):
                rate = median(rate for rate, _ in rounds)
                hundredths = quantiles((each for _, taken in rounds for each in taken), n=100)
                print(
                    f"{name:20} {where:7} {rate:7.0f} events/s, publish to receipt: "
                    f"p50 {hundredths[49] * 1e3:7.3f} ms, p99 {hundredths[98] * 1e3:7.3f} ms"
                )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        anyio.run(be_received, sys.argv[1], int(sys.argv[2]), backend="trio")
    else:
        trio.run(main)
