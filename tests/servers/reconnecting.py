"""Readers that are cut at any moment, and come back with the last id that they have seen.

What is dispatched to a reader is noted as it comes. Whether that is what it should have
seen is asked in the end, when the ids of all events are known.
"""

import json
import socket
import struct
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from math import inf
from random import Random
from typing import Any
from urllib.parse import urlencode

import trio

from trio_sse import EventStreamDecoder, MessageEvent

from .wire import EVENT_END, READ_SIZE, Address, Http1

TOPICS = tuple("abcdefgh")

# How many lines of 100 bytes an event has, and how often.
LENGTHS = {0: 50, 1: 30, 10: 15, 80: 5}

# How many events are published in one go, at most, and seconds until the next.
BURST = 20
PAUSE = 0.05

# A reader is cut after so many bytes, at most, if it is not left to catch up.
FAR = 30_000

# How a reader can be cut; each of them happens.
CUTS = ("before the first event", "after the first event", "in mid-event", "by RST", "by FIN")

Plan = Sequence[tuple[str, str]]


def make_plan(random: Random, count: int) -> Plan:
    """Choose what to publish: topics, and texts of all sizes that begin with their number."""
    lengths = random.choices([*LENGTHS], [*LENGTHS.values()], k=count)
    return [
        (random.choice(TOPICS), "\n".join([str(number), *["x" * 100] * length]))
        for number, length in enumerate(lengths)
    ]


def position_of(event_id: str) -> int:
    return int(event_id.rpartition("-")[2])


class Publisher:
    """Has a plan published, in bursts.

    Args:
        address: The server.
        plan: What to publish.
        random: For how much at once, and when.
    """

    def __init__(self, address: Address, plan: Plan, random: Random) -> None:
        self.plan = plan
        self.positions: list[int] = []
        """Of the events that are published, in the order of the plan."""
        self._address = address
        self._random = random
        self._progress = trio.Event()

    async def run(self) -> None:
        while (start := len(self.positions)) < len(self.plan):
            burst = self.plan[start : start + self._random.randint(1, BURST)]
            self.positions += await trio.to_thread.run_sync(self._publish, burst)
            self._progress.set()
            self._progress = trio.Event()
            await trio.sleep(self._random.uniform(0, PAUSE))

    async def wait_for(self, count: int) -> None:
        """Wait until so many more events are published, or there are no more."""
        enough = min(len(self.positions) + count, len(self.plan))
        while len(self.positions) < enough:
            await self._progress.wait()

    def _publish(self, burst: Plan) -> list[int]:
        with Http1(self._address) as client:
            client.request("/publish", "POST", json.dumps(burst).encode())
            return [position_of(event_id) for event_id in json.loads(client.read_rest())]


class Response:
    """One request, and the events in the bytes that have come of its response."""

    def __init__(self, target: str, headers: Iterable[tuple[str, str]]) -> None:
        from h11 import CLIENT, Connection, Request

        self._http = Connection(CLIENT)
        self.request = self._http.send(
            Request(method="GET", target=target, headers=[("Host", "test"), *headers])
        )
        self._decoder = EventStreamDecoder()
        self._tail = EVENT_END
        self.count = 0
        """How many events there were."""

    @property
    def in_mid_event(self) -> bool:
        return self._tail != EVENT_END

    def receive_data(self, data: bytes) -> list[MessageEvent]:
        assert data, "the server has ended the stream"
        self._http.receive_data(data)
        events = self._decoder.receive_data(self._body())
        self.count += len(events)
        return events

    def _body(self) -> bytes:
        from h11 import NEED_DATA, Data

        parts: list[Any] = list(iter(self._http.next_event, NEED_DATA))
        body = b"".join(bytes(part.data) for part in parts if isinstance(part, Data))
        self._tail = (self._tail + body)[-len(EVENT_END) :]
        return body


