"""A subscription as the content of a response: entered before the headers, left at the end."""

import gc
from contextlib import asynccontextmanager
from weakref import ref

import anyio
import anyio.lowlevel
import pytest
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from fake_servers import Hypercorn, HypercornH2, Uvicorn
from fakes import FakeClient, Recorder, serving
from trio_sse import (
    AccessDeniedError,
    CloseReason,
    EventSourceResponse,
    ServerSentEvent,
    drain,
    last_event_id,
    open_hub,
)
from trio_sse._feed import ENOUGH_TO_JOIN
from trio_sse._source import MAX_CHUNK_SIZE

pytestmark = pytest.mark.anyio

CLOSED = (trio.ClosedResourceError, anyio.ClosedResourceError)


def types(client):
    return [event.type for event in client.events]


def texts(client):
    """What was published of what the client got."""
    return [event.data for event in client.events if event.type == "message"]


async def publish(hub, *items, topic="news"):
    return [await hub.publish(topic, item) for item in items]


async def refuse(topics):
    return False


# What the client gets


async def test_the_first_thing_a_client_gets_is_ready_with_the_id_that_it_begins_after():
    client = FakeClient()
    async with open_hub() as hub:
        [latest] = await publish(hub, "before")
        async with serving(client, EventSourceResponse(hub.subscribe("news"))):
            await client.wait_for_body(b"ready")
            await anyio.sleep(1)
    ready = ServerSentEvent('{"resumed":false}', event="ready", id=latest)
    assert [message["body"] for message in client.messages[1:]] == [ready.encode()]


async def test_nothing_but_retry_comes_before_ready():
    client = FakeClient()
    async with open_hub() as hub:
        async with serving(client, EventSourceResponse(hub.subscribe("news"), retry=1500)):
            await client.wait_for_body(b"ready")
    first, second = (message["body"] for message in client.messages[1:])
    assert first == b"retry: 1500\r\n\r\n"
    assert second.startswith(b"id: ")


async def test_a_client_that_comes_back_gets_what_it_missed_and_then_what_is_new():
    client = FakeClient()
    async with open_hub() as hub:
        ids = await publish(hub, "a", "b", "c")
        subscription = hub.subscribe("news", last_event_id=ids[0])
        async with serving(client, EventSourceResponse(subscription)):
            await client.wait_for_body(b"data: c")
            await publish(hub, "other", topic="sport")
            ids += await publish(hub, "d")
            await client.wait_for_body(b"data: d")
    ready, *rest = client.events
    assert (ready.type, ready.data, ready.last_event_id) == ("ready", '{"resumed":true}', ids[0])
    assert [(event.data, event.last_event_id) for event in rest] == list(
        zip("bcd", ids[1:], strict=True)
    )


async def test_an_unknown_id_is_answered_by_a_reset_in_place_of_ready():
    client = FakeClient()
    async with open_hub() as hub:
        subscription = hub.subscribe("news", last_event_id="elsewhere-5")
        async with serving(client, EventSourceResponse(subscription)):
            await client.wait_for(lambda client: client.body)
    assert [(event.type, event.data) for event in client.events] == [
        ("reset", '{"reason":"restarted"}')
    ]


async def test_what_is_published_between_making_the_response_and_serving_it_is_sent():
    client = FakeClient()
    async with open_hub() as hub:
        response = EventSourceResponse(hub.subscribe("news"))
        await publish(hub, "a")
        async with serving(client, response):
            await client.wait_for_body(b"data: a")
    assert types(client) == ["ready", "message"]


