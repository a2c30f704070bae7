"""Read receipts (RFC 8098), as Outlook and Exchange write them."""

from __future__ import annotations

import pytest

from tests.email.test_mail_parts import read
from webhooks.mail import Letter, inbound

SAID = """\
Your message

   To: Ann
   Subject: Your appointment
   Sent: Monday, May 5, 2025 10:00:00 AM (UTC+00:00)

was read on Monday, May 5, 2025 10:05:00 AM (UTC+00:00)."""
KIND = 'multipart/report; boundary=b; report-type="{0}"'
RECEIPT = f"""\
From: Ann <ann@x.example>
Subject: Read: Your appointment
Message-ID: <r@x.example>
In-Reply-To: <1@clinic.example>
Content-Type: {KIND}

--b
Content-Type: text/plain

{SAID}
--b
Content-Type: message/disposition-notification

Final-Recipient: RFC822; ann@x.example
Disposition: automatic-action/MDN-sent-automatically; displayed

--b--
"""


@pytest.mark.parametrize("kind", ["disposition-notification", "Disposition-Notification"])
def test_a_receipt(kind: str) -> None:
    """All that a receipt says is its text, also what it says of the mail; a program wrote it."""
    found = read(RECEIPT.format(kind))
    assert (found.body, found.detail.get("quoted_text")) == (SAID, None)
    assert found.detail["auto_submitted"] is True
    assert found.references == ("1@clinic.example",)


@pytest.mark.parametrize(
    ("kind", "is_receipt"),
    [(KIND.format("disposition-notification"), True), (KIND.format("odd"), False), (None, False)],
)
def test_a_receipt_that_its_provider_took_apart(kind: str | None, *, is_receipt: bool) -> None:
    """It is known by its type alone: what else says such words is an answer."""
    headers = (("Content-Type", kind),) if kind else ()
    found = inbound(Letter(from_address="ann@x.example", text=f"{SAID}\n", headers=headers))
    assert found.body == (SAID if is_receipt else "Your message")
    assert found.detail.get("auto_submitted", False) is is_receipt
