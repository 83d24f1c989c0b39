"""The benchmarks: ``python -m benchmarks``, at the root of the repository; see README.md."""

import argparse
import importlib.util
import os
import platform
import signal
import sys
import time
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import _report
from ._client import compiled
from ._runner import Runner
from ._serve import SERVERS

NEEDED = {
    "hypercorn": "hypercorn",
    "uvicorn": "uvicorn",
    "httptools": "httptools",
    "granian": "granian",
    "sse_starlette": "sse-starlette",
    "fastapi": "fastapi",
    "httpx": "httpx",
    "httpx_sse": "httpx-sse",
}
SETTINGS = ("default", "tuned")


def parse() -> argparse.Namespace:
    """Return what the command is told."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="how a scenario's name begins; all by default")
    parser.add_argument("--quick", action="store_true", help="only see that everything works")
    parser.add_argument("--rounds", type=int, help="5 by default")
    parser.add_argument("--servers", type=words, default=list(SERVERS))
    libraries = "trio_sse,sse_starlette,fastapi,starlette,raw"
    parser.add_argument("--libraries", type=words, default=words(libraries))
    parser.add_argument("--gc", type=words, help="default, tuned or, by default, both")
    parser.add_argument("--output", type=Path, default=Path("benchmarks.jsonl"))
    parser.add_argument("--report", action="store_true", help="only write table and chart again")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    arguments.gc = arguments.gc or (SETTINGS[:1] if arguments.quick else SETTINGS)
    for server in arguments.servers:
        if server not in SERVERS:
            parser.error(f"{server} is none of {', '.join(SERVERS)}")
    return arguments


def words(text: str) -> list[str]:
    """Return what is between the commas."""
    return text.split(",")


def check_installed() -> None:
    """Exit if something is missing, and say what to do."""
    missing = [name for module, name in NEEDED.items() if not importlib.util.find_spec(module)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; pip install {' '.join(missing)}")
    compiled()


def describe() -> str:
    """Return what was measured with."""
    versions = []
    for name in ("trio", "anyio", "starlette", *NEEDED.values()):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"Python {platform.python_version()}, {platform.release()}, {', '.join(versions)}"


def main() -> None:
    """Run the benchmarks."""
    arguments = parse()
    if not arguments.report:
        check_installed()
        cores = sorted(os.sched_getaffinity(0))
        arguments.server_core = cores[0]
        os.sched_setaffinity(0, {cores[-1]})  # the clients inherit that
        if len(cores) == 1:
            print("only one core: the client slows the server down", file=sys.stderr)
        print(describe(), flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and leave no server
        start = time.monotonic()
        with ExitStack() as stack:
            runner = Runner(arguments, stack)
            runner.run()
        print(f"{time.monotonic() - start:.0f} seconds")
    _report.write(arguments.output)
    print(f"{arguments.output} and, beside it, .md and .svg")
    if not arguments.report and runner.failures:
        log = arguments.output.with_suffix(".log")
        sys.exit(f"{runner.failures} runs failed: they are no results; {log} is of the servers")


if __name__ == "__main__":
    main()
