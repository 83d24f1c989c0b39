"""A browser without a window, told what to do over the DevTools protocol."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from .process import Process
from .wire import READ_TIMEOUT

NAMES = ("chromium", "chromium-browser", "google-chrome")

# No sandbox, since tests often run as root, and in containers that allow none; and these have
# little shared memory.
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-port=0")

# A process runs Python: let it become the browser.
BECOME = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"

LISTENING = r"DevTools listening on (ws://\S+)"

# Resolves as soon as a condition holds, which a page that shows it makes true by a change of
# its document.
WHEN = """new Promise((resolve) => {{
  const look = () => ({condition}) && resolve();
  new MutationObserver(look).observe(document, {{ subtree: true, childList: true }});
  look();
}})"""


def find_browser() -> str | None:
    """Return the path of a browser, or None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page in a browser, with nothing in it.

    Args:
        connection: To the browser, for this page alone.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._numbers = count(1)
        self._session: dict[str, str] = {}
        self._loaded: set[str] = set()
        target = self._call("Target.createTarget", url="about:blank")
        session = self._call("Target.attachToTarget", **target, flatten=True)
        self._session = session
        self._call("Page.enable")
        self._call("Page.setLifecycleEventsEnabled", enabled=True)

    def open(self, url: str) -> None:
        """Go to a URL, and wait until it is loaded and its scripts have run."""
        loader = self._call("Page.navigate", url=url)["loaderId"]
        while loader not in self._loaded:
            self._receive()

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page, awaited if it is a promise."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until a condition holds that the page shows."""
        self.evaluate(WHEN.format(condition=condition))

    def _call(self, method: str, **params: object) -> Any:
        number = next(self._numbers)
        call = {"id": number, "method": method, "params": params, **self._session}
        self._connection.send(json.dumps(call))
        while (message := self._receive()).get("id") != number:
            pass
        assert "error" not in message, message["error"]
        return message["result"]

    def _receive(self) -> Any:
        message = json.loads(self._connection.recv(READ_TIMEOUT))
        if message.get("method") == "Page.lifecycleEvent" and message["params"]["name"] == "load":
            self._loaded.add(message["params"]["loaderId"])
        return message


@contextmanager
def browsing(path: str, profile: Path) -> Iterator[Page]:
    """Run the browser that is at a path, with one page.

    Args:
        path: Where the browser is.
        profile: An empty directory, for what it remembers.
    """
    from websockets.sync.client import connect

    with Process("-c", BECOME, path, *OPTIONS, f"--user-data-dir={profile}") as process:
        url = process.wait_for(LISTENING)[1]
        with connect(url, max_size=None, proxy=None) as connection:
            yield Page(connection)
