"""Readers that are cut at any moment, and come back with the last id that they have seen.

What is dispatched to a reader is noted as it comes. Whether that is what it should have
seen is asked in the end, when the ids of all events are known.

What is random comes from a seed, which is printed. Three environment variables:

* ``RECONNECT_SEED``: the seed; a new one each time by default.
* ``RECONNECT_CLIENTS``: how many clients come back again and again; 40 by default.
* ``RECONNECT_EVENTS``: how many events they are to see; 2000 by default.
"""

import os
import secrets
import socket
import struct
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode

import trio

from trio_sse import EventStreamDecoder, MessageEvent

from .hub_server import ask, next_event, publish, subscribe
from .wire import EVENT_END, READ_SIZE, Address, Http1, TruncatedError

SEED = os.environ.get("RECONNECT_SEED") or secrets.token_hex(4)
CLIENTS = int(os.environ.get("RECONNECT_CLIENTS", "40"))
EVENTS = int(os.environ.get("RECONNECT_EVENTS", "2000"))

# A client stays for so many seconds, and away for so many events, at most: the more clients
# there are, the longer, so that not all that the server does is to greet them.
PATIENCE = CLIENTS / 40
AWAY = CLIENTS // 2

# Seconds that all of them may take to see everything; waited out only by a test that fails.
LIMIT = 60 + EVENTS / 50

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

# What happens to a reader, or a publisher, whose server is killed.
KILLED = (OSError, EOFError, TruncatedError, trio.BrokenResourceError)

Plan = Sequence[tuple[str, str]]
Position = tuple[int, ...]


def make_plan(random: Random, count: int) -> Plan:
    """Choose what to publish: topics, and texts of all sizes that begin with their number."""
    lengths = random.choices([*LENGTHS], [*LENGTHS.values()], k=count)
    return [
        (random.choice(TOPICS), "\n".join([str(number), *["x" * 100] * length]))
        for number, length in enumerate(lengths)
    ]


def number_of(data: str) -> int:
    """Return the number that a text of a plan begins with."""
    return int(data.partition("\n")[0])


def position_of(event_id: str) -> Position:
    """Return what orders ids: what is in them after the epoch, of one part or of several."""
    return tuple(map(int, event_id.split("-")[1:]))


class Publisher:
    """Has a plan published, in bursts, by as many at once as there are servers.

    Args:
        addresses: The servers. Whoever kills one removes it before.
        plan: What to publish.
        random: For how much at once, when, and where.
    """

    def __init__(self, addresses: Sequence[Address], plan: Plan, random: Random) -> None:
        self.plan = plan
        self.ids: dict[int, str] = {}
        """Of the events that are published, by their number in the plan."""
        self.doubtful: set[int] = set()
        """The numbers of those whose server was killed before it had answered."""
        self.asked = 0
        """How many events a server was asked to publish."""
        self._addresses = addresses
        self._random = random
        self._asking: list[Address] = []
        self._progress = trio.Event()

    @property
    def done(self) -> int:
        """How many events are published, or in doubt."""
        return len(self.ids) + len(self.doubtful)

    @property
    def finished(self) -> bool:
        return self.done == len(self.plan)

    def in_order(self) -> list[tuple[Position, int]]:
        """Return positions of events, with their numbers in the plan, in order."""
        return sorted((position_of(event_id), number) for number, event_id in self.ids.items())

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in self._addresses:
                nursery.start_soon(self._publish_bursts)

    async def wait_for(self, count: int) -> None:
        """Wait until so many more events are published, or there are no more."""
        await self.wait_until(self.done + count)

    async def wait_until(self, count: int) -> None:
        """Wait until so many events are published, or there are no more."""
        while self.done < min(count, len(self.plan)):
            await self._progress.wait()

    async def wait_until_asking(self, address: Address) -> None:
        """Wait until a server is being asked to publish something."""
        while address not in self._asking:
            await self._progress.wait()

    async def _publish_bursts(self) -> None:
        while self.asked < len(self.plan):
            numbers = range(len(self.plan))[self.asked :][: self._random.randint(1, BURST)]
            self.asked = numbers.stop
            await self._publish(numbers)
            await trio.sleep(self._random.uniform(0, PAUSE))

    async def _publish(self, numbers: range) -> None:
        address = self._random.choice(self._addresses)
        burst = [self.plan[number] for number in numbers]
        self._asking.append(address)
        self._note_progress()
        try:
            ids = await trio.to_thread.run_sync(publish, address, *burst)
        except KILLED:
            if address in self._addresses:
                raise
            self.doubtful.update(numbers)
        else:
            self.ids.update(zip(numbers, ids, strict=True))
        self._asking.remove(address)
        self._note_progress()

    def _note_progress(self) -> None:
        self._progress.set()
        self._progress = trio.Event()


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
        if not data:
            raise EOFError("the server has ended the stream")
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


