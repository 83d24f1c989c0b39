"""Doing something before the n-th step of a set of tasks, on either runtime."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

import trio

counted: ContextVar[bool] = ContextVar("counted", default=False)
"""Set it where a task is started: the steps of that task and its children count."""


class Steps:
    """Counts steps and calls ``action`` before step number ``at``.

    A step is what a task does between two visits to the event loop.
    """

    def __init__(self, at: int, action: Callable[[], object]) -> None:
        self.taken = 0
        self._at = at
        self._action = action

    @property
    def acted(self) -> bool:
        return self.taken >= self._at

    def tick(self) -> None:
        self.taken += 1
        if self.taken == self._at:
            self._action()

    @contextmanager
    def counting(self, runtime_name: str):
        if runtime_name == "trio":
            instrument = _StepInstrument(self)
            trio.lowlevel.add_instrument(instrument)
            yield
            trio.lowlevel.remove_instrument(instrument)
        else:
            loop = asyncio.get_running_loop()
            loop.set_task_factory(self._make_task)
            yield
            loop.set_task_factory(None)

    def _make_task(self, loop, coroutine, **kwargs):
        context = kwargs.get("context") or copy_context()
        if context.get(counted):
            coroutine = _SteppedCoroutine(coroutine, self)
        return asyncio.Task(coroutine, loop=loop, **kwargs)


class _StepInstrument(trio.abc.Instrument):
    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.context.get(counted):
            self._steps.tick()


class _SteppedCoroutine(Coroutine[Any, Any, Any]):
    def __init__(self, coroutine: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self._coroutine = coroutine
        self._steps = steps

    def send(self, value: Any) -> Any:
        self._steps.tick()
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        self._steps.tick()
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)
