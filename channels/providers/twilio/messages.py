"""SMS, MMS and WhatsApp: the Messages resource.

Docs: https://www.twilio.com/docs/messaging/api/message-resource. WhatsApp addresses have the prefix
`whatsapp:`, and so do user ids (`whatsapp:US.1234`).
"""

from __future__ import annotations

import json
import re
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
# The prefix of senders and recipients if a messaging service sends over RCS.
RCS: Final = "rcs:"
TRIAL_PREFIX = "Sent from your Twilio trial account - "
# In place of the last digits of a number, with Message Redaction. What stands in place of a text is
# not documented. https://www.twilio.com/docs/messaging/guides/privacy-message-redaction
HIDDEN_DIGITS = "XXXX"
_HIDDEN_TEXT = re.compile(r"\W*(message |body )*redacted\W*", re.IGNORECASE)
# So few records, because they are asked for whenever a list by recipient is empty.
_NEWEST = 50

Form = dict[str, str | list[str]]


def address(channel: Channel, number: str) -> str:
    """An address in Twilio's form; raises `Refused` for a channel that it does not carry."""
    if channel not in PREFIX:
        raise Refused(f"Twilio messages do not carry {channel}.", code="channel")
    return PREFIX[channel] + number


def build(account: Account, outbound: Outbound, callback_url: str) -> Form:
    """The parameters of POST /Messages.json; the callback URL stays as it is, with its fragment."""
    form: Form = {
        "To": address(outbound.channel, outbound.to_address),
        "From": address(outbound.channel, outbound.from_address),
        "StatusCallback": callback_url,
    }
    form |= _text(outbound) if outbound.content.template is None else _template(outbound)
    if service := account.credentials.get("messaging_service_sid"):
        form["MessagingServiceSid"] = service
    if outbound.channel is Channel.SMS and outbound.valid_for is not None:
        # How long it may wait at Twilio, which drops it after the longest validity anyway
        # (https://www.twilio.com/docs/api/errors/90007).
        form["ValidityPeriod"] = str(int(min(max(outbound.valid_for, 1), LONGEST_VALIDITY)))
    return form


def _text(outbound: Outbound) -> Form:
    form: Form = {"Body": outbound.content.body}
    media = [attachment.url for attachment in outbound.content.attachments]
    if not all(media):
        raise Refused("An attachment has no URL that Twilio could fetch it from.", code="media")
    return form | {"MediaUrl": media} if media else form


def _template(outbound: Outbound) -> Form:
    """A template alone: a text or media next to it would be sent instead.

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
    """The URL of the list of messages to this recipient.

    Only filtered by recipient: DateSent is empty while a message is queued, and a filter on it
    misses recent ones (https://github.com/twilio/twilio-java/issues/442).
    """
    to = address(outbound.channel, outbound.to_address)
    return resource(account, "Messages") + "?" + urlencode({"To": to, "PageSize": PAGE_SIZE})


def newest_url(account: Account, outbound: Outbound) -> str:
    """The URL of the list of the newest messages of the sender; of the account, if a messaging
    service chooses the sender."""
    query = {"PageSize": str(_NEWEST)}
    if not account.credentials.get("messaging_service_sid"):
        query["From"] = address(outbound.channel, outbound.from_address)
    return resource(account, "Messages") + "?" + urlencode(query)


def matches(record: Record, account: Account, outbound: Outbound, since: datetime) -> bool:
    """Whether a record may be this message, taken since then.

    We assume that Twilio keeps the body except for surrounding spaces and line ends, that trial
    accounts get a sentence before it, and that a messaging service replaces some characters of an
    SMS by those of GSM-7 (https://www.twilio.com/docs/messaging/services#smart-encoding).
    Twilio's text of a template may differ from ours: then sender, recipient and time decide. A
    messaging service may not have chosen a sender yet, or may have chosen RCS, whose prefix the
    recipient then has as well (https://www.twilio.com/docs/rcs/send-an-rcs-message). Where the text
    is hidden, sender, recipient and time decide, too.
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
        _is_to(recipient, address(outbound.channel, outbound.to_address))
        and (content.template is not None or hides_text(record) or _is_said(record, outbound))
        and is_recent(record, since)
    )


def has_its_text(record: Record, outbound: Outbound) -> bool:
    """Whether a record has exactly the text of the message."""
    is_ours = outbound.content.template is None and not hides_text(record)
    return is_ours and _plain(record.get("body")) == _plain(outbound.content.body)


def hides_text(record: Record) -> bool:
    """Whether a record shows no text, though it has no picture either, or a word in its place."""
    text = _plain(record.get("body"))
    has_files = str(record.get("num_media") or 0) != "0"
    return _HIDDEN_TEXT.fullmatch(text) is not None if text else not has_files


def hides_number(record: Record) -> bool:
    """Whether a record does not show the recipient's whole number."""
    return str(record.get("to")).endswith(HIDDEN_DIGITS)


def _is_to(recipient: object, wanted: str) -> bool:
    return recipient in (wanted, wanted[: -len(HIDDEN_DIGITS)] + HIDDEN_DIGITS)


def _is_said(record: Record, outbound: Outbound) -> bool:
    there, ours = _plain(record.get("body")), _plain(outbound.content.body)
    return there == ours or (
        outbound.channel is Channel.SMS and letters(there) == letters(ours) != ""
    )


def _plain(body: object) -> str:
    text = body.removeprefix(TRIAL_PREFIX) if isinstance(body, str) else ""
    return text.replace("\r\n", "\n").strip()