async def test_a_replay_leaves_in_as_few_sends_as_its_chunks_allow():
    client = FakeClient()
    items = [f"{n:03}".ljust(5000, "x") for n in range(100)]
    async with open_hub() as hub:
        await publish(hub, *items)
        subscription = hub.subscribe("news", last_event_id="earliest")
        async with serving(client, EventSourceResponse(subscription)):
            await client.wait_for_body(b"data: 099")
    assert texts(client) == items
    _ready, *full, last = client.chunks
    assert len(full) + 1 <= -(-len(client.body) // MAX_CHUNK_SIZE)
    assert all(MAX_CHUNK_SIZE <= len(chunk) < MAX_CHUNK_SIZE + 5100 for chunk in full)
    assert len(last) < MAX_CHUNK_SIZE


async def test_a_live_event_leaves_at_once():
    client = FakeClient()
    async with open_hub() as hub:
        async with serving(client, EventSourceResponse(hub.subscribe("news"), ping=0)):
            for n in range(3):
                await anyio.sleep(5)
                await publish(hub, n)
            await client.wait_for_body(b"data: 2")
    assert client.times[2:] == [5, 10, 15]
    assert texts(client) == ["0", "1", "2"]


async def test_what_is_published_during_a_send_leaves_joined():
    client = FakeClient(slow=1)
    async with open_hub() as hub:
        async with serving(client, EventSourceResponse(hub.subscribe("news"))):
            await anyio.sleep(1.5)  # while ready is being sent
            await publish(hub, "a", "b", "c")
            await client.wait_for_body(b"data: c")
    assert texts(client) == ["a", "b", "c"]
    assert len(client.chunks) == 2


async def publish_from_outbox(hub, *items):
    for item in items:
        hub.publish_nowait("news", item)


@pytest.mark.parametrize("publish", [publish, publish_from_outbox])
async def test_events_that_are_published_one_after_the_other_leave_joined(publish):
    clients = [FakeClient() for _ in range(3)]
    async with open_hub() as hub, anyio.create_task_group() as group:
        for client in clients:
            group.start_soon(client.call, EventSourceResponse(hub.subscribe("news")))
        await anyio.sleep(1)
        await publish(hub, *range(160))
        for client in clients:
            await client.wait_for_body(b"data: 159")
        group.cancel_scope.cancel()
    for client in clients:
        assert texts(client) == [str(n) for n in range(160)]
        assert len(client.chunks) <= 160 / ENOUGH_TO_JOIN + 5


async def test_a_client_that_lags_within_the_log_misses_nothing():
    client = FakeClient(slow=1)
    async with open_hub() as hub:
        async with serving(client, EventSourceResponse(hub.subscribe("news"))):
            for n in range(50):
                await publish(hub, n)
                await anyio.sleep(0.1)
            await client.wait_for_body(b"data: 49")
    assert texts(client) == [str(n) for n in range(50)]


async def test_a_data_sender_may_publish_beside_the_stream():
    client, closed = FakeClient(), Recorder()
    async with open_hub() as hub:

        async def fill():
            for n in range(3):
                await publish(hub, n)
                await anyio.sleep(1)
            hub.revoke(key="me")
            await anyio.sleep_forever()

        subscription = hub.subscribe("news", key="me")
        await client.call(
            EventSourceResponse(subscription, data_sender_callable=fill, on_close=closed)
        )
    assert texts(client) == ["0", "1", "2"]
    assert client.complete
    assert (closed.reasons, closed.times) == ([CloseReason.REVOKED], [3])


# The separator


@pytest.mark.parametrize("sep", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("explicit", [True, False])
async def test_all_that_is_sent_has_the_separator_of_the_hub(sep, explicit):
    client = FakeClient()
    async with open_hub(sep=sep) as hub:
        subscription = hub.subscribe("news", last_event_id="earliest")
        await publish(hub, "a\nb")
        response = EventSourceResponse(
            subscription,
            retry=5,
            ping=15,
            farewell=ServerSentEvent("bye", event="farewell"),
            **({"sep": sep} if explicit else {}),
        )
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, response)
            await client.wait_for_body(b"ping")
            await drain()
    assert types(client) == ["ready", "message", "farewell"]
    assert not set(client.body.replace(sep.encode(), b"")) & set(b"\r\n")
    assert client.body.endswith(2 * sep.encode())


@pytest.mark.parametrize(("of_hub", "given"), [("\r\n", "\n"), ("\n", "\r"), ("\r", "\n")])
async def test_another_separator_than_that_of_the_hub_is_refused(of_hub, given):
    async with open_hub(sep=of_hub) as hub:
        with pytest.raises(ValueError, match=r"sep is .* give it to open_hub"):
            EventSourceResponse(hub.subscribe("news"), sep=given)


async def test_what_is_said_to_an_overloaded_or_drained_client_has_the_separator_of_the_hub():
    client = FakeClient()
    async with open_hub(sep="\n") as hub:
        await drain()
        await client.call(EventSourceResponse(hub.subscribe("news")))
    assert client.body.startswith(b"retry: ")
    assert b"\r" not in client.body


# Mistakes


async def test_a_subscription_that_was_entered_is_refused_as_content():
    async with open_hub() as hub, hub.subscribe("news") as subscription:
        with pytest.raises(TypeError, match=r"leave out the async with"):
            EventSourceResponse(subscription)


async def test_a_subscription_needs_no_preflight():
    async with open_hub() as hub:
        with pytest.raises(TypeError, match="preflight needs a producer"):
            EventSourceResponse(hub.subscribe("news"), preflight=True)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_second_call_is_an_error(method):
    client = FakeClient(method=method)
    async with open_hub() as hub:
        response = EventSourceResponse(hub.subscribe("news"))
        client.disconnect()
        await client.call(response)
        with pytest.raises(RuntimeError, match="a new EventSourceResponse for each request"):
            await FakeClient().call(response)


async def test_a_subscription_that_is_entered_meanwhile_is_an_error_before_the_headers():
    client, closed = FakeClient(), Recorder()
    async with open_hub() as hub:
        subscription = hub.subscribe("news")
        response = EventSourceResponse(subscription, on_close=closed)
        async with subscription:
            with pytest.raises(RuntimeError, match="entered once"):
                await client.call(response)
        assert hub.statistics().subscribers == 0
    assert client.messages == []
    assert closed.reasons == [CloseReason.ERROR]


async def test_a_hub_that_was_closed_meanwhile_is_an_error_before_the_headers():
    client, closed = FakeClient(), Recorder()
    async with open_hub() as hub:
        response = EventSourceResponse(hub.subscribe("news"), on_close=closed)
    with pytest.raises(CLOSED):
        await client.call(response)
    assert client.messages == []
    assert closed.reasons == [CloseReason.ERROR]


# HEAD, WebSocket, draining


async def test_head_asks_for_authorization_and_registers_nothing():
    client, closed, asked = FakeClient(method="HEAD"), Recorder(), []
    async with open_hub() as hub:

        async def authorize(topics):
            await anyio.lowlevel.checkpoint()
            asked.append((topics, hub.statistics().subscribers, client.status))
            return True

        subscription = hub.subscribe("news", "sport", authorize=authorize)
        await client.call(EventSourceResponse(subscription, on_close=closed, retry=5))
        assert hub.statistics().subscribers == 0
    assert asked == [(("news", "sport"), 0, None)]
    assert (client.status, client.body) == (200, b"")
    assert client.complete
    assert closed.reasons == [CloseReason.COMPLETED]


async def test_head_is_refused_as_get_would_be():
    client, closed = FakeClient(method="HEAD"), Recorder()
    async with open_hub() as hub:
        subscription = hub.subscribe("news", authorize=refuse)
        with pytest.raises(HTTPException) as caught:
            await client.call(EventSourceResponse(subscription, on_close=closed))
    assert caught.value.status_code == 403
    assert client.messages == []
    assert closed.reasons == [CloseReason.ERROR]


@pytest.mark.parametrize("what", ["websocket", "draining"])
async def test_what_is_not_streamed_is_neither_entered_nor_authorized(what):
    client, asked, seen = FakeClient(), [], []

    async def authorize(topics):
        asked.append(topics)
        return True

    async with open_hub() as hub:

        def on_close(reason):
            seen.append((reason, hub.statistics().subscribers))

        if what == "websocket":
            client.scope = {"type": "websocket", "extensions": {}}
            client.incoming = [{"type": "websocket.connect"}]
        else:
            await drain()
        response = EventSourceResponse(
            hub.subscribe("news", authorize=authorize), on_close=on_close
        )
        await client.call(response)
        await publish(hub, "a")
    reason = CloseReason.COMPLETED if what == "websocket" else CloseReason.SHUTDOWN
    assert (asked, seen) == ([], [(reason, 0)])
    if what == "websocket":
        assert client.messages == [{"type": "websocket.close"}]
    else:
        assert client.complete
        assert client.events == []


# Authorization


async def test_authorize_is_asked_once_and_before_the_headers():
    client, asked = FakeClient(), []
    async with open_hub() as hub:

        async def authorize(topics):
            await anyio.sleep(3)
            asked.append((topics, client.messages[:]))
            return True

        subscription = hub.subscribe("news", authorize=authorize)
        async with serving(client, EventSourceResponse(subscription, ping=1)):
            await client.wait_for_body(b"ready")
    assert asked == [(("news",), [])]
    assert client.times[0] == 3


async def test_a_refusal_leaves_as_403_before_the_headers():
    client, closed, background = FakeClient(), Recorder(), Recorder()
    async with open_hub() as hub:
        response = EventSourceResponse(
            hub.subscribe("news", authorize=refuse), on_close=closed, background=background
        )
        with pytest.raises(HTTPException) as caught:
            await client.call(response)
        assert hub.statistics().subscribers == 0
    assert caught.value.status_code == 403
    assert isinstance(caught.value.__cause__, AccessDeniedError)
    assert client.messages == []
    assert closed.reasons == [CloseReason.ERROR]
    assert background.reasons == []


async def test_what_authorize_raises_leaves_as_it_is():
    client, closed = FakeClient(), Recorder()
    mine = HTTPException(401, headers={"WWW-Authenticate": "Bearer"})

    async def authorize(topics):
        raise mine

    async with open_hub() as hub:
        subscription = hub.subscribe("news", authorize=authorize)
        with pytest.raises(HTTPException) as caught:
            await client.call(EventSourceResponse(subscription, on_close=closed))
        assert hub.statistics().subscribers == 0
    assert caught.value is mine
    assert client.messages == []
    assert closed.reasons == [CloseReason.ERROR]


async def answers_nothing(topics):
    return None


async def answers_one(topics):
    return 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("authorize", "message"),
    [
        (lambda topics: True, "must be an async function"),
        (answers_nothing, "must return True or False, not None"),
        (answers_one, "must return True or False, not 1"),
    ],
    ids=["sync", "None", "1"],
)
async def test_an_authorize_that_cannot_be_understood_is_an_error(authorize, message, method):
    client, closed = FakeClient(method=method), Recorder()
    async with open_hub() as hub:
        subscription = hub.subscribe("news", authorize=authorize)
        with pytest.raises(TypeError, match=f"authorize {message}"):
            await client.call(EventSourceResponse(subscription, on_close=closed))
        assert hub.statistics().subscribers == 0
    assert client.messages == []
    assert closed.reasons == [CloseReason.ERROR]


