"""The types of hubs, subscriptions and engines, as users meet them."""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, assert_type

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket

from trio_sse import (
    CloseReason,
    Engine,
    EventSourceResponse,
    Hub,
    HubStatistics,
    Instrument,
    JSONServerSentEvent,
    MemoryEngine,
    PublishError,
    Record,
    ServerSentEvent,
    Sink,
    Subscription,
    last_event_id,
    open_hub,
)


async def allow(topics: tuple[str, ...]) -> bool:
    return "news" in topics


async def allow_any(topics: Sequence[str]) -> bool:
    return bool(topics)


def allow_at_once(topics: tuple[str, ...]) -> bool:
    return True


async def allow_perhaps(topics: tuple[str, ...]) -> bool | None:
    return None


async def allow_without_topics() -> bool:
    return True


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Hub]]:
    async with open_hub() as hub:
        assert_type(hub, Hub)
        yield {"hub": hub}


async def endpoint(request: Request) -> EventSourceResponse:
    hub: Hub = request.state.hub
    seen = last_event_id(request)
    assert_type(seen, str | None)
    return EventSourceResponse(hub.subscribe("news", last_event_id=seen))


def opening(engine: "MyEngine") -> None:
    assert_type(open_hub(), AbstractAsyncContextManager[Hub, bool | None])
    open_hub(
        engine=engine,
        max_events=10,
        max_bytes=1000,
        max_age=0.5,
        outbox_size=10,
        close_timeout=2.5,
        sep="\n",
        ready="ready",
        reset="reset",
        revoked="revoked",
        instrument=Counting(),
    )
    open_hub(engine=None, instrument=None, max_age=5)
    open_hub(engine=MemoryEngine())

    open_hub(engine)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_hub(engine="redis://")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_hub(engine=MemoryEngine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_hub(max_events=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_hub(max_bytes=1e6)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_hub(max_age=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_hub(close_timeout=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_hub(sep=b"\n")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_hub(ready=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_hub(instrument=print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with open_hub():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass


async def publishing(hub: Hub) -> None:
    assert_type(await hub.publish("news", ServerSentEvent("x", event="e")), str)
    hub.publish_nowait("news", "x")
    hub.publish_from_thread("news", {"data": "x"})
    for event in ("x", 5, {"data": "x"}, JSONServerSentEvent({"a": 1}), None):
        await hub.publish("news", event)

    await hub.publish("news")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await hub.publish(5, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await hub.publish(["news"], "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    id_ = hub.publish_nowait("news", "x")  # type: ignore[func-returns-value]
    assert_type(id_, None)
    await hub.publish_nowait("news", "x")  # type: ignore[func-returns-value, misc]  # pyright: ignore[reportGeneralTypeIssues]


async def publishing_in_time(hub: Hub) -> bool:
    try:
        await hub.publish("news", "x")
    except PublishError as error:
        assert_type(error.outcome, Literal["not_sent", "unknown"])
        return error.outcome == "unknown"
    PublishError("no answer", "lost")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    PublishError("no answer")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    return True


def subscribing(hub: Hub) -> None:
    assert_type(hub.subscribe("news"), Subscription)
    hub.subscribe("news", "sport", last_event_id="earliest")
    hub.subscribe("news", last_event_id=None, authorize=None, key=None)
    hub.subscribe("news", authorize=allow, key=("user", 5), slow_consumer="disconnect")
    hub.subscribe(*["news", "sport"], authorize=allow_any, slow_consumer="reset")
    assert_type(hub.revoke(key="user"), int)

    hub.subscribe(["news"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hub.subscribe("news", last_event_id=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hub.subscribe("news", authorize=allow_at_once)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hub.subscribe("news", authorize=allow_perhaps)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hub.subscribe("news", authorize=allow_without_topics)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hub.subscribe("news", authorize=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hub.subscribe("news", key=["user"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hub.subscribe("news", slow_consumer="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hub.revoke("user")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    hub.revoke(key=["user"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def reading(hub: Hub) -> None:
    async with hub.subscribe("news") as subscription:
        assert_type(subscription, Subscription)
        assert_type(subscription.topics, tuple[str, ...])
        assert_type(subscription.close_reason, CloseReason | None)
        assert_type(await subscription.receive(), ServerSentEvent)
        async for event in subscription:
            assert_type(event, ServerSentEvent)

        subscription.topics = ("sport",)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
        for _ in subscription:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
            pass


def counting(hub: Hub) -> None:
    statistics = hub.statistics()
    assert_type(statistics, HubStatistics)
    assert_type(statistics.topics, int)
    assert_type(statistics.subscribers, int)
    assert_type(statistics.log_length, int)
    assert_type(statistics.log_bytes, int)
    assert_type(statistics.outbox_length, int)
    assert_type(statistics.failed, int)
    assert_type(statistics.published, int)
    assert_type(statistics.delivered, int)
    assert_type(statistics.lagged, int)
    assert_type(statistics.resets, Mapping[str, int])

    statistics.lagged = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    statistics.resets["lagged"] = 0  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


class HasAScope:
    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope


def asking_what_was_seen(
    request: Request, connection: HTTPConnection, socket: WebSocket, other: HasAScope
) -> None:
    for asked in (request, connection, socket, other):
        assert_type(last_event_id(asked), str | None)

    last_event_id({"headers": []})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    last_event_id("e-1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    last_event_id(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Counting(Instrument):
    def published(self, topic: str, event: ServerSentEvent, /) -> None:
        assert_type(event.id, str | None)

    def reset(self, topics: Sequence[str], reason: str, /) -> None:
        assert_type(topics, Sequence[str])

    def lagged(self, topics: Sequence[str], /) -> None: ...


class MyEngine(Engine):
    @property
    def epoch(self) -> str:
        return "mine"

    @asynccontextmanager
    async def open(self, sink: Sink, /) -> AsyncGenerator[None]:
        sink.begin(0)
        sink.deliver(Record(1, "news", ServerSentEvent("x")))
        yield

    async def publish(self, topic: str, event: ServerSentEvent, /) -> int:
        return 1

    async def read(
        self, topics: Collection[str], position: int, limit: int, /
    ) -> tuple[list[Record], int] | None:
        return [], position + 1


class MyBatches(MyEngine):
    publish_timeout = 5.0
    max_batch = 100

    async def publish_all(
        self, events: Sequence[tuple[str, ServerSentEvent]], /
    ) -> list[int | Exception]:
        return [LookupError(topic) for topic, _ in events]

    async def earliest(self) -> int:
        return 5


class MySink:
    def begin(self, position: int, kept: Iterable[Record] = (), /) -> None: ...
    def deliver(self, record: Record, /) -> None: ...
    def lost(self, position: int, /) -> None: ...


class DeafSink:
    def deliver(self, record: Record, /) -> None: ...


class WrongEngine(MyEngine):
    async def publish(self, topic: str, event: ServerSentEvent, /) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return "1"


class UnfinishedEngine(Engine):
    @property
    def epoch(self) -> str:
        return "mine"


async def engines(engine: MyEngine, memory: MemoryEngine) -> None:
    assert_type(await engine.publish("news", ServerSentEvent("x")), int)
    assert_type(await memory.publish("news", ServerSentEvent("x")), int)
    assert_type(await memory.reaches(["news"], 5), bool)
    assert_type(await memory.read(["news"], 5, 1), tuple[Sequence[Record], int] | None)
    assert_type(await memory.earliest(), int | None)
    assert_type(
        await memory.publish_all([("news", ServerSentEvent("x"))]), Sequence[int | Exception]
    )
    assert_type((memory.publish_timeout, memory.max_batch), tuple[float, int])
    async with memory.open(MySink()) as nothing:
        assert_type(nothing, None)
    memory.open(DeafSink())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    memory.open(print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(memory.epoch, str)
    assert_type(memory.write_position(5), str)
    assert_type(memory.read_position("5"), int | None)
    position, topic, event = Record(5, "news", ServerSentEvent("x"))
    assert_type((position, topic, event), tuple[int, str, ServerSentEvent])
    base: Engine = memory
    assert_type(base.epoch, str)

    UnfinishedEngine()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]
    MemoryEngine(5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Record(5, "news", "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
