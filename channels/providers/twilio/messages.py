"""SMS, MMS and WhatsApp: the Messages resource.

Docs: https://www.twilio.com/docs/messaging/api/message-resource. WhatsApp's addresses carry the
prefix `whatsapp:`, also user ids without a number (`whatsapp:US.1234`).
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from channels.errors import Refused
from channels.model import Account, Channel, Outbound
from channels.providers.twilio.answers import Record
from channels.providers.twilio.transport import PAGE_SIZE, is_recent, resource
from channels.sms import letters

LONGEST_VALIDITY: Final = 36_000
PREFIX: Final = {Channel.SMS: "", Channel.WHATSAPP: "whatsapp:"}
# How a messaging service's senders and recipients are written where it sends over RCS.
RCS: Final = "rcs:"
TRIAL_PREFIX = "Sent from your Twilio trial account - "

Form = dict[str, str | list[str]]


def address(channel: Channel, number: str) -> str:
    """A number in the form that Twilio wants; raises `Refused` for a channel it does not carry."""
    if channel not in PREFIX:
        raise Refused(f"Twilio messages do not carry {channel}.", code="channel")
    return PREFIX[channel] + number


def build(account: Account, outbound: Outbound, callback_url: str) -> Form:
    """The parameters of POST /Messages.json; the callback URL as it is, fragment and all."""
    form: Form = {
        "To": address(outbound.channel, outbound.to_address),
        "From": address(outbound.channel, outbound.from_address),
        "StatusCallback": callback_url,
    }
    form |= _said(outbound) if outbound.content.template is None else _template(outbound)
    if service := account.credentials.get("messaging_service_sid"):
        form["MessagingServiceSid"] = service
    if outbound.channel is Channel.SMS and outbound.valid_for is not None:
        # How long it may wait at Twilio, which by itself drops it after the longest time that there
        # is (https://www.twilio.com/docs/api/errors/90007).
        form["ValidityPeriod"] = str(int(min(max(outbound.valid_for, 1), LONGEST_VALIDITY)))
    return form


def _said(outbound: Outbound) -> Form:
    form: Form = {"Body": outbound.content.body}
    media = [attachment.url for attachment in outbound.content.attachments]
    if not all(media):
        raise Refused("An attachment has no URL that Twilio could fetch it from.", code="media")
    return form | {"MediaUrl": media} if media else form


def _template(outbound: Outbound) -> Form:
    """A template stands alone: text or media beside it would be sent in its place.

    https://www.twilio.com/docs/content/send-templates-created-with-the-content-template-builder
    """
    template = outbound.content.template
    if template is None or not template.content_sid:
        reason = "The template names no ContentSid, by which Twilio knows its templates."
        raise Refused(reason, code="template")
    form: Form = {"ContentSid": template.content_sid}
    if template.variables:
        form["ContentVariables"] = json.dumps(dict(template.variables), ensure_ascii=False)
    return form


def list_url(account: Account, outbound: Outbound) -> str:
    """Where the messages to this recipient are listed.

    Asked by recipient alone: DateSent is empty while a message is queued, and a filter on it
    misses recent ones (https://github.com/twilio/twilio-java/issues/442).
    """
    to = address(outbound.channel, outbound.to_address)
    return resource(account, "Messages") + "?" + urlencode({"To": to, "PageSize": PAGE_SIZE})


def matches(record: Record, account: Account, outbound: Outbound, since: datetime) -> bool:
    """Whether one of Twilio's records is this message, taken since then.

    We assume that Twilio keeps the body but for spaces around it and the ends of lines, that trial
    accounts get a sentence before it, and that of an SMS signs may be others: a messaging service
    writes them as GSM-7 has them (https://www.twilio.com/docs/messaging/services#smart-encoding).
    Of a template's text Twilio has its own version: there sender, recipient and time decide. A
    messaging service may not have chosen a sender yet, or have chosen RCS, by which the recipient
    is then written as well (https://www.twilio.com/docs/rcs/send-an-rcs-message).
    """
    if record.get("direction") != "outbound-api":
        return False
    sender, recipient = record.get("from"), record.get("to")
    service = account.credentials.get("messaging_service_sid")
    is_services = bool(service) and record.get("messaging_service_sid") == service
    if is_services and outbound.channel is Channel.SMS and isinstance(recipient, str):
        recipient = recipient.removeprefix(RCS)
    is_chosen = is_services and (sender is None or str(sender).startswith(RCS))
    if not is_chosen and sender != address(outbound.channel, outbound.from_address):
        return False
    content = outbound.content
    return (
        recipient == address(outbound.channel, outbound.to_address)
        and (content.template is not None or _is_said(record.get("body"), outbound))
        and is_recent(record, since)
    )


def has_its_text(record: Record, outbound: Outbound) -> bool:
    """Whether one of its records says exactly what the message does."""
    is_ours = outbound.content.template is None
    return is_ours and _plain(record.get("body")) == _plain(outbound.content.body)


def _is_said(body: object, outbound: Outbound) -> bool:
    there, ours = _plain(body), _plain(outbound.content.body)
    return there == ours or (
        outbound.channel is Channel.SMS and letters(there) == letters(ours) != ""
    )


def _plain(body: object) -> str:
    text = body.removeprefix(TRIAL_PREFIX) if isinstance(body, str) else ""
    return text.replace("\r\n", "\n").strip()
