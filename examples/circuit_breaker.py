"""An upstream that fails is left alone for a while, and its audience waits. Hypercorn on trio.

Run ``python examples/circuit_breaker.py``, and ``python -m trio_sse http://127.0.0.1:8000/``, which
comes back as a browser does. After ``curl -X POST http://127.0.0.1:8000/fail/2`` nobody notices two
failures. With 8 in the place of 2 the circuit opens: streams end with an event that says when to
come back, and then go on after what their clients saw last. ``PORT`` is the port.
"""

import os
from functools import partial
from random import random

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trio_sse import EventSourceResponse, ServerSentEvent, last_event_id
from trio_sse.hypercorn import serve


class Upstream:
    """Stands for a service of somebody else, which fails as often as it is told to."""

    failures = 0

    async def quote(self, number: int) -> str:
        await trio.sleep(0.1)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the upstream is down")
        return f"quote {number}"


class CircuitBreaker:
    """Lets all calls through until three in a row have failed, and then one in two seconds."""

    failures, open_until = 0, 0.0

    async def quote(self, number: int) -> str | None:
        if self.failures >= 3:  # the others wait for what comes of this call
            self.open_until = trio.current_time() + 2
        try:
            quote = await upstream.quote(number)
        except ConnectionError:
            self.failures += 1
            return None
        self.failures, self.open_until = 0, 0.0
        return quote


breaker, upstream = CircuitBreaker(), Upstream()


async def quotes(send: trio.MemorySendChannel[ServerSentEvent], after: int) -> None:
    while (left := breaker.open_until - trio.current_time()) <= 0:
        if quote := await breaker.quote(after + 1):
            after += 1
            await send.send(ServerSentEvent(quote, id=after))
    await send.send(ServerSentEvent(event="unavailable", retry=int(1000 * (left + random()))))


async def stream(request: Request) -> EventSourceResponse:
    last_id = last_event_id(request) or ""
    return EventSourceResponse(partial(quotes, after=int(last_id) if last_id.isdecimal() else 0))


async def fail(request: Request) -> Response:
    left, upstream.failures = upstream.failures, request.path_params["count"]
    return Response(f"{left} failures were left\n")


app = Starlette(routes=[Route("/", stream), Route("/fail/{count:int}", fail, methods=["POST"])])

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
