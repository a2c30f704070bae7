"""SendGrid, the webhook half: the Event Webhook, and mail from Inbound Parse.

Docs: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event and
/parsing-email/inbound-email. Signed with ECDSA (P-256, SHA-256) over a timestamp and the raw body
(/tracking-events/getting-started-event-webhook-security-features); Inbound Parse only where it has
a security policy, else the URL carries `inbound_secret`. Retries go on for 24 h, and it is not
documented whether they are signed anew: so the timestamp has no limit, and a repetition has the
same keys. Oddities: sg_event_id is new at each retry; late bounces lack sg_message_id; parsed mail
has a charset for each field; after a 4xx Inbound Parse drops the mail.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature as WrongSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from channels.model import Account, Channel, Status
from channels.providers.sendgrid import KEYS, public_keys
from webhooks import sendgrid_mail
from webhooks.forms import read_form
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
from webhooks.secrets import verify_secret
from webhooks.values import detail, members, moment, our_id, read_json, word

# SendGrid collects events for half a minute, and sends at most some thousands.
MOST_EVENTS: Final = 10_000
SIGNATURE: Final = "x-twilio-email-event-webhook-signature"
TIMESTAMP: Final = "x-twilio-email-event-webhook-timestamp"

# https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event#events
STATUSES: Final[Mapping[str, Status | None]] = {
    "processed": Status.SENT,
    "deferred": None,
    "delivered": Status.DELIVERED,
    "bounce": Status.FAILED,
    "dropped": Status.FAILED,
    "open": Status.READ,
    "click": None,
    "spamreport": None,
    "unsubscribe": None,
    "group_unsubscribe": None,
    "group_resubscribe": None,
}
CONSENT: Final = {
    "spamreport": Reason.COMPLAINT,
    "unsubscribe": Reason.UNSUBSCRIBE,
    "group_unsubscribe": Reason.UNSUBSCRIBE,
    "group_resubscribe": Reason.UNSUBSCRIBE,
}
GROUPS: Final = frozenset({"group_unsubscribe", "group_resubscribe"})
DROPPED: Final = {
    "bounced address": Reason.HARD_BOUNCE,
    "spam reporting address": Reason.COMPLAINT,
    "unsubscribed address": Reason.UNSUBSCRIBE,
}
WORDS: Final = {
    "bounced address": "SendGrid did not send it: an earlier mail to this address bounced.",
    "spam reporting address": "SendGrid did not send it: this address has reported spam before.",
    "unsubscribed address": "SendGrid did not send it: this address has unsubscribed.",
    "invalid": "SendGrid did not send it: the address is not valid.",
    "spam content": "SendGrid did not send it: its content looks like spam.",
}
# The members that identify a report.
KEY: Final = ("sg_message_id", "timestamp", "email", "url", "attempt", "type", "asm_group_id")
# Not repeated in the detail, because it is read elsewhere.
READ: Final = frozenset({"event", "timestamp", "message_id"})


def verify(request: WebhookRequest, account: Account) -> None:
    """Return if SendGrid has signed the request; else raises `InvalidSignature`.

    Inbound Parse without a security policy is verified by the secret in its URL instead.
    """
    has_keys = any(account.credentials.get(name) for name in KEYS)
    if request.event == "inbound" and not (has_keys and SIGNATURE in request.headers):
        verify_secret(request, account.credentials.get("inbound_secret"))
    else:
        _verify_signature(request, account)


def _verify_signature(request: WebhookRequest, account: Account) -> None:
    try:
        keys = public_keys(account.credentials)
    except ValueError as error:
        raise InvalidSignature("The account's public key cannot be read.") from error
    if not keys:
        raise InvalidSignature("The account has no public key to verify with.")
    try:
        given = b64decode(request.headers.get(SIGNATURE, ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidSignature("The signature cannot be read.") from error
    # Hashed once, however many keys there are and however large the mail is.
    digest = sha256(request.headers.get(TIMESTAMP, "").encode(errors="replace"))
    digest.update(request.body)
    for key in keys:
        try:
            key.verify(given, digest.digest(), ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        except WrongSignature:
            continue
        return
    raise InvalidSignature("The signature is not that of this account.")


def parse(request: WebhookRequest) -> Sequence[WebhookEvent]:
    """The events of a verified request; raises `Unreadable`."""
    if request.event == "events":
        given = read_json(request.body)
        if not isinstance(given, list):
            raise Unreadable("The body is not a list of events.")
        if len(given) > MOST_EVENTS:
            raise Unreadable("The body holds more events than SendGrid sends.")
        return [event for item in given for event in _events(item)]
    if request.event == "inbound":
        return sendgrid_mail.events(read_form(request))
    return [Unknown(word=request.event)]


def _events(item: object) -> Iterator[WebhookEvent]:
    """What one item of the list says about a message, an address, or both."""
    given = members(item)
    name = word(given.get("event"), 64).lower()
    if not name:
        yield Unknown(word="unreadable", detail=detail(given, leave_out=READ))
        return
    external_id, message_id = _ids(given)
    key = _key(given, name, external_id, message_id)
    if external_id or message_id:
        yield _report(given, name, external_id, message_id, key)
    elif name not in CONSENT:
        yield Unknown(word=name, detail=detail(given, leave_out=READ))
    group = (word(given.get("asm_group_id"), 64) or None) if name in GROUPS else None
    reason = _reason(given, name, group)
    address = (word(given.get("email"), 320) or None) if reason else None
    if reason and (address or external_id or message_id):
        yield ConsentChange(
            channel=Channel.EMAIL,
            reason=reason,
            is_lifted=name == "group_resubscribe",
            is_own=name == "group_resubscribe",
            group=group,
            address=address,
            message_id=message_id,
            external_id=external_id,
            word=name,
            key=key,
            occurred_at=moment(given.get("timestamp")),
            detail=detail(given, leave_out=READ),
        )


def _ids(given: Mapping[str, Any]) -> tuple[str | None, UUID | None]:
    """SendGrid's id of the mail and ours.

    A late bounce has only smtp-id, the Message-ID: one of ours begins with our id, one of
    SendGrid's with its own.
    """
    external_id, _, _ = word(given.get("sg_message_id"), 256).partition(".")
    message_id = our_id(given.get("message_id"))
    if not external_id or message_id is None:
        local = word(given.get("smtp-id"), 998).strip("<>").partition("@")[0]
        by_header = our_id(local)
        if not external_id and by_header is None:
            external_id = local
        message_id = message_id or by_header
    return external_id[:128] or None, message_id


def _key(
    given: Mapping[str, Any], name: str, external_id: str | None, message_id: UUID | None
) -> str:
    """The same for the same report, which sg_event_id is not.

    https://github.com/sendgrid/sendgrid-nodejs/issues/1435
    """
    print_of = "\n".join([word(given[part]) if part in given else "" for part in KEY])
    digest = sha256(print_of.encode()).hexdigest()[:24]
    return f"sendgrid:{external_id or message_id or ''}:{name}:{digest}"


def _report(
    given: Mapping[str, Any],
    name: str,
    external_id: str | None,
    message_id: UUID | None,
    key: str,
) -> StatusReport:
    status = STATUSES.get(name)
    if name == "open" and given.get("sg_machine_open") in (True, "true", 1, "1"):
        status = None  # a mail program that loads all images, even if nobody reads the mail
    has_failed = status is Status.FAILED
    return StatusReport(
        external_id=external_id,
        message_id=message_id,
        status=status,
        word=name,
        key=key,
        occurred_at=moment(given.get("timestamp")),
        error_code=_error_code(given, name) if has_failed else None,
        error_message=_error_message(given, name) if has_failed else None,
        detail=detail(given, leave_out=READ),
    )


def _error_code(given: Mapping[str, Any], name: str) -> str:
    """The SMTP status, such as 5.1.1 or 550, else the most specific word of SendGrid."""
    status = word(given.get("status"), 32)
    if not status and (match := re.match(r"[45]\d\d\b", word(given.get("reason")))):
        status = match[0]
    words = word(given.get("reason" if name == "dropped" else "type"), 64).lower()
    # What SendGrid drops itself has the status 5.0.0, whatever the reason.
    return (words or status if name == "dropped" else status or words) or name


def _is_soft(given: Mapping[str, Any], name: str) -> bool:
    """Whether the address may be good, because its mail server did not refuse it for good."""
    return _error_code(given, name).startswith("4")


def _is_block(given: Mapping[str, Any]) -> bool:
    """Whether a bounce is of a kind after which SendGrid itself still sends to the address."""
    return word(given.get("type")).lower() not in ("bounce", "")


def _error_message(given: Mapping[str, Any], name: str) -> str:
    reason = word(given.get("reason"))
    if name == "dropped":
        known = WORDS.get(reason.lower())
        return known or f"SendGrid did not send it: {reason or 'it gave no reason'}."
    if word(given.get("type")).lower() == "blocked":
        said = "The recipient's mail server blocked this mail, the address may be good"
    elif _is_soft(given, name) or _is_block(given):
        said = "The recipient's mail server could not take the mail, the address may be good"
    else:
        said = "The recipient's mail server refused the address for good"
    return f"{said}: {reason}" if reason else f"{said}."


def _reason(given: Mapping[str, Any], name: str, group: str | None) -> Reason | None:
    """Why the address must not be written to any more, if the event says so.

    A block is about this mail or this moment (https://www.twilio.com/docs/sendgrid/glossary/blocks)
    and changes nothing; nor does a resubscription that does not name its group.
    """
    if name == "group_resubscribe" and group is None:
        return None
    if name == "dropped":
        return DROPPED.get(word(given.get("reason")).lower())
    if name == "bounce":
        return None if _is_block(given) or _is_soft(given, name) else Reason.HARD_BOUNCE
    return CONSENT.get(name)


# After every status but 200 SendGrid tries again, or drops the mail.
reply = ok
