"""A thousand subscribers that read, and a thousand that have stopped: what the latter cost."""

import gc
import tracemalloc
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import anyio
import pytest

from fakes import FakeClient
from stepping import Steps, counted
from trio_sse import EventSourceResponse, open_hub
from trio_sse._cursor import Cursor

pytestmark = pytest.mark.anyio

LIVE = FROZEN = 1000

# Bytes of a subscription that is entered, and what holds it; a response comes on top of that.
SUBSCRIPTION = 2048

# Of all frozen subscriptions together, while there are ten thousand events for each of them:
# longer numbers, and what the runtime itself takes and gives back.
NOISE = 16 * 1024

LOG = 1000


@pytest.fixture
def woken(monkeypatch):
    """How often subscriptions were woken, by their keys."""
    woken = Counter()
    wake = Cursor.wake

    def count(cursor, record=None):
        woken[cursor.key] += 1
        wake(cursor, record)

    monkeypatch.setattr(Cursor, "wake", count)
    return woken


@asynccontextmanager
async def audience(hub):
    """Let clients subscribe, of whom half freeze at the first event; only their steps count."""
    live, frozen = (
        [FakeClient() for _ in range(LIVE)],
        [FakeClient(freeze_at=2) for _ in range(FROZEN)],
    )
    async with anyio.create_task_group() as group:
        for key, clients in (("live", live), ("frozen", frozen)):
            token = counted.set(key == "frozen")
            for client in clients:
                response = EventSourceResponse(hub.subscribe("news", key=key), ping=0)
                group.start_soon(client.call, response)
            counted.reset(token)
        await everyone(live + frozen, b"ready")
        await hub.publish("news", "first")
        await everyone(live, b"first")
        for client in frozen:
            await client.frozen.wait()
        yield live
        group.cancel_scope.cancel()


async def everyone(clients, text):
    for client in clients:
        await client.wait_for_body(text)


async def test_what_is_published_wakes_nobody_who_is_frozen(anyio_backend_name, woken):
    steps = Steps(at=0, action=lambda: None)
    with steps.counting(anyio_backend_name):
        async with open_hub() as hub, audience(hub) as live:
            steps_before, woken_before = steps.taken, woken.copy()
            for text in ("second", "third", "fourth"):
                await hub.publish("news", text)
                await everyone(live, text.encode())
            assert steps.taken == steps_before
            assert woken - woken_before == {"live": 3 * LIVE}


@contextmanager
def traced():
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def memory():
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def test_a_frozen_subscription_costs_two_kilobytes_however_far_it_is_behind():
    with traced():
        async with open_hub(max_events=LOG) as hub, AsyncExitStack() as stack:
            await publish(hub, 2 * LOG)
            before = memory()
            frozen = [hub.subscribe("news") for _ in range(FROZEN)]
            for subscription in frozen:
                await stack.enter_async_context(subscription)
            entered = memory()
            assert (entered - before) / FROZEN < SUBSCRIPTION
            await publish(hub, 10_000)
            assert memory() - entered < NOISE


async def publish(hub, count):
    for _ in range(count):
        await hub.publish("news", "x" * 100)
