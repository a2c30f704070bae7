"""Inbound mails at Resend, which are fetched: in their raw form, or as parsed by Resend.

Docs: https://resend.com/docs/dashboard/receiving/get-email-content. The URL of the raw form is
valid only for a short time, and may fail altogether; the list of files needs a request of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

from channels.model import Attachment
from channels.providers.resend import API
from webhooks import mail
from webhooks.mail import Letter
from webhooks.mail.letter import MORE_FILES
from webhooks.model import (
    Addition,
    Fetch,
    Inbound,
    Unknown,
    Unreadable,
    WebhookEvent,
    WebhookRequest,
)
from webhooks.times import iso_time
from webhooks.values import items, members, read_object, stored, word

RECEIVED: Final = f"{API}/emails/receiving/"
WITHOUT_RAW: Final = "without-raw"
MOST_FILES, MOST_HEADERS, HEADER_CHARACTERS = 100, 500, 64 * 2**10


def location(email_id: str) -> Fetch:
    """Where to fetch an inbound mail."""
    url = f"{RECEIVED}{quote(email_id, safe='')}?html_format=cid"
    return Fetch(url=url, key=f"resend:received:{email_id}")


def texts_of(value: object) -> list[str]:
    """The texts of a list, or a single text."""
    given = value if isinstance(value, list) else [value]
    return [each for each in given[:MOST_FILES] if isinstance(each, str)]


def fetched(request: WebhookRequest) -> list[WebhookEvent]:
    """The events of an answer: a parsed mail, the list of its files, or a mail in its raw form."""
    url, _, fragment = request.url.partition("#")
    if not url.startswith(RECEIVED):
        return mail.events(request.body, provider="resend")
    if url.partition("?")[0].endswith("/attachments"):
        return [_files(read_object(request.body), unquote(fragment))]
    return list(_received(read_object(request.body), without_raw=fragment == WITHOUT_RAW))


def otherwise(request: WebhookRequest) -> list[WebhookEvent]:
    """What to fetch instead of a raw form that could not be had: the mail as parsed by Resend."""
    url, _, email_id = request.url.partition("#")
    if url.startswith(RECEIVED) or not email_id:
        return [Unknown(word=request.event)]
    url = f"{RECEIVED}{email_id}?html_format=cid#{WITHOUT_RAW}"
    return [Fetch(url=url, key=f"resend:without-raw:{email_id}")]


def _received(given: Mapping[str, Any], *, without_raw: bool) -> Iterator[WebhookEvent]:
    """The mail, or where its raw form is, if that has more than the text in this answer.

    The raw form's URL is valid only for a short time: without need, a text should not depend on it.
    """
    email_id = word(given.get("id"), 64)
    if not email_id:
        raise Unreadable("The answer is no mail.")
    raw = None if without_raw else members(given.get("raw")).get("download_url")
    files, texts = given.get("attachments"), (given.get("text"), given.get("html"))
    is_whole = not files and any(isinstance(each, str) and each.strip() for each in texts)
    if isinstance(raw, str) and raw.startswith(("https://", "http://")) and not is_whole:
        # The fragment, which is not sent, carries the mail's own id.
        yield Fetch(url=f"{raw}#{quote(email_id, safe='')}", key=f"resend:raw:{email_id}")
        return
    for event in mail.taken_apart(_letter(given, email_id), provider="resend", sender=None):
        yield event
        if files and isinstance(event, Inbound):
            yield _files_of(event, email_id)


def _letter(given: Mapping[str, Any], email_id: str) -> Letter:
    text, html = given.get("text"), given.get("html")
    to, taken_for = texts_of(given.get("to")), texts_of(given.get("received_for"))
    others = [*texts_of(given.get("cc")), *texts_of(given.get("bcc"))]
    return Letter(
        external_id=word(given.get("message_id"), 998) or email_id,
        from_address=word(given.get("from"), 998),
        to_address=next(iter([*to, *others]), ""),
        # A blind copy, or a forwarded mail, names us only in `received_for`.
        recipients=(*taken_for, *to, *others),
        subject=word(given.get("subject"), 998) or None,
        text=text if isinstance(text, str) else None,
        html=html if isinstance(html, str) else None,
        headers=(
            *_headers(given.get("headers")),
            *(("Reply-To", each) for each in texts_of(given.get("reply_to"))),
        ),
        occurred_at=iso_time(given.get("created_at")),
        detail={"email_id": email_id},
    )


def _headers(value: object) -> Iterator[tuple[str, str]]:
    """The headers, of which Resend makes an object."""
    for name, given in list(members(value).items())[:MOST_HEADERS]:
        for text in texts_of(given):
            yield stored(name[:200]), stored(text[:HEADER_CHARACTERS])


def _files_of(letter: Inbound, email_id: str) -> Fetch:
    """Where the files are listed; the fragment, which is not sent, carries the mail's own id."""
    path = f"{quote(email_id, safe='')}/attachments?limit={MOST_FILES}"
    url = f"{RECEIVED}{path}#{quote(letter.external_id, safe='')}"
    return Fetch(url=url, key=f"resend:attachments:{email_id}")


def _files(given: Mapping[str, Any], external_id: str) -> Addition:
    """The files of a mail that was stored before."""
    listed = items(given.get("data"))
    files = [members(each) for each in listed[:MOST_FILES]]
    has_more = given.get("has_more") is True or len(listed) > MOST_FILES
    return Addition(
        external_id=external_id,
        word="attachments",
        key=f"resend:{external_id}:attachments",
        attachments=tuple(
            Attachment(
                url=url,
                filename=word(each.get("filename"), 255) or None,
                content_type=word(each.get("content_type"), 200) or None,
                size=size if type(size := each.get("size")) is int else None,
                content_id=word(each.get("content_id"), 200).strip("<>") or None,
            )
            for each in files
            if (url := word(each.get("download_url"), 4000))
        ),
        provider={"left_out": MORE_FILES} if has_more else {},
    )
