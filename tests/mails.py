"""For tests of all e-mail providers: a mail to a customer, and answers to it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from uuid import UUID

from channels.http import Answer
from channels.model import Attachment, Channel, Content, Mail, Outbound

ID = UUID("0191e180-7d60-7000-aded-7d8b151cbd5b")
MAIL = Mail(
    message_id=f"{ID}@example.com",
    in_reply_to="b@example.net",
    references=("a@example.net", "b@example.net"),
    reply_to="reply+token@example.com",
    unsubscribe_url="https://msg.example.org/u/" + "x" * 400,
)


def outbound(
    attachments: Iterable[Attachment] = (),
    *,
    html: str | None = "<p>Hello</p>",
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
    """An answer of a provider; a text is not made JSON."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, text=text, headers=named)
