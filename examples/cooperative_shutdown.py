"""Work that is told of a shutdown, and has time for its last words. Hypercorn on trio.

Run ``python examples/cooperative_shutdown.py``, listen with ``curl -N http://127.0.0.1:8000/``,
and press Ctrl-C in the server: the work says that it stops, puts away what it has, and says where
it was. Then the stream gets its farewell, which asks browsers to come back in five seconds, more or
less, and the body its end. ``curl -i http://127.0.0.1:8000/ready``, what a load balancer asks, is
503 from the beginning of all this. Who comes back, with ``-H "Last-Event-ID: 3"`` for one, goes on
there. ``PORT=8001`` before the command for another port.
"""

import os
from functools import partial

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trio_sse import EventSourceResponse, ServerSentEvent, draining, is_draining, last_event_id
from trio_sse.hypercorn import serve

GRACE = 2  # seconds that the work may take to stop; by default it would be 1

FAREWELL = ServerSentEvent("come back", event="farewell", retry=5000)


async def work(send: trio.MemorySendChannel[ServerSentEvent], step: int) -> None:
    leaving = draining()
    while not leaving.is_set():
        step += 1
        await send.send(ServerSentEvent(f"step {step}", id=step))
        with trio.move_on_after(3):  # then the next step is due, unless there will be none
            await leaving.wait()
    await send.send(ServerSentEvent("one moment", event="stopping"))
    await trio.sleep(1)  # to put away what there is
    await send.send(ServerSentEvent(f"stopped after step {step}", event="stopped"))


async def stream(request: Request) -> EventSourceResponse:
    last_id = last_event_id(request) or ""
    content = partial(work, step=int(last_id) if last_id.isdecimal() else 0)
    return EventSourceResponse(content, farewell=FAREWELL)


async def ready(request: Request) -> Response:
    return Response(status_code=503 if is_draining() else 200)


app = Starlette(routes=[Route("/", stream), Route("/ready", ready)])

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(partial(serve, drain=GRACE), app, config)
