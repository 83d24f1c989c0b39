"""What the code of a how-to page does is what the page says."""

from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from trio.testing import MockClock

from trio_sse import EventSourceResponse, drain, open_hub
from trio_sse.testing import open_stream

from .pages import ROOT, blocks
from .running import run_page


def names_of(page: str) -> dict[str, Any]:
    code = blocks(ROOT / "docs" / page, "python", "setup")
    return trio.run(run_page, code, clock=MockClock(autojump_threshold=0)).names


def in_virtual_time(test: Any) -> None:
    trio.run(test, clock=MockClock(autojump_threshold=0))


def test_a_stream_says_its_last_and_good_bye_when_it_drains() -> None:
    pytest.importorskip("hypercorn")
    app = names_of("shutdown.md")["app"]

    async def test() -> None:
        async with open_stream(app, "/events") as stream:
            assert (await stream.receive()).data == "1"
            await drain()
            said = [(event.type, event.data) async for event in stream]
        assert said == [("message", "that was the last one"), ("farewell", "back soon")]
        assert stream.complete

    in_virtual_time(test)


def test_a_probe_sees_that_it_drains() -> None:
    pytest.importorskip("hypercorn")
    ready = names_of("shutdown.md")["ready"]

    async def test() -> None:
        assert (await ready(None)).status_code == 204
        await drain()
        assert (await ready(None)).status_code == 503

    in_virtual_time(test)


@pytest.mark.parametrize(("rooms", "status"), [([7], 200), ([8], 403)])
def test_a_room_is_for_those_who_may_read_it(rooms: list[int], status: int) -> None:
    app: Starlette = names_of("security.md")["app"]

    async def test() -> None:
        async with open_hub() as hub:
            session = {"user": "me", "rooms": rooms}
            scope = {"session": session, "state": {"hub": hub}}
            headers = {"origin": "https://app.example.com"}
            async with open_stream(app, "/rooms/7", scope=scope, headers=headers) as stream:
                assert stream.status == status
                allowed = stream.headers["access-control-allow-origin"]
                assert allowed == "https://app.example.com"

    in_virtual_time(test)


def test_who_is_nobody_is_told_so() -> None:
    app: Starlette = names_of("security.md")["app"]

    async def test() -> None:
        async with open_stream(app, "/rooms/7", scope={"session": {}}) as stream:
            assert stream.status == 401

    in_virtual_time(test)


@pytest.mark.parametrize("text", ["-1", "1.5", "1e3", "\N{SUPERSCRIPT TWO}", "9" * 19, "x"])
def test_a_last_event_id_of_ones_own_is_checked(text: str) -> None:
    seen = names_of("security.md")["seen"]

    def request(last_event_id: bytes) -> Request:
        headers = [(b"last-event-id", last_event_id)]
        return Request({"type": "http", "headers": headers, "query_string": b""})

    assert seen(request(b"41")) == 41
    assert seen(request(b"")) == 0
    with pytest.raises(HTTPException):
        seen(request(text.encode()))


def test_the_middleware_of_starlette_that_compresses_leaves_a_stream_alone() -> None:
    app = GZipMiddleware(EventSourceResponse(["hello"]), minimum_size=1)

    async def test() -> None:
        async with open_stream(app, headers={"accept-encoding": "gzip"}) as stream:
            assert "content-encoding" not in stream.headers
            assert (await stream.receive()).data == "hello"

    trio.run(test)
