"""What tests of the live page share."""

import json
from contextlib import asynccontextmanager

import pytest
import trio

pytest.importorskip("hypercorn")

from hypercorn.config import Config

from trio_sse.demo._app import make_app
from trio_sse.demo._show import open_show
from trio_sse.hypercorn import serve
from trio_sse.testing import open_stream

virtual_time = pytest.mark.parametrize("virtual_time_backend", ["trio"], indirect=True)
real_time = pytest.mark.parametrize("anyio_backend", ["trio"])


# Seconds, of virtual time for most; the show itself would go on for ever.
ENOUGH = 300


@asynccontextmanager
async def shown():
    """Open the show, and yield it and its app."""
    with trio.fail_after(ENOUGH):
        async with open_show() as show:
            yield show, make_app(show)


@asynccontextmanager
async def served(show):
    """Serve the show on a socket, and yield where."""
    config = Config.from_mapping(bind="127.0.0.1:0", errorlog=None)
    leave = trio.Event()

    async def run(*, task_status):
        app = make_app(show)
        await serve(app, config, shutdown_trigger=leave.wait, task_status=task_status)

    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(run)
        host, _, port = address.partition("://")[2].rpartition(":")
        yield host, int(port)
        leave.set()


async def ask(app, path, method="GET", body=b"", scope=None):
    """Send a request that has an answer with an end; return its status and its text."""
    async with open_stream(app, path, method=method, body=body, scope=scope) as client:
        await client.ended.wait()
        return client.status, client.body.decode()


async def receive(source, topic):
    """Return the fields of the next event of a topic, from a stream or a subscription."""
    while True:
        event = await source.receive()
        if getattr(event, "type", None) == topic or getattr(event, "event", None) == topic:
            return json.loads(event.data)
