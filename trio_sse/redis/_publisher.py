"""Adding events to the stream, each once, whatever happens to the connection."""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from math import inf

from .._runtime import Event, Runtime
from ._link import OUTAGE, Connection, NoAnswerError
from ._scripts import RETRY_WINDOW
from ._store import Store

# What is added at once, so that Redis does nothing else: some milliseconds.
MAX_EVENTS = 200
MAX_BYTES = 1024 * 1024

# Seconds for which a batch is sent again and again: while Redis surely knows its answer.
MAX_AGE = RETRY_WINDOW / 2

_NAME_BYTES = 8


class Publication:
    """Events that are added together, and who waits for that.

    Args:
        count: How many there are.
        arguments: What the script is given.
        deadline: Until when somebody waits.
        done: Set when it is over.
    """

    __slots__ = ("arguments", "count", "deadline", "done", "epoch", "error", "positions", "sent")

    def __init__(
        self, count: int, arguments: list[str | int], deadline: float, done: Event
    ) -> None:
        self.count = count
        self.arguments = arguments
        self.deadline = deadline
        self.done = done
        self.sent = False
        """Whether it may have been executed."""
        self.error: Exception | None = None
        """Why it was not, the last time."""
        self.epoch = ""
        self.positions: Sequence[int] = ()

    @property
    def size(self) -> int:
        """About how many bytes it has."""
        return sum(len(str(argument)) for argument in self.arguments)


class Publisher:
    """Puts publications into batches, and sends one batch after the other.

    A batch that was sent is sent again as it was, with its number, until it is answered: the
    script knows the number of the last that it has executed, and executes none twice, and none
    late. What was not sent, or was refused, goes back into the queue.

    Args:
        runtime: The runtime of the hub.
        store: Where to.
    """

    def __init__(self, runtime: Runtime, store: Store) -> None:
        self._runtime = runtime
        self._store = store
        self._name = secrets.token_hex(_NAME_BYTES)
        self._sequence = 0
        self._queue: OrderedDict[Publication, None] = OrderedDict()
        self._filled: Event = runtime.Event()
        self._waiting: set[Publication] = set()
        self._closed = False

    async def publish(
        self, count: int, arguments: list[str | int], deadline: float = inf
    ) -> Publication:
        """Add events, and wait until that is done, or the deadline. Always a checkpoint.

        Cancelling it before it is sent undoes it.

        Raises:
            ClosedResourceError: if the engine is closed.
        """
        publication = Publication(count, arguments, deadline, self._runtime.Event())
        await self._runtime.checkpoint()
        if not self._closed:
            await self._wait_for(publication)
        if self._closed and not publication.positions:
            raise self._runtime.ClosedResourceError("the engine is closed")
        return publication

    async def run(self) -> None:
        """Send what there is, until cancelled."""
        link = self._store.link
        while True:
            await self._filled.wait()
            connection = await link.connection()
            self._filled = self._runtime.Event()
            while batch := self._take():
                await self._send(connection, batch)
                connection = await link.connection()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True
        for publication in self._waiting:
            publication.done.set()

    async def _wait_for(self, publication: Publication) -> None:
        self._queue[publication] = None
        self._waiting.add(publication)
        self._filled.set()
        try:
            with self._runtime.CancelScope(deadline=publication.deadline):
                await publication.done.wait()
        finally:
            self._queue.pop(publication, None)
            self._waiting.remove(publication)

    def _take(self) -> list[Publication]:
        batch: list[Publication] = []
        count = size = 0
        while self._queue and (not batch or (count < MAX_EVENTS and size < MAX_BYTES)):
            publication, _ = self._queue.popitem(last=False)
            batch.append(publication)
            count += publication.count
            size += publication.size
        return batch

    def _put_back(self, batch: list[Publication]) -> None:
        for publication in reversed(batch):
            if publication in self._waiting:
                publication.sent = False
                self._queue[publication] = None
                self._queue.move_to_end(publication, last=False)

    async def _send(self, connection: Connection, batch: list[Publication]) -> None:
        """Send a batch until it is answered, or nobody waits any more, or it goes back."""
        self._sequence += 1
        link, sent = self._store.link, False
        with self._runtime.CancelScope(deadline=self._deadline_of(batch)):
            while True:
                for publication in batch:
                    publication.sent = True
                try:
                    await self._execute(connection, batch)
                    return
                except OUTAGE as error:
                    link.give_up(connection, error)
                    for publication in batch:
                        publication.error = error
                    sent = sent or isinstance(error, NoAnswerError)
                if not sent:
                    self._put_back(batch)
                    return
                connection = await link.connection()
        for publication in batch:
            publication.done.set()

    def _deadline_of(self, batch: list[Publication]) -> float:
        """Return until when a batch is sent again: as long as its answer is kept."""
        longest = self._runtime.current_time() + MAX_AGE
        return min(longest, max(publication.deadline for publication in batch))

    async def _execute(self, connection: Connection, batch: list[Publication]) -> None:
        arguments = [argument for publication in batch for argument in publication.arguments]
        epoch, positions = await self._store.publish(
            connection, self._name, self._sequence, arguments
        )
        start = 0
        for publication in batch:
            publication.epoch = epoch
            publication.positions = positions[start : start + publication.count]
            start += publication.count
            publication.done.set()
