"""What strangers write to slow the reading of a mail, or to spoil its thread, does neither."""

from email import message_from_bytes

import pytest

from channels import html, styles
from tests.costs import cpu_seconds
from webhooks import mail
from webhooks.model import Inbound

HEAD = b"From: ann@customer.example\nMessage-ID: <1@customer.example>\n"
REPORT = (
    HEAD + b"Content-Type: multipart/report; boundary=b\n\n--b\n"
    b"Content-Type: message/delivery-status\n\n"
)

SLOW = {
    "a parameter after a lone CR": HEAD
    + b'X: y\rContent-Type: text/plain; a="' + b";" * 60_000 + b"\r\rx",
    "a parameter folded by a lone CR": HEAD
    + b'Content-Type: text/plain;\r a="' + b";" * 60_000 + b"\n\nx",
    "a report of blank lines": REPORT + b"\n \n" * 40_000 + b"\n--b--\n",
    "a report of fields": REPORT + b"A: b\n" * 20_000 + b"\n--b--\n",
    "a boundary and blanks": HEAD + b"\nboundary" + b" " * 60_000 + b"x",
    "a boundary and lines of blanks": HEAD + b"\nboundary" + (b" " * 70 + b"\n") * 900 + b"x",
    "an author and blanks": b"From: a@b" + b" " * 60_000 + b"x\n\nHi",
    "an author and other blanks": b"From: a@b"
    + ("\n " + "\u00a0" * 400).encode() * 40 + b"x\n\nHi",
    "a head of headers": HEAD + b"a:\n" * 300_000 + b"\nx",
    "empty parts": HEAD
    + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 200_000,
    "an author of dots": b"From: a@b" + b" . " * 20_000 + b"x\n\nHi",
}  # fmt: skip
MANY = REPORT + b"A: b\n" * 1000 + (
    b"\n--b\nContent-Type: message/delivery-status\n\n" + b"A: b\n" * 1000
) * 45  # fmt: skip


@pytest.mark.parametrize("raw", SLOW.values(), ids=SLOW.keys())
def test_headers_and_reports(raw: bytes) -> None:
    """Headers and reports are read as far as is worth it, whichever line ends they have."""
    assert mail.events(raw, provider="smtp")
    assert cpu_seconds(lambda: mail.events(raw, provider="smtp")) < 0.4


def test_many_reports() -> None:
    """Many reports cost a few times what the standard library takes to part them, not ten times."""
    parting = cpu_seconds(lambda: message_from_bytes(MANY))
    assert cpu_seconds(lambda: mail.events(MANY, provider="smtp")) < 4 * parting


ATTRIBUTES = " ".join(f"a{number}=1" for number in range(20_000))


@pytest.mark.parametrize(
    "page",
    [
        "<p " + " ".join(f'a{number}=">"' for number in range(20_000)) + ">x",
        "<p " + " ".join(f"a{number}='<b>'" for number in range(19_000)) + ">x",
        f'<p a=">" {ATTRIBUTES}>x',
        f"<p a< {ATTRIBUTES}>x",
        f'<textarea><a x="</textarea><p b=">" {ATTRIBUTES} c="">x',
        '<div a="</div>">' * 9000,
        "<div>" * 380 + ("<table><tr><td>" + "</div>" * 380 + "<div>" * 380) * 24,
    ],
    ids=["quoted", "quoted tags", "one quoted", "in a name", "out of step", "ends", "barriers"],
)
def test_hidden_attributes_and_depths(page: str) -> None:
    """What only a parser sees as attributes, or as open elements, counts as such."""
    assert cpu_seconds(lambda: styles.is_overgrown(page)) < 0.2
    assert cpu_seconds(lambda: html.to_text(page)) < 0.2
    assert styles.is_overgrown(page)


def test_a_little_oddness() -> None:
    """Angle brackets in a few attributes are nothing unusual, however long the text is."""
    words = "word " * 1000
    page = f'<p title="a > b">one</p><img alt="Ann <ann@x.example>"><p>{words}</p>'
    assert not styles.is_overgrown(page)
    assert "one" in html.to_text(page)


@pytest.mark.parametrize("odd", ["a\u200bb@x.example", "\x01q@x.example", "ü-1@x", "x" * 251])
def test_odd_ids(odd: str) -> None:
    """An id that no mail of ours could name is a digest, and no reference."""
    raw = f"From: a@x.example\nMessage-ID: <{odd}>\nReferences: <{odd}> <ok@x>\n\nHi"
    [found] = mail.events(raw.encode(), provider="smtp")
    assert isinstance(found, Inbound)
    assert found.references == ("ok@x",)
    assert found.external_id.startswith(("mail-", "smtp-"))
    [again] = mail.events(raw.encode(), provider="smtp")
    assert found == again
