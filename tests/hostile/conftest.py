"""What all tests with hostile clients share, and the table of what they measured."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .kinds import Certificate, make_certificate
from .results import Results


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    results = Results()
    yield results
    if path := os.environ.get("SERVER_RESULTS"):
        with Path(path).open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(results.rows())
