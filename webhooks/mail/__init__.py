"""Inbound mails, in the same way for every provider: a letter, or a report about a mail of ours.

Replies, bounces (DSN, RFC 3464) and complaints (ARF, RFC 5965) arrive at the same address, and are
told apart by the mail itself. A mail from an empty sender or a robot is marked `auto_submitted`
(RFC 3834): nobody answers it.

`mime` parses a raw mail: `parts` finds its parts, `headers` and `names` read their headers,
`charsets` and `flowed` their text; `written` chooses what people see, and `pictures` extracts
pictures from its HTML. A provider that parses mails itself gives us a `letter`. From either a
`candidate` is made, in which `reports` searches, with `codes` and `text_bounce`. If it is no
report, `letter` makes it an inbound message, with its `author`, its `text` from HTML, and its new
text without `quotations`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from webhooks.mail.candidate import of_letter, of_message
from webhooks.mail.letter import Letter, inbound, letter_of
from webhooks.mail.mime import parse
from webhooks.mail.pictures import taken_out
from webhooks.mail.reports import reports
from webhooks.model import Unknown, WebhookEvent

__all__ = ["Letter", "events", "inbound", "taken_apart"]


def events(
    raw: bytes,
    *,
    provider: str,
    recipients: Sequence[str] = (),
    sender: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> list[WebhookEvent]:
    """The events of a raw MIME message: one `Inbound`, or the reports in a DSN or ARF.

    `recipients` and `sender` are those of the envelope, if the provider tells them ("" is the empty
    sender of bounces).
    """
    message = parse(raw)
    found = reports(of_message(message, sender), provider=provider)
    if found:
        return found
    letter = letter_of(
        message, provider=provider, recipients=recipients, sender=sender, detail=detail or {}
    )
    if not (letter.from_address or letter.sender.strip("<> ")):
        return [Unknown(word="no-sender", detail={"subject": (letter.subject or "")[:200]})]
    return [inbound(letter)]


def taken_apart(letter: Letter, *, provider: str, sender: str | None) -> list[WebhookEvent]:
    """The same for a mail that its provider parsed; `sender` is that of the envelope.

    A provider may leave out what identifies the message of a report: then it becomes a letter, so
    that somebody may read it.
    """
    found = reports(of_letter(letter, sender), provider=provider)
    if any(not isinstance(event, Unknown) for event in found):
        return found
    is_null = sender is not None and sender.strip() in {"", "<>"}
    marks = {"auto_submitted": True} if is_null else {}
    page, pictures = taken_out((letter.html or "").encode(errors="replace"))
    letter = replace(
        letter,
        html=page.decode() or None,
        attachments=(*letter.attachments, *pictures),
        sender=sender or "",
        detail={**letter.detail, **marks},
    )
    event = inbound(letter)
    if not event.from_address:
        return [Unknown(word="no-sender", detail={"subject": (event.subject or "")[:200]})]
    return [event]