@asynccontextmanager
async def while_it_is_being_authorized(client, closed):
    """Call a response whose authorize does not return; wait for its end."""

    async def authorize(topics):
        await anyio.sleep_forever()

    async with open_hub() as hub:
        subscription = hub.subscribe("news", authorize=authorize)
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, EventSourceResponse(subscription, on_close=closed))
            await anyio.sleep(1)
            assert hub.statistics().subscribers == 1
            yield
        assert hub.statistics().subscribers == 0
    assert client.messages == []


async def test_a_client_that_leaves_while_authorize_runs_is_gone():
    client, closed = FakeClient(), Recorder()
    async with while_it_is_being_authorized(client, closed):
        client.disconnect()
    assert closed.reasons == [CloseReason.CLIENT_DISCONNECTED]


async def test_an_authorize_that_hangs_does_not_hold_up_a_drain():
    client, closed = FakeClient(), Recorder()
    async with while_it_is_being_authorized(client, closed):
        await drain()
    assert (closed.reasons, closed.times) == ([CloseReason.SHUTDOWN], [2])


# Ways out


@pytest.mark.parametrize(
    ("way", "reason", "complete"),
    [
        ("client leaves", CloseReason.CLIENT_DISCONNECTED, False),
        ("send fails", CloseReason.CLIENT_DISCONNECTED, False),
        ("send timeout", CloseReason.SEND_TIMEOUT, False),
        ("cancellation", CloseReason.CANCELLED, False),
        ("drain", CloseReason.SHUTDOWN, True),
        ("max_age", CloseReason.EXPIRED, True),
        ("revoke", CloseReason.REVOKED, True),
        ("hub closed", CloseReason.COMPLETED, True),
    ],
)
async def test_a_stream_that_is_over_has_left_its_hub(way, reason, complete):
    client = FakeClient(
        fail_at=2 if way == "send fails" else None, freeze_at=2 if way == "send timeout" else None
    )
    seen = []

    async def act(hub):
        await anyio.sleep(5)
        await publish(hub, "a")
        await anyio.sleep(1)
        if way == "client leaves":
            client.disconnect()
        elif way == "cancellation":
            scope.cancel()
        elif way == "drain":
            await drain()
        elif way == "revoke":
            assert hub.revoke(key="me") == 1

    def on_close(reason):
        seen.append((reason, hub.statistics().subscribers))

    async with anyio.create_task_group() as group:
        async with open_hub() as hub:
            response = EventSourceResponse(
                hub.subscribe("news", key="me"), send_timeout=4, max_age=50, on_close=on_close
            )
            with anyio.CancelScope() as scope:
                if way == "hub closed":
                    group.start_soon(client.call, response)
                    await act(hub)
                else:
                    group.start_soon(act, hub)
                    await client.call(response)
                    assert hub.statistics().subscribers == 0
    assert seen == [(reason, 0)]
    assert hub.statistics().subscribers == 0
    assert client.complete == complete
    assert texts(client) == ([] if way in ("send fails", "send timeout") else ["a"])


