"""The live page in a browser: each button is pressed, and its effect seen."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest

from .browser import Browser, Page
from .looks import CONTRASTS, FOCUS, TOO_WIDE
from .process import Process
from .test_examples import STRICT
from .wire import READ_TIMEOUT

pytest.importorskip("hypercorn")
pytest.importorskip("websockets")

from trio_sse.demo._answer import TOKENS
from trio_sse.demo._show import MOST_STREAMS

pytestmark = [pytest.mark.server, pytest.mark.once]

COMMAND = (*STRICT, "-m", "trio_sse.demo", "--bind")
ADDRESS = r"A live page of trio_sse: http://127\.0\.0\.1:(\d+)/"

DESKTOP, PHONE = (1280, 800), (375, 812)
LOOKS = [
    pytest.param(size, scheme, id=f"{name}-{scheme}")
    for name, size in (("desktop", DESKTOP), ("phone", PHONE))
    for scheme in ("light", "dark")
]

# As wide as 1280 pixels are at 400 % (WCAG 2.2, 1.4.10).
NARROW = pytest.param((320, 640), "light", id="narrow-light")

# Pixels; of a desktop, the first two groups of panels.
TOP = 1180

# What the browser says itself of a connection that was cut off in the middle, and of none.
CUT = "Failed to load resource: net::ERR_INCOMPLETE_CHUNKED_ENCODING"
REFUSED = "Failed to load resource: net::ERR_CONNECTION_REFUSED"

# Notes what is read out, and how often the stream is lost.
WATCH = """
  window.said = [];
  new MutationObserver(() => said.push(document.querySelector('#status').textContent))
    .observe(document.querySelector('#status'), { childList: true });
  new MutationObserver(() => {
    document.body.dataset.losses = Number(document.body.dataset.losses ?? 0) + 1;
  }).observe(state, { attributes: true });
