"""The engine of hubs in several processes, whose events are in a stream of Redis."""

import re
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from inspect import Parameter, signature
from ssl import create_default_context
from typing import Any
from urllib.parse import parse_qs, urlsplit

from coredis.pool import ConnectionPool

from .._abc import Engine, Sink
from .._arguments import check_count, check_instance, check_seconds
from .._event import ServerSentEvent
from .._history import DEFAULT_MAX_AGE, DEFAULT_MAX_EVENTS, Record
from .._runtime import current_runtime
from ._entry import id_of, read_id
from ._link import Connection
from ._scripts import Keys
from ._session import Session, Timing
from ._store import Bounds

SCHEMES = ("redis", "rediss", "unix")

# What the engine itself says to its connections.
FIXED = {
    "decode_responses",
    "encoding",
    "max_idle_time",
    "noreply",
    "processing_budget",
    "stream_timeout",
}

# What a url of rediss:// may say of TLS.
TLS = {"ssl_keyfile", "ssl_certfile", "ssl_check_hostname", "ssl_ca_certs", "ssl_cert_reqs"}

DEFAULT_NAME = "hub"

# Far beyond any use, and far from what Redis can count to.
MOST = 10**9

# Seconds. Longer than the restart of a Redis with little to load; shorter than what those who
# wait for the answer to a request wait.
DEFAULT_PUBLISH_TIMEOUT = 10.0

# Seconds. A Redis that has more to do than to answer within it is as good as away.
DEFAULT_RESPONSE_TIMEOUT = 5.0

# Seconds. What Redis has lost while nothing was published is noticed so late, at most.
DEFAULT_HEARTBEAT = 5.0

# For how many topics it is known when they had their last event, at least. Each costs Redis
# some 100 bytes, twice.
DEFAULT_MAX_TOPICS = 100_000

# What one script is to add at once, at most: less than a millisecond.
MAX_BATCH = 100