async def test_what_was_published_before_a_drain_is_sent_before_the_farewell():
    client, closed = FakeClient(slow=0.1), Recorder()
    items = [f"{n}".ljust(50_000) for n in range(8)]  # four chunks
    async with open_hub() as hub:
        response = EventSourceResponse(
            hub.subscribe("news"),
            farewell=ServerSentEvent("bye", event="farewell"),
            on_close=closed,
        )
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, response)
            await anyio.sleep(0.15)  # ready is being sent
            await publish(hub, *items)
            await drain()
    assert texts(client) == items
    assert types(client)[-1] == "farewell"
    assert client.complete
    assert closed.reasons == [CloseReason.SHUTDOWN]


async def test_nothing_that_is_published_after_a_stream_was_stopped_is_sent():
    client = FakeClient(slow=0.2)
    async with open_hub() as hub:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, EventSourceResponse(hub.subscribe("news")))
            await anyio.sleep(0.3)  # while ready is being sent
            await publish(hub, "before")
            group.start_soon(drain)
            await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.01)
            await publish(hub, "after")
    assert texts(client) == ["before"]
    assert client.complete


async def test_a_stream_that_is_stopped_while_authorize_runs_says_what_there_is():
    client, closed = FakeClient(), Recorder()

    async def authorize(topics):
        await anyio.sleep(0.5)
        return True

    async with open_hub() as hub:
        await publish(hub, "a")
        subscription = hub.subscribe("news", last_event_id="earliest", authorize=authorize)
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, EventSourceResponse(subscription, on_close=closed))
            await anyio.sleep(0.1)
            await drain()
    assert types(client) == ["ready", "message"]
    assert client.complete
    assert closed.reasons == [CloseReason.SHUTDOWN]


