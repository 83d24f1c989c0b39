"""The nursery of one response.

What can come out of `Stream.serve`, and how causes combine:

* Nothing, for every end that is not an error of the app: completed, client gone,
  send timeout, shutdown, expired. The reason is returned.
* What user code raised, as itself: never in a group of one. Exceptions of several
  tasks of one stream (its producer and its data sender, say) come in an
  `ExceptionGroup`.
* The cancellation of a scope around the response, or `KeyboardInterrupt` and its
  like, as themselves. User code that raises while it is being cancelled wins over
  the cancellation, as it would in a single task; an interrupt wins over both.

The first cause to end the stream is the reason. It is told to ``on_close`` and
to the instrument once, after every task of the stream has ended.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from typing import Any, cast
from weakref import ref

from ._backoff import shorten, spread_milliseconds
from ._close_reason import CloseReason
from ._drain import serving
from ._event import ServerSentEvent
from ._instrument import Observer
from ._options import StreamOptions
from ._runtime import CancelScope, Nursery, Runtime
from ._source import MAX_CHUNK_SIZE, Feeder, Source
from ._writer import ClientGone, Writer

logger = logging.getLogger("trio_sse")

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# What a client gets per send once its stream is being ended. One that reads at
# all takes a farewell at once; one that does not must not hold up a shutdown.
FAREWELL_TIMEOUT = 1.0

# What browsers use when no stream told them otherwise.
DEFAULT_RECONNECTION_TIME = 3000

PING = ServerSentEvent(comment="ping")

_SAYS_FAREWELL = (CloseReason.SHUTDOWN, CloseReason.EXPIRED)


class Stream:
    """One response being served: streaming in the nursery's body, helpers beside it.

    The helpers (ping, disconnect, expiry) and `stop` never touch the stream; they
    give a reason and cancel.

    Args:
        runtime: The runtime of the stream.
        source: Where its events come from.
        writer: Where they go.
        observer: Told of its beginning and its end.
        options: How to serve it.
        multiplexed: Whether the connection carries other streams too (HTTP/2).
    """

    def __init__(
        self,
        runtime: Runtime,
        source: Source,
        writer: Writer,
        observer: Observer,
        options: StreamOptions,
        *,
        multiplexed: bool,
    ) -> None:
        self.reason: CloseReason | None = None
        self.waits_for_drain = False
        self._runtime = runtime
        self._source = source
        self._writer = writer
        self._observer = observer
        self._options = options
        self._multiplexed = multiplexed
        self._scope: CancelScope
        self._data_sender: Feeder | None = None
        if options.data_sender_callable is not None:
            self._data_sender = Feeder(
                runtime, options.data_sender_callable, source.errors, self._data_sender_ended
            )

    async def serve(
        self, receive: Receive, status: int, headers: Iterable[tuple[bytes, bytes]]
    ) -> CloseReason:
        """Serve the stream to its end and return the reason of it.

        Raises what the module's docstring lists.
        """
        self._observer.opened()
        try:
            await self._supervise(receive, status, headers)
        finally:
            reason = self.reason or CloseReason.CANCELLED
            await self._close(reason)
            self._observer.closed(reason)
            logger.debug("stream ended: %s", reason.value)
        return reason

    def stop(self, reason: CloseReason) -> None:
        """Let the producer come to its end, and the stream to a whole one after it."""
        if not self._writer.finishing:
            self._end(reason)
        if self._data_sender is not None and self._data_sender.running:
            self._data_sender.stop()
        else:
            self._source.stop()
        self._writer.limit(FAREWELL_TIMEOUT)

    async def _supervise(
        self, receive: Receive, status: int, headers: Iterable[tuple[bytes, bytes]]
    ) -> None:
        interrupt: BaseException | None = None
        try:
            async with self._runtime.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                self._writer.arm(nursery.cancel_scope)
                await self._run(nursery, receive, status, headers)
                nursery.cancel_scope.cancel()
        except BaseException as error:
            interrupt = _without_group(error, self._runtime)
            self._end(CloseReason.CANCELLED)
        # Only the deadline of a send cancels without giving a reason.
        self._end(CloseReason.ERROR if self._source.errors else CloseReason.SEND_TIMEOUT)
        _raise_outcome(interrupt, self._source.errors, self._runtime)

    async def _run(
        self,
        nursery: Nursery,
        receive: Receive,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
    ) -> None:
        try:
            try:
                await self._stream(nursery, receive, status, headers)
            except ClientGone:
                raise
            except Exception as error:
                self._source.errors.append(error)
            if self._source.errors:
                self._end(CloseReason.ERROR)
                await self._end_failed()
        except ClientGone:
            self._end(CloseReason.CLIENT_DISCONNECTED)

    async def _stream(
        self,
        nursery: Nursery,
        receive: Receive,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
    ) -> None:
        nursery.start_soon(self._watch_disconnect, receive)
        for feeder in self._feeders():
            nursery.start_soon(self._feed, feeder)
        await self._source.opened()
        await self._check_ping()
        await self._writer.start(status, headers)
        if self._options.ping:
            nursery.start_soon(self._keep_alive)
        if self._options.max_age is not None:
            nursery.start_soon(self._expire, self._options.max_age)
        await self._open()
        while chunk := await self._source.receive_some(MAX_CHUNK_SIZE):
            await self._writer.send(chunk)
        if not self._source.errors:
            await self._say_farewell()
            await self._writer.finish()
            self._end(CloseReason.COMPLETED)

    async def _open(self) -> None:
        """Get the headers on their way: some middlewares keep them until there is a body."""
        if self._options.retry is not None:
            first = ServerSentEvent(retry=self._options.retry)
            await self._writer.send(first.encode(self._options.sep))
            return
        if not self._source.ready:
            await self._runtime.checkpoint()  # every feeder has had a turn after this one
        if not self._source.ready:
            await self._writer.flush_headers()

    async def _say_farewell(self) -> None:
        farewell = self._options.farewell
        # Inside a raw event it would become a part of that event.
        if farewell is None or self.reason not in _SAYS_FAREWELL or not self._writer.between_events:
            return
        retry = DEFAULT_RECONNECTION_TIME if farewell.retry is None else farewell.retry
        spread = ServerSentEvent(
            farewell.data,
            event=farewell.event,
            id=farewell.id,
            comment=farewell.comment,
            retry=spread_milliseconds(retry),
        )
        await self._writer.send(spread.encode(self._options.sep))

    async def _end_failed(self) -> None:
        """Break the stream off, where that takes more than not ending it.

        Over HTTP/1.1 the server breaks the connection when the exception leaves.
        Over HTTP/2 it leaves the client waiting for ever; a final body is better.
        """
        if self._multiplexed and self._writer.started and not self._writer.finishing:
            await self._writer.finish()

    def _feeders(self) -> Iterable[Feeder]:
        if self._data_sender is not None:
            return (*self._source.feeders, self._data_sender)
        return self._source.feeders

    async def _feed(self, feeder: Feeder) -> None:
        serving.set(ref(self))
        await feeder.run()

    def _data_sender_ended(self) -> None:
        # It returns when it likes; the channel ends when its senders say so.
        if self._source.errors or self.reason is not None:
            self._source.stop()

    async def _watch_disconnect(self, receive: Receive) -> None:
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        except OSError:
            pass
        except Exception as error:
            self._fail(error)
            return
        # Servers report a disconnect from inside of the final send.
        if not self._writer.finishing:
            self._end(CloseReason.CLIENT_DISCONNECTED)
            self._scope.cancel()

    async def _keep_alive(self) -> None:
        try:
            while True:
                await self._ping_when_idle()
        except ClientGone:
            self._end(CloseReason.CLIENT_DISCONNECTED)
            self._scope.cancel()
        except Exception as error:
            self._fail(error)

    async def _ping_when_idle(self) -> None:
        written = self._writer.last_write
        await self._runtime.sleep_until(written + self._options.ping)
        if self._writer.last_write != written:
            return
        frame = await self._ping_frame()
        if self._writer.last_write == written and not await self._writer.ping(frame):
            # In the way of something: its own end is at least a whole interval
            # before the next ping is due.
            await self._runtime.sleep(self._options.ping)

    async def _ping_frame(self) -> bytes:
        factory = self._options.ping_message_factory
        if factory is None:
            return PING.encode(self._options.sep)
        event = factory()
        if inspect.isawaitable(event):
            event = await event
        if not isinstance(event, ServerSentEvent):
            raise TypeError(
                f"ping_message_factory must return a ServerSentEvent, not {type(event).__name__}"
            )
        return event.encode(self._options.sep)

    async def _check_ping(self) -> None:
        """Find a factory's mistake while the answer can still be an error."""
        if self._options.ping and self._options.ping_message_factory is not None:
            await self._ping_frame()

    async def _expire(self, max_age: float) -> None:
        await self._runtime.sleep(shorten(max_age))
        self.stop(CloseReason.EXPIRED)

    async def _close(self, reason: CloseReason) -> None:
        try:
            closer = self._source.close()
            if closer is not None:
                await self._clean_up("closing the content", closer)
        finally:
            on_close = self._options.on_close
            if on_close is not None:
                await self._clean_up("on_close", partial(_call, on_close, reason))

    async def _clean_up(self, what: str, async_fn: Callable[[], Awaitable[object]]) -> None:
        """Run clean-up shielded and bounded; what it raises must not hide the cause."""
        timeout = self._options.cleanup_timeout
        in_time = True
        try:
            in_time = await self._runtime.run_shielded(async_fn, timeout)
        except Exception as error:
            logger.error("%s raised", what, exc_info=_without_group(error, self._runtime))
        if not in_time:
            logger.warning("%s was cancelled after cleanup_timeout (%g seconds)", what, timeout)

    def _fail(self, error: Exception) -> None:
        self._source.errors.append(error)
        self._end(CloseReason.ERROR)
        self._source.stop()

    def _end(self, reason: CloseReason) -> None:
        if self.reason is None:
            self.reason = reason


async def _call(function: Callable[..., Any], *args: object) -> None:
    """Call a function that may be sync or async."""
    result = function(*args)
    if inspect.isawaitable(result):
        await result


def _without_group(error: BaseException, runtime: Runtime) -> BaseException:
    """Return what a nursery raised: an interrupt before a cancellation, and alone."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
    leaves = [_without_group(leaf, runtime) for leaf in inner]
    interrupts = [leaf for leaf in leaves if not runtime.is_cancelled(leaf)]
    return (interrupts or leaves)[0]


def _raise_outcome(
    interrupt: BaseException | None, errors: list[Exception], runtime: Runtime
) -> None:
    if interrupt is not None and not (errors and runtime.is_cancelled(interrupt)):
        raise interrupt
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("several tasks of one event stream raised", errors)
