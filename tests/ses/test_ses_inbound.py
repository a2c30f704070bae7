"""Mails that come in at SES, through SNS."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from channels.model import Status
from tests.mails import ID
from tests.ses.values import envelope, request
from webhooks import ses
from webhooks.model import Inbound, StatusReport, Unknown, WebhookEvent


def parse(message: object, event: str = "events", **fields: Any) -> list[WebhookEvent]:
    """The events of a notification with this message."""
    return list(ses.parse(request(envelope(message, **fields), event=event)))


RAW = """\
From: Them <them@example.net>\r
To: us@example.com\r
Message-ID: <raw@example.net>\r
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: 8bit\r
\r
Grüße\r
"""


def received(content: object, encoding: object = "UTF8", **more: Any) -> dict[str, Any]:
    """A mail that came in at SES."""
    receipt = {
        "recipients": ["Us+token@example.com", "second@Example.com"],
        "spamVerdict": {"status": "PASS"},
        "virusVerdict": 5,
        "action": {"type": "SNS", "encoding": encoding},
    }
    mail = {
        "timestamp": "2026-01-02T03:04:02.500Z",
        "source": "bounces@example.net",
        "messageId": "in-1",
    }
    return {
        "notificationType": "Received",
        "mail": mail,
        "receipt": receipt,
        "content": content,
        **more,
    }


@pytest.mark.parametrize("event", ["events", "inbound"])
@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (RAW, "UTF8"),
        (RAW, None),
        (base64.b64encode(RAW.encode()).decode(), "BASE64"),
        (base64.encodebytes(RAW.encode()).decode(), "Base64"),
    ],
)
def test_a_mail(content: str, encoding: object, event: str) -> None:
    """A mail comes whole, as text or Base64, with its envelope; at whichever event."""
    [letter] = parse(received(content, encoding), event)
    assert isinstance(letter, Inbound)
    assert ("raw@example.net", "them@example.net", "Us+token@example.com", "Grüße") == (
        letter.external_id,
        letter.from_address,
        letter.to_address,
        letter.subject,
    )
    assert "Grüße" == letter.body.strip()
    assert ("Us+token@example.com", "second@example.com", "us@example.com") == letter.recipients
    assert datetime(2026, 1, 2, 3, 4, 2, 500000, tzinfo=UTC) == letter.occurred_at
    assert ("PASS", "in-1") == (letter.detail["spamVerdict"], letter.detail["ses_message_id"])


def test_a_mail_without_envelope() -> None:
    """A mail is read by its own headers where SES tells no others."""
    [letter] = parse({"notificationType": "Received", "content": RAW})
    assert isinstance(letter, Inbound)
    assert ("us@example.com", ("us@example.com",), None) == (
        letter.to_address,
        letter.recipients,
        letter.occurred_at,
    )


@pytest.mark.parametrize(
    ("content", "encoding"),
    [(None, "UTF8"), ("", "UTF8"), ("A", "BASE64"), ("é", "BASE64"), (5, 5)],
)
def test_a_mail_in_s3(content: object, encoding: object) -> None:
    """A mail whose content lies elsewhere is kept as a hint, that says what to set up."""
    receipt = {
        "recipients": "x",
        "action": {
            "type": "S3",
            "encoding": encoding,
            "bucketName": "mails",
            "objectKey": "in/1",
        },
    }
    [event] = parse(received(content, encoding, receipt=receipt))
    why = "The notification has no content: let the receipt rule publish it with an SNS action."
    expected = Unknown(
        word="Received",
        detail={
            "why": why,
            "type": "S3",
            "bucketName": "mails",
            "objectKey": "in/1",
            "ses_message_id": "in-1",
        },
    )
    assert expected == event


DSN = f"""\
From: mailer-daemon@example.net\r
To: us@example.com\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status; boundary=b\r
\r
--b\r
Content-Type: text/plain\r
\r
It failed.\r
--b\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; example.net\r
\r
Final-Recipient: rfc822; them@example.net\r
Action: failed\r
Status: 5.1.1\r
\r
--b\r
Content-Type: text/rfc822-headers\r
\r
Message-ID: <{ID}@example.com>\r
\r
--b--\r
"""


def test_a_bounce_by_mail() -> None:
    """A delivery report that comes by mail is a report, not a message."""
    report = parse(received(DSN))[0]
    assert isinstance(report, StatusReport)
    assert Status.FAILED == report.status
