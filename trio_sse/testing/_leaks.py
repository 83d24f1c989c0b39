"""What an app may leave behind: tasks, and generators that were not closed."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar
from types import AsyncGeneratorType
from typing import Any

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
    """Return those tasks that inherited a value of a context variable, as far as they tell."""
    contexts = [(task, _context_of(task)) for task in tasks]
    return [task for task, context in contexts if context is None or context.get(variable) is value]


def _context_of(task: Any) -> Context | None:
    if isinstance(task, trio.lowlevel.Task):
        return task.context
    get_context = getattr(task, "get_context", None)  # of asyncio's tasks, from Python 3.12 on
    return None if get_context is None else get_context()


@asynccontextmanager
async def check_leaks() -> AsyncGenerator[None]:
    """Check that a block leaves nothing behind: no task, no async generator that is not closed.

    On trio and on asyncio. What there was before does not count.

    Raises:
        LeakError: at the end of the block.

    Example::

        async with check_leaks():
            await drive_the_app()
    """
    tasks, generators = living_tasks(), _open_generators()
    yield
    for _ in range(_TURNS):
        await anyio.lowlevel.checkpoint()
    left = [*(living_tasks() - tasks), *_without(_open_generators(), generators)]
    if left:
        raise LeakError(f"left behind: {', '.join(map(repr, left))}")


def _open_generators() -> list[Any]:
    gc.collect()
    return [
        thing
        for thing in gc.get_objects()
        if isinstance(thing, AsyncGeneratorType) and thing.ag_frame is not None
    ]


def _without(things: list[Any], others: list[Any]) -> list[Any]:
    known = set(map(id, others))
    return [thing for thing in things if id(thing) not in known]
