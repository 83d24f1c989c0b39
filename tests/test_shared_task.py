"""One task for many hosts, in the nursery of one of them."""

from contextlib import asynccontextmanager

import anyio
import pytest

from trio_sse._shared_task import SharedTask

pytestmark = pytest.mark.anyio


class Host:
    """A host with a nursery of its own."""

    def __init__(self, group):
        self.group = group

    def start_soon(self, async_fn):
        self.group.start_soon(async_fn)


@asynccontextmanager
async def hosting(shared):
    """A host of a shared task, until the block ends."""
    async with anyio.create_task_group() as group:
        host = Host(group)
        shared.join(host)
        yield host
        shared.leave(host)
        group.cancel_scope.cancel()


class Work:
    """What a shared task does: nothing, until it is told to end."""

    def __init__(self):
        self.shared = SharedTask(self.run)
        self.begun = self.running = self.most = 0
        self.end = anyio.Event()

    async def run(self):
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.end.wait()
        finally:
            self.running -= 1


async def test_many_hosts_have_one_task():
    work = Work()
    async with hosting(work.shared), hosting(work.shared), hosting(work.shared):
        await anyio.sleep(1)
        assert work.begun == work.running == 1
        assert work.shared
    assert work.running == 0
    assert work.most == 1
    assert not work.shared


async def test_another_host_has_it_when_its_own_leaves():
    work = Work()
    ended = anyio.Event()

    async def host_until_ended():
        async with hosting(work.shared):
            await ended.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(host_until_ended)
        await anyio.sleep(1)
        async with hosting(work.shared):
            ended.set()
            await anyio.sleep(1)
            assert (work.begun, work.running) == (2, 1)
    assert (work.begun, work.running, work.most) == (2, 0, 1)


async def test_a_later_host_has_it_when_there_was_none_for_a_while():
    work = Work()
    for count in (1, 2):
        async with hosting(work.shared):
            await anyio.sleep(1)
            assert (work.begun, work.running) == (count, 1)
        assert work.running == 0


async def test_a_host_that_is_cancelled_and_takes_its_time_does_not_get_it_back():
    work = Work()

    async def be_slow():
        with anyio.CancelScope(shield=True):
            await anyio.sleep(10)

    async with anyio.create_task_group() as group:
        host = Host(group)
        work.shared.join(host)
        group.start_soon(be_slow)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert work.begun == 1
    assert not work.shared
    work.shared.leave(host)


async def test_once_it_has_returned_no_host_needs_it():
    work = Work()
    async with hosting(work.shared):
        await anyio.sleep(1)
        work.end.set()
        async with hosting(work.shared):
            await anyio.sleep(1)
    assert (work.begun, work.running) == (1, 0)


async def test_what_it_raises_is_raised_in_its_own_host_alone():
    async def fail():
        await anyio.sleep(1)
        raise ValueError

    shared = SharedTask(fail)

    async def host_both(other):
        async with hosting(shared):
            shared.join(other)
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        other = Host(group)
        with pytest.raises(ExceptionGroup) as raised:
            await host_both(other)
        assert raised.group_contains(ValueError)
        await anyio.sleep(10)
        shared.leave(other)


@pytest.mark.parametrize("virtual_time_backend", ["trio"], indirect=True)
async def test_after_an_interrupt_another_host_has_it():
    begun = 0

    async def be_interrupted_once():
        nonlocal begun
        begun += 1
        await anyio.sleep(1)
        if begun == 1:
            raise KeyboardInterrupt
        await anyio.sleep_forever()

    shared = SharedTask(be_interrupted_once)

    async def host_one():
        async with hosting(shared):
            await anyio.sleep_forever()

    async def host_both(other):
        async with anyio.create_task_group() as group:
            group.start_soon(host_one)
            await anyio.sleep(0.5)
            shared.join(other)

    async with anyio.create_task_group() as group:
        other = Host(group)
        with pytest.raises(BaseExceptionGroup):
            await host_both(other)
        await anyio.sleep(5)
        assert begun == 2
        shared.leave(other)
        group.cancel_scope.cancel()