async def test_a_hub_that_is_closed_ends_its_streams_after_what_was_published():
    client, closed = FakeClient(slow=1), Recorder()
    async with anyio.create_task_group() as group:
        async with open_hub() as hub:
            group.start_soon(
                client.call,
                EventSourceResponse(
                    hub.subscribe("news"),
                    on_close=closed,
                    farewell=ServerSentEvent("bye", event="farewell"),
                ),
            )
            await anyio.sleep(1.5)
            await publish(hub, *["x" * 50_000] * 5)
            hub.publish_nowait("news", "last")
    assert texts(client) == ["x" * 50_000] * 5 + ["last"]
    assert types(client)[-1] == "message"
    assert client.complete
    assert closed.reasons == [CloseReason.COMPLETED]


async def test_a_stream_of_a_subscription_leaves_nothing_to_the_garbage_collector(
    anyio_backend_name,
):
    """On asyncio a cancelled task and its exception refer to each other, and to the stream."""
    if anyio_backend_name == "asyncio":
        return
    async with open_hub() as hub:
        gc.disable()
        try:
            for _ in range(3):
                client, closed = FakeClient(), Recorder()
                async with anyio.create_task_group() as group:
                    group.start_soon(
                        client.call, EventSourceResponse(hub.subscribe("news"), on_close=closed)
                    )
                    await client.wait_for_body(b"ready")
                    client.disconnect()
                alive = ref(closed)
                del closed, client
                assert alive() is None
        finally:
            gc.enable()


