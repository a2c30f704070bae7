"""Postmark, the webhook half: what became of our mails, and mails that come in.

Docs: https://postmarkapp.com/developer/webhooks/webhooks-overview and, for mails,
/developer/webhooks/inbound-webhook. Nothing is signed: the URL carries the account's
`webhook_secret`, as user:password@ (which Postmark sends as Basic authentication) or ?secret=.
Oddities: times have fractions of seven digits; a soft bounce is final, because Postmark has tried
for hours; a 403 ends its retries; a change of subscription by staff, and every reactivation, names
no mail and does not say why the address was suppressed.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from channels.http import parse_date
from channels.model import Account, Attachment, Channel, Status
from channels.providers.postmark import METADATA, STREAM
from webhooks import mail
from webhooks.mail import Letter
from webhooks.mail.letter import ATTACHMENTS
from webhooks.model import (
    ConsentChange,
    Reason,
    StatusReport,
    Unknown,
    WebhookEvent,
    WebhookRequest,
    ok,
)
from webhooks.secrets import verify_secret
from webhooks.times import iso_time
from webhooks.values import detail, items, members, our_id, read_object, stored, word

EVENTS: Final = ("events", "inbound")
MOST_HEADERS, MOST_ADDRESSES = 500, 100
HEADER_CHARACTERS = 64 * 2**10

# https://postmarkapp.com/developer/api/bounce-api#bounce-types; all others change nothing.
STATUSES: Final[Mapping[str, Status]] = {
    "Delivery": Status.DELIVERED,
    "Open": Status.READ,
    "HardBounce": Status.FAILED,
    "SoftBounce": Status.FAILED,
    "Blocked": Status.FAILED,
    "BadEmailAddress": Status.FAILED,
    "DMARCPolicy": Status.FAILED,
    "VirusNotification": Status.FAILED,
    "ManuallyDeactivated": Status.FAILED,
    "Unconfirmed": Status.FAILED,
    "SMTPApiError": Status.FAILED,
    "TemplateRenderingFailed": Status.FAILED,
}
CONSENT: Final = {
    "HardBounce": Reason.HARD_BOUNCE,
    "BadEmailAddress": Reason.HARD_BOUNCE,
    "SpamComplaint": Reason.COMPLAINT,
    "ManuallyDeactivated": Reason.MANUAL,
    "Unsubscribe": Reason.UNSUBSCRIBE,
    "Subscribe": Reason.UNSUBSCRIBE,
}
# The reasons for which an address may be on Postmark's own list.
OWN: Final = (Reason.UNSUBSCRIBE, Reason.HARD_BOUNCE, Reason.COMPLAINT, Reason.MANUAL)
BY_THEM: Final = ("Recipient", "")
TIMES: Final = ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")
# A member that only this kind of event has: webhooks from before 2018 do not name their kind.
RECORDS: Final = {
    "BouncedAt": "Bounce",
    "DeliveredAt": "Delivery",
    "SuppressSending": "SubscriptionChange",
    "OriginalLink": "Click",
    "FirstOpen": "Open",
}
# Not repeated in the detail: it is read elsewhere, or is the mail itself.
READ: Final = frozenset({"RecordType", "MessageID", "Metadata", "Content", "Subject", "ServerID"})


def verify(request: WebhookRequest, account: Account) -> None:
    """Return if the request has the account's secret; else raises `InvalidSignature`."""
    verify_secret(request, account.credentials.get("webhook_secret"))


def parse(request: WebhookRequest) -> Sequence[WebhookEvent]:
    """The events of a verified request; raises `Unreadable`.

    Whether it is an event or a mail is read from its content, whichever URL it came to.
    """
    if request.event not in EVENTS:
        return [Unknown(word=request.event)]
    given = read_object(request.body)
    is_mail = "FromFull" in given or (request.event == "inbound" and not _record(given))
    return _received(given) if is_mail else list(_events(given))


