"""What comes to another URL of the same account than the one that it is meant for.

In Twilio's console the fields for these URLs stand side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from channels.model import Channel, Status
from tests.twilio.values import SID, URL, account, request
from webhooks import twilio
from webhooks.model import Addition, ConsentChange, Inbound, Reply, StatusReport, WebhookRequest

CALL = "CA00000000000000000000000000000001"
HOOKS = ("message", "status", "call", "call-status")
TWIML = Reply(
    status=200,
    content_type="text/xml",
    body='<?xml version="1.0" encoding="UTF-8"?><Response/>',
)
RECEIVED = {
    "MessageSid": SID, "SmsSid": SID, "SmsStatus": "received", "From": "+15550002222",
    "To": "+15550001111", "Body": "STOP", "NumMedia": "0",
}  # fmt: skip
DELIVERED = {
    "MessageSid": SID, "SmsSid": SID, "MessageStatus": "delivered", "SmsStatus": "delivered",
    "From": "+15550001111", "To": "+15550002222",
}  # fmt: skip
RINGING = {
    "CallSid": CALL, "CallStatus": "ringing", "Direction": "inbound", "From": "+15550002222",
    "To": "+15550001111",
}  # fmt: skip
COMPLETED = {
    "CallSid": CALL, "CallStatus": "completed", "Direction": "outbound-api",
    "From": "+15550001111", "To": "+15550002222",
}  # fmt: skip


def posted(event: str, form: dict[str, str]) -> WebhookRequest:
    """A request with these parameters at the URL of this event."""
    return request(form.items(), event=event, url=URL.removesuffix("status") + event)


def read(event: str, form: dict[str, str]) -> tuple[Sequence[object], Reply]:
    """What a request at the URL of this event says, and what it is answered."""
    asked = posted(event, form)
    events = twilio.parse(asked)
    return events, twilio.reply(asked, events, account())


@pytest.mark.parametrize("event", HOOKS)
def test_a_message_that_somebody_sent(event: str) -> None:
    """It is stored, with its STOP, and answered with TwiML that says nothing, wherever it comes."""
    (message, stop), answer = read(event, RECEIVED)
    assert isinstance(message, Inbound)
    assert (message.channel, message.from_address) == (Channel.SMS, "+15550002222")
    assert isinstance(stop, ConsentChange)
    assert stop.address == "+15550002222"
    assert answer == TWIML


@pytest.mark.parametrize("event", HOOKS)
def test_what_became_of_a_message(event: str) -> None:
    """It is the same report, and no message from our own number, wherever it comes."""
    [report], answer = read(event, DELIVERED)
    assert [report] == twilio.parse(posted("status", DELIVERED))
    assert isinstance(report, StatusReport)
    assert (report.external_id, report.status) == (SID, Status.DELIVERED)
    assert answer == (TWIML if event in ("message", "call") else Reply(status=200))


@pytest.mark.parametrize("event", HOOKS)
def test_a_call_that_comes_in(event: str) -> None:
    """The caller is greeted, and the call stored, wherever it comes."""
    [call], answer = read(event, RINGING)
    assert isinstance(call, Inbound)
    assert (call.channel, call.external_id) == (Channel.CALL, CALL)
    assert answer == read("call", RINGING)[1]
    assert "<Record" in answer.body


@pytest.mark.parametrize("event", HOOKS)
@pytest.mark.parametrize(
    "form",
    [COMPLETED, COMPLETED | {"CallStatus": "in-progress"}, COMPLETED | {"CallStatus": "busy"}],
)
def test_what_became_of_a_call(event: str, form: dict[str, str]) -> None:
    """It is the same report wherever it comes, and nobody is greeted."""
    events, answer = read(event, form)
    assert events == twilio.parse(posted("call-status", form))
    assert isinstance(events[0], StatusReport)
    assert answer == (TWIML if event in ("message", "call") else Reply(status=200))


@pytest.mark.parametrize("event", HOOKS)
@pytest.mark.parametrize(
    "told",
    [
        {"CallStatus": "completed"},
        {"CallStatus": "no-answer"},
        {"CallStatus": "in-progress", "CallbackSource": "call-progress-events"},
    ],
)
def test_what_became_of_a_call_that_came_in(event: str, told: dict[str, str]) -> None:
    """It is added to that call wherever it comes, which makes no other call of it."""
    [found], answer = read(event, RINGING | told)
    assert isinstance(found, Addition)
    assert (found.external_id, found.word) == (CALL, told["CallStatus"])
    assert "<Record" not in answer.body


@pytest.mark.parametrize(
    ("event", "form", "kind"),
    [
        ("message", {"SmsStatus": ""}, Inbound),
        ("message", {"SmsStatus": "new"}, Inbound),
        ("status", {"SmsStatus": ""}, StatusReport),
        ("status", {"SmsStatus": "new"}, StatusReport),
        ("status", {"SmsStatus": "received", "From": ""}, StatusReport),
        ("status", {"SmsStatus": "received", "MessageStatus": "sent"}, StatusReport),
        ("message", {"SmsStatus": "", "EventType": "READ"}, StatusReport),
    ],
)
def test_where_the_words_do_not_say(event: str, form: dict[str, str], kind: type) -> None:
    """A message is what its URL is for where its status says neither; MessageStatus decides."""
    assert isinstance(twilio.parse(posted(event, RECEIVED | form))[0], kind)
