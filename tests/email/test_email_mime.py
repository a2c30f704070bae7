"""A mail's headers say exactly what they are given, and nothing can be slipped into them."""

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import mime
from channels.errors import Refused
from channels.model import Attachment
from tests.smtp.values import MESSAGE_ID, outbound
from webhooks.mail.mime import parse

DATE = datetime(2026, 1, 1, 12, tzinfo=UTC)
SUBJECTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1)


def test_headers() -> None:
    """Ids and URLs are on lines of their own, whole; an ordinary mail is no robot's."""
    url = "https://x.example/" + "u" * 400
    given_mail = outbound(
        unsubscribe_url=url,
        in_reply_to="b@x",
        references=tuple(f"{number}@x" for number in range(30)),
        reply_to="r@x.example",
    )
    raw = mime.as_bytes(given_mail, date=DATE).decode()
    head, _, _ = raw.partition("\r\n\r\n")
    lines = head.replace("\r\n ", " ").split("\r\n")
    kept = " ".join(f"<{number}@x>" for number in [0, *range(10, 30)])
    assert lines[:10] == [
        "From: shop@example.com",
        "To: bob@example.org",
        "Reply-To: r@x.example",
        "Subject: Hello",
        "Date: Thu, 01 Jan 2026 12:00:00 +0000",
        f"Message-ID: <{MESSAGE_ID}>",
        "In-Reply-To: <b@x>",
        f"References: {kept}",
        f"List-Unsubscribe: <{url}>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
    ]
    assert "Auto-Submitted" not in raw
    assert f"List-Unsubscribe: <{url}>" in mime.build(given_mail).as_string(policy=mime.POLICY)


@given(SUBJECTS)
def test_every_subject_survives(subject: str) -> None:
    """Subjects come back as they were, spaces and all, on lines of a lawful length."""
    raw = mime.as_bytes(outbound(subject=subject))
    assert raw.isascii()
    head, _, _ = raw.partition(b"\r\n\r\n")
    assert max(map(len, head.split(b"\r\n"))) <= 98
    parsed = parse(raw).first("subject") or ""
    assert parsed.strip() == subject.strip()


@pytest.mark.parametrize(
    "text",
    ["=?utf-8?q?a?=", "=?utf-8?q?a=0D=0AX:_y?=", "x =?unicode_escape?q?=5Cud800?=", "=?x?b?/w==?="],
)
def test_what_looks_like_an_encoded_word(text: str) -> None:
    """It is kept letter for letter, and nothing that it would spell gets into the mail."""
    to = text.translate({32: None, 58: None}) + "@example.org"
    file = Attachment(filename=text, content_type="text/plain", content=b"x")
    raw = mime.as_bytes(outbound(subject=text, to=to, attachments=(file,)))
    assert f"To: {to}".encode() in raw.split(b"\r\n")
    assert raw.isascii()
    assert b"\nX: y" not in raw
    assert text == parse(raw).first("subject")
    assert f'filename="{text}"'.encode() in raw


@pytest.mark.parametrize(
    ("subject", "is_plain"),
    [
        ("Übersicht", False),
        ("Total 100 €", False),
        ("é", False),
        ("Total 100 EUR", True),
        ("x", True),
        ("ü" * 200, False),
        ("a" * 200, False),
        ("a" + "😀" * 60, False),
    ],
)
def test_subjects_are_ascii_on_short_lines(subject: str, *, is_plain: bool) -> None:
    """What is beyond ASCII is encoded wherever it stands, on lines of 76 characters (RFC 2047)."""
    raw = mime.as_bytes(outbound(subject=subject))
    lines = raw.partition(b"\r\n\r\n")[0].decode("ascii").split("\r\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("Subject: "))
    assert is_plain == (lines[start] == f"Subject: {subject}")
    following = (line for line in lines[start + 1 :] if not line.startswith(" "))
    told = lines[start : lines.index(next(following))]
    assert max(map(len, told)) <= 76
    assert subject == parse(raw).first("subject")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\0")))
def test_every_text_survives(text: str) -> None:
    """Texts come back as they were, but for the end of the last line."""
    found = parse(mime.as_bytes(outbound(body=text))).text or ""
    assert found.replace("\r\n", "\n").removesuffix("\n") == text.removesuffix("\n")


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "a\r\nBcc: x@y.de"}, {"subject": "a\u2028b"}, {"to": "a@b.de\r\nBcc: x@y.de"},
        {"to": "Bob <a@b.de>"}, {"to": "a@b.de, c@d.de"}, {"sender": "x"},
        {"reply_to": "a@b.de\n"}, {"message_id": "a b"}, {"message_id": "a>\r\nX: y"},
        {"message_id": ""}, {"in_reply_to": "<a@b>"}, {"references": ("a\nb",)},
        {"unsubscribe_url": "https://x/ y"}, {"unsubscribe_url": "https://x/" + "u" * 1000},
        {"attachments": (Attachment(filename="a"),)},
        {"attachments": (Attachment(filename="a\r\nX: y", content=b""),)},
        {"attachments": (Attachment(content_id="a\r\nX: y", content=b""),)},
    ],
)  # fmt: skip
def test_injection(fields: dict[str, Any]) -> None:
    """What would end a header, or is not at hand, is refused."""
    with pytest.raises(Refused):
        mime.as_bytes(outbound(**fields))


def test_no_mail() -> None:
    """A message without mail headers is none."""
    with pytest.raises(Refused):
        mime.build(replace(outbound(), mail=None))


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/pdf", "application/pdf"), (None, "application/octet-stream"),
        ("nonsense", "application/octet-stream"), ("message/rfc822", "application/octet-stream"),
        ("text/csv; charset=latin-1", "text/csv"), ("TEXT/Calendar", "text/calendar"),
    ],
)  # fmt: skip
def test_files(content_type: str | None, expected: str) -> None:
    """Files keep their bytes; a type that cannot be is that of any bytes."""
    file = Attachment(filename="ä.x", content_type=content_type, content=b"\xff\r\n.\n", url="u")
    raw = mime.as_bytes(outbound(attachments=(file,)))
    [part] = email.message_from_bytes(raw, policy=email.policy.default).iter_attachments()
    assert (part.get_filename(), part.get_content_type()) == ("ä.x", expected)
    assert part.get_payload(decode=True) == b"\xff\r\n.\n"


def test_a_picture_that_is_not_in_the_text() -> None:
    """A file with a content id that the HTML does not show is attached."""
    file = Attachment(filename="a.png", content_type="image/png", content=b"x", content_id="a")
    raw = mime.as_bytes(outbound(html="<p>x</p>", attachments=(file,)))
    message = email.message_from_bytes(raw, policy=email.policy.default)
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "image/png",
    ]  # fmt: skip
