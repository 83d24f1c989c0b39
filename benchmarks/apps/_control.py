"""What is around each app: its start-up, its counts, and the task that publishes."""

import gc
import json
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import parse_qs

import anyio

from ._events import timed_text
from ._queues import Audience
from ._runtime import TRIO

if TRIO:
    import trio
else:
    import asyncio

GC = "TRIO_SSE_BENCHMARK_GC"
TUNED = (50_000, 20, 50)


class Controlled:
    """An app with its audience, which its endpoints find in ``scope["audience"]``.

    Args:
        app: The app, with the endpoints of a library.
        open_audience: Opens that for the life of the app.
        package: Whose objects `/stats` counts.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        open_audience: Callable[[], AbstractAsyncContextManager[Audience]],
        package: str,
    ) -> None:
        self._app = app
        self._open_audience = open_audience
        self._package = package

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the lifespan, a command, or a stream."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] == "/stats":
            await respond(send, self._stats(collect=b"collect" in scope["query_string"]))
        elif scope["path"] == "/publish":
            query = parse_qs(scope["query_string"].decode())
            rate, count = float(query["rate"][0]), int(query["count"][0])
            self._tasks.start_soon(self._publish, rate, count)
            await respond(send, {})
        else:
            scope["audience"] = self._audience
            await self._app(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        async with (
            self._open_audience() as self._audience,
            anyio.create_task_group() as self._tasks,
        ):
            if os.environ.get(GC) == "tuned":
                gc.collect()
                gc.freeze()
                gc.set_threshold(*TUNED)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._tasks.cancel_scope.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _publish(self, rate: float, count: int) -> None:
        """Publish so many events, so many a second or as many as possible."""
        start = anyio.current_time()
        for number in range(count):
            if rate:
                await anyio.sleep(max(0, start + number / rate - anyio.current_time()))
            await self._audience.publish(timed_text(number))
        await self._audience.end()

    def _stats(self, *, collect: bool) -> dict[str, int]:
        stats = {
            "pid": os.getpid(),
            "subscribers": self._audience.count,
            "tasks": trio.lowlevel.current_statistics().tasks_living
            if TRIO
            else len(asyncio.all_tasks()),
            "descriptors": len(os.listdir("/proc/self/fd")),
        }
        if collect:
            gc.collect()
            gc.collect()
            modules = (str(type(each).__module__) for each in gc.get_objects())
            stats["objects"] = sum(module.partition(".")[0] == self._package for module in modules)
        return stats


async def respond(send: Any, answer: object) -> None:
    """Answer with JSON."""
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
