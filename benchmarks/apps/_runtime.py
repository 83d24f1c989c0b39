"""The few names that the apps need, of trio or of asyncio: whichever the server runs on."""

import os

SERVER = "TRIO_SSE_BENCHMARK_SERVER"
TRIO = os.environ.get(SERVER, "") in ("hypercorn-trio", "trio_sse.serve")

if TRIO:
    from trio import WouldBlock, open_memory_channel, open_nursery
    from trio.lowlevel import checkpoint
else:
    import asyncio

    from anyio import WouldBlock
    from anyio import create_memory_object_stream as open_memory_channel
    from anyio import create_task_group as open_nursery

    async def checkpoint() -> None:
        """Let every other task have a turn: what asyncio's users write for it."""
        await asyncio.sleep(0)


__all__ = ["SERVER", "TRIO", "WouldBlock", "checkpoint", "open_memory_channel", "open_nursery"]
