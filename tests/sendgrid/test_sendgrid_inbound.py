"""Mail from Inbound Parse: taken apart by SendGrid, or as raw MIME."""

import json
from typing import Any

import pytest

from channels.model import Attachment, Channel
from tests.sendgrid.values import multipart, posted
from webhooks import sendgrid
from webhooks.model import Inbound, Unknown, Unreadable, WebhookEvent

HEADERS = (
    b"Message-ID: <m1@example.net>\r\nIn-Reply-To: <a@example.com>\r\n"
    b"References: <b@example.com> <a@example.com>\r\nDate: Fri, 02 Jan 2026 03:04:05 +0000\r\n"
    b"Subject: Re: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nTo: us@example.com, other@example.org"
)
ENVELOPE = {"to": ["us+token@example.com"], "from": "bounces@example.net"}
RAW = (
    b"From: Them <them@example.net>\r\nTo: us@example.com\r\nSubject: Raw\r\n"
    b"Message-ID: <m2@example.net>\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\nCaf\xe9\r\n"
)


def parsed(*more: tuple[str, bytes], **fields: Any) -> list[WebhookEvent]:
    """What a form with these fields beside the usual ones tells; None takes one away."""
    usual: dict[str, Any] = {
        "headers": HEADERS,
        "from": "Jörg <them@example.net>",
        "to": "us@example.com",
        "subject": b"Re: Gr\xfc\xdfe",
        "text": "Hällo\u2026",
        "envelope": json.dumps(ENVELOPE),
        "charsets": json.dumps({"subject": "iso-8859-1", "text": "UTF-8"}),
        "SPF": "pass",
        "dkim": "{@example.net : pass}",
        "spam_score": "",
    }
    parts = [
        (f'"{name}"', value if isinstance(value, bytes) else value.encode())
        for name, value in (usual | fields).items()
        if value is not None
    ]
    return list(sendgrid.parse(posted(multipart(*parts, *more))))


def only(events: list[WebhookEvent]) -> Inbound:
    """The one mail among them."""
    [event] = events
    assert isinstance(event, Inbound)
    return event


def test_a_mail_taken_apart() -> None:
    """Each field in its own charset, addresses bare, ids and references from the headers."""
    mail = only(parsed())
    assert mail.external_id == "m1@example.net"
    assert mail.channel is Channel.EMAIL
    assert (mail.from_address, mail.to_address) == ("them@example.net", "us+token@example.com")
    assert mail.subject == "Re: Grüße"
    assert mail.body.strip() == "Hällo…"
    assert mail.references == ("a@example.com", "b@example.com")
    assert mail.recipients == ("us+token@example.com", "us@example.com", "other@example.org")
    assert mail.occurred_at is not None
    assert mail.detail["from_name"] == "Jörg"
    assert (mail.detail["spf"], mail.detail["dkim"]) == ("pass", "{@example.net : pass}")
    assert "spam_score" not in mail.detail


def test_html_is_made_harmless() -> None:
    """The same sanitising as for every other mail."""
    mail = only(parsed(text=None, html="<p onclick='x()'>Hi</p><script>x()</script>"))
    assert mail.html_body is not None
    assert "onclick" not in mail.html_body
    assert "script" not in mail.html_body
    assert mail.body.strip() == "Hi"


def test_files() -> None:
    """Names from attachment-info, ids from content-ids; also a file that came as a field."""
    info = {"attachment1": {"filename": "übersicht.pdf"}, "attachment3": {"content-id": "c3"}}
    mail = only(
        parsed(
            ('"attachment1"; filename="x.pdf"\r\nContent-Type: application/pdf', b"%PDF"),
            ('"attachment2"; filename="logo.png"\r\nContent-Type: image/png', b"\x89PNG"),
            ('"attachment3"', b"raw\r\n\x00"),
            **{
                "attachment-info": json.dumps(info),
                "content-ids": json.dumps({"ii_1": "attachment2", "x": 3}),
                "attachments": "3",
            },
        )
    )
    assert mail.attachments == (
        Attachment(
            filename="übersicht.pdf", content_type="application/pdf", size=4, content=b"%PDF"
        ),
        Attachment(
            filename="logo.png",
            content_type="image/png",
            size=4,
            content=b"\x89PNG",
            content_id="ii_1",
        ),
        Attachment(filename=None, size=6, content=b"raw\r\n\x00", content_id="c3"),
    )


@pytest.mark.parametrize(
    ("envelope", "to"),
    [
        ("{", "us@example.com"),
        ("[]", "us@example.com"),
        ('{"to": 3, "from": 4}', "us@example.com"),
        ('{"to": [3, "", {}], "from": null}', "us@example.com"),
        ('{"to": "one@example.com"}', "one@example.com"),
        (None, "us@example.com"),
    ],
)
def test_an_envelope_that_is_malformed(envelope: str | None, to: str) -> None:
    """Only what has the documented shape counts; else the headers do."""
    assert only(parsed(envelope=envelope)).to_address == to


