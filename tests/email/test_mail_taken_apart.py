"""Bounces and complaints that a provider took apart are the reports that they are as MIME."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest

from channels.model import Attachment, Status
from tests.mailgun import values as mailgun_values
from tests.postmark import values as postmark_values
from tests.sendgrid import values as sendgrid_values
from webhooks import mailgun, postmark, sendgrid
from webhooks.mail import Letter, taken_apart
from webhooks.model import ConsentChange, Inbound, Reason, StatusReport, WebhookEvent

ID = UUID("0192f0c1-2345-7000-8000-000000000001")
OURS = f"{ID}@example.com"
STATUS = (
    b"Reporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; bob@example.org\r\n"
    b"Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
)
ARF = b"Feedback-Type: abuse\r\nUser-Agent: x/1\r\nOriginal-Rcpt-To: bob@example.org\r\n"
COPY = f"Received: by x\r\nMessage-ID: <{OURS}>\r\nSubject: Visit\r\n\r\nHello".encode()
DAEMON = "Mail Delivery System <MAILER-DAEMON@mx.example.org>"
DSN_PARTS = [("message/delivery-status", STATUS), ("message/rfc822", COPY)]
ARF_PARTS = [("message/feedback-report", ARF), ("text/rfc822-headers", COPY)]
TYPE = ("Content-Type", 'multipart/report; report-type=delivery-status; boundary="b"')

Parts = Sequence[tuple[str, bytes]]
Headers = Sequence[tuple[str, str]]


def by_sendgrid(wrote: str, sender: str, parts: Parts, headers: Headers) -> list[WebhookEvent]:
    """Inbound Parse without raw MIME: the parts are files, their types in a field of their own."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    info = {
        f"attachment{n}": {"type": kind, "name": f"attachment{n}"}
        for n, (kind, _) in enumerate(parts, 1)
    }
    fields = {
        "from": wrote,
        "to": "us@example.com",
        "subject": "Undelivered Mail",
        "text": "Sorry.",
        "headers": head,
        "envelope": json.dumps({"to": ["us@example.com"], "from": sender}),
        "attachments": str(len(parts)),
        "attachment-info": json.dumps(info),
    }
    form = [(f'"{name}"', value.encode()) for name, value in fields.items()]
    # A part without a name of its own comes as a field.
    form += [(f'"attachment{n}"', content) for n, (_, content) in enumerate(parts, 1)]
    return list(sendgrid.parse(sendgrid_values.posted(sendgrid_values.multipart(*form))))


def by_mailgun(wrote: str, sender: str, parts: Parts, headers: Headers) -> list[WebhookEvent]:
    """A route of Mailgun's that forwards the parsed form."""
    fields = {
        "recipient": "us@example.com",
        "sender": sender,
        "from": wrote,
        "subject": "Undelivered Mail",
        "body-plain": "Sorry.",
        "message-headers": json.dumps(list(headers)),
    }
    form = [(f'"{name}"', value.encode()) for name, value in fields.items()]
    form += [
        (
            f'"attachment-{n}"; filename="part-{n}"' + f"\r\nContent-Type: {kind}" * bool(kind),
            content,
        )
        for n, (kind, content) in enumerate(parts, 1)
    ]
    return list(mailgun.parse(mailgun_values.multipart(*form)))


def by_postmark(wrote: str, sender: str, parts: Parts, headers: Headers) -> list[WebhookEvent]:
    """Postmark's JSON without `RawEmail`."""
    given: dict[str, Any] = {
        "From": wrote,
        "OriginalRecipient": "us@example.com",
        "Subject": "Undelivered Mail",
        "MessageID": "b7bc2f4a-e38e-4336-af7d-e6c392c2f817",
        "TextBody": "Sorry.",
        "Headers": [
            {"Name": name, "Value": value}
            for name, value in [("Return-Path", f"<{sender}>"), *headers]
        ],
        "Attachments": [
            {"Name": f"part-{n}", "ContentType": kind, "Content": b64encode(content).decode()}
            for n, (kind, content) in enumerate(parts, 1)
        ],
    }
    return list(postmark.parse(postmark_values.request(given, "inbound")))


by_all = pytest.mark.parametrize("by", [by_sendgrid, by_mailgun, by_postmark])
By = Callable[[str, str, Parts, Headers], list[WebhookEvent]]


def headers(*more: tuple[str, str]) -> Headers:
    """The headers of a notice."""
    return [
        ("Message-ID", "<n@mx.example.org>"),
        ("Date", "Thu, 01 Jan 2026 12:00:00 +0000"),
        *more,
    ]


