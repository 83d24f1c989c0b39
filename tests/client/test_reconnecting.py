"""When the client connects again, how long it waits before, and with which id."""

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import anyio
import pytest

from trio_sse import EventTooLargeError
from trio_sse.client import EventSourceError, ReadyState, StallError
from trio_sse.client._reconnection import (
    RETRIED_STATUSES,
    Reconnection,
    ReconnectionOptions,
    seconds_of_retry_after,
)

from .scripted import FOREVER, Answer, Server, opened, read

pytestmark = pytest.mark.anyio

A, B, C = (f"data: {letter}\n\n".encode() for letter in "abc")

BUSY = Answer(status=503, headers={})
BROKEN = Answer(before=["ConnectError"])


def waits(server):
    """How many seconds there are from each request to the next."""
    return [later - earlier for earlier, later in pairwise(server.times)]


# After a stream


async def test_after_a_stream_it_connects_again_in_three_seconds(library):
    server = Server(library, Answer(A), Answer(B))
    assert await read(server) == ["a", "b"]
    assert waits(server) == [3, 3]


async def test_the_reconnection_time_can_be_chosen(library):
    server = Server(library, Answer(A), Answer(B))
    assert await read(server, reconnection_time=0.5) == ["a", "b"]
    assert waits(server) == [0.5, 0.5]


async def test_a_server_sets_the_reconnection_time_until_it_sets_another(library):
    server = Server(library, Answer(b"retry: 1500\n"), Answer(A), Answer(b"retry:250\n"))
    assert await read(server) == ["a"]
    assert waits(server) == [1.5, 1.5, 0.25]


async def test_a_server_that_asks_for_no_time_gets_a_little(library):
    server = Server(library, *[Answer(b"retry: 0\n\n")] * 3)
    await read(server, reconnection_time=0)
    assert waits(server) == pytest.approx([0.1] * 3)
    server = Server(library, *[Answer(b"retry: 200\n\n")] * 3)
    await read(server, min_reconnection_time=0.5)
    assert waits(server) == [0.5] * 3


@pytest.mark.parametrize("milliseconds", ["3600001", "9" * 20, "9" * 400, "9" * 10_000])
async def test_a_server_cannot_set_a_reconnection_time_without_bounds(library, milliseconds):
    server = Server(library, Answer(f"retry: {milliseconds}\n\n".encode()))
    await read(server, reconnection_time=3600)
    assert waits(server) == [3600]


async def test_the_bound_of_the_reconnection_time_can_be_chosen(library):
    server = Server(library, Answer(b"retry: 20000\n\n"))
    await read(server, max_reconnection_time=10)
    assert waits(server) == [10]


@pytest.mark.parametrize("error", ["ReadError", "RemoteProtocolError", "ReadTimeout"])
async def test_a_stream_that_breaks_is_no_failure_of_the_next_attempt(library, error):
    server = Server(library, Answer(A, error), Answer(B))
    async with opened(server) as source:
        assert [event.data async for event in source] == ["a", "b"]
        assert source.last_error is None
    assert waits(server) == [3, 3]


async def test_what_a_stream_leaves_unfinished_is_dropped(library):
    server = Server(library, Answer(A, b"data: b\n"), Answer(b"data: \xf0\x9f\x8c", "ReadError"))
    assert await read(server) == ["a"]


# After a failure


@pytest.mark.parametrize("failure", [BUSY, BROKEN], ids=["status", "error"])
@pytest.mark.usefixtures("longest_backoff")
async def test_after_failures_it_waits_twice_as_long_each_time(library, failure):
    server = Server(library, *[failure] * 4, Answer(A), failure)
    assert await read(server) == ["a"]
    assert waits(server) == [3 + 1, 3 + 2, 3 + 4, 3 + 8, 3, 3 + 1]


@pytest.mark.usefixtures("longest_backoff")
async def test_the_time_it_adds_after_failures_is_bounded(library):
    server = Server(library, *[BUSY] * 8)
    await read(server)
    assert waits(server)[4:] == [3 + 16, 3 + 32, 3 + 60, 3 + 60]
    server = Server(library, *[BUSY] * 3)
    await read(server, max_backoff=1.5)
    assert waits(server) == [3 + 1, 3 + 1.5, 3 + 1.5]


