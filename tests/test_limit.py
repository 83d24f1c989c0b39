"""How many streams there may be: who gets a slot, for how long, and what others are told."""

import re
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.lowlevel
import pytest
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from fakes import FakeClient, Recorder, serving
from trio_sse import (
    CloseReason,
    ConnectionLimit,
    EventSourceResponse,
    LimitStatistics,
    ServerSentEvent,
    drain,
    open_hub,
)
from trio_sse._runtime import current_runtime

pytestmark = pytest.mark.anyio

CLOSED = (trio.ClosedResourceError, anyio.ClosedResourceError)
OVERLOADED = ("overloaded", '{"reason":"overloaded"}')


async def endless(send):
    await send.send("first")
    await anyio.sleep_forever()


async def once(send):
    await send.send("only")


class Visits:
    """Streams under one limit that stay open until they are left."""

    def __init__(self, limit, group):
        self._limit = limit
        self._group = group

    async def admits(self, key=None):
        """Tell whether there is a slot, and if so keep it."""
        self.latest = client = from_a_browser()
        response = EventSourceResponse(endless, limit=self._limit, limit_key=key, ping=0)
        self._group.start_soon(client.call, response)
        await client.wait_for(lambda client: client.complete or b"first" in client.body)
        return not client.complete


@asynccontextmanager
async def visiting(limit):
    async with anyio.create_task_group() as group:
        yield Visits(limit, group)
        group.cancel_scope.cancel()


def full(**options):
    """A limit whose only slot is taken."""
    limit = ConnectionLimit(total=1, **options)
    assert limit.take(None)
    return limit


def from_a_browser(**options):
    client = FakeClient(**options)
    client.scope["headers"] = [(b"accept", b"*/*"), (b"sec-fetch-mode", b"cors")]
    return client


# How many


async def test_so_many_streams_are_open_at_once_in_all():
    async with visiting(ConnectionLimit(total=2)) as visits:
        assert [await visits.admits(key) for key in "abc"] == [True, True, False]


async def test_so_many_streams_are_open_at_once_for_each_key():
    async with visiting(ConnectionLimit(per_key=2)) as visits:
        assert [await visits.admits(key) for key in "abaab"] == [True, True, True, False, True]


async def test_both_limits_hold():
    async with visiting(ConnectionLimit(total=3, per_key=2)) as visits:
        assert [await visits.admits(key) for key in "aaabc"] == [True, True, False, True, False]


async def test_a_slot_that_was_given_back_is_free():
    async with visiting(ConnectionLimit(per_key=2)) as visits:
        assert await visits.admits("a")
        for _ in range(3):
            assert await visits.admits("a")
            leaver = visits.latest
            assert not await visits.admits("a")
            leaver.disconnect()
            await anyio.sleep(1)


async def test_one_limit_counts_the_streams_of_all_responses_it_is_given_to():
    limit = ConnectionLimit(total=1, refusal="event")
    async with serving(FakeClient(), EventSourceResponse(endless, limit=limit)):
        await anyio.sleep(1)
        second = FakeClient()
        await second.call(EventSourceResponse(once, limit=limit))
        assert [event.type for event in second.events] == ["overloaded"]
        third = FakeClient()
        await third.call(EventSourceResponse(once, limit=ConnectionLimit(total=1)))


async def test_a_response_that_is_called_twice_takes_two_slots():
    limit = ConnectionLimit(total=2)
    response = EventSourceResponse(endless, limit=limit)
    async with serving(FakeClient(), response), serving(FakeClient(), response):
        await anyio.sleep(1)
        assert limit.statistics().connections == 2
    assert limit.statistics().connections == 0


async def test_statistics_count_what_is_taken_and_what_was_refused():
    limit = ConnectionLimit(total=3, per_key=2)
    assert limit.statistics() == LimitStatistics(connections=0, keys=0, refused=0)
    async with visiting(limit) as visits:
        for key in "aaabb":
            await visits.admits(key)
        assert limit.statistics() == LimitStatistics(connections=3, keys=2, refused=2)
    assert limit.statistics() == LimitStatistics(connections=0, keys=0, refused=2)


