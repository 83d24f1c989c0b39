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
    ears = [Ear(number, then) for number in numbers]
    try:
        yield
    finally:
        for ear in ears:
            ear.close()


class Ear:
    """A handler of one signal, around the former one.

    Args:
        number: The signal.
        then: What to call.
    """

    def __init__(self, number: int, then: Callable[[bool], object]) -> None:
        self._number = number
        self._then = then
        self._open = True
        self._former: Any = signal.getsignal(number)
        # None is a handler that was not installed from Python, and could not be put back.
        if self._former not in (signal.SIG_IGN, None):
            signal.signal(number, self.hear)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        fatal = self._former is signal.SIG_DFL
        if self._open:
            self._then(fatal)
        elif fatal:  # somebody has put this handler back, or calls it, after its time
            die_of(number)
        if callable(self._former):
            self._former(number, frame)

    def close(self) -> None:
        """Put the former handler back, unless somebody has put theirs around this one."""
        self._open = False
        if signal.getsignal(self._number) == self.hear:
            signal.signal(self._number, self._former)


def die_of(number: int) -> None:
    """End the process as a signal does where nobody handles it."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
