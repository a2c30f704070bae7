"""Inbound messages, and reports about ours: SMS, MMS and WhatsApp.

Docs: https://www.twilio.com/docs/messaging/guides/webhook-request and, beside it,
/track-outbound-message-status. Oddities: the Sms... twins of MessageSid and MessageStatus may
disagree with them; a text/plain answer is sent to the customer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from channels import consent, phone
from channels.consent import Consent
from channels.model import Attachment, Channel, Status
from channels.providers.twilio import HIDDEN_DIGITS, OPT_OUTS, PREFIX, explain
from webhooks.model import (
    UNNAMED,
    ConsentChange,
    Inbound,
    Reason,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookEvent,
)
from webhooks.twilio.parameters import (
    IDS,
    Given,
    bare,
    detail,
    first,
    message_id,
    sid,
)
from webhooks.values import DETAIL_CHARACTERS

WHATSAPP = PREFIX[Channel.WHATSAPP]
# A Messaging Service may send an SMS as RCS, and the answer is RCS, too; people see one thread.
# https://www.twilio.com/docs/rcs/send-an-rcs-message
RCS: Final = "rcs:"

# https://www.twilio.com/docs/messaging/api/message-resource#message-status-values
STATUSES: Final = {
    "accepted": Status.SENT,
    "scheduled": Status.SENT,
    "queued": Status.SENT,
    "sending": Status.SENT,
    "sent": Status.SENT,
    "delivered": Status.DELIVERED,
    "partially_delivered": Status.DELIVERED,
    "read": Status.READ,
    "undelivered": Status.FAILED,
    "failed": Status.FAILED,
    "canceled": Status.CANCELED,
}

RECEIVED: Final = frozenset({"receiving", "received"})
SIDS: Final = ("MessageSid", "SmsSid", "SmsMessageSid")
SENDERS: Final = ("From", "ExternalUserId", "WaId")
# A number without its +, on WhatsApp, where no other address has that many digits.
DIGITS: Final = re.compile(r"[0-9]{7,15}")

STATUS_READ = IDS | {"MessageStatus", "ErrorCode", "ErrorMessage", "Body"}
LOCATION = ("Latitude", "Longitude", "Address", "Label")
MESSAGE_READ = IDS | {"From", "To", "Body", "SmsStatus", "NumMedia", "ListTitle", *LOCATION}

# Types of messages that only WhatsApp has.
WHATSAPP_TYPES = frozenset(
    {"location", "contacts", "sticker", "button", "interactive", "order", "reaction", "document"}
)


def comes_in(given: Given, *, otherwise: bool) -> bool:
    """Whether this is an inbound message, by its status; `otherwise` if that does not tell."""
    word = _word(given)
    if word in RECEIVED and first(given, *SENDERS):
        return True
    return otherwise and word not in STATUSES


def status(given: Given, url: str) -> list[WebhookEvent]:
    """A report about a message, and a stop by its recipient; raises `Unreadable`."""
    external_id, ours = _sid(given), message_id(url)
    if external_id is None and ours is None:
        raise Unreadable("The status names no message.")
    word = _word(given)
    code = given.get("ErrorCode", "").strip()[:32] or None
    if code == "0":
        code = None
    words = given.get("ErrorMessage", "").strip()[:DETAIL_CHARACTERS]
    report = StatusReport(
        external_id=external_id,
        message_id=ours,
        status=STATUSES.get(word),
        word=word or UNNAMED,
        key=f"twilio:{external_id or ''}:{word}:{code or ''}",
        error_code=code,
        error_message=words or explain(code),
        detail=detail(given, leave_out=STATUS_READ),
    )
    if code is None or code not in OPT_OUTS:
        return [report]
    to = given.get("To", "")
    # A callback may name only the message; codes that begin with 63 are of other channels than SMS.
    is_whatsapp = to.startswith(WHATSAPP) or (not to and code.startswith("63"))
    channel = Channel.WHATSAPP if is_whatsapp else Channel.SMS
    change = ConsentChange(
        channel=channel,
        reason=Reason.STOP,
        # Where digits are hidden, the message tells who it is.
        address=None if to.endswith(HIDDEN_DIGITS) else _address(to, channel) or None,
        message_id=ours,
        external_id=external_id,
        word=code,
        key=f"twilio:{external_id or ours}:opt-out:{code}",
        detail={"message": explain(code)},
    )
    return [report, change]


def message(given: Given) -> list[WebhookEvent]:
    """An inbound message, and what it says about consent; raises `Unreadable`."""
    external_id = _sid(given)
    if external_id is None:
        raise Unreadable("The message has no MessageSid.")
    sender = first(given, *SENDERS)
    if not sender.strip():
        raise Unreadable("The message has no From.")
    scheme, colon, _ = sender.partition(":")
    if colon and f"{scheme}:" not in (WHATSAPP, RCS):
        return [Unknown(word=scheme[:64], detail=detail(given, leave_out=IDS))]
    channel = Channel.WHATSAPP if _is_whatsapp(given) else Channel.SMS
    inbound = Inbound(
        external_id=external_id,
        channel=channel,
        from_address=_address(sender, channel),
        to_address=_address(first(given, "To", "MessagingServiceSid"), channel),
        # The text of a quick reply may differ from its Body; people see the button.
        body=first(given, "ButtonText", "Body", "ListTitle"),
        attachments=tuple(_attachments(given)),
        quotes=sid(given, "OriginalRepliedMessageSid"),
        detail=detail(given, leave_out=MESSAGE_READ, beside=_person(given) | _places(given)),
    )
    return [inbound, *_consent(inbound, given)]


def _consent(inbound: Inbound, given: Given) -> Iterator[ConsentChange]:
    """STOP or START as Twilio read it (Advanced Opt-Out), or else as we read it ourselves.

    https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out
    """
    named = given.get("OptOutType", "").strip().lower()
    wish = Consent(named) if named in set(Consent) else consent.read(inbound.body, inbound.channel)
    if wish not in (Consent.STOP, Consent.START):
        return
    # For each address of the person: WhatsApp has user ids beside numbers.
    for address in dict.fromkeys([inbound.from_address, *_person(given).values()]):
        also = "" if address == inbound.from_address else f":{address}"
        yield ConsentChange(
            channel=inbound.channel,
            reason=Reason.STOP,
            is_lifted=wish is Consent.START,
            address=address,
            word=wish,
            key=f"twilio:{inbound.external_id}:{wish}{also}",
            detail={
                "message": inbound.external_id,
                "text": inbound.body[:DETAIL_CHARACTERS],
                "to": inbound.to_address,
            },
        )


def _address(text: str, channel: Channel) -> str:
    """An address without its prefix; a number with its +, which WaId, for example, never has."""
    address = bare(text.removeprefix(RCS), WHATSAPP)
    if channel is Channel.WHATSAPP and DIGITS.fullmatch(address):
        return f"+{address}"
    return phone.with_plus(address)


def _sid(given: Given) -> str | None:
    return sid(given, *SIDS)


def _word(given: Given) -> str:
    if given.get("EventType", "").upper() == "READ":
        return "read"  # WhatsApp and RCS report it there, too
    return first(given, "MessageStatus", "SmsStatus", "EventType").strip().lower()[:64]


def _is_whatsapp(given: Given) -> bool:
    """By the prefix, or, without one, by parameters that only WhatsApp's messages have."""
    addresses = [given.get(name, "") for name in ("From", "To")]
    if any(each.startswith((WHATSAPP, RCS)) for each in addresses):
        return any(each.startswith(WHATSAPP) for each in addresses)
    if any(given.get(name) for name in ("WaId", "ExternalUserId", "ButtonPayload")):
        return True
    channel = re.search(r'"type"\s*:\s*"whatsapp"', given.get("ChannelMetadata", "")[:10_000])
    return channel is not None or given.get("MessageType") in WHATSAPP_TYPES


def _attachments(given: Given) -> Iterator[Attachment]:
    """Every MediaUrl, whatever NumMedia says."""
    numbers = (re.fullmatch(r"MediaUrl(\d{1,3})", name) for name in given)
    for number in sorted(int(match[1]) for match in numbers if match):
        if url := given.get(f"MediaUrl{number}"):
            content_type = given.get(f"MediaContentType{number}") or None
            yield Attachment(url=url, content_type=content_type)


def _person(given: Given) -> dict[str, str]:
    """The person's user id on WhatsApp, if there is one."""
    user_id = bare(given.get("ExternalUserId", ""), WHATSAPP)
    return {"user_id": user_id} if user_id else {}


def _places(given: Given) -> dict[str, Any]:
    """Location, referral and reaction, each as one detail."""
    location = {name.lower(): given[name] for name in LOCATION if given.get(name)}
    referral = {
        name.removeprefix("Referral"): value
        for name, value in given.items()
        if name.startswith("Referral") and value
    }
    found = {
        "location": location if "latitude" in location else None,
        "referral": referral,
        "reaction": given.get("Body", "")[:64] if given.get("MessageType") == "reaction" else None,
    }
    return {name: value for name, value in found.items() if value}
