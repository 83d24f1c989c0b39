"""Many clients of one server, in one program: how fast events come, and whether all do. Trio.

Run ``python examples/load_simulation.py``, or with other numbers of clients and of events, as in
``python examples/load_simulation.py 500 2000``. Each client is a `trio_sse.client` on a connection
of its own, and notes what it gets; if any of them has missed an event, or has one twice, the
exit status is 1. The rates are those of a program that is all of its clients as well.
"""

import sys
from functools import partial

import httpx
import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import EventSourceResponse, last_event_id, open_hub
from trio_sse.client import open_event_source
from trio_sse.hypercorn import serve


async def listen(
    http: httpx.AsyncClient,
    url: str,
    seen: list[str],
    last: str,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Note the data of each event until the last; started when the first can come."""
    async with open_event_source(url, client=http) as source:
        await source.receive()  # "ready": this client has subscribed
        task_status.started()
        while seen[-1:] != [last]:
            event = await source.receive()
            if event.type != "ready":
                seen.append(event.data)


async def simulate(clients: int, events: int) -> bool:
    """Publish events to clients; print what came of it, and return whether all did."""
    expected = [str(number) for number in range(events)]
    seen: list[list[str]] = [[] for _ in range(clients)]
    done = trio.Event()

    async def stream(request: Request) -> EventSourceResponse:
        numbers = hub.subscribe("numbers", last_event_id=last_event_id(request))
        return EventSourceResponse(numbers)

    app = Starlette(routes=[Route("/", stream)])
    config = hypercorn.Config.from_mapping(bind="127.0.0.1:0")
    http = httpx.AsyncClient(limits=httpx.Limits(max_connections=None))
    async with open_hub(max_events=events) as hub, http, trio.open_nursery() as nursery:
        [url] = await nursery.start(partial(serve, app, config, shutdown_trigger=done.wait))
        async with trio.open_nursery() as listening:
            for each in seen:
                await listening.start(listen, http, url, each, expected[-1])
            began = trio.current_time()
            for number in expected:
                await hub.publish("numbers", number)
            published = trio.current_time()
        received = trio.current_time()
        done.set()
    incomplete = sum(each != expected for each in seen)
    print(f"clients:   {clients}, with {events} events each")
    print(f"published: {events / (published - began):.0f} events/s")
    print(f"received:  {clients * events / (received - began):.0f} events/s, by all together")
    print(f"missing:   {f'something, at {incomplete} clients' if incomplete else 'nothing'}")
    return not incomplete


if __name__ == "__main__":
    clients, events = map(int, sys.argv[1:] or ["100", "1000"])
    sys.exit(0 if trio.run(simulate, clients, events) else 1)
