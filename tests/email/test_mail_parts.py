"""Mails of many parts, of mails within mails, and of what only looks like parts."""

from __future__ import annotations

import base64

import pytest

from tests.costs import cpu_seconds
from webhooks import mail
from webhooks.mail import parts
from webhooks.mail.mime import CUT
from webhooks.model import Inbound

HEAD = "From: Ann <ann@customer.example>\nMessage-ID: <1@customer.example>\n"
MIXED = HEAD + 'Content-Type: multipart/mixed; boundary="T"\n\n'
NESTED = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(25))
FORWARDED = """\
From: p{n}@x.example
Subject: mail {n}
Content-Type: multipart/mixed; boundary="M{n}"

--M{n}
Content-Type: multipart/alternative; boundary="A{n}"

--A{n}
Content-Type: text/plain

text {n}
--A{n}
Content-Type: text/html

<p>text {n}</p>
--A{n}--
--M{n}--
"""


def read(raw: str | bytes) -> Inbound:
    """The one inbound message of a mail."""
    data = raw.encode() if isinstance(raw, str) else raw
    [found] = mail.events(data, provider="smtp")
    assert isinstance(found, Inbound)
    return found


def forwards(count: int, more: str = "") -> str:
    """A letter with so many mails that are attached to it."""
    attached = "".join(
        f"--T\nContent-Type: message/rfc822\n\n{FORWARDED.format(n=n)}\n" for n in range(count)
    )
    return f"{MIXED}--T\n\nCan you call me?\n{attached}{more}--T--\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_many_mails_that_are_attached(end: str) -> None:
    """Mails that are sent on as files are files, byte by byte, however many parts they have."""
    found = read(forwards(90).replace("\n", end))
    assert (found.body, found.detail.get("left_out")) == ("Can you call me?", None)
    given = [each.content for each in found.attachments]
    assert given == [FORWARDED.format(n=n).replace("\n", end).encode() for n in range(90)]


def test_a_large_file_beside_them() -> None:
    """A large file beside attached mails is kept in whole."""
    content = bytes(range(256)) * 80_000
    packed = base64.encodebytes(content).decode()
    found = read(
        forwards(9, f"--T\nContent-Type: a/pdf\nContent-Transfer-Encoding: base64\n\n{packed}")
    )
    assert (len(found.attachments), found.attachments[-1].content) == (10, content)


@pytest.mark.parametrize(
    "text",
    [
        "Content-Type: multipart/mixed; boundary=x\n" * 61,
        "message/delivery-status\n\n" + "\n \n" * 6000,
        "A request:\nContent-Type: application/json\n {\n" + " 'field': 'value',\n" * 300 + " }\n!",
        "-- row\nINSERT 1;\n" * 20_001,
    ],
)
def test_text_that_looks_like_parts(text: str) -> None:
    """Headers, boundaries and lines of dashes in a text, or in a file of text, are just that."""
    found = read(HEAD + "Content-Type: text/plain\n\nHello, please help:\n" + text)
    told = f"{found.body}\n{found.detail.get('quoted_text', '')}"
    assert "".join(told.split()) == "".join(f"Hello, please help:{text}".split())
    assert "left_out" not in found.detail
    raw = f"{MIXED}--T\n\nHello\n--T\nContent-Type: text/x-log; name=a.log\n\n{text}\n--T--\n"
    found = read(raw)
    assert (found.body, [f.content for f in found.attachments]) == ("Hello", [text.encode()])
    assert "left_out" not in found.detail


def test_more_parts_than_anybody_writes() -> None:
    """What stands before too many boundaries, or too deep a part, is read; the rest is told of."""
    for raw, told in (
        (MIXED + "--T\n\nHello\n" + "--Tx\n" * 20_001 + "--T\n\nlater\n--T--\n", CUT),
        (MIXED + "--T\n\nHello\n" + "--T\nContent-Type: a/b\n\nx\n" * 2000, "200 parts"),
        (HEAD + "a:\n" * 30_000 + "\nHello", CUT),
        (HEAD + NESTED + "\nHello", CUT),
    ):
        found = read(raw)
        assert "Hello" in found.body
        assert told in found.detail["left_out"]


