"""What comes out of a nursery, and in which shape it leaves."""

from collections.abc import Generator
from contextlib import contextmanager
from math import inf
from typing import cast

from ._runtime import Runtime


@contextmanager
def errors_alone(depth: float = inf) -> Generator[None, None, None]:
    """Let what comes out of nurseries out of groups of one; a group of several stays.

    Args:
        depth: How many nurseries there are; a group that was raised inside of them stays.
    """
    raised: BaseException | None = None
    try:
        yield
    except BaseException as error:
        raised = _alone(error, depth)
    if raised is not None:
        try:
            raise raised
        finally:
            del raised


def _alone(error: BaseException, depth: float) -> BaseException:
    if depth and isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return _alone(group.exceptions[0], depth - 1) if len(group.exceptions) == 1 else group
    return error


def without_group(error: BaseException, runtime: Runtime) -> BaseException:
    """Return what a nursery raised: an interrupt before a cancellation, and alone."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
    leaves = [without_group(leaf, runtime) for leaf in inner]
    interrupts = [leaf for leaf in leaves if not runtime.is_cancelled(leaf)]
    return (interrupts or leaves)[0]


def raise_outcome(
    interrupt: BaseException | None, errors: list[Exception], runtime: Runtime
) -> None:
    """Raise what user code raised, or the interrupt or cancellation that came; or nothing.

    Empties ``errors``: an exception that can be reached from its own traceback
    would keep the stream until the next collection.
    """
    try:
        if interrupt is not None and not (errors and runtime.is_cancelled(interrupt)):
            raise interrupt
        if len(errors) == 1:
            raise errors.pop()
        if errors:
            raise ExceptionGroup("several tasks of one event stream raised", tuple(errors))
    finally:
        errors.clear()
        del interrupt
