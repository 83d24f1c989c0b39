"""A client that freezes: what it is given, and how it ends."""

import socket

import pytest
import trio

from trio_sse.demo._frozen import PATIENCE, FrozenClient
from trio_sse.testing import StreamClient, open_stream

from .kit import ask, real_time, receive, served, shown, virtual_time

pytestmark = pytest.mark.anyio

# Nothing here takes a second. What goes wrong ends after that at the earliest.
ENOUGH = 30


@real_time
async def test_a_client_that_freezes_is_dropped_after_its_send_timeout_and_others_go_on():
    with trio.fail_after(ENOUGH):
        async with shown() as (show, _), served(show) as address:
            show.frozen = client = FrozenClient(show.hub, show.meter, send_timeout=0.2)
            async with show.hub.subscribe("frozen", "numbers") as subscription:
                show.nursery.start_soon(client.run, *address)
                assert await receive(subscription, "frozen") == {"state": "frozen", "timeout": 0.2}
                first = await receive(subscription, "numbers")
                assert (await receive(subscription, "numbers"))["number"] == first["number"] + 1
                end = await receive(subscription, "frozen")
            assert (end["state"], end["reason"]) == ("gone", "send_timeout")
            assert end["seconds"] >= 0.2
            assert client.gone
            assert show.meter.clients == 0


async def press(app, server):
    """Press the button; return the status, while what it has started goes on."""
    client = StreamClient("/freeze", method="POST", scope={"server": server})
    await client.call(app)
    return client.status


@virtual_time
async def test_the_button_starts_one_client_and_no_second_one_while_that_is_there():
    async with shown() as (show, app), show.hub.subscribe("frozen") as subscription:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            assert await press(app, listener.getsockname()) == 202
            assert await press(app, listener.getsockname()) == 200
            assert (await receive(subscription, "frozen"))["state"] == "frozen"
        assert (await receive(subscription, "frozen"))["state"] == "gone"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            assert await press(app, listener.getsockname()) == 202


@virtual_time
async def test_one_request_is_flooded_for_each_client_and_no_other():
    async with shown() as (show, app):
        show.frozen = FrozenClient(show.hub, show.meter)
        async with open_stream(app, "/flood") as flood:
            assert show.meter.clients == 1
            assert (await flood.receive()).data == "~" * 60_000
            assert (await ask(app, "/flood"))[0] == 404
        assert show.meter.clients == 0


@virtual_time
async def test_nobody_who_reads_is_flooded_for_ever():
    async with shown() as (show, app):
        show.frozen, began = FrozenClient(show.hub, show.meter), trio.current_time()
        async with open_stream(app, "/flood") as flood:
            async for _ in flood:
                await trio.sleep(1)
        assert PATIENCE / 2 < trio.current_time() - began < PATIENCE * 2


@virtual_time
async def test_a_client_that_is_never_served_gives_up():
    async with shown() as (show, _), show.hub.subscribe("frozen") as subscription:
        client, began = FrozenClient(show.hub, show.meter), trio.current_time()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await client.run(*listener.getsockname())
        assert trio.current_time() - began == PATIENCE
        await receive(subscription, "frozen")
        end = {"state": "gone", "reason": None, "seconds": 0}
        assert await receive(subscription, "frozen") == end


@virtual_time
async def test_a_client_that_finds_no_server_is_gone_at_once():
    async with shown() as (show, _), show.hub.subscribe("frozen") as subscription:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
        await FrozenClient(show.hub, show.meter).run(*address)
        assert (await receive(subscription, "frozen"))["state"] == "gone"