# Revoking


async def test_a_client_whose_right_is_withdrawn_is_told_so_and_gets_nothing_else():
    client, closed = FakeClient(slow=0.2), Recorder()
    async with open_hub() as hub:
        subscription = hub.subscribe("news", key="me")
        response = EventSourceResponse(
            subscription, on_close=closed, farewell=ServerSentEvent("bye", event="farewell")
        )
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, response)
            await client.wait_for_body(b"ready")
            [seen] = await publish(hub, "seen")
            await anyio.sleep(0.1)  # it is being sent
            await publish(hub, "unread")
            assert hub.revoke(key="me") == 1
            assert subscription.close_reason is CloseReason.REVOKED
            await publish(hub, "after")
        assert hub.statistics().subscribers == 0
    assert texts(client) == ["seen"]
    assert types(client) == ["ready", "message", "revoked"]
    last = client.events[-1]
    assert (last.data, last.last_event_id) == ('{"reason":"revoked"}', seen)
    assert client.complete
    assert closed.reasons == [CloseReason.REVOKED]


async def test_only_the_clients_with_the_key_are_revoked():
    mine, other = FakeClient(), FakeClient()
    async with open_hub() as hub:
        async with anyio.create_task_group() as group:
            for client, key in ((mine, "me"), (other, "you")):
                group.start_soon(
                    client.call, EventSourceResponse(hub.subscribe("news", key=key), ping=0)
                )
            await anyio.sleep(1)
            assert hub.revoke(key="me") == 1
            await publish(hub, "a")
            await other.wait_for_body(b"data: a")
            other.disconnect()
    assert types(mine) == ["ready", "revoked"]
    assert types(other) == ["ready", "message"]


async def test_a_revoke_while_authorize_runs_is_a_refusal():
    client, closed, gate = FakeClient(), Recorder(), anyio.Event()

    async def authorize(topics):
        await gate.wait()
        return True

    async with open_hub() as hub:
        subscription = hub.subscribe("news", key="me", authorize=authorize)

        async def act():
            await anyio.sleep(1)
            assert hub.revoke(key="me") == 1
            gate.set()

        async with anyio.create_task_group() as group:
            group.start_soon(act)
            with pytest.raises(HTTPException) as caught:
                await client.call(EventSourceResponse(subscription, on_close=closed))
        assert hub.statistics().subscribers == 0
    assert caught.value.status_code == 403
    assert client.messages == []
    assert closed.reasons == [CloseReason.ERROR]


@pytest.mark.parametrize("send_timeout", [None, 0.5, 100])
@pytest.mark.parametrize("freeze_at", [0, 1, 2], ids=["start", "ready", "event"])
async def test_a_frozen_client_that_is_revoked_is_gone_within_a_second(freeze_at, send_timeout):
    client, closed = FakeClient(freeze_at=freeze_at), Recorder()
    async with open_hub() as hub:
        response = EventSourceResponse(
            hub.subscribe("news", key="me"), on_close=closed, send_timeout=send_timeout
        )
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, response)
            await client.wait_for(lambda client: len(client.messages) == freeze_at)
            await publish(hub, "a")
            await client.frozen.wait()
            await anyio.sleep(0.3)
            revoked_at = anyio.current_time()
            hub.revoke(key="me")
        assert hub.statistics().subscribers == 0
    assert closed.reasons == [CloseReason.REVOKED]
    assert 0 < closed.times[0] - revoked_at <= 1
    assert not client.complete


