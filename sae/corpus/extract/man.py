"""Manual pages: the man(7) macros to plain text. Not a typesetter: requests without text are dropped."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from sae.corpus.extract.types import Piece, read_text

_PARAGRAPH = {"PP", "P", "LP", "TP", "IP", "HP", "sp", "Sp", "RS", "RE", "Pp", "TQ"}
_HEADING = {"SH", "SS", "Sh", "Ss"}
_FONTS = {"B", "I", "R", "SM", "SB"}
_MIXED_FONTS = {"BR", "RB", "BI", "IB", "IR", "RI"}
_MDOC = re.compile(r"^[A-Z][a-z]$")
_NAMED = {
    "aq": "'", "dq": '"', "cq": "’", "oq": "‘", "lq": "“", "rq": "”", "em": "—", "en": "–", "bu": "•", "co": "©",
    "rs": "\\", "ti": "~", "ha": "^", "ga": "`", "bv": "|", "mu": "×", "+-": "±", "->": "→", "<=": "≤", ">=": "≥",
    "Fo": "«", "Fc": "»", "Bq": "„", "hy": "-", "la": "<", "ra": ">", "sq": "□", "mc": "µ", "ss": "ß", "'e": "é",
}  # fmt: skip
_ESCAPE = re.compile(
    r"\\(?:f(?:\[[^\]]*\]|\(..|.)"  # fonts
    r"|s[+-]?\d{1,2}|[hvwHSlLDbo]'[^']*'"  # sizes, motions, drawings
    r"|\*(?:\[[^\]]*\]|\((?P<star>..)|.)|[nkmMYF](?:\[[^\]]*\]|\(..|.)"  # strings, registers, colours
    r"|\[(?P<long>[^\]]*)\]|\((?P<two>..)|(?P<one>.))"
)
_SINGLE = {"-": "-", "e": "\\", "\\": "\\", " ": " ", "~": " ", "0": " ", "t": "\t", "'": "'", "`": "`", ".": "."}


def _glyph(match: re.Match[str]) -> str:
    name = match.group("two") or match.group("long")
    if name:
        if re.fullmatch(r"u[0-9A-F]{4,6}", name):
            return chr(int(name[1:], 16))
        return _NAMED.get(name, "")
    return _SINGLE.get(match.group("one") or "", "")


def _inline(text: str) -> str:
    return _ESCAPE.sub(_glyph, re.sub(r'\\["#].*$', "", text))


def _words(rest: str) -> list[str]:
    lexer = shlex.shlex(rest, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.quotes, lexer.escape = True, "", '"', ""
    try:
        return list(lexer)
    except ValueError:  # an odd quotation mark: roff takes it as it stands, and so do we
        return rest.split()


def _request(name: str, rest: str) -> str | None:
    """The text a request puts in the page, "\n\n" for a break between paragraphs, None for nothing."""
    if name in _HEADING:
        return "\n\n" + _inline(" ".join(_words(rest))) + "\n\n"
    if name == "IP" and rest:
        return "\n\n" + _inline((_words(rest) or [""])[0]) + "\n"
    if name in _PARAGRAPH:
        return "\n\n"
    if name in _FONTS:
        return _inline(" ".join(_words(rest))) + "\n"
    if name in _MIXED_FONTS:
        return _inline("".join(_words(rest))) + "\n"
    if _MDOC.match(name) and name not in ("Dd", "Dt", "Os", "Bl", "El", "Bd", "Ed"):
        return _inline(" ".join(w for w in _words(rest) if not _MDOC.match(w))) + "\n"
    return "\n" if name == "br" else None


def extract_man(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """The text of a manual page (.gz or plain), in its own encoding if that is UTF-8 or Latin-1."""
    text = read_text(path).replace("\\\n", "")
    out: list[str] = []
    table = False
    for line in text.splitlines():
        request = re.match(r"^[.']\s*(\\\"|\w+)?\s*(.*)$", line)
        if request is None:
            if not table:
                out.append(_inline(line) + "\n" if line.strip() else "\n\n")
            continue
        name, rest = request.group(1) or "", request.group(2)
        table = name == "TS" or (table and name != "TE")
        if not table and (put := _request(name, rest)) is not None:
            out.append(put)
    yield Piece("", "".join(out))
