"""Run a script where a part of the platform is missing, as it is on another one.

    python without.py socket.SO_LINGER script.py

The part is a name of the modules socket or signal, or /proc.
"""

import builtins
import io
import os
import runpy
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

READERS = [
    (builtins, "open"),
    (io, "open"),
    *((os, name) for name in ("open", "listdir", "scandir", "stat", "lstat", "readlink")),
]


def without_proc(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(path: Any = ".", *args: Any, **kwargs: Any) -> Any:
        if not isinstance(path, int) and os.fsdecode(path).startswith("/proc"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return function(path, *args, **kwargs)

    return wrapper


def remove(part: str) -> None:
    """Take a part away, wherever it can be reached from."""
    if part == "/proc":
        for module, name in READERS:
            setattr(module, name, without_proc(getattr(module, name)))
        return
    module_name, _, name = part.partition(".")
    for namespace in (vars(__import__(module_name)), vars(__import__(f"_{module_name}"))):
        namespace.pop(name, None)
        if name in namespace.get("__all__", ()):
            namespace["__all__"].remove(name)


if __name__ == "__main__":
    _, *parts, script = sys.argv
    for part in parts:
        remove(part)
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")
