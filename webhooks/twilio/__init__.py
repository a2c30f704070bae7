"""Twilio, the webhook half: `messages` and `calls`, in and out.

Docs: https://www.twilio.com/docs/messaging/guides/webhook-request and
https://www.twilio.com/docs/voice/twiml#request-parameters.
Signed with HMAC-SHA1 over the public URL and the sorted parameters, keyed with the auth token
(`signature`). `fetched` is no webhook of Twilio's, but an answer of its API to a `Fetch`.
Oddities: the fields for our URLs are side by side in its console and easily mixed up, so messages,
calls and reports are told apart by their content, whichever URL they came to; new parameters come
unannounced; a text/plain answer to a message is sent to the customer; a call is answered with
TwiML, or ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from channels.model import Account, Channel
from webhooks.model import Inbound, Reply, Unknown, WebhookEvent, WebhookRequest
from webhooks.twilio import calls, messages, prices
from webhooks.twilio.parameters import Given, first, read_parameters
from webhooks.twilio.signature import verify

__all__ = ("EVENTS", "parse", "reply", "verify")

EVENTS: Final = (
    "message", "status", "call", "call-status", "recording", "transcription", "gather", "amd",
)  # fmt: skip
# Readers of what somebody sent or said, and of reports, whose URL may carry our id of the message.
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

# The events whose URLs people paste, and may mix up.
PASTED: Final = frozenset({"message", "status", "call", "call-status"})

EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


def parse(request: WebhookRequest) -> Sequence[WebhookEvent]:
    """The events of a verified request; raises `Unreadable`."""
    if request.event == "fetched":
        return prices.fetched(request)
    if request.event not in EVENTS:
        return [Unknown(word=request.event)]
    given = read_parameters(request)
    event = _meant(request.event, given) if request.event in PASTED else request.event
    return SAID[event](given) if event in SAID else REPORTED[event](given, request.url)


def _meant(event: str, given: Given) -> str:
    """The event of a request by its parameters, or else by the URL that it came to."""
    has_call, has_message = bool(first(given, "CallSid")), bool(first(given, *messages.SIDS))
    is_call = has_call if has_call != has_message else event in ("call", "call-status")
    is_said = event in SAID
    if is_call:
        return "call" if calls.comes_in(given, otherwise=is_said) else "call-status"
    return "message" if messages.comes_in(given, otherwise=is_said) else "status"


def reply(request: WebhookRequest, events: Sequence[WebhookEvent], account: Account) -> Reply:
    """The answer that Twilio expects: TwiML for a call, empty TwiML, or only a 200."""
    said = next((event for event in events if isinstance(event, Inbound)), None)
    if request.event == "gather" or (said and said.channel is Channel.CALL):
        return Reply(status=200, content_type="text/xml", body=calls.reply(request, account))
    if said or request.event in ("message", "call"):
        return Reply(status=200, content_type="text/xml", body=EMPTY_TWIML)
    return Reply(status=200)
