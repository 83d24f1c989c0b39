"""The tutorial, followed by copying: each step runs, and the last is the service it promises."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent

import pytest

from documentation.pages import ROOT, blocks
from redis_server import RedisServer
from trio_sse import EventStreamDecoder, MessageEvent

from .browser import Browser, Page
from .process import Process
from .wire import Address, Http1

pytest.importorskip("hypercorn")

pytestmark = [pytest.mark.server, pytest.mark.once]

PAGE = ROOT / "docs" / "tutorial.md"
STEPS = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
FIRST, SHOWN, ONE, MISSED, WHO, END, TESTS, *OUTLOOK = STEPS

STRICT = ("-X", "dev", "-W", "error")
BY_HYPERCORN = (*STRICT, "-m", "hypercorn", "-k", "trio", "-b", "127.0.0.1:0", "service:app")
BY_ITSELF = (*STRICT, "main.py")

since_who = pytest.mark.parametrize(
    ("step", "command"), [(WHO, BY_HYPERCORN), (END, BY_ITSELF)], ids=["hypercorn", "main"]
)

FILE_NAME = re.compile(r"^(?:# |<!-- )(\w+\.(?:py|html))(?: -->)?$", re.MULTILINE)


class Visitor(Http1):
    """A client with a cookie, who reads events."""

    def __init__(self, address: Address, cookie: str = "") -> None:
        super().__init__(address)
        self.cookie = cookie
        self._decoder = EventStreamDecoder()

    def ask(self, path: str, method: str = "GET", body: str = "", last_event_id: str = "") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}"]
        if self.cookie:
            lines.append(f"Cookie: {self.cookie}")
        if last_event_id:
            lines.append(f"Last-Event-ID: {last_event_id}")
        self._connection.sendall("\r\n".join([*lines, "", body]).encode())
        self._read_head(method)

    def next(self) -> MessageEvent:
        """Read the next event that has data."""
        while not (messages := self._decoder.receive_data(self.read_event())):
            pass
        return messages[0]

    def all(self) -> list[MessageEvent]:
        """Read to the end."""
        return self._decoder.receive_data(self.read_rest())


def copy_until(step: str, directory: Path) -> None:
    """Copy the files of the tutorial, up to the end of a step, as a reader does."""
    text = PAGE.read_text(encoding="utf-8")
    line_of = {name: text[: text.index(f"\n## {name}\n")].count("\n") + 2 for name in STEPS}
    after = STEPS[STEPS.index(step) + 1]
    for block in blocks(PAGE, "python", "html"):
        if block.line < line_of[after]:
            name = FILE_NAME.search(block.code)
            assert name, f"{block} does not say which file it is"
            (directory / name[1]).write_text(block.code, encoding="utf-8")


@contextmanager
def serving(step: str, directory: Path, *command: str) -> Iterator[tuple[Process, Address]]:
    copy_until(step, directory)
    environment = {"BIND": "127.0.0.1:0"}
    with Process(*command, directory=directory, environment=environment) as process:
        yield process, process.address()


def log_in(address: Address) -> str:
    with Visitor(address) as visitor:
        visitor.ask("/log-in", "POST", "sunshine")
        assert visitor.status == 204
        cookie, *attributes = visitor.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict"} <= {*attributes}
    return cookie


def reading(event: MessageEvent) -> float:
    assert event.type == "reading"
    value: float = json.loads(event.data)["celsius"]
    return value


def test_the_first_stream_sends_three_readings_and_ends(tmp_path: Path) -> None:
    with serving(FIRST, tmp_path, *BY_HYPERCORN) as (_, address), Visitor(address) as visitor:
        visitor.ask("/events")
        assert [event.data for event in visitor.all()] == ["20.5", "20.7", "21.0"]


def test_the_page_shows_what_has_a_name(tmp_path: Path) -> None:
    with serving(SHOWN, tmp_path, *BY_HYPERCORN) as (_, address), Visitor(address) as visitor:
        visitor.ask("/")
        assert visitor.headers["content-type"].startswith("text/html")
        assert 'addEventListener("reading"' in visitor.read_rest().decode()
        visitor.ask("/events")
        reading(visitor.next())


def test_one_station_measures_for_everybody(tmp_path: Path) -> None:
    with (
        serving(ONE, tmp_path, *BY_HYPERCORN) as (_, address),
        Visitor(address) as first,
        Visitor(address) as second,
    ):
        for visitor in (first, second):
            visitor.ask("/events")
            assert visitor.next().type == "ready"
        event = second.next()
        while (other := first.next()).last_event_id != event.last_event_id:
            reading(other)
        assert reading(other) == reading(event)


def test_nothing_is_missed(tmp_path: Path) -> None:
    with serving(MISSED, tmp_path, *BY_HYPERCORN) as (_, address):
        with Visitor(address) as visitor:
            visitor.ask("/events")
            visitor.next()
            events = [visitor.next() for _ in range(3)]
        with Visitor(address) as again:
            again.ask("/events", last_event_id=events[0].last_event_id)
            assert again.next().json() == {"resumed": True}
            assert [again.next() for _ in range(2)] == events[1:]
        with Visitor(address) as other:
            other.ask("/events", last_event_id="0123456789-1")
            assert other.next().type == "reset"


@since_who
def test_who_has_logged_in_may_listen_until_the_session_ends(
    tmp_path: Path, step: str, command: tuple[str, ...]
) -> None:
    with serving(step, tmp_path, *command) as (_, address):
        with Visitor(address) as stranger:
            stranger.ask("/log-in", "POST", "rain")
            assert stranger.status == 403
            stranger.ask("/events")
            assert stranger.status == 403
        cookie = log_in(address)
        with Visitor(address, cookie) as visitor, Visitor(address, cookie) as other:
            visitor.ask("/events")
            assert visitor.next().type == "ready"
            other.ask("/log-out", "POST")
            assert other.status == 204
            later = [visitor.next().type]
            while later[-1] != "revoked" and len(later) < 5:
                later.append(visitor.next().type)
            assert later[-1] == "revoked"
            assert visitor.all() == []
            other.ask("/events")
            assert other.status == 403


@since_who
def test_a_session_has_six_streams(tmp_path: Path, step: str, command: tuple[str, ...]) -> None:
    with serving(step, tmp_path, *command) as (_, address):
        cookie = log_in(address)
        visitors = [Visitor(address, cookie) for _ in range(7)]
        for visitor in visitors:
            visitor.ask("/events")
        assert [visitor.status for visitor in visitors] == [200] * 6 + [503]
        for visitor in visitors:
            visitor.close()


def test_the_service_ends_with_a_farewell(tmp_path: Path) -> None:
    with serving(END, tmp_path, *BY_ITSELF) as (process, address):
        with Visitor(address) as probe:
            probe.ask("/ready")
            assert probe.status == 204
            probe.ask("/")
            assert "EventSource" in probe.read_rest().decode()
        with Visitor(address, log_in(address)) as visitor:
            visitor.ask("/events")
            assert visitor.next().type == "ready"
            reading(visitor.next())
            process.send_signal(signal.SIGTERM)
            last = visitor.all()[-1]
        assert (last.type, last.data) == ("farewell", "the station restarts")
        assert process.wait() == 0
        assert process.complaints() == []


def test_what_the_tutorial_says_of_asyncio_is_all_that_uvicorn_takes(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    copy_until(END, tmp_path)
    for path in (tmp_path / "station.py", tmp_path / "service.py"):
        code = path.read_text(encoding="utf-8").replace("import trio\n", "import anyio\n")
        code = code.replace("trio.sleep(", "anyio.sleep(")
        code = code.replace("trio.open_nursery()", "anyio.create_task_group()")
        path.write_text(code, encoding="utf-8")
    command = (*STRICT, "-m", "uvicorn", "--port", "0", "service:app")
    with Process(*command, directory=tmp_path) as process:
        address = process.address()
        with Visitor(address, log_in(address)) as visitor:
            visitor.ask("/events")
            assert visitor.next().type == "ready"
            reading(visitor.next())
            process.send_signal(signal.SIGTERM)
            assert visitor.all()[-1].type == "farewell"
        process.wait()
        assert process.complaints() == []


def test_with_what_the_tutorial_says_of_redis_a_client_goes_on_in_another_process(
    tmp_path: Path,
) -> None:
    pytest.importorskip("coredis")
    copy_until(END, tmp_path)
    [import_, lines] = (block.code for block in blocks(PAGE, ""))
    with RedisServer(tmp_path) as redis:
        service = tmp_path / "service.py"
        code = service.read_text(encoding="utf-8")
        opens = "    async with open_hub() as hub, trio.open_nursery() as nursery:\n"
        assert code.count(opens) == 1
        lines = lines.replace("redis://localhost:6379", redis.url)
        code = import_ + code.replace(opens, indent(lines, "    "))
        service.write_text(code, encoding="utf-8")
        seen = ""
        for resumed in (False, True):
            environment = {"BIND": "127.0.0.1:0"}
            with Process(*BY_ITSELF, directory=tmp_path, environment=environment) as process:
                address = process.address()
                with Visitor(address, log_in(address)) as visitor:
                    visitor.ask("/events", last_event_id=seen)
                    assert visitor.next().json() == {"resumed": resumed}
                    event = visitor.next()
                    reading(event)
                    seen = event.last_event_id
                process.send_signal(signal.SIGTERM)
                assert process.wait() == 0
                assert process.complaints() == []


def test_the_tests_of_the_service_pass(tmp_path: Path) -> None:
    copy_until(TESTS, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    with Process("-m", "pytest", "-q", directory=tmp_path) as process:
        code = process.wait()
    assert code == 0, process.stdout
    assert "10 passed" in process.stdout


def test_the_command_of_the_tutorial_is_what_was_run() -> None:
    commands = [block.code.strip() for block in blocks(PAGE, "sh")]
    assert "hypercorn -k trio service:app" in commands
    assert "python main.py" in commands
    assert "python -m pytest" in commands


def test_steps_after_the_tests_change_no_file() -> None:
    assert OUTLOOK
    text = PAGE.read_text(encoding="utf-8")
    end = text[: text.index(f"\n## {OUTLOOK[0]}\n")].count("\n")
    assert all(block.line < end for block in blocks(PAGE, "python", "html"))


def log_in_on(page: Page) -> None:
    page.wait_for("document.body.innerText.includes('Log in to listen.')")
    page.click("input")
    page.type("sunshine")
    page.press("Enter")
    page.wait_for("document.querySelectorAll('li').length >= 2")


def test_the_page_of_the_service_works_in_a_browser(tmp_path: Path, browser: Browser) -> None:
    with serving(END, tmp_path, *BY_ITSELF) as (_, (host, port)):
        page = browser.page()
        page.open(f"http://{host}:{port}/")
        log_in_on(page)
        page.click("#leave")
        page.wait_for("document.body.innerText.includes('Log in to listen.')")


def test_a_page_that_is_open_while_the_service_restarts_comes_back_and_asks_to_log_in(
    tmp_path: Path, browser: Browser
) -> None:
    page = browser.page()
    with serving(END, tmp_path, *BY_ITSELF) as (process, (host, port)):
        page.open(f"http://{host}:{port}/")
        log_in_on(page)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    page.wait_for("document.body.innerText.includes('Connecting again')")
    environment = {"BIND": f"{host}:{port}"}
    with Process(*BY_ITSELF, directory=tmp_path, environment=environment) as again:
        again.address()
        log_in_on(page)