@pytest.mark.parametrize(("failures", "most"), [(1, 1), (2, 2), (3, 4), (7, 60), (2000, 60)])
def test_what_is_added_is_at_random_from_nothing_to_the_most(failures, most):
    reconnection = Reconnection(ReconnectionOptions(), now=0)
    for _ in range(failures):
        reconnection.failed(OSError())
    delays = [reconnection.delay(None, now=0) for _ in range(1000)]
    assert 3 <= min(delays) < 3 + most / 10
    assert 3 + most * 0.9 < max(delays) <= 3 + most


@pytest.mark.parametrize("status", sorted(RETRIED_STATUSES))
async def test_a_status_that_may_pass_is_retried(library, status):
    assert await read(Server(library, Answer(status=status), Answer(A))) == ["a"]


@pytest.mark.parametrize("status", [201, 206, 300, 304, 400, 401, 403, 404, 410, 501, 505])
async def test_any_other_status_is_the_end(library, status):
    server = Server(library, Answer(b"why", status=status), Answer(A))
    with pytest.raises(EventSourceError) as caught:
        await read(server)
    assert (caught.value.status, caught.value.body) == (status, b"why")
    assert len(server.requests) == 1


async def test_which_statuses_are_retried_can_be_chosen(library):
    answers = [Answer(status=404), Answer(status=404), Answer(status=503)]
    server = Server(library, *answers)
    with pytest.raises(EventSourceError, match="503"):
        await read(server, retried_statuses=[404])
    assert len(server.requests) == 3


@pytest.mark.parametrize("error", ["LocalProtocolError", "UnsupportedProtocol"])
async def test_what_cannot_be_sent_is_not_tried_again(library, error):
    server = Server(library, Answer(before=[error]))
    with pytest.raises(getattr(library, error)):
        await read(server)
    assert len(server.requests) == 1


# How often, how long


async def test_the_error_of_the_last_attempt_is_raised(library):
    server = Server(library, BUSY, BROKEN, Answer(status=500), Answer(A))
    with pytest.raises(EventSourceError, match="500"):
        await read(server, max_attempts=3)
    server = Server(library, BUSY, BROKEN)
    with pytest.raises(library.ConnectError):
        await read(server, max_attempts=2)


async def test_a_stream_begins_the_count_of_attempts_anew(library):
    server = Server(library, BUSY, Answer(A), BUSY, Answer(B), BUSY, BUSY)
    async with opened(server, max_attempts=2) as source:
        assert [(await source.receive()).data for _ in "ab"] == ["a", "b"]
        with pytest.raises(EventSourceError):
            await source.receive()
    assert len(server.requests) == 6


async def test_a_stream_that_breaks_is_no_failed_attempt(library):
    server = Server(library, *[Answer(A, "ReadError")] * 3)
    assert await read(server, max_attempts=1) == ["a"] * 3


@pytest.mark.usefixtures("no_backoff")
async def test_it_gives_up_when_there_was_no_stream_for_too_long(library):
    server = Server(library, *[BUSY] * 5)
    with pytest.raises(EventSourceError):
        await read(server, max_downtime=9)
    assert server.times == [0, 3, 6, 9]


@pytest.mark.usefixtures("no_backoff")
async def test_the_time_without_a_stream_begins_with_its_end(library):
    server = Server(library, BUSY, Answer(A, 100.0, B), *[BUSY] * 5)
    with pytest.raises(EventSourceError):
        await read(server, max_downtime=6)
    assert server.times == [0, 3, 106, 109]


async def test_it_does_not_wait_for_what_would_come_too_late(library):
    server = Server(library, after("3600"), Answer(A))
    with pytest.raises(EventSourceError):
        await read(server, max_downtime=10)
    assert server.times == [0]
    assert anyio.current_time() == 0


async def test_a_failure_at_once_can_be_the_last(library):
    server = Server(library, BUSY)
    with pytest.raises(EventSourceError):
        await read(server, max_downtime=0)


async def test_a_certificate_that_is_refused_is_the_end(library):
    futile = library.ConnectError("")
    futile.__cause__ = ssl.SSLCertVerificationError("self-signed")
    server = Server(library, Answer(before=[futile]), Answer(A))
    with pytest.raises(library.ConnectError):
        await read(server)
    assert len(server.requests) == 1


# Retry-After


