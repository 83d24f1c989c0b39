"""The numbers that the documentation names are those of the code."""

import inspect
import re
from collections.abc import Callable

import pytest

from trio_sse import (
    ConnectionLimit,
    DrainMiddleware,
    EventSourceResponse,
    drain,
    open_hub,
)
from trio_sse._backoff import DEFAULT_RECONNECTION_TIME
from trio_sse._drain import DEFAULT_GRACE, FAREWELL_TIMEOUT
from trio_sse._hub import DEFAULT_CLOSE_TIMEOUT
from trio_sse._response import DEFAULT_CLEANUP_TIMEOUT
from trio_sse.compat import EventSourceResponse as CompatResponse
from trio_sse.testing import open_stream

from .pages import ROOT, tables

DOCS = ROOT / "docs"
TIMEOUTS = DOCS / "timeouts.md"
KUBERNETES = DOCS / "kubernetes.md"


def of(function: Callable[..., object], *names: str) -> dict[str, object]:
    """Return the defaults of arguments, by what the table calls them."""
    parameters = inspect.signature(function).parameters
    return {name: parameters[name].default for name in names}


def default_of(function: Callable[..., object], name: str) -> object:
    return inspect.signature(function).parameters[name].default


def clocks() -> dict[str, object]:
    """Return the clocks that the page must have, with their defaults."""
    hypercorn = pytest.importorskip("hypercorn")
    pytest.importorskip("coredis")
    pytest.importorskip("httpx")
    from trio_sse.client import open_event_source
    from trio_sse.hypercorn import serve
    from trio_sse.redis import RedisEngine

    stream = ("ping", "send_timeout", "max_age", "cleanup_timeout", "retry")
    client = ("reconnection_time", "min_reconnection_time", "max_reconnection_time")
    engine = ("max_age", "publish_timeout", "response_timeout", "heartbeat")
    compat = ("cleanup_timeout", "shutdown_grace_period")
    theirs = {f"{name} of trio_sse.compat": default_of(CompatResponse, name) for name in compat}
    return {
        **of(EventSourceResponse, *stream),
        **theirs,
        "tcp_user_timeout": EventSourceResponse([])._tcp_user_timeout,
        "grace of drain": default_of(drain, "grace"),
        "grace of DrainMiddleware": default_of(DrainMiddleware, "grace"),
        "drain of trio_sse.hypercorn.serve": default_of(serve, "drain"),
        "write_timeout of trio_sse.hypercorn.serve": default_of(serve, "write_timeout"),
        "hypercorn's graceful_timeout": hypercorn.Config().graceful_timeout,
        "farewell timeout": FAREWELL_TIMEOUT,
        "max_age of open_hub": default_of(open_hub, "max_age"),
        "close_timeout of open_hub": default_of(open_hub, "close_timeout"),
        **{f"{name} of RedisEngine": default_of(RedisEngine, name) for name in engine},
        "retry of ConnectionLimit": default_of(ConnectionLimit, "retry"),
        **of(open_event_source, *client, "max_backoff", "stall_timeout", "max_downtime"),
    }


def number(text: str) -> float | None:
    return None if text == "None" else float(text)


def test_the_table_of_timeouts_has_every_clock_with_its_default() -> None:
    rows = {row[0].replace("`", ""): number(row[1]) for row in tables(TIMEOUTS, "clock")}
    assert rows == clocks()


def test_the_text_about_timeouts_tells_the_truth_too() -> None:
    text = TIMEOUTS.read_text(encoding="utf-8")
    twice = re.search(r"With a `send_timeout` twice\s+that, and at least (\d+)", text)
    assert twice
    assert EventSourceResponse([], send_timeout=2)._tcp_user_timeout == float(twice[1])
    assert EventSourceResponse([], send_timeout=60)._tcp_user_timeout == 120
    seconds = re.search(r"(\d+) seconds to return after its client has gone", text)
    assert seconds
    assert float(seconds[1]) == default_of(open_stream, "exit_timeout")


def test_a_page_names_the_reconnection_time_of_clients() -> None:
    pytest.importorskip("httpx")
    from trio_sse.client import open_event_source

    assert default_of(open_event_source, "reconnection_time") == DEFAULT_RECONNECTION_TIME / 1000


def manifest(key: str) -> float:
    found = re.findall(rf"{key}: (\d+)", KUBERNETES.read_text(encoding="utf-8"))
    assert len(found) == 1
    return float(found[0])


def longest_end() -> dict[str, float]:
    """Return what comes after SIGTERM, and how long it may take."""
    hypercorn = pytest.importorskip("hypercorn")
    return {
        "drain": DEFAULT_GRACE,
        "graceful_timeout": hypercorn.Config().graceful_timeout,
        "cleanup_timeout": DEFAULT_CLEANUP_TIMEOUT,
        "close_timeout": DEFAULT_CLOSE_TIMEOUT,
    }


def test_a_pod_has_time_for_everything_that_comes_before_its_end() -> None:
    rows = {row[0].strip("`"): float(row[1]) for row in tables(KUBERNETES, "")}
    assert rows == {"preStop": manifest("preStop:\\s+sleep: {seconds"), **longest_end()}
    total = sum(rows.values())
    assert f"That is {total:g} seconds at most" in KUBERNETES.read_text(encoding="utf-8")
    assert manifest("terminationGracePeriodSeconds") > total


def test_systemd_waits_long_enough_too() -> None:
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    stop = re.search(r"TimeoutStopSec=(\d+)", text)
    assert stop
    assert float(stop[1]) > sum(longest_end().values())


def test_the_page_on_shutdown_has_the_times_of_serve() -> None:
    rows = [*tables(DOCS / "shutdown.md", "from")]
    streams = DEFAULT_GRACE + 2 * FAREWELL_TIMEOUT
    rest = DEFAULT_GRACE + longest_end()["graceful_timeout"]
    assert [float(row[0]) for row in rows] == [0, DEFAULT_GRACE, streams, rest]
    assert [float(row[1]) for row in rows[:-1]] == [DEFAULT_GRACE, streams, rest]
