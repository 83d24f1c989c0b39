"""One chat in two processes, whose events are in Redis. Hypercorn on trio.

Start a Redis (Debian: ``apt install redis-server``, then ``redis-server --port 6379``) and run
``python examples/many_workers.py``. Listen with ``python -m trio_sse
http://127.0.0.1:8000/events``, a few times, and speak with ``curl -d hello
http://127.0.0.1:8000/say``: whichever worker it is said to, all hear it. ``kill -9`` a worker:
who listened there goes on at the other (none takes its place), and nothing is missing.
"""

import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trio_sse import EventSourceResponse, Hub, last_event_id, open_hub
from trio_sse.hypercorn import serve
from trio_sse.redis import RedisEngine

WORKER = {"Worker": str(os.getpid())}
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Hub]]:
    async with open_hub(engine=RedisEngine(REDIS_URL, name="chat")) as hub:
        yield {"hub": hub}


async def say(request: Request) -> Response:
    text = (await request.body()).decode(errors="replace")
    await request.state.hub.publish("chat", f"{text} (said to worker {os.getpid()})")
    return Response(status_code=204, headers=WORKER)


async def events(request: Request) -> EventSourceResponse:
    chat = request.state.hub.subscribe("chat", last_event_id=last_event_id(request))
    return EventSourceResponse(chat, headers=WORKER)


app = Starlette(
    lifespan=lifespan, routes=[Route("/say", say, methods=["POST"]), Route("/events", events)]
)


async def run_workers(count: int) -> None:
    """Run this file again, in processes that share a socket, until SIGTERM or Ctrl-C."""
    async with open_hub(engine=RedisEngine(REDIS_URL, name="chat")):
        pass  # Redis is there; otherwise this has raised
    with socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "8000")))) as listener:
        fd = listener.fileno()
        worker = partial(
            trio.run_process, [sys.executable, *sys.orig_argv[1:]], check=False, pass_fds=[fd]
        )
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(partial(worker, env={**os.environ, "WORKER_FD": str(fd)}))
                await anext(signals)
                nursery.cancel_scope.cancel()  # which sends them SIGTERM, and waits


if __name__ == "__main__":
    if fd := os.environ.get("WORKER_FD"):
        trio.run(serve, app, hypercorn.Config.from_mapping(bind=f"fd://{fd}"))
    else:
        try:
            trio.run(run_workers, 2)
        except ConnectionError as error:
            sys.exit(str(error))
