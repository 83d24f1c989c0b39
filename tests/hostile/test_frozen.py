"""Clients that stop reading: after their send timeout, nothing may be left of them.

All of them meet one process of each server at the same time.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from .drops import LONGEST_PAUSE, Drop, Neighbour, limit, longest_pause, scenarios
from .kinds import KINDS, Certificate, Kind, once_each
from .results import Results

pytestmark = [pytest.mark.server, pytest.mark.hostile]

TIMEOUT = float(os.environ.get("HOSTILE_SEND_TIMEOUT", "5"))

# The deadline is set just before the producer hears that its event was accepted.
EARLY = 0.1

DROPPED = "frozen client dropped after (x timeout)"
BEHIND = "frozen client dropped behind BaseHTTPMiddleware"

each_client = pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, scenario.name, id=f"{kind.name}-{scenario.name}")
        for kind in KINDS
        for scenario in scenarios(kind)
    ],
)
each_server = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@dataclass(frozen=True)
class Siege:
    """What became of all the hostile clients of a server, and what others noticed of them."""

    drops: dict[str, Future[Drop]]
    arrivals: list[float]
    complaints: list[str]


Besiege = Callable[[Kind], Siege]


@pytest.fixture(scope="module")
def besiege(certificate: Certificate) -> Besiege:
    """Meet a server with all hostile clients at once, when it is first asked for."""

    def besiege(kind: Kind) -> Siege:
        chosen = scenarios(kind)
        with kind.running(certificate) as server:
            with Neighbour(server) as neighbour, ThreadPoolExecutor(len(chosen)) as threads:
                drops = {
                    scenario.name: threads.submit(scenario.run, server, TIMEOUT)
                    for scenario in chosen
                }
            return Siege(drops, neighbour.arrivals, server.process.complaints())

    return once_each(besiege)


@each_client
def test_a_stream_whose_client_stops_reading_is_over_after_its_send_timeout(
    besiege: Besiege, kind: Kind, name: str, results: Results
) -> None:
    drop = besiege(kind).drops[name].result()
    results.took(kind.name, DROPPED, drop.over / TIMEOUT)
    assert drop.reason == "send_timeout"
    assert TIMEOUT - EARLY <= drop.cleaned_up <= drop.over <= limit(TIMEOUT)


@each_client
def test_nothing_is_left_in_the_kernel_of_a_client_that_stops_reading(
    besiege: Besiege, kind: Kind, name: str, results: Results
) -> None:
    """Over HTTP/2, of the stream alone, if the connection still moves."""
    drop = besiege(kind).drops[name].result()
    kept = drop.gone is not None and drop.gone <= limit(TIMEOUT)
    if name.endswith("behind"):
        results.kept(kind.name, BEHIND, "yes" if kept else "no")
    assert kept, f"after {limit(TIMEOUT)} s; gone after: {drop.gone}"


@each_client
def test_other_streams_of_a_connection_that_still_moves_are_not_disturbed(
    besiege: Besiege, kind: Kind, name: str
) -> None:
    assert besiege(kind).drops[name].result().pause < LONGEST_PAUSE


@each_server
def test_other_clients_of_the_server_are_not_disturbed(besiege: Besiege, kind: Kind) -> None:
    arrivals = besiege(kind).arrivals
    assert arrivals[-1] - arrivals[0] > TIMEOUT
    assert longest_pause(arrivals) < LONGEST_PAUSE


@each_server
def test_no_server_complains_of_clients_that_stop_reading(besiege: Besiege, kind: Kind) -> None:
    assert besiege(kind).complaints == []