@pytest.mark.parametrize("make", [Uvicorn, Hypercorn, HypercornH2])
async def test_the_connection_of_a_frozen_client_that_is_revoked_is_let_go_of(make):
    client, closed = make(freeze_at=2), Recorder()
    async with open_hub() as hub:
        subscription = hub.subscribe("news", key="me")
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, EventSourceResponse(subscription, on_close=closed))
            await client.wait_for_body(b"ready")
            await publish(hub, "a")
            await client.frozen.wait()
            revoked_at = anyio.current_time()
            hub.revoke(key="me")
    assert client.broken
    assert closed.reasons == [CloseReason.REVOKED]
    assert closed.times[0] - revoked_at < 1.5


async def test_the_first_reason_is_the_one_that_counts():
    client, closed = FakeClient(slow=0.2), Recorder()
    async with open_hub() as hub:
        subscription = hub.subscribe("news", key="me")
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, EventSourceResponse(subscription, on_close=closed))
            await anyio.sleep(0.3)
            group.start_soon(drain)
            await anyio.sleep(0.05)
            hub.revoke(key="me")
    assert types(client) == ["ready", "revoked"]
    assert client.complete
    assert closed.reasons == [CloseReason.SHUTDOWN]


async def test_a_revoke_during_the_final_body_comes_too_late():
    client, closed = FakeClient(slow=0.2), Recorder()
    async with anyio.create_task_group() as group:
        async with open_hub() as hub:
            subscription = hub.subscribe("news", key="me")
            group.start_soon(client.call, EventSourceResponse(subscription, on_close=closed))
            await client.wait_for_body(b"ready")
        await client.wait_for(lambda client: len(client.messages) == 2)
        await anyio.sleep(0.1)
        assert client.sends == 3
        hub.revoke(key="me")
    assert types(client) == ["ready"]
    assert client.complete
    assert closed.reasons == [CloseReason.COMPLETED]


# Consumers that are too slow


async def test_a_slow_consumer_that_is_to_be_disconnected_is():
    client, closed = FakeClient(slow=0.5), Recorder()
    async with open_hub(max_events=2) as hub:
        subscription = hub.subscribe("news", slow_consumer="disconnect")
        response = EventSourceResponse(
            subscription, on_close=closed, farewell=ServerSentEvent("bye", event="farewell")
        )
        async with anyio.create_task_group() as group:
            group.start_soon(client.call, response)
            await anyio.sleep(0.7)  # ready is being sent
            await publish(hub, *range(5))
        assert hub.statistics().lagged == 1
        assert hub.statistics().subscribers == 0
    assert subscription.close_reason is CloseReason.LAGGED
    assert types(client) == ["ready"]
    assert client.complete
    assert (closed.reasons, closed.times) == ([CloseReason.LAGGED], [1.5])


async def test_a_slow_consumer_that_is_to_be_told_goes_on_after_a_reset():
    client = FakeClient(slow=0.5)
    async with open_hub(max_events=2) as hub:
        subscription = hub.subscribe("news", slow_consumer="reset")
        async with serving(client, EventSourceResponse(subscription)):
            await anyio.sleep(0.7)  # ready is being sent
            latest = (await publish(hub, *range(5)))[-1]
            await client.wait_for_body(b"lagged")
            await publish(hub, "new")
            await client.wait_for_body(b"new")
    assert types(client) == ["ready", "reset", "message"]
    assert (client.events[1].data, client.events[1].last_event_id) == (
        '{"reason":"lagged"}',
        latest,
    )
    assert texts(client) == ["new"]
    assert subscription.close_reason is None


# A subscription that a generator reads


def generate(hub, **options):
    async def generator():
        async with hub.subscribe("news", **options) as subscription:
            async for event in subscription:
                yield event

    return generator()


