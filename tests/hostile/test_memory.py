"""Waves of clients that never read: what they had cost is given back."""

import json
from contextlib import ExitStack
from typing import Any

import pytest

from servers.wire import Http1

from .clients import NeverReads
from .drops import FILLING, limit
from .kernel import has_connection
from .kinds import HYPERCORN_TRIO, Certificate, Server, until

pytestmark = [pytest.mark.server, pytest.mark.hostile]

WAVES = 5
CLIENTS = 150
TIMEOUT = 1.0

# How much more memory may be resident after the last wave than after the first.
GROWTH = 1.1


def test_waves_of_frozen_clients_leave_nothing_behind(certificate: Certificate) -> None:
    """Everything is asked on one connection: the server keeps closed ones for some seconds."""
    with HYPERCORN_TRIO.running(certificate) as server, Http1(server.plain) as observer:
        ask(observer, "/census")  # what is made once, and kept, is made now
        before = ask(observer, "/census")
        after = [break_on(server, observer, wave) for wave in range(WAVES)]
    assert after[-1]["resident"] <= GROWTH * after[0]["resident"]
    assert after[-1]["descriptors"] <= before["descriptors"]
    assert after[-1]["tasks"] <= before["tasks"]


def break_on(server: Server, observer: Http1, wave: int) -> dict[str, int]:
    """Let a wave of clients break on the server; return what it has of everything after it."""
    with ExitStack() as stack:
        names = [f"{wave}-{n}" for n in range(CLIENTS)]
        peers = [
            stack.enter_context(
                NeverReads(server.plain, f"/flood?name={name}&send_timeout={TIMEOUT}")
            )
            for name in names
        ]
        assert until(lambda: not ask(observer, "/log"), FILLING + limit(TIMEOUT))
        assert all(server.wait_over(name)["reason"] == "send_timeout" for name in names)
        assert not any(has_connection(*peer.ports) for peer in peers)
    census: dict[str, int] = ask(observer, "/census")
    return census


def ask(client: Http1, path: str) -> Any:
    client.request(path)
    return json.loads(client.read_rest())
