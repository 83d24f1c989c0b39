"""The MCP Python SDK on trio: its server on hypercorn with our streams, and its own client."""

import gc
import json
import re
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from servers.process import ROOT, TESTS, Process
from servers.wire import Http1

pytest.importorskip("hypercorn")
mcp = pytest.importorskip("mcp")

from mcp.client.sse import sse_client  # noqa: E402

pytestmark = [
    pytest.mark.server,
    pytest.mark.once,
    # The SDK's client leaves those that it iterates to the garbage collector.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core)2:ResourceWarning"),
]

COMMAND = ("-X", "dev", "-m", "hypercorn", "--bind", "127.0.0.1:0", "mcp_sdk.app:app", "-k", "trio")

# Never waited out, unless a test is about to fail.
PATIENCE = 30

ALL = [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.fixture
def server() -> Iterator[Process]:
    with Process(*COMMAND, directory=TESTS) as process:
        yield process


class Seen(list[float]):
    """The progress that the client was told of."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.append(progress)


def get(server: Process, path: str) -> Any:
    with Http1(server.address()) as client:
        client.request(path)
        return json.loads(client.read_rest())


def url(server: Process, path: str) -> str:
    return "http://{}:{}".format(*server.address()) + path


def run(async_fn: Callable[[], Awaitable[Any]]) -> Any:
    async def in_time() -> Any:
        with trio.fail_after(PATIENCE):
            return await async_fn()

    try:
        return trio.run(in_time)
    finally:
        gc.collect()


# The handshake, and what has replaced it in newer versions of the protocol.
@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_tool_is_called_and_its_notifications_are_streamed(server: Process, mode: str) -> None:
    seen = Seen()

    async def call() -> Any:
        async with mcp.Client(url(server, "/mcp"), mode=mode) as client:
            return await client.call_tool("count", {"to": 5}, progress_callback=seen)

    assert run(call).structured_content == {"result": 5}
    assert seen == ALL
    assert server.complaints() == []


def test_a_client_whose_stream_is_cut_comes_back_and_gets_the_rest(server: Process) -> None:
    seen = Seen()

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        await seen(progress, total, message)
        await trio.to_thread.run_sync(get, server, "/tell")

    async def call() -> Any:
        async with mcp.Client(url(server, "/mcp"), mode="legacy") as client:
            return await client.call_tool("break_off", {}, progress_callback=tell)

    assert run(call).structured_content == {"result": "resumed"}
    assert seen == [0.0, 1.0]
    assert "resumed" in get(server, "/log")
    assert server.complaints() == []


def test_the_older_transport_works_too(server: Process) -> None:
    """It makes hypercorn complain in the end: the SDK answers once more after the stream."""
    seen = Seen()

    async def call() -> Any:
        async with sse_client(url(server, "/sse")) as streams:
            async with mcp.ClientSession(*streams) as session:
                await session.initialize()
                return await session.call_tool("count", {"to": 5}, progress_callback=seen)

    assert run(call).structured_content == {"result": 5}
    assert seen == ALL


def test_streams_end_when_the_server_is_told_to_leave(server: Process) -> None:
    async def leave(progress: float, total: float | None, message: str | None) -> None:
        server.send_signal(signal.SIGTERM)

    async def call() -> Any:
        async with mcp.Client(url(server, "/mcp"), mode="legacy") as client:
            with pytest.raises(mcp.MCPError, match="ended"):
                await client.call_tool("wait", {}, progress_callback=leave)

    run(call)
    assert server.wait() == 0
    assert "the tool was cancelled" in server.stdout
    assert server.complaints() == []


def test_the_streams_are_ours() -> None:
    code = (
        "import mcp_sdk.app, mcp.server.sse, mcp.server.streamable_http, trio_sse.compat as ours;"
        "assert mcp.server.sse.EventSourceResponse is ours.EventSourceResponse;"
        "assert mcp.server.streamable_http.EventSourceResponse is ours.EventSourceResponse"
    )
    with Process("-c", code, directory=TESTS) as process:
        assert process.wait() == 0, process.stderr


def test_the_recipe_in_the_documentation_works(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "mcp.md").read_text()
    programs = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    paths = [tmp_path / "server.py", tmp_path / "client.py"]
    for path, program in zip(paths, programs, strict=True):
        path.write_text(program.replace(":8000", ":0"))
    with Process("-X", "dev", str(paths[0])) as process:
        port = process.address()[1]
        paths[1].write_text(paths[1].read_text().replace(":0/", f":{port}/"))
        with Process(str(paths[1])) as client:
            assert client.wait() == 0, client.stderr
        assert client.stdout == "0 of 3\n1 of 3\n2 of 3\n{'result': 3}\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
        assert process.complaints() == []
