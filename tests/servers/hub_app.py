"""An app with a hub, served on trio and on asyncio: what is published comes from the test.

``HUB_MAX_EVENTS`` in the environment says how long the log of the hub is.
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

from trio_sse import CloseReason, EventSourceResponse, last_event_id, open_hub

LOG = int(os.environ["HUB_MAX_EVENTS"])

reasons: dict[str, list[str]] = {}
"""Why streams have ended, by the key of their subscription."""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    async with open_hub(max_events=LOG) as hub:
        yield {"hub": hub}


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
        Route("/revoke", revoke, methods=["POST"]),
        Route("/statistics", statistics),
    ],
)