# For how long


class Slots:
    """Notes how many slots are taken when a stream does something."""

    def __init__(self):
        self.limit = ConnectionLimit(total=5)
        self.seen = []

    def note(self, what=None):
        self.seen.append(self.limit.statistics().connections)

    async def on_close(self, reason):
        self.reason = reason
        await anyio.sleep(2)
        self.note()


async def completes(send):
    await send.send("a")


async def fails(send):
    raise LookupError("mine")


async def fails_its_preflight(send, *, task_status):
    raise LookupError("mine")


async def fails_in_clean_up(send):
    try:
        await endless(send)
    finally:
        raise LookupError("mine")


WAYS = {
    "completed": (completes, CloseReason.COMPLETED),
    "client leaves": (endless, CloseReason.CLIENT_DISCONNECTED),
    "start fails": (endless, CloseReason.CLIENT_DISCONNECTED),
    "cancellation": (endless, CloseReason.CANCELLED),
    "send timeout": (endless, CloseReason.SEND_TIMEOUT),
    "drain": (endless, CloseReason.SHUTDOWN),
    "max_age": (endless, CloseReason.EXPIRED),
    "producer fails": (fails, CloseReason.ERROR),
    "producer fails in clean-up": (fails_in_clean_up, CloseReason.CLIENT_DISCONNECTED),
    "preflight fails": (fails_its_preflight, CloseReason.ERROR),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_slot_is_given_back_when_on_close_has_run(way):
    slots = Slots()
    content, reason = WAYS[way]
    client = FakeClient(
        fail_at=0 if way == "start fails" else None, freeze_at=1 if way == "send timeout" else None
    )
    response = EventSourceResponse(
        content,
        limit=slots.limit,
        on_close=slots.on_close,
        send_timeout=5,
        preflight=way == "preflight fails",
        max_age=8,
    )

    async def act():
        await anyio.sleep(1)
        slots.note()
        if way in ("client leaves", "producer fails in clean-up"):
            client.disconnect()
        elif way == "cancellation":
            scope.cancel()
        elif way == "drain":
            await drain()

    async with anyio.create_task_group() as group:
        group.start_soon(act)
        with anyio.CancelScope() as scope:
            try:
                await client.call(response)
            except LookupError:
                assert "fails" in way
        assert slots.limit.statistics().connections == 0
    assert slots.seen == [1, 1]
    assert slots.reason is reason


@pytest.mark.parametrize("way", ["refused", "fails", "hub closed", "HTTPException"])
async def test_a_slot_is_given_back_by_a_subscription_that_cannot_be_entered(way):
    slots = Slots()

    async def authorize(topics):
        slots.note()
        if way == "HTTPException":
            raise HTTPException(401)
        if way == "fails":
            raise LookupError("mine")
        return False

    async with open_hub() as hub:
        response = EventSourceResponse(
            hub.subscribe("news", authorize=authorize),
            limit=slots.limit,
            on_close=slots.on_close,
        )
        if way != "hub closed":
            with pytest.raises(LookupError if way == "fails" else HTTPException):
                await FakeClient().call(response)
    if way == "hub closed":
        slots.note()
        with pytest.raises(CLOSED):
            await FakeClient().call(response)
    assert slots.limit.statistics().connections == 0
    assert slots.seen == [0 if way == "hub closed" else 1, 1]
    assert slots.reason is CloseReason.ERROR


async def test_a_slot_is_given_back_by_content_that_cannot_run_here(anyio_backend_name):
    if anyio_backend_name == "trio":
        return
    slots = Slots()
    _, receive = trio.open_memory_channel[str](1)
    with pytest.raises(RuntimeError, match="trio memory channel"):
        await FakeClient().call(
            EventSourceResponse(receive, limit=slots.limit, on_close=slots.on_close)
        )
    assert slots.limit.statistics().connections == 0
    assert slots.seen == [1]


async def test_a_slot_is_given_back_though_on_close_fails_or_hangs(caplog):
    limit = ConnectionLimit(total=1)

    async def on_close(reason):
        raise LookupError("mine")

    async def hang(reason):
        await anyio.sleep_forever()

    for clean_up in (on_close, hang):
        await FakeClient().call(EventSourceResponse(once, limit=limit, on_close=clean_up))
        assert limit.statistics().connections == 0
    assert "on_close raised" in caplog.text
    assert "on_close was cancelled after cleanup_timeout" in caplog.text


async def test_a_slot_is_given_back_before_the_background_task_runs():
    limit, seen = ConnectionLimit(total=1), []

    async def background():
        seen.append(limit.statistics().connections)

    await FakeClient().call(EventSourceResponse(once, limit=limit, background=background))
    assert seen == [0]


async def test_a_slot_is_taken_before_authorize_and_before_the_producer_runs():
    limit, seen = ConnectionLimit(total=2), []

    async def authorize(topics):
        seen.append(limit.statistics().connections)
        return True

    async def produce(send):
        seen.append(limit.statistics().connections)

    await FakeClient().call(EventSourceResponse(produce, limit=limit))
    async with open_hub() as hub:
        subscription = hub.subscribe("news", authorize=authorize)
        async with serving(FakeClient(), EventSourceResponse(subscription, limit=limit)):
            await anyio.sleep(1)
    assert seen == [1, 1]


async def test_making_a_response_takes_no_slot():
    limit = ConnectionLimit(total=1)
    for _ in range(3):
        EventSourceResponse(once, limit=limit)
    assert limit.statistics() == LimitStatistics(0, 0, 0)


# What who is refused is told


async def test_a_browser_is_refused_by_an_event_and_a_time_to_come_back():
    retries = set()
    for _ in range(30):
        client, closed = from_a_browser(), Recorder()
        response = EventSourceResponse(endless, 206, limit=full(retry=9000), on_close=closed)
        await client.call(response)
        assert client.status == 200
        assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert [(event.type, event.data) for event in client.events] == [OVERLOADED]
        assert client.complete
        assert closed.reasons == [CloseReason.OVERLOADED]
        frame, rest = client.body.split(b"\r\n\r\n", 1)
        retries.add(int(re.fullmatch(rb"retry: (\d+)", frame)[1]))
        assert rest == ServerSentEvent(OVERLOADED[1], event="overloaded").encode()
    assert 6000 <= min(retries) < max(retries) <= 12_000


async def test_who_is_no_browser_is_refused_by_503_and_a_time_to_come_back():
    seconds = set()
    for _ in range(30):
        client, closed = FakeClient(), Recorder()
        client.scope["headers"] = [(b"accept", b"text/event-stream")]
        response = EventSourceResponse(endless, limit=full(retry=9000), on_close=closed)
        with pytest.raises(HTTPException) as caught:
            await client.call(response)
        assert caught.value.status_code == 503
        assert caught.value.detail
        assert client.messages == []
        assert closed.reasons == [CloseReason.OVERLOADED]
        seconds.add(int(caught.value.headers["Retry-After"]))
    assert 6 <= min(seconds) < max(seconds) <= 12


async def test_who_may_come_back_at_once_is_told_to_wait_a_second():
    with pytest.raises(HTTPException) as caught:
        await FakeClient().call(EventSourceResponse(endless, limit=full(retry=1)))
    assert caught.value.headers == {"Retry-After": "1"}


async def test_clients_are_told_to_wait_a_quarter_of_a_minute_by_default():
    client = from_a_browser()
    await client.call(EventSourceResponse(endless, limit=full()))
    frame = client.body.split(b"\r\n")[0]
    assert 10_000 <= int(frame.removeprefix(b"retry: ")) <= 20_000


@pytest.mark.parametrize("make", [FakeClient, from_a_browser])
@pytest.mark.parametrize("refusal", ["event", "error"])
async def test_the_way_to_refuse_can_be_chosen_for_everyone(refusal, make):
    client = make()
    response = EventSourceResponse(endless, limit=full(refusal=refusal))
    if refusal == "event":
        await client.call(response)
        assert client.status == 200
        assert [(event.type, event.data) for event in client.events] == [OVERLOADED]
        assert client.complete
    else:
        with pytest.raises(HTTPException) as caught:
            await client.call(response)
        assert caught.value.status_code == 503
        assert client.messages == []


async def test_a_function_chooses_by_the_scope_how_to_refuse():
    mine, scopes = HTTPException(429, "too many"), []

    def refuse(scope):
        scopes.append(scope)
        return mine if scope["path"] == "/" else None

    client, closed = FakeClient(), Recorder()
    response = EventSourceResponse(endless, limit=full(refusal=refuse), on_close=closed)
    with pytest.raises(HTTPException) as caught:
        await client.call(response)
    assert caught.value is mine
    assert client.messages == []
    client.scope["path"] = "/other"
    await client.call(response)
    assert client.complete
    assert [(event.type, event.data) for event in client.events] == [OVERLOADED]
    assert len(scopes) == 2
    assert all(scope is client.scope for scope in scopes)
    assert closed.reasons == [CloseReason.OVERLOADED] * 2


@pytest.mark.parametrize("answer", [429, False, Response(status_code=429), HTTPException])
async def test_a_function_that_returns_no_exception_is_an_error(answer):
    client = FakeClient()
    with pytest.raises(TypeError, match="refusal must return an exception to raise, or None"):
        await client.call(EventSourceResponse(endless, limit=full(refusal=lambda scope: answer)))
    assert client.messages == []


async def test_a_function_that_fails_leaves_its_error():
    def refuse(scope):
        raise LookupError("mine")

    client, closed = FakeClient(), Recorder()
    with pytest.raises(LookupError, match="mine"):
        await client.call(EventSourceResponse(endless, limit=full(refusal=refuse), on_close=closed))
    assert client.messages == []
    assert closed.reasons == [CloseReason.OVERLOADED]


async def test_what_is_said_has_the_separator_of_the_response():
    client = from_a_browser()
    await client.call(EventSourceResponse(endless, limit=full(), sep="\n"))
    assert b"\r" not in client.body
    assert [(event.type, event.data) for event in client.events] == [OVERLOADED]


async def test_who_is_refused_is_sent_nothing_of_the_options_of_the_stream():
    client = from_a_browser(slow=0.3)
    await client.call(
        EventSourceResponse(
            endless,
            limit=full(),
            retry=1,
            ping=0.1,
            max_age=0.1,
            farewell=ServerSentEvent("bye"),
            data_sender_callable=anyio.sleep_forever,
        )
    )
    assert client.body.count(b"\r\n\r\n") == 2
    assert b"retry: 1\r\n" not in client.body
    assert client.complete


@pytest.mark.parametrize("freeze_at", [0, 1, 2, 3])
async def test_who_is_refused_and_takes_nothing_is_given_up_within_a_second(freeze_at):
    client, closed = from_a_browser(freeze_at=freeze_at), Recorder()
    await client.call(EventSourceResponse(endless, limit=full(), on_close=closed))
    assert (closed.reasons, closed.times) == ([CloseReason.OVERLOADED], [1])
    assert not client.complete


async def test_who_is_refused_does_not_hold_up_a_drain():
    client = from_a_browser(freeze_at=1)
    async with anyio.create_task_group() as group:
        group.start_soon(client.call, EventSourceResponse(endless, limit=full()))
        await client.frozen.wait()
        before = anyio.current_time()
        await drain()
        assert anyio.current_time() == before


# What becomes of content that is refused


async def call_in_vain(client, content):
    """Call a response that is refused; return why it ended."""
    closed = Recorder()
    response = EventSourceResponse(content, limit=full(), on_close=closed)
    with suppress(HTTPException):
        await client.call(response)
    return closed


@pytest.mark.parametrize("make", [FakeClient, from_a_browser])
async def test_a_producer_that_is_refused_never_runs(make):
    started = []

    async def produce(send):
        started.append(True)

    await call_in_vain(make(), produce)
    assert started == []


class NeverIterated:
    def __init__(self):
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        raise AssertionError("iterated")

    async def aclose(self):
        await anyio.sleep(1)
        self.closed = True


async def generate():
    yield "a"


@pytest.mark.parametrize("make", [FakeClient, from_a_browser])
async def test_an_iterator_that_is_refused_is_closed_before_on_close(make):
    content, began = NeverIterated(), anyio.current_time()
    closed = await call_in_vain(make(), content)
    assert content.closed
    assert closed.reasons == [CloseReason.OVERLOADED]
    assert closed.times == [began + 1]


@pytest.mark.parametrize("make", [FakeClient, from_a_browser])
async def test_a_generator_that_is_refused_is_closed_though_it_never_ran(make):
    content = generate()
    await call_in_vain(make(), content)
    with pytest.raises(StopAsyncIteration):
        await anext(content)


@pytest.mark.parametrize("make", [FakeClient, from_a_browser])
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_an_iterator_of_threads_that_is_refused_is_closed(backend, make):
    """In real time, since closing takes a thread."""

    def generate():
        yield "a"

    async def main():
        await call_in_vain(make(), content)

    content = generate()
    anyio.run(main, backend=backend)
    assert content.gi_frame is None


@pytest.mark.parametrize("make", [FakeClient, from_a_browser])
async def test_a_channel_that_is_refused_is_closed(make):
    send, receive = current_runtime().open_memory_channel(1)
    await call_in_vain(make(), receive)
    with pytest.raises(CLOSED):
        receive.receive_nowait()
    send.close()


@pytest.mark.parametrize("make", [FakeClient, from_a_browser])
async def test_a_subscription_that_is_refused_is_neither_entered_nor_authorized(make):
    async def authorize(topics):
        raise AssertionError("asked")

    async with open_hub() as hub:
        client = make()
        await call_in_vain(client, hub.subscribe("news", authorize=authorize))
        assert hub.statistics().subscribers == 0
    assert b"ready" not in client.body


# HEAD, WebSocket, draining


async def test_head_takes_no_slot():
    limit, head = ConnectionLimit(total=1), FakeClient(method="HEAD", slow=1)
    async with serving(head, EventSourceResponse(endless, limit=limit)):
        await anyio.sleep(0.5)
        assert limit.statistics() == LimitStatistics(0, 0, 0)
        await head.wait_for(lambda client: client.complete)
    assert head.status == 200


async def test_head_is_refused_while_there_is_no_slot():
    limit, head, browser = full(), FakeClient(method="HEAD"), from_a_browser(method="HEAD")
    with pytest.raises(HTTPException) as caught:
        await head.call(EventSourceResponse(endless, limit=limit))
    assert caught.value.status_code == 503
    assert int(caught.value.headers["Retry-After"]) >= 10
    assert head.messages == []
    assert limit.statistics() == LimitStatistics(connections=1, keys=1, refused=0)
    await browser.call(EventSourceResponse(endless, limit=limit))
    assert (browser.status, browser.body) == (200, b"")
    assert browser.complete
    limit.give_back(None)
    await head.call(EventSourceResponse(endless, limit=limit))
    assert head.status == 200


@pytest.mark.parametrize("what", ["websocket", "draining"])
async def test_what_is_not_streamed_takes_no_slot_and_is_not_refused_for_one(what):
    limit, client, closed = full(), FakeClient(), Recorder()
    if what == "websocket":
        client.scope = {"type": "websocket", "extensions": {}}
        client.incoming = [{"type": "websocket.connect"}]
    else:
        await drain()
    await client.call(EventSourceResponse(endless, limit=limit, on_close=closed))
    assert limit.statistics() == LimitStatistics(connections=1, keys=1, refused=0)
    assert closed.reasons == [
        CloseReason.COMPLETED if what == "websocket" else CloseReason.SHUTDOWN
    ]


# In an app


@pytest.mark.parametrize("browser", [True, False])
async def test_a_refusal_in_an_app(browser):
    limit = full()

    async def endpoint(request):
        return EventSourceResponse(endless, limit=limit)

    app = Starlette(routes=[Route("/", endpoint)])
    client = from_a_browser() if browser else FakeClient()
    await app(client.scope, client.asgi_receive, client.asgi_send)
    if browser:
        assert client.status == 200
        assert [(event.type, event.data) for event in client.events] == [OVERLOADED]
        assert client.complete
    else:
        assert client.status == 503
        assert client.body == b"Too many event streams"
        assert int(client.headers["retry-after"]) >= 10


# Mistakes


def test_a_limit_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="total or per_key must be given"):
        ConnectionLimit()


