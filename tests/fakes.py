"""A client of a response, in-process: fakes of ASGI's ``receive`` and ``send``."""

from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel

from trio_sse import EventSourceResponse, EventStreamDecoder, MessageEvent


class FakeClient:
    """Records what it is sent, with the moment; refuses two sends at once.

    Args:
        freeze_at: The number of the send that never returns (0 is the start).
        fail_at: The number of the send that raises ``error``.
        slow: Seconds that each send takes.
    """

    def __init__(
        self,
        *,
        freeze_at: int | None = None,
        fail_at: int | None = None,
        error: Exception | None = None,
        slow: float = 0,
        method: str = "GET",
        http_version: str = "1.1",
    ) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": http_version,
            "method": method,
            "path": "/",
            "headers": [],
            "extensions": {},
        }
        self.freeze_at = freeze_at
        self.fail_at = fail_at
        self.error = error or OSError("gone")
        self.slow = slow
        self.messages: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.sends = 0
        self.frozen = anyio.Event()
        self.incoming: list[dict[str, Any]] = []
        self.gone = anyio.Event()
        self._sending = False
        self._receiving = False
        self._told = False
        self._changed = anyio.Event()

    async def receive(self) -> dict[str, Any]:
        assert not self._receiving, "two tasks call receive() at once"
        assert not self._told, "receive() is called again after a disconnect"
        self._receiving = True
        try:
            if self.incoming:
                await anyio.lowlevel.checkpoint()
                return self.incoming.pop(0)
            await self.gone.wait()
            self._told = True
            return {"type": "http.disconnect"}
        finally:
            self._receiving = False

    async def send(self, message: dict[str, Any]) -> None:
        assert not self._sending, "two tasks call send() at once"
        self._sending = True
        number, self.sends = self.sends, self.sends + 1
        try:
            if number == self.fail_at:
                raise self.error
            if number == self.freeze_at:
                self.frozen.set()
                await self.freeze()
            await anyio.sleep(self.slow)
            self.messages.append(message)
            self.times.append(anyio.current_time())
            self._changed.set()
            self._changed = anyio.Event()
        finally:
            self._sending = False

    @property
    def broken(self) -> bool | None:
        """Whether the connection was broken on purpose; None if it cannot be."""
        return None

    async def freeze(self) -> None:
        """Be the send that never returns."""
        await anyio.sleep_forever()

    async def call(self, response: EventSourceResponse) -> None:
        await response(self.scope, self.receive, self.send)

    async def call_and_leave(self, response: EventSourceResponse, *, after: float = 0) -> None:
        """Call a response, and leave ``after`` seconds in the send that never returns."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._leave, after)
            await self.call(response)

    async def _leave(self, after: float) -> None:
        await self.frozen.wait()
        await anyio.sleep(after)
        self.gone.set()

    async def wait_for(self, condition: Callable[["FakeClient"], bool]) -> None:
        while not condition(self):
            await self._changed.wait()

    async def wait_for_body(self, text: bytes) -> None:
        await self.wait_for(lambda client: text in client.body)

    @property
    def status(self) -> int | None:
        return self.messages[0]["status"] if self.messages else None

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def chunks(self) -> list[bytes]:
        """The bodies that carry anything."""
        return [message["body"] for message in self.messages[1:] if message["body"]]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def events(self) -> list[MessageEvent]:
        return EventStreamDecoder().receive_data(self.body)

    @property
    def data(self) -> list[str]:
        return [event.data for event in self.events]

    @property
    def complete(self) -> bool:
        """Whether the final body came, once and last."""
        finals = [not message["more_body"] for message in self.messages[1:]]
        assert True not in finals[:-1], "something was sent after the final body"
        return bool(finals) and finals[-1]


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
