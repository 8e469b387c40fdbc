r"""How a token of the corpus is shown in a prompt: as inert text on one line, from which it can be read back.

A prompt lists a context as one line for each token, `token<TAB>level`. Corpus text may hold tabs, line ends, control
characters, marks that reverse the direction of writing, invisible characters, or the separators by which chat
templates tell who is speaking. All of these are written as escapes:

    backslash             \\
    tab, line feed, CR    \t \n \r
    <| and |>             <\| and \|>       (so that <|im_end|> is not the end of a message)
    any other character that is invisible, is a space other than U+0020, or acts on its neighbours      \u{hex}

What is left is what it looks like. A token such as `7`, `unknown`, `<end>`, `]] **` or `{{ x }}` stays as it is,
because its place tells it from ours: in a line of two columns the first is always the token, no token holds the tab
between them, and lines of ours between the blocks (`<start>`, `<end>`) hold no tab.
"""

from __future__ import annotations

import re

__all__ = ["read_token", "show_token"]

# Characters that cannot be seen or that change how others are shown. Written out and not taken from `unicodedata`,
# whose tables grow with the version of Python: the prompts, and with them the names of recorded replies, would differ.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f"  # control (Cc)
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"  # format (Cf), tags and selectors, with the room reserved for more of them
    "\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"  # spaces other than U+0020 (Zs)
    "\u2028\u2029"  # separators of lines and paragraphs (Zl, Zp)
    "\ud800-\udfff"  # lone surrogates (Cs): they cannot be encoded, so no request could carry them
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"  # others that show nothing
    "\ufdd0-\ufdef\ufffe\uffff"  # not characters
)
_ACTIVE = re.compile(rf"[\\{_UNSEEN}]|(?<=<)\||\|(?=>)")
_SHORT = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "|": "\\|"}
_LONG = {escape: character for character, escape in _SHORT.items()}
_ESCAPE = re.compile(r"\\(?:[\\tnr|]|u\{[0-9a-f]{1,6}\})|\\")


def show_token(text: str) -> str:
    """`text` on one line without tab, control, format or other invisible characters. `read_token` inverts it."""
    return _ACTIVE.sub(_escaped, text)


def read_token(shown: str) -> str:
    """The text that `show_token` showed. Raises ValueError where a backslash does not begin one of its escapes."""
    return _ESCAPE.sub(_meant, shown)


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    return _SHORT.get(character) or f"\\u{{{ord(character):x}}}"


def _meant(match: re.Match[str]) -> str:
    escape = match.group()
    if escape in _LONG:
        return _LONG[escape]
    code = int(escape[3:-1], 16) if len(escape) > 3 else 0x110000
    if code > 0x10FFFF:
        raise ValueError(f"not an escape of a token: {match.string!r} at {match.start()}")
    return chr(code)
