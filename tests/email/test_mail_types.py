"""What a mail and its parts are, however their type is written."""

from __future__ import annotations

import pytest

from tests.email.test_mail_parts import HEAD, MIXED, read

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


@pytest.mark.parametrize("kind", ["text/markdown; charset=latin1", "text/richtext charset=latin1"])
def test_a_letter_that_is_some_other_text(kind: str) -> None:
    """A text of a kind that nobody knows is read as a plain one where the letter begins with it."""
    alone = read(f"{HEAD}Content-Type: {kind}\n\n*Grüße*".encode("latin-1"))
    assert (alone.body, alone.html_body, alone.attachments) == ("*Grüße*", None, ())
    file = "--T\nContent-Type: image/png\n\nPNG\n--T--\n"
    found = read(f"{MIXED}--T\nContent-Type: {kind}\n\n*Grüße*\n{file}".encode("latin-1"))
    assert (found.body, [each.content for each in found.attachments]) == ("*Grüße*", [b"PNG"])


@pytest.mark.parametrize(
    "head",
    [
        "Content-Type: text/calendar",
        "Content-Type: text/markdown; name=a.md",
        "Content-Type: text/markdown\nContent-Disposition: attachment",
    ],
)
def test_other_texts_that_are_files(head: str) -> None:
    """It stays a file where it is for a program, has a name, or is said to be one."""
    found = read(f"{HEAD}{head}\n\nBEGIN")
    assert (found.body, [each.content for each in found.attachments]) == ("", [b"BEGIN"])


def test_other_texts_beside_one() -> None:
    """So it does behind another text, and where it is another form of one."""
    for kind in ("mixed", "alternative"):
        raw = MIXED.replace("mixed", kind) + (
            "--T\nContent-Type: text/plain\n\nHi\n--T\nContent-Type: text/x-log\n\nlog\n--T--\n"
        )
        found = read(raw)
        assert (found.body, [each.content for each in found.attachments]) == ("Hi", [b"log"])
    page = (
        "--T\nContent-Type: text/enriched\n\n<b>Hi\n--T\nContent-Type: text/html\n\n<p>Hi\n--T--\n"
    )
    assert read(MIXED.replace("mixed", "alternative") + page).body == "Hi"
