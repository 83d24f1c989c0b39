"""The conftest of sse-starlette's tests, which its distribution does not have, for ours.

Copied beside its tests. They run on the runtime named by ``--runtime``, with the modules that
they import replaced.
"""

import inspect
import logging
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

import trio_sse.compat
from compat.excluded import EXCLUDED, EXCLUDED_ON

trio_sse.compat.install_as_sse_starlette()

THEIR_LOGGER = "sse_starlette.sse"


def pytest_addoption(parser):
    parser.addoption("--runtime", choices=["asyncio", "trio"], required=True)


def pytest_ignore_collect(collection_path, config):
    """Leave out files that could not even be imported."""
    return collection_path.name in excluded(config) or None


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(obj):
    """Let all coroutines be tests; theirs are pytest-asyncio's."""
    if inspect.iscoroutinefunction(obj):
        pytest.mark.anyio(obj)


def pytest_collection_modifyitems(config, items):
    unused, kept = set(excluded(config)), []
    for item in items:
        name = item.nodeid.rpartition("tests/")[2]
        [*patterns] = [pattern for pattern in excluded(config) if matches(name, pattern)]
        unused.difference_update(patterns)
        if not patterns:
            kept.append(item)
    unused = [pattern for pattern in unused if "::" in pattern]
    if unused:
        raise pytest.UsageError(f"excluded, but not there: {unused}")
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def excluded(config):
    return {**EXCLUDED, **EXCLUDED_ON[config.getoption("--runtime")]}


def matches(name, pattern):
    """Match as files do, but for brackets, which are those of parameters."""
    pattern = pattern.replace("[", "[[]")
    return fnmatch(name, pattern) or fnmatch(name, f"{pattern}[[]*")


class TrioClient:
    """Starlette's client, serving on trio; not from a thread that trio runs in: it would hang."""

    def __init__(self, app):
        self._client = TestClient(app, backend="trio")

    def get(self, url):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._client.get, url).result()


@pytest.fixture
def anyio_backend(request):
    return request.config.getoption("--runtime")


@pytest.fixture(autouse=True)
def on_runtime(request, anyio_backend, monkeypatch):
    """Let what tests do by themselves run there too: apps, and what sleeps with asyncio."""
    if anyio_backend == "trio":
        monkeypatch.setattr(request.module, "TestClient", TrioClient, raising=False)
        monkeypatch.setattr(request.module, "asyncio", anyio, raising=False)


@pytest.fixture(autouse=True)
def status():
    yield
    trio_sse.compat.AppStatus.should_exit = False


@pytest.fixture(autouse=True)
def listening(monkeypatch):
    """Have the private method that some tests replace, also those about something else."""
    monkeypatch.setattr(
        trio_sse.compat.EventSourceResponse, "_listen_for_exit_signal", None, raising=False
    )


@pytest.fixture(autouse=True)
def logged():
    """Log under their name: a logger is called after its module."""

    def rename(record):
        record.name = THEIR_LOGGER
        return True

    loggers = [logging.getLogger(name) for name in ("trio_sse", "trio_sse.compat")]
    for logger in loggers:
        logger.addFilter(rename)
    yield
    for logger in loggers:
        logger.removeFilter(rename)


@pytest.fixture
async def httpx_client():
    """A client of an app that has an endless stream and notes when it was left."""
    transport = httpx2.ASGITransport(app=Starlette(routes=[Route("/endless", endless)]))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def endless(request):
    async def count():
        n = 0
        try:
            while True:
                yield {"data": n}
                n += 1
                await anyio.sleep(0.05)
        except anyio.get_cancelled_exc_class():
            logging.getLogger(__name__).info("Disconnected from client")
            raise

    return trio_sse.compat.EventSourceResponse(count())
