"""What an app may leave behind: tasks, and generators that were not closed."""

import asyncio
import gc
import sys
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context, ContextVar
from typing import Any
from weakref import WeakSet

import anyio.lowlevel
import trio

# Of the event loop, for tasks that are about to end.
_TURNS = 5


class LeakError(AssertionError):
    """Something has outlived what it belonged to."""


def living_tasks() -> set[Any]:
    """Return the tasks of this event loop that have not ended."""
    if not trio.lowlevel.in_trio_run():
        return set(asyncio.all_tasks())
    root = trio.lowlevel.current_root_task()
    tasks = [root] if root is not None else []
    for task in tasks:
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return set(tasks)


def started_with(variable: ContextVar[Any], value: object, tasks: Iterable[Any]) -> list[Any]:
    """Return those tasks that inherited a value of a context variable.

    Asyncio's tell from Python 3.12 on.
    """
    contexts = [(task, _context_of(task)) for task in tasks]
    return [task for task, context in contexts if context and context.get(variable) is value]


def _context_of(task: Any) -> Context | None:
    if isinstance(task, trio.lowlevel.Task):
        return task.context
    get_context = getattr(task, "get_context", None)  # of asyncio's tasks, from Python 3.12 on
    return None if get_context is None else get_context()


@asynccontextmanager
async def check_leaks() -> AsyncGenerator[None]:
    """Check that a block leaves nothing behind: no task, no async generator that is not closed.

    On trio and on asyncio. What there was before does not count. A generator that nobody refers
    to any more counts: the event loop closes it, but who knows when.

    Raises:
        LeakError: at the end of the block.

    Example::

        async with check_leaks():
            await drive_the_app()
    """
    tasks = living_tasks()
    with noting_generators() as (begun, dropped):
        yield
        for _ in range(_TURNS):
            await anyio.lowlevel.checkpoint()
    left = [*dropped, *(each for each in begun if each.ag_frame is not None)]
    left += living_tasks() - tasks
    if left:
        raise LeakError(f"left behind: {', '.join(map(repr, left))}")


@contextmanager
def noting_generators() -> Generator[tuple[WeakSet[Any], list[str]]]:
    """Note the async generators that begin, and the names of those that are dropped."""
    hooks: Any = sys.get_asyncgen_hooks()  # of the event loop: both have some
    begun: WeakSet[Any] = WeakSet()
    dropped: list[str] = []

    def note_begun(generator: Any) -> None:
        begun.add(generator)
        hooks.firstiter(generator)

    def note_dropped(generator: Any) -> None:
        dropped.append(generator.__qualname__)
        hooks.finalizer(generator)

    sys.set_asyncgen_hooks(note_begun, note_dropped)
    try:
        yield begun, dropped
        gc.collect()
    finally:
        sys.set_asyncgen_hooks(*hooks)
