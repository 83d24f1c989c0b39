"""A connection to Redis that is made again whenever it is lost."""

import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Protocol

from coredis.exceptions import BusyLoadingError, RedisError
from coredis.exceptions import ConnectionError as RedisConnectionError

from .._backoff import backoff
from .._runtime import CancelScope, Event, Runtime

logger = logging.getLogger("trio_sse")

# Seconds. The first attempt comes at once, since most that end a connection let it be made
# again; a hundred processes whose Redis restarts come back within two.
FIRST_DELAY = 0.1
LONGEST_DELAY = 2.0

# Seconds after which a connection was of use: the next failure is the first again.
USEFUL = 0.5


class NotSentError(Exception):
    """The connection was lost before a command was sent."""


class NoAnswerError(Exception):
    """A command was sent, and the connection lost or given up before an answer came."""


class RefusedError(Exception):
    """The answer is an error: the command was not executed."""


OUTAGE = (NotSentError, NoAnswerError, RefusedError)


class Connection(Protocol):
    """What is used of a connection of coredis."""

    def run(self, *, task_status: Any) -> Awaitable[None]: ...
    def create_request(self, command: bytes, *args: str | int | bytes) -> Awaitable[Any]: ...
    def invalidate(self, reason: str | None = None) -> None: ...


class Link:
    """A connection for commands of one kind.

    Args:
        runtime: The runtime of the hub.
        is_reachable: Tells whether there is somebody to connect to.
        connect: Makes a connection, which is not connected yet.
        purpose: What it is for, in the log.
        timeout: For how many seconds an answer may take before the connection is given up.
    """

    error: Exception | None
    """Why there is no connection, or was none."""

    def __init__(
        self,
        runtime: Runtime,
        is_reachable: Callable[[], Awaitable[bool]],
        connect: Callable[[], Connection],
        purpose: str,
        timeout: float,
    ) -> None:
        self._runtime = runtime
        self._is_reachable = is_reachable
        self._connect = connect
        self._purpose = purpose
        self._timeout = timeout
        self._connection: Connection | None = None
        self._changed: Event = runtime.Event()
        self._failures = 0
        self._since: float | None = None  # when the connection was made
        self._closed = False
        self.error = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    async def run(self) -> None:
        """Keep a connection, until cancelled."""
        runtime = self._runtime
        while True:
            await self._run()
            self._set(None)
            self._note_failure()
            await runtime.sleep(backoff(self._failures, FIRST_DELAY, LONGEST_DELAY))

    async def attempted(self) -> Connection:
        """Return the first connection, once it is there.

        Raises:
            NotSentError: if the first attempt has failed.
        """
        while self._connection is None:
            if self._failures:
                raise NotSentError(str(self.error)) from self.error
            await self._changed.wait()
        return self._connection

    async def connection(self) -> Connection:
        """Wait for a connection. Always a checkpoint.

        Raises:
            ClosedResourceError: if the engine is closed.
        """
        await self._runtime.checkpoint()
        while self._connection is None or self._closed:
            if self._closed:
                raise self._runtime.ClosedResourceError("the engine is closed")
            await self._changed.wait()
        return self._connection

    async def call(
        self, connection: Connection, command: bytes, *arguments: str | int, wait: float = 0
    ) -> Any:
        """Send a command and return its answer.

        Args:
            connection: Where to.
            command: What.
            arguments: With what.
            wait: For how many seconds Redis is to wait before it answers.

        Raises:
            NotSentError: if the connection has been lost.
            NoAnswerError: if it is lost now, or given up.
            RefusedError: if the answer is an error.
        """
        try:
            request = connection.create_request(command, *arguments)
        except RedisConnectionError as error:
            raise NotSentError("the connection to Redis has been lost") from error
        deadline = self._runtime.current_time() + self._timeout + wait
        with self._runtime.CancelScope(deadline=deadline):
            return await self._answer(request)
        raise NoAnswerError(f"Redis has not answered within {self._timeout:g} s")

    def give_up(self, connection: Connection, error: Exception) -> None:
        """End a connection that is of no use any more, and let another be made."""
        self.error = error
        connection.invalidate(str(error))
        if self._connection is connection:
            self._set(None)

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True
        self._wake()

    async def _answer(self, request: Awaitable[Any]) -> Any:
        try:
            return await request
        except BusyLoadingError as error:  # to coredis, an error of the connection
            raise RefusedError(str(error)) from error
        except RedisConnectionError as error:
            raise NoAnswerError(str(error)) from error
        except RedisError as error:
            raise RefusedError(str(error)) from error
        except Exception as error:  # whatever has ended the connection, of TLS for one
            raise NoAnswerError(str(error)) from error

    async def _run(self) -> None:
        """Run a connection, from the first attempt to its end."""
        runtime = self._runtime
        with runtime.CancelScope(deadline=runtime.current_time() + self._timeout) as scope:
            # An attempt of coredis that fails leaves memory streams open, which anyio warns of.
            if not await self._is_reachable():
                self.error = NotSentError("it cannot be connected to")
                return
            connection = self._connect()
            try:
                await connection.run(task_status=_Started(self, connection, scope))
            except RedisError as error:
                self.error = error
        if scope.cancel_called:  # in the handshake coredis makes an error of it
            self.error = NoAnswerError(f"Redis has not answered within {self._timeout:g} s")

    def _note_failure(self) -> None:
        now = self._runtime.current_time()
        if self._since is not None:
            logger.warning(
                "no connection to Redis for %s: %s; trying until there is one",
                self._purpose,
                self.error or "it was closed",
            )
            if now - self._since >= USEFUL:
                self._failures = 0
            self._since = None
        self._failures += 1
        self._wake()

    def _set(self, connection: Connection | None) -> None:
        self._connection = connection
        self._wake()

    def _start(self, connection: Connection) -> None:
        if self._failures:
            logger.info("Redis is back, for %s", self._purpose)
        self._since = self._runtime.current_time()
        self.error = None
        self._set(connection)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = self._runtime.Event()


class _Started:
    """Told when a connection is there, as a nursery's ``task_status`` is."""

    def __init__(self, link: Link, connection: Connection, scope: CancelScope) -> None:
        self._link = link
        self._connection = connection
        self._scope = scope

    def started(self, value: object = None) -> None:
        self._scope.deadline = inf
        self._link._start(self._connection)  # pyright: ignore[reportPrivateUsage]
