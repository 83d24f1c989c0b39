"""The app with a hub in processes of its own, and what one asks of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from trio_sse import EventStreamDecoder, MessageEvent

from .process import TESTS, Process
from .wire import Address, Http1

HYPERCORN = ("-m", "hypercorn", "--bind", "127.0.0.1:0", "servers.hub_app:app", "-k", "trio")
UVICORN = ("-m", "uvicorn", "--port", "0", "servers.hub_app:app")


@contextmanager
def serving(
    command: tuple[str, ...] = HYPERCORN,
    *,
    log: int,
    redis: str | None = None,
    kept: int | None = None,
) -> Iterator[tuple[Process, Address]]:
    """Start the app, and wait until it listens.

    Args:
        command: The server.
        log: How many events its hub keeps.
        redis: The url of the Redis that the hub has its events in; none by default.
        kept: How many events Redis keeps; as many as the hub by default.
    """
    environment = {"HUB_MAX_EVENTS": str(log)}
    if redis is not None:
        environment |= {"HUB_REDIS_URL": redis, "HUB_REDIS_MAX_EVENTS": str(kept or log)}
    with Process(*command, directory=TESTS, environment=environment) as process:
        yield process, process.address()


def ask(address: Address, path: str, method: str = "GET", body: object = None) -> Any:
    """Make a request on a connection of its own; the answer is JSON."""
    with Http1(address) as client:
        client.request(path, method, json.dumps(body).encode())
        assert client.status == 200
        return json.loads(client.read_rest())


def publish(address: Address, *events: tuple[str, str]) -> list[str]:
    ids: list[str] = ask(address, "/publish", "POST", events)
    return ids


def subscribe(client: Http1, *topics: str, **query: str) -> None:
    client.request(f"/events?{urlencode({'topic': topics, **query}, doseq=True)}")


def next_event(client: Http1) -> MessageEvent:
    [event] = EventStreamDecoder().receive_data(client.read_event())
    return event
