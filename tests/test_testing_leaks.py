"""What outlives an app, or a block: whose it is, and that it is found."""

import asyncio
import sys
from contextlib import asynccontextmanager, nullcontext

import anyio
import anyio.lowlevel
import pytest
import trio

from trio_sse import EventSourceResponse
from trio_sse.testing import LeakError, check_leaks, open_stream

pytestmark = pytest.mark.anyio


async def polite(scope, receive, send):
    """An app that is there until its client leaves."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while (await receive())["type"] != "http.disconnect":
        pass


def leaving(spawn):
    """An app that starts a task, and does not wait for it."""

    async def app(scope, receive, send):
        spawn()
        await polite(scope, receive, send)

    return app


async def linger():
    await anyio.sleep(5)


async def generate():
    yield 1


@asynccontextmanager
async def in_a_task_group():
    async with anyio.create_task_group() as group:
        yield lambda: group.start_soon(linger)


@asynccontextmanager
async def beside_all_task_groups():
    """Spawn a system task of trio, or a bare one of asyncio, which ends before the test does."""
    tasks = []
    if trio.lowlevel.in_trio_run():
        yield lambda: trio.lowlevel.spawn_system_task(linger)
    else:
        yield lambda: tasks.append(asyncio.create_task(linger()))
    await anyio.sleep(10)


@pytest.fixture(params=[in_a_task_group, beside_all_task_groups])
def spawning(request):
    return request.param


# Left by an app


async def test_a_task_that_the_app_leaves_is_a_leak(spawning, anyio_backend_name):
    if anyio_backend_name == "trio":
        tells = spawning is in_a_task_group  # system tasks inherit nothing
    else:
        tells = sys.version_info >= (3, 12)
    async with spawning() as spawn:
        with pytest.raises(LeakError, match="left 1 task") if tells else nullcontext():
            async with open_stream(leaving(spawn)):
                pass


async def test_a_task_of_the_app_that_ends_with_it_is_no_leak():
    async def app(scope, receive, send):
        async with in_a_task_group() as spawn:
            await leaving(spawn)(scope, receive, send)

    async with open_stream(app):
        pass


async def test_a_task_of_the_test_is_not_blamed_on_the_app(spawning):
    async with spawning() as spawn, open_stream(polite), open_stream(polite):
        spawn()


async def test_a_task_that_was_there_before_is_not_blamed_on_the_app(spawning):
    async with spawning() as spawn:
        spawn()
        async with open_stream(polite):
            await anyio.lowlevel.checkpoint()


# Left by a block


async def test_a_block_that_leaves_a_task_behind_leaks(spawning):
    async with spawning() as spawn:
        with pytest.raises(LeakError, match=r"left behind: .*linger"):
            async with check_leaks():
                spawn()


async def test_a_block_that_leaves_a_generator_open_leaks():
    generators = []

    async def leave_one():
        generators.append(generate())
        await anext(generators[0])

    with pytest.raises(LeakError, match="left behind: <async_generator object generate"):
        async with check_leaks():
            await leave_one()
    await generators[0].aclose()


async def test_a_generator_that_has_not_begun_does_not_leak():
    async with check_leaks():
        generator = generate()
    await generator.aclose()


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_a_generator_that_is_dropped_in_its_midst_leaks():
    async def drop_one():
        async for _ in generate():
            break

    with pytest.raises(LeakError, match=r"left behind: '.*generate'"):
        async with check_leaks():
            await drop_one()


async def test_a_block_that_ends_what_it_begins_does_not_leak():
    async with check_leaks():
        async with open_stream(EventSourceResponse(generate())) as stream:
            assert (await stream.receive()).data == "1"
        async with in_a_task_group() as spawn:
            spawn()
        generator = generate()
        await anext(generator)
        await generator.aclose()


async def test_a_task_that_is_about_to_end_does_not_leak():
    for _ in range(5):  # on trio tasks that are ready run in any order
        may_end = anyio.Event()
        async with anyio.create_task_group() as group, check_leaks():
            group.start_soon(may_end.wait)
            await anyio.sleep(1)
            may_end.set()


async def test_what_there_was_before_the_block_does_not_count(spawning):
    generator = generate()
    await anext(generator)
    async with spawning() as spawn:
        spawn()
        async with check_leaks():
            await anyio.lowlevel.checkpoint()
    await generator.aclose()


async def leave_and_fail(generator):
    await anext(generator)
    raise KeyError("the block's")


async def test_what_a_block_raises_comes_before_what_it_leaves_behind():
    generator = generate()
    with pytest.raises(KeyError, match="the block's"):
        async with check_leaks():
            await leave_and_fail(generator)
    await generator.aclose()
