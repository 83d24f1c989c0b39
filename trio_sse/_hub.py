"""Publish once, deliver to all who are there, and to those who come back."""

import threading
from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

from ._abc import Engine, Instrument
from ._arguments import check_callable, check_count, check_instance, check_key, check_seconds
from ._cursor import Authorize, Cursor, SlowConsumer
from ._event import ServerSentEvent, event_to_publish
from ._exceptions import PublishError
from ._feed import Feed, Wording
from ._fields import DEFAULT_SEPARATOR, check_topic
from ._history import DEFAULT_MAX_AGE, DEFAULT_MAX_BYTES, DEFAULT_MAX_EVENTS, Bounds
from ._instrument import HubObserver
from ._memory import MemoryEngine
from ._outbox import Outbox
from ._outcome import errors_alone
from ._runtime import current_runtime
from ._subscription import Subscription

# Enough for a burst of a thread between two turns of the event loop, and little beside the log.
DEFAULT_OUTBOX_SIZE = 1000

# Seconds. Less than what any platform leaves between SIGTERM and SIGKILL.
DEFAULT_CLOSE_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """What `Hub.statistics` returns. Counters count from the opening of the hub."""

    topics: int
    """Topics that have an event or a subscriber, or had one within ``max_age``."""
    subscribers: int
    """Subscriptions that are entered."""
    log_length: int
    """Events in the log."""
    log_bytes: int
    """Bytes of these events, encoded, without their ids."""
    outbox_length: int
    """Events that were accepted without waiting, and are not published yet."""
    failed: int
    """Events that were accepted without waiting, and could not be published."""
    published: int
    """Events that the engine delivered: published here, or by other processes."""
    delivered: int
    """Events that subscriptions have read, each counted for each of them."""
    lagged: int
    """How often a subscription has fallen off the log."""
    resets: Mapping[str, int]
    """How many subscriptions were told of a gap, by its reason."""