def _record(given: Mapping[str, Any]) -> str:
    """The kind of event; "" if it is none."""
    return word(given.get("RecordType"), 64) or next(
        (record for member, record in RECORDS.items() if member in given), ""
    )


def _events(given: Mapping[str, Any]) -> Iterator[WebhookEvent]:
    """The report about a message, and what it says about the address."""
    record = _record(given)
    name = (word(given.get("Type"), 64) if record == "Bounce" else "") or record
    external_id = word(given.get("MessageID"), 64) or None
    message_id = our_id(members(given.get("Metadata")).get(METADATA))
    report = _report(given, name, external_id, message_id)
    names_mail = bool(external_id or message_id)
    if name and names_mail:
        yield report
    else:
        yield Unknown(word=name or "unreadable", detail=report.detail)
    address = _address(given) or None
    if not (address or names_mail):
        return
    # Each stream has a list of its own; changes without a mail may come for several at once.
    stream = word(given.get("MessageStream"), 64) or STREAM
    key = report.key if stream == STREAM else f"{report.key}:{stream}"
    for reason, is_lifted, is_own in _consent(given, name):
        yield ConsentChange(
            channel=Channel.EMAIL,
            reason=reason,
            is_lifted=is_lifted,
            is_own=is_own,
            group=stream,
            is_accounts=True,
            address=address,
            message_id=message_id,
            external_id=external_id,
            word=name,
            key=f"{key}:{reason}" if is_own else key,
            occurred_at=report.occurred_at,
            detail=report.detail,
        )


def _report(
    given: Mapping[str, Any], name: str, external_id: str | None, message_id: UUID | None
) -> StatusReport:
    code = word(given.get("TypeCode"), 32) or None
    said = word(given.get("Description")) or word(given.get("Name"))
    cause = word(given.get("Details"))
    return StatusReport(
        external_id=external_id,
        message_id=message_id,
        status=STATUSES.get(name),
        word=name,
        key=_key(given, name, external_id or str(message_id or "")),
        occurred_at=next((at for each in TIMES if (at := iso_time(given.get(each)))), None),
        error_code=code,
        error_message=(f"{said} {cause}".strip() or None) if code else None,
        detail=detail(given, leave_out=READ),
    )


def _key(given: Mapping[str, Any], name: str, mail_id: str) -> str:
    """The same for the same report: Postmark sends the same body again, and has ids for bounces."""
    parts = ("ID", *TIMES, "Recipient", "Email", "OriginalLink", "SuppressSending")
    told = "\n".join(repr(given.get(part))[:4000] for part in parts)
    return f"postmark:{mail_id}:{name}:{sha256(told.encode(errors='replace')).hexdigest()[:24]}"


def _address(given: Mapping[str, Any]) -> str:
    return word(given.get("Email") or given.get("Recipient"), 320)


def _consent(given: Mapping[str, Any], name: str) -> Iterator[tuple[Reason, bool, bool]]:
    """(reason, is_lifted, is_own) of each change of consent in an event."""
    if name == "SubscriptionChange" and given.get("SuppressSending") is False:
        # Postmark itself writes to it again: whatever the reason on its own list was, it is lifted.
        is_theirs = word(given.get("Origin"), 64) in BY_THEM
        for reason in OWN:
            yield reason, True, not (is_theirs and reason is Reason.UNSUBSCRIBE)
    elif name == "SubscriptionChange":
        yield _suppression(given), False, False
    elif name in CONSENT:
        yield CONSENT[name], name == "Subscribe", False
    elif given.get("Inactive") is True:
        # Postmark itself sends no more to an inactive address.
        yield Reason.HARD_BOUNCE, False, False


def _suppression(given: Mapping[str, Any]) -> Reason:
    """https://postmarkapp.com/developer/webhooks/subscription-change-webhook"""
    why = word(given.get("SuppressionReason"), 64)
    if why in ("HardBounce", "SpamComplaint"):
        return CONSENT[why]
    is_theirs = word(given.get("Origin"), 64) in BY_THEM
    return Reason.UNSUBSCRIBE if is_theirs else Reason.MANUAL


