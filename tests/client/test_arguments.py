"""What an event source cannot be opened with is refused where it is opened."""

import math

import pytest

from trio_sse.client import open_event_source

from .scripted import URL, Server

SECONDS = [
    "reconnection_time",
    "min_reconnection_time",
    "max_reconnection_time",
    "max_backoff",
    "max_downtime",
]
WRONG_TYPES = [
    *((name, value) for name in [*SECONDS, "stall_timeout"] for value in ("1", True)),
    *((name, None) for name in SECONDS[:4]),
    *(("max_attempts", value) for value in ("1", 1.5, True)),
    *(("retried_statuses", value) for value in (503, None, ["503"], [503.0])),
    *(("max_event_size", value) for value in ("1", 1.5, True, None)),
    *(("last_event_id", value) for value in (None, b"1", 1)),
    *(("on_comment", value) for value in ("print", 1)),
    *(("on_state", value) for value in ("print", 1)),
    *(("method", value) for value in (None, b"GET")),
    *(("content", value) for value in ("text", 1, [b"x"])),
    *(("headers", value) for value in ("a: b", b"a: b", 1, ["a"], [("a", 1)], {1: "a"})),
    *(("url", value) for value in (None, 5, b"http://server", object())),
    *(("client", value) for value in ("httpx", object(), 5)),
    *(("repeat", value) for value in ("no", 1)),
]
WRONG_VALUES = [
    *((name, value) for name in [*SECONDS, "stall_timeout"] for value in (-1, math.inf, math.nan)),
    ("stall_timeout", 0),
    *(("max_attempts", value) for value in (0, -1)),
    ("retried_statuses", [503, 0]),
    *(("max_event_size", value) for value in (0, -1)),
    *(("headers", value) for value in ({"a b": "c"}, {"": "c"}, {"a": "b\n"}, {"a": "\u20ac"})),
    ("headers", {"Last-Event-ID": "1"}),
    *(("method", value) for value in ("", "G T", "GET\n", "GËT")),
    *(("url", value) for value in ("http://server:x", "http://server:99999", "http://[::1/")),
    *(("url", value) for value in ("", "server", "/events", "ftp://server", "http://", "ws://a")),
]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        *((*case, TypeError) for case in WRONG_TYPES),
        *((*case, ValueError) for case in WRONG_VALUES),
    ],
)
def test_a_bad_argument_is_refused_at_once_by_its_name(name, value, error):
    with pytest.raises(error, match=rf"^{name}\b"):
        open_event_source(**{"url": URL, name: value})


@pytest.mark.parametrize("name", ["on_state", "on_comment"])
def test_a_function_that_would_have_to_be_awaited_is_refused(name):
    async def later(_):
        raise NotImplementedError

    with pytest.raises(TypeError, match=f"{name} must be a plain function"):
        open_event_source(URL, **{name: later})


@pytest.mark.parametrize("name", [*SECONDS, "stall_timeout", "max_attempts", "last_event_id"])
def test_a_good_argument_is_not_refused(name):
    value = {"max_attempts": 1, "last_event_id": "\ud800"}.get(name, 0.5)
    open_event_source(URL, **{name: value})


@pytest.mark.parametrize(("name", "value"), [("method", "POST"), ("headers", {}), ("content", b"")])
def test_a_request_has_a_method_headers_and_a_body_of_its_own(library, name, value):
    with pytest.raises(ValueError, match="a request has its own"):
        open_event_source(library.Request("POST", URL), **{name: value})


def test_a_request_cannot_bring_a_last_event_id(library):
    request = library.Request("GET", URL, headers={"Last-Event-ID": "1"})
    with pytest.raises(ValueError, match="give the last event ID as last_event_id"):
        open_event_source(request)


def test_a_request_is_of_http(library):
    with pytest.raises(ValueError, match=r"^url must begin with"):
        open_event_source(library.Request("GET", "ftp://server"))


def test_a_client_that_is_not_asynchronous_is_refused(library):
    with library.Client() as client:
        with pytest.raises(TypeError, match="client must be an AsyncClient of httpx or httpx2"):
            open_event_source(URL, client=client)


def test_a_client_may_be_of_a_class_of_the_users(library):
    class Client(library.AsyncClient):
        pass

    open_event_source(URL, client=Client(transport=Server(library).client()._transport))


def test_what_is_not_the_url_is_named():
    with pytest.raises(TypeError):
        open_event_source(URL, None)
