"""Bad input is refused where it was made: when the response is."""

import math
import re
from functools import partial

import anyio
import pytest
import trio
from starlette.responses import Response

from trio_sse import EventSourceResponse, ServerSentEvent


async def produce(send):
    raise NotImplementedError


async def generate():
    yield "a"


def generate_sync():
    yield "a"


class Generators:
    async def method(self):
        yield "a"


class CallsAGenerator:
    async def __call__(self, send):
        yield "a"


async def without_parameters():
    raise NotImplementedError


async def with_two_parameters(send, more):
    raise NotImplementedError


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (None, "content must be a producer"),
        (5, "content must be a producer"),
        (1.5, "content must be a producer"),
        (object(), "content must be a producer"),
        ("text", "put a single event into a list"),
        (b"data: x\n\n", "put a single event into a list"),
        ({"data": "x"}, "put a single event into a list"),
        (ServerSentEvent("x"), "put a single event into a list"),
        (generate, "call the generator function"),
        (generate_sync, "call the generator function"),
        (Generators().method, "call the generator function"),
        (partial(generate), "call the generator function"),
        (Generators, "pass an instance"),
        (trio.open_memory_channel[str](1), "pass the receive channel alone"),
        (CallsAGenerator(), "call the generator function"),
        (without_parameters, r"called with \(send\)"),
        (with_two_parameters, r"called with \(send\)"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or re.sub(r" at 0x\w+", "", repr(value)),
)
def test_content_of_a_wrong_kind_is_refused(content, remedy):
    with pytest.raises(TypeError, match=remedy) as caught:
        EventSourceResponse(content)
    assert "content" in str(caught.value)


def test_a_coroutine_object_is_refused_and_closed():
    coroutine = produce(None)
    with pytest.raises(TypeError, match="pass the producer itself, do not call it"):
        EventSourceResponse(coroutine)
    assert coroutine.cr_frame is None


def test_something_awaitable_is_refused():
    class Awaitable:
        def __await__(self):
            yield

    with pytest.raises(TypeError, match="pass the producer itself, do not call it"):
        EventSourceResponse(Awaitable())


def test_a_builtin_whose_parameters_are_unknown_is_trusted():
    EventSourceResponse(print.__self__.breakpoint)


def test_a_preflight_needs_a_producer_that_takes_task_status():
    with pytest.raises(TypeError, match=r"called with \(send, \*, task_status\)"):
        EventSourceResponse(produce, preflight=True)
    with pytest.raises(TypeError, match="preflight needs a producer"):
        EventSourceResponse(["a"], preflight=True)


NO_NUMBER = ["5", None, True, [5], ServerSentEvent("x")]


@pytest.mark.parametrize("name", ["ping", "cleanup_timeout", "send_timeout", "max_age"])
@pytest.mark.parametrize("value", NO_NUMBER, ids=repr)
def test_seconds_that_are_no_number_are_refused(name, value):
    if value is None and name in ("send_timeout", "max_age"):
        EventSourceResponse(produce, **{name: value})
        return
    with pytest.raises(TypeError, match=f"{name} must be a number of seconds"):
        EventSourceResponse(produce, **{name: value})


@pytest.mark.parametrize("name", ["ping", "cleanup_timeout", "send_timeout", "max_age"])
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -(10**400)])
def test_seconds_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a finite number of seconds"):
        EventSourceResponse(produce, **{name: value})


@pytest.mark.parametrize("name", ["send_timeout", "max_age"])
def test_a_deadline_of_no_seconds_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be a finite number of seconds, greater"):
        EventSourceResponse(produce, **{name: 0})


@pytest.mark.parametrize("name", ["ping", "cleanup_timeout"])
def test_no_seconds_are_fine_where_they_mean_none(name):
    EventSourceResponse(produce, **{name: 0})


@pytest.mark.parametrize("sep", ["", "\n\n", "x", None, b"\n"])
def test_a_separator_that_ends_no_line_is_refused(sep):
    with pytest.raises(ValueError, match="sep must be one of"):
        EventSourceResponse(produce, sep=sep)


@pytest.mark.parametrize(
    ("value", "error"),
    [(-1, ValueError), (1.5, TypeError), (True, TypeError), ("5", TypeError), (None, TypeError)],
)
def test_a_buffer_size_that_no_channel_has_is_refused(value, error):
    with pytest.raises(error, match="max_buffer_size must be"):
        EventSourceResponse(produce, max_buffer_size=value)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("200", TypeError),
        (True, TypeError),
        (None, TypeError),
        (100, ValueError),
        (204, ValueError),
        (304, ValueError),
        (600, ValueError),
    ],
)
def test_a_status_that_carries_no_stream_is_refused(value, error):
    with pytest.raises(error, match="status_code must be"):
        EventSourceResponse(produce, status_code=value)


