"""The types of what FastAPI's users and those who measure meet."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, assert_type

from fastapi import Depends, FastAPI, Request
from opentelemetry.metrics import MeterProvider
from pydantic import BaseModel, TypeAdapter

from trio_sse import (
    EventSourceResponse,
    Hub,
    Instrument,
    JSONServerSentEvent,
    ServerSentEvent,
    last_event_id,
    open_hub,
)
from trio_sse.openapi import HUB_EVENTS, event_stream
from trio_sse.opentelemetry import OpenTelemetryInstrument


class Price(BaseModel):
    amount: float


app = FastAPI()


def get_hub(request: Request) -> Hub:
    hub: Hub = request.state.hub
    return hub


@app.get(
    "/prices",
    response_class=EventSourceResponse,
    responses={200: event_stream({"price": Price, **HUB_EVENTS})},
)
async def prices(request: Request, hub: Annotated[Hub, Depends(get_hub)]) -> EventSourceResponse:
    return EventSourceResponse(hub.subscribe("prices", last_event_id=last_event_id(request)))


@app.get("/yielded", response_class=EventSourceResponse)
async def yielded() -> AsyncIterator[Price | ServerSentEvent]:
    yield Price(amount=1)
    yield JSONServerSentEvent([Price(amount=1)], event="prices")


def describing() -> None:
    assert_type(event_stream({"a": str}), dict[str, Any])
    event_stream({"a": None, "b": {"type": "integer"}, "c": TypeAdapter(list[Price])})
    event_stream({"a": str}, description="Prices", item_schema=False)
    assert_type(HUB_EVENTS, Mapping[str, dict[str, Any]])

    event_stream()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    event_stream([str])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    event_stream({"a": str}, "Prices")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    HUB_EVENTS["ready"] = {}  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


def measuring(provider: MeterProvider) -> None:
    instrument: Instrument = OpenTelemetryInstrument()
    OpenTelemetryInstrument(provider)
    OpenTelemetryInstrument(meter_provider=None, attributes={"http.route": "/", "tier": 1})
    EventSourceResponse(["a"], instrument=instrument)
    open_hub(instrument=instrument)

    OpenTelemetryInstrument("meter")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    OpenTelemetryInstrument(attributes={"a": object()})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


class Watching(Instrument):
    def first_byte(self, scope: Mapping[str, Any], seconds: float, /) -> None:
        assert_type(seconds, float)

    def delivered(self, scope: Mapping[str, Any], count: int, /) -> None:
        assert_type(count, int)

    def drained(self, scope: Mapping[str, Any], /) -> None:
        assert_type(scope, Mapping[str, Any])
