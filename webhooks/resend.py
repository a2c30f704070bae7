"""Resend, the webhook half: what became of our mails, and mails that come in.

Docs: https://resend.com/docs/webhooks/introduction (types: /docs/webhooks/event-types). Signed by
Svix: base64 HMAC-SHA256 over id, time and raw body, keyed with the base64 behind `whsec_`, two keys
during rotation (https://docs.svix.com/receiving/verifying-payloads/how-manual).
Oddities: the event's time is the outer created_at; a retry has the same svix-id and body, but a
replay from our own store lacks the headers, so that the body names a report. `email.received` has
no text: the mail is fetched (https://resend.com/docs/dashboard/receiving/get-email-content).
"""

from __future__ import annotations

import hmac
import re
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, unquote

from channels.model import Account, Attachment, Channel, Status
from channels.providers.resend import API, TAG, secret_key
from webhooks import mail
from webhooks.forms import detail, members, our_id, read_json, stored, word
from webhooks.mail import Letter
from webhooks.mail_letter import MORE_FILES, mailboxes
from webhooks.model import (
    Addition,
    ConsentChange,
    Fetch,
    Inbound,
    InvalidSignature,
    Reason,
    Reply,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookEvent,
    WebhookRequest,
)
from webhooks.times import iso_time

EVENTS: Final = ("events", "fetched", "unfetched")
TOLERANCE: Final = 300.0
RECEIVED: Final = f"{API}/emails/receiving/"
WITHOUT_RAW: Final = "without-raw"
MOST_TAGS = 100
MOST_FILES, MOST_HEADERS, HEADER_CHARACTERS = 100, 500, 64 * 2**10

# https://resend.com/docs/webhooks/event-types; each other one changes nothing.
STATUSES: Final[Mapping[str, Status]] = {
    "email.scheduled": Status.SENT,
    "email.sent": Status.SENT,
    "email.delivered": Status.DELIVERED,
    "email.opened": Status.READ,
    "email.bounced": Status.FAILED,
    "email.failed": Status.FAILED,
    "email.suppressed": Status.FAILED,
}
CONSENT: Final = {
    "email.bounced": Reason.HARD_BOUNCE,
    "email.suppressed": Reason.HARD_BOUNCE,
    "email.complained": Reason.COMPLAINT,
}
# Bounces after which the address may still be good; those of the second kind may be an automatic
# answer to a mail that arrived. https://resend.com/docs/dashboard/emails/email-bounces
SOFT: Final = frozenset({"transient", "undetermined"})
OPEN: Final = frozenset({"general", "undetermined", ""})
WORDS: Final = {
    "email.bounced": "The recipient's mail server refused the mail for good",
    "soft": "The recipient's mail server did not take the mail, and Resend tries no more",
    "email.failed": "Resend could not send the mail",
    "email.suppressed": "Resend did not send it: an earlier mail to this address bounced, or its "
    "owner complained",
}
# The object that tells why, and what stands elsewhere in an event or is the mail itself.
CAUSES: Final = {
    "email.bounced": "bounce",
    "email.failed": "failed",
    "email.suppressed": "suppressed",
}
READ: Final = frozenset({"email_id", "tags", "subject", "headers", "html", "text"})


def verify(request: WebhookRequest, account: Account) -> None:
    """Return when Resend signed the request, of late; raises `InvalidSignature`."""
    key = secret_key(account.credentials.get("webhook_secret", ""))
    if not key:
        raise InvalidSignature("The account has no webhook_secret to verify with.")
    prefix = "svix" if "svix-id" in request.headers else "webhook"
    event_id, timestamp, signatures = (
        request.headers.get(f"{prefix}-{name}", "") for name in ("id", "timestamp", "signature")
    )
    # Without a point in them, so that the parts of what is signed cannot be shifted.
    if not re.fullmatch(r"[!-\-/-~]{1,256}", event_id) or not signatures:
        raise InvalidSignature("The request has no signature.")
    if not re.fullmatch(r"[0-9]{1,11}", timestamp):
        raise InvalidSignature("The time of the signature cannot be read.")
    if abs(time.time() - int(timestamp)) > TOLERANCE:
        raise InvalidSignature("The signature is too old, or of the future.")
    signed = f"{event_id}.{timestamp}.".encode() + request.body
    right = b"v1," + b64encode(hmac.digest(key, signed, "sha256"))
    given = [each.encode(errors="replace") for each in signatures.split()]
    fit = [hmac.compare_digest(right, each) for each in given]
    if not any(fit):
        raise InvalidSignature("The signature is not that of this account.")


