"""A task that fills a source."""

from collections.abc import Awaitable, Callable
from typing import cast

from .._runtime import Runtime


class Feeder:
    """Runs user code in a task of its own, and keeps what it raises.

    The exception is kept, not raised into the nursery, because what the code
    sent before it must be written first; a group around it never forms.

    Args:
        runtime: The runtime of the stream.
        feed: What the task runs.
        errors: Where the exception goes.
        ended: Called when the task is over, on every way out.
    """

    __slots__ = ("_ended", "_errors", "_feed", "_scope", "running")

    def __init__(
        self,
        runtime: Runtime,
        feed: Callable[[], Awaitable[object]],
        errors: list[Exception],
        ended: Callable[[], object],
    ) -> None:
        self._feed = feed
        self._errors = errors
        self._ended = ended
        self._scope = runtime.CancelScope()
        self.running = True

    async def run(self) -> None:
        """Feed until the user's code is done or stopped."""
        try:
            with self._scope:
                await self._feed()
        except Exception as error:
            self._errors.append(error)
        except BaseExceptionGroup as group:
            # A nursery in the user's code that failed while it was being cancelled.
            errors, rest = group.split(Exception)
            if errors is not None:
                self._errors.append(errors)
            # What made it no ExceptionGroup is never missing.
            raise cast("BaseExceptionGroup[BaseException]", rest) from None
        finally:
            self.running = False
            self._ended()
            self.let_go()

    def let_go(self) -> None:
        """Refer to the source no more, which refers to this: no collector need find them."""
        del self._feed, self._ended

    def stop(self) -> None:
        """Cancel the user's code; its clean-up runs in its own task."""
        self._scope.cancel()