"""

BUTTONS = [
    "Cut my connection",
    "Freeze a client",
    "Drain and restart",
    "Publish",
    "Start the answer",
    "Stop",
]
IN_ORDER = [
    "Skip to the page",
    "another tab",
    "cut",
    "freeze",
    "drain",
    "text",
    "Publish",
    "feed",
    "start",
    "tokens",
]


@pytest.fixture
def demo() -> Iterator[Process]:
    with Process(*COMMAND, "127.0.0.1:0") as process:
        yield process
    assert process.complaints() == []


def url_of(demo: Process) -> str:
    host, port = demo.address(ADDRESS)
    return f"http://{host}:{port}/"


def open_page(browser: Browser, demo: Process, size: tuple[int, int] = DESKTOP, **media) -> Page:
    """Open the page on a screen, and wait until it is connected."""
    page = browser.page()
    page.emulate(*size, mobile=size == PHONE, **media)
    page.open(url_of(demo))
    page.wait_for("state.dataset.state === 'connected' && Number(received.textContent) > 20")
    return page


def text(page: Page, selector: str) -> str:
    return page.evaluate(f"document.querySelector({selector!r}).textContent")


def wait_for_text(page: Page, selector: str, pattern: str) -> re.Match[str]:
    """Wait until the text of an element matches from its beginning."""
    begins = f"new RegExp({json.dumps(f'^(?:{pattern})')})"
    page.wait_for(f"{begins}.test(document.querySelector({selector!r})?.textContent ?? '')")
    match = re.match(pattern, text(page, selector))
    assert match
    return match


def check_numbers(page: Page) -> None:
    """See that the page goes on to receive numbers, and has each once."""
    received = int(text(page, "#received").replace(",", ""))
    page.wait_for(f"Number(received.textContent.replace(',', '')) > {received} + 20")
    assert text(page, "#missing") == "0"
    assert text(page, "#doubled") == "0"


def wait_until_back(page: Page, result: str) -> None:
    """Wait until a panel says that the page was away, and has caught up."""
    back = wait_for_text(page, result, r".*Back after (\d+\.\d) s: (\d+) numbers? caught up")
    assert float(back[1]) > 0.5
    assert int(back[2]) > 5
    check_numbers(page)


# One after the other on one page, in each look.


def publish(page: Page) -> None:
    page.click("#text")
    page.type("Hello, <b>everybody</b>")
    page.click("#publish button")
    wait_for_text(page, "#feed li", "YouHello, <b>everybody</b>$")
    page.wait_for("!document.querySelector('#text').value")


def freeze(page: Page) -> None:
    clients = int(text(page, "#clients"))
    page.click("#freeze")
    wait_for_text(page, "#freeze-result", "It reads nothing, and is dropped in 2")
    page.wait_for("document.querySelector('#freeze-progress').value > 0")
    page.wait_for(f"clients.textContent === '{clients + 1}'")
    page.click("#freeze")
    wait_for_text(page, "#status", "One client is frozen already")


def wait_until_thawed(page: Page) -> None:
    pattern = (
        r"The frozen client was dropped (\d\.\d) s after it had connected\. "
        r"Longest pause between two numbers here meanwhile: (\d+) ms"
    )
    dropped = wait_for_text(page, "#freeze-result", pattern)
    assert 3 <= float(dropped[1]) <= 4
    assert int(dropped[2]) < 1000  # a number comes each 50 ms, on a machine that is not loaded


def cut(page: Page) -> None:
    page.click("#cut")
    page.wait_for("state.textContent === 'Reconnecting'")
    wait_until_back(page, "#cut-result")
    assert text(page, "#reconnections") == "1"
    assert page.evaluate("document.querySelectorAll('.wave .late').length") > 5


def answer(page: Page) -> None:
    page.click("#start")
    page.wait_for("tokens.textContent.split(' ').length > 5")
    page.click("#stop")
    pattern = r"Stopped: the producer was cancelled after (\d+) tokens\."
    stopped = wait_for_text(page, "#tokens-result", pattern)
    assert 5 <= int(stopped[1]) < len(TOKENS)
    assert " ".join(TOKENS).startswith(text(page, "#tokens").strip())
    assert page.evaluate("document.activeElement.id") == "start"


def drain(page: Page) -> None:
    page.click("#drain")
    wait_for_text(page, "#status", "The server has said farewell")
    wait_for_text(page, "#drain-result", "This is server 2. Back after")
    wait_until_back(page, "#drain-result")


def keep_picture(page: Page, name: str) -> None:
    """Keep a picture of the page, if somebody wants one."""
    page.evaluate("scrollTo(0, 0)")
    if directory := os.environ.get("DEMO_SCREENSHOTS"):
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / f"{name}.png").write_bytes(page.screenshot())
        (Path(directory) / f"{name}-top.png").write_bytes(page.screenshot(height=TOP))


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_each_button_does_what_it_says(
    browser: Browser,
    demo: Process,
    size: tuple[int, int],
    scheme: str,
    request: pytest.FixtureRequest,
) -> None:
    page = open_page(browser, demo, size, prefers_color_scheme=scheme)
    publish(page)
    answer(page)
    freeze(page)
    cut(page)
    keep_picture(page, request.node.callspec.id)
    wait_until_thawed(page)
    drain(page)
    assert page.complaints == [CUT]


@pytest.mark.parametrize(("size", "scheme"), [*LOOKS, NARROW])
def test_everything_can_be_read(
    browser: Browser, demo: Process, size: tuple[int, int], scheme: str
) -> None:
    page = open_page(browser, demo, size, prefers_color_scheme=scheme)
    found = page.evaluate(CONTRASTS)
    assert {kind for kind, *_ in found} == {"text", "edge"}
    assert len(found) > 100
    needed = {"text": 4.5, "edge": 3}
    assert [row for row in found if row[2] < needed[row[0]]] == []
    assert page.evaluate(TOO_WIDE) == []
    assert page.complaints == []


# Somebody who is quick, and a server that is not there.


def test_a_button_that_is_pressed_three_times_does_what_it_does_once(
    browser: Browser, demo: Process
) -> None:
    page = open_page(browser, demo)
    page.click("#text")
    page.type("once")
    for _ in range(3):
        page.press("Enter")
    press_thrice(page, "#freeze")
    wait_for_text(page, "#status", "One client is frozen already")
    press_thrice(page, "#cut")
    wait_until_back(page, "#cut-result")
    wait_until_thawed(page)
    press_thrice(page, "#start")
    wait_for_text(page, "#tokens-result", f"Complete: {len(TOKENS)} tokens")
    assert text(page, "#tokens").strip() == " ".join(TOKENS)
    press_thrice(page, "#drain")
    wait_until_back(page, "#drain-result")
    assert text(page, "#drain-result").startswith("This is server 2.")
    assert page.evaluate("feed.innerText.split('\\n')") == ["You", "once"]
    assert page.complaints == [CUT]


def press_thrice(page: Page, selector: str) -> None:
    for _ in range(3):
        page.click(selector)


def test_a_button_that_is_pressed_while_no_server_is_there_says_so_and_works_afterwards(
    browser: Browser, demo: Process
) -> None:
    page = open_page(browser, demo)
    page.evaluate(WATCH)
    host, port = demo.address(ADDRESS)
    demo.send_signal(signal.SIGTERM)
    assert demo.wait() == 0
    page.wait_for("document.body.dataset.losses >= 3")
    assert page.evaluate("said") == [
        "The server has said farewell. The browser comes back by itself."
    ]
    page.click("#text")
    page.type("kept")
    page.press("Enter")
    for button in ("#freeze", "#drain", "#cut"):
        page.click(button)
    page.wait_for("said.filter((line) => line.startsWith('No answer.')).length === 3")
    assert len([line for line in page.evaluate("said") if "nothing to cut" in line]) == 1
    assert page.evaluate("document.querySelector('#text').value") == "kept"
    with Process(*COMMAND, f"{host}:{port}") as again:
        wait_for_text(page, "#status", "There is a gap")
        check_numbers(page)
        page.click("#cut")
        wait_until_back(page, "#cut-result")
        page.click("#drain")
        wait_for_text(page, "#drain-result", "This is server 2. Back after")
    assert again.complaints() == []
    assert {*page.complaints} == {REFUSED, CUT}


def test_a_page_that_there_is_no_room_for_is_told_so(browser: Browser, demo: Process) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_STREAMS):
            connection = HTTPConnection(*demo.address(ADDRESS), timeout=READ_TIMEOUT)
            stack.callback(connection.close)
            connection.request("GET", "/events")
            assert connection.getresponse().status == 200
        page = browser.page()
        page.open(url_of(demo))
        wait_for_text(page, "#status", "The server has as many streams as it takes")
    assert page.complaints == []


# Two tabs.


def test_what_one_tab_publishes_all_see_and_one_that_was_away_catches_up(
    browser: Browser, demo: Process
) -> None:
    one, other = open_page(browser, demo), open_page(browser, demo)
    one.wait_for("clients.textContent === '2'")
    one.click("#cut")
    one.wait_for("state.textContent === 'Reconnecting'")
    other.click("#text")
    other.type("while you were away")
    other.press("Enter")
    wait_for_text(one, "#feed li", r"\w+while you were away$")
    assert text(other, "#reconnections") == "0"
    one.click("#text")
    one.type("thanks")
    one.press("Enter")
    wait_for_text(other, "#status", r"\w+ says: thanks")
    third = open_page(browser, demo)
    for page in (one, other, third):
        said = page.evaluate("[...document.querySelectorAll('#feed li')].map((i) => i.innerText)")
        assert [line.split("\n")[-1] for line in said] == ["thanks", "while you were away"]
    assert [one.complaints, other.complaints, third.complaints] == [[CUT], [], []]


def test_charts_rise_with_the_tabs_and_say_how_high(browser: Browser, demo: Process) -> None:
    page, _ = open_page(browser, demo), open_page(browser, demo)
    page.wait_for("clients.textContent === '2' && Number(rate.textContent) > 30")
    for name, at_least in (("clients", 2), ("rate", 20)):
        label, highest, line = page.evaluate(
            f"""[
              document.querySelector('#{name}-chart').ariaLabel,
              document.querySelector('#{name}-highest').textContent,
              document.querySelector('#{name}-chart .line').getAttribute('d'),
            ]"""
        )
        now, top = map(float, re.findall(r"(?:now|highest) ([\d.]+\b)", label))
        assert top >= now >= at_least
        assert int(highest) == pytest.approx(top, abs=0.5)
        points = [[*map(float, point.split(","))] for point in line[1:].split("L")]
        assert points[-1] == [600, pytest.approx(96 - 72 * now / top, abs=0.1)]
        assert points == sorted(points, key=lambda point: point[0])
        assert points[0][1] > points[-1][1]


def test_all_tabs_go_on_at_the_next_server(browser: Browser, demo: Process) -> None:
    pages = [open_page(browser, demo) for _ in range(2)]
    pages[0].click("#drain")
    for page in pages:
        wait_for_text(page, "#drain-result", "This is server 2. Back after")
        check_numbers(page)
    pages[1].click("#drain")
    for page in pages:
        wait_for_text(page, "#drain-result", "This is server 3. Back after")
        check_numbers(page)
        assert page.complaints == []


# Answers.


def test_an_answer_goes_on_at_the_next_server_and_comes_to_its_end(
    browser: Browser, demo: Process
) -> None:
    page = open_page(browser, demo)
    page.click("#start")
    page.wait_for("tokens.textContent.split(' ').length > 5")
    page.click("#drain")
    wait_for_text(page, "#tokens-result", r"The server left after \d+ tokens; the next one goes on")
    wait_for_text(page, "#tokens-result", f"Complete: {len(TOKENS)} tokens")
    assert text(page, "#tokens").strip() == " ".join(TOKENS)
    assert page.evaluate("document.querySelector('#stop').disabled")
    assert page.complaints == []


# Without a mouse, a screen, or patience for what moves.


def test_the_focus_goes_through_the_page_in_its_order_and_is_seen(
    browser: Browser, demo: Process
) -> None:
    page = open_page(browser, demo)
    for name in IN_ORDER:
        page.press("Tab")
        assert page.evaluate(FOCUS) == {"name": name, "seen": True, "hidden": False}


def test_each_button_can_be_pressed_with_a_key(browser: Browser, demo: Process) -> None:
    page = open_page(browser, demo)
    for name in IN_ORDER:
        page.press("Tab")
        if name in ("freeze", "start"):
            page.press("Enter")
        elif name == "cut":
            page.press(" ")
            wait_until_back(page, "#cut-result")
        elif name == "text":
            page.type("typed")
        elif name == "Publish":
            page.press(" ")
            wait_for_text(page, "#feed li", "Youtyped")
    page.wait_for("tokens.textContent")
    wait_until_thawed(page)


def test_a_screen_reader_has_names_for_everything(browser: Browser, demo: Process) -> None:
    page = open_page(browser, demo)
    for landmark in ("banner", "main", "contentinfo"):
        assert len(page.names(landmark)) == 1
    assert sorted(page.names("button")) == sorted(BUTTONS)
    assert page.names("textbox") == ["Your message"]
    assert page.names("progressbar") == ["Seconds without a read"]
    assert page.names("list") == ["Messages, the latest first"]
    regions = ["Connection", "What arrives", "Break it", "Use it", "The answer"]
    assert sorted(page.names("region")) == sorted(regions)
    titles = page.evaluate("[...document.querySelectorAll('h3')].map((h) => h.textContent)")
    assert sorted(page.names("article")) == sorted(titles)
    charts = [name for name in page.names("image") if name]
    pattern = r"in the last minute: now [\d.]+, lowest [\d.]+, highest [\d.]+\."
    assert sorted(re.sub(pattern, "...", chart) for chart in charts) == [
        "Connected clients ...",
        "Events per second ...",
    ]


def test_the_flood_is_not_read_out_and_what_happens_is(browser: Browser, demo: Process) -> None:
    page = open_page(browser, demo)
    live = "[aria-live], [role=status], [role=log], [role=alert], [role=timer], output"
    assert page.evaluate(f"[...document.querySelectorAll('{live}')].map((e) => e.id)") == ["status"]
    page.evaluate(WATCH)
    check_numbers(page)
    assert page.evaluate("said") == []
    page.click("#cut")
    wait_until_back(page, "#cut-result")
    first, second = page.evaluate("said")
    assert first.startswith("The connection is cut.")
    assert second.startswith("Back after ")


@pytest.mark.parametrize("moves", ["reduce", "no-preference"])
def test_charts_glide_unless_somebody_wants_less_of_that(
    browser: Browser, demo: Process, moves: str
) -> None:
    page = open_page(browser, demo, prefers_reduced_motion=moves)
    page.evaluate("""window.gliding = 0, void new MutationObserver(() => {
      gliding = Math.max(gliding, document.getAnimations().length);
      document.body.dataset.measures = Number(document.body.dataset.measures ?? 0) + 1;
    }).observe(document.querySelector('#rate'), { childList: true })""")
    page.wait_for("document.body.dataset.measures > 2")
    assert page.evaluate("gliding > 0") is (moves == "no-preference")


def test_nothing_comes_from_another_host(browser: Browser, demo: Process) -> None:
    page = open_page(browser, demo)
    names = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert {name.removeprefix(url_of(demo)).partition("?")[0] for name in names} >= {
        "style.css",
        "page.js",
        "state",
    }
    assert [name for name in names if not name.startswith(url_of(demo))] == []


# The process.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_it_with_open_pages_a_frozen_client_and_an_answer(
    browser: Browser, demo: Process, number: signal.Signals
) -> None:
    pages = [open_page(browser, demo) for _ in range(2)]
    pages[0].click("#start")
    pages[0].wait_for("tokens.textContent")
    pages[0].click("#freeze")
    wait_for_text(pages[0], "#freeze-result", "It reads nothing")
    demo.send_signal(number)
    assert demo.wait() == 0
    for page in pages:
        page.wait_for("state.textContent === 'Reconnecting'")


def test_a_page_is_told_that_the_process_was_restarted_and_counts_anew(
    browser: Browser, demo: Process
) -> None:
    page = open_page(browser, demo)
    host, port = demo.address(ADDRESS)
    demo.send_signal(signal.SIGKILL)
    demo.wait()
    with Process(*COMMAND, f"{host}:{port}") as again:
        wait_for_text(page, "#status", r"There is a gap \(restarted\): the count starts anew\.")
        page.wait_for("Number(received.textContent) < 20")
        check_numbers(page)
        assert page.evaluate("document.querySelectorAll('.wave .late').length") == 0
    assert again.complaints() == []
