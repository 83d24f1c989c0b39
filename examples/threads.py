"""Events from threads, for two event loops: hypercorn on trio, and uvicorn in another thread.

Run ``python examples/threads.py``, and listen with ``curl -N http://127.0.0.1:8000/events``, and to
the other server at port 8001. Both tell the time, which comes from a plain thread, and what is said
to either, ``curl -d hello http://127.0.0.1:8000/say``: a hub is of one event loop, and
`publish_from_thread` the way in from elsewhere. ``PORT`` is the first of the two ports.
"""

import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from threading import Lock

import hypercorn
import trio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trio_sse import EventSourceResponse, Hub, last_event_id, open_hub
from trio_sse.hypercorn import serve

hubs: list[Hub] = []  # one for each event loop
lock = Lock()  # while it is held, none of them closes


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Hub]]:
    async with open_hub() as hub:
        hubs.append(hub)
        try:
            yield {"hub": hub}
        finally:
            with lock:
                hubs.remove(hub)


def publish(text: str) -> None:
    with lock:
        for hub in hubs:
            hub.publish_from_thread("news", text)


def tell_time(server: uvicorn.Server) -> None:
    while not server.should_exit:
        publish(time.strftime("%X"))
        time.sleep(0.5)


async def say(request: Request) -> Response:
    publish((await request.body()).decode(errors="replace"))
    return Response(status_code=204)


async def events(request: Request) -> EventSourceResponse:
    hub: Hub = request.state.hub
    return EventSourceResponse(hub.subscribe("news", last_event_id=last_event_id(request)))


routes = [Route("/say", say, methods=["POST"]), Route("/events", events)]
app = Starlette(routes=routes, lifespan=lifespan)


async def main(port: int) -> None:
    other = uvicorn.Server(uvicorn.Config(app, port=port and port + 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, lambda: other.run())
        nursery.start_soon(trio.to_thread.run_sync, tell_time, other)
        try:
            await serve(app, hypercorn.Config.from_mapping(bind=f"127.0.0.1:{port}"))
        finally:
            other.should_exit = True  # threads are not cancelled, but asked


if __name__ == "__main__":
    trio.run(main, int(os.environ.get("PORT", "8000")))
