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

* `RuntimeError`, where asyncio lets a single task of the stream be cancelled by
  somebody else, or user code awaits what was cancelled: a stream does not end
  without saying why.

The first cause to end the stream is the reason. It is told to ``on_close`` and
to the instrument once, after every task of the stream has ended.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any
from weakref import ref

from ._backoff import shorten, spread_reconnection_time
from ._close_reason import CloseReason
from ._drain import FAREWELL_TIMEOUT, RunStreams, serving
from ._event import ServerSentEvent
from ._instrument import Observer
from ._options import StreamOptions
from ._outcome import raise_outcome, without_group
from ._ping import Pinger, run_pings
from ._runtime import CancelScope, Nursery, Runtime
from ._source import MAX_CHUNK_SIZE, Feeder, Source
from ._transport import Connection
from ._writer import SEND_GRACE, ClientGone, Writer

logger = logging.getLogger("trio_sse")

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_DISCONNECTS = ("http.disconnect", "websocket.disconnect")
_SAYS_FAREWELL = (CloseReason.SHUTDOWN, CloseReason.EXPIRED)


class Stream:
    """One response being served: its client is watched in the nursery's body, beside the rest.

    Args:
        runtime: The runtime of the stream.
        source: Where its events come from.
        writer: Where they go.
        receive: ASGI's ``receive``, awaited by one task.
        connection: What is below it.
        observer: Told of its beginning and its end.
        options: How to serve it.
        streams: The streams of the run.
        multiplexed: Whether the connection carries other streams too (HTTP/2).
    """

    def __init__(
        self,
        runtime: Runtime,
        source: Source,
        writer: Writer,
        receive: Receive,
        connection: Connection,
        observer: Observer,
        options: StreamOptions,
        streams: RunStreams,
        *,
        multiplexed: bool,
    ) -> None:
        self.reason: CloseReason | None = None
        self.waits_for_drain = False
        self._runtime = runtime
        self._source = source
        self._writer = writer
        self._receive = receive
        self._connection = connection
        self._observer = observer
        self._options = options
        self.streams = streams
        self._pings = run_pings()
        self._multiplexed = multiplexed
        self._context = copy_context()
        self._scope: CancelScope
        self._nursery: Nursery
        self._streaming = False
        self._stopping = False
        self._in_grace = False
        self._told_of_disconnect = False
        self._left_at_the_end = False
        self._pinger = Pinger(
            runtime, writer, options.ping, options.ping_message_factory, options.sep
        )
        self._data_sender: Feeder | None = None
        self._feeders: Sequence[Feeder] = source.feeders
        if options.data_sender_callable is not None:
            self._data_sender = Feeder(
                runtime, options.data_sender_callable, source.errors, self._data_sender_ended
            )
            self._feeders = (*source.feeders, self._data_sender)

    @property
    def started(self) -> bool:
        """Whether the headers have been sent."""
        return self._writer.started

    async def serve(self) -> None:
        """Serve the stream to its end.

        Raises what the module's docstring lists.
        """
        self._observer.opened()
        try:
            await self._supervise()
        finally:
            reason = self.reason or CloseReason.CANCELLED
            try:
                await self._close(reason)
            finally:
                self._observer.closed(reason)
                logger.debug("stream ended: %s", reason.value)

    def stop(self, reason: CloseReason) -> None:
        """Let the producer come to its end, and the stream to a whole one after it.

        What the client is sent from now on has `FAREWELL_TIMEOUT` seconds for each
        send, and for everything together once the producer has stopped.
        """
        if not self._writer.finishing:
            self._end(reason)
        self._stopping = True
        self._stop_feeding()
        self._writer.limit(FAREWELL_TIMEOUT)
        self._hurry_unless_fed()

    def stop_after(self, grace: float) -> None:
        """Stop for a shutdown, after ``grace`` seconds if the producer has asked for them."""
        self._observer.drained()
        if self.waits_for_drain and self._streaming:
            self._in_grace = True
            self.start_soon(partial(self._stop_later, grace))
        else:
            self.stop(CloseReason.SHUTDOWN)

    def start_soon(self, async_fn: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task of the stream, from whatever task, in the context of the response."""
        self._context.run(self._nursery.start_soon, async_fn)

    async def ping(self) -> None:
        """Send a ping that is due; what comes of it is the stream's."""
        try:
            await self._pinger.ping()
            self._pings.arm(self._pinger)
        except ClientGone:
            self._cut(CloseReason.CLIENT_DISCONNECTED)
        except Exception as error:
            self._fail(error)

    async def _supervise(self) -> None:
        interrupt: BaseException | None = None
        try:
            async with self._runtime.open_nursery() as nursery:
                self._nursery, self._scope = nursery, nursery.cancel_scope
                self._writer.arm(nursery.cancel_scope)
                # In a task of its own: each time that a task goes on, it does so through all
                # that has called it, and here that is the app, its routes and middlewares.
                nursery.start_soon(self._run)
                await self._watch_client()
        except BaseException as error:
            interrupt = without_group(error, self._runtime)
            self._end(CloseReason.CANCELLED)
        try:
            self._end_unexplained()
            raise_outcome(interrupt, self._source.errors, self._runtime)
        finally:
            del interrupt

    async def _run(self) -> None:
        self._streaming = True
        self.streams.watch(self._connection, self, self._client_left)
        try:
            await self._stream_or_fail()
        except ClientGone:
            self._end(CloseReason.CLIENT_DISCONNECTED)
        finally:
            self._pings.leave(self._pinger)
            self.streams.unwatch(self._connection, self)
            self._streaming = False  # takes no more tasks
            self._source.stop()  # nobody takes from it any more
            self._scope.cancel()

    async def _stream_or_fail(self) -> None:
        errors = self._source.errors
        try:
            await self._stream()
        except ClientGone:
            raise
        except Exception as error:
            errors.append(error)
        if errors:
            self._end(CloseReason.ERROR)
            await self._end_failed()

    async def _stream(self) -> None:
        nursery = self._nursery
        for feeder in self._feeders:
            nursery.start_soon(self._feed, feeder)
        await self._source.opened(self.stop)
        await self._pinger.check()
        await self._writer.start()
        if self._options.ping:
            self._pings.join(self._pinger, self)
        if self._options.max_age is not None:
            nursery.start_soon(self._expire, self._options.max_age)
        await self._open()
        while chunk := await self._source.receive_some(MAX_CHUNK_SIZE):
            await self._writer.send(chunk)
        if not self._source.errors:
            if self._in_grace:  # it may have gone on for ever, had it not been asked
                self._end(CloseReason.SHUTDOWN)
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
        if farewell is None or self.reason not in _SAYS_FAREWELL:
            return
        if not self._writer.between_events:  # it would become a part of a raw event
            return
        spread = ServerSentEvent(
            farewell.data,
            event=farewell.event,
            id=farewell.id,
            comment=farewell.comment,
            retry=spread_reconnection_time(farewell.retry),
        )
        await self._writer.send(spread.encode(self._options.sep))

    async def _end_failed(self) -> None:
        """Send a final body where a client could otherwise not tell that it was the end.

        Over HTTP/1.1 the server breaks the connection when the exception leaves. Over
        HTTP/2 some leave the client waiting for ever, unless the stream can be reset.
        """
        connection, writer = self._connection, self._writer
        hangs = self._multiplexed and not (connection.resets or connection.breaks_by_itself)
        if hangs and writer.started and not writer.finishing:
            await writer.finish()

    async def _feed(self, feeder: Feeder) -> None:
        serving.set(ref(self))
        await feeder.run()
        if self._source.errors and not self._runtime.being_cancelled():
            self._end(CloseReason.ERROR)
        if self._stopping:
            self._hurry_unless_fed()

    def _stop_feeding(self) -> None:
        if self._data_sender is not None and self._data_sender.running:
            self._data_sender.stop()
        else:
            self._source.stop()

    def _hurry_unless_fed(self) -> None:
        if not any(feeder.running for feeder in self._feeders):
            self._writer.end_within(FAREWELL_TIMEOUT)

    def _data_sender_ended(self) -> None:
        # It returns when it likes; the channel ends when its senders say so.
        if self._source.errors or self._stopping:
            self._source.stop()

    async def _watch_client(self) -> None:
        """Wait for a disconnect; and whatever cuts the stream, let go of the connection.

        That is done here, since it is of use only beside a send that cannot be cancelled.
        """
        try:
            try:
                await self._hear_disconnect()
            except Exception as error:
                self._fail(error)
            else:
                self._client_left()
            await self._runtime.sleep_forever()
        finally:
            self._scope.cancel()  # asyncio's own Task.cancel() comes to this task alone
            await self._let_go()

    async def _hear_disconnect(self) -> None:
        try:
            while (await self._receive())["type"] not in _DISCONNECTS:
                await self._runtime.checkpoint()
        except OSError:
            pass
        self._told_of_disconnect = True

    def _client_left(self) -> None:
        if self._writer.finishing:
            # Servers report a disconnect from inside of the final send.
            self._left_at_the_end = True
            self._writer.limit(FAREWELL_TIMEOUT)
        else:
            self._cut(CloseReason.CLIENT_DISCONNECTED)

    async def _let_go(self) -> None:
        client_left = self.reason is CloseReason.CLIENT_DISCONNECTED
        if await self._writer.let_go(client_left=client_left) and not self._told_of_disconnect:
            # Once the server knows, it does not complain of a response that is incomplete.
            deadline = self._runtime.current_time() + SEND_GRACE
            with self._runtime.CancelScope(deadline=deadline, shield=True):
                await self._hear_disconnect()

    async def _stop_later(self, grace: float) -> None:
        await self._runtime.sleep(grace)
        self.stop(CloseReason.SHUTDOWN)

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
        except Exception:
            logger.exception("%s raised", what)
        if not in_time:
            logger.warning("%s was cancelled after cleanup_timeout (%g seconds)", what, timeout)

    def _fail(self, error: Exception) -> None:
        """End with an error, after what the source has accepted."""
        self._source.errors.append(error)
        self._end(CloseReason.ERROR)
        self._stop_feeding()

    def _cut(self, reason: CloseReason) -> None:
        """End without sending anything more."""
        self._end(reason)
        self._scope.cancel()

    def _end(self, reason: CloseReason) -> None:
        if self.reason is None:
            self.reason = reason

    def _end_unexplained(self) -> None:
        """Find the reason where nobody has given one: a deadline, or somebody else."""
        if self.reason is not None:
            return
        if self._writer.timed_out:
            self._end(
                CloseReason.CLIENT_DISCONNECTED
                if self._left_at_the_end
                else CloseReason.SEND_TIMEOUT
            )
            return
        self._source.errors.append(
            RuntimeError("a task of the event stream, or what it awaited, was cancelled")
        )
        self._end(CloseReason.ERROR)


async def _call(function: Callable[..., Any], *args: object) -> None:
    """Call a function that may be sync or async."""
    result = function(*args)
    if inspect.isawaitable(result):
        await result
