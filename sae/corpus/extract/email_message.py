"""Mail of real people: no names or addresses of writers and receivers may remain.

Headers are taken from a list of those that name nobody; every other header is dropped. In bodies, quoted headers, lines
that introduce a quotation ("On …, X wrote:") and signatures go. Text parts are decoded, so that no address hides in an
encoding; attachments stay as base64, cut short.
"""

from __future__ import annotations

import email
import re
from collections.abc import Iterator, Mapping
from email.message import Message
from email.policy import compat32
from pathlib import Path

from sae.corpus.extract.types import Piece, decode, read_bytes

KEPT_HEADERS = (
    "Date",
    "Subject",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "X-Mailer",
    "Precedence",
)
MAX_ATTACHMENT_CHARS = 3_000

_NAME_HEADER = re.compile(
    r"^[>|:\s]*(?:resent-|x-|old-|apparently-|list-|original-)*(?:from|to|cc|bcc|reply-to|sender|received|message-id|return-path|"
    r"errors-to|delivered-to|envelope-to|in-reply-to|references|organi[sz]ation|x-original-to|authentication-results|"
    r"list-[a-z]+|reply|to-list|von|an)\s*:.*$",
    re.IGNORECASE,
)
_ENVELOPE = re.compile(r"^[>|\s]*From \S+\s.*\d{2}:\d{2}.*$")
_ATTRIBUTION = re.compile(
    r"^[>|\s]*(?:on |at |in |le |am |\d).{0,200}\b(?:wrote|writes|said|schrieb|écrit)\b.{0,40}:?\s*$"
    r"|^[>|\s]*\S.{0,120}\b(?:wrote|writes|said|schrieb)\s*:\s*$"
    r"|^[>|\s]*\S.{0,60}\b(?:wrote|writes)\s*$",
    re.IGNORECASE,
)
_QUOTED_NAME = re.compile(r"^[|\s]*>[>|\s]*[A-Z][\w.'-]+(?: [A-Z][\w.'-]*){1,3}:\s*$")
# The rest of a broken attribution: its second line ends in "wrote:".
_ATTRIBUTION_START = re.compile(r"^[>|\s]*on .{0,120}(?:\d{4}|\d:\d\d).*$", re.IGNORECASE)
_SIGNATURE = re.compile(r"^[>|\s]*-- ?$")
_CONTINUATION = re.compile(r"^[ \t]+\S")


def strip_people(body: str) -> str:
    """A body without quoted headers of names (with their continuation lines), attributions and signature."""
    lines = body.splitlines()
    out: list[str] = []
    in_header = False
    for i, line in enumerate(lines):
        if _SIGNATURE.match(line) and not line.lstrip().startswith(">"):
            break
        if in_header and _CONTINUATION.match(line):
            continue
        in_header = bool(_NAME_HEADER.match(line) or _ENVELOPE.match(line))
        broken = _ATTRIBUTION_START.match(line) and i + 1 < len(lines) and _ATTRIBUTION.match(lines[i + 1])
        if not (in_header or broken or _ATTRIBUTION.match(line) or _QUOTED_NAME.match(line)):
            out.append(line)
    return "\n".join(out)


def _payload_text(part: Message) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return ""
    try:
        return data.decode(part.get_content_charset() or "utf-8")
    except (LookupError, UnicodeDecodeError):
        return data.replace(b"\0", b"").decode("latin-1")


def _part(part: Message) -> str:
    if part.get_content_maintype() in ("text", "message"):
        return strip_people(_payload_text(part))
    head = f"Content-Type: {part.get_content_type()}\nContent-Transfer-Encoding: base64\n\n"
    payload = part.get_payload()
    if not isinstance(payload, str) or part.get("Content-Transfer-Encoding", "").lower() != "base64":
        return head
    return head + payload[:MAX_ATTACHMENT_CHARS]


def _headers(message: Message) -> str:
    kept = [(name, str(message[name])) for name in KEPT_HEADERS if message[name] is not None]
    return "\n".join(f"{name}: {' '.join(value.split())}" for name, value in kept)


def extract_email(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """One message: the kept headers, then its parts. Addresses in the text are masked later, as in every source."""
    text = decode(read_bytes(path).replace(b"\0", b""), path.name)
    message = email.message_from_string(text, policy=compat32)
    parts = [_part(part) for part in message.walk() if not part.is_multipart()]
    yield Piece("", "\n\n".join([_headers(message), *parts]))
