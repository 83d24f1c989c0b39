"""The command, in this process: where it listens, what it prints, and how it ends."""

import io
import re
import signal
import socket
import sys
from importlib import import_module

import pytest

pytest.importorskip("hypercorn")

from trio_sse.demo._command import _url


@pytest.fixture
def run(monkeypatch):
    """Run the command, and return its exit status."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["trio_sse.demo", *arguments])
        monkeypatch.delitem(sys.modules, "trio_sse.demo.__main__", raising=False)
        with pytest.raises(SystemExit) as caught:
            import_module("trio_sse.demo.__main__")
        return caught.value.code

    return run


class Impatient(io.StringIO):
    """Somebody ends the command as soon as it has printed a line."""

    def write(self, text):
        if text.endswith("\n"):
            signal.raise_signal(signal.SIGTERM)
        return super().write(text)


def test_it_prints_its_address_and_ends_well_at_a_signal(run, monkeypatch):
    printed = Impatient()
    monkeypatch.setattr(sys, "stdout", printed)
    assert run("--bind", "127.0.0.1:0") == 0
    pattern = r"A live page of trio_sse: http://127\.0\.0\.1:[1-9]\d*/ \(Ctrl-C ends it\)\n"
    assert re.fullmatch(pattern, printed.getvalue())


def test_an_address_that_is_taken_is_told_in_a_line_with_what_to_do(run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        said = run("--bind", f"127.0.0.1:{listener.getsockname()[1]}")
    assert said.startswith("trio_sse: ")
    assert "in use" in said
    assert said.endswith("; choose another address with --bind HOST:PORT")
    assert "\n" not in said


@pytest.mark.parametrize("host", ["..", "no.such.host.invalid", "::zz"])
def test_a_host_that_is_none_is_told_in_a_line(run, host):
    assert run("--bind", f"{host}:0").startswith("trio_sse: ")


@pytest.mark.parametrize(
    "bind", ["8000", ":8000", "localhost", "localhost:", "h:-1", "h:65536", "h:\u0662"]
)
def test_what_is_no_address_is_a_mistake(run, capsys, bind):
    assert run("--bind", bind) == 2
    assert f"{bind!r} is not of the form HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("family", "host", "shown"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0", "localhost"),
        (socket.AF_INET6, "::1", "[::1]"),
    ],
)
def test_the_address_is_one_that_a_browser_here_can_open(family, host, shown):
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with listener:
        assert _url(listener) == f"http://{shown}:{listener.getsockname()[1]}/"
