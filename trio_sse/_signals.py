"""Hearing of a signal without taking it away from whoever handles it."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Those by which servers are told to leave; the first by systemd, Docker and Kubernetes.
_NAMES = ("SIGTERM", "SIGINT")


@contextmanager
def overheard(then: Callable[[bool], object]) -> Generator[None, None, None]:
    """Call ``then`` at SIGTERM and SIGINT, from the handler, and the former handler after it.

    A signal that is ignored stays ignored. ``then`` is told whether the signal would have
    ended the process at once: there is nobody to call after it.

    Only the main thread can have handlers; from another nothing is heard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    ours = [_overhear(number, then) for number in numbers]
    try:
        yield
    finally:
        for number, handler, former in ours:
            if signal.getsignal(number) is handler:
                signal.signal(number, former)


def _overhear(number: int, then: Callable[[bool], object]) -> tuple[int, Any, Any]:
    former = signal.getsignal(number)

    def overhear(number: int, frame: FrameType | None) -> None:
        then(former is signal.SIG_DFL)
        if callable(former):
            former(number, frame)

    # None is a handler that was not installed from Python, and could not be put back.
    if former not in (signal.SIG_IGN, None):
        signal.signal(number, overhear)
    return number, overhear, former


def die_of_sigterm() -> None:
    """End the process as SIGTERM does where nobody handles it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
