"""A program with uvicorn inside, in a task or in a thread; SIGUSR1 asks it to exit.

python -m hostile.embedded task|thread
"""

import asyncio
import signal
import sys
import threading
from typing import Any

import uvicorn

from .app import app

if __name__ == "__main__":
    server = uvicorn.Server(uvicorn.Config(app, port=0))

    def leave(*args: Any) -> None:
        server.should_exit = True

    signal.signal(signal.SIGUSR1, leave)
    if sys.argv[1] == "thread":
        thread = threading.Thread(target=server.run)
        thread.start()
        thread.join()
    else:
        asyncio.run(server.serve())
