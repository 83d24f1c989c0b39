"""The wrapper of an app, for what a response cannot find out by itself."""

import signal
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from ._arguments import check_seconds
from ._drain import DEFAULT_GRACE, run_streams
from ._outcome import errors_alone
from ._runtime import Runtime, current_runtime
from ._signals import die_of, overheard
from ._transport import with_send, worker_above

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class DrainMiddleware:
    """Drain when the process is told to end: the outermost wrapper of an ASGI app.

    hypercorn and uvicorn let streams know that they shut down. This is for the rest:
    granian, which tells nobody; a worker of hypercorn that is sent SIGTERM itself, or is one
    of several; middlewares that hide the server. From the start-up of the app to its
    shutdown it hears SIGTERM and SIGINT, begins to `drain`, and hands them on to whoever
    handles them. Where nobody handles SIGTERM it drains first, and then ends hypercorn's
    worker, or the process.

    It needs ASGI's lifespan (uvicorn's ``--lifespan off`` and granian's ``asginl`` leave it
    out), and to hear signals, the main thread.

    Args:
        app: The app.
        grace: Seconds for producers that have asked for `draining`; 1 by default. Keep it
            and a second below the graceful timeout of the server.

    Raises:
        TypeError: if ``app`` cannot be called.
        ValueError: if ``grace`` is negative or not finite.

    Example::

        app = DrainMiddleware(Starlette(routes=[...]))
    """

    def __init__(self, app: ASGIApp, *, grace: float = DEFAULT_GRACE) -> None:
        if not callable(app):
            raise TypeError(f"app must be an ASGI app, not {type(app).__name__}")
        check_seconds("grace", grace)
        self._app = app
        self._grace = grace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the life of the app: what the server calls."""
        if scope["type"] == "lifespan":
            await self._serve_lifespan(scope, receive, send)
        else:
            await self._app(with_send(scope, send), receive, send)

    async def _serve_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        runtime, streams = current_runtime(), run_streams()
        told = Told(runtime)
        call_soon = runtime.caller_from_threads()
        try:
            with errors_alone(), overheard(lambda fatal: call_soon(told.tell, fatal)):
                async with runtime.open_nursery() as nursery:
                    nursery.start_soon(self._leave, told)
                    nursery.start_soon(self._follow_worker, told)
                    await self._app(scope, partial(self._receive, told, receive), send)
                    nursery.cancel_scope.cancel()
        finally:
            if told.draining:
                streams.release()

    async def _receive(self, told: "Told", receive: Receive) -> MutableMapping[str, Any]:
        """Hold back the shutdown of the app while streams still need what it has."""
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            self._drain(told)
            await run_streams().leave(self._grace)
        return message

    async def _leave(self, told: "Told") -> None:
        await told.heard.wait()
        worker = worker_above(current_runtime())
        self._drain(told)
        await run_streams().leave(self._grace)
        await told.fatal.wait()
        if worker is None:
            die_of(signal.SIGTERM)
        else:
            await worker.terminate.set()

    async def _follow_worker(self, told: "Told") -> None:
        worker = worker_above(current_runtime())
        if worker is not None:
            await worker.terminated.wait()
            self._drain(told)

    def _drain(self, told: "Told") -> None:
        """Begin to drain, and keep to it until the app has shut down."""
        if not told.draining:
            told.draining = True
            run_streams().hold()
            run_streams().begin_draining(self._grace)


class Told:
    """What the middleware has learnt.

    Args:
        runtime: The runtime of the app.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.heard = runtime.Event()
        self.fatal = runtime.Event()
        self.draining = False

    def tell(self, fatal: bool) -> None:
        """Note a signal; called in the event loop."""
        self.heard.set()
        if fatal:
            self.fatal.set()
