"""Pings that a page can see, and a failure that it can show. Hypercorn on trio.

Run ``python examples/pings_and_errors.py``, then ``curl -N http://127.0.0.1:8000/sum/1,2,oops,4``:
while a number is being added, an event says that the server is alive, with its time; and what
is no number ends the stream with an event that says so.

A page listens for these events and closes its ``EventSource`` at ``failure`` and at ``done``. They
are not called ``error``, since that is what a browser calls the loss of the connection. What is
no fault of the user, a mistake in here for one, is left to leave the producer: the log has it,
and the client sees a stream that broke off. ``PORT=8001`` before the command for another port.
"""

import os
from datetime import UTC, datetime
from functools import partial

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import EventSourceResponse, JSONServerSentEvent, ServerSentEvent
from trio_sse.hypercorn import serve


def still_here() -> ServerSentEvent:
    return ServerSentEvent(f"{datetime.now(UTC):%H:%M:%S.%f}", event="ping")


async def add(send: trio.MemorySendChannel[ServerSentEvent], numbers: list[str]) -> None:
    total = 0
    for position, number in enumerate(numbers, 1):
        await trio.sleep(1)  # the work
        try:
            total += int(number)
        except ValueError as error:
            failure = {"position": position, "reason": str(error)}
            await send.send(JSONServerSentEvent(failure, event="failure"))
            return
        await send.send(JSONServerSentEvent({"total": total}, event="progress"))
    await send.send(JSONServerSentEvent({"total": total}, event="done"))


async def stream(request: Request) -> EventSourceResponse:
    content = partial(add, numbers=request.path_params["numbers"].split(","))
    return EventSourceResponse(content, ping=0.4, ping_message_factory=still_here)


app = Starlette(routes=[Route("/sum/{numbers}", stream)])

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
