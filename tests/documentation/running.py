"""Running the blocks of a page, as a reader would who copies them into one program."""

import ast
import builtins
import dis
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from types import CodeType
from typing import Any

import trio

from trio_sse.testing import check_leaks

from .pages import SETUP, Block

# What the pages say that the reader's own app is served at.
READERS_ADDRESS = "127.0.0.1:8000"

# Seconds of virtual time for a block that does not end by itself.
AN_HOUR = 3600.0

# Seconds of real time for one that is to print something that comes over a socket.
A_MOMENT = 30.0


class Program:
    """What the blocks of a page have defined so far.

    Code of a setup sees two names more: ``stack``, to enter what has to last for the page, and
    ``await serve(app)``, which serves an app where the page says that it is.
    """

    def __init__(self, nursery: trio.Nursery, stack: AsyncExitStack) -> None:
        self.names: dict[str, Any] = {"__name__": "page", "stack": stack, "serve": self._serve}
        self._nursery = nursery
        self._address: str | None = None
        self._codes: list[CodeType] = []

    async def run(self, block: Block) -> None:
        """Run a block, with ``await`` allowed outside of functions, as pages have it.

        One that does not end by itself is run for an hour; on a page with a server, until it has
        printed something.
        """
        source = block.source
        if self._address is not None:
            source = source.replace(READERS_ADDRESS, self._address)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(source, str(block.page), "exec", flags=flags, dont_inherit=True)
        self._codes.append(code)
        if block.language == SETUP:
            await self._call(code)
            return
        if self._address is None:
            with trio.move_on_after(AN_HOUR):
                await self._call(code)
        else:
            await self._run_until_it_prints(code)

    async def run_tests(self) -> None:
        """Run the tests that the page has defined."""
        for name, test in self.names.items():
            if name.startswith("test_"):
                async with check_leaks():
                    await test()

    def unknown_names(self) -> list[str]:
        """Return what functions of the page use, and nobody has defined."""
        known = {*self.names, *vars(builtins)}
        return sorted({name for code in self._codes for name in _globals_below(code)} - known)

    async def _run_until_it_prints(self, code: CodeType) -> None:
        printed: list[object] = []
        with trio.move_on_after(A_MOMENT) as scope:
            self.names["print"] = lambda *values: (printed.extend(values), scope.cancel())
            await self._call(code)
        assert printed or not scope.cancelled_caught, "the block prints nothing, and does not end"

    async def _call(self, code: CodeType) -> None:
        result: Awaitable[object] | None = eval(code, self.names)
        if result is not None:
            await result

    async def _serve(self, app: Callable[..., Awaitable[object]]) -> None:
        from hypercorn.config import Config

        from trio_sse.hypercorn import serve

        config = Config.from_mapping(bind="127.0.0.1:0", loglevel="WARNING")
        trigger = trio.sleep_forever
        start = partial(serve, app, config, shutdown_trigger=trigger)
        bound: list[str] = await self._nursery.start(start)
        self._address = bound[0].removeprefix("http://")


async def run_page(blocks: Iterable[Block]) -> Program:
    """Run the blocks of a page."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        program = Program(nursery, stack)
        for block in blocks:
            await program.run(block)
        nursery.cancel_scope.cancel()
    return program


def _globals_below(code: CodeType) -> Iterator[str]:
    """Yield the global names that the functions in a piece of code use."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            for instruction in dis.get_instructions(inner):
                if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                    yield str(instruction.argval)
            yield from _globals_below(inner)
