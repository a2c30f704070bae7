"""Mailgun, the webhook half: what became of mails, and mails that routes forward or store.

Docs: https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhooks and
/receive-forward-store/receive-http. Signed with the hex HMAC-SHA256 of timestamp and token, which
are in the body; **the body itself is not signed** (/webhooks/securing-webhooks), so a report is
identified by its content, and an old signature is refused. Retries go on for 8 h 5 min with the
first signature, as others saw (https://github.com/PostHog/posthog/pull/103057): it counts for 12 h.
Oddities: subaccounts add the parent's signature; forms from before 2018 (and our own variables) may
repeat fields: then the last value counts for the signature, the first for everything else.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from channels.model import Account, Channel, Status
from webhooks import mailgun_mail
from webhooks.forms import Form, read_form
from webhooks.mail.letter import mailboxes
from webhooks.model import (
    ConsentChange,
    InvalidSignature,
    Reason,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookEvent,
    WebhookRequest,
    ok,
)
from webhooks.values import (
    decoded,
    detail,
    members,
    moment,
    our_id,
    our_id_in,
    read_json,
    read_object,
    word,
)

EVENTS: Final = ("events", "inbound")
SIGNATURES: Final = ("signature", "parent-signature")
SIGNED: Final = ("timestamp", "token", *SIGNATURES)
OLDEST: Final = timedelta(hours=12)
AHEAD: Final = timedelta(minutes=15)
# An event has some kilobytes; the limit keeps a stranger's from costing us.
MOST_JSON: Final = 2**20

# https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-types
STATUSES: Final[Mapping[str, Status | None]] = {
    "accepted": Status.SENT,
    "delivered": Status.DELIVERED,
    "failed": Status.FAILED,
    "rejected": Status.FAILED,
    "opened": Status.READ,
    "clicked": None,
    "unsubscribed": None,
    "complained": None,
}
# The words of before 2018, and what they are now.
LEGACY: Final = {
    "bounced": {"event": "failed", "severity": "permanent", "reason": "bounce"},
    "dropped": {"event": "failed", "severity": "permanent"},
}
CONSENT: Final = {
    "complained": Reason.COMPLAINT,
    "unsubscribed": Reason.UNSUBSCRIBE,
}
# Why a mail failed for good, by reason and by Mailgun's own codes.
FAILED: Final = {
    "bounce": Reason.HARD_BOUNCE,
    "suppress-bounce": Reason.HARD_BOUNCE,
    "suppress-complaint": Reason.COMPLAINT,
    "suppress-unsubscribe": Reason.UNSUBSCRIBE,
    "605": Reason.HARD_BOUNCE,
    "606": Reason.UNSUBSCRIBE,
    "607": Reason.COMPLAINT,
}
WORDS: Final = {
    "suppress-bounce": "Mailgun did not send it: an earlier mail to this address bounced",
    "suppress-complaint": "Mailgun did not send it: this address has reported spam before",
    "suppress-unsubscribe": "Mailgun did not send it: this address has unsubscribed",
    "bounce": "The recipient's mail server refused the mail for good",
    "old": "Mailgun could not deliver it in time and gave up",
}
# Not repeated in the detail: it is read elsewhere, or is the mail itself.
READ: Final = frozenset(
    {
        "event", "timestamp", "message", "delivery-status", "envelope", "flags", "storage",
        "user-variables", "log-level", "recipient-domain", "token", "signature",
    }
)  # fmt: skip


def verify(request: WebhookRequest, account: Account) -> None:
    """Return if Mailgun has signed the request, and lately; else raises `InvalidSignature`."""
    key = account.credentials.get("webhook_signing_key")
    if not key:
        raise InvalidSignature("The account has no webhook signing key to verify with.")
    given = _signature(request)
    timestamp, token = given.get("timestamp", ""), given.get("token", "")
    if not timestamp or not token:
        raise InvalidSignature("The request has no signature.")
    signed = (timestamp + token).encode(errors="replace")
    right = hmac.digest(key.encode(errors="replace"), signed, "sha256").hex().encode()
    marks = [given.get(name, "").encode(errors="replace") for name in SIGNATURES]
    matches = [hmac.compare_digest(right, mark) for mark in marks]
    if not any(matches):
        raise InvalidSignature("The signature is not that of this account.")
    at, now = moment(timestamp), datetime.now(UTC)
    if at is None or not now - OLDEST <= at <= now + AHEAD:
        raise InvalidSignature("The signature is too old, or the clocks differ.")


def _signature(request: WebhookRequest) -> Mapping[str, str]:
    """Timestamp, token and signatures, from a member of JSON or from fields of a form."""
    try:
        if _is_json(request):
            if len(request.body) > MOST_JSON:
                raise InvalidSignature("The event is larger than any that Mailgun sends.")
            block = members(members(read_json(request.body)).get("signature"))
            return {name: _exact(block.get(name)) for name in SIGNED}
        form = read_form(request, only=[name.encode() for name in SIGNED])
    except Unreadable as error:
        raise InvalidSignature("The request has no signature that can be read.") from error
    return {name: decoded(form.last(name) or b"")[:200] for name in SIGNED}


def _exact(value: object) -> str:
    is_whole = isinstance(value, str) or type(value) is int
    return str(value)[:200] if is_whole else ""


def _is_json(request: WebhookRequest) -> bool:
    kind, _, _ = request.headers.get("content-type", "").partition(";")
    return kind.strip().lower() == "application/json"


def parse(request: WebhookRequest) -> Sequence[WebhookEvent]:
    """The events of a verified request; raises `Unreadable`.

    Whether it is an event or a mail is read from its content, whichever URL it came to.
    """
    if request.event not in EVENTS:
        return [Unknown(word=request.event)]
    if _is_json(request):
        return list(_events(members(read_object(request.body).get("event-data"))))
    form = read_form(request)
    # Not by a field `event`: the headers of a mail are fields, too, and its author chooses them.
    if request.event == "inbound" or mailgun_mail.is_mail(form):
        return mailgun_mail.events(form)
    return list(_events(_modern(form)))


def _modern(form: Form) -> Mapping[str, Any]:
    """An event that came as a form, in the form of a JSON event."""
    first: dict[str, Any] = {}
    for name, value in form.fields:
        first.setdefault(name, decoded(value))
    name = word(first.get("event"), 64).lower()
    delivery = {
        "code": first.pop("code", ""),
        "message": first.pop("error", ""),
        "description": first.pop("description", ""),
    }
    headers = {"message-id": first.get("Message-Id", first.get("message-id", ""))}
    tags = [decoded(v) for given, v in form.fields if given.lower() in {"tag", "x-mailgun-tag"}]
    return {
        **first,
        "timestamp": decoded(form.last("timestamp") or b""),
        "tags": tags,
        "delivery-status": delivery,
        "message": {"headers": headers},
        "user-variables": {"message_id": first.get("message_id")},
        **LEGACY.get(name, {}),
        "legacy-event": name if name in LEGACY else "",
        "reason": first.get("reason") or LEGACY.get(name, {}).get("reason", ""),
    }


def _events(given: Mapping[str, Any]) -> Iterator[WebhookEvent]:
    """What one event says about a message, an address, or both."""
    name = word(given.get("event"), 64).lower()
    headers = members(members(given.get("message")).get("headers"))
    # A rejection names its recipient only in the header of the mail.
    address = word(given.get("recipient"), 320) or "".join(
        mailboxes([word(headers.get("to"))], most=1)
    )
    told = _detail({**given, "recipient": address})
    flags = members(given.get("flags"))
    if not name or name == "stored" or flags.get("is-routed") is True:
        # About an inbound mail, which a route brings separately.
        yield Unknown(word=name or "unreadable", detail=told)
        return
    external_id = word(headers.get("message-id"), 998).strip("<>")[:500] or None
    message_id = our_id(members(given.get("user-variables")).get("message_id"))
    message_id = message_id or our_id_in(external_id)
    key = _key(given, name, external_id or str(message_id or ""))
    at = moment(given.get("timestamp"))
    if external_id or message_id or name in STATUSES:
        status = _status(given, name)
        has_failed = status is Status.FAILED
        yield StatusReport(
            external_id=external_id,
            message_id=message_id,
            status=status,
            word=name,
            key=key,
            occurred_at=at,
            error_code=_error_code(given, name) if has_failed else None,
            error_message=_error_message(given, name) if has_failed else None,
            detail=told,
        )
    else:
        yield Unknown(word=name, detail=told)
    reason = _reason(given, name)
    if reason and (address or external_id or message_id):
        yield ConsentChange(
            channel=Channel.EMAIL,
            reason=reason,
            address=address or None,
            message_id=message_id,
            external_id=external_id,
            word=name,
            key=key,
            occurred_at=at,
            detail=told,
        )


def _key(given: Mapping[str, Any], name: str, about: str) -> str:
    """The same for the same report: an event keeps its id and time when it is sent again.

    The id alone is unique only within a day; the token does not help, as the body is not signed.
    """
    delivery = members(given.get("delivery-status"))
    parts = [given.get(part) for part in ("id", "timestamp", "recipient", "url", "severity")]
    print_of = "\n".join(word(part) for part in (*parts, delivery.get("attempt-no")))
    return f"mailgun:{about}:{name}:{sha256(print_of.encode()).hexdigest()[:24]}"


def _status(given: Mapping[str, Any], name: str) -> Status | None:
    if name == "failed" and word(given.get("severity")).lower() == "temporary":
        return None  # Mailgun goes on trying
    if name == "opened" and word(members(given.get("client-info")).get("bot")):
        return None  # a program that loads all images, even if nobody reads the mail
    return STATUSES.get(name)


def _codes(given: Mapping[str, Any]) -> tuple[str, str]:
    """The code of the recipient's server or of Mailgun, and Mailgun's word for the reason."""
    code = word(members(given.get("delivery-status")).get("code"), 32)
    return "" if code == "0" else code, word(given.get("reason"), 64).lower()


def _error_code(given: Mapping[str, Any], name: str) -> str:
    code, reason = _codes(given)
    enhanced = word(members(given.get("delivery-status")).get("enhanced-code"), 32)
    return code or enhanced or (reason if name == "failed" else "") or name


def _error_message(given: Mapping[str, Any], name: str) -> str:
    delivery = members(given.get("delivery-status"))
    _, reason = _codes(given)
    texts = (delivery.get("message"), delivery.get("description"))
    said = next((text for each in texts if (text := word(each))), "")
    if name == "rejected":
        said = said or word(members(given.get("reject")).get("reason")) or word(given.get("reason"))
        known = "Mailgun rejected the mail"
    else:
        known = WORDS.get(reason, "Mailgun could not deliver the mail")
    return f"{known}: {said}" if said else f"{known}."


def _reason(given: Mapping[str, Any], name: str) -> Reason | None:
    """Why the address must not be written to any more, if the event says so.

    A bounce with a code of 4xx is not about the address.
    """
    if name != "failed" or _status(given, name) is not Status.FAILED:
        return CONSENT.get(name)
    code, reason = _codes(given)
    found = FAILED.get(reason) or FAILED.get(code)
    return None if reason == "bounce" and code.startswith("4") else found


def _detail(given: Mapping[str, Any]) -> dict[str, Any]:
    delivery = members(given.get("delivery-status"))
    codes = ("code", "enhanced-code", "message", "description", "attempt-no")
    bounded = {f"delivery-{name}": delivery[name] for name in codes if name in delivery}
    return detail({**bounded, **given}, leave_out=READ)


# Only 200 is success; Mailgun tries again after all others but 406.
reply = ok