@pytest.mark.parametrize(
    ("text", "charset", "expected"),
    [
        ("朱镕基".encode("gbk"), "gb2312", "朱镕基"),
        ("髙橋①".encode("cp932"), "shift_jis", "髙橋①"),
        (b"Gr\xfc\xdfe \x9d", "windows-1252", "Grüße \ufffd"),
    ],
)
def test_one_character_spoils_no_text(text: bytes, charset: str, expected: str) -> None:
    """A character that a charset has only in programs, or not at all, costs no other."""
    found = only(parsed(text=text, charsets=json.dumps({"text": charset})))
    assert expected == found.body.strip()


def test_a_sender_without_an_address() -> None:
    """A mail whose From names nobody is from whom the envelope names."""
    found = only(parsed(**{"from": "Scanner, third floor"}))
    assert "bounces@example.net" == found.from_address


def test_charsets_that_are_none() -> None:
    """What cannot be read as what it says is read as UTF-8."""
    assert only(parsed(charsets="[")).body.strip() == "Hällo…"
    assert only(parsed(charsets='{"text": "nonsense"}')).body.strip() == "Hällo…"
    assert only(parsed(charsets='{"text": 3}')).body.strip() == "Hällo…"


def test_the_empty_sender() -> None:
    """What a robot's empty envelope sender wrote is marked: nobody answers it."""
    envelope = json.dumps({"to": ["us@example.com"], "from": ""})
    assert only(parsed(envelope=envelope)).detail["auto_submitted"] is True
    assert "auto_submitted" not in only(parsed()).detail


def test_a_mail_without_headers() -> None:
    """The sender of the envelope stands in; the id is a digest, the same each time."""
    fields: dict[str, Any] = {"headers": None, "from": None}
    mail = only(parsed(**fields))
    assert mail.from_address == "bounces@example.net"
    assert mail.external_id == only(parsed(**fields)).external_id


def test_nobody_wrote_it() -> None:
    """Without a sender there is nothing to store but that it came."""
    found = parsed(headers=None, envelope=None, **{"from": "nobody"})
    assert found == [Unknown(word="no-sender", detail={"subject": "Re: Grüße"})]


def test_a_form_without_a_mail() -> None:
    """Neither raw MIME nor one of the fields: unreadable."""
    with pytest.raises(Unreadable):
        sendgrid.parse(posted(multipart(('"SPF"', b"pass"))))


@pytest.mark.parametrize("name", ['"email"', '"email"; filename="mail.eml"'])
def test_raw_mime(name: str) -> None:
    """Raw MIME is read as every other provider's, as a field or a file."""
    body = multipart(('"envelope"', json.dumps(ENVELOPE).encode()), ('"SPF"', b"pass"), (name, RAW))
    mail = only(list(sendgrid.parse(posted(body))))
    assert mail.external_id == "m2@example.net"
    assert mail.to_address == "us+token@example.com"
    assert mail.body.strip() == "Café"
    assert mail.detail["spf"] == "pass"


def test_raw_mime_without_an_envelope() -> None:
    """The headers say to whom."""
    assert only(list(sendgrid.parse(posted(multipart(('"email"', RAW)))))).to_address == (
        "us@example.com"
    )


def test_every_recipient_of_a_raw_mail() -> None:
    """One mail to two addresses of ours comes once, and names both: either may be a reply token."""
    envelope = json.dumps(
        {"to": ["desk@example.com", "r+token@example.com"], "from": "x@y.example"}
    )
    form = multipart(('"email"', RAW), ('"envelope"', envelope.encode()))
    mail = only(list(sendgrid.parse(posted(form))))
    assert "desk@example.com" == mail.to_address
    assert ("desk@example.com", "r+token@example.com", "us@example.com") == mail.recipients


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ('filename="scan\r\n1.pdf"', "scan 1.pdf"),
        ('filename="=?UTF-8?B?w7xiZXI=?=.pdf"', "über.pdf"),
        ('filename="scan\r\n a: 1.pdf"', "scan a: 1.pdf"),
        ('filename="scan\r\nno. 1: a.pdf"', "scan no. 1: a.pdf"),
        ('filename="scan.pdf"\r\nnothing that has a colon', "scan.pdf"),
    ],
)
def test_a_name_that_breaks_its_header(head: str, name: str) -> None:
    """A file's name with line ends in it costs nobody the mail: for a 400 it would be dropped."""
    part = f'"attachment1"; {head}\r\nContent-Type: application/pdf'
    [file] = only(parsed((part, b"%PDF"))).attachments
    assert (name, "application/pdf", b"%PDF") == (file.filename, file.content_type, file.content)
