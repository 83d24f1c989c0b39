"""Whatever the content and whatever the way out, everything is run to its end and closed."""

import anyio
import anyio.lowlevel
import pytest
import trio

from fakes import FakeClient, Recorder
from trio_sse import CloseReason, EncodeError, EventSourceResponse, drain
from trio_sse._runtime import current_runtime

pytestmark = pytest.mark.anyio


class Ends:
    """Notes what was begun and must be over in the end."""

    def __init__(self, items):
        self.items = items
        self.begun = 0
        self.over = 0

    def producer(self):
        async def produce(send):
            self.begun += 1
            try:
                for item in self.items:
                    await send.send(item)
                await self.rest()
            finally:
                self.over += 1

        return produce

    def generator(self):
        async def generate():
            self.begun += 1
            try:
                for item in self.items:
                    yield item
                await self.rest()
            finally:
                self.over += 1

        return generate()

    def iterator(self):
        ends = self

        class Iterator:
            def __init__(self):
                ends.begun += 1
                self.left = list(ends.items)

            def __aiter__(self):
                return self

            async def __anext__(self):
                if self.left:
                    return self.left.pop(0)
                await ends.rest()
                raise StopAsyncIteration

            async def aclose(self):
                await anyio.lowlevel.checkpoint()
                ends.over += 1

        return Iterator()

    def channel(self):
        send, receive = current_runtime().open_memory_channel(10)
        for item in self.items:
            send.send_nowait(item)
        self.begun += 1
        self.rest_of = (send, receive)
        if not self.endless:
            send.close()
        return receive

    def check(self):
        if hasattr(self, "rest_of"):
            send, receive = self.rest_of
            with pytest.raises((trio.ClosedResourceError, anyio.ClosedResourceError)):
                receive.receive_nowait()
            send.close()
            self.over += 1
        assert self.begun == self.over

    async def rest(self):
        if self.endless:
            await anyio.sleep_forever()


@pytest.mark.parametrize("kind", ["producer", "generator", "iterator", "channel"])
@pytest.mark.parametrize(
    "way",
    [
        "completed",
        "client gone while idle",
        "client gone during a send",
        "send timeout",
        "drain",
        "outer cancellation",
        "error in encoding",
        "never started",
        "HEAD",
    ],
)
async def test_everything_is_closed(kind, way):
    ends, closed = Ends(["a", {"bad": 1}] if way == "error in encoding" else ["a"]), Recorder()
    ends.endless = way != "completed"
    client = FakeClient(
        freeze_at=1 if way in ("client gone during a send", "send timeout") else None,
        fail_at=0 if way == "never started" else None,
        method="HEAD" if way == "HEAD" else "GET",
    )
    response = EventSourceResponse(getattr(ends, kind)(), ping=0, on_close=closed, send_timeout=5)

    async def act():
        if way == "client gone while idle":
            await client.wait_for_body(b"a")
            client.disconnect()
        elif way == "client gone during a send":
            await client.frozen.wait()
            client.disconnect()
        elif way == "drain":
            await client.wait_for_body(b"a")
            await drain()
        elif way == "outer cancellation":
            await client.wait_for_body(b"a")
            scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(act)
        with anyio.CancelScope() as scope:
            if way == "error in encoding":
                with pytest.raises(EncodeError):
                    await client.call(response)
            else:
                await client.call(response)
    ends.check()
    assert closed.reasons == [
        {
            "completed": CloseReason.COMPLETED,
            "HEAD": CloseReason.COMPLETED,
            "send timeout": CloseReason.SEND_TIMEOUT,
            "drain": CloseReason.SHUTDOWN,
            "outer cancellation": CloseReason.CANCELLED,
            "error in encoding": CloseReason.ERROR,
        }.get(way, CloseReason.CLIENT_DISCONNECTED)
    ]
