"""A peer that is gone without a word: it sends nothing, and nothing comes back from it."""

import re
import time
from collections.abc import Iterator

import pytest

from hostile.namespace import SERVER, Network, NotPermittedError
from servers.process import Process

pytest.importorskip("hypercorn")
pytest.importorskip("uvicorn")

pytestmark = [pytest.mark.server, pytest.mark.hostile]

PING = 0.5
TCP_USER_TIMEOUT = 2.0

# The kernel looks when it retransmits, and the server when it is its turn.
SLACK = 1.0

# The network is the test's own, and so are all of its ports.
PORT = "8000"

STRICT = ("-X", "dev", "-W", "error")

APP = "hostile.pinging:app"

COMMANDS = {
    "hypercorn-trio": ("-m", "hypercorn", "-k", "trio", "--bind", f"{SERVER}:{PORT}", APP),
    "uvicorn": ("-m", "uvicorn", "--host", SERVER, "--port", PORT, APP),
}

A_PING = ": ping"


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        with Network() as network:
            yield network
    except NotPermittedError as error:
        pytest.skip(f"needs network namespaces: {error}")


@pytest.fixture(params=COMMANDS)
def server(request: pytest.FixtureRequest, network: Network) -> Iterator[Process]:
    with network.run("server", *STRICT, *COMMANDS[request.param]) as server:
        server.wait_for("unning on")
        yield server
        assert server.complaints() == []


def visit(network: Network, name: str, tcp_user_timeout: float) -> Process:
    path = f"/stream/{name}?ping={PING}&tcp_user_timeout={tcp_user_timeout}"
    return network.run("client", "-m", "hostile.visitor", SERVER, PORT, path)


def moment(server: Process, what: str) -> float:
    """Wait until the server says something, and return when it was said."""
    return float(server.wait_for(rf"{what} at (\S+)\n")[1])


def test_a_peer_whose_packets_are_lost_is_noticed_in_time(
    network: Network, server: Process
) -> None:
    with visit(network, "watched", TCP_USER_TIMEOUT) as watched:
        watched.wait_for(A_PING)
        assert len(network.connections("server")) == 1
        lost = time.monotonic()
        network.forward(False)
        noticed = moment(server, "watched client_disconnected")
        assert network.connections("server") == []
        assert moment(server, "watched cleaned up") <= noticed
        # Sooner would be something else that told: nothing does before the time is up.
        assert TCP_USER_TIMEOUT <= noticed - lost <= PING + TCP_USER_TIMEOUT + SLACK


@pytest.mark.parametrize("server", ["hypercorn-trio"], indirect=True)
def test_a_peer_that_is_not_watched_is_not_noticed_and_goes_on_when_it_is_back(
    network: Network, server: Process
) -> None:
    with (
        visit(network, "watched", TCP_USER_TIMEOUT) as watched,
        visit(network, "unwatched", 0) as unwatched,
    ):
        watched.wait_for(A_PING)
        unwatched.wait_for(A_PING)
        network.forward(False)
        moment(server, "watched client_disconnected")
        assert len(network.connections("server")) == 1
        before = unwatched.stdout
        network.forward(True)
        unwatched.wait_for(f"{re.escape(before)}.*{A_PING}")
        assert "unwatched" not in server.stdout