def _received(given: Mapping[str, Any]) -> list[WebhookEvent]:
    """A mail, from its raw form if the server is set to send it (`RawEmail`), else as parsed by
    Postmark."""
    headers = tuple(_headers(given.get("Headers")))
    recipient = word(given.get("OriginalRecipient"), 320)
    told = {"postmark_message_id": word(given.get("MessageID"), 64)}
    told |= {name: value for name, value in headers if name in ("X-Spam-Status", "X-Spam-Score")}
    told = {name: value[:200] for name, value in told.items() if value}
    # The envelope's sender is the first header, as Postmark's own server put it there.
    sender = headers[0][1] if headers and headers[0][0].lower() == "return-path" else None
    raw = given.get("RawEmail")
    if isinstance(raw, str) and raw.strip():
        return mail.events(
            raw.encode(errors="replace"),
            provider="postmark",
            recipients=(recipient,) if recipient else (),
            sender=sender,
            detail=told,
        )
    letter = _letter(given, headers, recipient, told)
    if not (letter.from_address or sender):
        return [Unknown(word="unreadable", detail=detail(given, leave_out=READ))]
    return mail.taken_apart(letter, provider="postmark", sender=sender)


def _letter(
    given: Mapping[str, Any],
    headers: tuple[tuple[str, str], ...],
    recipient: str,
    told: Mapping[str, Any],
) -> Letter:
    addressed = [each for name in ("ToFull", "CcFull", "BccFull") for each in _full(given, name)]
    ids = [value for name, value in headers if name.lower() == "message-id"]
    text, html = given.get("TextBody"), given.get("HtmlBody")
    sender = members(given.get("FromFull"))
    name = word(sender.get("Name"), 200)
    return Letter(
        external_id=ids[0] if ids else word(given.get("MessageID"), 64),
        from_address=word(sender.get("Email"), 320) or word(given.get("From"), 998),
        to_address=recipient or next(iter(addressed), "") or word(given.get("To"), 998),
        recipients=tuple([recipient, *addressed] if recipient else addressed),
        subject=word(given.get("Subject"), 998) or None,
        text=text if isinstance(text, str) else None,
        html=html if isinstance(html, str) else None,
        # Postmark leaves it out of the headers.
        headers=(*headers, ("Reply-To", word(given.get("ReplyTo"), 998))),
        attachments=tuple(_files(given.get("Attachments"))),
        occurred_at=parse_date(word(given.get("Date"), 100)),
        detail=({"from_name": name} if name else {}) | dict(told),
    )


def _full(given: Mapping[str, Any], name: str) -> list[str]:
    """The mailboxes of one of Postmark's parsed lists of addresses."""
    people = [members(each) for each in items(given.get(name), MOST_ADDRESSES)]
    return [address for each in people if (address := word(each.get("Email"), 320))]


def _headers(value: object) -> Iterator[tuple[str, str]]:
    """The headers of a mail in order, as pairs."""
    for each in map(members, items(value, MOST_HEADERS)):
        name, text = each.get("Name"), each.get("Value")
        if isinstance(name, str) and isinstance(text, str):
            yield stored(name[:200]), stored(text[:HEADER_CHARACTERS])


def _files(value: object) -> Iterator[Attachment]:
    """The files of a mail, one more than are kept; one that cannot be read has no content."""
    for each in map(members, items(value, ATTACHMENTS + 1)):
        content = each.get("Content", each.get("Data"))  # its test button says Data
        try:
            file = b64decode(content) if isinstance(content, str) else None
        except ValueError:
            file = None
        yield Attachment(
            filename=word(each.get("Name"), 255) or None,
            content_type=word(each.get("ContentType"), 200) or None,
            content=file,
            content_id=word(each.get("ContentID"), 200) or None,
        )


# Postmark tries again after every status but 200 and 403.
reply = ok
