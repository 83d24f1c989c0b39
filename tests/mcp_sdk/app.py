"""A server of the MCP Python SDK, both of its HTTP transports, whose streams are ours."""

from collections.abc import Awaitable, Callable

import anyio

import trio_sse.compat

trio_sse.compat.install_as_sse_starlette()

from mcp.server.mcpserver import Context, MCPServer  # noqa: E402
from mcp.server.streamable_http import EventMessage, EventStore  # noqa: E402
from mcp_types import JSONRPCMessage  # noqa: E402
from starlette.responses import JSONResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402

notes: list[str] = []
told = anyio.Event()


class Events(EventStore):
    """What was sent, for clients that come back: in memory, and all of it."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(
        self, last_event_id: str, send_callback: Callable[[EventMessage], Awaitable[None]]
    ) -> str | None:
        notes.append("resumed")
        position = int(last_event_id)
        stream_id = self._events[position - 1][0]
        for number, (stream, message) in enumerate(self._events[position:], position + 1):
            if stream == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


server = MCPServer("tested")


@server.tool()
async def count(to: int, context: Context) -> int:
    """Count, and tell of each number."""
    for number in range(to):
        await context.report_progress(number, to)
    return to


@server.tool()
async def break_off(context: Context) -> str:
    """Cut the stream that the answer is to come on, and answer.

    The client can come back to what it knows of: the SDK takes back what waits to be sent.
    """
    await context.report_progress(0, 2)
    await told.wait()
    await context.close_sse_stream()
    await context.report_progress(1, 2)
    return "resumed"


@server.tool()
async def wait(context: Context) -> str:
    """Wait for ever."""
    try:
        await context.report_progress(0, 1)
        await anyio.sleep_forever()
        return "never"
    finally:
        notes.append("cancelled")
        print("the tool was cancelled", flush=True)


async def log(request: object) -> JSONResponse:
    return JSONResponse(notes)


async def tell(request: object) -> JSONResponse:
    told.set()
    return JSONResponse(None)


app = server.streamable_http_app(event_store=Events(), retry_interval=10)
app.routes.extend([*server.sse_app().routes, Route("/log", log), Route("/tell", tell)])