class Hub:
    """Topics that events are published to, and a log of the latest, for all subscriptions.

    `open_hub` opens one. It belongs to the event loop that it was opened in: all methods
    but `subscribe` and `publish_from_thread` must be called there.

    Ids are ``<epoch>-<position>``. A position is a place in the log, one numbering for all
    topics, so a client that comes back with the last id it has seen continues there, in
    all topics of its subscription. An id grants nothing: a subscription gets what it is
    subscribed to.
    """

    def __init__(self, feed: Feed, outbox: Outbox, max_bytes: int) -> None:
        self._feed = feed
        self._outbox = outbox
        self._max_bytes = max_bytes
        self._thread = threading.get_ident()

    async def publish(self, topic: str, event: object) -> str:
        """Publish an event, and return its id. Always a checkpoint.

        When it returns, the event has been accepted: it will be delivered to everyone who
        subscribed before, and can be resumed from. If it is cancelled in memory, nothing
        was published; with another engine that cannot be known once it was sent. Events that
        one task publishes, in whatever way, are in that order.

        Args:
            topic: A text of one line, up to 512 bytes.
            event: A `ServerSentEvent` without an id, ``str``, a dict of the keywords of
                `ServerSentEvent`, a pydantic model, which is sent as its JSON, or anything
                else through ``str()``; but no event of another library.

        Raises:
            TypeError: if the topic is no ``str``, for raw bytes, or an unknown keyword.
            ValueError: for a topic that is no topic, an event that cannot be sent, has an
                id, or is larger than the log.
            ClosedResourceError: (of trio, or anyio) if the hub is closed.
            PublishError: if the engine's store does not accept it in time.

        Example::

            await hub.publish("news", ServerSentEvent("hello", event="greeting"))
        """
        feed, checked = self._feed, self._check(topic, event)
        if len(self._outbox):
            await self._wait_for_outbox()
        feed.check_open()
        position = await feed.publish(topic, checked)
        feed.accept(position)
        return feed.id_of(position)

    def publish_nowait(self, topic: str, event: object) -> None:
        """Accept an event to publish, without waiting.

        It goes into an outbox of ``outbox_size`` events, which a task of the hub empties,
        also while the hub is being closed. An event there is lost when the process ends,
        or the block of `open_hub` is cancelled or raises.

        Args:
            topic: As in `publish`, like ``event``.
            event: What to publish.

        Raises:
            WouldBlock: (of trio, or anyio) if the outbox is full.
            RuntimeError: in another thread: use `publish_from_thread`.
            Exception: whatever `publish` raises for bad input and a closed hub.
        """
        if threading.get_ident() != self._thread:
            raise RuntimeError("publish_nowait was called in a thread: use publish_from_thread")
        self._outbox.put(topic, self._check(topic, event))

    def publish_from_thread(self, topic: str, event: object) -> None:
        """Accept an event to publish, in any thread; otherwise like `publish_nowait`.

        Raises:
            WouldBlock: (of trio, or anyio) if the outbox is full.
            Exception: whatever `publish` raises for bad input and a closed hub.
        """
        self._outbox.put_from_thread(topic, self._check(topic, event))

    def subscribe(
        self,
        *topics: str,
        last_event_id: str | None = None,
        authorize: Authorize | None = None,
        key: Hashable = None,
        slow_consumer: SlowConsumer = "reset",
    ) -> Subscription:
        """Return a subscription to what is published to any of these topics from now on.

        It takes nothing that would have to be given back; entering it does. It may be
        called in a worker thread.

        Args:
            topics: At least one.
            last_event_id: The id of the last event that the client has seen, as the
                function `last_event_id` takes it from a request: what came after it is
                replayed. If that is not possible the first event is a ``reset``, whose
                data says why: ``expired`` (the log does not reach back so far),
                ``restarted`` (the id is from before the server started), ``unknown``.
                ``"earliest"`` is for all that the log has.
            authorize: An async function that is called with the topics when the
                subscription is entered, and returns whether the client may have them. It
                may also raise, Starlette's ``HTTPException`` for one.
            key: What `revoke` will find it by: a user's or a session's id.
            slow_consumer: What happens when the log has dropped events that this
                subscription had not read: ``"reset"`` (default) tells the client, and goes
                on with what is published then; ``"disconnect"`` ends the stream.

        Raises:
            TypeError: if an argument is of the wrong type.
            ValueError: if there are no topics, or one is none.
            ClosedResourceError: (of trio, or anyio) if the hub is closed.
        """
        if not topics:
            raise ValueError("topics: name at least one to subscribe to")
        for topic in topics:
            check_topic(topic)
        if last_event_id is not None:
            check_instance("last_event_id", last_event_id, str)
        check_callable("authorize", authorize)
        check_key("key", key)
        if slow_consumer not in ("reset", "disconnect"):
            raise ValueError(
                f"slow_consumer must be 'reset' or 'disconnect', not {slow_consumer!r}"
            )
        self._feed.check_open()
        unique = tuple(dict.fromkeys(topics))
        return Subscription(
            Cursor(self._feed, unique, last_event_id, authorize, key, slow_consumer)
        )

    def revoke(self, *, key: Hashable) -> int:
        """End this process's subscriptions with a key; return how many.

        Their clients get an event ``revoked`` and then the end of the stream, nothing else
        that was published; ``on_close`` is told `CloseReason.REVOKED`. A subscription whose
        ``authorize`` is still running is refused; one that is not entered yet is not found,
        so let ``authorize`` refuse it. A browser reconnects, and is asked for its
        authorization again.

        Args:
            key: What was given to `subscribe`.

        Raises:
            ValueError: for None, which is the key of every subscription without one.
        """
        if key is None:
            raise ValueError("key must not be None, which would be everyone without a key")
        return self._feed.revoke(key)

    def statistics(self) -> HubStatistics:
        """Return what the hub holds and has done."""
        feed = self._feed
        feed.log.trim(feed.runtime.current_time())
        return HubStatistics(
            topics=feed.log.topics,
            subscribers=feed.readers,
            log_length=len(feed.log),
            log_bytes=feed.log.size,
            outbox_length=len(self._outbox),
            failed=self._outbox.failed,
            published=feed.published,
            delivered=feed.delivered,
            lagged=feed.lagged,
            resets=MappingProxyType(dict(feed.resets)),
        )

    async def _wait_for_outbox(self) -> None:
        """Let what was accepted before be published before."""
        runtime, timeout = self._feed.runtime, self._feed.engine.publish_timeout
        with runtime.CancelScope(deadline=runtime.current_time() + timeout) as scope:
            await self._outbox.settled()
        if scope.cancelled_caught:
            raise PublishError(
                f"what was accepted before was not published within {timeout:g} s", "not_sent"
            )

    def _check(self, topic: str, event: object) -> ServerSentEvent:
        """Find what is wrong where it was done; encode the event, once for all clients."""
        check_topic(topic)
        checked = event_to_publish(event)
        size = len(checked.encode(self._feed.wording.sep))
        if size > self._max_bytes:
            raise ValueError(
                f"event has {size} bytes, more than the whole log of the hub may have "
                f"(max_bytes={self._max_bytes})"
            )
        return checked


