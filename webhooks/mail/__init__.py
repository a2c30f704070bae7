"""Mails that come in, the same way for every provider: a letter, or a report about one of ours.

Replies, bounces (DSN, RFC 3464) and complaints (ARF, RFC 5965) arrive at the same address; which
one a mail is, is told from the mail itself. What an empty sender or a robot wrote is marked
`auto_submitted` (RFC 3834): nobody answers it.

`mime` takes a raw mail apart: `parts` finds its parts, `headers` and `names` read their fields,
`charsets` and `flowed` their text; `written` chooses what people see, and `pictures` takes out what
stands in its HTML. A provider that has done so itself hands over a `letter`. Of either `told` makes
what `reports` looks through, by `codes` and `words`. What is no report becomes an inbound message
in `letter`: its `author`, its `text` without HTML, and what is new in it without its `quotations`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from webhooks.mail.letter import Letter, inbound, letter_of
from webhooks.mail.mime import parse
from webhooks.mail.pictures import taken_out
from webhooks.mail.reports import reports
from webhooks.mail.told import of_letter, of_message
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
    """What a complete MIME message tells: one `Inbound`, or the reports of a DSN or ARF.

    `recipients` and `sender` are those of the envelope, where the provider tells them ("" is the
    empty sender of bounces).
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
    """The same of a mail that its provider took apart; `sender` is that of the envelope.

    A provider may leave out what names the message of a report: without it, it is a letter, which
    somebody may read.
    """
    found = reports(of_letter(letter, sender), provider=provider)
    if any(not isinstance(event, Unknown) for event in found):
        return found
    is_null = sender is not None and sender.strip() in {"", "<>"}
    told = {"auto_submitted": True} if is_null else {}
    page, pictures = taken_out((letter.html or "").encode(errors="replace"))
    letter = replace(
        letter,
        html=page.decode() or None,
        attachments=(*letter.attachments, *pictures),
        sender=sender or "",
        detail={**letter.detail, **told},
    )
    event = inbound(letter)
    if not event.from_address:
        return [Unknown(word="no-sender", detail={"subject": (event.subject or "")[:200]})]
    return [event]
