"""Mails from SendGrid's Inbound Parse: raw MIME in `email`, or parsed into fields.

Docs: https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/inbound-email.
Oddities of the fields: `charsets` names the charset of each, the envelope may be malformed, the
names of files are in `attachment-info`, and their ids in `content-ids`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from channels.model import Attachment
from webhooks import mail
from webhooks.forms import Form
from webhooks.mail import mime
from webhooks.mail.charsets import decode
from webhooks.mail.letter import written_by
from webhooks.model import Unreadable, WebhookEvent
from webhooks.values import members, stored, word

ENVELOPE: Final = ("dkim", "SPF", "sender_ip", "spam_score")
FILES: Final = re.compile(r"attachment[0-9]{1,4}")
PARSED: Final = frozenset({"from", "to", "subject", "text", "html"})


def events(form: Form) -> Sequence[WebhookEvent]:
    """The mail: from raw MIME in one field, or as parsed by SendGrid."""
    sender, recipients = _envelope(form)
    told: dict[str, Any] = {name.lower(): form.text(name)[:1000] for name in ENVELOPE}
    told = {name: text for name, text in told.items() if text}
    raw = [value for name, value in form.fields if name == "email"]
    raw += [file.content for file in form.files if file.name == "email"]
    if raw:
        return mail.events(
            raw[0], provider="sendgrid", recipients=recipients, sender=sender, detail=told
        )
    charsets = members(form.json("charsets"))
    texts = {
        name: stored(decode(value, word(charsets.get(name), 40)))
        for name, value in reversed(form.fields)
        if name in PARSED
    }
    if not texts:
        raise Unreadable("The form holds no mail.")
    message = mime.parse((form.first("headers") or b"") + b"\r\n\r\n")
    name, address = written_by(message)
    told |= {"from_name": name} if name else {}
    letter = mail.Letter(
        from_address=address or texts.get("from", ""),
        to_address=recipients[0] if recipients else texts.get("to", ""),
        recipients=recipients,
        subject=texts.get("subject"),
        text=texts.get("text"),
        html=texts.get("html"),
        headers=message.headers,
        attachments=tuple(_attachments(form)),
        detail=told,
    )
    return mail.taken_apart(letter, provider="sendgrid", sender=sender)


def _envelope(form: Form) -> tuple[str | None, tuple[str, ...]]:
    """Sender and recipients of the SMTP envelope, as far as they have the documented form."""
    given = members(form.json("envelope"))
    sender, to = given.get("from"), given.get("to")
    listed = [to] if isinstance(to, str) else to if isinstance(to, list) else []
    recipients = tuple(word(each, 320) for each in listed[:100] if isinstance(each, str) and each)
    return (word(sender, 320) if isinstance(sender, str) else None), recipients


def _attachments(form: Form) -> Iterator[Attachment]:
    """The files, with their names and ids from other fields.

    A file whose name makes its part's header malformed comes as a field.
    """
    told = members(form.json("attachment-info"))
    content_ids = {
        field: content_id
        for content_id, field in members(form.json("content-ids")).items()
        if isinstance(field, str)
    }
    for file in (*form.files, *form.unnamed_files(FILES)):
        info = members(told.get(file.name))
        yield Attachment(
            filename=word(info.get("filename")) or word(info.get("name")) or file.filename or None,
            content_type=file.content_type or word(info.get("type")) or None,
            size=len(file.content),
            content=file.content,
            content_id=content_ids.get(file.name) or word(info.get("content-id")) or None,
        )