class Reader:
    """A client of some topics.

    Args:
        address: The server.
        publisher: Publishes what it must see.
        random: For its topics, and for when and how it is cut.
        last_event_id: Where it begins.
        away: How many events are published while it is away, at most.
        patience: For how many seconds it stays connected, at most.
    """

    def __init__(
        self,
        address: Address,
        publisher: Publisher,
        random: Random,
        last_event_id: str,
        away: int,
        patience: float,
    ) -> None:
        self.topics = random.sample(TOPICS, random.randint(1, len(TOPICS) // 2))
        self.counts: Counter[str] = Counter()
        """Its connections, and how they were cut."""
        self.gaps: Counter[str] = Counter()
        """The reasons for those that it was told of."""
        self._seen: list[tuple[str, int]] = []
        self._address = address
        self._publisher = publisher
        self._random = random
        self._last_event_id = last_event_id
        self._away = away
        self._patience = patience
        self._wanted = [n for n, (topic, _) in enumerate(publisher.plan) if topic in self.topics]

    @property
    def over(self) -> bool:
        """Whether there is nothing more for it to see."""
        positions, last = self._publisher.positions, self._wanted[-1]
        return last < len(positions) and positions[last] <= position_of(self._last_event_id)

    async def run(self) -> None:
        while not self.over:
            response = self._ask()
            async with await trio.open_tcp_stream(*self._address) as stream:
                await stream.send_all(response.request)
                with trio.move_on_after(self._random.uniform(0, self._patience)):
                    await self._read(stream, response)
                await self._cut(stream, response)
            await self._publisher.wait_for(self._random.randint(0, self._away))

    def check(self, log: int) -> None:
        """See that it was shown each event once, in order, or told of the gap instead.

        Args:
            log: How many events the hub keeps; no other is in a gap.
        """
        positions, missing = self._publisher.positions, deque(self._wanted)
        for kind, value in self._seen:
            if kind == "event":
                assert value == missing.popleft()
                continue
            published = bisect_right(positions, value)
            assert missing and missing[0] < published - log, "there is no gap"  # noqa: PT018
            while missing and missing[0] < published:
                missing.popleft()
        assert not missing

    def _ask(self) -> Response:
        """Show the last id in the header, as a browser does, or in the query, as a page does."""
        self.counts["connections"] += 1
        query = [("topic", topic) for topic in self.topics]
        shown = ("last_event_id", self._last_event_id)
        if self._random.random() < 0.3:
            return Response(f"/events?{urlencode([*query, shown])}", ())
        return Response(f"/events?{urlencode(query)}", [("Last-Event-ID", self._last_event_id)])

    async def _read(self, stream: trio.SocketStream, response: Response) -> None:
        some = self._random.randint(1, FAR)
        bytes_left = self._random.choice((0, some, some, inf))  # with inf it catches up
        enough = self._random.choice((1, inf, inf, inf))
        while bytes_left and response.count < enough:
            data = await stream.receive_some(min(bytes_left, READ_SIZE))
            bytes_left -= len(data)
            shown = self._last_event_id
            for event in response.receive_data(data):
                self._note(event, shown)

    def _note(self, event: MessageEvent, shown: str) -> None:
        if event.type == "ready":
            assert (event.last_event_id, event.json()) == (shown, {"resumed": True})
        elif event.type == "reset":
            self._seen.append(("gap", position_of(event.last_event_id)))
            self.gaps[event.json()["reason"]] += 1
        else:
            number = int(event.data.partition("\n")[0])
            assert event.data == self._publisher.plan[number][1]
            self._seen.append(("event", number))
        self._last_event_id = event.last_event_id

    async def _cut(self, stream: trio.SocketStream, response: Response) -> None:
        if self._random.random() < 0.5:
            linger = struct.pack("ii", 1, 0)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.counts["by RST"] += 1
        else:
            await stream.send_eof()
            self.counts["by FIN"] += 1
        self.counts["in mid-event"] += response.in_mid_event
        self.counts["before the first event"] += response.count == 0
        self.counts["after the first event"] += response.count == 1
