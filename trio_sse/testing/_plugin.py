"""What pytest finds by the entry point: fixtures, none of which is used unless asked for."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio.testing

from ._leaks import check_leaks
from ._virtual_time import VirtualTimeLoop

Backend = tuple[str, dict[str, Any]]


@pytest.fixture(params=["trio", "asyncio"])
def virtual_time_backend(request: pytest.FixtureRequest) -> Backend:
    """Trio and asyncio in virtual time, for anyio's pytest plugin.

    Each test runs on both if its module, or ``conftest.py``, says::

        @pytest.fixture
        def anyio_backend(virtual_time_backend):
            return virtual_time_backend
    """
    if request.param == "trio":
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return "asyncio", {"loop_factory": VirtualTimeLoop}


@pytest.fixture
def leak_check() -> Callable[[], AbstractAsyncContextManager[None]]:
    """`check_leaks`: ``async with leak_check(): ...``."""
    return check_leaks
