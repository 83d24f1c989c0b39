"""One hub's use of Redis, from opening to closing."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from .._abc import Sink
from .._event import ServerSentEvent
from .._exceptions import PublishError
from .._outcome import errors_alone
from .._runtime import Runtime
from ._entry import arguments_of
from ._link import OUTAGE, Connection, Link
from ._publisher import MAX_AGE, Publication, Publisher
from ._reader import Reader
from ._scripts import Keys
from ._store import Bounds, Page, State, Store

T = TypeVar("T")

# Pages that are asked for at once: when a thousand clients come back they must hold up neither
# what is published nor each other for so long that Redis seems to be away.
READS = 4

_LOST = "Redis has lost the event, or what was before it"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long is waited, in seconds; `RedisEngine` documents each."""

    publish_timeout: float
    response_timeout: float
    heartbeat: float


class Session:
    """Two connections, one that reads what comes and one for all else, and who uses them.

    Args:
        runtime: The runtime of the hub.
        is_reachable: Tells whether there is somebody to connect to.
        connect: Makes a connection.
        keys: The keys of the hub.
        bounds: How much to keep.
        timing: How long to wait.
        sink: Where to deliver.
    """

    def __init__(
        self,
        runtime: Runtime,
        is_reachable: Callable[[], Awaitable[bool]],
        connect: Callable[[], Connection],
        keys: Keys,
        bounds: Bounds,
        timing: Timing,
        sink: Sink,
    ) -> None:
        self._runtime = runtime
        self._publish_timeout = timing.publish_timeout
        self._links = [
            Link(runtime, is_reachable, connect, purpose, timing.response_timeout)
            for purpose in ("the event stream", "publishing")
        ]
        reading, asking = (Store(link, keys, bounds) for link in self._links)
        self._store = asking
        self._reader = Reader(runtime, reading, sink, timing.heartbeat)
        self._publisher = Publisher(runtime, asking)
        self._reading = runtime.CapacityLimiter(READS)

    @property
    def epoch(self) -> str:
        """Which numbering is being read."""
        return self._reader.epoch

    @property
    def connected(self) -> bool:
        """Whether both connections are there."""
        return all(link.connected for link in self._links)

    async def publish(self, topic: str, event: ServerSentEvent) -> int:
        """Add an event; return its position."""
        deadline = self._runtime.current_time() + self._publish_timeout
        publication = await self._publisher.publish(1, arguments_of(topic, event), deadline)
        if not publication.positions:
            raise self._not_published(publication, self._publish_timeout)
        with self._runtime.CancelScope(deadline=deadline):
            if await self._reads(publication.epoch):
                return publication.positions[0]
        raise PublishError(_LOST, "unknown")

    async def publish_all(
        self, events: Sequence[tuple[str, ServerSentEvent]]
    ) -> Sequence[int | Exception]:
        """Add events, however long it takes; return their positions."""
        arguments = [argument for topic, event in events for argument in arguments_of(topic, event)]
        publication = await self._publisher.publish(len(events), arguments)
        if not publication.positions:
            return [self._not_published(publication, MAX_AGE)] * len(events)
        if not await self._reads(publication.epoch):
            return [PublishError(_LOST, "unknown")] * len(events)
        return publication.positions

    async def read(self, topics: Collection[str], position: int, limit: int) -> Page:
        """Read what topics had after a position; wait while Redis is away."""
        async with self._reading:
            epoch = self.epoch
            page = await self._ask(
                lambda connection: self._store.read(connection, epoch, topics, position, limit)
            )
        if page.word == "other":
            await self._reader.wait_for_another(epoch)
        return page

    async def earliest(self) -> int:
        """Return the position that the stream reaches back to; wait while Redis is away."""
        while True:
            epoch = self.epoch
            state = await self._check()
            if state.epoch == epoch:
                return state.reach
            await self._reader.wait_for_another(epoch)

    async def _reads(self, epoch: str) -> bool:
        """Tell whether an epoch is being read, once the reader has the present one."""
        while (read := self.epoch) != epoch:
            if (await self._check()).epoch == read:
                return False
            await self._reader.wait_for_another(read)
        return True

    async def _check(self) -> State:
        return await self._ask(lambda connection: self._store.check(connection, self.epoch, 0))

    async def _ask(self, ask: Callable[[Connection], Awaitable[T]]) -> T:
        """Ask until there is an answer."""
        link = self._store.link
        while True:
            connection = await link.connection()
            try:
                return await ask(connection)
            except OUTAGE as error:
                link.give_up(connection, error)

    def _not_published(self, publication: Publication, seconds: float) -> PublishError:
        cause = publication.error or self._store.link.error
        within = f"within {seconds:g} s: {cause or 'no answer'}"
        if publication.sent:
            error = PublishError(f"Redis has not acknowledged an event {within}", "unknown")
        else:
            error = PublishError(f"Redis has not accepted an event {within}", "not_sent")
        error.__cause__ = cause
        return error

    @asynccontextmanager
    async def serve(self, location: str) -> AsyncGenerator[None]:
        """Read and publish for as long as the context is entered.

        Raises:
            ConnectionError: if Redis is not there to begin with.
        """
        try:
            with errors_alone(depth=1):
                async with self._runtime.open_nursery() as nursery:
                    for link in self._links:
                        nursery.start_soon(link.run)
                    await self._begin(location)
                    nursery.start_soon(self._reader.run)
                    nursery.start_soon(self._publisher.run)
                    try:
                        yield
                    finally:
                        nursery.cancel_scope.cancel()
        finally:
            self._close()  # for those who wait in other nurseries; in this one nobody does

    async def _begin(self, location: str) -> None:
        try:
            reading, asking = self._links
            await asking.attempted()
            await self._reader.open(await reading.attempted())
        except OUTAGE as error:
            raise ConnectionError(
                f"there is no Redis to use at {location}: {error} (start one, for example with "
                "redis-server, or give RedisEngine the url of another)"
            ) from error

    def _close(self) -> None:
        for link in self._links:
            link.close()
        self._reader.close()
        self._publisher.close()
