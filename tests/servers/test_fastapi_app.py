"""The example for FastAPI, by both of the commands that it names."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import pytest

from .process import Process
from .test_examples import STRICT, EventSource
from .wire import Address, Http1

pytest.importorskip("fastapi")

pytestmark = [pytest.mark.server, pytest.mark.once]

COMMANDS = {
    "hypercorn": ("examples/fastapi_app.py",),
    "uvicorn": ("-m", "uvicorn", "--app-dir", "examples", "--port", "0", "fastapi_app:app"),
}
on_each_server = pytest.mark.parametrize("server", COMMANDS)

# What the dependency prints, and uvicorn in between.
LEFT = r"(?s)opened\n.*closed\n"

PRICE = {"symbol": "ABC", "amount": 12.5}


@contextmanager
def serving(server: str) -> Iterator[tuple[Process, Address]]:
    with Process(*STRICT, *COMMANDS[server], environment={"PORT": "0"}) as process:
        yield process, process.address()
        assert process.complaints() == []


def name_price(address: Address, price: object) -> int:
    """Do what the curl command does, and return the status of the answer."""
    with closing(HTTPConnection(*address)) as connection:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/prices", json.dumps(price), headers)
        return connection.getresponse().status


@on_each_server
def test_a_price_is_heard_by_all_and_by_who_was_away(server: str) -> None:
    with serving(server) as (_, address), EventSource(address) as client:
        client.request("/prices")
        ready = client.read_message()
        assert name_price(address, PRICE) == 202
        heard = client.read_message()
        assert (heard.type, heard.json()) == ("price", PRICE)
        with EventSource(address) as again:
            again.resume("/prices", ready.last_event_id)
            assert again.read_message().json() == {"resumed": True}
            assert again.read_message() == heard


@on_each_server
def test_what_is_no_price_is_refused(server: str) -> None:
    with serving(server) as (_, address):
        assert name_price(address, {"symbol": "ABC"}) == 422


@on_each_server
def test_the_countdown_comes_one_by_one_and_then_its_dependency_is_left(server: str) -> None:
    with serving(server) as (process, address), EventSource(address) as client:
        client.request("/countdown")
        for left in (2, 1, 0):
            assert client.read_message().json() == {"left": left}
            assert client.body == b""
        assert client.read_rest() == b""
        process.wait_for(LEFT)


@on_each_server
def test_the_dependency_is_left_when_the_client_leaves(server: str) -> None:
    with serving(server) as (process, address), EventSource(address) as client:
        client.request("/countdown")
        client.read_message()
        client.close()
        process.wait_for(LEFT)


@on_each_server
def test_the_document_tells_of_the_events(server: str) -> None:
    with serving(server) as (_, address), Http1(address) as client:
        client.request("/openapi.json")
        document = json.loads(client.read_rest())
        client.request("/docs")
        assert b"swagger" in client.read_rest()
    for path in ("/prices", "/countdown"):
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        assert [*content] == ["text/event-stream"]
    content = document["paths"]["/prices"]["get"]["responses"]["200"]["content"]
    events = content["text/event-stream"]["itemSchema"]["oneOf"]
    names = [event["properties"]["event"]["const"] for event in events]
    assert names == ["price", "ready", "reset", "revoked"]
