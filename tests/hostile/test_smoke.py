"""The short set, for every interpreter: a client that stops reading, and a healthy one."""

import pytest

from servers.wire import Http1

from .drops import HTTP1, HTTP1_BEHIND, Scenario, limit
from .kinds import HYPERCORN_TRIO, UVICORN, Certificate, Kind
from .test_leaving import is_farewell

pytestmark = pytest.mark.server

TIMEOUT = 1.0

each_server = pytest.mark.parametrize("kind", [HYPERCORN_TRIO, UVICORN], ids=lambda kind: kind.name)


@each_server
@pytest.mark.parametrize("scenario", [HTTP1, HTTP1_BEHIND], ids=lambda scenario: scenario.name)
def test_a_client_that_stops_reading_is_dropped_after_its_send_timeout(
    kind: Kind, scenario: Scenario, certificate: Certificate
) -> None:
    with kind.running(certificate) as server:
        drop = scenario.run(server, TIMEOUT)
    assert drop.reason == "send_timeout"
    assert drop.over <= limit(TIMEOUT)
    assert drop.gone is not None
    assert drop.gone <= limit(TIMEOUT)


@each_server
def test_sigterm_ends_a_healthy_stream_whole(kind: Kind, certificate: Certificate) -> None:
    with kind.running(certificate) as server, Http1(server.plain) as client:
        client.request("/quiet?name=healthy")
        client.read_event()
        server.process.send_signal(kind.stop)
        assert is_farewell(client.read_rest())
        assert server.process.wait() == kind.exit_code
        assert server.process.complaints() == []
