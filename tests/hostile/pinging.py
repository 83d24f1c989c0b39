"""Streams that ping if asked to, and do what they are told; what became of one is printed.

The moments that are printed are of ``time.monotonic``, the same in all processes.
"""

import time
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from servers.app import Visit, obey, order, send_finite, visits
from trio_sse import CloseReason, EventSourceResponse


def say(name: str, what: str) -> None:
    print(f"{name} {what} at {time.monotonic()}", flush=True)


async def produce(name: str, visit: Visit, send: Any) -> None:
    try:
        await obey(visit, send.send)
    finally:
        say(name, "cleaned up")


async def stream(request: Request) -> EventSourceResponse:
    name, query = request.path_params["name"], request.query_params
    visit = visits[name] = Visit()

    def closed(reason: CloseReason) -> None:
        say(name, reason.value)
        visit.closed(reason)

    return EventSourceResponse(
        partial(produce, name, visit),
        ping=float(query.get("ping", 0)),
        tcp_user_timeout=float(query.get("tcp_user_timeout", 0)),
        on_close=closed,
    )


async def finite(request: Request) -> EventSourceResponse:
    return EventSourceResponse(send_finite)


app = Starlette(
    routes=[
        Route("/stream/{name}", stream),
        Route("/finite", finite),
        Route("/order", order, methods=["POST"]),
    ]
)
