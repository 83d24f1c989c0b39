"""A browser's own EventSource, on the page of an example: cut off, and back again."""

import signal

import pytest

from .browser import Browser, Page
from .process import Process

pytest.importorskip("hypercorn")
pytest.importorskip("websockets")

pytestmark = [pytest.mark.server, pytest.mark.once]


@pytest.fixture
def page(browser: Browser) -> Page:
    return browser.page()


def serve(port: int = 0) -> Process:
    return Process("examples/resume.py", environment={"PORT": str(port)})


def open_page(page: Page, process: Process) -> int:
    """Open the page of the example, and return its port."""
    host, port = process.address()
    page.open(f"http://{host}:{port}/")
    return port


def check_numbers(page: Page) -> None:
    """See that the page has been sent each number once, in order."""
    numbers = page.evaluate("numbers")
    assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    assert page.evaluate("""document.querySelectorAll('[style*="red"]').length""") == 0


def test_a_browser_that_the_server_cuts_off_comes_back_and_misses_nothing(page: Page) -> None:
    with serve() as process:
        open_page(page, process)
        page.wait_for("resumed >= 2")
        page.wait_for(f"numbers.length > {page.evaluate('numbers.length')}")
        check_numbers(page)
        assert page.evaluate("resets") == []


def test_a_browser_is_told_once_that_the_server_was_restarted(page: Page) -> None:
    with serve() as process:
        port = open_page(page, process)
        page.wait_for("resumed")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with serve(port):
        page.wait_for("resets.length")
        page.wait_for(f"resumed > {page.evaluate('resumed')}")
        page.wait_for(f"numbers.length > {page.evaluate('numbers.length')}")
        check_numbers(page)
        assert page.evaluate("resets") == ["restarted"]
