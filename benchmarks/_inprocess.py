"""What is measured without a server: encoding, decoding, and a session of a client that leaves.

Each case runs in a process of its own: ``python -m benchmarks._inprocess scenario library``.
"""

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anyio

from ._client import Result, RunError
from ._server import ROOT

SMALL = "x" * 110
LARGE = "\n".join(["x" * 63] * 160)  # 10 kB
EVENT = f"id: 12345\r\ndata: {'x' * 97}\r\n\r\n".encode()  # 120 bytes
PIECE = 65536
STREAM_SIZE = 20_000_000


@dataclass(frozen=True)
class Work:
    """Something to do so many times.

    Args:
        count: How many events, or sessions.
        do: Does it all, once.
        size: How many bytes of a stream that is.
    """

    count: int
    do: Callable[[], object]
    size: int = 0


def event_class(library: str) -> Any:
    """Return the class of a library's events."""
    if library == "trio_sse":
        from trio_sse import ServerSentEvent
    else:
        from sse_starlette import ServerSentEvent
    return ServerSentEvent


def make_fastapi_event(text: str) -> bytes:
    """Make and encode an event as FastAPI does."""
    from fastapi.sse import ServerSentEvent, format_sse_event

    event = ServerSentEvent(raw_data=text)
    return format_sse_event(data_str=event.raw_data)


def encode(library: str, text: str, count: int) -> Work:
    """Make and encode events of one text."""
    if library == "fastapi":
        return Work(count, lambda: [make_fastapi_event(text) for _ in range(count)])
    make = event_class(library)
    return Work(count, lambda: [make(text).encode() for _ in range(count)])


def pieces(size: int) -> Iterator[bytes]:
    """Yield a stream as it is read from a socket: in pieces that mind no event."""
    block = EVENT * (PIECE * 15 // len(EVENT))
    for _ in range(max(1, size // len(block))):
        yield from (block[start : start + PIECE] for start in range(0, len(block), PIECE))


def decode(library: str, size: int) -> Work:
    """Decode a stream."""
    stream = list(pieces(size))

    def decode_trio_sse() -> None:
        from trio_sse import EventStreamDecoder

        decoder = EventStreamDecoder()
        check(sum(len(decoder.receive_data(piece)) for piece in stream))

    def decode_httpx_sse() -> None:
        import httpx
        from httpx_sse import EventSource

        headers = {"content-type": "text/event-stream"}
        response = httpx.Response(200, headers=headers, content=iter(stream))
        check(sum(1 for _ in EventSource(response).iter_sse()))

    def check(events: int) -> None:
        if events != count:
            raise RunError(f"{events} events were decoded, of {count}")

    size = sum(map(len, stream))
    count = size // len(EVENT)
    return Work(count, decode_trio_sse if library == "trio_sse" else decode_httpx_sse, size)


async def silence() -> AsyncIterator[str]:
    """Yield nothing, for ever."""
    await anyio.sleep_forever()
    yield ""


def response_class(library: str) -> Any:
    """Return the response of a library."""
    if library == "trio_sse":
        from trio_sse import EventSourceResponse as Response
    elif library == "sse_starlette":
        from sse_starlette import EventSourceResponse as Response
    else:
        from starlette.responses import StreamingResponse as Response
    return Response


def supervise(library: str, backend: str, count: int) -> Work:
    """Serve sessions whose client leaves at once."""
    make = response_class(library)
    scope = {"type": "http", "method": "GET", "http_version": "1.1", "asgi": {}, "headers": []}

    async def receive() -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await anyio.lowlevel.checkpoint()

    async def serve() -> None:
        for _ in range(count):
            await make(silence())(scope, receive, send)

    return Work(count, lambda: anyio.run(serve, backend=backend))


@dataclass(frozen=True)
class Scenario:
    """A comparison; `_scenarios.Scenario` says what it has."""

    name: str
    title: str
    libraries: tuple[str, ...]
    figures: dict[str, str]
    prepare: Callable[[str, int], Work]


ENCODERS = ("trio_sse", "sse_starlette", "fastapi")
RESPONSES = ("trio_sse", "sse_starlette", "starlette")
EACH = {"cpu_us": "µs CPU each"}
SCENARIOS = (
    Scenario(
        "encode-small",
        "Making and encoding an event of 110 characters",
        ENCODERS,
        EACH,
        lambda library, part: encode(library, SMALL, 200_000 // part),
    ),
    Scenario(
        "encode-large",
        "Making and encoding an event of 10 kB, 160 lines",
        ENCODERS,
        EACH,
        lambda library, part: encode(library, LARGE, 10_000 // part),
    ),
    Scenario(
        "decode",
        "Decoding events of 120 bytes, in pieces of 64 KiB",
        ("trio_sse", "httpx_sse"),
        {**EACH, "mb_s": "MB/s"},
        lambda library, part: decode(library, STREAM_SIZE // part),
    ),
    *(
        Scenario(
            f"supervisor-{backend}",
            f"A session whose client leaves at once, on {backend}",
            RESPONSES,
            EACH,
            lambda library, part, backend=backend: supervise(library, backend, 3000 // part),
        )
        for backend in ("trio", "asyncio")
    ),
)


def run(scenario: str, library: str, part: int) -> Result:
    """Measure one case once, in a process of its own."""
    command = [sys.executable, "-m", f"{__package__}._inprocess", scenario, library, str(part)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RunError(done.stderr.strip().rpartition("\n")[2])
    return json.loads(done.stdout)


def main(scenario: str, library: str, part: str) -> None:
    """Measure, and print the result as JSON."""
    prepare = next(each.prepare for each in SCENARIOS if each.name == scenario)
    prepare(library, 20 * int(part)).do()  # whatever is slow the first time
    work = prepare(library, int(part))
    before = time.process_time()
    work.do()
    seconds = time.process_time() - before
    result = {"cpu_us": seconds / work.count * 1e6}
    if work.size:
        result["mb_s"] = work.size / seconds / 1e6
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
