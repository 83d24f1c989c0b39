"""Time that takes no time on asyncio, and what pytest finds by itself."""

import asyncio
import socket
import threading
import time

import pytest

from trio_sse.testing import VirtualTimeLoop

pytest_plugins = ["pytester"]

HOUR = 3600.0


def run(async_fn, *args):
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(async_fn(*args))


def now():
    return asyncio.get_running_loop().time()


# The event loop


async def sleep_and_tell(*delays):
    moments = [now()]
    for delay in delays:
        await asyncio.sleep(delay)
        moments.append(now())
    return moments


def test_an_hour_takes_no_time_and_moments_are_exact():
    begin = time.monotonic()
    assert run(sleep_and_tell, HOUR, 0.1, HOUR) == [0, HOUR, HOUR + 0.1, HOUR + 0.1 + HOUR]
    assert time.monotonic() - begin < 60


def test_more_than_a_day_is_slept_too():
    """Asyncio asks its selector for a day at most."""
    assert run(sleep_and_tell, 100 * 24 * HOUR) == [0, 100 * 24 * HOUR]


def test_a_clock_begins_at_0_in_each_run():
    assert run(sleep_and_tell, 5) == run(sleep_and_tell, 5) == [0, 5]


def test_timers_go_off_in_their_order():
    order = []

    async def note(delay):
        await asyncio.sleep(delay)
        order.append((delay, now()))

    async def main():
        await asyncio.gather(*map(note, (3, 1, 2)))

    run(main)
    assert order == [(1, 1), (2, 2), (3, 3)]


def test_a_timer_that_was_cancelled_is_passed_over():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(5, loop.stop).cancel()
        await asyncio.sleep(7)
        return now()

    assert run(main) == 7


def test_a_deadline_comes_at_its_moment():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HOUR):
                await asyncio.Event().wait()
        return now()

    assert run(main) == HOUR


def test_what_is_ready_comes_before_the_clock_jumps():
    async def main():
        asyncio.get_running_loop().call_later(HOUR, pytest.fail, "the clock has jumped")
        for _ in range(100):
            await asyncio.sleep(0)
        return now()

    assert run(main) == 0


def test_what_has_come_already_is_read_before_the_clock_jumps():
    async def main():
        readable, loop = asyncio.Event(), asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.send(b"x")
            loop.add_reader(ours, readable.set)
            async with asyncio.timeout(HOUR):
                await readable.wait()
            loop.remove_reader(ours)
        return now()

    assert run(main) == 0


def test_a_thread_is_waited_for_while_there_is_no_timer():
    async def main():
        return await asyncio.to_thread(lambda: "done"), now()

    assert run(main) == ("done", 0)


def test_waiting_for_a_thread_is_waiting():
    """Rather than looking again and again, which asks for the time each time."""
    asked = []

    class Loop(VirtualTimeLoop):
        def time(self):
            asked.append(True)
            return super().time()

    async def main():
        return await asyncio.to_thread(sum, range(1_000_000))

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(main())
    assert len(asked) < 100


def test_a_thread_is_not_waited_for_while_there_is_a_timer():
    async def main():
        may_end = threading.Event()
        thread = asyncio.create_task(asyncio.to_thread(may_end.wait))
        await asyncio.sleep(HOUR)
        assert not thread.done()
        may_end.set()
        return await thread, now()

    assert run(main) == (True, HOUR)


# The plugin

CONFTEST = """
import pytest

@pytest.fixture
def anyio_backend(virtual_time_backend):
    return virtual_time_backend
"""

A_TEST = """
import anyio
import pytest

@pytest.mark.anyio
async def test_it(anyio_backend_name, leak_check):
    print(f"<{anyio_backend_name} {anyio.current_time()}>")
    begin = anyio.current_time()
    async with leak_check():
        await anyio.sleep(3600)
    assert anyio.current_time() - begin == 3600
"""

IN_REAL_TIME = """
import anyio
import pytest

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio", "asyncio"])
async def test_it(anyio_backend_name):
    print(f"<{anyio_backend_name}>")
    assert anyio.current_time() > 0  # where virtual time begins
    await anyio.to_thread.run_sync(print, "a worker thread")
"""

WITH_PYTEST_TRIO = """
import pytest
import trio
from trio_sse import EventSourceResponse
from trio_sse.testing import open_stream

async def wait(send):
    await trio.sleep_forever()

@pytest.mark.trio
async def test_it(autojump_clock):
    async with open_stream(EventSourceResponse(wait, ping=3600)) as stream:
        assert await stream.receive_comment() == "ping"
"""

A_LEAK = """
import anyio
import pytest

@pytest.mark.anyio
async def test_it(leak_check):
    async with anyio.create_task_group() as group:
        try:
            async with leak_check():
                group.start_soon(anyio.sleep_forever)
        finally:
            group.cancel_scope.cancel()
"""


@pytest.fixture
def users(pytester):
    """A directory of a user's tests."""
    pytester.makeini("[pytest]\nfilterwarnings = error")
    return pytester


def test_a_users_test_runs_on_both_event_loops_in_virtual_time(users):
    users.makeconftest(CONFTEST)
    users.makepyfile(A_TEST)
    result = users.runpytest_inprocess("-s", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
    assert "<trio 0.0>" in result.stdout.str()
    assert "<asyncio 0.0>" in result.stdout.str()


def test_a_test_of_such_a_user_can_run_in_real_time(users):
    users.makeconftest(CONFTEST)
    users.makepyfile(IN_REAL_TIME)
    result = users.runpytest_inprocess("-s")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*<trio>", "*<asyncio>"])


def test_a_users_test_runs_with_pytest_trio_instead(users):
    pytest.importorskip("pytest_trio")
    users.makepyfile(WITH_PYTEST_TRIO)
    users.runpytest_inprocess().assert_outcomes(passed=1)


def test_the_leak_check_finds_leaks_in_a_users_test(users):
    users.makeconftest(CONFTEST)
    users.makepyfile(A_LEAK)
    result = users.runpytest_inprocess()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*LeakError: left behind: *sleep_forever*"])


def test_no_fixture_is_used_unless_it_is_asked_for(users):
    users.makepyfile("def test_it(request): assert request.fixturenames == ['request']")
    users.runpytest_inprocess().assert_outcomes(passed=1)


def test_the_fixtures_are_documented_where_pytest_lists_them(users):
    result = users.runpytest_inprocess("--fixtures")
    result.stdout.fnmatch_lines_random(
        ["virtual_time_backend*", "*Trio and asyncio in virtual time*", "leak_check*"]
    )
