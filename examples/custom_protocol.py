"""A protocol on top: typed events, numbered, and sent again until acknowledged. Hypercorn on trio.

Run ``python examples/custom_protocol.py``, listen with ``curl -N http://127.0.0.1:8000/events``,
and place an order, ``curl -d tea http://127.0.0.1:8000/orders``, or withdraw it, with ``-X DELETE``
and ``/orders/1``. Each event comes to whoever begins to listen, and again every two seconds, until
its number is acknowledged, ``curl -X POST http://127.0.0.1:8000/received/1``. ``PORT`` is the port.
"""

import os
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass
from itertools import count
from math import inf

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from trio_sse import EventSourceResponse, JSONServerSentEvent
from trio_sse.hypercorn import serve


@dataclass(frozen=True)
class Placed:
    order: int
    item: str


@dataclass(frozen=True)
class Withdrawn:
    order: int


PATIENCE = 2.0  # seconds until an event that was not acknowledged is sent again
numbers = count(1)
unacknowledged: dict[int, Placed | Withdrawn] = {}  # by its number, in order
news = trio.lowlevel.ParkingLot()


async def deliver() -> AsyncGenerator[JSONServerSentEvent]:
    due: dict[int, float] = {}
    while True:
        for number, event in [*unacknowledged.items()]:
            if number in unacknowledged and due.get(number, -inf) <= trio.current_time():
                due[number] = trio.current_time() + PATIENCE
                yield JSONServerSentEvent(asdict(event), event=type(event).__name__, id=number)
        due = {number: due.get(number, -inf) for number in unacknowledged}
        with trio.move_on_at(min(due.values(), default=inf)):
            await news.park()


async def events(request: Request) -> EventSourceResponse:
    return EventSourceResponse(deliver())


async def order(request: Request) -> Response:
    number, item = next(numbers), (await request.body()).decode(errors="replace")
    placed = request.path_params.get("order")
    unacknowledged[number] = Withdrawn(placed) if placed else Placed(number, item)
    news.unpark_all()
    return JSONResponse({"number": number}, 201)


async def received(request: Request) -> Response:
    unacknowledged.pop(request.path_params["number"], None)  # twice is no mistake
    return Response(status_code=204)


app = Starlette()
app.add_route("/events", events)
app.add_route("/orders", order, methods=["POST"])
app.add_route("/orders/{order:int}", order, methods=["DELETE"])
app.add_route("/received/{number:int}", received, methods=["POST"])

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
