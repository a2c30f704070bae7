"""What a provider sends to the neighbouring URL of the same account: nothing of it is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from channels.model import Channel
from tests.service.wires import (
    OURS,
    SECRET,
    connect,
    counts,
    from_twilio,
    hook,
    inbound_of,
    mailgun_signature,
    replay,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.service.conftest import Answer, Ask, Gateway

ADA, DESK = "ada@customer.example", OURS[Channel.EMAIL]
TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
STOP = {
    "MessageSid": "SM" + "2" * 32, "SmsStatus": "received", "From": "+447700900124",
    "To": "+15551230001", "Body": "STOP", "NumMedia": "0",
}  # fmt: skip


async def test_a_stop_that_comes_to_status(gateway: Gateway, ask: Ask) -> None:
    """A message at Twilio's URL for reports is stored and heard, and answered as Twilio expects."""
    answer = await from_twilio(gateway, "status", STOP)
    kind, _, _ = answer.headers["Content-Type"].partition(";")
    assert (200, "text/xml", TWIML) == (answer.status, kind, answer.body)
    assert ["STOP"] == [row["body"] for row in await inbound_of(ask)]
    refused = await ask("POST", "/v1/messages", SMS | {"to": STOP["From"]})
    assert 422 == refused.status


async def test_a_report_that_comes_to_message(gateway: Gateway, ask: Ask) -> None:
    """A report at Twilio's URL for messages moves its row, and is no message from us."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    told = {"MessageSid": "SM" + "1" * 32, "From": "+15551230001", "To": SMS["to"]}
    query = f"?message_id={sent['id']}"
    await from_twilio(gateway, "status", told | {"MessageStatus": "sent"}, query=query)
    answer = await from_twilio(gateway, "message", told | {"MessageStatus": "delivered"})
    assert 200 == answer.status
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body
    assert "delivered" == row["status"]
    assert [] == await inbound_of(ask)


async def from_postmark(gateway: Gateway, account: UUID) -> Answer:
    """A mail at Postmark's URL for events."""
    letter: Any = {
        "FromFull": {"Email": ADA},
        "OriginalRecipient": DESK,
        "Subject": "X",
        "TextBody": "Hi",
        "MessageID": "a-1",
    }
    query = "?" + urlencode({"secret": SECRET})
    return await hook(gateway, "postmark", account, "events", query, json=letter)


async def from_mailgun(gateway: Gateway, account: UUID) -> Answer:
    """A mail at Mailgun's URL for events."""
    form = {"recipient": DESK, "sender": ADA, "from": ADA, "subject": "X", "body-plain": "Hi"}
    return await hook(gateway, "mailgun", account, "events", data=form | mailgun_signature())


@pytest.mark.parametrize("post", [from_postmark, from_mailgun])
async def test_a_mail_that_comes_to_events(gateway: Gateway, ask: Ask, post: Any) -> None:
    """A mail at the URL for events is stored, and known when it is replayed."""
    account = await connect(gateway, post.__name__.removeprefix("from_"), Channel.EMAIL)
    assert 200 == (await post(gateway, account)).status
    assert [(ADA, "Hi")] == [(row["from_address"], row["body"]) for row in await inbound_of(ask)]
    assert (0, 1, 0, 0) == counts(await replay(gateway))


async def test_replay_of_what_was_lost(gateway: Gateway, ask: Ask, owner: Any) -> None:
    """A message that a gateway of before took for a report is stored by a replay."""
    await from_twilio(gateway, "status", STOP | {"SmsStatus": "accepted"})
    assert [] == await inbound_of(ask)
    await owner.execute(
        "UPDATE gateway.webhook_requests SET body = replace(convert_from(body, 'UTF8'), "
        "'accepted', 'received')::bytea"
    )
    await replay(gateway)
    assert ["STOP"] == [row["body"] for row in await inbound_of(ask)]
    refused = await ask("POST", "/v1/messages", SMS | {"to": STOP["From"]})
    assert 422 == refused.status
