"""The switch that ends all streams of the process."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from typing import Any, ClassVar

from .._runtime import current_runtime


class _Switch(type):
    """Tells all streams when ``should_exit`` is assigned, in whatever thread."""

    def __setattr__(cls, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "should_exit" and value:
            for call in tuple(AppStatus._calls):  # pyright: ignore[reportPrivateUsage]
                with suppress(RuntimeError):  # its event loop has ended, perhaps just now
                    call()


@contextmanager
def told_to_exit(then: Callable[[], object]) -> Generator[None]:
    """Call ``then`` in this event loop when ``AppStatus.should_exit`` is set, or if it is."""
    # In this context: another thread's does not know which event loop it is in.
    call = partial(current_runtime().caller_from_threads(), copy_context().run, then)
    calls = AppStatus._calls  # pyright: ignore[reportPrivateUsage]
    calls.add(call)
    try:
        if AppStatus.should_exit:
            call()
        yield
    finally:
        calls.discard(call)


class _ExitEvent:
    """``AppStatus.should_exit`` as the event that it was in version 1 and 2."""

    def is_set(self) -> bool:
        return AppStatus.should_exit

    def set(self) -> None:
        AppStatus.should_exit = True

    async def wait(self) -> None:
        told = current_runtime().Event()
        with told_to_exit(told.set):
            await told.wait()


class AppStatus(metaclass=_Switch):
    """The switch by which a program ends all streams of this module, in all its event loops.

    ``AppStatus.should_exit = True`` drains, as `trio_sse.drain` does, from any thread or
    signal handler: at once, without polling. While it stays set, new streams are refused
    softly. A server that shuts down does not set it.
    """

    should_exit: ClassVar[bool] = False
    """Whether to drain."""
    should_exit_event: ClassVar[Any] = _ExitEvent()
    """The same as an event; what tests put in its place to reset it changes nothing."""
    enable_automatic_graceful_drain: ClassVar[bool] = True
    """Whether streams end when their server shuts down, and not by ``should_exit`` alone."""
    original_handler: ClassVar[Callable[..., Any] | None] = None
    """What `handle_exit` calls after it, if you set it: nothing is patched here."""
    _calls: ClassVar[set[Callable[[], object]]] = set()

    @staticmethod
    def disable_automatic_graceful_drain() -> None:
        """Let streams go on when the server shuts down, until ``should_exit`` is set."""
        AppStatus.enable_automatic_graceful_drain = False

    @staticmethod
    def enable_automatic_graceful_drain_mode() -> None:
        """Undo `disable_automatic_graceful_drain`."""
        AppStatus.enable_automatic_graceful_drain = True

    @staticmethod
    def handle_exit(*args: Any, **kwargs: Any) -> None:
        """Set ``should_exit``, unless draining is not automatic, and call ``original_handler``.

        It can be the handler of a signal.
        """
        if AppStatus.enable_automatic_graceful_drain:
            AppStatus.should_exit = True
        if AppStatus.original_handler is not None:
            AppStatus.original_handler(*args, **kwargs)
