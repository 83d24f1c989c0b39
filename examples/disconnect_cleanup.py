"""What a client has been sent is saved when it leaves in the middle. Hypercorn on trio.

Run ``python examples/disconnect_cleanup.py``, then ``curl -N http://127.0.0.1:8000/0.5``, and end
curl with Ctrl-C: the producer is cancelled at once, wherever it waits, and its clean-up saves the
part of the answer that was sent. That takes half a second, in which it must not be cancelled
again: so it is shielded; and since a storage may hang, it is bounded. With 60 for 0.5 in the path
it takes too long. ``PORT=8001`` before the command for another port.

A loop that asks whether the client is still there is not needed, and would be too late.
"""

import os
from functools import partial

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import CloseReason, EventSourceResponse, ServerSentEvent
from trio_sse.hypercorn import serve

ANSWER = "What is cancelled may still tidy up, in a scope that is shielded, and has a deadline."


async def save(text: str, seconds: float) -> None:
    """Stand for what takes a while."""
    await trio.sleep(seconds)
    print(f"saved: {text}", flush=True)


async def answer(send: trio.MemorySendChannel[ServerSentEvent], saving: float) -> None:
    sent: list[str] = []
    try:
        while True:
            for word in ANSWER.split():
                await send.send(ServerSentEvent(word, event="token"))
                sent.append(word)
                await trio.sleep(0.2)
    finally:
        with trio.move_on_after(2, shield=True) as scope:
            await save(" ".join(sent), saving)
        if scope.cancelled_caught:
            print(f"not saved in time: {' '.join(sent)}", flush=True)


def report(reason: CloseReason) -> None:
    print(f"the stream has ended, and all of it: {reason.value}", flush=True)


async def stream(request: Request) -> EventSourceResponse:
    content = partial(answer, saving=request.path_params["saving"])
    return EventSourceResponse(content, on_close=report)


app = Starlette(routes=[Route("/{saving:float}", stream)])

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
