"""Passing for sse-starlette where other packages import it."""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from types import ModuleType

from ._status import AppStatus

_NAMES = ("sse_starlette", "sse_starlette.event", "sse_starlette.sse")


def install_as_sse_starlette() -> None:
    """Let ``import sse_starlette``, here and in other packages, find this module's names.

    Puts modules of the names ``sse_starlette``, ``sse_starlette.sse`` and
    ``sse_starlette.event`` into ``sys.modules``. Call it first in the program, before anything
    imports them; calling it again changes nothing.

    Raises:
        ImportError: if sse-starlette itself has been imported already.

    Example::

        import trio_sse.compat

        trio_sse.compat.install_as_sse_starlette()

        from mcp.server.mcpserver import MCPServer
    """
    for name in _NAMES:
        there = sys.modules.get(name)
        if there is not None and getattr(there, "AppStatus", None) is not AppStatus:
            raise ImportError(
                f"{name} has been imported already, from {getattr(there, '__file__', None)}; "
                "call install_as_sse_starlette() before anything imports it",
                name=name,
            )
    if _NAMES[0] not in sys.modules:
        package, *modules = map(_module, _NAMES)
        for module in modules:
            setattr(package, module.__name__.rpartition(".")[2], module)
        sys.modules |= {module.__name__: module for module in (package, *modules)}


def _module(name: str) -> ModuleType:
    """Return a module that has the public names of this package."""
    compat = vars(sys.modules[__name__.rpartition(".")[0]])
    module = module_from_spec(ModuleSpec(name, None, is_package=name == _NAMES[0]))
    vars(module).update({public: compat[public] for public in ("__version__", *compat["__all__"])})
    return module
