"""A way to a Redis that loses what it is told to lose: threads, so that any runtime can use it."""

import math
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class Passage:
    """One connection through the proxy.

    Args:
        proxy: Whose it is.
        client: The socket of who connected.
        server: The socket to Redis.
    """

    def __init__(self, proxy: "Proxy", client: socket.socket, server: socket.socket) -> None:
        self.number = len(proxy.passages)
        self.asked = self.answered = False
        self.reads = False
        """Whether it has asked for what comes."""
        self.loses_reply = False
        self.open = threading.Event()
        self.open.set()
        self._proxy = proxy
        self._client = client
        self._server = server
        for pump in (self._ask, self._answer):
            threading.Thread(target=pump, daemon=True).start()

    def cut(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.open.set()

    def _ask(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(1 << 16):
                self.asked = True
                self.reads = self.reads or b"XREAD" in data
                with self._proxy.lock:
                    if self._proxy.freezes(self):
                        self.open.clear()
                self.open.wait()
                if self._proxy.loses_command(data):
                    break
                self.loses_reply = self.loses_reply or self._proxy.loses_reply(data)
                self._server.sendall(data)
        self.cut()
        self._client.close()

    def _answer(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(1 << 16):
                self.open.wait()
                if self.loses_reply:
                    break
                time.sleep(len(data) / self._proxy.rate)
                self._client.sendall(data)
                self.answered = True
        self.cut()
        self._server.close()


class Proxy:
    """Listens, and forwards to a Redis what comes and what it answers.

    Args:
        port: Where Redis listens.
    """

    loses_command: Callable[[bytes], bool]
    """Whether to cut a connection before these bytes are forwarded."""
    loses_reply: Callable[[bytes], bool]
    """Whether to cut a connection when the reply to these bytes comes."""
    freezes: Callable[[Passage], bool]
    """Whether to forward nothing any more."""

    def __init__(self, port: int) -> None:
        self.loses_command = self.loses_reply = self.freezes = never
        self.lock = threading.Lock()
        self.refuses = False
        self.rate = math.inf  # bytes of answers each second
        self.refused = 0
        self._target = ("127.0.0.1", port)
        self.passages: list[Passage] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.cut()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """End all connections."""
        for passage in self.passages:
            passage.cut()

    def freeze(self, which: Callable[[Passage], bool]) -> None:
        """Forward nothing any more on these connections, old ones and new ones."""
        with self.lock:
            self.freezes = which
            for passage in self.passages:
                if which(passage):
                    passage.open.clear()

    def thaw(self) -> None:
        """Forward everything, also what was kept."""
        with self.lock:
            self.freezes = never
            for passage in self.passages:
                passage.open.set()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refuses:
                    self.refused += 1
                    client.close()
                    continue
                threading.Thread(target=self._let_pass, args=[client], daemon=True).start()

    def _let_pass(self, client: socket.socket) -> None:
        """Connect a client to Redis, once it says something: some only look who is there."""
        with suppress(OSError):
            if client.recv(1, socket.MSG_PEEK):
                server = socket.create_connection(self._target)
                with self.lock:
                    self.passages.append(Passage(self, client, server))
                return
        client.close()  # where Redis is not there, neither is the proxy


def never(_: object) -> bool:
    return False


def always(_: object) -> bool:
    return True


def reads(passage: Passage) -> bool:
    """Whether it is the connection for what comes."""
    return passage.reads


def publishes(data: bytes) -> bool:
    """Whether a command is the script that adds events."""
    return b":publisher:" in data
