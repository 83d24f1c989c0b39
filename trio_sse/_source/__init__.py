"""Where the events of a stream come from: five kinds of content, one contract."""

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import AsyncGeneratorType
from typing import Any, cast

from .._arguments import check_buffer_size, check_limiter
from .._event import ServerSentEvent
from .._fields import DEFAULT_SEPARATOR
from .._runtime import ReceiveChannel, Runtime, runtime_of_channel
from .._subscription import Subscription, cursor_of
from ._channel import ChannelSource
from ._contract import MAX_CHUNK_SIZE, Source
from ._feeder import Feeder
from ._iteration import IterationSource
from ._nothing import NoSource
from ._producer import ProducerSource
from ._subscription import SubscriptionSource
from ._thread import ThreadSource

__all__ = [
    "DEFAULT_MAX_BUFFER_SIZE",
    "MAX_CHUNK_SIZE",
    "Content",
    "Feeder",
    "NoSource",
    "Source",
    "SourceOptions",
]

# A task switch on each send lets a producer run ahead by what arrives while one
# send is in flight; measured, more room than this changes nothing. Bursts with
# send_nowait are what a larger one is for.
DEFAULT_MAX_BUFFER_SIZE = 16

_KINDS = (
    "a producer (async def with one parameter, the send channel), a receive channel, "
    "a subscription, an async iterable or an iterable"
)
_SINGLE: tuple[type, ...] = (str, bytes, bytearray, memoryview, Mapping, ServerSentEvent)


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How to read any of the contents."""

    sep: str
    max_buffer_size: float
    preflight: bool
    cleanup_timeout: float
    sync_limit: Any
    run_ahead: int = MAX_CHUNK_SIZE
    """How many bytes an iteration may be ahead of the writer; with 0 it is asked for an item
    when the one before has been sent."""

    def __post_init__(self) -> None:
        """Refuse what no channel and no thread can be had with."""
        check_buffer_size(self.max_buffer_size)
        check_limiter("sync_limit", self.sync_limit)


class Content:
    """What a response was given to stream, checked, and not yet touched.

    Args:
        content: One of the five kinds.
        preflight: Whether it must be a producer that takes ``task_status``.

    Raises:
        TypeError: if it is none of the kinds, saying what to do about it.
    """

    __slots__ = ("_content", "_cursor", "_open", "once")

    def __init__(self, content: object, *, preflight: bool = False) -> None:
        self._content = content
        self._open = _opener(content)
        self._cursor = cursor_of(content) if isinstance(content, Subscription) else None
        if self._cursor is not None and self._cursor.entered:
            raise _wrong(content, "the response enters a subscription: leave out the async with")
        if preflight and self._open is not _open_producer:
            raise TypeError("preflight needs a producer as content: nothing else can wait to start")
        if self._open is _open_producer:
            _check_parameters(cast("Callable[..., Any]", content), preflight)
        self.once = (
            hasattr(content, "__anext__")
            or self._open in (_open_channel, _open_subscription)
            or isinstance(content, Iterator)
        )

    @property
    def authorize(self) -> Callable[[], Awaitable[None]] | None:
        """What asks whether the client may have the content, if anything does."""
        return None if self._cursor is None else self._cursor.authorize

    def separator(self, wanted: str) -> str:
        """Return what ends a line: what is wanted, unless the content has its own already.

        Raises:
            ValueError: if both differ from the default, and from each other.
        """
        if self._cursor is None or wanted == self._cursor.sep:
            return wanted
        if wanted != DEFAULT_SEPARATOR:
            raise ValueError(
                f"sep is {wanted!r}, but the hub writes {self._cursor.sep!r}: give it to open_hub"
            )
        return self._cursor.sep

    def open(self, runtime: Runtime, options: SourceOptions) -> Source:
        """Return the source for one stream; it starts nothing by itself."""
        return self._open(self._content, runtime, options)


def _opener(content: Any) -> Callable[[Any, Runtime, SourceOptions], Source]:
    """Tell what a content is; first those that are async iterables too."""
    if isinstance(content, AsyncGeneratorType):  # it is nothing else, which takes long to find
        return _open_iteration
    if isinstance(content, Subscription):
        return _open_subscription
    if runtime_of_channel(content) is not None:
        return _open_channel
    _refuse_lookalikes(content)
    if isinstance(content, AsyncIterable):
        return _open_iteration
    if isinstance(content, Iterable):
        return _open_thread
    if callable(content):
        return _open_producer
    raise _wrong(content, f"content must be {_KINDS}")


def _refuse_lookalikes(content: Any) -> None:
    """Refuse what would pass for one of the kinds and stream nonsense."""
    if isinstance(content, _SINGLE):
        raise _wrong(content, f"put a single event into a list; content must be {_KINDS}")
    if inspect.isawaitable(content):
        if inspect.iscoroutine(content):
            content.close()  # or Python would warn that it was never awaited
        raise _wrong(content, "pass the producer itself, do not call it")
    if _holds_a_channel(content):
        raise _wrong(content, "pass the receive channel alone")
    if any(map(_makes_generators, (content, type(content).__call__))):
        raise _wrong(content, "call the generator function and pass what it returns")
    if isinstance(content, type):
        raise _wrong(content, f"pass an instance; content must be {_KINDS}")


def _holds_a_channel(content: Any) -> bool:
    return isinstance(content, tuple) and any(map(runtime_of_channel, cast("Any", content)))


def _makes_generators(content: Any) -> bool:
    function = inspect.unwrap(getattr(content, "func", content))
    return inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)


def _check_parameters(producer: Callable[..., Any], preflight: bool) -> None:
    try:
        signature = inspect.signature(producer)
    except ValueError:  # a builtin that does not tell
        return
    try:
        signature.bind(None, **({"task_status": None} if preflight else {}))
    except TypeError as error:
        wanted = "(send, *, task_status)" if preflight else "(send)"
        raise _wrong(producer, f"a producer is called with {wanted}: {error}") from None


def _wrong(content: object, remedy: str) -> TypeError:
    return TypeError(f"content is {type(content).__name__!r}: {remedy}")


def _open_channel(content: Any, runtime: Runtime, options: SourceOptions) -> Source:
    library = cast("Runtime", runtime_of_channel(content))
    return ChannelSource(runtime, cast("ReceiveChannel", content), library, options.sep)


def _open_subscription(content: Subscription, runtime: Runtime, options: SourceOptions) -> Source:
    return SubscriptionSource(cursor_of(content))


def _open_producer(
    content: Callable[..., Awaitable[object]], runtime: Runtime, options: SourceOptions
) -> Source:
    return ProducerSource(runtime, content, options.max_buffer_size, options.preflight, options.sep)


def _open_iteration(
    content: AsyncIterable[object], runtime: Runtime, options: SourceOptions
) -> Source:
    return IterationSource(
        runtime, content, options.run_ahead, options.cleanup_timeout, options.sep
    )


def _open_thread(content: Iterable[object], runtime: Runtime, options: SourceOptions) -> Source:
    return ThreadSource(
        runtime,
        content,
        options.run_ahead,
        options.sync_limit,
        options.cleanup_timeout,
        options.sep,
    )
