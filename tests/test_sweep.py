"""A stream that is interrupted before any one of its steps leaves nothing behind."""

import asyncio
from functools import partial

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing

from fake_servers import Hypercorn, HypercornH2, Uvicorn
from sweep import (
    VISITOR,
    Cancel,
    Disconnect,
    Drain,
    Freeze,
    NativeCancel,
    Revoke,
    Stage,
    sweep,
)
from trio_sse import ConnectionLimit, MemoryEngine, ServerSentEvent, draining, open_hub
from trio_sse._runtime import current_runtime
from trio_sse._source import MAX_CHUNK_SIZE
from trio_sse.testing import VirtualTimeLoop


def run_trio(main):
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def run_asyncio(main):
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


async def shielded_clean_up(stage, name):
    with anyio.move_on_after(2, shield=True):
        await anyio.sleep(0.2)
        stage.closes(name)


def produces(stage):
    async def produce(send):
        stage.opens("producer")
        try:
            for n in range(3):
                await send.send(ServerSentEvent(n, id=n))
                await anyio.sleep(1)
            send.send_nowait("last")
        finally:
            await shielded_clean_up(stage, "producer")

    return produce


def produces_with_clones(stage):
    async def one(send, letter):
        stage.opens(letter)
        try:
            async with send:
                await send.send(letter)
                await anyio.sleep(0.5)
                await send.send(letter)
        finally:
            stage.closes(letter)

    async def produce(send):
        async with anyio.create_task_group() as group:
            for letter in "ab":
                clone = send.clone()
                group.start_soon(one, clone, letter)
                await anyio.sleep(0.1)

    return produce


def produces_after_preflight(stage):
    async def produce(send, *, task_status):
        stage.opens("producer")
        try:
            await anyio.sleep(0.3)
            task_status.started()
            await send.send("a")
            await anyio.sleep(0.3)
            await send.send("b")
        finally:
            stage.closes("producer")

    return produce


def produces_until_draining(stage):
    async def produce(send):
        stage.opens("producer")
        try:
            await send.send("a")
            with anyio.move_on_after(2):
                await draining().wait()
            await send.send("b")
        finally:
            stage.closes("producer")

    return produce


def generates(stage):
    async def generate():
        stage.opens("generator")
        try:
            for n in range(3):
                yield n
                await anyio.sleep(1)
        finally:
            await shielded_clean_up(stage, "generator")

    return generate()


def generates_within_a_scope(stage):
    async def generate():
        stage.opens("generator")
        try:
            with anyio.move_on_after(100):
                for n in range(3):
                    yield n
                    await anyio.sleep(1)
        finally:
            stage.closes("generator")

    return generate()


async def child(stage):
    stage.opens("child")
    try:
        await anyio.sleep_forever()
    finally:
        stage.closes("child")


def generates_within_a_nursery(stage):
    async def generate():
        stage.opens("generator")
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(child, stage)
                for n in range(3):
                    yield n
                    await anyio.sleep(1)
                group.cancel_scope.cancel()
        finally:
            stage.closes("generator")

    return generate()


def generates_more_than_fits(stage):
    """Most of the time the pump waits for room, and the generator is suspended in yield."""

    async def generate():
        stage.opens("generator")
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(child, stage)
                with anyio.move_on_after(1000):
                    for _ in range(3):
                        yield "x" * MAX_CHUNK_SIZE
                group.cancel_scope.cancel()
        finally:
            await shielded_clean_up(stage, "generator")

    return generate()


class Iterates:
    def __init__(self, stage):
        stage.opens("iterator")
        self.stage = stage
        self.left = 3

    def __aiter__(self):
        return self

    async def __anext__(self):
        await anyio.sleep(0.5)
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return self.left

    async def aclose(self):
        await anyio.sleep(0.5)
        self.stage.closes("iterator")


def hands_in_a_channel(stage):
    stage.send, receive = current_runtime().open_memory_channel(2)
    return receive


def with_a_data_sender(stage):
    async def fill():
        stage.opens("sender")
        try:
            async with stage.send:
                for n in range(3):
                    await stage.send.send(n)
                    await anyio.sleep(0.3)
        finally:
            stage.send.close()
            stage.closes("sender")

    # A data sender that never runs cannot close its channel.
    response_closes = stage.on_close

    async def on_close(reason):
        stage.send.close()
        await response_closes(reason)

    stage.on_close = on_close
    return {"data_sender_callable": fill}


