"""What the page says of the code, and where it takes things from."""

import re
from html import unescape
from pathlib import Path

import pytest

import trio_sse.demo

FOLDER = Path(trio_sse.demo.__file__).parent
HTML = (FOLDER / "page" / "index.html").read_text()
LINES = [unescape(code) for code in re.findall(r"<pre><code>(.*?)</code></pre>", HTML, re.DOTALL)]


def squeezed(text):
    return "".join(text.split())


def test_each_panel_has_a_heading_a_sentence_and_code():
    panels = re.findall(r"<article .*?</article>", HTML, re.DOTALL)
    assert len(panels) == len(LINES) == 7
    for panel in panels:
        assert re.search(r"<h3 .*?</h3>\s*<p>\w", panel), panel
        assert "<pre><code>" in panel, panel


@pytest.mark.parametrize("code", LINES)
def test_the_code_on_the_page_is_the_code_that_runs(code):
    assert any(squeezed(code) in squeezed(path.read_text()) for path in FOLDER.glob("*.py"))


def test_nothing_is_taken_from_elsewhere():
    for path in (FOLDER / "page").iterdir():
        assert {*re.findall(r"\w+://[\w.]*", path.read_text())} <= {"http://www.w3.org"}, path
