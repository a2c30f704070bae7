"""Each value in a provider's request, replaced by each of many hostile ones, is read or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from gateway.registry import PROVIDERS
from webhooks.model import Unreadable, WebhookRequest

ID = "01234567-89ab-7def-8123-456789abcdef"
AT = "2026-01-02T03:04:05Z"
DATE = "Fri, 2 Jan 2026 03:04:05 +0000"
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
FACE = "Ada <ada@x.example>"
TEXT = "Hello\n\nOn 1 Jan 2026, Ann <a@b.example> wrote:\n> Hi"
# Repeated, each of these has kept a request away, or would in code as people write it.
REPEATED = [
    *"([{<\"':;,@% \n\0\ud800", "٣", "\u202e", "=?utf-8?q?a?= ", "<a@b>,", "&#", "1:1 ",
]  # fmt: skip
HOSTILE: list[Any] = [
    *(text * 1200 for text in REPEATED),
    *("", None, True, 0, -1, 2**64, 1e300, -0.0, [], {}, [None, 1, {}], {"\0": "\ud800"}),
    *(json.loads("[" * 200 + "]" * 200), json.loads('{"a":' * 200 + "1" + "}" * 200)),
    *("9" * 5000, "99999999999", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "²"),
    *("Mon, 01 Jan 9999 23:59:59 -9999", "=?idna?q?=FF?=", "http://[", "[[1]]", "multipart/x"),
]  # fmt: skip

EVENTS: list[tuple[str, str, Any]] = [
    ("mailgun", "events", {"event-data": {
        "event": "failed", "id": "x", "timestamp": 1767323045.5, "severity": "permanent",
        "message": {"headers": {"message-id": f"{ID}@x", "to": FACE}}, "tags": ["a"],
        "delivery-status": {"code": 550, "message": "no"}, "user-variables": {"message_id": ID},
        "flags": {"is-routed": False}, "client-info": {"bot": ""}, "reason": "bounce",
    }}),
    ("postmark", "events", {
        "RecordType": "Bounce", "Type": "HardBounce", "MessageID": ID, "BouncedAt": AT, "ID": 7,
        "Email": "a@x.example", "Metadata": {"message_id": ID}, "Inactive": True, "Details": "no",
    }),
    ("postmark", "inbound", {
        "FromFull": {"Email": "a@x.example", "Name": "Ada"}, "ToFull": [{"Email": "b@x.example"}],
        "OriginalRecipient": "b@x.example", "Subject": "Re: Hi", "MessageID": ID, "Date": DATE,
        "TextBody": TEXT, "HtmlBody": "<p>Hello</p>", "ReplyTo": FACE, "RawEmail": "",
        "Headers": [{"Name": "Message-ID", "Value": "<1@x>"}, {"Name": "References", "Value": ""}],
        "Attachments": [{"Name": "a.txt", "Content": "YQ==", "ContentType": "text/plain"}],
    }),
    ("resend", "events", {"type": "email.bounced", "created_at": AT, "data": {
        "email_id": ID, "to": [FACE], "tags": {"message_id": ID},
        "bounce": {"type": "Permanent", "subType": "General", "message": "no"},
    }}),
    ("resend", "fetched", {
        "id": ID, "from": FACE, "to": [FACE], "received_for": ["b@x.example"], "subject": "Hi",
        "text": TEXT, "html": "<p>Hello</p>", "message_id": "<1@x>", "created_at": AT,
        "headers": {"received": ["from a by b for <b@x.example>"]}, "attachments": [{"id": "1"}],
    }),
    ("sendgrid", "events", [{
        "event": "bounce", "sg_message_id": "a.b", "timestamp": 1767323045, "email": "a@x.example",
        "reason": "550 no", "status": "5.1.1", "type": "bounce", "message_id": ID, "smtp-id": "<>",
    }]),
    ("ses", "events", {"Type": "Notification", "MessageId": ID, "TopicArn": "t", "Timestamp": AT,
        "Message": {"eventType": "Bounce", "mail": {"messageId": "x", "timestamp": AT,
            "headers": [{"name": "To", "value": FACE}], "tags": {"message_id": [ID]}},
            "bounce": {"bounceType": "Permanent", "bounceSubType": "General", "timestamp": AT,
                "feedbackId": "f", "bouncedRecipients": [{"emailAddress": "a@x.example"}]}},
    }),
    ("meta", "events", {"object": "whatsapp_business_account", "entry": [{"changes": [{
        "field": "messages", "value": {
            "metadata": {"phone_number_id": "1", "display_phone_number": "1"},
            "contacts": [{"wa_id": "2", "profile": {"name": "Ada"}}],
            "messages": [
                {"id": "m", "from": "2", "timestamp": "1767323045", "type": "interactive",
                 "interactive": {"type": "nfm_reply", "nfm_reply": {"response_json": "{}"}}},
                {"id": "o", "from": "2", "type": "system",
                 "system": {"type": "user_changed_number", "body": "changed", "wa_id": "3"}},
            ],
            "statuses": [{"id": "m", "status": "failed", "timestamp": "1767323045",
                "recipient_id": "2", "errors": [{"code": 131050, "error_data": {"details": "d"}}]}],
        },
    }]}]}),
]  # fmt: skip
FORMS: list[tuple[str, str, dict[str, str]]] = [
    ("twilio", "message", {"MessageSid": "SM1", "From": "whatsapp:+1", "To": "+2", "Body": "Hello",
        "MediaUrl0": "https://x.example/a", "ChannelMetadata": '{"type": "whatsapp"}'}),
    ("twilio", "status", {"MessageSid": "SM1", "MessageStatus": "failed", "ErrorCode": "30003"}),
    ("twilio", "call-status", {"CallSid": "CA1", "CallStatus": "completed", "Timestamp": DATE,
        "AccountSid": "AC1", "CallDuration": "1", "Direction": "outbound-api"}),
    ("mailgun", "inbound", {"sender": "a@x.example", "recipient": "b@x.example", "from": FACE,
        "subject": "Hi", "body-plain": TEXT, "body-html": "<p>Hello</p>", "Message-Id": "<1@x>",
        "message-headers": '[["To", "b@x.example"]]', "attachments": '[{"url": "https://x"}]'}),
    ("sendgrid", "inbound", {"from": FACE, "to": FACE, "subject": "Hi", "text": TEXT, "html": "x",
        "headers": f"From: {FACE}\nTo: {FACE}", "envelope": '{"to": ["b@x.example"], "from": ""}',
        "charsets": '{"text": "utf-8"}', "attachment-info": "{}"}),
]  # fmt: skip
HEADERS = (
    "From", "To", "Subject", "Date", "Message-ID", "References", "Received", "Content-Type",
    "Content-Transfer-Encoding", "Content-Disposition", "Reply-To", "Auto-Submitted",
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a value: itself, and those in its lists and objects."""
    yield at
    inside = value.items() if isinstance(value, dict) else ()
    for key, each in enumerate(value) if isinstance(value, list) else inside:
        yield from places(each, (*at, key))