class SameIds(MemoryEngine):
    """One run can be compared with another."""

    epoch = "same"


async def with_a_hub(stage, *, task_status):
    """Publish before and during the stream, which ends when the hub is closed."""
    async with open_hub(engine=SameIds()) as hub:
        stage.hub = hub
        stage.taken.append(lambda: hub.statistics().subscribers)
        await hub.publish("news", "x" * MAX_CHUNK_SIZE)
        await hub.publish("news", "replayed")
        task_status.started()
        for n in range(3):
            await anyio.sleep(1)
            await hub.publish("news", n)
        hub.publish_nowait("news", "last")


async def authorize(topics):
    await anyio.sleep(0.3)
    return True


def subscribes(stage):
    return stage.hub.subscribe("news", last_event_id="earliest", authorize=authorize, key=VISITOR)


def generates_from_a_subscription(stage):
    async def generate():
        stage.opens("generator")
        try:
            async with subscribes(stage) as subscription:
                async for event in subscription:
                    yield event
        finally:
            stage.closes("generator")

    return generate()


def with_a_slot(stage):
    limit = ConnectionLimit(total=1)
    stage.taken.append(lambda: limit.statistics().connections)
    return {"limit": limit}


SUBSCRIPTIONS = {
    "subscription": partial(Stage, subscribes, beside=with_a_hub),
    "subscription and a server that never suspends": partial(
        Stage, subscribes, slow=0, beside=with_a_hub
    ),
    "subscription with a slot": partial(Stage, subscribes, with_a_slot, beside=with_a_hub),
}
STAGES = {
    "producer": partial(Stage, produces),
    "producer with pings": partial(Stage, produces, lambda stage: {"ping": 0.3}),
    "producer with clones": partial(Stage, produces_with_clones),
    "producer with preflight": partial(
        Stage, produces_after_preflight, lambda stage: {"preflight": True}
    ),
    "producer that waits for draining": partial(Stage, produces_until_draining),
    "producer and a server that never suspends": partial(Stage, produces, slow=0),
    "channel and data sender": partial(
        Stage, hands_in_a_channel, lambda stage: {**with_a_data_sender(stage)}
    ),
    "generator": partial(Stage, generates),
    "generator within a scope": partial(Stage, generates_within_a_scope),
    "generator within a nursery": partial(Stage, generates_within_a_nursery),
    "generator of more than fits": partial(Stage, generates_more_than_fits),
    "iterator": partial(Stage, Iterates),
    "iterator that expires": partial(Stage, Iterates, lambda stage: {"max_age": 100}),
    "producer with a slot": partial(Stage, produces, with_a_slot),
    "generator from a subscription": partial(
        Stage, generates_from_a_subscription, beside=with_a_hub
    ),
    **SUBSCRIPTIONS,
}
INJECTIONS = [Cancel(), Disconnect(), Drain(), Freeze()]


@pytest.mark.parametrize("injection", INJECTIONS, ids=lambda injection: type(injection).__name__)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("run", [run_trio, run_asyncio], ids=["trio", "asyncio"])
def test_nothing_is_left_behind_whichever_step_is_interrupted(stage, injection, run):
    assert sweep(STAGES[stage], injection, run) > 10


@pytest.mark.parametrize("injection", INJECTIONS, ids=lambda injection: type(injection).__name__)
@pytest.mark.parametrize("stage", ["producer with pings", "generator", "subscription"])
@pytest.mark.parametrize("server", [Hypercorn, HypercornH2, Uvicorn])
@pytest.mark.parametrize("run", [run_trio, run_asyncio], ids=["trio", "asyncio"])
def test_a_connection_is_let_go_of_whichever_step_is_interrupted(stage, injection, server, run):
    assert sweep(partial(STAGES[stage], server=server), injection, run) > 10


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_left_behind_whichever_step_a_native_cancellation_hits(stage):
    assert sweep(STAGES[stage], NativeCancel(), run_asyncio) > 10


@pytest.mark.parametrize("stage", SUBSCRIPTIONS)
@pytest.mark.parametrize("run", [run_trio, run_asyncio], ids=["trio", "asyncio"])
def test_nothing_is_left_behind_before_whichever_step_a_subscription_is_revoked(stage, run):
    assert sweep(SUBSCRIPTIONS[stage], Revoke(), run) > 10
