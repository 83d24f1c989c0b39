"""The examples of both ends in one program, of a protocol on top, and of threads."""

import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from trio_sse import MessageEvent

from .process import ROOT, Process
from .test_examples import STRICT, EventSource, serving, status
from .wire import Address

pytest.importorskip("hypercorn")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

pytestmark = [pytest.mark.server, pytest.mark.once]

HYPERCORN = r"\bRunning on http://127\.0\.0\.1:(\d+)"
UVICORN = r"Uvicorn running on http://127\.0\.0\.1:(\d+)"

# What examples/custom_protocol.py waits for an acknowledgement.
PATIENCE = 2.0


def run(example: str, *arguments: str) -> str:
    """Run a program to its end, and return what it prints."""
    with Process(*STRICT, f"examples/{example}.py", *arguments) as process:
        assert process.wait() == 0, process.stdout + process.stderr
    assert process.complaints() == []
    return process.stdout


def test_load_simulation_tells_rates_and_that_nothing_is_missing() -> None:
    printed = run("load_simulation", "20", "200")
    assert "clients:   20, with 200 events each\n" in printed
    rates = re.findall(r"(published|received): +(\d+) events/s", printed)
    assert [name for name, _ in rates] == ["published", "received"]
    assert all(int(rate) for _, rate in rates)
    assert "missing:   nothing\n" in printed


def test_network_interruption_cuts_again_and_again_and_nothing_is_missing() -> None:
    printed = run("network_interruption")
    # All the numbers with their ids are more than five connections can bring.
    assert int(re.search(r"connections: (\d+)\n", printed)[1]) > 5
    assert "missing: nothing\n" in printed


# Where the programs publish, and the same with another number in the place of some.
LOSES_SOME = {
    "load_simulation": ('("numbers", number)', '("numbers", number.replace("8", "7"))'),
    "network_interruption": ("str(number)", 'str(number).replace("8", "7")'),
}


@pytest.mark.parametrize("example", LOSES_SOME)
def test_what_is_missing_is_seen_and_is_the_exit_status(tmp_path: Path, example: str) -> None:
    whole, broken = LOSES_SOME[example]
    code = (ROOT / "examples" / f"{example}.py").read_text()
    assert code.count(whole) == 1
    (tmp_path / "broken.py").write_text(code.replace(whole, broken))
    arguments = ["3", "10"] if example == "load_simulation" else []
    with Process(*STRICT, str(tmp_path / "broken.py"), *arguments) as process:
        assert process.wait() == 1
    assert "nothing" not in process.stdout
    assert re.search("missing: +something, at 3 clients|not what was published", process.stdout)
    assert process.complaints() == []


@contextmanager
def listening(*addresses: Address) -> Iterator[list[EventSource]]:
    """Listen to the events of servers."""
    with ExitStack() as stack:
        clients = [stack.enter_context(EventSource(address)) for address in addresses]
        for client in clients:
            client.request("/events")
            assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield clients


def order(address: Address, item: str) -> None:
    assert status(address, "/orders", "POST", item.encode()) == 201


def acknowledge(address: Address, event: MessageEvent) -> None:
    assert status(address, f"/received/{event.last_event_id}", "POST") == 204


def seen(event: MessageEvent) -> tuple[str, str, object]:
    return event.last_event_id, event.type, event.json()


TEA = ("1", "Placed", {"order": 1, "item": "tea"})
CAKE = ("2", "Placed", {"order": 2, "item": "cake"})
NO_TEA = ("3", "Withdrawn", {"order": 1})


def test_a_protocol_has_typed_events_with_sequence_numbers() -> None:
    with serving("custom_protocol") as (_, address), listening(address) as [client]:
        order(address, "tea")
        assert seen(client.read_message()) == TEA
        order(address, "cake")
        assert seen(client.read_message()) == CAKE
        assert status(address, "/orders/1", "DELETE") == 201
        assert seen(client.read_message()) == NO_TEA


def test_what_was_not_acknowledged_is_sent_again_and_what_was_is_not() -> None:
    with serving("custom_protocol") as (_, address), listening(address) as [client]:
        order(address, "tea")
        began = time.monotonic()
        tea = client.read_message()
        order(address, "cake")
        assert seen(client.read_message()) == CAKE
        acknowledge(address, tea)
        acknowledge(address, tea)
        for _ in range(2):
            assert seen(client.read_message()) == CAKE
        assert time.monotonic() - began > 2 * PATIENCE


def test_who_comes_back_gets_at_once_what_it_had_not_acknowledged() -> None:
    with serving("custom_protocol") as (_, address):
        with listening(address) as [client]:
            order(address, "tea")
            order(address, "cake")
            tea, cake = client.read_message(), client.read_message()
        began = time.monotonic()
        acknowledge(address, tea)
        assert status(address, "/orders/1", "DELETE") == 201
        with listening(address) as [client]:
            assert client.read_message() == cake
            assert seen(client.read_message()) == NO_TEA
        assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_a_stream_of_the_protocol_properly(number: signal.Signals) -> None:
    with serving("custom_protocol") as (process, address), listening(address) as [client]:
        order(address, "tea")
        client.read_message()
        process.send_signal(number)
        client.read_rest()  # fails if the body is not ended
        assert process.wait() == 0
        assert process.complaints() == []


def read_until(client: EventSource, text: str) -> list[str]:
    texts = [client.read_message().data]
    while texts[-1] != text:
        texts.append(client.read_message().data)
    return texts


def addresses_of(process: Process) -> list[Address]:
    return [process.address(HYPERCORN), process.address(UVICORN)]


def test_threads_and_two_event_loops_publish_to_each_other() -> None:
    with serving("threads") as (process, _):
        addresses = addresses_of(process)
        with listening(*addresses) as clients:
            for client in clients:
                assert client.read_message().type == "ready"
            for address, text in zip(addresses, ("from trio", "from asyncio"), strict=True):
                assert status(address, "/say", "POST", text.encode()) == 204
            for client in clients:
                read_until(client, "from trio")
                read_until(client, "from asyncio")
                assert re.fullmatch(r"\d\d:\d\d:\d\d", client.read_message().data)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_streams_of_both_event_loops_properly(number: signal.Signals) -> None:
    with serving("threads") as (process, _), listening(*addresses_of(process)) as clients:
        for client in clients:
            client.read_message()
        process.send_signal(number)
        assert process.wait() == 0
        for client in clients:
            client.read_rest()  # fails if the body is not ended
        assert process.complaints() == []
