"""A client that reads no more is dropped after two seconds, and nobody waits. Hypercorn on trio.

Run ``python examples/send_timeout.py``, and listen with ``curl -N http://127.0.0.1:8000/``. Then
run ``python examples/send_timeout.py freeze``: a client that reads nothing, and tells when its
connection was broken. The server says why, and who listens does not notice. A curl that is stopped
with Ctrl-Z goes the same way once the buffers of both kernels are full, and so does one that
reads too slowly: ``curl -N --limit-rate 1000 http://127.0.0.1:8000/``.
``PORT=8001`` before each command for another port.
"""

import os
import select
import socket
import sys
from time import monotonic

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import CloseReason, EventSourceResponse
from trio_sse.hypercorn import serve

PORT = int(os.environ.get("PORT", "8000"))


async def ticks(send: trio.MemorySendChannel[str]) -> None:
    while True:
        await send.send("." * 10_000)
        await trio.sleep(0.1)


async def stream(request: Request) -> EventSourceResponse:
    began = trio.current_time()

    def report(reason: CloseReason) -> None:
        seconds = trio.current_time() - began
        print(f"a stream has ended after {seconds:.1f} seconds: {reason.value}", flush=True)

    return EventSourceResponse(ticks, send_timeout=2, on_close=report)


app = Starlette(routes=[Route("/", stream)])


def freeze() -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", PORT))
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        began = monotonic()
        poll = select.poll()
        poll.register(client, 0)  # woken by the end of the connection, not by what there is to read
        poll.poll()
        print(f"the connection was broken after {monotonic() - began:.1f} seconds")


if __name__ == "__main__":
    if sys.argv[1:] == ["freeze"]:
        freeze()
    else:
        trio.run(serve, app, hypercorn.Config.from_mapping(bind=f"127.0.0.1:{PORT}"))
