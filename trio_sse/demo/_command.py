"""The command that serves the page."""

import argparse
import socket
import sys
from ipaddress import ip_address

import trio

from ._server import run

DEFAULT_BIND = "127.0.0.1:8000"
HIGHEST_PORT = 65535

Address = tuple[str, int]


def main() -> int:
    """Serve until Ctrl-C or SIGTERM, and return the exit status."""
    listener = _listen(_parse())
    trio.run(run, listener, f"A live page of trio_sse: {_url(listener)} (Ctrl-C ends it)")
    return 0


def _parse() -> Address:
    parser = argparse.ArgumentParser(
        "python -m trio_sse.demo", description="Serve a live page that shows what trio_sse does."
    )
    parser.add_argument(
        "--bind",
        metavar="HOST:PORT",
        default=DEFAULT_BIND,
        type=_address,
        help="where to listen; %(default)s by default, port 0 for any that is free",
    )
    address: Address = parser.parse_args().bind
    return address


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) <= HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except (OSError, UnicodeError) as error:
        sys.exit(f"trio_sse: {error}; choose another address with --bind HOST:PORT")


def _url(listener: socket.socket) -> str:
    """Return where a browser on this machine finds the page."""
    host, port = listener.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
