"""Several tasks at one hub, and cancellation at each step."""

import asyncio
import itertools
from functools import partial

import anyio
import pytest
import trio
import trio.testing

from stepping import Steps, counted
from trio_sse import (
    MemoryEngine,
    open_hub,
)
from trio_sse.testing import VirtualTimeLoop

from .kit import Archive, seen, take

pytestmark = pytest.mark.anyio


def run_trio(main):
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def run_asyncio(main):
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


async def test_two_tasks_share_a_subscription():
    got = {"one": [], "other": []}

    async def receive(name):
        async for event in subscription:
            got[name].append(seen(event))

    async with open_hub() as hub, hub.subscribe("a", "b", key=1) as subscription:
        async with anyio.create_task_group() as group:
            for name in got:
                group.start_soon(receive, name)
            for n in range(50):
                await hub.publish("ab"[n % 2], n)
                if n % 7 == 0:
                    await anyio.sleep(1)
            await anyio.sleep(1)
            hub.revoke(key=1)
    together = got["one"] + got["other"]
    assert sorted(together) == sorted(["<ready>", "<revoked>", *map(str, range(50))])
    for numbers in ([int(data) for data in part if data.isdigit()] for part in got.values()):
        assert numbers == sorted(numbers)


async def test_a_task_that_is_cancelled_takes_no_wake_up_from_the_other():
    got = []

    async def receive():
        got.append(seen(await subscription.receive()))

    async with open_hub() as hub, hub.subscribe("a", "b") as subscription:
        await take(subscription, 1)
        for cancel_first in (True, False):
            async with anyio.create_task_group() as group:
                scopes = [anyio.CancelScope(), anyio.CancelScope()]

                async def receive_in(scope):
                    with scope:
                        await receive()

                for scope in scopes:
                    group.start_soon(receive_in, scope)
                await anyio.sleep(1)
                scopes[0 if cancel_first else 1].cancel()
                await anyio.sleep(1)
                await hub.publish("a", "x")
    assert got == ["x", "x"]


class Sweep:
    """A subscription whose receive() is cancelled before one step of the task that calls it.

    Args:
        at: The number of the step.
        cancel: Cancels, by what the task has put into ``scope`` and ``task``.
        options: Of `open_hub`.
    """

    def __init__(self, at, cancel, **options):
        self.steps = Steps(at, lambda: cancel(self))
        self.hub = open_hub(**options)
        self.got = []
        self.scope = self.task = None

    async def main(self, runtime, read, *others):
        with self.steps.counting(runtime):
            async with self.hub as hub, hub.subscribe("a", "b") as self.subscription:
                with anyio.move_on_after(1000):
                    async with anyio.create_task_group() as group:
                        token = counted.set(True)
                        group.start_soon(read, self)
                        counted.reset(token)
                        for other in others:
                            group.start_soon(other, self)
                        for n in range(12):
                            await hub.publish("ab"[n % 2], n)
                            await hub.publish("other", "x")
                            await anyio.sleep(0.5 if n > 3 else 0)

    async def receive(self):
        self.got.append(seen(await self.subscription.receive()))


ALL = ["<ready>", *map(str, range(12))]


def cancel_scope(sweep):
    if sweep.scope is not None:
        sweep.scope.cancel()


def cancel_task(sweep):
    """Cancel as asyncio does."""
    if sweep.task is not None:
        sweep.task.cancel()


async def receive_again_when_cancelled(sweep):
    if not trio.lowlevel.in_trio_run():
        sweep.task = asyncio.current_task()
    while len(sweep.got) < len(ALL):
        try:
            with anyio.CancelScope() as sweep.scope:
                await sweep.receive()
            if len(sweep.got) == 4:
                await anyio.sleep(3)  # and fall behind
        except asyncio.CancelledError:
            assert not sweep.task.uncancel(), "cancelled from outside"
    sweep.task = None


async def receive_until_cancelled(sweep):
    with anyio.CancelScope() as sweep.scope:
        for _ in range(5):
            await sweep.receive()


async def receive_the_rest(sweep):
    while len(sweep.got) < len(ALL):
        with anyio.move_on_after(1):
            await sweep.receive()


@pytest.mark.parametrize("engine", [MemoryEngine, partial(Archive, page=3)], ids=["memory", "kept"])
@pytest.mark.parametrize(
    ("run", "cancel"),
    [(run_trio, cancel_scope), (run_asyncio, cancel_scope), (run_asyncio, cancel_task)],
    ids=["trio", "asyncio", "asyncio's own"],
)
def test_a_receive_that_is_cancelled_before_whatever_step_loses_nothing(run, cancel, engine):
    runtime = "trio" if run is run_trio else "asyncio"
    for n in itertools.count(1):
        max_events = 100 if engine is MemoryEngine else 2
        sweep = Sweep(n, cancel, engine=engine(), max_events=max_events)
        run(partial(sweep.main, runtime, receive_again_when_cancelled))
        assert sweep.got == ALL, f"cancelled before step {n}"
        if not sweep.steps.acted:
            break
    assert n > len(ALL)


@pytest.mark.parametrize("run", [run_trio, run_asyncio], ids=["trio", "asyncio"])
def test_whoever_is_cancelled_before_whatever_step_the_other_gets_the_rest(run):
    runtime = "trio" if run is run_trio else "asyncio"
    for n in itertools.count(1):
        sweep = Sweep(n, cancel_scope)
        run(partial(sweep.main, runtime, receive_until_cancelled, receive_the_rest))
        assert sweep.got == ALL, f"cancelled before step {n}"
        if not sweep.steps.acted:
            break
    assert n > 5
