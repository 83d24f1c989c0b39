"""A server within an HTTP library: a transport whose answers are scripted, and stream."""

import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel

from trio_sse.client import EventSource, open_event_source

URL = "http://server/events"

# A step that takes for ever.
FOREVER = math.inf

# In virtual time: more than any test takes, so that what hangs fails.
LIMIT = 20_000

Step = bytes | float | str | Exception


class Answer:
    """What one request is answered with.

    Args:
        steps: What the body does: bytes are sent, a number is of seconds to wait, an exception is
            raised, and so is the one of the library that a string names.
        before: What is done before the status, likewise but without bytes.
        headers: By default those of an event stream.
        extensions: What the library says of the response beside.
    """

    def __init__(
        self,
        *steps: Step,
        status: int = 200,
        before: Iterable[Step] = (),
        headers: Any = None,
        extensions: Any = None,
    ) -> None:
        self.steps = steps
        self.status = status
        self.before = before
        self.headers = {"content-type": "text/event-stream"} if headers is None else headers
        self.extensions = extensions


def redirect(status: int, location: str | None) -> Answer:
    return Answer(status=status, headers={} if location is None else {"location": location})


class Server:
    """Answers one request after the other, then one with 204, and any that comes yet with 410."""

    def __init__(self, library: Any, *answers: Answer) -> None:
        self.requests: list[Any] = []
        self.times: list[float] = []
        """When they came."""
        self.open = 0
        """How many responses have not been closed."""
        self.sent = 0
        """How many chunks were asked for, and given."""
        self.closed = False
        """Whether the transport was closed, with its client."""
        self._library = library
        self._answers = [*answers, Answer(status=204, headers={})]

    def client(self, **options: Any) -> Any:
        """Return a client that asks this server, whatever the URL."""
        server = self

        class Transport(self._library.AsyncBaseTransport):
            async def handle_async_request(self, request: Any) -> Any:
                return await server._answer(request)

            async def aclose(self) -> None:
                server.closed = True

        return self._library.AsyncClient(transport=Transport(), trust_env=False, **options)

    @property
    def urls(self) -> list[str]:
        return [str(request.url) for request in self.requests]

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    @property
    def bodies(self) -> list[bytes]:
        return [request.content for request in self.requests]

    def headers(self, name: bytes) -> list[list[bytes]]:
        """Return the values of a header, for each request, as they were sent."""
        return [
            [value for key, value in request.headers.raw if key.lower() == name]
            for request in self.requests
        ]

    async def _answer(self, request: Any) -> Any:
        self.requests.append(request)
        self.times.append(anyio.current_time())
        answer = self._answers.pop(0) if self._answers else Answer(status=410)
        async for _ in self._play(answer.before):
            pass
        self.open += 1
        return self._library.Response(
            answer.status,
            headers=answer.headers,
            stream=self._body(answer.steps),
            extensions=answer.extensions,
        )

    def _body(self, steps: Iterable[Step]) -> Any:
        server = self

        class Body(self._library.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                async for chunk in server._play(steps):
                    server.sent += 1
                    yield chunk

            async def aclose(self) -> None:
                server.open -= 1  # whatever comes, as real transports do
                await anyio.lowlevel.checkpoint()

        return Body()

    async def _play(self, steps: Iterable[Step]) -> AsyncIterator[bytes]:
        for step in steps:
            await anyio.lowlevel.checkpoint()
            if isinstance(step, bytes):
                yield step
            elif isinstance(step, str):
                raise getattr(self._library, step)(f"a scripted {step}")
            elif isinstance(step, Exception):
                raise step
            elif step == FOREVER:
                await anyio.sleep_forever()
            else:
                await anyio.sleep(step)


@asynccontextmanager
async def opened(server: Server, url: Any = URL, **options: Any) -> AsyncIterator[EventSource]:
    """Open an event source of a server."""
    with anyio.fail_after(LIMIT):
        async with server.client() as client:
            async with open_event_source(url, client=client, **options) as source:
                yield source


async def read(server: Server, url: Any = URL, **options: Any) -> list[str]:
    """Return the data of all events that come before the end."""
    async with opened(server, url, **options) as source:
        return [event.data async for event in source]


async def receive_into(received: list[str], source: EventSource) -> None:
    async for event in source:
        received.append(event.data)  # noqa: PERF401 - what came before an error counts
