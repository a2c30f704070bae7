"""Mails from Mailgun's routes: raw MIME in `body-mime`, or parsed into fields.

Docs: https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http
(a URL that ends with `mime` gets the raw form) and /store-retreive, whose files are fetched later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from channels.model import Attachment
from webhooks import mail
from webhooks.forms import Form
from webhooks.model import Unreadable, WebhookEvent
from webhooks.values import decoded, items, members, stored, word

# May come several times: Apple Mail has a part above a file and one below it.
HTML: Final = "body-html"
# A meeting, or the answer to one, perhaps without any other text. It is not in the docs.
CALENDAR: Final = "body-calendar"
TEXTS: Final = frozenset({"body-mime", "body-plain", HTML, "stripped-text", CALENDAR})
FILES: Final = re.compile(r"attachment-[0-9]{1,4}")
CHECKS: Final = {"spf": "X-Mailgun-Spf", "dkim": "X-Mailgun-Dkim-Check-Result",
                 "spam_score": "X-Mailgun-Sscore"}  # fmt: skip


def is_mail(form: Form) -> bool:
    """Whether the form is a mail, and not an event in the form of before 2018."""
    return any(name in TEXTS for name, _ in form.fields)


def events(form: Form) -> Sequence[WebhookEvent]:
    """The mail: from raw MIME in one field, or as parsed by Mailgun."""
    given = form.first("sender")
    sender = None if given is None else decoded(given)
    recipients = tuple(filter(None, word(form.text("recipient"), 2000).split(",")))
    told: dict[str, Any] = {name: form.text(field)[:1000] for name, field in CHECKS.items()}
    told = {name: text for name, text in told.items() if text}
    raw = form.first("body-mime")
    if raw is not None:
        return mail.events(
            raw, provider="mailgun", recipients=recipients, sender=sender, detail=told
        )
    if not (recipients or form.first("message-headers")):
        raise Unreadable("The form holds no mail.")
    letter = mail.Letter(
        external_id=form.text("Message-Id"),
        from_address=form.text("from") or form.text("From"),
        to_address=recipients[0] if recipients else form.text("To"),
        recipients=recipients,
        subject=form.text("subject"),
        text=form.text("body-plain"),
        html="\n".join(decoded(value) for name, value in form.fields if name == HTML) or None,
        headers=_headers(form),
        attachments=tuple(_attachments(form)),
        detail=told,
    )
    return mail.taken_apart(letter, provider="mailgun", sender=sender)


def _headers(form: Form) -> tuple[tuple[str, str], ...]:
    """The mail's headers, which Mailgun gives as a list of pairs, decoded."""
    return tuple(
        (stored(pair[0]), stored(pair[1]))
        for pair in items(form.json("message-headers"))
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(e, str) for e in pair)
    )


def _attachments(form: Form) -> Iterator[Attachment]:
    """The files of a forwarded mail; those of a stored one are still to be fetched."""
    content_ids = {
        name: content_id
        for content_id, name in members(form.json("content-id-map")).items()
        if isinstance(name, str)
    }
    for file in (*form.files, *form.unnamed_files(FILES)):
        yield Attachment(
            filename=file.filename or None,
            content_type=file.content_type or None,
            size=len(file.content),
            content=file.content,
            content_id=content_ids.get(file.name),
        )
    if meeting := form.first(CALENDAR):
        yield Attachment(content_type="text/calendar", size=len(meeting), content=meeting)
    for each in items(form.json("attachments")):
        if url := word(members(each).get("url"), 2000):
            size = each.get("size")
            yield Attachment(
                url=url,
                filename=word(each.get("name")) or None,
                content_type=word(each.get("content-type")) or None,
                size=size if type(size) is int else None,
                content_id=content_ids.get(url),
            )
