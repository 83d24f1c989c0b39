"""Several tasks send on one stream: each has a clone of its channel. Hypercorn on trio.

Run ``python examples/channels.py``, then ``curl -N http://127.0.0.1:8000/``: the events of
the sensors come interleaved, each at its own pace. When the client leaves, the nursery
and everything in it is cancelled. ``PORT=8001`` before the command for another port.
"""

import os
from random import gauss

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import EventSourceResponse, JSONServerSentEvent
from trio_sse.hypercorn import serve

SendChannel = trio.MemorySendChannel[JSONServerSentEvent]


async def sensor(send: SendChannel, name: str, mean: float, period: float) -> None:
    async with send:
        while True:
            reading = round(gauss(mean), 2)
            await send.send(JSONServerSentEvent({"reading": reading}, event=name))
            await trio.sleep(period)


async def sensors(send: SendChannel) -> None:
    async with send, trio.open_nursery() as nursery:
        nursery.start_soon(sensor, send.clone(), "temperature", 21, 0.5)
        nursery.start_soon(sensor, send.clone(), "pressure", 1013, 0.8)
        nursery.start_soon(sensor, send.clone(), "humidity", 45, 1.3)


async def stream(request: Request) -> EventSourceResponse:
    return EventSourceResponse(sensors)


app = Starlette(routes=[Route("/", stream)])

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