def put(value: Any, at: tuple[Any, ...], new: object) -> Any:
    """A copy of a value with another one at a place."""
    if not at:
        return new
    copy = value.copy()
    copy[at[0]] = put(value[at[0]], at[1:], new)
    return copy


def read(provider: str, event: str, kind: str, body: str) -> None:
    """Read a request; fails unless it is refused, or what it says can be stored."""
    raw = body.encode(errors="surrogatepass")
    url = f"https://msg.example.org/webhooks/{provider}/{ID}/{event}?message_id={ID}"
    request = WebhookRequest(
        method="POST", url=url, event=event, headers={"content-type": kind}, body=raw
    )
    half = PROVIDERS[provider].webhook
    try:
        events = half.parse(request)
    except Unreadable:
        return
    for each in events:
        said = orjson.dumps(asdict(each), default=str)  # fails for lone surrogates
        assert b"\\u0000" not in said.replace(b"\\\\", b"")


def as_json(value: Any) -> str:
    """JSON; a message of SNS is JSON in a text."""
    if isinstance(value, dict) and isinstance(value.get("Message"), dict):
        value = value | {"Message": json.dumps(value["Message"])}
    return json.dumps(value)


@pytest.mark.parametrize(("provider", "event", "body"), EVENTS)
def test_json(provider: str, event: str, body: Any) -> None:
    """Nothing in JSON is believed to have any type, size or form."""
    for at in places(body):
        for new in HOSTILE:
            read(provider, event, JSON, as_json(put(body, at, new)))


@pytest.mark.parametrize(("provider", "event", "fields"), FORMS)
def test_forms(provider: str, event: str, fields: dict[str, str]) -> None:
    """Nor is any field of a form."""
    for name in fields:
        for new in HOSTILE:
            text = new if isinstance(new, str) else json.dumps(new)
            read(provider, event, FORM, urlencode(fields | {name: text}, errors="surrogatepass"))


@pytest.mark.parametrize("mail", ["Content-Type: text/html\n\n<p>Hello", "\nHello"])
def test_mails(mail: str) -> None:
    """Nor is any header of a mail."""
    for name in HEADERS:
        for new in HOSTILE:
            if isinstance(new, str):
                folded = new.replace("\n", "\n ")
                read("smtp", "inbound", "", f"{name}: {folded}\nFrom: {FACE}\n{mail}")
