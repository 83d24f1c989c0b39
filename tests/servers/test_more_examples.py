"""The examples of what one may want of a stream, each run as its docstring says."""

import time
from collections.abc import Callable

import pytest

from .browser import Browser
from .test_examples import EventSource, running, serving
from .wire import READ_TIMEOUT, Address, Http1

pytest.importorskip("hypercorn")
pytest.importorskip("uvicorn")

pytestmark = pytest.mark.server

DATABASES = ["database_asyncio", "database_trio"]

ADD_ROW = "INSERT INTO readings (celsius) VALUES (30)"

ROWS = [(n + 1, 20 + n % 50 / 10) for n in range(20_000)]


def get(address: Address, path: str, method: str = "GET") -> str:
    """Make a request on a connection of its own, and return the answer."""
    with Http1(address) as client:
        client.request(path, method)
        assert client.status == 200
        return client.read_rest().decode()


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again; looking is what waits, for an answer or an event."""
    deadline = time.monotonic() + READ_TIMEOUT
    while not condition():
        assert time.monotonic() < deadline


# --- finite ---------------------------------------------------------------------------------


def test_finite_ends_with_an_event_that_says_so_and_is_not_asked_for_again() -> None:
    with running("finite") as (process, client):
        *numbers, end = client.read_messages()
        assert [message.data for message in numbers] == [str(n) for n in range(10, 0, -1)]
        assert (end.type, end.data) == ("end", "lift-off")
        with EventSource(process.address()) as again:
            again.resume("/events", end.last_event_id)
            assert again.status == 204


def test_finite_goes_on_where_its_client_was() -> None:
    with serving("finite") as (_, address), EventSource(address) as client:
        client.resume("/events", "4")
        assert [message.data for message in client.read_messages()] == ["3", "2", "1", "lift-off"]


@pytest.mark.once
def test_the_page_of_finite_closes_its_event_source(browser: Browser) -> None:
    pytest.importorskip("websockets")
    with serving("finite") as (_, (host, port)):
        page = browser.page()
        page.open(f"http://{host}:{port}/")
        page.wait_for("""count.textContent === "lift-off" """)
        assert page.evaluate("source.readyState === EventSource.CLOSED")
