"""Cleaning of text: masking of e-mail addresses, tidying, cutting of long files."""

from __future__ import annotations

import re

MASK = "<email>"
CUT_ABOVE_BYTES = 40_000
PART_BYTES = 20_000

# The look-behind pins the start of the local part, so that a long run of letters is read once, not once per letter.
_LOCAL = r"(?<![\w.%+\-])[\w.%+\-]+"
_EMAIL = re.compile(_LOCAL + r"(?:@|%40|&#64;|&#x40;)(?P<domain>\[?[\w\-]+(?:\.[\w\-]+)+\]?)")
# "name at host dot org", with or without brackets.
_AT, _DOT = r"(?:\s?[\[({<]\s?at\s?[\])}>]\s?| at )", r"(?:\s?[\[({<]\s?(?:dot|\.)\s?[\])}>]\s?| dot )"
_SPELLED = re.compile(rf"{_LOCAL}{_AT}[\w\-]+(?:(?:{_DOT}|\.)[\w\-]+)*{_DOT}[a-z]{{2,6}}\b", re.IGNORECASE)
_SPELLED_HINT = re.compile(r"\bat\b|\bdot\b", re.IGNORECASE)

# What may follow an @ in names that are no addresses: "getty@tty1.service" (systemd), "icon@2x.png" (a scaled image).
_UNITS = {"service", "socket", "target", "timer", "mount", "automount", "slice", "device", "path", "scope", "swap"}
_IMAGES = {"png", "svg", "jpg", "jpeg", "gif", "ico"}
_NOT_A_DOMAIN = _UNITS | _IMAGES
# Between blanks and punctuation only: uuencoded lines are full of @ and must stay whole.
_LOCAL_ADDRESS = re.compile(r"(?<![^\s<>\"'(\[:;,=])[\w.%+\-]+@[A-Za-z][\w\-]*(?=[\s<>\"')\],;:.?]|\Z)")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_TRAILING = re.compile(r"[ \t]+(?=\n|\Z)")
_BLANK_LINES = re.compile(r"\n{3,}")


def _mask(match: re.Match[str]) -> str:
    label = match.group("domain").rstrip("]").rsplit(".", 1)[-1].lower()
    is_name = label in _NOT_A_DOMAIN or (label.isdigit() and match.group("domain").count(".") != 3)
    return match.group(0) if is_name else MASK


def mask_emails(text: str) -> str:
    """Every e-mail address replaced by `<email>`: user@host.tld, user@1.2.3.4, %40 and &#64; for the @, spelled out.

    Names of systemd units, scaled images and package versions (`react@16.8.0`) keep their @.
    """
    if "@" in text or "%40" in text or "64;" in text or "x40;" in text:
        text = _EMAIL.sub(_mask, text)
    if _SPELLED_HINT.search(text):
        text = _SPELLED.sub(MASK, text)
    return text


def mask_local_addresses(text: str) -> str:
    """Also addresses without a dotted domain (`root@localhost`), as mail has them."""
    return _LOCAL_ADDRESS.sub(MASK, text)


def tidy(text: str) -> str:
    """One kind of line end; no terminal colours, control characters, blanks at line ends, or rows of empty lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    text = _TRAILING.sub("", _CONTROL.sub("", _ANSI.sub("", text)))
    return _BLANK_LINES.sub("\n\n", text).strip("\n")


def cut(text: str, *, above: int = CUT_ABOVE_BYTES, size: int = PART_BYTES) -> list[str]:
    """Parts of about `size` UTF-8 bytes, cut between paragraphs, for a text longer than `above`; else the text alone.

    A paragraph longer than twice `size` is cut between lines, and a line longer than that between characters. Nothing
    but newlines at the cuts is lost.
    """
    if len(text.encode()) <= above:
        return [text]
    parts: list[str] = []
    current: list[str] = []
    held = 0
    for unit in _units(text, size):
        current.append(unit)
        held += len(unit.encode())
        if held >= size:
            parts.append("".join(current))
            current, held = [], 0
    if current:
        parts.append("".join(current))
    return [part.strip("\n") for part in parts if part.strip()]


def _units(text: str, size: int) -> list[str]:
    """Paragraphs with the empty lines after them, those that are too long cut into lines, and these into stretches."""
    units: list[str] = []
    for paragraph in re.split(r"(?<=\n\n)", text):
        if len(paragraph) <= 2 * size:
            units.append(paragraph)
            continue
        for line in paragraph.splitlines(keepends=True):
            units.extend(line[i : i + size] for i in range(0, len(line), size))
    return units