class Seen(NamedTuple):
    """An event that was dispatched to a reader."""

    number: int
    id: str


class Gap(NamedTuple):
    """A gap that a reader was told of."""

    reason: str
    id: str
    """From where it goes on."""
    shown: str
    """The last id that it had."""
    asked: int
    """How many events had been asked to be published."""


class Reader:
    """A client of some topics.

    Args:
        addresses: The servers. Whoever kills one removes it before.
        publisher: Publishes what it must see.
        random: For its topics, for when and how it is cut, and where it comes back.
        last_event_id: Where it begins.
        away: How many events are published while it is away, at most.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        publisher: Publisher,
        random: Random,
        last_event_id: str,
        away: int,
    ) -> None:
        self.topics = random.sample(TOPICS, random.randint(1, len(TOPICS) // 2))
        self.counts: Counter[str] = Counter()
        """Its connections, and how they were cut."""
        self.seen: list[Seen | Gap] = []
        """What was dispatched to it."""
        self._addresses = addresses
        self._publisher = publisher
        self._random = random
        self._last_event_id = last_event_id
        self._away = away

    @property
    def over(self) -> bool:
        """Whether there is nothing more for it to see."""
        if not self._publisher.finished:
            return False
        return position_of(self._last_event_id) >= max(
            position_of(event_id)
            for number, event_id in self._publisher.ids.items()
            if self.wants(number)
        )

    @property
    def gaps(self) -> list[Gap]:
        """Those that it was told of."""
        return [seen for seen in self.seen if isinstance(seen, Gap)]

    def wants(self, number: int) -> bool:
        """Whether an event of the plan has one of its topics."""
        return self._publisher.plan[number][0] in self.topics

    async def run(self) -> None:
        while not self.over:
            address = self._random.choice(self._addresses)
            try:
                await self._visit(address)
            except KILLED:
                if address in self._addresses:
                    raise
                self.counts["by the end of the server"] += 1
            await self._publisher.wait_for(self._random.randint(0, self._away))

    def check(self, log: int, *, by_topic: bool = True) -> None:
        """See that it was shown each event once, in order, or told of the gap instead.

        Args:
            log: How many events are kept; no other is in a gap.
            by_topic: Whether that is known for each topic. If not, who has missed an event
                that is not kept may be told of a gap, whatever its topic is.
        """
        published = self._publisher.in_order()
        positions = [position for position, _ in published]
        # Of what is doubtful, something may be in the end that it did not wait for.
        end = bisect_right(positions, position_of(self._last_event_id))
        missing = deque(n for n in range(end) if self.wants(published[n][1]))
        for seen in self.seen:
            if isinstance(seen, Seen):
                number = published[missing.popleft()][1]
                assert seen == (number, self._publisher.ids[number])
                continue
            after = bisect_right(positions, position_of(seen.id))
            assert missing and missing[0] < after, "there is no gap"  # noqa: PT018
            if by_topic:
                assert missing[0] < after - log, "what is missing is kept"
            else:
                shown = bisect_right(positions, position_of(seen.shown))
                assert shown < seen.asked - log, "all that it had not seen is kept"
            while missing and missing[0] < after:
                missing.popleft()
        assert not missing

    async def _visit(self, address: Address) -> None:
        response = self._ask()
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(response.request)
            with trio.move_on_after(self._random.uniform(0, PATIENCE)):
                await self._read(stream, response)
            await self._cut(stream, response)

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
            bytes_left -= await self._receive(stream, response, min(bytes_left, READ_SIZE))

    async def _receive(self, stream: trio.SocketStream, response: Response, size: float) -> int:
        data = await stream.receive_some(int(size))
        shown = self._last_event_id
        for event in response.receive_data(data):
            self._note(event, shown)
        return len(data)

    def _note(self, event: MessageEvent, shown: str) -> None:
        if event.type == "ready":
            assert (event.last_event_id, event.json()) == (shown, {"resumed": True})
        elif event.type == "reset":
            reason = event.json()["reason"]
            asked = self._publisher.asked
            self.seen.append(Gap(reason, event.last_event_id, self._last_event_id, asked))
        else:
            number = number_of(event.data)
            assert event.data == self._publisher.plan[number][1]
            self.seen.append(Seen(number, event.last_event_id))
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


class SteadyReader(Reader):
    """A client that connects once, and stays until it has seen everything."""

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stay, nursery.cancel_scope)
            await self._publisher.wait_until(len(self._publisher.plan))
            self._leave_if_over(nursery.cancel_scope)

    async def _stay(self, scope: trio.CancelScope) -> None:
        response = self._ask()
        async with await trio.open_tcp_stream(*self._addresses[0]) as stream:
            await stream.send_all(response.request)
            while True:
                await self._receive(stream, response, READ_SIZE)
                self._leave_if_over(scope)

    def _leave_if_over(self, scope: trio.CancelScope) -> None:
        if self.over:
            scope.cancel()


class Crowd:
    """A publisher and many readers, who see all that is published while anything happens.

    Args:
        addresses: The servers. Whoever kills one removes it before.
        away: How many events are published while a reader is away, at most.
        clients: How many readers come back again and again.
        steady: How many there are, for each server, that are never cut.
    """

    def __init__(
        self,
        addresses: list[Address],
        away: int = AWAY,
        *,
        clients: int = CLIENTS,
        steady: int = 0,
    ) -> None:
        print(f"RECONNECT_SEED={SEED}")
        self.random = random = Random(SEED)
        self.addresses = addresses
        self.publisher = Publisher(addresses, make_plan(random, EVENTS), random)
        beginning = find_end(addresses[0])

        def make_reader(kind: type[Reader], addresses: list[Address]) -> Reader:
            return kind(addresses, self.publisher, Random(random.random()), beginning, away)

        self.readers = [make_reader(Reader, addresses) for _ in range(clients)]
        self.steady = [
            make_reader(SteadyReader, [address]) for address in addresses for _ in range(steady)
        ]

    @property
    def everyone(self) -> list[Reader]:
        return [*self.readers, *self.steady]

    @property
    def counts(self) -> Counter[str]:
        """How often what was done to those who are cut."""
        return sum((reader.counts for reader in self.readers), Counter())

    @property
    def gaps(self) -> Counter[str]:
        """The reasons for those that were told of."""
        return Counter(gap.reason for reader in self.everyone for gap in reader.gaps)

    def run(self, *happenings: Callable[[], Awaitable[object]]) -> None:
        """Publish everything, and let readers come back until they have seen it.

        Args:
            happenings: What else is to happen meanwhile.
        """
        started = time.monotonic()

        async def run() -> None:
            with trio.fail_after(LIMIT):
                async with trio.open_nursery() as nursery:
                    for each in (self.publisher, *self.everyone):
                        nursery.start_soon(each.run)
                    for happening in happenings:
                        nursery.start_soon(happening)

        trio.run(run)
        took = time.monotonic() - started
        print(f"{took:.1f} s, {dict(self.counts)}, gaps: {dict(self.gaps)}")
        for address in self.addresses:
            used = ask(address, "/statistics")
            print(f"server: {used['cpu']:.1f} s of CPU, {used['peak'] / 2**20:.0f} MiB at most")

    def check(self, log: int, *, by_topic: bool = True) -> None:
        """See that each reader was shown what it should be: see `Reader.check`."""
        for reader in self.everyone:
            reader.check(log, by_topic=by_topic)


def find_end(address: Address) -> str:
    """Return the id of what is the last now."""
    with Http1(address) as client:
        subscribe(client, "nothing is published here")
        return next_event(client).last_event_id