def after(value):
    return Answer(status=503, headers={"retry-after": value})


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("7", 7),
        ("1", 3),
        ("0", 3),
        ("99999", 3600),
        ("9" * 400, 3600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 3),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 3600),
        ("-7", 3),
        ("7.5", 3),
        ("", 3),
        ("soon", 3),
        ("Wed, 21 Oct 99999 07:28:00 GMT", 3),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", 3),
        ("Wed, 21 Oct 2099 07:28:00 +99999999999999999999", 3),
    ],
)
async def test_a_server_asks_for_a_longer_wait_by_retry_after(library, value, wait):
    server = Server(library, after(value), Answer(A))
    assert await read(server) == ["a"]
    assert waits(server) == [wait, 3]


@pytest.mark.usefixtures("longest_backoff")
async def test_retry_after_counts_when_it_is_longer_than_what_chance_says(library):
    server = Server(library, after("5"), after("5"), after("5"))
    await read(server)
    assert waits(server) == [5, 5, 3 + 4]


@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000"])
def test_retry_after_may_be_a_date(zone):
    moment = datetime.now(UTC) + timedelta(seconds=1000)
    value = format_datetime(moment, usegmt=True).replace("GMT", zone)
    assert 900 < seconds_of_retry_after(value) <= 1000


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("-120", None),
        ("\u0667", None),  # digits to Unicode, and to float()
        ("\xb2", None),
    ],
)
async def test_an_error_says_what_retry_after_asks_for(library, value, seconds):
    answer = Answer(status=404, headers=[("retry-after", value.encode())])
    with pytest.raises(EventSourceError) as caught:
        await read(Server(library, answer))
    assert caught.value.retry_after == seconds


# The end


async def test_204_is_the_end(library):
    server = Server(library, Answer(A), Answer(b"data: no\n\n", status=204), Answer(B))
    assert await read(server) == ["a"]
    assert len(server.requests) == 2


@pytest.mark.parametrize("content_type", ["text/event-stream;charset=utf-8", "Text/Event-STREAM "])
async def test_a_content_type_may_have_parameters_and_capitals(library, content_type):
    assert await read(Server(library, Answer(A, headers={"content-type": content_type}))) == ["a"]


@pytest.mark.parametrize(
    "headers",
    [{}, *({"content-type": kind} for kind in ["text/html", "text/event-streams", "text/plain;"])],
)
async def test_another_content_type_is_an_error(library, headers):
    server = Server(library, Answer(b"<html>", headers=headers), Answer(A))
    with pytest.raises(EventSourceError) as caught:
        await read(server)
    assert (caught.value.status, caught.value.body) == (200, b"<html>")
    assert repr(headers.get("content-type", "")) in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "steps",
    [[b"x" * 5000], [b"x" * 600, b"x" * 600, FOREVER], [b"x" * 100] * 11 + ["ReadError"]],
    ids=["at once", "endless", "broken"],
)
async def test_an_error_has_the_first_kilobyte_of_the_body(library, steps):
    server = Server(library, Answer(*steps, status=404))
    with pytest.raises(EventSourceError) as caught:
        await read(server)
    assert caught.value.body == b"x" * 1024
    assert anyio.current_time() == 0


@pytest.mark.parametrize(
    ("steps", "moment"),
    [
        ([b"not ", b"found"], 0),
        ([b"not ", 0.9, b"found", FOREVER], 1),
        ([0.2, b"x", "ReadError"], 0.2),
    ],
    ids=["complete", "endless", "broken"],
)
async def test_an_error_has_of_the_body_what_comes_within_a_second(library, steps, moment):
    server = Server(library, Answer(*steps, status=404))
    with anyio.fail_after(10), pytest.raises(EventSourceError) as caught:
        await read(server)
    assert caught.value.body == b"".join(step for step in steps if isinstance(step, bytes))
    assert anyio.current_time() == moment
    assert server.open == 0


async def test_an_error_says_what_was_asked(library):
    with pytest.raises(EventSourceError, match=r"404 from http://server/a\?b=c") as caught:
        await read(Server(library, Answer(status=404)), "http://server/a?b=c")
    assert caught.value.url == "http://server/a?b=c"


async def test_too_large_an_event_is_the_end_after_the_events_before_it(library):
    server = Server(library, Answer(A + b"data: " + b"x" * 100, FOREVER), Answer(B))
    async with opened(server, max_event_size=50) as source:
        assert (await source.receive()).data == "a"
        with pytest.raises(EventTooLargeError):
            await source.receive()
        assert source.state is ReadyState.CLOSED
    assert (len(server.requests), server.open) == (1, 0)


# The last event ID


