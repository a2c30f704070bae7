"""Inbound mails at Amazon SES, as its SNS action delivers them.

Docs: https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html.
With that action SES bounces mails above 150 KB; notifications of other actions have no content.
https://docs.aws.amazon.com/ses/latest/dg/receiving-email-action-sns.html
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from webhooks import mail
from webhooks.model import Inbound, Unknown, WebhookEvent
from webhooks.times import iso_time
from webhooks.values import items, members, word

VERDICTS: Final = ("spamVerdict", "virusVerdict", "spfVerdict", "dkimVerdict", "dmarcVerdict")


def events(given: Mapping[str, Any]) -> list[WebhookEvent]:
    """An inbound mail; its rule must include the content, which an S3 action does not."""
    sent, receipt = members(given.get("mail")), members(given.get("receipt"))
    action = members(receipt.get("action"))
    recipients = [word(each, 320) for each in items(receipt.get("recipients"))]
    told = {name: word(members(receipt.get(name)).get("status"), 64) for name in VERDICTS}
    told |= {"ses_message_id": word(sent.get("messageId"), 128)}
    told = {name: value for name, value in told.items() if value}
    try:
        raw = _content(given.get("content"), word(action.get("encoding"), 16))
    except ValueError:
        raw = b""
    if not raw:
        place = {name: word(action.get(name)) for name in ("type", "bucketName", "objectKey")}
        why = "The notification has no content: let the receipt rule publish it with an SNS action."
        return [Unknown(word="Received", detail={"why": why, **place, **told})]
    found = mail.events(
        raw,
        provider="ses",
        recipients=tuple(filter(None, recipients)),
        sender=word(sent.get("source"), 320) if isinstance(sent.get("source"), str) else None,
        detail=told,
    )
    at = iso_time(sent.get("timestamp"))
    return [
        replace(event, occurred_at=at or event.occurred_at) if isinstance(event, Inbound) else event
        for event in found
    ]


def _content(content: object, encoding: str) -> bytes:
    """The whole mail; raises `ValueError` for malformed Base64."""
    if not isinstance(content, str):
        return b""
    return b64decode(content) if encoding.upper() == "BASE64" else content.encode(errors="replace")