@pytest.mark.parametrize("name", ["total", "per_key"])
@pytest.mark.parametrize(
    ("value", "error"),
    [("5", TypeError), (1.0, TypeError), (True, TypeError), (0, ValueError), (-1, ValueError)],
)
def test_a_number_of_streams_that_is_none_is_refused(name, value, error):
    with pytest.raises(error, match=f"{name} must be"):
        ConnectionLimit(**{"total": 5, name: value})


@pytest.mark.parametrize(
    ("retry", "error"),
    [(-1, ValueError), (1.5, TypeError), ("5", TypeError), (True, TypeError)],
)
def test_a_reconnection_time_that_is_none_is_refused(retry, error):
    with pytest.raises(error, match="retry must be"):
        ConnectionLimit(total=1, retry=retry)


@pytest.mark.parametrize("refusal", ["Event", "", None, 5, 503])
def test_a_way_to_refuse_that_is_none_is_refused(refusal):
    with pytest.raises(ValueError, match="refusal must be 'auto', 'event', 'error' or a function"):
        ConnectionLimit(total=1, refusal=refusal)


def test_a_way_to_refuse_that_would_have_to_be_awaited_is_refused():
    async def refuse(scope):
        return HTTPException(429)

    with pytest.raises(TypeError, match="refusal must be a plain function"):
        ConnectionLimit(total=1, refusal=refuse)