@pytest.mark.parametrize("way", ["client leaves", "cancellation", "drain", "hub closed", "revoke"])
async def test_a_generator_that_reads_a_subscription_leaves_nothing_behind(way):
    client, closed = FakeClient(), Recorder()
    async with anyio.create_task_group() as group:
        async with open_hub() as hub:
            group.start_soon(
                client.call, EventSourceResponse(generate(hub, key="me"), on_close=closed)
            )
            await client.wait_for_body(b"ready")
            await publish(hub, "a")
            await client.wait_for_body(b"data: a")
            assert hub.statistics().subscribers == 1
            if way == "client leaves":
                client.disconnect()
            elif way == "cancellation":
                group.cancel_scope.cancel()
            elif way == "drain":
                await drain()
            elif way == "revoke":
                hub.revoke(key="me")
    assert hub.statistics().subscribers == 0
    assert closed.reasons == [
        {
            "client leaves": CloseReason.CLIENT_DISCONNECTED,
            "cancellation": CloseReason.CANCELLED,
            "drain": CloseReason.SHUTDOWN,
        }.get(way, CloseReason.COMPLETED)
    ]
    assert client.complete == (way not in ("client leaves", "cancellation"))
    assert types(client) == ["ready", "message", *(["revoked"] if way == "revoke" else [])]


async def test_a_generator_that_is_refused_after_the_start_fails_as_itself():
    client, closed = FakeClient(), Recorder()
    async with open_hub() as hub:
        with pytest.raises(AccessDeniedError, match="authorize has refused"):
            await client.call(EventSourceResponse(generate(hub, authorize=refuse), on_close=closed))
        assert hub.statistics().subscribers == 0
    assert client.status == 200
    assert not client.complete
    assert closed.reasons == [CloseReason.ERROR]


async def test_a_preflight_that_is_refused_is_answered_by_403():
    async with open_hub() as hub:

        async def produce(send, *, task_status):
            async with hub.subscribe("news", authorize=refuse):
                raise AssertionError("entered")

        client = FakeClient()
        with pytest.raises(HTTPException) as caught:
            await client.call(EventSourceResponse(produce, preflight=True))
    assert caught.value.status_code == 403
    assert client.messages == []


# In an app


def make_app(endpoint):
    return Starlette(routes=[Route("/", endpoint)])


async def serve(client, app):
    await app(client.scope, client.asgi_receive, client.asgi_send)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_refusal_is_a_real_403(method):
    client = FakeClient(method=method)
    async with open_hub() as hub:

        async def endpoint(request):
            return EventSourceResponse(hub.subscribe("news", authorize=refuse))

        await serve(client, make_app(endpoint))
        assert hub.statistics().subscribers == 0
    assert client.status == 403
    assert client.headers["content-type"].startswith("text/plain")
    assert client.body == b"Forbidden"  # a server cuts it off a HEAD


async def test_what_authorize_raises_is_a_real_401():
    client = FakeClient()

    async def authorize(topics):
        raise HTTPException(401, "who are you", {"WWW-Authenticate": "Bearer"})

    async with open_hub() as hub:

        async def endpoint(request):
            return EventSourceResponse(hub.subscribe("news", authorize=authorize))

        await serve(client, make_app(endpoint))
    assert (client.status, client.body) == (401, b"who are you")
    assert client.headers["www-authenticate"] == "Bearer"


async def test_a_browser_that_reconnects_gets_each_event_once():
    async with open_hub() as hub:

        async def endpoint(request):
            subscription = hub.subscribe("news", last_event_id=last_event_id(request))
            return EventSourceResponse(subscription)

        async def visit(client, until):
            client.scope["query_string"] = b""
            async with anyio.create_task_group() as group:
                group.start_soon(serve, client, make_app(endpoint))
                await client.wait_for_body(b"ready")
                await publish(hub, *until)
                await client.wait_for_body(f"data: {until[-1]}\r\n".encode())
                client.disconnect()

        first, second = FakeClient(), FakeClient()
        await visit(first, "ab")
        await publish(hub, "c")
        seen = first.events[-1].last_event_id
        second.scope["headers"] = [(b"last-event-id", seen.encode())]
        await visit(second, "de")
    assert texts(first) == ["a", "b"]
    assert texts(second) == ["c", "d", "e"]


async def test_a_sync_endpoint_may_subscribe():
    client = FakeClient()
    async with open_hub() as hub:

        def endpoint(request):  # runs in a worker thread
            return EventSourceResponse(hub.subscribe("news"))

        async with anyio.create_task_group() as group:
            group.start_soon(serve, client, make_app(endpoint))
            await client.wait_for_body(b"ready")
            await publish(hub, "a")
            await client.wait_for_body(b"data: a")
            client.disconnect()