@pytest.mark.parametrize(
    "name", ["ping_message_factory", "data_sender_callable", "on_close", "background"]
)
def test_what_is_to_be_called_must_be_callable(name):
    with pytest.raises(TypeError, match=f"{name} must be callable, not str"):
        EventSourceResponse(produce, **{name: "text"})


@pytest.mark.parametrize("name", ["farewell", "instrument"])
def test_what_must_be_of_a_type_is_refused_otherwise(name):
    with pytest.raises(TypeError, match=f"{name} must be"):
        EventSourceResponse(produce, **{name: "text"})


@pytest.mark.parametrize("value", ["text", 5, 0])
def test_a_limit_of_threads_must_be_a_limiter(value):
    with pytest.raises(TypeError, match="sync_limit must be a CapacityLimiter"):
        EventSourceResponse(["a"], sync_limit=value)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, TypeError),
        (3, TypeError),
        ("text/x\r\nset-cookie: a", ValueError),
        ("\u20ac", ValueError),
    ],
)
def test_a_media_type_that_is_no_header_is_refused(value, error):
    with pytest.raises(error, match="media_type must be"):
        EventSourceResponse(produce, media_type=value)


@pytest.mark.parametrize(("retry", "error"), [(-1, ValueError), (1.5, TypeError)])
def test_a_reconnection_time_that_is_none_is_refused(retry, error):
    with pytest.raises(error, match="retry must be"):
        EventSourceResponse(produce, retry=retry)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ("text", TypeError),
        (b"bytes", TypeError),
        (5, TypeError),
        ([1, 2], TypeError),
        (["ab"], TypeError),
        ([("a", "b", "c")], TypeError),
        ({"x": 5}, TypeError),
        ({5: "x"}, TypeError),
        ({"x": None}, TypeError),
        ({"x": "a\r\nset-cookie: b"}, ValueError),
        ({"x": "a\nb"}, ValueError),
        ({"x": "a\0b"}, ValueError),
        ({"x\r\n": "a"}, ValueError),
        ({"x y": "a"}, ValueError),
        ({"": "a"}, ValueError),
        ({"x": "\u20ac"}, ValueError),
        ({"Content-Length": "5"}, ValueError),
    ],
    ids=repr,
)
def test_headers_that_are_no_headers_are_refused(headers, error):
    with pytest.raises(error, match="headers"):
        EventSourceResponse(produce, headers=headers)


def test_headers_may_be_a_mapping_or_pairs_of_str_or_bytes():
    for headers in ({"X-A": "1"}, [("X-A", "1")], [(b"X-A", b"1")], (["X-A", b"1"],)):
        response = EventSourceResponse(produce, headers=headers)
        assert (b"x-a", b"1") in response.raw_headers


def test_a_header_may_be_given_twice():
    response = EventSourceResponse(produce, headers=[("Link", "a"), ("Link", "b")])
    assert response.headers.getlist("link") == ["a", "b"]


def test_the_headers_of_an_event_stream():
    response = EventSourceResponse(produce)
    assert dict(response.headers) == {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
    }


def test_every_header_can_be_overridden():
    given = {"cache-control": "public", "x-accel-buffering": "yes", "content-type": "text/x"}
    assert dict(EventSourceResponse(produce, headers=given).headers) == given


@pytest.mark.parametrize(
    ("media_type", "content_type"),
    [("text/event-stream; charset=utf-8",) * 2, ("application/x-ndjson",) * 2],
)
def test_the_media_type_is_the_content_type(media_type, content_type):
    response = EventSourceResponse(produce, media_type=media_type)
    assert response.headers["content-type"] == content_type


def test_it_is_a_starlette_response():
    response = EventSourceResponse(produce, 206)
    assert isinstance(response, Response)
    assert response.status_code == 206
    assert response.media_type == "text/event-stream"
    assert response.background is None
    response.set_cookie("a", "b")
    assert "set-cookie" in response.headers


@pytest.mark.anyio
async def test_it_can_be_made_in_a_worker_thread():
    response = await anyio.to_thread.run_sync(EventSourceResponse, ["a"])
    assert isinstance(response, EventSourceResponse)
