"""What a letter says itself, where it looks like a quotation or a file, or passes one on."""

from __future__ import annotations

import pytest

from webhooks import mail, mail_text
from webhooks.model import Inbound

PASSED_ON = (
    "From: Bob <bob@example.org>\nDate: Mon\nSubject: Invoice\nTo: <eve@example.org>\n\n12 EUR"
)


@pytest.mark.parametrize(
    "text",
    [
        f"Please pay:\n\n---------- Forwarded message ---------\n{PASSED_ON}",
        f"Begin forwarded message:\n\n{PASSED_ON}",
        f"-------- Weitergeleitete Nachricht --------\n{PASSED_ON}",
    ],
)
def test_passed_on(text: str) -> None:
    """What somebody passes on is what they want to say: it is no quotation."""
    assert (text, "") == mail_text.new_text(text)


@pytest.mark.parametrize(
    ("subject", "is_whole"),
    [("FW: Invoice", True), ("Wg: Rechnung", True), ("RE: FW: Invoice", False), ("Fwd", False)],
)
def test_passed_on_by_outlook(subject: str, *, is_whole: bool) -> None:
    """Outlook marks what is passed on in the subject alone, which an answer has behind its own."""
    raw = f"From: a@b.example\nSubject: {subject}\n\nSee:\n\n{PASSED_ON}"
    [found] = mail.events(raw.encode(), provider="test")
    assert isinstance(found, Inbound)
    assert found.body == (f"See:\n\n{PASSED_ON}" if is_whole else "See:")


@pytest.mark.parametrize(
    "text",
    [
        "Hello,\n\nOn Monday your colleague wrote:\nIt is paid.\nIs that so?\n\nAnn",
        "Hallo,\nam Montag schrieb mir Ihr Kollege:\nEs ist bezahlt.\nStimmt das?",
        "I moved.\nFrom: Main Street 1\nTo: Side Street 2\nDate: 5 May\nSubject: my flat\nThanks",
    ],
)
def test_words_like_those_before_a_quotation(text: str) -> None:
    """Words that mail programs write before a quotation are a person's where they name neither an
    address nor a time, and nothing quoted follows."""
    assert (text, "") == mail_text.new_text(text)


def test_such_words_before_a_quotation() -> None:
    """A person's own such words do not hide the introduction of what is quoted below."""
    new = "On Monday your colleague wrote:\nIt is paid.\n\nIs that so?"
    quoted = "On 1 Jan 2026 at 10:00, Shop <shop@example.com> wrote:\n> a"
    assert (new, quoted) == mail_text.new_text(f"{new}\n\n{quoted}")


@pytest.mark.parametrize(
    ("parts", "body", "files"),
    [
        ("Content-Type: text/plain; name=a.txt\n\nHi", "Hi", 0),
        ("Content-Type: text/plain; name=a.txt\nContent-Disposition: attachment\n\nHi", "", 1),
        (
            (
                "Content-Type: multipart/alternative; boundary=b\n\n"
                "--b\nContent-Type: text/plain; name=a.txt\n\nHi\n"
                "--b\nContent-Type: text/html; name=a.html\n\n<p>Hi\n--b--"
            ),
            "Hi",
            0,
        ),
        (
            (
                "Content-Type: multipart/mixed; boundary=b\n\n"
                "--b\nContent-Type: text/plain\n\nHi\n"
                "--b\nContent-Type: text/plain; name=a.txt\n\nlog\n--b--"
            ),
            "Hi",
            1,
        ),
    ],
)
def test_named_texts(parts: str, body: str, files: int) -> None:
    """What is written in a mail is its text also where a program gave it a file's name."""
    [found] = mail.events(f"From: a@b.example\n{parts}".encode(), provider="test")
    assert isinstance(found, Inbound)
    assert (body, files) == (found.body, len(found.attachments))