async def test_the_first_request_has_no_last_event_id(library):
    server = Server(library)
    await read(server)
    assert server.headers(b"last-event-id") == [[]]


@pytest.mark.parametrize(
    ("stream", "sent"),
    [
        (b"id: 1\n" + A, [b"1"]),
        (b"id: 1\n" + A + B, [b"1"]),
        (b"id: 1\n" + A + b"id: 2\n\n", [b"2"]),
        (b"id: 1\n" + A + b"id: 2\n", [b"1"]),
        (b"id: 1\n" + A + b"id\n" + B, []),
        (b"id: 1\n" + A + b"id: \0\n" + B, [b"1"]),
        ("id: ünï 🌍\n\n".encode(), ["ünï 🌍".encode()]),
        ("id: \u3000\xa0\n\n".encode(), ["\u3000\xa0".encode()]),
        (b"id: \xff\n\n", ["\ufffd".encode()]),
        (b"id: a b\tc\n\n", [b"a b\tc"]),
        (b"id:  1\n\n", []),
        (b"id: 1 \n\n", []),
        (b"id: \t1\n\n", []),
        (b"id: 1\t\n\n", []),
        (b"id:  \n\n", []),
        (b"id: \x01\n\n", []),
        (b"id: a\x1bb\n\n", []),
        (b"id: \x7f\n\n", []),
    ],
)
async def test_the_last_event_id_is_sent_when_it_can_be(library, stream, sent):
    server = Server(library, Answer(stream))
    await read(server)
    assert server.headers(b"last-event-id") == [[], sent]


async def test_the_last_event_id_stays_over_streams_that_set_none(library):
    server = Server(library, Answer(b"id: 1\n" + A), Answer(B), BUSY, BROKEN, Answer(b"id\n" + C))
    async with opened(server, last_event_id="0") as source:
        assert source.last_event_id == "0"
        ids = [(event.data, event.last_event_id) async for event in source]
        assert source.last_event_id == ""
    assert ids == [("a", "1"), ("b", "1"), ("c", "")]
    assert server.headers(b"last-event-id") == [[b"0"], *[[b"1"]] * 4, []]


@pytest.mark.parametrize("last_event_id", ["\ud800", " 1", "\n", "a\r\nb: c", "\0"])
async def test_an_id_to_begin_with_that_cannot_be_sent_is_not(library, last_event_id):
    server = Server(library, Answer(A))
    async with opened(server, last_event_id=last_event_id) as source:
        assert (await source.receive()).last_event_id == last_event_id
    assert server.headers(b"last-event-id") == [[]]


async def test_the_last_event_id_is_of_the_event_that_was_received(library):
    server = Server(library, Answer(b"id: 1\n" + A + b"id: 2\n" + B, FOREVER))
    async with opened(server) as source:
        for expected in ("1", "2"):
            await source.receive()
            assert source.last_event_id == expected


# Stalls


@pytest.mark.parametrize("stalling", [Answer(before=[FOREVER]), Answer(FOREVER)])
async def test_it_connects_again_when_nothing_comes_for_too_long(library, stalling):
    server = Server(library, stalling, Answer(A))
    async with opened(server, stall_timeout=10, reconnection_time=0, max_backoff=0) as source:
        assert (await source.receive()).data == "a"
        assert isinstance(source.last_error, StallError)
    assert waits(server) == [10]
    assert server.open == 0


async def test_a_comment_is_something_that_comes(library):
    server = Server(library, Answer(9.0, b":\n", 9.0, b"d", 9.0, b"ata: a\n\n", FOREVER), Answer(B))
    async with opened(server, stall_timeout=10, reconnection_time=0) as source:
        assert [(await source.receive()).data for _ in "ab"] == ["a", "b"]
    assert server.times == [0, 37]


async def test_to_wait_for_a_receiver_is_no_stall(library):
    server = Server(library, Answer(A, 5.0, B))
    async with opened(server, stall_timeout=10) as source:
        for expected in ("a", "b"):
            await anyio.sleep(100)
            assert (await source.receive()).data == expected
    assert len(server.requests) == 1


async def test_a_stall_is_a_timeout_that_counts_as_an_attempt(library):
    server = Server(library, *[Answer(before=[FOREVER])] * 3)
    with pytest.raises(TimeoutError, match="nothing has come for 5 seconds"):
        await read(server, stall_timeout=5, max_attempts=2)
    assert len(server.requests) == 2
