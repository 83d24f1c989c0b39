"""A stream from an async generator, closed on every way out. Hypercorn on trio.

Run ``python examples/generator.py``, then ``curl -N http://127.0.0.1:8000/``, and end curl
with Ctrl-C at any time: the server prints that the clean-up of the generator ran, and
why the stream ended. ``PORT=8001`` before the command for another port.
"""

import os
from collections.abc import AsyncIterator

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import CloseReason, EventSourceResponse, ServerSentEvent
from trio_sse.hypercorn import serve

ANSWER = "A generator that is being iterated holds a resource; its finally gives it back."


async def tokens() -> AsyncIterator[ServerSentEvent]:
    try:
        while True:
            for word in ANSWER.split():
                yield ServerSentEvent(word, event="token")
                await trio.sleep(0.2)
            yield ServerSentEvent(event="end of answer")
    finally:
        print("the generator was closed", flush=True)


def report(reason: CloseReason) -> None:
    print(f"the stream ended: {reason.value}", flush=True)


async def stream(request: Request) -> EventSourceResponse:
    return EventSourceResponse(tokens(), on_close=report)


app = Starlette(routes=[Route("/", stream)])

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