@by_all
@pytest.mark.parametrize(
    ("wrote", "sender", "more"),
    [
        (DAEMON, "", [TYPE]),
        (DAEMON, "bounce@mx.example.org", []),
        ("Mail <noreply@mx.example.org>", "", []),
        ("Mail <noreply@mx.example.org>", "noreply@mx.example.org", [TYPE]),
    ],
)
def test_a_bounce(by: By, wrote: str, sender: str, more: Headers) -> None:
    """It fails the message that it names and suppresses its address, as often as it comes."""
    report, wish = by(wrote, sender, DSN_PARTS, headers(*more))
    assert isinstance(report, StatusReport)
    assert (Status.FAILED, "bounced", OURS, ID, "5.1.1") == (
        report.status,
        report.word,
        report.external_id,
        report.message_id,
        report.error_code,
    )
    assert isinstance(wish, ConsentChange)
    assert (Reason.HARD_BOUNCE, None) == (wish.reason, wish.address)
    assert [report, wish] == by(wrote, sender, DSN_PARTS, headers(*more))


@by_all
def test_a_complaint(by: By) -> None:
    """It suppresses the address of the message that it names, and fails nothing."""
    report, wish = by("Abuse <abuse@isp.example>", "", ARF_PARTS, headers())
    assert isinstance(report, StatusReport)
    assert isinstance(wish, ConsentChange)
    assert (None, Reason.COMPLAINT) == (report.status, wish.reason)


@by_all
@pytest.mark.parametrize("kind", ["", "application/octet-stream", "text/plain; charset=us-ascii"])
@pytest.mark.parametrize(
    ("parts", "status"), [(DSN_PARTS, Status.FAILED), (ARF_PARTS, None)], ids=["DSN", "ARF"]
)
def test_types_that_say_nothing(by: By, kind: str, parts: Parts, status: Status | None) -> None:
    """Parts whose types got lost on the way are known by their text."""
    report, wish = by(DAEMON, "", [(kind, content) for _, content in parts], headers(TYPE))
    assert isinstance(report, StatusReport)
    assert isinstance(wish, ConsentChange)
    assert (status, OURS) == (report.status, report.external_id)


@by_all
def test_a_file_that_says_nothing(by: By) -> None:
    """A part without a type that begins with no field is a file, whatever the mail says it is."""
    (mail,) = by(DAEMON, "", [("", b"%PDF-1.7 Message-ID: <x@example.com>")], headers(TYPE))
    assert isinstance(mail, Inbound)


@by_all
def test_no_copy(by: By) -> None:
    """Where the copy was left out, the message is the one that the notice answers."""
    answering = headers(TYPE, ("In-Reply-To", f"<{OURS}>"), ("References", "<a@b.example>"))
    report, _ = by(DAEMON, "", DSN_PARTS[:1], answering)
    assert isinstance(report, StatusReport)
    assert OURS == report.external_id


@by_all
@pytest.mark.parametrize(
    ("wrote", "sender", "parts"),
    [
        (DAEMON, "", DSN_PARTS[:1]),  # about which message, nobody knows
        ("Ann <ann@example.net>", "ann@example.net", DSN_PARTS),  # sent on by a person
        ("Ann <ann@example.net>", "", [("application/pdf", b"%PDF")]),  # an automatic answer
    ],
)
def test_what_is_a_letter(by: By, wrote: str, sender: str, parts: Parts) -> None:
    """What names no message, or what a person sends on, is a letter with its files."""
    [letter] = by(wrote, sender, parts, headers())
    assert isinstance(letter, Inbound)
    assert len(parts) == len(letter.attachments)


@pytest.mark.parametrize(
    ("code", "status"), [("550 5.1.1 No such user", Status.FAILED), ("451 4.2.0 Later", None)]
)
def test_parts_that_are_still_to_be_fetched(code: str, status: Status | None) -> None:
    """Where the parts of a bounce come by URL alone, its words and what it answers are enough."""
    letter = Letter(
        external_id="n@mx.example.org",
        from_address="Mail Delivery Subsystem <mailer-daemon@mx.example.org>",
        subject="Delivery Status Notification (Failure)",
        text=f"Address not found\n\nThe response was:\n\n{code}, will be retried: no\n",
        headers=(("Content-Type", "multipart/report; boundary=b"), ("In-Reply-To", f"<{OURS}>")),
        attachments=(
            Attachment(url="https://x.example/1", content_type="message/delivery-status"),
        ),
    )
    report, *_ = taken_apart(letter, provider="mailgun", sender="")
    assert isinstance(report, StatusReport)
    assert (OURS, status) == (report.external_id, report.status)
