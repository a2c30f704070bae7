"""What a mail and its parts are, however their type is written."""

from __future__ import annotations

import pytest

from tests.email.test_mail_parts import HEAD, read

PAGE = "<p>Grüße"


@pytest.mark.parametrize(
    "kind",
    [
        "text/html charset=iso-8859-1",
        'text/html charset="iso-8859-1"',
        "text/html\n charset=iso-8859-1",
        "text/html, charset=iso-8859-1",
        "text/html: charset=iso-8859-1; format=flowed",
        "text/html (a page; of/mine); charset=iso-8859-1",
        "(a page) text/html; charset=iso-8859-1",
        "text / html; charset=iso-8859-1",
        '"text/html"; charset=iso-8859-1',
        "TEXT/HTML;charset=iso-8859-1",
    ],
)
def test_types_that_are_written_oddly(kind: str) -> None:
    """A comment in a mail's type, or a missing semicolon, hides neither text nor charset."""
    found = read(f"{HEAD}Content-Type: {kind}\n\n{PAGE}".encode("latin-1"))
    assert (found.body, found.html_body) == ("Grüße", "<p>Grüße</p>")
    assert not found.attachments


@pytest.mark.parametrize("kind", ['mixed boundary="b/1"', "mixed (of parts); boundary=b/1"])
def test_parts_whose_types_are_written_oddly(kind: str) -> None:
    """So it is with a mail of parts, and with each of them: its boundary and files are found."""
    raw = (
        f"{HEAD}Content-Type: multipart/{kind}\n\n--b/1\nContent-Type: text/plain (text)\n\nHi\n"
        '--b/1\nContent-Type: image/png name="Grün.png"\n\nPNG\n--b/1--\n'
    )
    found = read(raw.encode("latin-1"))
    assert found.body == "Hi"
    assert [("Grün.png", "image/png", b"PNG")] == [
        (each.filename, each.content_type, each.content) for each in found.attachments
    ]


def test_what_is_no_type() -> None:
    """What names no type is none: the file is there as it came."""
    for kind in ("image png/", "image/{png}", "(image/png", "((a) b) image/png"):
        [file] = read(f"{HEAD}Content-Type: {kind}; name=a.png\n\nPNG").attachments
        assert (file.content_type, file.content) == ("application/octet-stream", b"PNG")
