"""An app with a hub, served on trio and on asyncio: what is published comes from the test.

What the environment says:

* ``HUB_MAX_EVENTS``: how long the log of the hub is.
* ``HUB_REDIS_URL``: where its events are; in memory by default.
* ``HUB_REDIS_MAX_EVENTS``: how many of them are kept there.
"""

import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from trio_sse import CloseReason, Engine, EventSourceResponse, last_event_id, open_hub

LOG = int(os.environ["HUB_MAX_EVENTS"])

# Seconds for which Redis keeps events: tests look at them in the end, however many there are.
MAX_AGE = 3600.0

reasons: dict[str, list[str]] = {}
"""Why streams have ended, by the key of their subscription."""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    async with open_hub(engine=make_engine(), max_events=LOG) as hub:
        yield {"hub": hub}


def make_engine() -> Engine | None:
    url = os.environ.get("HUB_REDIS_URL")
    if url is None:
        return None
    from trio_sse.redis import RedisEngine

    return RedisEngine(url, max_events=int(os.environ["HUB_REDIS_MAX_EVENTS"]), max_age=MAX_AGE)


async def events(request: Request) -> EventSourceResponse:
    query = request.query_params
    key = query.get("key", "")
    subscription = request.state.hub.subscribe(
        *query.getlist("topic"), last_event_id=last_event_id(request), key=key
    )
    return EventSourceResponse(subscription, on_close=partial(closed, key))


def closed(key: str, reason: CloseReason) -> None:
    reasons.setdefault(key, []).append(reason.value)


async def publish(request: Request) -> JSONResponse:
    """Publish pairs of a topic and a text, one after the other; the answer is their ids."""
    hub = request.state.hub
    return JSONResponse([await hub.publish(topic, text) for topic, text in await request.json()])


async def publish_nowait(request: Request) -> JSONResponse:
    """Accept a topic and a text."""
    request.state.hub.publish_nowait(*await request.json())
    return JSONResponse(None)


async def revoke(request: Request) -> JSONResponse:
    return JSONResponse(request.state.hub.revoke(key=request.query_params["key"]))


async def statistics(request: Request) -> JSONResponse:
    of_hub = request.state.hub.statistics()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return JSONResponse(
        {
            "subscribers": of_hub.subscribers,
            "published": of_hub.published,
            "delivered": of_hub.delivered,
            "resets": dict(of_hub.resets),
            "reasons": reasons,
            "cpu": used.ru_utime + used.ru_stime,
            "peak": used.ru_maxrss * 1024,
        }
    )


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/events", events),
        Route("/publish", publish, methods=["POST"]),
        Route("/publish_nowait", publish_nowait, methods=["POST"]),
        Route("/revoke", revoke, methods=["POST"]),
        Route("/statistics", statistics),
    ],
)
