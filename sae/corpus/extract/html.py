"""HTML manuals to text: what a reader reads, without navigation, scripts and forms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path

from sae.corpus.extract.types import Piece, read_text

_SKIP_TAGS = {"head", "script", "style", "nav", "header", "footer", "aside", "form", "svg", "button", "select"}
# Class names and ids of navigation, as Sphinx, DocBook, AsciiDoc and the office suite's help write them.
_SKIP_MARKS = {
    "headerlink", "navheader", "navfooter", "docnav", "toc", "contents", "toctree-wrapper", "sphinxsidebar", "linenos",
    "wy-nav-side", "wy-nav-top", "rst-footer-buttons", "wy-breadcrumbs", "mobile-nav", "menu-wrapper", "footer",
    "banner", "indexterm", "genindextable", "debug", "donationframe", "searchframe", "clearer", "related",
}  # fmt: skip
_PARAGRAPH = {
    "p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "table", "ul", "ol", "dl", "blockquote", "section",
    "article", "figure", "body", "hr",
}  # fmt: skip
_LINE = {"br", "tr", "li", "dt", "dd", "caption"}  # a new line where they start
_VOID = {"br", "hr", "img", "input", "meta", "link", "col", "area", "base", "wbr", "embed", "source", "track", "param"}
_CELL = "\ue000"  # start of a table's cell, until the first of each row is known
_BLANKS = re.compile(r"[ \t\r\n\f\v]+")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._skipped: str | None = None  # the tag whose end ends the skipping
        self._depth = 0  # how many of that tag are open
        self._pre = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skipped is not None:
            self._depth += tag == self._skipped
            return
        marks = {m for key, value in attrs if key in ("class", "id") and value for m in value.lower().split()}
        if tag not in _VOID and tag != "body" and (tag in _SKIP_TAGS or marks & _SKIP_MARKS):
            self._skipped, self._depth = tag, 1
        else:
            self._break(tag)
            self._pre += tag == "pre"
            if tag in ("td", "th"):
                self.out.append(_CELL)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skipped is None:
            self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._skipped is not None:
            self._depth -= tag == self._skipped
            if self._depth == 0:
                self._skipped = None
            return
        if tag in _PARAGRAPH:
            self._break(tag)
        self._pre = max(0, self._pre - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        if self._skipped is None:
            self.out.append(data if self._pre else _BLANKS.sub(" ", data))

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPH:
            self.out.append("\n\n")
        elif tag in _LINE:
            self.out.append("\n")


def html_to_text(html: str) -> str:
    """The readable text of a page: a blank line between blocks, `pre` kept as it stands."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    text = "".join(parser.out)
    text = re.sub(r"[ \t]*\n[ \t]?(?=\S)", "\n", text)  # the blank that collapsing leaves at the start of a line
    return re.sub(rf"(?m)^{_CELL} ?", "", text).replace(_CELL, "\t")


def extract_html(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """The text of a page."""
    yield Piece("", html_to_text(read_text(path)))
