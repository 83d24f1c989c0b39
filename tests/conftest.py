"""Every test marked ``anyio`` runs on trio and on asyncio, in virtual time on both."""

import signal
from typing import Any

import pytest


@pytest.fixture
def anyio_backend(virtual_time_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_time_backend


def pytest_configure() -> None:
    """Let what tests start hear Ctrl-C, which a shell has its background jobs ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests on real servers run one after the other, whatever runs beside them."""
    for item in items:
        if item.get_closest_marker("server"):
            item.add_marker(pytest.mark.xdist_group("servers"))
