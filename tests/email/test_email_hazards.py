"""Mails and pages that are made to be slow, or to break whoever reads them."""

from __future__ import annotations

from base64 import b64encode
from email.message import Message

import pytest

from channels import html, styles
from channels.http import parse_date
from tests.costs import cpu_seconds
from webhooks import mail
from webhooks.mail import mime
from webhooks.mail.text import sanitised
from webhooks.model import Inbound
from webhooks.times import iso_time

HEAD = b"From: ann@customer.example\nMessage-ID: <1@customer.example>\n"
PAGE = HEAD + b"Content-Type: text/html; charset=utf-8\n\n"
NESTED = b"".join(
    b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(90)
)
PARTS = (
    b"--m\r\nContent-Type: text/plain\r\n\r\nHello\r\n"
    b"--m\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n%PDF\r\n--m--\r\n"
)
STYLED = "<style>p { color: red }</style>"

SLOW = {
    "a parameter without its end": HEAD + b'Content-Type: text/plain; a="' + b";" * 200_000,
    "many parameters": HEAD + b"Content-Type: text/plain" + b"; a=b" * 50_000 + b"\n\nx",
    "a parameter in pieces": HEAD
    + b"Content-Type: text/plain"
    + b"".join(b"; a*%d=x" % n for n in range(20_000)),
    "folded parameters": HEAD + b"Content-Type: text/plain" + b";\n a=b" * 40_000 + b"\n\nx",
    "parameters folded by lone CR": HEAD + b'Content-Type: text/plain;\r a="' + b";" * 60_000,
    "parts within parts": HEAD + NESTED + b"x\n" * 100_000,
    "many attributes": PAGE + b"<p " + b" ".join(b"a%d=1" % n for n in range(30_000)) + b">x",
    "attributes between slashes": PAGE + b"<p " + b"/".join([b"a"] * 60_000) + b">x",
    "scripts without end": PAGE + b"<script>" * 3000 + b"x" * 270_000,
    "a river of spaces": PAGE + b"x" * 300_000 + "\u2003".encode() * 40_000,
    "elements within elements": PAGE + b"<b>" * 15_000 + b"x",
    "ends of what was never opened": PAGE + b"<div></span>" * 9000 + b"x",
}


@pytest.mark.parametrize("raw", SLOW.values(), ids=SLOW.keys())
def test_nothing_takes_long(raw: bytes) -> None:
    """A mail that is made to be slow is read, in whole or in part, within a moment."""
    (event,) = mail.events(raw, provider="smtp")

    assert isinstance(event, Inbound)
    assert cpu_seconds(lambda: mail.events(raw, provider="smtp")) < 0.5


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 15_000,
        "<div></span>" * 9000,
        "<svg>" + "<td>" * 15_000,
        "<math>" + "<dd/>" * 15_000,
        "<p " + "a " * 300 + ">",
        "<p " + "a=1/" * 300 + ">",
        "<p>" * 20_001,
    ],
)
def test_too_deep_to_be_styled(page: str) -> None:
    """HTML that would overflow the stack of the parser is refused before it gets there."""
    with pytest.raises(styles.TooComplex, match="20000 tags"):
        styles.inline_styles(STYLED + page)


@pytest.mark.parametrize(
    "page",
    [
        "\x80" * 2**17, "«»" * 2**16, "<br>" + "&" * 2**17, "&nbsp;" * 2**18,
        "&zz;" * 2**16, "<table>" + ("<br>" + "&" * 100) * 19_990,
        "&&&&&&&&</x>" * 15_000, "&&&&&&&&<!doctype <br>" * 9000, "&&&&&&&&</x <br>" * 9000,
    ],
)  # fmt: skip
def test_too_dense_to_be_made_harmless(page: str) -> None:
    """Text full of what its parser takes a long time for is not parsed."""
    assert sanitised(page) is None