def open_hub(
    *,
    engine: Engine | None = None,
    max_events: int = DEFAULT_MAX_EVENTS,
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_age: float = DEFAULT_MAX_AGE,
    outbox_size: int = DEFAULT_OUTBOX_SIZE,
    close_timeout: float = DEFAULT_CLOSE_TIMEOUT,
    sep: str = DEFAULT_SEPARATOR,
    ready: str = "ready",
    reset: str = "reset",
    revoked: str = "revoked",
    instrument: Instrument | None = None,
) -> AbstractAsyncContextManager[Hub]:
    """Open a hub for as long as a block runs: ``async with open_hub() as hub``.

    Leaving the block publishes what is in the outbox, and ends every subscription after
    what was published. If it is left by an exception, or cancelled, what is in the outbox
    is lost. Nothing of the hub outlives it.

    Args:
        engine: Where the events are kept; by default in the memory of this process.
        max_events: How many events the log keeps, of all topics; 100,000 by default.
        max_bytes: How many bytes of them, encoded; 16 MiB by default.
        max_age: For how many seconds; 300 by default. A client that was away for longer
            may be told ``expired``, even if nothing was published to its topics.
        outbox_size: How many events `Hub.publish_nowait` and `Hub.publish_from_thread`
            accept before they are published; 1000 by default.
        close_timeout: For how many seconds leaving the block waits until the engine has
            what is in the outbox, and has delivered what it has accepted; 5 by default. What
            is in the outbox after that is lost, logged, and counted in `HubStatistics.failed`.
        sep: What ends a line of an event; CRLF by default. A response that is given a
            subscription uses it.
        ready: The name of the event that begins a subscription.
        reset: The name of the event that says there is a gap.
        revoked: The name of the event that ends a subscription that was revoked.
        instrument: An `Instrument` to tell of this hub.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if it is out of range.

    Example::

        @asynccontextmanager
        async def lifespan(app):
            async with open_hub() as hub:
                yield {"hub": hub}

        async def endpoint(request):
            return EventSourceResponse(
                request.state.hub.subscribe("news", last_event_id=last_event_id(request))
            )

        app = Starlette(lifespan=lifespan, routes=[Route("/", endpoint)])
    """
    if engine is not None:
        check_instance("engine", engine, Engine)
    if instrument is not None:
        check_instance("instrument", instrument, Instrument)
    check_count("outbox_size", outbox_size)
    check_seconds("close_timeout", close_timeout)
    bounds = Bounds(max_events, max_bytes, max_age)
    wording = Wording(sep, ready, reset, revoked)
    return _open(
        MemoryEngine() if engine is None else engine,
        bounds,
        wording,
        outbox_size,
        close_timeout,
        instrument,
    )


@asynccontextmanager
async def _open(
    engine: Engine,
    bounds: Bounds,
    wording: Wording,
    outbox_size: int,
    close_timeout: float,
    instrument: Instrument | None,
) -> AsyncGenerator[Hub]:
    runtime = current_runtime()
    feed = Feed(runtime, engine, bounds, wording, HubObserver(instrument))
    outbox = Outbox(runtime, feed.publish_all, engine.max_batch, feed.accept, outbox_size)

    async def empty_outbox() -> None:
        await outbox.run()
        await feed.wait_until_delivered()

    async with engine.open(feed):
        try:
            with errors_alone(depth=1):
                async with runtime.open_nursery() as nursery:
                    nursery.start_soon(empty_outbox)
                    try:
                        yield Hub(feed, outbox, bounds.max_bytes)
                    finally:
                        outbox.close()
                        nursery.cancel_scope.deadline = runtime.current_time() + close_timeout
        finally:
            feed.close()
