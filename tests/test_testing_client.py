"""The client that tests have: what it shows of an answer, and what it refuses of an app."""

import math

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from trio_sse import EventSourceResponse, EventTooLargeError, ServerSentEvent, last_event_id
from trio_sse._runtime import current_runtime
from trio_sse.testing import StreamClient, open_stream

pytestmark = pytest.mark.anyio

HOST = (b"host", b"testserver")

START = {"type": "http.response.start", "status": 200, "headers": []}


def body(data=b"", *, more=True):
    return {"type": "http.response.body", "body": data, "more_body": more}


def answer(*messages):
    """An app that sends messages, and ends."""

    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


def streaming(*pieces):
    """An app whose body comes in pieces, to the end."""
    return answer(START, *map(body, pieces), body(more=False))


async def call(*messages, **options):
    """Call an app that sends messages, with a client that takes it all."""
    client = StreamClient(buffer_size=math.inf, **options)
    await client.call(answer(*messages))
    return client


async def started(**options):
    client = StreamClient(**options)
    await client.asgi_send(START)
    return client


async def blocks(async_fn, *args):
    """Tell whether a call does not return within an hour."""
    with anyio.move_on_after(3600) as scope:
        await async_fn(*args)
    return scope.cancelled_caught


async def leave(client):
    await anyio.sleep(1)
    client.disconnect()


async def count_down(send):
    for n in (3, 2, 1):
        await send.send(ServerSentEvent(n, id=n))
        await anyio.sleep(1)


async def endless(send):
    await send.send("first")
    await anyio.sleep_forever()


# The answer


async def test_a_client_shows_status_and_headers():
    client = await call({**START, "status": 418, "headers": [(b"X-Pot", b"caf\xe9")]})
    assert client.status == 418
    assert client.headers == {"x-pot": "café"}


async def test_before_the_headers_there_is_no_status_and_asking_for_headers_is_a_mistake():
    client = StreamClient()
    assert client.status is None
    with pytest.raises(AssertionError, match="nothing has been sent"):
        _ = client.headers


async def test_messages_have_their_moments():
    async with open_stream(EventSourceResponse(count_down, headers={"x-a": "b"})) as client:
        begin = client.times[0]
        await client.read_body()
    assert [moment - begin for moment in client.times] == [0, 0, 1, 2, 3]
    assert client.messages[0]["status"] == 200
    assert client.headers["x-a"] == "b"


async def test_chunks_are_the_bodies_that_carry_anything():
    client = await call(START, body(b"a"), body(b""), body(b"b"), body(more=False))
    assert client.chunks == [b"a", b"b"]
    assert client.body == b"ab"


@pytest.mark.parametrize(
    ("messages", "complete"),
    [([], False), ([START], False), ([START, body()], False), ([START, body(more=False)], True)],
)
async def test_a_body_is_complete_when_the_final_one_has_come(messages, complete):
    client = await call(*messages)
    assert client.complete is complete


async def test_a_body_that_says_nothing_of_more_is_the_final_one():
    client = await call(START, {"type": "http.response.body"})
    assert client.complete
    assert await client.read_body() == b""


# Events


async def test_an_event_is_received_when_it_is_sent():
    async with open_stream(EventSourceResponse(count_down)) as client:
        begin, received = anyio.current_time(), []
        for _ in range(3):
            event = await client.receive()
            received.append((event.data, event.last_event_id, anyio.current_time() - begin))
    assert received == [("3", "3", 0), ("2", "2", 1), ("1", "1", 2)]


async def test_events_of_one_piece_are_received_one_by_one():
    async with open_stream(streaming(b"data: a\n\ndata: b\n\nda", b"ta: c\n\n")) as client:
        assert [(await client.receive()).data for _ in range(3)] == ["a", "b", "c"]


