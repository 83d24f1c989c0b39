"""Following the stream: every event once and in order, or a word that some are missing."""

import logging
from collections import deque
from collections.abc import Iterable, Sequence

from .._abc import Sink
from .._history import Record
from .._runtime import Event, Runtime
from ._entry import Entry, id_of, records_of
from ._link import OUTAGE, Connection
from ._store import State, Store

logger = logging.getLogger("trio_sse")

# Events that a process that starts has at hand for those who come back: more than any hub that
# is not very busy publishes while a worker restarts. It takes a quarter of a second.
TAIL_EVENTS = 10_000
TAIL_BYTES = 16 * 1024 * 1024


class Reader:
    """Hands over what comes into the stream, from wherever.

    It asks for what comes after the last entry that it has. Each entry names the one before,
    so it sees at once when Redis has lost or dropped what should have come between. While
    nothing comes it looks every few seconds whether Redis still has what it had.

    Args:
        runtime: The runtime of the hub.
        store: Where it reads.
        sink: Where it delivers.
        heartbeat: After how many seconds without an entry to look.
    """

    epoch: str
    """Which numbering is being read."""

    def __init__(self, runtime: Runtime, store: Store, sink: Sink, heartbeat: float) -> None:
        self._runtime = runtime
        self._store = store
        self._sink = sink
        self._heartbeat = heartbeat
        self._position = 0  # of the last event that is delivered, or was lost
        self._after = 0  # where reading goes on; beyond it if something else was in between
        self._begun: Event = runtime.Event()
        self._closed = False
        self.epoch = ""

    async def open(self, connection: Connection) -> None:
        """Begin with what there is.

        Raises:
            NotSentError, NoAnswerError, RefusedError: if Redis does not tell.
        """
        state = await self._store.check(connection, "", 0)
        tail = await self._tail(connection, state)
        start = tail[0].position_before if tail else state.last
        self._begin(state.epoch, start, records_of(tail))
        self._position = self._after = state.last

    async def run(self) -> None:
        """Follow the stream, until cancelled."""
        link = self._store.link
        while True:
            connection = await link.connection()
            try:
                await self._check(connection)
                await self._follow(connection)
            except OUTAGE as error:
                link.give_up(connection, error)

    async def wait_for_another(self, epoch: str) -> None:
        """Wait until an epoch is not being read any more. A checkpoint if it is.

        Raises:
            ClosedResourceError: if the engine is closed.
        """
        while self.epoch == epoch:
            if self._closed:
                raise self._runtime.ClosedResourceError("the engine is closed")
            await self._begun.wait()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True
        self._begun.set()

    async def _tail(self, connection: Connection, state: State) -> list[Entry]:
        tail: deque[Entry] = deque()
        size, before = 0, state.last
        while len(tail) < TAIL_EVENTS and size < TAIL_BYTES and before > state.reach:
            try:
                page = await self._store.before(connection, before)
            except OUTAGE as error:  # what is older is asked for when it is needed
                self._store.link.give_up(connection, error)
                break
            if not page:
                break
            tail.extendleft(entry for entry in page if entry.prev is not None)
            size += sum(entry.size for entry in page)
            before = page[-1].position - 1
        return list(tail)

    async def _follow(self, connection: Connection) -> None:
        while True:
            entries = await self._store.follow(connection, self._after, self._heartbeat)
            place = (self.epoch, self._position)
            if not self._continues(entries):
                await self._check(connection)
            if place == (self.epoch, self._position):
                self._deliver(entries)

    def _continues(self, entries: list[Entry]) -> bool:
        """Tell whether the first of these comes right after what was delivered."""
        expected = id_of(self._position) if self._position else self.epoch
        for entry in entries:
            if entry.prev is not None:
                return entry.prev == expected
        return False

    async def _check(self, connection: Connection) -> None:
        state = await self._store.check(connection, self.epoch, self._position)
        if state.epoch != self.epoch:
            self._begin(state.epoch, state.reach)
        elif state.reach > self._position:
            self._position = self._after = state.reach
            logger.warning("Redis has dropped events before this process could read them")
            self._sink.lost(state.reach)

    def _begin(self, epoch: str, start: int, kept: Iterable[Record] = ()) -> None:
        self.epoch = epoch
        self._position = self._after = start
        self._sink.begin(start, kept)
        self._begun.set()
        self._begun = self._runtime.Event()

    def _deliver(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._after = entry.position
            if entry.prev is not None:
                self._position = entry.position
        for record in records_of(entries):
            self._sink.deliver(record)