def test_the_numbers_are_named():
    with pytest.raises(TypeError):
        ConnectionLimit(5)


@pytest.mark.parametrize("limit", [5, "5", ConnectionLimit, True])
def test_a_limit_of_another_kind_is_refused(limit):
    with pytest.raises(TypeError, match="limit must be ConnectionLimit, not"):
        EventSourceResponse(once, limit=limit)


@pytest.mark.parametrize("key", [["me"], ("me", ["too"])], ids=repr)
def test_a_key_that_cannot_be_counted_is_refused(key):
    with pytest.raises(TypeError, match="limit_key must be hashable"):
        EventSourceResponse(once, limit=ConnectionLimit(total=1), limit_key=key)


def test_a_key_without_a_limit_is_refused():
    with pytest.raises(ValueError, match="limit_key is of no use without limit"):
        EventSourceResponse(once, limit_key="me")


def test_a_limit_for_each_key_needs_one():
    limit = ConnectionLimit(total=5, per_key=1)
    with pytest.raises(ValueError, match="limit_key must be given"):
        EventSourceResponse(once, limit=limit)
    for key in (0, "", False, ("a", 1)):
        EventSourceResponse(once, limit=limit, limit_key=key)


def test_a_key_is_allowed_where_none_is_needed():
    EventSourceResponse(once, limit=ConnectionLimit(total=1), limit_key="me")
