"""Every test marked ``anyio`` runs on trio and on asyncio, in virtual time on both."""

from typing import Any

import pytest
import trio.testing

from virtual_time import VirtualTimeLoop


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param == "trio":
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return "asyncio", {"loop_factory": VirtualTimeLoop}
