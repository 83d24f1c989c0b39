"""Who owns an ASGI callable, behind the middlewares that have wrapped it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType
from typing import Any

# More than any stack of middlewares; a bound, in case something leads in circles.
_MOST = 100

_NAMES = ("send", "receive")


def origins(callables: Iterable[Callable[..., Any]]) -> Iterator[object]:
    """Yield the objects whose methods the callables lead to, the nearest first.

    A middleware keeps what it wraps under a name that says so: as a variable of a
    closure, an argument of a partial or an attribute. Starlette's ``BaseHTTPMiddleware``
    leads there by its ``receive``: the request behind it has the outer ``send`` too.
    """
    waiting = deque(callables)
    seen: set[int] = set()
    while waiting and len(seen) < _MOST:
        thing = waiting.popleft()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        owner = getattr(thing, "__self__", None)
        if owner is not None:
            yield owner
        waiting.extend(_wrapped(thing))


def _wrapped(thing: Any) -> Iterator[Any]:
    """Yield what a callable wraps, as far as its names tell."""
    match thing:
        case partial():
            yield from (thing.func, *thing.args)
            yield from _named(thing.keywords)
        case MethodType():
            yield thing.__func__
            yield from _named(getattr(thing.__self__, "__dict__", {}))
        case FunctionType():
            yield from _named(_closed_over(thing))
        case _:
            yield from _named(getattr(thing, "__dict__", {}))


def _closed_over(function: FunctionType) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not assigned yet
            variables[name] = cell.cell_contents
    return variables


def _named(variables: dict[str, Any]) -> Iterator[Any]:
    for name, value in variables.items():
        if callable(value) and any(part in name for part in _NAMES):
            yield value