def test_long_pages_are_made_harmless() -> None:
    """An ordinary page may be as long as any, with spaces and quotation marks as people have."""
    page = "<p class=a>«&nbsp;Où&nbsp;?&nbsp;» A &amp; B &lt;b&gt;</p>\n" * 9900
    made = sanitised(page) or ""
    assert 9900 == made.count("«&nbsp;Où&nbsp;?&nbsp;» A &amp; B &lt;b&gt;")


@pytest.mark.parametrize(
    "page",
    [
        "<pre>" + "12:00:00 [worker-1] INFO a -&gt; b took 5 ms &lt;job 7&gt;\n" * 8000 + "</pre>",
        "<table>"
        + f"<tr><td>{'&nbsp;' * 8}row</td><td>{'&#160;' * 8}ok</td>\n" * 2600
        + "</table>",
    ],
)
def test_characters_by_their_names_are_made_harmless(page: str) -> None:
    """A log or a table has as many of them as it has cells and arrows."""
    assert cpu_seconds(lambda: sanitised(page), runs=1) < 1
    assert sanitised(page) is not None


def test_ordinary_pages_are_styled() -> None:
    """Tables in tables, lists, paragraphs that are never closed: what mails are made of."""
    page = "<table><tr><td>" * 40 + "<p>Hello<br>you<img src='a=b c d'>" * 500 + "<li>x" * 500

    assert 'style="color: red' in styles.inline_styles(STYLED + page)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<script>a</SCRIPT >b<style>c</style >d<title>e</title", "b d"),
        ("one<script>never closed", "one"),
        ("a\u2003\u2003b<br>\n\n\n\n<br>c", "a b\n\nc"),
    ],
)
def test_rough_text(source: str, text: str) -> None:
    """Of HTML that is too much for a parser, the words are kept, scripts and styles are not."""
    assert text == html.to_text("<b>" * 500 + source).strip()


@pytest.mark.parametrize(
    ("date", "found"),
    [
        ("Mon, 1 Jan 2024 10:00:00 +2359", "2023-12-31 10:01:00+00:00"),
        ("Fri, 31 Dec 9999 23:59:59 -1200", "None"),
        ("Fri, 31 Dec 2999 23:59:59 +0000", "None"),
    ],
)
def test_odd_dates(date: str, found: str) -> None:
    """A date is one that a database can hold, in UTC, or none."""
    assert found == str(parse_date(date))


def test_odd_times() -> None:
    """The same for times as JSON has them."""
    assert iso_time("9999-12-31T23:59:59-12:00") is None
    assert "2023-12-31 10:01:00+00:00" == str(iso_time("2024-01-01T10:00:00+23:59"))


def test_a_part_that_has_no_bytes() -> None:
    """A part whose text cannot be bytes is empty, or, to newer versions of Python, its escape; it
    stops nothing."""
    part = Message()
    part.set_payload("\ud800")

    assert mime.content_of(part) in (b"", rb"\ud800")


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (b64encode(PARTS), "Hello"),
        (PARTS, "Hello"),
        (b64encode(b"no parts"), "no parts"),
    ],
)
def test_parts_in_base64(packed: bytes, text: str) -> None:
    """SAP's servers pack all parts of a mail together in Base64, which nobody may."""
    head = b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=m\r\n"
    raw = head + b"Content-Transfer-Encoding: Base64\r\n\r\n" + packed
    [found] = mail.events(raw, provider="test")
    assert isinstance(found, Inbound)
    files = [] if text == "no parts" else [("a.pdf", b"%PDF")]
    assert (found.body, [(f.filename, f.content) for f in found.attachments]) == (text, files)


def test_parts_in_base64_within_parts() -> None:
    """Only a whole mail comes like this: each part unpacked would have the bounds of a mail."""
    inner = NESTED.partition(b"b50")[0] + b"x\n" * 20_000
    head = b"--m\nContent-Type: multipart/mixed; boundary=z\nContent-Transfer-Encoding: base64\n\n"
    packed = head + b64encode(b"--z\n" + inner) + b"\n"
    raw = HEAD + b"Content-Type: multipart/mixed; boundary=m\n\n" + packed * 10 + b"--m--\n"
    assert cpu_seconds(lambda: mail.events(raw, provider="test"), runs=1) < 0.4
