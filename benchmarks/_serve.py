"""Serve the app of a library: ``python -m benchmarks._serve server library port core``.

SIGTERM ends it as the server's documentation has it: hypercorn through its shutdown trigger,
since otherwise on trio nothing hears of a signal.
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from .apps._runtime import SERVER

BACKLOG = 8192  # granian serves no more requests at once than it has of that


def hypercorn_config(port: int) -> Any:
    """Return the defaults, but for the port, the backlog, and the news of the start."""
    import hypercorn

    return hypercorn.Config.from_mapping(
        bind=f"127.0.0.1:{port}", backlog=BACKLOG, loglevel="WARNING"
    )


def serve_hypercorn_trio(module: ModuleType, port: int) -> None:
    """Run hypercorn on trio."""
    import hypercorn.trio
    import trio

    async def wait_for_sigterm() -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            await anext(signals)

    config = hypercorn_config(port)
    trio.run(partial(hypercorn.trio.serve, module.app, config, shutdown_trigger=wait_for_sigterm))


def serve_trio_sse(module: ModuleType, port: int) -> None:
    """Run hypercorn on trio, by way of trio_sse.hypercorn."""
    import trio

    import trio_sse.hypercorn

    trio.run(trio_sse.hypercorn.serve, module.app, hypercorn_config(port))


def serve_hypercorn_asyncio(module: ModuleType, port: int) -> None:
    """Run hypercorn on asyncio."""
    import asyncio

    import hypercorn.asyncio

    async def serve() -> None:
        terminated = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
        config = hypercorn_config(port)
        await hypercorn.asyncio.serve(module.app, config, shutdown_trigger=terminated.wait)

    asyncio.run(serve())


def serve_uvicorn(module: ModuleType, port: int) -> None:
    """Run uvicorn."""
    import uvicorn

    uvicorn.run(
        module.app,
        port=port,
        backlog=BACKLOG,
        http="httptools",
        loop="asyncio",
        access_log=False,
        log_level="warning",
    )


def serve_granian(module: ModuleType, port: int) -> None:
    """Run granian, whose worker imports the app itself."""
    import granian

    target = f"{module.__name__}:app"
    server = granian.Granian(
        target,
        port=port,
        interface="asgi",
        backlog=BACKLOG,
        loop="asyncio",
        log_level="warning",
    )
    server.serve()


SERVERS: dict[str, Callable[[ModuleType, int], None]] = {
    "hypercorn-trio": serve_hypercorn_trio,
    "trio_sse.serve": serve_trio_sse,
    "hypercorn-asyncio": serve_hypercorn_asyncio,
    "uvicorn": serve_uvicorn,
    "granian": serve_granian,
}


def main(server: str, library: str, port: str, core: str) -> None:
    """Serve until SIGTERM."""
    os.sched_setaffinity(0, {int(core)})
    assert os.environ[SERVER] == server
    SERVERS[server](importlib.import_module(f".apps.{library}", __package__), int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
