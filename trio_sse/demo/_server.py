"""One server after the other, on one listening socket.

`drain` has no way back: a server that drains leaves, and another takes its place. The socket
stays open in between, so the browsers that come back early wait in the kernel's queue.
"""

import signal
import socket
from collections.abc import AsyncIterable

import trio
from hypercorn.config import Config

from ..hypercorn import serve
from ._app import make_app
from ._show import Show, open_show


async def run(listener: socket.socket, greeting: str) -> None:
    """Serve the page until SIGINT or SIGTERM; a second one ends it at once.

    Args:
        listener: The socket that listens; it is closed in the end.
        greeting: What to print once signals are heard, and the socket listens.
    """
    with listener, trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        print(greeting, flush=True)
        async with open_show() as show, trio.open_nursery() as nursery:
            nursery.start_soon(leave_at, signals, show, nursery.cancel_scope)
            await serve_again_and_again(show, listener)
            nursery.cancel_scope.cancel()


async def leave_at(signals: AsyncIterable[int], show: Show, serving: trio.CancelScope) -> None:
    """Let the server leave at the first signal, and cancel it at the second."""
    async for _ in signals:
        if show.leaving:
            serving.cancel()
        show.leave()


async def serve_again_and_again(show: Show, listener: socket.socket) -> None:
    """Serve the page; when a server has left, with the next one."""
    app = make_app(show)
    while not show.leaving:
        show.begin_server()
        config = Config.from_mapping(bind=f"fd://{listener.dup().detach()}", loglevel="WARNING")
        await serve(app, config, shutdown_trigger=show.told.wait)
