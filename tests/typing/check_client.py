"""The types of the client, as users meet them.

Checked by mypy and pyright, never run; see check_event.
"""

import math
from typing import Any, assert_type

import httpx
import httpx2

from trio_sse import MessageEvent
from trio_sse.client import (
    EventSource,
    EventSourceError,
    EventSourceStatistics,
    HTTPClient,
    ReadyState,
    StallError,
    open_event_source,
)

URL = "http://127.0.0.1:8000/events"


async def check_reading() -> None:
    async with open_event_source(URL) as source:
        assert_type(source, EventSource)
        async for event in source:
            assert_type(event, MessageEvent)
        assert_type(await source.receive(), MessageEvent)
        assert_type(await source.aclose(), None)

    with open_event_source(URL):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportAttributeAccessIssue]
        pass
    async for _ in open_event_source(URL):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportAttributeAccessIssue]
        pass


def check_clients(one: httpx.AsyncClient, two: httpx2.AsyncClient, sync: httpx.Client) -> None:
    clients: list[HTTPClient] = [one, two]
    for client in [*clients, None]:
        open_event_source(URL, client=client)
    open_event_source(one.build_request("POST", URL), client=one)
    open_event_source(two.build_request("POST", URL), client=two)
    open_event_source(httpx.URL(URL), client=one)

    open_event_source(URL, client=sync)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, client="httpx")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, client=httpx.AsyncClient)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def check_options() -> None:
    def note(source: EventSource) -> str:
        return source.state.value

    def take_text(text: str) -> None: ...

    open_event_source(
        URL,
        method="POST",
        headers={"authorization": "Bearer secret"},
        content=b"{}",
        repeat=True,
        last_event_id="7",
        reconnection_time=1,
        max_reconnection_time=60.0,
        max_backoff=10,
        max_attempts=5,
        max_downtime=300,
        retried_statuses={503},
        stall_timeout=45,
        max_event_size=1024,
        on_comment=print,
        on_state=note,
    )
    open_event_source(URL, headers=[("a", "b"), (b"c", b"d")], retried_statuses=range(500, 600))
    open_event_source(URL, content=None, repeat=None, max_attempts=None, max_downtime=None)
    open_event_source(URL, stall_timeout=None, on_comment=None, on_state=None, headers=None)

    open_event_source()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_event_source(URL, None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_event_source(URL, timeout=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_event_source(URL, content="text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, headers="a: b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, headers={"a": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, last_event_id=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, last_event_id=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, max_attempts=math.inf)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, retried_statuses=503)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, stall_timeout="45")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, max_event_size=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, on_comment=note)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_event_source(URL, on_state=take_text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def check_what_it_tells(source: EventSource) -> None:
    assert_type(source.state, ReadyState)
    assert_type(source.attempt, int)
    assert_type(source.delay, float)
    assert_type(source.last_error, Exception | None)
    assert_type(source.last_event_id, str)
    assert_type(source.url, str)
    assert_type(source.reconnection_time, float)
    assert_type(source.state is ReadyState.OPEN, bool)

    source.url = URL  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    source.reconnection_time = 5  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    source.new = 5  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def check_statistics(source: EventSource) -> None:
    statistics = source.statistics()
    assert_type(statistics, EventSourceStatistics)
    assert_type(statistics.attempts, int)
    assert_type(statistics.streams, int)
    assert_type(statistics.events, int)
    assert_type(statistics.comments, int)
    assert_type(statistics.bytes, int)

    statistics.events = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def check_errors(error: EventSourceError, stall: StallError, anything: Any) -> None:
    assert_type(error.status, int)
    assert_type(error.url, str)
    assert_type(error.body, bytes)
    assert_type(error.retry_after, float | None)
    late: TimeoutError = stall
    assert_type(str(late), str)
    assert_type(EventSourceError("no stream", status=404, url=URL), EventSourceError)

    EventSourceError("no stream")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
