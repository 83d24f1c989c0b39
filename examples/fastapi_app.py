"""FastAPI: a hub as a dependency, models as data, and streams that its documentation knows.

Run ``python examples/fastapi_app.py``, hypercorn on trio, or ``uvicorn --app-dir examples
fastapi_app:app``. Listen with ``curl -N http://127.0.0.1:8000/prices``, and name a price with
``curl --json '{"symbol": "ABC", "amount": 12.5}' http://127.0.0.1:8000/prices``. ``/countdown``
is a generator. http://127.0.0.1:8000/docs has it all. ``PORT`` is the port of the first command.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import anyio
import hypercorn
import trio
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

from trio_sse import EventSourceResponse, Hub, JSONServerSentEvent, last_event_id, open_hub
from trio_sse.hypercorn import serve
from trio_sse.openapi import HUB_EVENTS, event_stream


class Price(BaseModel):
    symbol: str
    amount: float


class Step(BaseModel):
    left: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Hub]]:
    async with open_hub() as hub:
        yield {"hub": hub}


def get_hub(request: Request) -> Hub:
    hub: Hub = request.state.hub
    return hub


async def get_clock() -> AsyncGenerator[float]:  # as a session would, it lasts for the stream
    print("opened", flush=True)
    yield 0.2
    print("closed", flush=True)


HubDependency = Annotated[Hub, Depends(get_hub)]
app = FastAPI(title="Prices", lifespan=lifespan)


@app.post("/prices", status_code=202)
async def publish(price: Price, hub: HubDependency) -> None:
    await hub.publish("prices", JSONServerSentEvent(price, event="price"))


@app.get(
    "/prices",
    response_class=EventSourceResponse,
    responses={200: event_stream({"price": Price, **HUB_EVENTS})},
)
async def prices(request: Request, hub: HubDependency) -> EventSourceResponse:
    subscription = hub.subscribe("prices", last_event_id=last_event_id(request))
    return EventSourceResponse(subscription, send_timeout=30)


@app.get("/countdown", response_class=EventSourceResponse)
async def countdown(seconds: Annotated[float, Depends(get_clock)]) -> AsyncIterator[Step]:
    for left in reversed(range(3)):
        yield Step(left=left)
        await anyio.sleep(seconds)


if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
