"""Resend, the webhook half: what became of our mails, and mails that come in.

Docs: https://resend.com/docs/webhooks/introduction (types: /docs/webhooks/event-types). Signed by
Svix: base64 HMAC-SHA256 over id, time and raw body, keyed with the base64 behind `whsec_`, two keys
during rotation (https://docs.svix.com/receiving/verifying-payloads/how-manual).
Oddities: the event's time is the outer created_at; a retry has the same svix-id and body, but a
replay from our own store lacks the headers, so reports are identified by the body. `email.received`
has no text: the mail is fetched (`resend_mail`).
"""

from __future__ import annotations

import hmac
import re
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from channels.model import Account, Channel, Status
from channels.providers.resend import TAG, secret_key
from webhooks import resend_mail
from webhooks.mail.letter import mailboxes
from webhooks.model import (
    ConsentChange,
    InvalidSignature,
    Reason,
    StatusReport,
    Unknown,
    WebhookEvent,
    WebhookRequest,
    ok,
)
from webhooks.resend_mail import texts_of
from webhooks.times import iso_time
from webhooks.values import detail, members, our_id, read_object, word

TOLERANCE: Final = 300.0
MOST_TAGS = 100

# https://resend.com/docs/webhooks/event-types; all others change nothing.
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
# Events of Resend's own list, and the origins of its entries. A removal does not name the origin.
# https://resend.com/docs/webhooks/suppressions/added
LISTED: Final = ("suppression.added", "suppression.removed")
ORIGINS: Final = {
    "bounce": Reason.HARD_BOUNCE,
    "complaint": Reason.COMPLAINT,
    "manual": Reason.MANUAL,
}
# Types of bounces after which the address may still be good; with one of these subtypes it may even
# be an automatic answer to a mail that arrived.
# https://resend.com/docs/dashboard/emails/email-bounces
SOFT: Final = frozenset({"transient", "undetermined"})
OPEN: Final = frozenset({"general", "undetermined", ""})
ON_A_LIST: Final = frozenset({"suppressed", "onaccountsuppressionlist", "ontenantsuppressionlist"})
WORDS: Final = {
    "email.bounced": "The recipient's mail server refused the mail for good",
    "soft": "The recipient's mail server did not take the mail, and Resend tries no more",
    "email.failed": "Resend could not send the mail",
    "email.suppressed": "Resend did not send it: an earlier mail to this address bounced, or its "
    "owner complained",
}
# The object of an event that tells why; and what is not repeated in the detail, because it is read
# elsewhere or is the mail itself.
CAUSES: Final = {
    "email.bounced": "bounce",
    "email.failed": "failed",
    "email.suppressed": "suppressed",
}
READ: Final = frozenset({"email_id", "tags", "subject", "headers", "html", "text"})


def verify(request: WebhookRequest, account: Account) -> None:
    """Return if Resend has signed the request, and lately; else raises `InvalidSignature`."""
    key = secret_key(account.credentials.get("webhook_secret", ""))
    if not key:
        raise InvalidSignature("The account has no webhook_secret to verify with.")
    prefix = "svix" if "svix-id" in request.headers else "webhook"
    event_id, timestamp, signatures = (
        request.headers.get(f"{prefix}-{name}", "") for name in ("id", "timestamp", "signature")
    )
    # No point in the id: what is signed is joined with points.
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
    """The events of a verified request, or of an answer that was fetched; raises `Unreadable`."""
    if request.event == "fetched":
        return resend_mail.fetched(request)
    if request.event == "unfetched":
        return resend_mail.otherwise(request)
    if request.event != "events":
        return [Unknown(word=request.event)]
    given = read_object(request.body)
    return list(_events(given, sha256(request.body).hexdigest()[:24]))


def _events(given: Mapping[str, Any], digest: str) -> Iterator[WebhookEvent]:
    """The report about a mail and what it says about the address, or where to fetch a new mail."""
    name, data = word(given.get("type"), 64), members(given.get("data"))
    email_id, message_id = word(data.get("email_id"), 64), our_id(_tag(data))
    if name == "email.received" and email_id:
        yield resend_mail.location(email_id)
        return
    if name in LISTED:
        yield from _listed(given, name, digest)
        return
    cause = members(data.get(CAUSES.get(name, "")))
    told = detail({**cause, **data}, leave_out=READ)
    if not name.startswith("email.") or not (email_id or message_id):
        yield Unknown(word=name or "unreadable", detail=told)
        return
    is_soft = name == "email.bounced" and word(cause.get("type")).lower() in SOFT
    is_open = is_soft and word(cause.get("subType")).lower() in OPEN
    status = None if is_open else STATUSES.get(name)
    # Resend is built on Amazon SES, and uses its words for suppression lists.
    is_listed = word(cause.get("subType")).lower() in ON_A_LIST
    failure = "soft" if is_soft else "email.suppressed" if is_listed else name
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
            is_accounts=True,
            address=_address(data),
            message_id=message_id,
            external_id=email_id or None,
            word=name,
            key=report.key,
            occurred_at=report.occurred_at,
            detail=told,
        )


def _listed(given: Mapping[str, Any], name: str, digest: str) -> Iterator[WebhookEvent]:
    """Additions to Resend's own list, and removals, which lift only what Resend said itself."""
    data = members(given.get("data"))
    address, is_lifted = word(data.get("email"), 320), name == "suppression.removed"
    origin = ORIGINS.get(word(data.get("origin"), 64).lower(), Reason.MANUAL)
    if not address:
        yield Unknown(word=name, detail=detail(data, leave_out=READ))
        return
    for reason in ORIGINS.values() if is_lifted else (origin,):
        yield ConsentChange(
            channel=Channel.EMAIL,
            reason=reason,
            is_lifted=is_lifted,
            is_own=is_lifted,
            is_accounts=True,
            address=address,
            word=name,
            key=f"resend:{name}:{digest}:{reason}",
            occurred_at=iso_time(given.get("created_at")),
            detail=detail(data, leave_out=READ),
        )


def _tag(data: Mapping[str, Any]) -> object:
    """The tag with our id, from an object or, in older events, a list of pairs."""
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
    """The only recipient; if there are several, Resend does not say which one is meant."""
    found = mailboxes(texts_of(data.get("to")))
    return found[0] if len(found) == 1 else None


# Resend tries again for a day after every status but 2xx.
reply = ok
