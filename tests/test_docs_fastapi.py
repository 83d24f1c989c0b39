"""The page on FastAPI is one app, which does what the page says."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trio_sse import EventSourceResponse
from trio_sse.openapi import HUB_EVENTS, event_stream
from trio_sse.testing import open_stream

fastapi = pytest.importorskip("fastapi")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        tuple(map(int, fastapi.__version__.split(".")[:2])) < (0, 134),
        reason="this FastAPI has no endpoints that yield",
    ),
]

PAGE = Path(__file__).parent.parent / "docs" / "fastapi.md"
CODE = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S))

opened: list[str] = []


class Session:
    async def rows(self) -> AsyncIterator[str]:
        for row in ("one", "two"):
            yield row


@asynccontextmanager
async def open_session() -> AsyncIterator[Session]:
    opened.append("opened")
    yield Session()
    opened.append("closed")


@pytest.fixture
async def page() -> AsyncIterator[SimpleNamespace]:
    names: dict[str, Any] = {"open_session": open_session, "Session": Session}
    exec(compile(CODE, str(PAGE), "exec"), names)
    page = SimpleNamespace(**names)
    opened.clear()
    async with page.lifespan(page.app) as state:
        page.state = state
        yield page


async def read(page: SimpleNamespace, path: str) -> list[str]:
    async with open_stream(page.app, path) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        return [event.data async for event in stream]


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/ticks", ["0", "1", "2"]),
        ("/countdown?start=2", ["2", "1", ""]),
        ("/slow", ["one"]),
        ("/history", ['{"symbol":"ABC","amount":12.5}']),
        ("/rows", ["one", "two"]),
    ],
)
async def test_each_stream_has_what_the_page_says(page: Any, path: str, data: list[str]):
    assert await read(page, path) == data


async def test_what_is_published_is_received(page: Any):
    price = b'{"symbol":"ABC","amount":12.5}'
    headers = {"content-type": "application/json"}
    options: Any = {"scope": {"state": page.state}}
    async with open_stream(page.app, "/prices", **options) as stream:
        await stream.receive()
        async with open_stream(
            page.app, "/prices", method="POST", headers=headers, body=price, **options
        ) as answer:
            assert answer.status == 202
        event = await stream.receive()
    assert (event.type, event.data) == ("price", price.decode())


async def test_a_session_is_open_for_the_stream(page: Any):
    await read(page, "/rows")
    assert opened == ["opened", "closed"]
    async with open_stream(EventSourceResponse(page.rows_of)) as stream:
        assert [event.data async for event in stream] == ["one", "two"]
    assert opened == ["opened", "closed"] * 2


async def test_the_document_has_the_events(page: Any):
    responses = page.app.openapi()["paths"]["/documented"]["get"]["responses"]
    assert responses["200"] == event_stream({"price": page.Price, **HUB_EVENTS})
