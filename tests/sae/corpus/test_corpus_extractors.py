"""Extractors against small files written by hand in each format."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae.corpus.clean import mask_emails, mask_local_addresses, tidy
from sae.corpus.extract import EXTRACTORS, Piece, Unreadable
from sae.errors import BadInput


def extract(kind: str, path: Path, options: Mapping[str, str] | None = None) -> list[Piece]:
    return list(EXTRACTORS[kind](path, options or {}))


def text_of(kind: str, tmp_path: Path, content: str | bytes, options: Mapping[str, str] | None = None) -> str:
    path = tmp_path / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (piece,) = extract(kind, path, options)
    return tidy(piece.text)


def test_html_leaves_out_what_is_no_text(tmp_path: Path) -> None:
    page = """<html><head><title>T</title><style>p {color: red}</style></head><body class="toc">
    <nav><ul><li>Home</li></ul></nav><div class="navheader"><div>Prev</div> Next</div>
    <h1>Title<a class="headerlink" href="#x">¶</a></h1>
    <p>One  &amp; <b>two</b>
    three&nbsp;&lt;tag&gt;.<br>Four<p>Unclosed
    <script>var x = "<p>no</p>";</script>
    <pre>if x:
        y()

    z</pre>
    <table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>
    <footer>Built with</footer></body></html>"""
    assert text_of("html", tmp_path, page) == (
        "Title\n\nOne & two three\xa0<tag>.\nFour\n\nUnclosed\n\nif x:\n        y()\n\n    z\n\na\tb\nc\td"
    )


def test_html_skips_nested_tags_of_the_same_name(tmp_path: Path) -> None:
    assert text_of("html", tmp_path, '<div class="toc"><div>a</div>b<div>c</div></div><div>kept</div>') == "kept"


def test_pod(tmp_path: Path) -> None:
    pod = """=head1 NAME

perlx - B<bold I<and italic>> C<< $a->{b} >> E<lt>tagE<gt> F<file> L<the docs|perlre> S<x y>

  verbatim B<kept>

=begin html

<p>no</p>

=end html

=item * A point

=cut
"""
    assert text_of("pod", tmp_path, pod) == (
        "NAME\n\nperlx - bold and italic $a->{b} <tag> file the docs x y\n\n  verbatim B<kept>\n\n* A point"
    )


def test_man(tmp_path: Path) -> None:
    page = r""".\" comment
