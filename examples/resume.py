"""A page that loses its connection and catches up. Hypercorn on trio.

Run ``python examples/resume.py`` and open http://127.0.0.1:8000/: the server cuts the
connection every few seconds, and the page still gets each number once. Restart the server: the
page is told that there is a gap. ``curl -N http://127.0.0.1:8000/events`` shows the ids, and
``curl -N -H "Last-Event-ID: <id>" http://127.0.0.1:8000/events`` goes on after one.
``PORT=8001`` before the command for another port.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from trio_sse import EventSourceResponse, Hub, last_event_id, open_hub
from trio_sse.hypercorn import serve

PAGE = """<!doctype html><title>Resume</title><p id="log"></p><script>
const numbers = [], resets = [];
let resumed = 0;
const show = (text, color) => {
  const word = Object.assign(document.createElement("span"), { textContent: `${text} ` });
  word.style.color = color;
  log.append(word);
};
const source = new EventSource("/events");
source.onmessage = (event) => {
  const last = numbers.at(-1);
  numbers.push(Number(event.data));
  show(event.data, last === undefined || numbers.at(-1) === last + 1 ? "black" : "red");
};
source.addEventListener("ready", (event) => {
  if (JSON.parse(event.data).resumed) show(`(resumed ${++resumed})`, "green");
});
source.addEventListener("reset", (event) => {  // a gap: what was shown is not continued
  resets.push(JSON.parse(event.data).reason);
  numbers.length = 0;
  show(`(reset: ${resets.at(-1)})`, "blue");
});
</script>"""


async def publish_numbers(hub: Hub) -> None:
    for number in count(1):
        await hub.publish("numbers", number)
        await trio.sleep(0.1)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Hub]]:
    async with open_hub() as hub, trio.open_nursery() as nursery:
        nursery.start_soon(publish_numbers, hub)
        yield {"hub": hub}
        nursery.cancel_scope.cancel()


async def events(request: Request) -> EventSourceResponse:
    hub: Hub = request.state.hub
    numbers = hub.subscribe("numbers", last_event_id=last_event_id(request))
    # After two seconds the stream ends; half a second later the browser comes back.
    return EventSourceResponse(numbers, max_age=2, retry=500)


app = Starlette(
    lifespan=lifespan, routes=[Route("/", HTMLResponse(PAGE)), Route("/events", events)]
)

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