async def test_what_has_come_can_be_looked_at_without_reading():
    client = await call(START, body(b":ping\n\ndata: a\n\n"), body(b"data: b\n\n", more=False))
    for _ in range(2):
        assert [event.data for event in client.events] == ["a", "b"]
        assert client.comments == ["ping"]
        assert (await client.receive()).data in "ab"
    assert await client.receive_comment() == "ping"


@pytest.mark.parametrize("final", [True, False], ids=["final body", "app returns"])
async def test_reading_on_at_the_end_raises_end_of_channel_again_and_again(final):
    client = await call(START, body(b"data: a\n\n", more=not final))
    assert (await client.receive()).data == "a"
    for read in (client.receive, client.receive, client.receive_comment):
        with pytest.raises(current_runtime().EndOfChannel):
            await read()


async def test_iterating_ends_at_the_end():
    client = await call(START, body(b"data: a\n\ndata: b\n\n", more=False))
    assert [event.data async for event in client] == ["a", "b"]


@pytest.mark.parametrize("name", ["receive", "receive_bytes"])
async def test_receiving_what_is_there_is_a_checkpoint_and_loses_nothing(name):
    client = await call(START, body(b"data: a\n\n"), body(b"data: b\n\n", more=False))
    receive = getattr(client, name)
    await receive()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await receive()
    assert scope.cancelled_caught
    assert await receive() in (b"data: b\n\n", client.events[1])


@pytest.mark.parametrize("name", ["receive", "receive_comment"])
async def test_receiving_what_was_decoded_before_is_a_checkpoint_and_loses_nothing(name):
    client = await call(START, body(b":a\ndata: a\n\n:b\ndata: b\n\n", more=False))
    receive = getattr(client, name)
    await receive()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await receive()
    assert scope.cancelled_caught
    assert await receive() in ("b", client.events[1])


async def test_receiving_can_be_given_up_and_begun_again():
    async with open_stream(EventSourceResponse(count_down)) as client:
        await client.receive()
        with anyio.move_on_after(0.5):
            await client.receive()
        assert (await client.receive()).data == "2"


async def test_an_event_that_is_too_large_is_the_decoders_error():
    client = await call(START, body(b"data: " + b"x" * 2**20 + b"\n\n", more=False))
    with pytest.raises(EventTooLargeError):
        await client.receive()


# Comments


async def pings_and_events(send):
    await send.send(ServerSentEvent(comment="one"))
    await send.send(ServerSentEvent(comment="two"))
    await send.send("event")
    await anyio.sleep_forever()


async def test_comments_are_received_one_by_one_and_events_are_kept():
    async with open_stream(EventSourceResponse(pings_and_events, ping=10)) as client:
        begin = anyio.current_time()
        assert [await client.receive_comment() for _ in range(3)] == ["one", "two", "ping"]
        assert anyio.current_time() - begin == 10
        assert (await client.receive()).data == "event"
    assert client.comments == ["one", "two", "ping"]


async def test_comments_that_were_passed_over_can_still_be_received():
    async with open_stream(EventSourceResponse(pings_and_events, ping=10)) as client:
        assert (await client.receive()).data == "event"
        begin = anyio.current_time()
        assert [await client.receive_comment() for _ in range(2)] == ["one", "two"]
        assert anyio.current_time() == begin
        assert client.comments == ["one", "two"]


# Bytes


async def test_bytes_are_received_in_pieces_to_the_end():
    async with open_stream(streaming(b"a", b"b")) as client:
        assert [await client.receive_bytes() for _ in range(4)] == [b"a", b"b", b"", b""]


async def test_bytes_of_a_body_that_was_cut_end_too():
    client = await call(START, body(b"a"))
    assert [await client.receive_bytes() for _ in range(2)] == [b"a", b""]


@pytest.mark.parametrize("content", ["short", "x" * 2**21], ids=["short", "long"])
async def test_read_body_returns_all_of_any_body(content):
    async with open_stream(JSONResponse(content)) as client:
        assert await client.read_body() == f'"{content}"'.encode()


