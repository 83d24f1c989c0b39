"""Jobs that outlive the connection of their client: the tokens of a model. Hypercorn on trio.

Run ``python examples/jobs.py``, start a job with ``curl -X POST http://127.0.0.1:8000/jobs``, and
watch it with ``curl -N http://127.0.0.1:8000/jobs/<id>``, as often as you like, or as a browser
does that comes back: ``-H "Last-Event-ID: <id>"``. ``-X DELETE`` stops it. ``PORT`` is the port.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from trio_sse import EventSourceResponse, Hub, ServerSentEvent, last_event_id, open_hub
from trio_sse.hypercorn import serve

jobs: dict[str, trio.CancelScope] = {}  # by topic
last_ids: dict[str, str] = {}  # of jobs that are done


async def run(hub: Hub, topic: str) -> None:
    with jobs[topic] as scope:
        for token in "A job of the nursery of the app may outlive its audience.".split():
            await hub.publish(topic, ServerSentEvent(token, event="token"))
            await trio.sleep(0.1)
    end = "stopped" if scope.cancelled_caught else "finished"
    last_ids[topic] = await hub.publish(topic, ServerSentEvent(end, event="done"))
    await trio.sleep(60)  # it is known for another minute; the hub keeps events for five
    del jobs[topic], last_ids[topic]


async def watch(hub: Hub, topic: str, last_id: str) -> AsyncGenerator[ServerSentEvent]:
    name: str | None = "reset"
    while name == "reset":
        async with hub.subscribe(topic, last_event_id=last_id) as subscription:
            async for event in subscription:
                yield event
                if (name := event.event) in ("done", "reset"):
                    break
        last_id = "earliest"  # something is missing: all of it again


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Hub | trio.Nursery]]:
    async with open_hub() as hub, trio.open_nursery() as nursery:
        yield {"hub": hub, "nursery": nursery}
        nursery.cancel_scope.cancel()


async def start(request: Request) -> Response:
    id = uuid4().hex
    jobs[f"job/{id}"] = trio.CancelScope(relative_deadline=60)
    request.state.nursery.start_soon(run, request.state.hub, f"job/{id}")
    return JSONResponse({"id": id}, 201, {"Location": f"/jobs/{id}"})


async def job(request: Request) -> Response:
    topic, last_id = f"job/{request.path_params['id']}", last_event_id(request) or "earliest"
    if topic not in jobs:
        return Response(status_code=404)
    if request.method == "DELETE":
        jobs[topic].cancel()
    elif last_id != last_ids.get(topic):
        return EventSourceResponse(watch(request.state.hub, topic, last_id))
    return Response(status_code=204)  # stopped; or seen to the end: no EventSource asks again


app = Starlette(lifespan=lifespan)
app.add_route("/jobs", start, methods=["POST"])
app.add_route("/jobs/{id}", job, methods=["GET", "DELETE"])

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