.TH LS 1 "May" "GNU" "User"
.SH NAME
ls \- list \fIdirectory\fR contents
.SH "SEE ALSO"
.BR chmod (1),
.B dir
.TP
\fB\-a\fR, \fB\-\-all\fR
do not ignore \(lqdots\(rq\&.
.TS
l l.
a	b
.TE
.IP "item one" 4
text \e end\" note
"""
    text = text_of("man", tmp_path, gzip.compress(page.encode()))
    assert text == (
        "NAME\n\nls - list directory contents\n\nSEE ALSO\n\nchmod(1),\ndir\n\n-a, --all\ndo not ignore “dots”.\n\n"
        "item one\ntext \\ end"
    )


def test_wordnet(tmp_path: Path) -> None:
    numbers = "00003826 29 v 02 hic_cup 0 hiccough(p) 0 003 @ 00001740 v 0000 01 + 02 00"
    line = numbers + ' | make a sound; "When you hiccup"  \n'
    assert text_of("wordnet", tmp_path, "  1 This software\n" + line) == (
        'hic cup, hiccough: make a sound; "When you hiccup"'
    )


def test_fortunes(tmp_path: Path) -> None:
    assert text_of("fortunes", tmp_path, "%\none\n\t-- A\n%\ntwo 5%\n%\n") == "one\n\t-- A\n\ntwo 5%"


def _mo(messages: dict[str, str]) -> bytes:
    """A catalogue by the layout of the GNU gettext manual, "The Format of GNU MO Files"."""
    pairs = [(k.encode() + b"\0", v.encode() + b"\0") for k, v in sorted(messages.items())]
    head = 28
    data_at = head + 16 * len(pairs)
    index: list[list[bytes]] = [[], []]
    data = b""
    for column in (0, 1):
        for pair in pairs:
            index[column].append(struct.pack("<II", len(pair[column]) - 1, data_at + len(data)))
            data += pair[column]
    tables = b"".join(index[0]) + b"".join(index[1])
    return struct.pack("<7I", 0x950412DE, 0, len(pairs), head, head + 8 * len(pairs), 0, 0) + tables + data


def test_mo(tmp_path: Path) -> None:
    catalogue = {"": "Content-Type: text/plain; charset=UTF-8\n", "ctx\x04Save": "שמור~", "Open": "פתח"}
    assert sorted(text_of("mo", tmp_path, _mo(catalogue)).splitlines()) == sorted(["שמור", "פתח"])
    (tmp_path / "bad").write_bytes(b"no catalogue")
    with pytest.raises(Unreadable):
        extract("mo", tmp_path / "bad")


def test_json_books(tmp_path: Path) -> None:
    assert (
        text_of("json-strings", tmp_path, json.dumps([[["a<i>x</i>", "b"], ["c"]], {"k": ["d"]}])) == "ax\nb\n\nc\n\nd"
    )
    verses = {"words": ["a", "b", None, "c"], "starts": [0, 2]}
    assert text_of("json-words", tmp_path, json.dumps(verses), {"words": "words", "starts": "starts"}) == "a b\nc"
    entries = extract("json-entries", tmp_path / "file")
    assert [json.loads(piece.text) for piece in entries] == [{"words": verses["words"]}, {"starts": [0, 2]}]


def test_base64_holds_no_address(tmp_path: Path) -> None:
    encoded = text_of("base64", tmp_path, "write to joe@example.org " * 9)
    assert max(map(len, encoded.splitlines())) == 76
    assert base64.b64decode(encoded).decode() == "write to <email> " * 9


def test_front_matter(tmp_path: Path) -> None:
    assert text_of("front-matter", tmp_path, "---\nkey: v\n---\nText\n---\nmore") == "Text\n---\nmore"
    assert text_of("front-matter", tmp_path, "Text only") == "Text only"


def test_binary_data_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"a\0b")
    with pytest.raises(Unreadable):
        extract("text", tmp_path / "b")
    (tmp_path / "g").write_bytes(gzip.compress(b"text" * 100)[:-9])
    with pytest.raises(Unreadable):
        extract("text", tmp_path / "g")


MESSAGE = """From joe@example.org  Tue Aug  6 11:51:02 2002
Return-Path: <joe@example.org>
Received: from Joes-Machine (localhost [127.0.0.1])
\tby mail.example.org (Postfix) for <ann@localhost>
From: Joe Bloggs <joe@example.org>
To: "Ann Other" <ann@example.net>,
\tBob Third <bob@example.net>
Cc: Carla Fourth <carla@example.net>
Reply-To: Joe Bloggs <joe@example.org>
Sender: Joes-Secretary <sec@example.org>
Message-ID: <123.Joe@example.org>
X-Sender: Joe Bloggs
Organization: Bloggs Brothers
Subject: Re: the meeting
Date: Tue, 6 Aug 2002 11:51:02 +0100
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="XX"

--XX
Content-Type: text/plain

On Mon, Aug 5, 2002, Ann Other wrote:
> From: Ann Other
> To: Dora Fifth <dora@example.net>,
>  Fred Sixth
> Subject: the meeting
> Gina Seventh:
> See you there
On Monday the 5th of August 2002,
Ann Other <ann@example.net> wrote:
Fine. Ask root@localhost or joe@example.org.
--{blank}
Joe Bloggs, Bloggs Brothers
--XX
Content-Type: text/plain
Content-Transfer-Encoding: base64

{encoded}
--XX
Content-Type: image/gif
Content-Transfer-Encoding: base64

R0lGODlhAQABAAAAACwAAAAAAQABAAA=
--XX--
"""


def test_mail_names_nobody(tmp_path: Path) -> None:
    encoded = base64.encodebytes(b"Hidden: hugo@example.net knows\n").decode()
    text = mask_local_addresses(mask_emails(text_of("email", tmp_path, MESSAGE.format(encoded=encoded, blank=" "))))
    for kept in ("Subject: Re: the meeting", "Date: Tue, 6 Aug 2002", "> See you there", "> Subject: the meeting"):
        assert kept in text
    assert "Fine. Ask <email> or <email>." in text
    assert "Hidden: <email> knows" in text
    assert "R0lGODlhAQABAAAAACwAAAAAAQABAAA=" in text
    gone = "Joe Bloggs Ann Bob Third Carla Dora Gina Seventh hugo @ localhost Machine Secretary Received Message-ID"
    assert [word for word in gone.split() if word in text] == []


def test_jsonl_says_what_is_wrong_and_where(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n\n{"text": "three"}\n')
    assert extract("jsonl", path) == [Piece("1", "one"), Piece("3", "three")]
    path.write_text('{"text": "one"}\n{"body": "two"}\n')
    with pytest.raises(BadInput, match=r"a\.jsonl, line 2: no string under 'text'.*--field"):
        extract("jsonl", path)
    path.write_text('{"text": "one"}\n{"text":\n')
    with pytest.raises(BadInput, match="line 2: not JSON"):
        extract("jsonl", path)


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["one", None, "three"], "n": [1, 2, 3]}), path)
    assert extract("parquet", path, {"field": "body"}) == [Piece("1", "one"), Piece("3", "three")]
    with pytest.raises(BadInput, match=r"no column 'text' \(columns: body, n\)"):
        extract("parquet", path)
    with pytest.raises(BadInput, match="column 'n' is int64, not text"):
        extract("parquet", path, {"field": "n"})
    path.write_text("not parquet")
    with pytest.raises(BadInput, match="not a Parquet file"):
        extract("parquet", path)