def parse(request: WebhookRequest) -> Sequence[WebhookEvent]:
    """What a verified request, or an answer that was fetched, tells; raises `Unreadable`."""
    if request.event == "fetched":
        return _fetched(request)
    if request.event == "unfetched":
        return _otherwise(request)
    if request.event != "events":
        return [Unknown(word=request.event)]
    given = _object(request.body)
    return list(_events(given, sha256(request.body).hexdigest()[:24]))


def _object(body: bytes) -> Mapping[str, Any]:
    given = read_json(body)
    if not isinstance(given, dict):
        raise Unreadable("The body is not a JSON object.")
    return given


def _events(given: Mapping[str, Any], digest: str) -> Iterator[WebhookEvent]:
    """The report of a mail and what it says about the address, or where a new mail is."""
    name, data = word(given.get("type"), 64), members(given.get("data"))
    email_id, message_id = word(data.get("email_id"), 64), our_id(_tag(data))
    if name == "email.received" and email_id:
        url = f"{RECEIVED}{quote(email_id, safe='')}?html_format=cid"
        yield Fetch(url=url, key=f"resend:received:{email_id}")
        return
    cause = members(data.get(CAUSES.get(name, "")))
    told = detail({**cause, **data}, leave_out=READ)
    if not name.startswith("email.") or not (email_id or message_id):
        yield Unknown(word=name or "unreadable", detail=told)
        return
    is_soft = name == "email.bounced" and word(cause.get("type")).lower() in SOFT
    is_open = is_soft and word(cause.get("subType")).lower() in OPEN
    status = None if is_open else STATUSES.get(name)
    failure = "soft" if is_soft else name
    code, message = _error(failure, cause) if status is Status.FAILED else (None, None)
    report = StatusReport(
        external_id=email_id or None,
        message_id=message_id,
        status=status,
        word=name,
        key=f"resend:{email_id or message_id}:{name}:{digest}",
        occurred_at=iso_time(given.get("created_at")),
        error_code=code,
        error_message=message,
        detail=told,
    )
    yield report
    if name in CONSENT and not is_soft:
        yield ConsentChange(
            channel=Channel.EMAIL,
            reason=CONSENT[name],
            address=_address(data),
            message_id=message_id,
            external_id=email_id or None,
            word=name,
            key=report.key,
            occurred_at=report.occurred_at,
            detail=told,
        )


def _tag(data: Mapping[str, Any]) -> object:
    """The tag that is our id, of an object or, as older events have them, a list of pairs."""
    tags = data.get("tags")
    if isinstance(tags, list):
        pairs = map(members, tags[:MOST_TAGS])
        return next((pair.get("value") for pair in pairs if pair.get("name") == TAG), None)
    return members(tags).get(TAG)


def _error(name: str, cause: Mapping[str, Any]) -> tuple[str, str]:
    code = word(cause.get("subType") or cause.get("type"), 64) or name
    said = word(cause.get("message") or cause.get("reason"), 900)
    return code, f"{WORDS[name]}: {said}" if said else f"{WORDS[name]}."


def _address(data: Mapping[str, Any]) -> str | None:
    """The one recipient; of several Resend does not say which is meant."""
    found = mailboxes(_texts(data.get("to")))
    return found[0] if len(found) == 1 else None


def _texts(value: object) -> list[str]:
    """The texts of a list, or the one that stands alone."""
    given = value if isinstance(value, list) else [value]
    return [each for each in given[:MOST_FILES] if isinstance(each, str)]


