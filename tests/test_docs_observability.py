"""The page on watching: its code runs, and its tables name what there is."""

import ast
import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import trio_sse
from trio_sse import EventSourceResponse, Instrument, open_hub
from trio_sse.testing import open_stream

prometheus_client = pytest.importorskip("prometheus_client")
pytest.importorskip("opentelemetry.sdk")

PAGE = (Path(__file__).parent.parent / "docs" / "observability.md").read_text()
CODE = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S))
NAMED = re.findall(r"^\| `(\w+)\(([\w, ]*)\)` \|", PAGE, re.M)


@pytest.fixture
def page():
    async def produce(send: Any) -> None:
        await send.send("a")

    names: dict[str, Any] = {"produce": produce}
    level = logging.getLogger("trio_sse").level
    exec(compile(CODE, "observability.md", "exec"), names)
    yield SimpleNamespace(**names)
    logging.getLogger("trio_sse").setLevel(level)
    for metric in (names["ACTIVE"], names["CLOSES"]):
        prometheus_client.REGISTRY.unregister(metric)


@pytest.mark.anyio
async def test_the_instruments_of_the_page_are_told(page, capsys):
    async with open_stream(await page.endpoint(None), "/some/where") as stream:
        assert (await stream.receive()).data == "a"
        assert page.streams.open == 1
        await stream.read_body()
    assert (page.streams.open, page.streams.slowest) == (0, 0)
    assert capsys.readouterr().out == "/some/where completed\n"
    async with open_stream(await page.measured(None)) as stream:
        assert (await stream.receive()).data == "a"
    async with page.open_measured_hub() as hub:
        await hub.publish("a", "x")


@pytest.mark.anyio
async def test_the_instrument_for_prometheus_counts(page):
    response = EventSourceResponse(["a"], instrument=page.PrometheusInstrument())
    async with open_stream(response) as stream:
        assert page.ACTIVE.collect()[0].samples[0].value == 1
        await stream.read_body()
    assert page.ACTIVE.collect()[0].samples[0].value == 0
    [closes, _] = page.CLOSES.collect()[0].samples
    assert (closes.labels, closes.value) == ({"reason": "completed"}, 1)


def test_the_page_lists_each_method_of_an_instrument_with_its_arguments():
    methods = {
        name: ", ".join(method.__code__.co_varnames[1 : method.__code__.co_argcount])
        for name, method in vars(Instrument).items()
        if not name.startswith("_")
    }
    assert dict(NAMED) == methods


def test_the_page_lists_each_metric_with_its_unit():
    from test_opentelemetry import METRICS

    rows = re.findall(r"^\| `(trio_sse\.[\w.]+)` \| [\w -]+ \| `(\S+)` \|", PAGE, re.M)
    assert dict(rows) == {name: unit for name, (_, unit) in METRICS.items()}


def calls_of_loggers():
    """Yield (module, logger, method) for each call of a logger in the package."""
    for path in sorted(Path(trio_sse.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text())
        names = [
            node.args[0].value
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger"
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logger."):
                yield path.stem, names, ast.unparse(node.func).removeprefix("logger.")


def test_the_loggers_are_those_of_the_page():
    loggers = {name for _, names, _ in calls_of_loggers() for name in names}
    assert loggers == {"trio_sse", "trio_sse.compat"}
    assert all(f"`{name}`" in PAGE for name in loggers)


async def records_of(count: int, caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    """Publish and stream so many events, and return what was logged."""
    caplog.clear()
    async with open_hub() as hub:
        async with open_stream(EventSourceResponse(hub.subscribe("a"), ping=0)) as stream:
            for n in range(count):
                await hub.publish("a", n)
            for _ in range(count + 1):
                await stream.receive()
        async with open_stream(EventSourceResponse(range(count))) as stream:
            await stream.read_body()
    return [(record.name, record.levelno) for record in caplog.records]


@pytest.mark.anyio
async def test_nothing_is_logged_of_an_event_and_at_debug_the_end_of_a_stream(caplog):
    caplog.set_level(logging.DEBUG)
    await records_of(1, caplog)  # some things are said once in a run
    few, many = await records_of(1, caplog), await records_of(100, caplog)
    assert few == many == [("trio_sse", logging.DEBUG)] * 2
