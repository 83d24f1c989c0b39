"""Leaving: the live streams of this run, and how they are told to end."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol
from weakref import ref

from anyio.lowlevel import RunVar

from ._arguments import check_seconds
from ._close_reason import CloseReason
from ._runtime import Event, Runtime, current_runtime
from ._shared_task import Host, SharedTask

logger = logging.getLogger("trio_sse")

# Below the graceful timeout that servers give by default (hypercorn: 3 seconds),
# with room for the farewell.
DEFAULT_GRACE = 1.0

# What a client gets for all that is left once its stream is being ended. One that
# reads at all takes it at once; one that does not must not hold up a shutdown.
FAREWELL_TIMEOUT = 1.0


class LiveStream(Protocol):
    """A stream as `drain` sees it."""

    waits_for_drain: bool
    """Whether its producer has asked for `draining`, and so gets the grace."""

    def stop(self, reason: CloseReason) -> None:
        """Stop the producer and end the stream, cleanly if its client allows."""
        ...

    def stop_after(self, grace: float) -> None:
        """Stop for a shutdown, after ``grace`` seconds if the producer has asked for them."""
        ...


class Watched(Protocol):
    """A connection, as far as it tells that its server shuts down."""

    @property
    def shutdown(self) -> Any: ...
    def follow(self, leaving: Callable[[], object], gone: Callable[[], object]) -> None: ...
    def unfollow(self) -> None: ...


serving: ContextVar[ref[LiveStream]] = ContextVar("trio_sse.serving")
"""The stream that the current task produces for; contexts outlive streams."""


class Draining:
    """An event that is set when the server begins to drain; `draining` returns it."""

    __slots__ = ("_event",)

    def __init__(self, event: Event) -> None:
        self._event = event

    def is_set(self) -> bool:
        """Whether draining has begun."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Block until draining begins. Always a checkpoint."""
        _ask_for_grace()
        await self._event.wait()


class RunStreams:
    """The live streams of one run, and whether they are draining."""

    __slots__ = ("_began", "_holds", "_idle", "_runtime", "_streams", "_watches")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._streams: set[LiveStream] = set()
        self._idle: Event | None = None
        self._began = runtime.Event()
        self._holds = 0
        self._watches: dict[int, SharedTask] = {}  # each of one server's event

    @property
    def draining(self) -> Draining:
        """The event that is set when draining begins."""
        return Draining(self._began)

    def is_draining(self) -> bool:
        """Tell whether draining has begun."""
        return self._began.is_set()

    def add(self, stream: LiveStream) -> None:
        """Count a stream as live."""
        self._streams.add(stream)

    def remove(self, stream: LiveStream) -> None:
        """Count it no more."""
        self._streams.discard(stream)
        if self._idle is not None and not self._streams:
            self._idle.set()
            self._idle = None
        self._end_draining()

    def begin_draining(self, grace: float) -> None:
        """Tell every stream to end. Later calls change nothing."""
        if self._began.is_set():
            return
        self._began.set()
        for stream in tuple(self._streams):
            stream.stop_after(grace)

    def server_leaves(self) -> None:
        """Drain because the server shuts down."""
        self.begin_draining(DEFAULT_GRACE)

    def watch(self, connection: Watched, host: Host, gone: Callable[[], object]) -> None:
        """Drain when the server of a connection shuts down, from now on until `unwatch`.

        Args:
            connection: The connection of a stream.
            host: The stream, which may have to wait for all of them.
            gone: Called if the peer leaves in a way that the server does not pass on.
        """
        with _spared("the server's shutdown cannot be heard of"):
            self._wait_with(host, connection.shutdown)
            connection.follow(self.server_leaves, gone)

    def unwatch(self, connection: Watched, host: Host) -> None:
        """Undo one call of `watch`."""
        with _spared("the server is still followed"):
            connection.unfollow()
        name = id(connection.shutdown)
        watch = self._watches.get(name)
        if watch is not None:
            watch.leave(host)
            if not watch:
                del self._watches[name]

    def _wait_with(self, host: Host, shutdown: Any) -> None:
        if shutdown is None:
            return
        watch = self._watches.get(id(shutdown))
        if watch is None:
            wait = partial(self._wait_for_shutdown, shutdown)
            watch = self._watches[id(shutdown)] = SharedTask(wait)
        watch.join(host)

    async def leave(self, grace: float) -> None:
        """Drain, but wait no longer than it takes if no producer's clean-up is in the way.

        Blocks for at most ``grace`` and twice `FAREWELL_TIMEOUT`.
        """
        self.begin_draining(grace)
        deadline = self._runtime.current_time() + grace + 2 * FAREWELL_TIMEOUT
        with self._runtime.CancelScope(deadline=deadline):
            await self.wait_idle()

    def stop(self) -> None:
        """Stop every stream, with no more grace."""
        for stream in tuple(self._streams):
            stream.stop(CloseReason.SHUTDOWN)

    def hold(self) -> None:
        """Let draining, once begun, go on when no stream is left, until it is released."""
        self._holds += 1

    def release(self) -> None:
        """Undo one call of `hold`."""
        self._holds -= 1
        self._end_draining()

    async def wait_idle(self) -> None:
        """Wait until no stream is live. Always a checkpoint."""
        if not self._streams:
            await self._runtime.checkpoint()
            return
        if self._idle is None:
            self._idle = self._runtime.Event()
        await self._idle.wait()

    async def _wait_for_shutdown(self, shutdown: Any) -> None:
        with _spared("the server's shutdown cannot be heard of"):
            await shutdown.wait()
            # Who comes yet, on a connection that is open, is to be told by another wait.
            self._watches.pop(id(shutdown), None)
            self.server_leaves()

    def _end_draining(self) -> None:
        # What a server that shuts down has begun ends with its streams: another one
        # may be started in the same event loop.
        if self._began.is_set() and not self._streams and not self._holds:
            self._began = self._runtime.Event()


