"""Real payloads, as other projects and Twilio's documents give them, with their outcomes.

Read from ../shared/corpus where it is; skipped elsewhere.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from twilio.http.response import Response

from channels.errors import AnswerLost, OptedOut, Refused, RefusedForNow, SendError
from channels.providers.twilio import read
from tests.twilio.values import account
from webhooks import twilio
from webhooks.model import (
    ConsentChange,
    Inbound,
    InvalidSignature,
    StatusReport,
    Unknown,
    WebhookRequest,
)

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "twilio.json"
CASES = json.loads(CORPUS.read_text()) if CORPUS.exists() else []
# The corpus has the providers' words; with us queued and sending are sent.
OURS = {"queued": "sent", "sending": "sent"}
# Judged otherwise here. Who answered is told apart and is no failure, and without a CallSid there
# is no call to tell it of; a call that completed is delivered, whatever was reported before.
DIFFERENT: dict[str, str | None] = {"twilio-status-026": None, "twilio-status-027": "delivered"}

pytestmark = pytest.mark.skipif(not CASES, reason="the corpus is not here")


def cases(*kinds: str, calls: bool = False, signed: bool = False) -> pytest.MarkDecorator:
    """A test's cases: of these kinds, about messages or `calls`, signed ones where `signed`."""
    chosen = [
        case
        for case in CASES
        if case["kind"] in kinds
        and (case.get("channel") == "call") is calls
        and (not signed or "signature" in case)
    ]
    return pytest.mark.parametrize("case", chosen, ids=[case["id"] for case in chosen])


def event_of(case: dict[str, Any]) -> str:
    """Where a case's request goes here."""
    if case["kind"] == "inbound":
        return "message"
    return "call-status" if case.get("channel") == "call" else "status"


def webhook(case: dict[str, Any]) -> WebhookRequest:
    """The request of a case."""
    request = case["request"]
    body = request.get("body", "")
    if "form" in request:
        body = urlencode([(name, value) for name, value in request["form"]])
    return WebhookRequest(
        method=request["method"],
        url=request["url"],
        event=event_of(case),
        headers={name.lower(): value for name, value in request["headers"].items()},
        body=body.encode(),
    )


@cases("signature", "status", "inbound", signed=True)
def test_signatures(case: dict[str, Any]) -> None:
    """What other projects verify is verified, and what they refuse is refused."""
    held = account(**case["auth"])
    if case["expected"].get("valid", case["signature"].get("valid")):
        twilio.verify(webhook(case), held)
    else:
        with pytest.raises(InvalidSignature):
            twilio.verify(webhook(case), held)


@cases("status")
def test_statuses(case: dict[str, Any]) -> None:
    """A callback means what others read in it, in the contract's words."""
    report, *changes = twilio.parse(webhook(case))
    expected = case["expected"]
    assert isinstance(report, StatusReport)
    assert report.external_id == expected["external_id"]
    assert report.status == OURS.get(expected["status"], expected["status"])
    assert report.word == expected["provider_status"]
    assert report.error_code == expected.get("error_code")
    stopped = [each.address for each in changes if isinstance(each, ConsentChange)]
    assert stopped == ([expected["to"]] if expected.get("recipient_opted_out") else [])
    for name in ("To", "From"):
        if name.lower() in expected:
            assert report.detail[name] == expected[name.lower()]


@cases("status", calls=True)
def test_statuses_of_calls(case: dict[str, Any]) -> None:
    """A call's callback has the word that others read, and by the contract its status."""
    report, *more = twilio.parse(webhook(case))
    expected = case["expected"]
    assert isinstance(report, StatusReport | Unknown)
    assert (report.word, more) == (expected["provider_status"], [])
    status = report.status if isinstance(report, StatusReport) else None
    assert status == DIFFERENT.get(case["id"], expected["status"])
    external_id = report.external_id if isinstance(report, StatusReport) else None
    assert external_id == expected["external_id"]
    assert report.detail.get("AnsweredBy") == expected.get("answered_by")


@cases("inbound")
def test_inbound_messages(case: dict[str, Any]) -> None:
    """A message that comes in has the text, addresses and files that others find in it."""
    request = webhook(case)
    [message] = twilio.parse(request)
    expected = case["expected"]
    assert isinstance(message, Inbound)
    assert message.channel == case["channel"]
    assert message.external_id == expected["external_id"]
    assert message.from_address == expected["from"]
    assert message.to_address == expected.get("to", message.to_address)
    assert message.body == expected["text"]
    assert [each.url for each in message.attachments] == expected["attachments"]
    types = [each.content_type for each in message.attachments]
    assert types == expected.get("attachment_types", types)
    assert message.detail.get("location") == expected.get("location")
    reply = twilio.reply(request, [message], account())
    wanted = expected.get("reply", {})
    assert reply.status == wanted.get("status", 200)
    assert reply.content_type == wanted.get("content_type", "text/xml")
    assert wanted.get("body_contains", "<Response") in reply.body


@cases("send_response", "error")
def test_answers(case: dict[str, Any]) -> None:
    """An answer to a send is read as others read it."""
    answer, expected = case["response"], case["expected"]
    response = Response(answer["status"], answer["body"], answer["headers"])
    if case["kind"] == "send_response" and expected["external_id"]:
        sent = read(response, "messages")
        assert sent.external_id == expected["external_id"]
        if "provider_status" in expected:
            assert sent.detail["status"] == expected["provider_status"]
        return
    with pytest.raises(SendError) as raised:
        read(response, "messages")
    if case["kind"] == "send_response":
        assert type(raised.value) is AnswerLost
        return
    assert type(raised.value) in (
        (RefusedForNow,) if expected["retryable"] else (Refused, OptedOut)
    )
    assert raised.value.code == expected["error_code"]
    assert raised.value.message == expected.get("error_message", raised.value.message)