def _fetched(request: WebhookRequest) -> list[WebhookEvent]:
    """A mail as Resend read it, the list of its files, or the mail itself as it came."""
    url, _, fragment = request.url.partition("#")
    if not url.startswith(RECEIVED):
        return mail.events(request.body, provider="resend")
    if url.partition("?")[0].endswith("/attachments"):
        return [_files(_object(request.body), unquote(fragment))]
    return list(_received(_object(request.body), without_raw=fragment == WITHOUT_RAW))


def _otherwise(request: WebhookRequest) -> list[WebhookEvent]:
    """A mail whose raw form was not to be had (too large, or away) as Resend has read it."""
    url, _, email_id = request.url.partition("#")
    if url.startswith(RECEIVED) or not email_id:
        return [Unknown(word=request.event)]
    url = f"{RECEIVED}{email_id}?html_format=cid#{WITHOUT_RAW}"
    return [Fetch(url=url, key=f"resend:without-raw:{email_id}")]


def _received(given: Mapping[str, Any], *, without_raw: bool) -> Iterator[WebhookEvent]:
    """The mail, from its raw form where that has more than a text.

    Its URL is good for a short time only; a text that is here need not depend on that.
    """
    email_id = word(given.get("id"), 64)
    if not email_id:
        raise Unreadable("The answer is no mail.")
    raw = None if without_raw else members(given.get("raw")).get("download_url")
    files, texts = given.get("attachments"), (given.get("text"), given.get("html"))
    is_whole = not files and any(isinstance(each, str) and each.strip() for each in texts)
    if isinstance(raw, str) and raw.startswith(("https://", "http://")) and not is_whole:
        # The mail's own id rides in the fragment, which is not sent.
        yield Fetch(url=f"{raw}#{quote(email_id, safe='')}", key=f"resend:raw:{email_id}")
        return
    for event in mail.taken_apart(_letter(given, email_id), provider="resend", sender=None):
        yield event
        if files and isinstance(event, Inbound):
            yield _files_of(event, email_id)


def _letter(given: Mapping[str, Any], email_id: str) -> Letter:
    text, html = given.get("text"), given.get("html")
    to, taken_for = _texts(given.get("to")), _texts(given.get("received_for"))
    others = [*_texts(given.get("cc")), *_texts(given.get("bcc"))]
    return Letter(
        external_id=word(given.get("message_id"), 998) or email_id,
        from_address=word(given.get("from"), 998),
        to_address=next(iter([*to, *others]), ""),
        # A blind copy, or a mail that was passed on, names us in `received_for` alone.
        recipients=(*taken_for, *to, *others),
        subject=word(given.get("subject"), 998) or None,
        text=text if isinstance(text, str) else None,
        html=html if isinstance(html, str) else None,
        headers=(
            *_headers(given.get("headers")),
            *(("Reply-To", each) for each in _texts(given.get("reply_to"))),
        ),
        occurred_at=iso_time(given.get("created_at")),
        detail={"email_id": email_id},
    )


def _headers(value: object) -> Iterator[tuple[str, str]]:
    """The headers, of which Resend makes an object."""
    for name, given in list(members(value).items())[:MOST_HEADERS]:
        for text in _texts(given):
            yield stored(name[:200]), stored(text[:HEADER_CHARACTERS])


def _files_of(letter: Inbound, email_id: str) -> Fetch:
    """Where the files are listed; the mail's own id rides in the fragment, which is not sent."""
    path = f"{quote(email_id, safe='')}/attachments?limit={MOST_FILES}"
    url = f"{RECEIVED}{path}#{quote(letter.external_id, safe='')}"
    return Fetch(url=url, key=f"resend:attachments:{email_id}")


def _files(given: Mapping[str, Any], external_id: str) -> Addition:
    """The files of a mail that is stored already."""
    data = given.get("data")
    listed = data if isinstance(data, list) else []
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


def reply(
    _request: WebhookRequest,
    _events: Sequence[WebhookEvent],
    _account: Account,
) -> Reply:
    """Resend wants a 2xx, and tries everything else again for a day."""
    return Reply(status=200)
