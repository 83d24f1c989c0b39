"""Every test with a ``library`` runs with each HTTP library that there is."""

import gc
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest


@pytest.fixture(params=filter(find_spec, ["httpx", "httpx2"]))
def library(request: pytest.FixtureRequest) -> Any:
    return import_module(request.param)


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let chance choose the shortest wait that it may."""
    monkeypatch.setattr("random.uniform", lambda least, most: least)


@pytest.fixture
def longest_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let chance choose the longest wait that it may."""
    monkeypatch.setattr("random.uniform", lambda least, most: most)


@pytest.fixture(scope="module", autouse=True)
def _quick_collection() -> Iterator[None]:
    """Let the garbage collector look at nothing that is older than the tests of a module."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
