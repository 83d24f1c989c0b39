"""Serving an app with hypercorn on trio, from a program.

hypercorn's own ``serve`` shields what it writes from cancellation, so that a client which
reads no more holds up its response, and the end of the process, for as long as it likes.
`serve` gives each connection, once it has made a request, a stream with a deadline for
writing. That stream takes the place of the one that hypercorn has for the connection: an
attribute of one object, for as long as the connection lives. No class and no module of
hypercorn is changed.
"""

import gc as collector
import signal
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import hypercorn.trio
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer

from ._arguments import check_seconds, check_thresholds
from ._drain import DEFAULT_GRACE, run_streams
from ._outcome import errors_alone
from ._runtime import current_runtime
from ._transport import (
    break_socket,
    find_connection,
    server_of,
    socket_below,
    with_send,
)

__all__ = ["serve"]

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
Trigger = Callable[[], Awaitable[object]]
Thresholds = tuple[int, int, int]

# Far longer than a connection that works takes nothing; half of what nginx gives a client.
DEFAULT_WRITE_TIMEOUT = 30.0

# What is written with one deadline. A client that reads this much in `write_timeout`
# makes progress: at 30 seconds, about 2 kB a second.
MAX_PIECE_SIZE = 65536

# What is cancelled gets so long to end by itself, before its connection is broken.
HARD_STOP_DELAY = 0.2


class WriteDeadline:
    """A stream that gives up a peer which takes nothing.

    Everything that is not writing is done by the stream itself.

    Args:
        stream: Trio's stream of a connection, with or without TLS.
        seconds: What each piece of at most `MAX_PIECE_SIZE` may take.
    """

    def __init__(self, stream: Any, seconds: float) -> None:
        self._stream = stream
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def send_all(self, data: bytes) -> None:
        """Write, with a deadline for each piece.

        Raises:
            trio.BrokenResourceError: if the peer took nothing for too long.
        """
        with memoryview(data) as view:
            for start in range(0, len(view) or 1, MAX_PIECE_SIZE):
                with trio.move_on_after(self._seconds) as scope:
                    await self._stream.send_all(view[start : start + MAX_PIECE_SIZE])
                if scope.cancelled_caught:
                    break_socket(socket_below(self._stream))
                    raise trio.BrokenResourceError(f"nothing taken for {self._seconds:g} seconds")

    async def aclose(self) -> None:
        """Close; with TLS that writes something too."""
        with trio.move_on_after(self._seconds):
            await self._stream.aclose()


def connections_below(task: trio.lowlevel.Task) -> Iterator[Any]:
    """Yield the streams that hypercorn serves connections on, in nurseries of a task.

    Trio runs a handler for each connection in a task of its own, which hypercorn does not
    keep a list of.
    """
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            frame = getattr(child.coro, "cr_frame", None)
            variables: dict[str, Any] = getattr(frame, "f_locals", {})
            serves = getattr(variables.get("handler"), "func", None) is TCPServer
            if serves and "stream" in variables:  # the task that listens has none
                yield variables["stream"]


class TunedCollector:
    """The garbage collector's settings for a server, from its start-up to its end.

    Args:
        thresholds: As ``gc.set_threshold`` takes them.
        task_status: Told of the start-up too.
    """

    def __init__(self, thresholds: Thresholds, task_status: Any) -> None:
        self._thresholds = thresholds
        self._task_status = task_status
        self._before = collector.get_threshold()
        self._frozen = False

    def started(self, value: object = None) -> None:
        """Set them, and leave what there is by now out of all collections."""
        collector.collect()  # or what is unreachable now would be kept
        collector.freeze()
        self._frozen = True
        collector.set_threshold(*self._thresholds)
        self._task_status.started(value)

    def put_back(self) -> None:
        """Set everything as it was."""
        collector.set_threshold(*self._before)
        if self._frozen:
            collector.unfreeze()