class RedisEngine(Engine):
    """Keeps the events of a hub in Redis, for all processes that use the same name there.

    What is published in one process reaches the subscribers of all, and who comes back to
    another process goes on there. Ids are unique and in one order, over all topics and
    processes. Each process keeps the tail in the log of its hub and asks Redis for older
    events alone; it has two connections, whatever the number of topics and subscribers.

    **Publishing** is acceptance by Redis. An event whose acknowledgement was lost is sent
    again and not added twice. After ``publish_timeout`` `Hub.publish` raises a `PublishError`
    whose ``outcome`` says whether the event can still be there. What was accepted by
    `Hub.publish_nowait` is tried for as long as the hub is open; only what was sent, and not
    answered for half an hour, is given up.

    **While Redis is away** subscribers stay connected. Afterwards they get what they have
    missed; or, if Redis has it no more, a ``reset`` whose reason is ``expired`` if it was
    trimmed and ``restarted`` if Redis has lost its data, or has been replaced by one that
    does not have it all. It is a ``ConnectionError`` if Redis is not there when the hub is
    opened.

    Args:
        url: ``redis://``, ``rediss://`` (TLS, with the certificate checked) or ``unix://``, as
            coredis takes it.
        name: The name of the hub in Redis: its keys begin with ``trio_sse:{name}:``. Who
            needs more than one stream can carry opens several hubs.
        max_events: How many events Redis keeps, about; 100,000 by default.
        max_age: For how many seconds, about; 300 by default. Both are Redis's own ``~``: it
            drops whole blocks, of up to a hundred. All processes should give the same.
        max_topics: Of how many topics at least Redis knows when they had their last event;
            100,000 by default. A client of one of them that was away while the stream was
            trimmed is not told ``expired`` if it has missed nothing.
        publish_timeout: For how many seconds `Hub.publish` tries; 10 by default. For as long
            it waits before that for what is in the outbox.
        response_timeout: For how many seconds Redis may take to answer before its connection
            is given up; 5 by default.
        heartbeat: After how many seconds without an event to look whether Redis still has
            its data; 5 by default.
        connection: What else coredis's connections are to be given, ``ssl_context`` or
            ``credential_provider`` for example.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if it is out of range, or the url is none of these.

    Example::

        async with open_hub(engine=RedisEngine("redis://localhost")) as hub:
            await hub.publish("news", "to all processes")
    """

    publish_timeout: float
    max_batch: int = MAX_BATCH

    def __init__(
        self,
        url: str,
        *,
        name: str = DEFAULT_NAME,
        max_events: int = DEFAULT_MAX_EVENTS,
        max_age: float = DEFAULT_MAX_AGE,
        max_topics: int = DEFAULT_MAX_TOPICS,
        publish_timeout: float = DEFAULT_PUBLISH_TIMEOUT,
        response_timeout: float = DEFAULT_RESPONSE_TIMEOUT,
        heartbeat: float = DEFAULT_HEARTBEAT,
        **connection: Any,
    ) -> None:
        _check_url(url)
        _check_name(name)
        check_count("max_events", max_events)
        check_count("max_topics", max_topics)
        _check_bound("max_events", max_events)
        _check_bound("max_topics", max_topics)
        for argument, value in (
            ("max_age", max_age),
            ("publish_timeout", publish_timeout),
            ("response_timeout", response_timeout),
            ("heartbeat", heartbeat),
        ):
            check_seconds(argument, value, positive=True)
            _check_bound(argument, value)
        self.publish_timeout = publish_timeout
        self._keys = Keys(name)
        self._bounds = Bounds(max_events, max_age, max_topics)
        self._timing = Timing(publish_timeout, response_timeout, heartbeat)
        options = tuple(connection)
        # A pool knows how to read a url; the connections are made one by one, without it.
        connection.setdefault("connect_timeout", response_timeout)
        if url.startswith("rediss:") and not TLS.intersection(_query(url)):
            # coredis's own does not look whose the certificate is.
            connection.setdefault("ssl_context", create_default_context())
        self._pool: Any = ConnectionPool.from_url(url, **connection)
        _check_connection(self._pool, url, options)
        self._session: Session | None = None
        self._epoch: str | None = None

    @property
    def epoch(self) -> str:
        """What Redis calls this numbering; another one once it has lost its data."""
        if self._session is not None:
            return self._session.epoch
        if self._epoch is None:
            raise RuntimeError("the RedisEngine has served no hub yet")
        return self._epoch

    @property
    def connected(self) -> bool:
        """Whether Redis is there, as far as is known: for readiness probes, for example."""
        return self._session is not None and self._session.connected

    @asynccontextmanager
    async def open(self, sink: Sink, /) -> AsyncGenerator[None]:
        """Serve one hub at a time.

        Raises:
            RuntimeError: if it serves one.
            ConnectionError: if Redis is not there.
        """
        if self._session is not None:
            raise RuntimeError("a RedisEngine serves one hub at a time: make another one")
        self._session = Session(
            current_runtime(),
            self._pool.location.check,
            self._connect,
            self._keys,
            self._bounds,
            self._timing,
            sink,
        )
        try:
            async with self._session.serve(str(self._pool.location)):
                yield
        finally:
            # Ids are made of it for a moment more.
            self._epoch, self._session = self._session.epoch, None

    async def publish(self, topic: str, event: ServerSentEvent, /) -> int:
        """Add an event to the stream. Always a checkpoint.

        Raises:
            PublishError: if that was not acknowledged within ``publish_timeout``.
        """
        return await self._opened.publish(topic, event)

    async def publish_all(
        self, events: Sequence[tuple[str, ServerSentEvent]], /
    ) -> Sequence[int | Exception]:
        """Add events to the stream, however long Redis is away. Always a checkpoint."""
        return await self._opened.publish_all(events)

    async def refresh(self) -> None:
        """Ask Redis. Always a checkpoint."""
        await self._opened.earliest()

    async def reaches(self, topics: Collection[str], position: int, /) -> bool:
        """Ask Redis. Always a checkpoint."""
        return (await self._opened.read(topics, position, 0)).word == "found"

    async def earliest(self) -> int | None:
        """Ask Redis. Always a checkpoint."""
        return await self._opened.earliest()

    async def read(
        self, topics: Collection[str], position: int, limit: int, /
    ) -> tuple[Sequence[Record], int] | None:
        """Ask Redis. Always a checkpoint."""
        page = await self._opened.read(topics, position, limit)
        if page.word != "found":
            return None
        return page.records, page.looked_up_to

    def write_position(self, position: int, /) -> str:
        """Return the id that Redis has for it."""
        return id_of(position)

    def read_position(self, text: str, /) -> int | None:
        """Return the position that an id of Redis stands for."""
        return read_id(text)

    @property
    def _opened(self) -> Session:
        if self._session is None:
            raise RuntimeError("the RedisEngine serves no hub now")
        return self._session

    def _connect(self) -> Connection:
        pool = self._pool
        connection: Connection = pool.connection_class(pool.location, **pool.connection_kwargs)
        return connection


def _check_bound(name: str, value: float) -> None:
    if value > MOST:
        raise ValueError(f"{name} must be at most {MOST}, not {value:g}")


def _check_url(url: object) -> None:
    check_instance("url", url, str)
    parts = urlsplit(str(url))
    if parts.scheme not in SCHEMES:
        raise ValueError("url must begin with redis://, rediss:// or unix://")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("url must name a socket: unix:///path/to/socket")
        return
    if not parts.hostname:
        raise ValueError("url must name a host: redis://localhost:6379 for example")
    if not re.fullmatch(r"(/\d*)?", parts.path):
        raise ValueError("url must end with the number of a database, if with anything: /0")


def _check_name(name: object) -> None:
    check_instance("name", name, str)
    if not name or not str(name).isprintable() or not {"{", "}"}.isdisjoint(str(name)):
        raise ValueError(f"name must be a line of text without braces, not {name!r}")


def _check_connection(pool: Any, url: str, options: Iterable[str]) -> None:
    """Refuse what no connection takes, which coredis would see later, or not at all."""
    known = {
        name
        for base in pool.connection_class.__mro__[:-1]
        for name, parameter in signature(base).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY
    } - FIXED
    for name in {*options} - known:
        raise TypeError(f"{name} is no option of RedisEngine, or of a connection of coredis")
    for name in _query(url) - known - (TLS if url.startswith("rediss:") else set()):
        raise ValueError(f"url: {name} is no option of a connection of coredis")


def _query(url: str) -> set[str]:
    return {*parse_qs(urlsplit(url).query, keep_blank_values=True)}
