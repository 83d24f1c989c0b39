"""The command where the extra is missing."""

import sys
from importlib import import_module

import pytest


def test_the_missing_extra_is_named_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypercorn", None)
    monkeypatch.delitem(sys.modules, "trio_sse.demo.__main__", raising=False)
    with pytest.raises(SystemExit) as caught:
        import_module("trio_sse.demo.__main__")
    assert caught.value.code == "hypercorn is not installed: pip install 'trio-sse[hypercorn]'"
