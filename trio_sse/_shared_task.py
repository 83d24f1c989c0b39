"""One task for many streams."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol


class Host(Protocol):
    """What has a nursery."""

    def start_soon(self, async_fn: Callable[[], Coroutine[Any, Any, None]], /) -> None:
        """Start a task in it."""
        ...


class SharedTask:
    """A task that does something for many hosts, and lives in the nursery of one of them.

    When that is closed, another host's has it. So there is no such task without a nursery
    that waits for it, and it ends with the last of those it is there for.

    Args:
        async_fn: What the task runs: again if it is cancelled or interrupted, but no more once it
            returns, or raises.
    """

    __slots__ = ("_async_fn", "_hosts", "_over", "_runs")

    def __init__(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        self._async_fn = async_fn
        self._runs = self._over = False
        # Who could have it. A dict is slow to say what it begins with, once that was deleted
        # often.
        self._hosts: OrderedDict[Host, None] = OrderedDict()

    def __bool__(self) -> bool:
        """Tell whether there is anyone that could have it."""
        return bool(self._hosts)

    def join(self, host: Host) -> None:
        """Do it for this host too, whose nursery may get the task from now on."""
        self._hosts[host] = None
        self._start_if_needed()

    def leave(self, host: Host) -> None:
        """Do it for this host no more. To be called before its nursery is closed."""
        self._hosts.pop(host, None)

    def _start_if_needed(self) -> None:
        if self._hosts and not self._runs and not self._over:
            self._runs = True
            host = next(iter(self._hosts))
            host.start_soon(partial(self._run, host))

    async def _run(self, host: Host) -> None:
        over = True
        try:
            await self._async_fn()
        except BaseException as error:
            over = isinstance(error, Exception | GeneratorExit)
            raise
        finally:
            self._runs, self._over = False, over
            # Who was cancelled has no use for it, and may yet take its time to leave.
            self._hosts.pop(host, None)
            self._start_if_needed()
