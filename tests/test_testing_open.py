"""Opening a stream in a test: when it is entered and left, what comes out, what is left behind."""

import anyio
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

import trio_sse
from fakes import Recorder
from trio_sse import CloseReason, EventSourceResponse, ServerSentEvent, open_hub
from trio_sse._runtime import current_runtime
from trio_sse.testing import LeakError, open_stream

pytestmark = pytest.mark.anyio

START = {"type": "http.response.start", "status": 200, "headers": []}


async def endless(send):
    await send.send("first")
    await anyio.sleep_forever()


async def once(send):
    await send.send("only")


async def wait_for_disconnect(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def polite(scope, receive, send):
    """An app that is there until its client leaves."""
    await send(START)
    await wait_for_disconnect(receive)


def lingering(seconds):
    """An app that goes on after its client has left."""

    async def app(scope, receive, send):
        await polite(scope, receive, send)
        await anyio.sleep(seconds)

    return app


def failing(before=0, *, start=True, after=0.0):
    """An app that fails, some seconds before or after the start."""

    async def app(scope, receive, send):
        await anyio.sleep(before)
        if start:
            await send(START)
        await anyio.sleep(after)
        raise LookupError("the app's")

    return app


# Entering and leaving


async def test_entering_waits_for_the_headers():
    async def app(scope, receive, send):
        await anyio.sleep(5)
        await polite(scope, receive, send)

    begin = anyio.current_time()
    async with open_stream(app) as stream:
        assert stream.status == 200
        assert anyio.current_time() - begin == 5


async def test_entering_does_not_wait_for_the_start_of_a_client_that_is_frozen():
    closed = Recorder()
    response = EventSourceResponse(endless, send_timeout=3, on_close=closed)
    async with open_stream(response, freeze_at=0) as stream:
        begin = anyio.current_time()
        assert stream.frozen.is_set()
        assert stream.status is None
        await stream.ended.wait()
    assert closed.reasons == [CloseReason.SEND_TIMEOUT]
    assert closed.times == [begin + 3]


async def test_entering_does_not_wait_for_an_app_that_has_returned_without_an_answer():
    async def app(scope, receive, send):
        pass

    async with open_stream(app) as stream:
        assert stream.status is None
        with pytest.raises(current_runtime().EndOfChannel):
            await stream.receive()


async def test_entering_and_reading_can_be_given_up():
    begin = anyio.current_time()
    for moment in (0, 5):
        with anyio.move_on_after(3) as scope:
            async with open_stream(failing(before=moment, after=50)) as stream:
                await stream.receive()
        assert scope.cancelled_caught
    assert anyio.current_time() - begin == 6


async def test_leaving_disconnects_and_waits_for_the_clean_up():
    closed = Recorder()
    async with open_stream(EventSourceResponse(endless, on_close=closed)) as stream:
        await stream.receive()
        await anyio.sleep(7)
        left_at = anyio.current_time()
        assert not closed.reasons
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]
    assert closed.times == [left_at]
    assert stream.ended.is_set()


async def test_leaving_a_stream_that_has_ended_changes_nothing():
    closed = Recorder()
    async with open_stream(EventSourceResponse(once, on_close=closed)) as stream:
        assert [event.data async for event in stream] == ["only"]
    assert closed.reasons == [CloseReason.COMPLETED]


async def test_a_client_that_disconnects_before_its_end_is_left_too():
    closed = Recorder()
    async with open_stream(EventSourceResponse(endless, on_close=closed)) as stream:
        stream.disconnect()
        await stream.ended.wait()
        assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_an_oserror_from_send_is_a_client_that_has_left():
    closed = Recorder()
    async with open_stream(EventSourceResponse(endless, on_close=closed), fail_at=1):
        pass
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_a_half_sent_body_does_not_stop_a_stream_that_is_left():
    closed = Recorder()
    response = EventSourceResponse(endless, on_close=closed)
    async with open_stream(response, method="POST", body=b"{", body_complete=False) as stream:
        assert (await stream.receive()).data == "first"
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_a_client_resumes_with_the_last_event_id():
    async def events(request):
        seen = trio_sse.last_event_id(request)
        return EventSourceResponse(request.state.hub.subscribe("news", last_event_id=seen))

    app = Starlette(routes=[Route("/events", events)])
    async with open_hub() as hub:
        options = {"path": "/events", "scope": {"state": {"hub": hub}}}
        async with open_stream(app, **options) as stream:
            ready = await stream.receive()
        await hub.publish("news", "missed")
        async with open_stream(app, last_event_id=ready.last_event_id, **options) as stream:
            assert (await stream.receive()).json() == {"resumed": True}
            assert (await stream.receive()).data == "missed"