async def test_read_body_returns_also_what_was_read_before():
    async with open_stream(streaming(b"data: a\n\n", b"data: b\n\n")) as client:
        await client.receive()
        assert await client.read_body() == b"data: a\n\ndata: b\n\n"


async def test_one_can_wait_for_anything_the_app_sends():
    async with open_stream(EventSourceResponse(count_down)) as client:
        begin = anyio.current_time()
        await client.wait_for(lambda client: b"data: 1" in client.body)
        assert anyio.current_time() - begin == 2


async def test_waiting_for_what_will_never_be_ends_with_the_app():
    async with open_stream(EventSourceResponse(count_down)) as client:
        begin = anyio.current_time()
        with pytest.raises(current_runtime().EndOfChannel):
            await client.wait_for(lambda client: b"data: 0" in client.body)
        assert anyio.current_time() - begin == 3


async def test_what_is_so_at_the_very_end_is_seen():
    client = await call(START)
    await client.wait_for(lambda client: client.ended.is_set())


@pytest.mark.parametrize("messages", [[START], []], ids=["starts", "returns"])
async def test_one_can_wait_for_the_headers_or_the_end(messages):
    client = StreamClient()
    async with anyio.create_task_group() as group:
        group.start_soon(client.started)
        await anyio.sleep(1)
        group.start_soon(client.call, answer(*messages))
    assert client.messages == messages


# Backpressure


@pytest.mark.parametrize(
    ("sizes", "blocked"), [([99], False), ([100], False), ([101], True), ([50, 50, 1], True)]
)
async def test_a_send_blocks_when_more_than_the_buffer_has_not_been_read(sizes, blocked):
    client = await started(buffer_size=100)
    for size in sizes[:-1]:
        await client.asgi_send(body(b"x" * size))
    assert await blocks(client.asgi_send, body(b"x" * sizes[-1])) is blocked


async def test_reading_makes_room_by_what_was_read():
    client, returned = await started(buffer_size=100), []

    async def send():
        await client.asgi_send(body(b"x" * 100))
        returned.append(anyio.current_time())

    await client.asgi_send(body(b"x" * 50))
    await client.asgi_send(body(b"x"))
    async with anyio.create_task_group() as group:
        group.start_soon(send)
        for _ in range(2):
            await anyio.sleep(1)
            assert not returned
            await client.receive_bytes()
    assert returned == [anyio.current_time()]


async def test_by_default_64_kib_are_taken():
    client = await started()
    assert not await blocks(client.asgi_send, body(b"x" * 65536))
    assert await blocks(client.asgi_send, body(b"x"))


async def test_a_client_without_a_limit_never_blocks():
    client = await started(buffer_size=math.inf)
    assert not await blocks(client.asgi_send, body(b"x" * 2**24))


async def test_a_client_without_a_buffer_takes_each_piece_when_it_is_read():
    sent = []

    async def app(scope, receive, send):
        await send(START)
        for n in range(3):
            await send(body(b"x"))
            sent.append(n)

    async with open_stream(app, buffer_size=0) as client:
        for n in range(3):
            await anyio.sleep(1)
            assert sent == list(range(n))
            await client.receive_bytes()


# Slow, frozen, failing


async def test_each_send_to_a_slow_client_takes_its_time():
    client = StreamClient(slow=2)
    begin = anyio.current_time()
    await client.call(streaming(b"a"))
    assert [moment - begin for moment in client.times] == [2, 4, 6]


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_a_client_freezes_at_a_send(number):
    client = StreamClient(freeze_at=number)
    assert await blocks(client.call, streaming(b"a"))
    assert client.frozen.is_set()
    assert len(client.messages) == number
    assert await blocks(client.asgi_send, body(b"b"))


