"""What is measured with a server and a client: each scenario, and the cases that it compares."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial

from ._client import Result, RunError, run_client
from ._server import Server

US, MS = 1e6, 1e3
ENDLESS = 10**9

# Deliveries a second of the paced fan-out: the slowest of all can do some 3,000.
PACED_DELIVERIES = 2000


@dataclass(frozen=True)
class Case:
    """One side of a comparison."""

    library: str
    variant: str = ""


@dataclass(frozen=True)
class Size:
    """How much of everything: enough to measure, or just enough to see that it works."""

    seconds: float
    warm_up: float
    events: int
    subscribers: tuple[int, ...]
    idle: tuple[int, ...]
    churned: int
    firsts: int
    ended: int
    ping: float
    exit_timeout: float


FULL = Size(1, 0.3, 0, (100, 1000), (1000, 5000), 20_000, 2000, 1000, 2, 12)
QUICK = Size(0, 0, 50, (20,), (20,), 100, 20, 20, 0.1, 1)

Open = Callable[[], AbstractContextManager[Server]]


@dataclass(frozen=True)
class Scenario:
    """A comparison.

    Args:
        name: What it is chosen by.
        title: What the table is called.
        cases: Who takes part.
        figures: What is shown of a result, and its unit; the first is the one to compare.
        run: What measures one case once.
    """

    name: str
    title: str
    cases: tuple[Case, ...]
    figures: dict[str, str]
    run: Callable[[Open, Case], Result]


def each(*libraries: str) -> tuple[Case, ...]:
    """Return one case of each library."""
    return tuple(Case(library) for library in libraries)


LIBRARIES = each("trio_sse", "sse_starlette", "fastapi", "starlette", "raw")
IDLERS = (*LIBRARIES, Case("trio_sse", "hub"), Case("trio_sse", "bare"))
STREAMS = (
    Case("trio_sse", "generator"),
    Case("trio_sse", "send_nowait"),
    Case("trio_sse", "send"),
    Case("sse_starlette", "generator"),
    Case("sse_starlette", "channel"),
    Case("fastapi", "generator"),
    Case("starlette", "generator"),
    Case("raw", "single"),
)
AUDIENCES = (
    Case("trio_sse", "hub"),
    Case("sse_starlette", "broadcast"),
    Case("sse_starlette", "queue"),
    Case("fastapi", "queue"),
    Case("starlette", "queue"),
    Case("raw", "queue"),
    Case("raw", "joined"),
)


def run_stream(size: Size, pace: str, open_server: Open, case: Case) -> Result:
    """Read one stream."""
    path = f"/{pace}/{case.variant}?n={size.events or ENDLESS}"
    with open_server() as server:
        extent = {"n": size.events, "e": True} if size.events else {"t": size.seconds}
        with run_client(server.port, path, P=server.pid, w=size.warm_up, **extent) as client:
            return per_event(client.wait())


def run_fan_out(size: Size, subscribers: int, paced: bool, open_server: Open, case: Case) -> Result:
    """Publish to many."""
    rate = PACED_DELIVERIES / subscribers if paced else 0
    seconds = size.seconds * (4 if paced else 2)
    extent = {"n": size.events} if size.events else {"t": seconds}
    with open_server() as server:
        path, options = f"/fanout/{case.variant}", {"P": server.pid, "w": size.warm_up, **extent}
        server.wait_until(lambda counts: not counts["subscribers"])
        with run_client(server.port, path, k=subscribers, **options) as client:
            client.wait_until_ready()
            server.wait_until(lambda counts: counts["subscribers"] == subscribers)
            server.get(f"/publish?rate={rate}&count={size.events or ENDLESS}")
            return per_event(client.wait())


def per_event(counted: Result) -> Result:
    """Return the figures of a window."""
    return {
        "cpu_us": counted["cpu_seconds"] / counted["events"] * US,
        "rate": counted["events"] / counted["seconds"],
        "load": counted["cpu_seconds"] / counted["seconds"],
        "p50_ms": counted["p50_ms"],
        "p99_ms": counted["p99_ms"],
    }


def idle_path(case: Case, ping: float) -> str:
    """Return the path of a stream that has next to nothing to say."""
    return f"/{'-'.join(filter(None, ('idle', case.variant)))}?ping={ping}"


def run_idle(size: Size, connections: int, open_server: Open, case: Case) -> Result:
    """Hold connections on which there is nothing but pings."""
    ping = size.ping
    path = idle_path(case, ping)
    with open_server() as server:
        make_and_drop(server, path, size.ended // 10)
        tasks = server.settled()["tasks"]
        before = server.memory()
        with run_client(server.port, path, m="hold", k=connections) as client:
            client.wait_until_ready()
            time.sleep(1.5 * ping)  # the memory is that after the first pings
            memory, started, cpu = server.memory(), time.monotonic(), server.cpu()
            time.sleep(2 * ping)
            cpu, seconds = server.cpu() - cpu, time.monotonic() - started
            tasks = server.settled()["tasks"] - tasks
            counted = client.stop()
        if counted["comments"] < 2 * connections:
            raise RunError(f"{counted['comments']} pings on {connections} connections")
        return {
            "rss_kib": (memory["rss"] - before["rss"]) / connections,
            "pss_kib": (memory["pss"] - before["pss"]) / connections,
            "cpu_us": cpu / connections / (seconds / ping) * US,
            "tasks": tasks / connections,
        }


def make_and_drop(server: Server, path: str, count: int) -> Result:
    """Make connections and drop each at its first event; wait until nothing is left."""
    with run_client(server.port, path, m="churn") as client:
        client.wait()  # some start a task at the first stream, to keep it
    tasks = server.settled()["tasks"]
    with run_client(server.port, path, m="churn", k=count, P=server.pid) as client:
        counted = client.wait()
    server.wait_until(lambda counts: counts["tasks"] <= tasks)
    return counted


def run_churn(size: Size, open_server: Open, case: Case) -> Result:
    """Make and drop many connections, and look for what they leave behind."""
    path = idle_path(case, 15)
    with open_server() as server:
        make_and_drop(server, path, size.churned // 20)
        before, memory = server.settled("?collect"), server.memory()
        counted = make_and_drop(server, path, size.churned)
        with suppress(RunError):  # what is left then is a figure to be shown
            server.wait_until(lambda counts: counts["tasks"] <= before["tasks"])
        after = server.settled("?collect")
        left = {key: after[key] - before[key] for key in ("objects", "tasks", "descriptors")}
        return {
            "cpu_us": counted["cpu_seconds"] / size.churned * US,
            "rate": size.churned / counted["seconds"],
            **left,
            "rss_kib": server.memory()["rss"] - memory["rss"],
        }


def run_first(size: Size, open_server: Open, case: Case) -> Result:
    """Make one connection after the other, each until its first event."""
    path = idle_path(case, 15)
    with open_server() as server:
        make_and_drop(server, path, size.firsts // 10)
        with run_client(server.port, path, m="churn", k=size.firsts, c=1, P=server.pid) as client:
            counted = client.wait()
        return {
            "p50_ms": counted["p50_ms"],
            "p99_ms": counted["p99_ms"],
            "cpu_us": counted["cpu_seconds"] / size.firsts * US,
        }


def run_sigterm(size: Size, open_server: Open, case: Case) -> Result:
    """Terminate a server with open streams."""
    with (
        open_server() as server,
        run_client(server.port, idle_path(case, 15), m="hold", k=size.ended) as client,
    ):
        client.wait_until_ready()
        time.sleep(0.2)
        sent = time.monotonic()
        server.terminate()
        exited = server.wait_for_exit(size.exit_timeout)
        seconds = time.monotonic() - sent
        counted = client.stop()
        ended = counted["last_end"] / 1e9 - sent if counted["last_end"] else None
        return {
            "exit_s": seconds if exited else None,
            "ended_s": ended if exited else None,
            "complete": counted["complete"],
            "incomplete": counted["incomplete"],
        }


PER_EVENT = {"cpu_us": "µs CPU an event", "rate": "events/s"}
PER_DELIVERY = {
    "cpu_us": "µs CPU a delivery",
    "rate": "deliveries/s",
    "load": "load",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
}
IDLE = {
    "rss_kib": "KiB RSS a connection",
    "pss_kib": "KiB PSS",
    "cpu_us": "µs CPU a ping",
    "tasks": "tasks",
}
CHURN = {
    "cpu_us": "µs CPU a connection",
    "rate": "connections/s",
    "objects": "objects left",
    "tasks": "tasks left",
    "descriptors": "descriptors left",
    "rss_kib": "KiB RSS more, in all",
}
FIRST = {"p50_ms": "p50 ms", "p99_ms": "p99 ms", "cpu_us": "µs CPU a connection"}
SIGTERM = {
    "exit_s": "s to the exit",
    "ended_s": "s to the last end",
    "complete": "complete",
    "incomplete": "broken",
}


def scenarios(size: Size) -> Iterator[Scenario]:
    """Yield all scenarios."""
    joined = Case("raw", "joined")
    yield Scenario(
        "burst",
        "One stream, as fast as it goes",
        (*STREAMS, joined),
        PER_EVENT,
        partial(run_stream, size, "burst"),
    )
    yield Scenario(
        "paced",
        "One stream, one checkpoint between events",
        STREAMS,
        PER_EVENT,
        partial(run_stream, size, "paced"),
    )
    for name, count in zip(FULL.subscribers, size.subscribers, strict=False):
        for pace in ("saturated", "paced"):
            yield Scenario(
                f"fanout-{name}-{pace}",
                f"{count:,} subscribers, {pace}",
                AUDIENCES,
                PER_DELIVERY,
                partial(run_fan_out, size, count, pace == "paced"),
            )
    for name, count in zip(FULL.idle, size.idle, strict=False):
        yield Scenario(
            f"idle-{name}",
            f"{count:,} idle connections",
            IDLERS,
            IDLE,
            partial(run_idle, size, count),
        )
    yield Scenario(
        "churn",
        f"{size.churned:,} connections made and dropped",
        IDLERS,
        CHURN,
        partial(run_churn, size),
    )
    yield Scenario(
        "first", "From connecting to the first event", IDLERS, FIRST, partial(run_first, size)
    )
    yield Scenario(
        "sigterm",
        f"SIGTERM with {size.ended:,} streams",
        LIBRARIES,
        SIGTERM,
        partial(run_sigterm, size),
    )
