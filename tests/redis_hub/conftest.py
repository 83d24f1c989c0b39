"""A Redis for all tests of the folder, one of its own for those that stop it; and real time."""

import gc
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest

from redis_server import RedisServer

from .proxy import Proxy

# Without coredis there is nothing to test, and no module that could be imported.
collect_ignore_glob = [] if find_spec("coredis") else ["test_*.py"]

_names = count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let coredis leave memory streams unclosed where the making of a connection is cut short.

    It closes them where a connection ends, and an attempt that is cancelled does not get so far.
    They hold nothing but memory; anyio warns when they are collected.
    """
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(
                pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")
            )


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Try again soon; and collect what is left of failed attempts while no warning is an error."""
    monkeypatch.setattr("trio_sse.redis._link.LONGEST_DELAY", 0.05)
    yield
    gc.collect()


@pytest.fixture(scope="package", autouse=True)
def _quick_collections() -> Iterator[None]:
    """Let these collections pass over what was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def short_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that starts takes two events; the others have to be read from Redis."""
    monkeypatch.setattr("trio_sse.redis._reader.TAIL_EVENTS", 1)
    monkeypatch.setattr("trio_sse.redis._store.PAGE", 2)


@pytest.fixture(scope="package")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One that nobody stops, and that is flushed by nobody."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One to stop, to flush and to configure."""
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def name() -> str:
    """The name of a hub that no other test uses."""
    return f"test {next(_names)}"


@pytest.fixture
def proxy(redis: RedisServer) -> Iterator[Proxy]:
    """A way to the shared Redis that can be closed."""
    with Proxy(redis.port) as proxy:
        yield proxy


@pytest.fixture
def own_proxy(own_redis: RedisServer) -> Iterator[Proxy]:
    """A way to a Redis of the test's own that can be closed."""
    with Proxy(own_redis.port) as proxy:
        yield proxy
