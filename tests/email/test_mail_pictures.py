"""Pictures that stand within a mail's HTML itself are files of the mail."""

from __future__ import annotations

import tracemalloc
from base64 import b64encode
from dataclasses import replace

import pytest

from channels.model import Attachment
from tests.costs import cpu_seconds
from webhooks import mail
from webhooks.mail import Letter
from webhooks.mail.pictures import taken_out
from webhooks.model import Inbound

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
DATA = b64encode(PNG).decode()
ESCAPED = DATA.replace("+", "%2b").replace("/", "%2f")


def of(page: str) -> Inbound:
    """The message of a mail that has only HTML."""
    [found] = mail.events(
        f"From: a@b.example\nContent-Type: text/html\n\n{page}".encode(), provider="x"
    )
    assert isinstance(found, Inbound)
    return found


@pytest.mark.parametrize(
    "source",
    [
        f'src="data:image/png;base64,{DATA}"',
        f"SRC = 'data:image/PNG;name=a.png;base64,{DATA[:76]}\n{DATA[76:]}'",
        f'alt="" src="data:image/png;base64,{DATA.replace("+", "%2B").replace("/", "%2F")}"',
        f'src="data:image/png;base64,{ESCAPED[:80]}%0D%0A%20{ESCAPED[80:]}"',
    ],
)
def test_pasted_pictures(source: str) -> None:
    """The HTML names each as it does a file that came with it, and it is one, once."""
    found = of(f"<p>See:</p><img {source}><p>And again:</p><img {source}>")
    [picture] = found.attachments
    assert picture == Attachment(
        content_type="image/png", size=len(PNG), content=PNG, content_id=picture.content_id
    )
    assert found.html_body is not None
    assert found.html_body.count(f'src="cid:{picture.content_id}"') == 2
    assert found.body.split() == ["See:", "And", "again:"]


def test_a_drawing() -> None:
    """One that a browser would run as a page is a file, too, as a mail's own files are."""
    [picture] = of(f'<img src="data:image/svg+xml;base64,{DATA}">').attachments
    assert picture.content_type == "image/svg+xml"


def test_more_pictures_than_files_are_kept() -> None:
    """Those that are left out are pictures, not a file that somebody attached."""
    many = (b64encode(PNG + bytes([each])).decode() for each in range(120))
    page = "".join(f'<img src="data:image/png;base64,{each}">' for each in many)
    parts = f"--b\nContent-Type: text/html\n\n{page}\n--b\nContent-Type: application/pdf\n\n%PDF\n"
    head = "From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n"
    [found] = mail.events(f"{head}{parts}--b--\n".encode(), provider="x")
    assert isinstance(found, Inbound)
    kinds = [file.content_type for file in found.attachments]
    assert ["application/pdf", *["image/png"] * 99] == kinds


def test_a_large_picture() -> None:
    """However large it is, what is written beside it is read."""
    large = b64encode(PNG * 15_000).decode()
    found = of(f'<img src="data:image/png;base64,{large}"><p>It is broken.')
    assert (found.body, [len(PNG) * 15_000]) == (
        "It is broken.",
        [file.size for file in found.attachments],
    )
    assert found.html_body is not None
    assert not found.detail


def test_of_a_mail_that_was_taken_apart() -> None:
    """A provider's reading has them, too; its own files stay."""
    file = Attachment(filename="a.pdf", content=b"%PDF")
    page = f'<p>See</p><img src="data:image/png;base64,{DATA}">'
    letter = Letter(from_address="a@b.example", html=page, attachments=(file,))
    [found] = mail.taken_apart(letter, provider="x", sender=None)
    assert isinstance(found, Inbound)
    assert [file.content, PNG] == [each.content for each in found.attachments]
    [none] = mail.taken_apart(replace(letter, html=None), provider="x", sender=None)
    assert isinstance(none, Inbound)
    assert none.html_body is None


@pytest.mark.parametrize(
    "page",
    [
        '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">',
        f'<img src="data:image/png;base64,{DATA[:-1]}">',
        f'<img src="data:image/png;base64,{DATA[:-4]}%41AAA">',
        f'<img src="data:image/png;base64,{"=" * 200}">',
        f'<img src="data:text/html;base64,{DATA}">',
        f"<p>src=data:image/png;base64,{DATA}",
    ],
)
def test_what_is_none(page: str) -> None:
    """A spacer, what is broken or empty, what is no picture, and what is no source are left as they
    are; so is Base64 of which letters are written as numbers, which costs too much to be read."""
    assert taken_out(page.encode()) == (page.encode(), [])


@pytest.mark.no_cover  # it measures time
@pytest.mark.parametrize(
    "page",
    [
        b' src="data:image/png;base64,' * 200_000,
        b' src="data:image/png' + b";a" * 2_000_000,
        b' src="data:image/png;base64,' + b"A" * 5_000_000,
        b" src" + b" " * 5_000_000,
    ],
)
def test_hostile_pages(page: bytes) -> None:
    """What looks like a picture, and is none, costs little."""
    assert cpu_seconds(lambda: taken_out(page), runs=2) < 1


@pytest.mark.no_cover  # it measures memory
@pytest.mark.parametrize("text", [b"%41", b"%", b"AA ", b"A\n"])
def test_what_pictures_take(text: bytes) -> None:
    """However the Base64 is written, it takes no more memory than a few times its length."""
    page = b'<img src="data:image/png;base64,' + text * (3 * 2**20 // len(text)) + b'">'
    tracemalloc.start()
    try:
        taken_out(page)
        assert tracemalloc.get_traced_memory()[1] < 5 * len(page)
    finally:
        tracemalloc.stop()