async def test_a_drain_ends_an_open_stream_with_its_farewell():
    closed = Recorder()
    response = EventSourceResponse(endless, farewell=ServerSentEvent("bye"), on_close=closed)
    async with open_stream(response) as stream:
        assert (await stream.receive()).data == "first"
        await trio_sse.drain()
        assert [event.data async for event in stream] == ["bye"]
        assert stream.complete
    assert closed.reasons == [CloseReason.SHUTDOWN]


async def test_two_streams_are_open_at_once():
    async with open_stream(polite, "/a") as a, open_stream(polite, "/b") as b:
        a.disconnect()
        await a.ended.wait()
        assert not b.ended.is_set()


async def test_wrong_arguments_are_refused_before_anything_runs():
    with pytest.raises(ValueError, match="exit_timeout"):
        open_stream(polite, exit_timeout=-1)
    with pytest.raises(TypeError, match="path"):
        open_stream(polite, 5)


# What comes out


async def iterate(stream):
    assert [event async for event in stream]


async def receive(stream):
    await stream.receive()


async def wait(stream):
    await anyio.sleep(100)


async def wait_for_what_never_comes(stream):
    with anyio.fail_after(100):
        await stream.frozen.wait()


async def do_nothing(stream):
    pass


@pytest.mark.parametrize("body", [iterate, receive, wait, wait_for_what_never_comes, do_nothing])
@pytest.mark.parametrize("after", [0, 1])
async def test_what_the_app_raises_in_mid_stream_comes_out_as_itself(body, after):
    begin = anyio.current_time()
    with pytest.raises(LookupError, match="the app's"):
        async with open_stream(failing(after=after)) as stream:
            await body(stream)
    assert anyio.current_time() - begin == after


@pytest.mark.parametrize("before", [0, 1])
async def test_what_the_app_raises_before_the_start_comes_out_on_entering(before):
    with pytest.raises(LookupError, match="the app's"):
        async with open_stream(failing(before, start=False)):
            pytest.fail("it was entered")


async def test_what_the_test_stumbles_over_is_the_cause_of_what_the_app_raises():
    with pytest.raises(LookupError, match="the app's") as caught:
        async with open_stream(failing(after=1)) as stream:
            await receive(stream)
    assert isinstance(caught.value.__cause__, current_runtime().EndOfChannel)


async def test_an_error_before_the_first_event_is_an_answer_of_the_framework():
    async def refuse(send, *, task_status):
        raise HTTPException(404)

    async def events(request):
        return EventSourceResponse(refuse, preflight=True)

    async with open_stream(Starlette(routes=[Route("/", events)])) as stream:
        assert stream.status == 404
        assert await stream.read_body() == b"Not Found"


async def test_what_the_app_raises_when_it_is_left_comes_out_as_itself():
    async def app(scope, receive, send):
        await polite(scope, receive, send)
        raise LookupError("the app's")

    with pytest.raises(LookupError, match="the app's"):
        async with open_stream(app):
            pass


async def test_a_group_that_the_app_raises_stays_a_group():
    async def app(scope, receive, send):
        raise ExceptionGroup("the app's", [LookupError("one")])

    with pytest.raises(ExceptionGroup, match="the app's") as caught:
        async with open_stream(app):
            pass
    assert repr(caught.value.exceptions) == "(LookupError('one'),)"


@pytest.mark.parametrize("app", [polite, EventSourceResponse(endless), lingering(1000)])
async def test_what_the_test_raises_comes_out_as_itself(app):
    begin = anyio.current_time()
    with pytest.raises(KeyError, match="the test's"):
        async with open_stream(app):
            raise KeyError("the test's")
    assert anyio.current_time() == begin


async def test_misuse_of_asgi_is_an_assertion_error():
    async def app(scope, receive, send):
        await send({"type": "http.response.body", "body": b"a"})

    with pytest.raises(AssertionError, match="is sent, not"):
        async with open_stream(app):
            pass


# Going on for too long


async def test_an_app_that_goes_on_after_its_client_has_left_is_a_leak():
    with pytest.raises(LeakError, match="went on for 30"):
        async with open_stream(lingering(30.5)):
            begin = anyio.current_time()
    assert anyio.current_time() - begin == 30


async def test_an_app_has_the_time_that_it_is_given():
    async with open_stream(lingering(89), exit_timeout=90):
        pass
    with pytest.raises(LeakError, match="90"):
        async with open_stream(lingering(91), exit_timeout=90):
            pass
