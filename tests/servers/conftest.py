"""What tests with a browser share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import NAMES, Browser, browsing, find_browser


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        give_up = pytest.fail if "CI" in os.environ else pytest.skip
        give_up(f"none of {', '.join(NAMES)} is there")
    with browsing(path, tmp_path) as browser:
        yield browser
