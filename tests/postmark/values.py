"""Accounts, mails and requests that the tests of this folder are made of."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from channels.http import Answer
from channels.model import Account, Attachment, Channel, Content, Mail, Outbound
from webhooks.model import WebhookRequest

ID = UUID("0191e180-7d60-7000-aded-7d8b151cbd5b")
EXTERNAL_ID = "b7bc2f4a-e38e-4336-af7d-e6c392c2f817"
SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
URL = f"https://msg.example.org/webhooks/postmark/{ID}"
MAIL = Mail(
    message_id=f"{ID}@example.com",
    in_reply_to="b@example.net",
    references=("a@example.net", "b@example.net"),
    reply_to="reply+token@example.com",
    unsubscribe_url="https://msg.example.org/u/" + "x" * 400,
)


def account(api_url: str | None = None, **credentials: str) -> Account:
    """A Postmark account with these credentials beside the usual ones; empty ones are none."""
    held = {"server_token": "token", "webhook_secret": "sesame", **credentials}
    return Account(
        id=ID,
        organization_id=ID,
        provider="postmark",
        credentials={name: value for name, value in held.items() if value},
        api_url=api_url,
    )


def outbound(
    *,
    html: str | None = "<p>Hello</p>",
    attachments: Iterable[Attachment] = (),
    mail: Mail | None = MAIL,
    channel: Channel = Channel.EMAIL,
) -> Outbound:
    """One mail to a customer."""
    content = Content(
        body="Hello", subject="Grüße 😀", html_body=html, attachments=tuple(attachments)
    )
    return Outbound(
        message_id=ID,
        channel=channel,
        from_address="us@example.com",
        to_address="them@example.net",
        content=content,
        mail=mail,
    )


def answer(status: int, payload: object, **headers: str) -> Answer:
    """An answer of Postmark's; text goes as it is."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, text=text, headers=named)


def request(payload: Any, event: str = "events", query: str = "?secret=sesame") -> WebhookRequest:
    """A webhook of Postmark's; bytes go as they are."""
    return WebhookRequest(
        method="POST",
        url=f"{URL}/{event}{query}",
        event=event,
        headers={"content-type": "application/json"},
        body=payload if isinstance(payload, bytes) else json.dumps(payload).encode(),
    )