async def test_a_client_freezes_when_it_is_told_to():
    async with open_stream(EventSourceResponse(count_down, send_timeout=5)) as client:
        begin = anyio.current_time()
        await client.receive()
        client.freeze()
        assert not client.frozen.is_set()
        await client.frozen.wait()
        assert anyio.current_time() - begin == 1
        await client.ended.wait()
        assert anyio.current_time() - begin == 6
    assert [event.data for event in client.events] == ["3"]


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("error", [None, LookupError("mine")])
async def test_a_send_can_fail(number, error):
    client = StreamClient(fail_at=number, error=error)
    with pytest.raises(type(error) if error else OSError) as caught:
        await client.call(streaming(b"a"))
    assert error in (None, caught.value)
    assert len(client.messages) == number
    assert client.ended.is_set()


# Leaving


async def test_a_disconnect_is_received_after_the_request_however_often_it_is_asked_for():
    client = StreamClient()
    assert (await client.asgi_receive())["type"] == "http.request"
    assert await blocks(client.asgi_receive)
    client.disconnect()
    for _ in range(2):
        assert await client.asgi_receive() == {"type": "http.disconnect"}


async def test_a_send_that_was_blocked_goes_on_when_the_client_leaves():
    client = await started(buffer_size=0)
    async with anyio.create_task_group() as group:
        group.start_soon(leave, client)
        assert not await blocks(client.asgi_send, body(b"a"))


async def test_sends_to_a_client_that_has_left_do_not_block():
    client = await started(buffer_size=0)
    client.disconnect()
    for _ in range(3):
        assert not await blocks(client.asgi_send, body(b"late"))


# The request


async def test_a_request_has_what_was_asked_for():
    client = StreamClient("/a?b=c&d=e", method="post", headers={"X-Name": "é"}, body=b"text")
    request = Request(client.scope, client.asgi_receive)
    assert request.method == "POST"
    assert request.url.path == "/a"
    assert dict(request.query_params) == {"b": "c", "d": "e"}
    assert client.scope["query_string"] == b"b=c&d=e"
    assert request.headers["x-name"] == "é"
    assert await request.body() == b"text"


@pytest.mark.parametrize(
    ("path", "decoded", "raw"),
    [
        ("/a%20b", "/a b", b"/a%20b"),
        ("/a b", "/a b", b"/a%20b"),
        ("/é", "/é", b"/%C3%A9"),
        ("/%C3%A9", "/é", b"/%C3%A9"),
    ],
)
async def test_a_path_may_be_encoded_or_not(path, decoded, raw):
    scope = StreamClient(f"{path}?é=%20").scope
    assert (scope["path"], scope["raw_path"]) == (decoded, raw)
    assert scope["query_string"] == b"%C3%A9=%20"


async def test_a_request_is_a_get_of_the_root_over_http_1_1():
    scope = StreamClient().scope
    assert (scope["type"], scope["method"], scope["path"]) == ("http", "GET", "/")
    assert (scope["http_version"], scope["query_string"]) == ("1.1", b"")
    assert scope["headers"] == [HOST]
    assert StreamClient(http_version="2").scope["http_version"] == "2"


@pytest.mark.parametrize("headers", [{"A": "1", "b": "2"}, [("A", "1"), (b"b", b"2")]])
async def test_headers_are_a_mapping_or_pairs(headers):
    assert StreamClient(headers=headers).scope["headers"] == [(b"a", b"1"), (b"b", b"2"), HOST]


async def test_a_host_of_ones_own_is_the_only_one():
    assert StreamClient(headers={"Host": "me"}).scope["headers"] == [(b"host", b"me")]


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({"body": b"12345"}, [b"5"]),
        ({"body": b"12345", "body_complete": False}, []),
        ({"body": b"12345", "headers": {"content-length": "9"}}, [b"9"]),
        ({}, []),
    ],
)
async def test_a_request_says_how_long_its_body_is_if_that_is_known(options, lengths):
    headers = StreamClient(method="POST", **options).scope["headers"]
    assert [value for name, value in headers if name == b"content-length"] == lengths


