"""A program that serves the app by `trio_sse.hypercorn.serve`.

python -m hostile.program [--certificate FILE --key FILE] [--write-timeout SECONDS]
    [--stop-on SIGNAL]
"""

import argparse
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import hypercorn
import trio

import trio_sse.hypercorn

from .app import app


async def main(options: argparse.Namespace) -> None:
    config = hypercorn.Config()
    if options.certificate:
        config.bind, config.insecure_bind = "127.0.0.1:0", "127.0.0.1:0"
        config.certfile, config.keyfile = options.certificate, options.key
    else:
        config.bind = "127.0.0.1:0"
    serve = partial(
        trio_sse.hypercorn.serve,
        shutdown_trigger=stop_on(options.stop_on),
        write_timeout=options.write_timeout,
    )
    async with trio.open_nursery() as nursery:
        print("started:", *await nursery.start(serve, app, config), flush=True)


def stop_on(name: str | None) -> Callable[[], Awaitable[None]] | None:
    async def stopped() -> None:
        with trio.open_signal_receiver(signal.Signals[name]) as signals:
            await anext(aiter(signals))

    return None if name is None else stopped


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--write-timeout", type=float, default=30)
    parser.add_argument("--stop-on")
    trio.run(main, parser.parse_args())