@contextmanager
def _spared(otherwise: str) -> Generator[None]:
    """Log what is raised: a server may change inside, and a stream must not fail for it."""
    try:
        yield
    except Exception:
        logger.debug(otherwise, exc_info=True)


_run_streams: RunVar[RunStreams] = RunVar("trio_sse.streams")


def run_streams() -> RunStreams:
    """Return the streams of the calling task's run."""
    try:
        return _run_streams.get()
    except LookupError:
        streams = RunStreams(current_runtime())
        _run_streams.set(streams)
        return streams


def draining() -> Draining:
    """Return the event that is set when the server begins to drain.

    A producer that has called this, or waits for what it returns, is not
    cancelled when draining begins: it gets the grace of `drain` to send its
    last events and return. It belongs to the current event loop.

    Raises:
        RuntimeError: outside of an event loop.

    Example::

        async def ticks(send):
            while not draining().is_set():
                await send.send("tick")
                with trio.move_on_after(1):
                    await draining().wait()
            await send.send("bye")
    """
    streams = run_streams()
    _ask_for_grace()
    return streams.draining


def is_draining() -> bool:
    """Return whether this event loop's streams are draining, for a readiness probe.

    Raises:
        RuntimeError: outside of an event loop; in a worker thread, call it with
            ``anyio.from_thread.run_sync(is_draining)``.
    """
    return run_streams().is_draining()


async def drain(*, grace: float = DEFAULT_GRACE) -> None:
    """End every stream of this event loop, with its farewell and a complete body.

    Sets `draining`. Producers that have asked for it get ``grace`` seconds, all
    others are cancelled at once. When a producer has stopped, what it had sent,
    the farewell and the final frame are sent; a client that does not take them
    is given up. A response that starts from now on is refused softly: 200, a
    reconnection time at random, the end. There is no way back.

    Blocks until no stream is left. A later call waits with the first. If the
    call is cancelled, all streams are stopped without more grace.

    Args:
        grace: Seconds for producers that have asked for `draining`; 1 by default.

    Raises:
        ValueError: if ``grace`` is negative or not finite.
        RuntimeError: outside of an event loop. From another thread:
            ``anyio.from_thread.run(drain, token=token)``.
    """
    check_seconds("grace", grace)
    streams = run_streams()
    streams.hold()
    streams.begin_draining(grace)
    try:
        await streams.wait_idle()
    except BaseException:
        streams.stop()
        raise


def _ask_for_grace() -> None:
    reference = serving.get(None)
    stream = None if reference is None else reference()
    if stream is not None:
        stream.waits_for_drain = True