@pytest.mark.parametrize("id", ["41", "", "ünïcode-\N{SNOWMAN}"])
async def test_the_last_event_id_is_sent_as_utf_8(id):
    client = StreamClient(last_event_id=id, headers={"accept": "text/event-stream"})
    assert dict(client.scope["headers"])[b"last-event-id"] == id.encode()
    assert last_event_id(Request(client.scope)) == (id or None)


async def test_without_a_last_event_id_there_is_no_header():
    assert last_event_id(Request(StreamClient().scope)) is None


async def test_a_websocket_is_denied_as_http_is_answered():
    scope = {"type": "websocket", "extensions": {"websocket.http.response": {}}}
    async with open_stream(EventSourceResponse(count_down), scope=scope) as client:
        assert client.status == 403
        await client.ended.wait()
        assert client.complete


async def test_a_websocket_whose_server_cannot_answer_so_is_closed():
    client = StreamClient(scope={"type": "websocket", "extensions": {}})
    await client.call(EventSourceResponse(count_down))
    assert client.messages == [{"type": "websocket.close"}]


async def test_the_scope_can_be_given_more():
    client = StreamClient("/a", scope={"state": {"hub": 5}, "client": ("10.0.0.1", 5)})
    request = Request(client.scope)
    assert request.state.hub == 5
    assert request.client.host == "10.0.0.1"
    assert request.url.path == "/a"


async def test_a_half_sent_body_is_followed_by_silence_and_then_by_a_disconnect():
    client = StreamClient(method="POST", body=b"half", body_complete=False)
    assert await client.asgi_receive() == {
        "type": "http.request",
        "body": b"half",
        "more_body": True,
    }
    assert await blocks(client.asgi_receive)
    client.disconnect()
    assert (await client.asgi_receive())["type"] == "http.disconnect"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"path": b"/"}, TypeError, "path"),
        ({"body": "text"}, TypeError, "body"),
        ({"slow": "1"}, TypeError, "slow"),
        ({"slow": -1}, ValueError, "slow"),
        ({"slow": math.nan}, ValueError, "slow"),
        ({"method": "GET /"}, ValueError, "method"),
        ({"buffer_size": "1"}, TypeError, "buffer_size"),
        ({"buffer_size": -1}, ValueError, "buffer_size"),
        ({"headers": "a: b"}, TypeError, "headers"),
        ({"headers": {"a b": "c"}}, ValueError, "headers"),
    ],
)
async def test_wrong_arguments_are_refused_at_once(options, error, message):
    with pytest.raises(error, match=message):
        StreamClient(**options)


# What an app must not do


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ([body(b"a")], "not http.response.start"),
        ([START, START], "not http.response.body"),
        ([START, body(more=False), body(b"a")], "after the final body"),
        ([START, body(more=False), body(more=False)], "after the final body"),
        ([{"type": "http.response.trailers"}], "trailers is sent"),
    ],
)
async def test_messages_out_of_order_are_refused(messages, match):
    with pytest.raises(AssertionError, match=match):
        await call(*messages)


@pytest.mark.parametrize("second", ["asgi_send", "asgi_receive"])
async def test_two_calls_at_once_are_refused(second):
    client = await started(slow=1)
    await client.asgi_receive()
    calls = {"asgi_send": (client.asgi_send, body(b"a")), "asgi_receive": (client.asgi_receive,)}
    async with anyio.create_task_group() as group:
        group.start_soon(*calls[second])
        await anyio.sleep(0.5)
        with pytest.raises(AssertionError, match="two tasks call"):
            await calls[second][0](*calls[second][1:])
        group.cancel_scope.cancel()
    client.disconnect()
    await calls[second][0](*calls[second][1:])


async def test_what_was_refused_is_not_taken():
    client = await call(START, body(b"a", more=False))
    with pytest.raises(AssertionError):
        await client.asgi_send(body(b"b"))
    assert client.body == b"a"
