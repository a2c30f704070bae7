"""Twilio, the webhook half: `messages` and `calls`, in and out.

Docs: https://www.twilio.com/docs/messaging/guides/webhook-request and
https://www.twilio.com/docs/voice/twiml#request-parameters.
Signed with HMAC-SHA1 over the public URL and the sorted parameters, keyed with the auth token
(`signature`). `fetched` is no webhook of Twilio's: what its API answered to a `Fetch`.
Oddities: parameters come unannounced; a text/plain answer to a message is sent to the customer;
a call is answered with TwiML, or ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from channels.model import Account
from webhooks.model import Inbound, Reply, Unknown, WebhookEvent, WebhookRequest
from webhooks.twilio import calls, messages
from webhooks.twilio.parameters import Given, read_parameters
from webhooks.twilio.signature import verify

__all__ = ("EVENTS", "parse", "reply", "verify")

EVENTS: Final = (
    "message", "status", "call", "call-status", "recording", "transcription", "gather", "amd",
    "fetched",
)  # fmt: skip
# What somebody sent or said, and reports, whose URL can carry our id of the message.
SAID: Final[Mapping[str, Callable[[Given], list[WebhookEvent]]]] = {
    "message": messages.message,
    "call": calls.call,
    "recording": calls.recording,
    "transcription": calls.transcription,
}
REPORTED: Final[Mapping[str, Callable[[Given, str], list[WebhookEvent]]]] = {
    "status": messages.status,
    "call-status": calls.call_status,
    "gather": calls.gather,
    "amd": calls.amd,
}

EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


def parse(request: WebhookRequest) -> Sequence[WebhookEvent]:
    """The events of a verified request; raises `Unreadable`."""
    if request.event == "fetched":
        return calls.fetched(request)
    if request.event in SAID:
        return SAID[request.event](read_parameters(request))
    if request.event in REPORTED:
        return REPORTED[request.event](read_parameters(request), request.url)
    return [Unknown(word=request.event)]


def reply(request: WebhookRequest, events: Sequence[WebhookEvent], account: Account) -> Reply:
    """Twilio's expected answer: what is said on the phone, TwiML that says nothing, or only 200."""
    if request.event == "gather" or (
        request.event == "call" and any(isinstance(event, Inbound) for event in events)
    ):
        return Reply(status=200, content_type="text/xml", body=calls.reply(request, account))
    if request.event in ("message", "call"):
        return Reply(status=200, content_type="text/xml", body=EMPTY_TWIML)
    return Reply(status=200)
