"""What tests of responses need of a client beside `trio_sse.testing`."""

from contextlib import asynccontextmanager
from math import inf
from typing import Any

import anyio

from trio_sse import EventSourceResponse
from trio_sse.testing import StreamClient


class FakeClient(StreamClient):
    """A client that is always reading, and whose request has been received."""

    def __init__(self, **options: Any) -> None:
        super().__init__(buffer_size=inf, **options)
        self.incoming.clear()
        self._told = False

    async def asgi_receive(self) -> dict[str, Any]:
        """Be ASGI's ``receive``, which may be called again after a disconnect; ours is not."""
        assert not self._told, "receive() is called again after a disconnect"
        message = await super().asgi_receive()
        self._told = message["type"] == "http.disconnect"
        return message

    @property
    def broken(self) -> bool | None:
        """Whether the connection was broken on purpose; None if it cannot be."""
        return None

    async def call_and_leave(self, response: EventSourceResponse, *, after: float = 0) -> None:
        """Call a response, and leave ``after`` seconds in the send that never returns."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._leave, after)
            await self.call(response)

    async def _leave(self, after: float) -> None:
        await self.frozen.wait()
        await anyio.sleep(after)
        self.disconnect()

    async def wait_for_body(self, text: bytes) -> None:
        await self.wait_for(lambda client: text in client.body)

    @property
    def data(self) -> list[str]:
        return [event.data for event in self.events]


@asynccontextmanager
async def serving(client: FakeClient, response: EventSourceResponse):
    """Serve a response in the background; cancel it in the end."""
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, response)
        yield group
        group.cancel_scope.cancel()


class Recorder:
    """An ``on_close`` that notes when it was called, and with what."""

    def __init__(self) -> None:
        self.reasons: list[Any] = []
        self.times: list[float] = []

    def __call__(self, reason: Any) -> None:
        self.reasons.append(reason)
        self.times.append(anyio.current_time())