class Server:
    """One run of `serve`: the app that hypercorn serves, and what ends it.

    Args:
        app: The app.
        config: hypercorn's configuration.
        drain: The grace of producers.
        write_timeout: What each piece of a response may take.
    """

    def __init__(self, app: ASGIApp, config: Config, *, drain: float, write_timeout: float) -> None:
        self._app = app
        self._config = config
        self._drain = drain
        self._write_timeout = write_timeout
        self._leaving = trio.Event()

    async def run(self, shutdown_trigger: Trigger | None, task_status: Any) -> None:
        """Serve until told to leave."""
        with errors_alone(), ExitStack() as self._stack:
            if shutdown_trigger is None:
                signals = self._stack.enter_context(trio.open_signal_receiver(*_stops()))
                await self._serve(task_status, self._hear, signals)
            else:
                await self._serve(task_status, self._wait_for, shutdown_trigger)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request: what hypercorn calls."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        self._guard(send)
        scope = with_send(scope, send)
        if scope["type"] == "http" and scope.get("http_version") == "2":
            await self._serve_over_http2(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve_over_http2(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request with a deadline for each piece of the body of its response.

        A client that grants the stream no window leaves nothing to be written, and so no
        deadline for that.
        """
        connection = find_connection(current_runtime(), scope, receive, send)
        with trio.CancelScope() as serving:

            async def send_in_time(message: Any) -> None:
                for piece in _pieces(message):
                    with trio.move_on_after(self._write_timeout) as sending:
                        await send(piece)
                    if sending.cancelled_caught:
                        serving.cancel()
                        await trio.lowlevel.checkpoint()

            await self._app(scope, receive, send_in_time)
        if serving.cancelled_caught:
            with trio.move_on_after(self._write_timeout):
                await connection.reset()

    def _guard(self, send: Any) -> None:
        """Give the connection that a request came on its deadline, once."""
        with suppress(AttributeError):  # HTTP/3, or a hypercorn that is not known
            server = server_of(send.__self__)
            if not isinstance(server.stream, WriteDeadline):
                server.stream = WriteDeadline(server.stream, self._write_timeout)

    async def _serve(
        self, task_status: Any, wait_for_end: Callable[[Any], Awaitable[None]], end: Any
    ) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_end, end)
            nursery.start_soon(self._stop_hard, trio.lowlevel.current_task())
            self._scope = nursery.cancel_scope
            # hypercorn's type of an app has a dict of unknown contents in it.
            await hypercorn.trio.serve(  # pyright: ignore[reportUnknownMemberType]
                self,
                self._config,
                shutdown_trigger=self._leave,
                task_status=task_status,
                mode="asgi",
            )
            nursery.cancel_scope.cancel()

    async def _hear(self, signals: AsyncIterable[int]) -> None:
        async for _ in signals:
            if self._leaving.is_set():  # somebody has no patience
                self._scope.cancel()
            self._leaving.set()

    async def _wait_for(self, shutdown_trigger: Trigger) -> None:
        await shutdown_trigger()
        self._leaving.set()

    async def _leave(self) -> None:
        """Return when hypercorn is to shut down: after the streams, while it still listens."""
        try:
            await self._leaving.wait()
            streams = run_streams()
            streams.hold()
            self._stack.callback(streams.release)
            await streams.leave(self._drain)
        finally:
            self._leaving.set()  # also if hypercorn ends by itself, and asks no more

    async def _stop_hard(self, serving: trio.lowlevel.Task) -> None:
        """Break what is still there when all time is up, or hypercorn itself is cancelled."""
        try:
            await self._leaving.wait()
            await trio.sleep(self._drain + self._config.graceful_timeout)
        finally:
            if any(connections_below(serving)):
                with trio.CancelScope(shield=True):
                    await trio.sleep(HARD_STOP_DELAY)
            for stream in tuple(connections_below(serving)):
                break_socket(socket_below(stream))


def _pieces(message: Any) -> Iterator[Any]:
    """Yield a message, a long body of it in several."""
    body = message.get("body", b"")
    if len(body) <= MAX_PIECE_SIZE:
        yield message
        return
    more = {**message, "more_body": True}
    for start in range(0, len(body), MAX_PIECE_SIZE):
        last = start + MAX_PIECE_SIZE >= len(body)
        yield {**(message if last else more), "body": body[start : start + MAX_PIECE_SIZE]}


def _stops() -> set[int]:
    """Return the signals that mean: end."""
    return {signal.SIGINT, getattr(signal, "SIGTERM", signal.SIGINT)}


async def serve(
    app: ASGIApp,
    config: Config,
    *,
    shutdown_trigger: Trigger | None = None,
    drain: float = DEFAULT_GRACE,
    write_timeout: float = DEFAULT_WRITE_TIMEOUT,
    gc: Thresholds | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an app with hypercorn on trio, until SIGINT, SIGTERM or your trigger.

    Then event streams end first, with their farewell and a complete body, while the
    server still listens; after that hypercorn shuts down, and what it has cancelled after
    its ``graceful_timeout`` and is still writing is broken off. A second signal does that
    at once.

    Every response of the app has a deadline for writing, not only event streams. It counts
    from the last progress, 64 KiB, so that a download may take as long as it likes for a
    client that reads.

    Blocks until the server has shut down.

    Args:
        app: The ASGI app.
        config: hypercorn's configuration; ``graceful_timeout`` (3 seconds by default) is
            the time for everything after the streams.
        shutdown_trigger: An async callable that returns when to shut down. Signals are
            then yours; without it this must be the main thread, which alone gets them.
        drain: Seconds for producers that have asked for `draining`; 1 by default. Keep it
            below the ``graceful_timeout``.
        write_timeout: Seconds without progress after which a client is given up; 30 by
            default.
        gc: Thresholds of Python's garbage collector for as long as it serves, as
            ``gc.set_threshold`` takes them; everything that exists after the start-up is
            left out of its collections then (``gc.freeze``). Everything is put back at the
            end, where what you had frozen yourself is unfrozen too. It is one setting for
            the whole process: give it to one server. None (default) changes nothing. With a
            thousand streams, half of what they cost is collections that go through all of
            them and find nothing: ``(50_000, 20, 50)`` makes those rare. What unreachable
            cycles hold is then freed later.
        task_status: For ``nursery.start``: started with the addresses it listens on.

    Raises:
        TypeError: if ``gc`` is not three integers.
        ValueError: if ``drain`` or ``write_timeout`` is out of range, or a threshold not
            positive.
        OSError: if an address cannot be bound.
        RuntimeError: without ``shutdown_trigger`` outside of the main thread.

    Example::

        config = hypercorn.Config.from_mapping(bind="127.0.0.1:8000")
        trio.run(trio_sse.hypercorn.serve, app, config)
    """
    check_seconds("drain", drain)
    check_seconds("write_timeout", write_timeout, positive=True)
    if gc is not None:
        check_thresholds("gc", gc)
    server = Server(app, config, drain=drain, write_timeout=write_timeout)
    with ExitStack() as stack:
        if gc is not None:
            task_status = TunedCollector(gc, task_status)
            stack.callback(task_status.put_back)
        await server.run(shutdown_trigger, task_status)
