"""Mails that come in, the same way for every provider: a letter, or a report about one of ours.

Replies, bounces (DSN, RFC 3464) and complaints (ARF, RFC 5965) arrive at the same address; which
one a mail is, is told from the mail itself. What an empty sender or a robot wrote is marked
`auto_submitted` (RFC 3834): nobody answers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhooks.mail_letter import Letter, inbound, letter_of
from webhooks.mail_mime import parse
from webhooks.mail_reports import reports
from webhooks.model import Unknown, WebhookEvent

__all__ = ["Letter", "events", "inbound"]


def events(
    raw: bytes,
    *,
    provider: str,
    key: str | None = None,
    recipient: str | None = None,
    sender: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> list[WebhookEvent]:
    """What a complete MIME message tells: one `Inbound`, or the reports of a DSN or ARF.

    `recipient` and `sender` are those of the envelope, where the provider tells them ("" is the
    empty sender of bounces); `key` names a report where the provider has a stable id for it.
    """
    message = parse(raw)
    found = reports(message, provider=provider, key=key, sender=sender)
    if found:
        return found
    letter = letter_of(
        message, provider=provider, recipient=recipient, sender=sender, detail=detail or {}
    )
    if not (letter.from_address or letter.sender):
        return [Unknown(word="no-sender", detail={"subject": (letter.subject or "")[:200]})]
    return [inbound(letter)]
