"""The app: the page, its event stream, and what its buttons do."""

from contextlib import aclosing

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .. import EventSourceResponse, JSONServerSentEvent, last_event_id
from ._answer import IDS, Answer
from ._cuts import PageStream
from ._files import file_routes
from ._frozen import FrozenClient
from ._show import Show

TOPICS = ("numbers", "measures", "feed", "frozen", "answers")

# Characters, as the text field has it.
LONGEST_MESSAGE = 200

# Bytes; UTF-8 has four at most for a character.
LONGEST_BODY = 4 * LONGEST_MESSAGE

# Characters of the name that a page gives itself, as page.js makes it.
LONGEST_NAME = 7


def make_app(show: Show) -> Starlette:
    """Return the app that shows the show; servers may serve it one after the other."""
    app = Starlette(
        routes=[
            *file_routes(),
            Route("/state", state),
            Route("/events", events),
            Route("/publish", publish, methods=["POST"]),
            Route("/cut", cut, methods=["POST"]),
            Route("/drain", drain, methods=["POST"]),
            Route("/freeze", freeze, methods=["POST"]),
            Route("/flood", flood),
            Route("/tokens", tokens),
        ],
        exception_handlers={ClientDisconnect: left},
    )
    app.state.show = show
    return app


async def state(request: Request) -> Response:
    """What a page begins with, and the id to ask the stream for what comes after."""
    snapshot = _show(request).snapshot
    shown = {topic: [*events] for topic, events in snapshot.shown.items()}
    fields = {"last_event_id": snapshot.last_event_id, **shown}
    return JSONResponse(fields, headers={"Cache-Control": "no-store"})


async def events(request: Request) -> EventSourceResponse:
    """All that a page shows, in one stream."""
    show = _show(request)
    subscription = show.hub.subscribe(*TOPICS, last_event_id=last_event_id(request))
    return PageStream(subscription, _page(request), show.cuts, show.meter, show.limit)


async def publish(request: Request) -> Response:
    """Publish what one page says, for all to see."""
    hub, text = _show(request).hub, (await _body(request)).decode(errors="replace").strip()
    if not 0 < len(text) <= LONGEST_MESSAGE:
        raise HTTPException(422, f"a message has 1 to {LONGEST_MESSAGE} characters")
    message = {"text": text, "page": _page(request)}
    await hub.publish("feed", JSONServerSentEvent(message, event="feed"))
    return Response(status_code=204)


async def cut(request: Request) -> Response:
    """Cut off the stream of the page that asks for it."""
    if not _show(request).cuts.cut(_page(request)):
        raise HTTPException(404, "this page has no stream")
    return Response(status_code=204)


async def drain(request: Request) -> Response:
    """Let the server leave, and the next one take its place."""
    _show(request).drain()
    return Response(status_code=202)


async def freeze(request: Request) -> Response:
    """Start a client that freezes (202), if there is none (else 200)."""
    show = _show(request)
    if show.frozen is not None and not show.frozen.gone:
        return Response(status_code=200)
    show.frozen = FrozenClient(show.hub, show.meter)
    show.nursery.start_soon(show.frozen.run, *request.scope["server"])
    return Response(status_code=202)


async def flood(request: Request) -> EventSourceResponse:
    """What the frozen client asks for."""
    frozen = _show(request).frozen
    if frozen is None or frozen.answered:
        raise HTTPException(404, "no client is about to freeze")
    return frozen.response()


async def tokens(request: Request) -> EventSourceResponse:
    """One answer, from its beginning or after the last token that the page has seen."""
    show, seen = _show(request), last_event_id(request) or "0"
    if seen not in IDS:
        raise HTTPException(400, "the last event ID is no number of a token")
    return Answer(show.hub, _page(request), int(seen)).response(show.limit)


async def left(request: Request, error: Exception) -> Response:
    """Answer nobody: the client left in the middle of what it had to say, which is no error."""
    return Response(status_code=400)


async def _body(request: Request) -> bytes:
    """Return what a request has to say, if it is no more than a message can be."""
    body = b""
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > LONGEST_BODY:
                raise HTTPException(413, f"a message has no more than {LONGEST_BODY} bytes")
    return body


def _show(request: Request) -> Show:
    show: Show = request.app.state.show
    return show


def _page(request: Request) -> str:
    """Return the name that a page has given itself."""
    name = request.query_params.get("page", "")
    if len(name) > LONGEST_NAME:
        raise HTTPException(422, f"the name of a page has no more than {LONGEST_NAME} characters")
    return name
