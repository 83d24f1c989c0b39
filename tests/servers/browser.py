"""A browser without a window, told what to do over the DevTools protocol."""

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from math import inf
from pathlib import Path
from time import monotonic
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
  const what = {{ subtree: true, childList: true, attributes: true }};
  new MutationObserver(look).observe(document, what);
  look();
}})"""


# Where an element can be clicked.
MIDDLE = """(() => {{
  const element = document.querySelector({selector});
  element.scrollIntoView({{ block: "center" }});
  const {{ x, y, width, height }} = element.getBoundingClientRect();
  return {{ x: x + width / 2, y: y + height / 2 }};
}})()"""

# Keys, with what they type and their Windows codes, which is how a browser knows them.
KEYS = {"Tab": ("", 9), "Enter": ("\r", 13), " ": (" ", 32)}


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
        self.complaints: list[str] = []
        """What its console says of warnings and errors, a line for each."""
        target = self._call("Target.createTarget", url="about:blank")
        session = self._call("Target.attachToTarget", **target, flatten=True)
        self._session = session
        self._call("Page.enable")
        self._call("Page.setLifecycleEventsEnabled", enabled=True)
        self._call("Runtime.enable")
        self._call("Log.enable")

    def open(self, url: str) -> None:
        """Go to a URL, and wait until it is loaded and its scripts have run."""
        loader = self._call("Page.navigate", url=url)["loaderId"]
        deadline = monotonic() + READ_TIMEOUT
        while loader not in self._loaded:
            self._receive(deadline)

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

    def click(self, selector: str) -> None:
        """Press the left button of the mouse on the middle of an element."""
        place = self.evaluate(MIDDLE.format(selector=json.dumps(selector)))
        for kind in ("mousePressed", "mouseReleased"):
            button = {"type": kind, "button": "left", "clickCount": 1}
            self._call("Input.dispatchMouseEvent", **button, **place)

    def press(self, key: str) -> None:
        """Press a key, one of `KEYS`, and let it go."""
        text, code = KEYS[key]
        for kind in ("keyDown", "keyUp"):
            stroke = {"type": kind, "key": key, "windowsVirtualKeyCode": code}
            typed = {"text": text} if text and kind == "keyDown" else {}
            self._call("Input.dispatchKeyEvent", **stroke, **typed)

    def type(self, text: str) -> None:
        """Type a text where the focus is."""
        self._call("Input.insertText", text=text)

    def emulate(self, width: int, height: int, *, mobile: bool = False, **features: str) -> None:
        """Be a screen of a size in pixels, with media features such as prefers_color_scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._call("Emulation.setScrollbarsHidden", hidden=True)
        media = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self._call("Emulation.setEmulatedMedia", features=media)

    def names(self, role: str) -> list[str]:
        """Return what a screen reader says of the elements of a role."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return [
            node["name"]["value"]
            for node in nodes
            if not node["ignored"] and node["role"]["value"] == role
        ]

    def screenshot(self, height: float = inf) -> bytes:
        """Return a picture of the page, or of so many pixels of it from the top, a PNG."""
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {**size, "height": min(size["height"], height), "scale": 1}
        picture = self._call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(picture["data"])

    def _call(self, method: str, **params: object) -> Any:
        number = next(self._numbers)
        call = {"id": number, "method": method, "params": params, **self._session}
        self._connection.send(json.dumps(call))
        deadline = monotonic() + READ_TIMEOUT  # whatever else the page has to tell meanwhile
        while (message := self._receive(deadline)).get("id") != number:
            pass
        assert "error" not in message, message["error"]
        return message["result"]

    def _receive(self, deadline: float) -> Any:
        message = json.loads(self._connection.recv(max(0, deadline - monotonic())))
        if message.get("method") == "Page.lifecycleEvent" and message["params"]["name"] == "load":
            self._loaded.add(message["params"]["loaderId"])
        self.complaints += _complaints(message)
        return message


def _complaints(message: Any) -> list[str]:
    """Return what a message of the browser says of warnings and errors."""
    params = message.get("params", {})
    match message.get("method"):
        case "Runtime.exceptionThrown":
            return [str(params["exceptionDetails"])]
        case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
            return [str(params["args"])]
        case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
            return [params["entry"]["text"]]
    return []


class Browser:
    """A browser, which has pages.

    Args:
        url: Where it listens.
        stack: What closes its connections.
    """

    def __init__(self, url: str, stack: ExitStack) -> None:
        self._url = url
        self._stack = stack

    def page(self) -> Page:
        """Return another page, with nothing in it."""
        from websockets.sync.client import connect

        connection = connect(self._url, max_size=None, proxy=None)
        return Page(self._stack.enter_context(connection))


@contextmanager
def browsing(path: str, profile: Path) -> Iterator[Browser]:
    """Run the browser that is at a path.

    Args:
        path: Where the browser is.
        profile: An empty directory, for what it remembers.
    """
    with Process("-c", BECOME, path, *OPTIONS, f"--user-data-dir={profile}") as process:
        url = process.wait_for(LISTENING)[1]
        with ExitStack() as stack:
            yield Browser(url, stack)