def test_a_mark_before_the_first_header() -> None:
    """A program that marks the file as UTF-8 does not hide the mail's headers."""
    [found] = mail.events(b"\xef\xbb\xbf" + f"{HEAD}Subject: Hi\n\nHello".encode(), provider="x")
    assert isinstance(found, Inbound)
    assert ("ann@customer.example", "Hi") == (found.from_address, found.subject)


def test_a_boundary_on_two_lines() -> None:
    """One that was folded within its quotation marks is the same boundary (RFC 5322 §2.2.3)."""
    raw = f'{HEAD}Content-Type: multipart/mixed; boundary="a\n b"\n\n--a b\n\nHello\n--a b--\n'
    [found] = mail.events(raw.encode(), provider="x")
    assert isinstance(found, Inbound)
    assert found.body == "Hello"


def test_a_type_far_down_in_a_head() -> None:
    """What a part is counts wherever its head says so."""
    head = "X-A: b\n" * 300 + "Content-Type: application/pdf; name=a.pdf\n"
    found = read(f"{MIXED}--T\n{head}Content-Transfer-Encoding: base64\n\nUERG\n--T--\n")
    assert [("a.pdf", b"PDF")] == [(each.filename, each.content) for each in found.attachments]


def test_a_digest_and_lines_of_a_mailbox_file() -> None:
    """What is in a digest is mails; "From " between headers is neither a header nor text."""
    raw = (
        HEAD + "From ann@x Mon Jan 1\nContent-Type: multipart/mixed; boundary=T\n\n"
        "--T\n\nFrom me.\n--T\nContent-Type: multipart/digest; boundary=D\n\n"
        "--D\n\nSubject: one\n\n1\n--D\n--D\n\nSubject: two\n\n2\n--D--\n--T--\n"
    )
    found = read(raw)
    assert found.body == "From me."
    assert [("message.eml", b"Subject: one\n\n1"), ("message.eml", b"Subject: two\n\n2")] == [
        (each.filename, each.content) for each in found.attachments
    ]


@pytest.mark.parametrize(
    ("given", "content"),
    [("U3ViamVjdDogYQ==", b"Subject: a"), ("Subject: a=20", b"Subject: a=20")],
)
@pytest.mark.parametrize("encoding", ["base64", "BASE64 (packed)"])
def test_an_attached_mail_in_base64(given: str, content: bytes, encoding: str) -> None:
    """A mail that was packed is unpacked, and kept as it is where it only says so."""
    head = f"Content-Type: message/rfc822\nContent-Transfer-Encoding: {encoding}\n\n"
    [file] = read(f"{MIXED}--T\n{head}{given}\n--T--\n").attachments
    assert (file.filename, file.content) == ("message.eml", content)


SLOW = {
    "an empty boundary": HEAD + 'Content-Type: multipart/mixed; boundary=""\n\n' + "--" * 4_000_000,
    "what begins like boundaries": MIXED + "--T\n\n" + "--Tx\n" * 1_000_000,
    "boundaries without parts": MIXED + "--T\n" * 1_000_000,
    "empty parts": MIXED + "--T\n\n" * 1_000_000,
    "heads of parts": MIXED + ("--T\n" + "a:\n" * 3000) * 1000,
    "one head": HEAD + "a:\n" * 1_000_000,
    "no heads": MIXED + ("--T\n" + ":" * 8000 + "\n" + "From a\n" * 900) * 300,
    "depth": HEAD + NESTED + "--b9x\n--b1\r" * 400_000,
    "comments in a type": HEAD + "Content-Type: a/b" + "(" * 4_000_000 + "\n\nHello",
    "odd types": MIXED
    + "".join(
        f"--T\nContent-Type: {text * 1000}\n\nx\n" * 50
        for text in ("ab", "a ", "(a", "()", '" ', "a/ ", "a/b ", "a/b(", "a/b()", "a/b;")
    ),
    "line ends in boundaries": MIXED
    + f"--T\nContent-Type: multipart/mixed; boundary*=us-ascii''{'%0A' * 650}x\n\nHello\n" * 480,
    "dashes": HEAD + NESTED.replace("b1", "-" * 60) + "-" * 4_000_000,
}


@pytest.mark.parametrize("raw", SLOW.values(), ids=SLOW.keys())
def test_the_cost_of_parts(raw: str) -> None:
    """Megabytes that are made to be slow to part are parted within a moment."""
    data = raw.encode()
    assert cpu_seconds(lambda: parts.tree(data), runs=1) < 1
