"""Testing a stream that does not end by itself."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Unpack

import anyio

from .._arguments import check_seconds
from .._outcome import errors_alone
from ._client import ASGIApp, ClientOptions, StreamClient
from ._leaks import LeakError, living_tasks, started_with

# Seconds, of virtual time for most; more than any clean-up should take.
DEFAULT_EXIT_TIMEOUT = 30.0

_client: ContextVar[StreamClient | None] = ContextVar("_client", default=None)


def open_stream(
    app: ASGIApp,
    path: str = "/",
    *,
    exit_timeout: float = DEFAULT_EXIT_TIMEOUT,
    **options: Unpack[ClientOptions],
) -> AbstractAsyncContextManager[StreamClient]:
    """Drive an ASGI app in-process, and read what it sends as it is sent.

    Runs on the event loop of the test, trio's or asyncio's, also in virtual time. Entering it waits
    for the status and the headers, unless the client is frozen before. Leaving it disconnects,
    waits for the app to return, and checks that no task is left behind.

    Args:
        app: The app, or a response.
        path: The path, with or without a query.
        exit_timeout: Seconds that the app may take to return after its client has gone; 30 by
            default.
        options: What `StreamClient` takes.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if it is out of range.
        LeakError: at the end, if the app goes on, or a task that it has started; a system
            task of trio's knows nothing of who started it, but `check_leaks` sees it.
        Exception: what the app raises, as itself: before its headers on entering, later on leaving.

    Example::

        async with open_stream(app, "/events") as stream:
            assert stream.status == 200
            assert (await stream.receive()).data == "hello"
    """
    check_seconds("exit_timeout", exit_timeout)
    return _open(app, StreamClient(path, **options), exit_timeout)


@asynccontextmanager
async def _open(
    app: ASGIApp, client: StreamClient, exit_timeout: float
) -> AsyncGenerator[StreamClient]:
    before, in_time = living_tasks(), False
    with errors_alone(depth=1):
        async with anyio.create_task_group() as group:
            group.start_soon(_call, app, client, group.cancel_scope)
            await client.started()
            _raise_error_of(client)
            try:
                yield client
            except Exception as error:
                _raise_error_of(client, cause=error)  # it is what the test has stumbled over
                raise
            client.disconnect()
            with anyio.move_on_after(exit_timeout):
                await client.ended.wait()
            in_time = client.ended.is_set()
            group.cancel_scope.cancel()
    _raise_error_of(client)
    if not in_time:
        raise LeakError(f"the app went on for {exit_timeout} seconds after its client had gone")
    left = started_with(_client, client, living_tasks() - before)
    if left:
        raise LeakError(f"the app has left {len(left)} tasks behind: {left!r}")


async def _call(app: ASGIApp, client: StreamClient, scope: anyio.CancelScope) -> None:
    _client.set(client)  # the tasks that the app starts inherit it
    await client.run(app)
    if client.error is not None:
        scope.cancel()


def _raise_error_of(client: StreamClient, cause: Exception | None = None) -> None:
    if client.error is not None:
        raise client.error from cause
