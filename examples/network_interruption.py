"""A network that breaks again and again, and a client that misses nothing. Trio.

Run ``python examples/network_interruption.py``: between the server and the client is a proxy that
cuts each connection after some bytes, at random, in mid-event too. The client comes back with the
last event ID. If it has missed a number in the end, or has one twice, the exit status is 1.
"""

import sys
from contextlib import suppress
from functools import partial
from math import inf
from random import randint

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import EventSourceResponse, Hub, last_event_id, open_hub
from trio_sse.client import open_event_source
from trio_sse.hypercorn import serve

NUMBERS = [*range(300)]
FARTHEST = 2000  # bytes that a connection brings, at most


async def carry(source: trio.SocketStream, sink: trio.SocketStream, left: float) -> None:
    with suppress(trio.BrokenResourceError):
        while left and (data := await source.receive_some(int(min(left, 65536)))):
            await sink.send_all(data)
            left -= len(data)
        await sink.send_eof()


async def proxy(port: int, client: trio.SocketStream) -> None:
    server = await trio.open_tcp_stream("127.0.0.1", port)
    async with server, trio.open_nursery() as nursery:
        nursery.start_soon(carry, client, server, inf)
        await carry(server, client, randint(1, FARTHEST))
        nursery.cancel_scope.cancel()


async def publish(hub: Hub) -> None:
    for number in NUMBERS:
        await hub.publish("numbers", str(number))
        await trio.sleep(0.005)


async def read(url: str) -> bool:
    seen: list[int] = []
    async with open_event_source(url, last_event_id="earliest", max_backoff=0.1) as source:
        while seen[-1:] != NUMBERS[-1:]:
            if (event := await source.receive()).type == "message":
                seen.append(int(event.data))
        print(f"connections: {source.statistics().attempts}")
    print("missing: nothing" if seen == NUMBERS else f"not what was published: {seen}")
    return seen == NUMBERS


async def main() -> int:
    async def stream(request: Request) -> EventSourceResponse:
        numbers = hub.subscribe("numbers", last_event_id=last_event_id(request))
        return EventSourceResponse(numbers, retry=100)

    app = Starlette(routes=[Route("/", stream)])
    config = hypercorn.Config.from_mapping(bind="127.0.0.1:0")
    async with open_hub() as hub, trio.open_nursery() as nursery:
        [url] = await nursery.start(serve, app, config)
        handler = partial(proxy, int(url.rpartition(":")[2]))
        [listener] = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        nursery.start_soon(publish, hub)
        complete = await read("http://{}:{}".format(*listener.socket.getsockname()))
        nursery.cancel_scope.cancel()
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(trio.run(main))
