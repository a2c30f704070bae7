"""/v1/messages/{id}/why, with what a real worker and real webhooks made of the messages."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiohttp import web

from channels.model import Channel
from gateway.store import why
from gateway.store.database import ApiKey
from gateway.why import failure
from tests.service.wires import (
    by_smtp,
    connect,
    from_meta,
    from_sendgrid,
    from_twilio,
    inbound_of,
    send,
    step,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway, Tenant
    from tests.service.wires import Api

ADA, PHONE = "ada@customer.example", "+447700900123"
SID = "SM" + "3" * 32
HOSTILE = ("", "\x00", "'; --", "%", "x" * 9999, "\ud800", "@", "+")


def caller(tenant: Tenant) -> ApiKey:
    """An API key of a tenant's, as it is known once it has been recognised."""
    return ApiKey(id=uuid4(), organization_id=tenant.organization_id, is_test=False)


async def why_of(ask: Ask, row: Any, **more: Any) -> Any:
    """The explanation of a message."""
    answer = await ask("GET", f"/v1/messages/{row['id']}/why", **more)
    assert 200 == answer.status, answer.body
    return answer.body


def texts(explanation: Any) -> list[str]:
    """The sentences of its timeline."""
    return [step["text"] for step in explanation["timeline"]]


async def test_a_failure(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Sent, and reported as failed: the reason, what to do, and every step with its source."""
    api.says(201, {"sid": SID, "status": "queued"})
    sent = await send(ask, "sms", PHONE, body="Hello")
    await step(api.worker(gateway))
    fields = {"MessageSid": SID, "MessageStatus": "undelivered", "ErrorCode": "30003"}
    assert 200 == (await from_twilio(gateway, "status", fields)).status
    found = await why_of(ask, sent)

    assert found["summary"].startswith(f"This SMS to {PHONE} failed on ")
    assert "The phone could not be reached" in found["summary"]
    assert "Try again in a few hours" in found["advice"]
    assert [
        ("The gateway stored it, to be sent at once.", "api"),
        ("It was being sent.", "worker"),
        ("Twilio took it.", "worker"),
        (f"Twilio reports a failure. {failure('sms', None, '30003', None).text}", "twilio"),
    ] == [(each["text"], each["source"]) for each in found["timeline"]]
    assert {"type": "undelivered", "error_code": "30003", "external_id": SID}.items() <= found[
        "timeline"
    ][-1]["detail"].items()
    again = (await ask("POST", f"/v1/messages/{sent['id']}/retry")).body
    before, after = await why_of(ask, sent), await why_of(ask, again)
    assert "It was sent again already" in before["advice"]
    assert {"message_id": again["id"]} == before["timeline"][-1]["detail"]
    assert {"message_id": sent["id"]} == after["timeline"][0]["detail"]


async def test_a_sender_that_has_moved(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A failure is told in the words of its provider when the sender is another's, or gone."""
    first = await connect(gateway, "postmark", Channel.EMAIL)
    api.says(422, {"ErrorCode": 406, "Message": "Inactive recipient"})
    sent = await send(ask, "email", ADA, subject="Visit", body="When?")
    await step(api.worker(gateway))
    said = [await why_of(ask, sent)]
    await ask("DELETE", f"/v1/accounts/{first}", key=gateway.a.owner)
    said.append(await why_of(ask, sent))
    await connect(gateway, "sendgrid", Channel.EMAIL)
    said.append(await why_of(ask, sent))

    assert "Postmark sends no more to this recipient" in said[0]["summary"]
    assert said[1:] == said[:1] * 2
    assert "postmark" == said[0]["timeline"][-1]["detail"]["provider"]


async def test_scheduled_and_canceled(gateway: Gateway, ask: Ask) -> None:
    """A message for later says when; canceled, that it was."""
    at = datetime.now(UTC) + timedelta(days=1)
    sent = await send(ask, "sms", PHONE, body="Hello", send_at=at.isoformat())
    planned = await why_of(ask, sent)
    await ask("POST", f"/v1/messages/{sent['id']}/cancel")
    canceled = await why_of(ask, sent)
    sent = await send(ask, "sms", PHONE, body="Hello", send_at=at.isoformat())
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.provider_accounts SET is_active = false")
    off = await why_of(ask, sent)

    assert "its account, was removed or turned off" in off["advice"]
    assert f"is planned for {at.day} " in planned["summary"]
    assert "can be canceled" in planned["advice"]
    assert "was canceled before it was sent" in canceled["summary"]
    assert "It was canceled before it was sent." == texts(canceled)[-1]


async def test_suppressed_at_dispatch(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Whoever said STOP before it left: planned, it is foretold; failed, it is the reason."""
    at = datetime.now(UTC) + timedelta(hours=1)
    sent = await send(ask, "sms", PHONE, body="Hello", send_at=at.isoformat())
    stop = {"MessageSid": "SM" + "4" * 32, "From": PHONE, "To": "+15551230001", "Body": "STOP"}
    await from_twilio(gateway, "message", stop)
    planned = await why_of(ask, sent)
    async with gateway.database.as_service() as db:  # the hour is over
        await db.execute("UPDATE gateway.queue SET run_at = run_at - interval '1 hour'")
    await step(api.worker(gateway))
    found = await why_of(ask, sent)

    assert "As things stand it will fail then." in planned["advice"]
    assert "has asked for no more messages on this channel (STOP)" in found["summary"]
    assert "lift the suppression" in found["advice"]
    (stopped,) = await inbound_of(ask)
    assert "do not answer on this channel" in (await why_of(ask, stopped))["advice"]
    assert "They wrote to us after this." == texts(found)[-1]


async def test_given_back_after_429(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Twilio asks to wait: why, and when it is tried again."""
    api.says(429, {"code": 20429, "message": "Too Many Requests"}, **{"Retry-After": "90"})
    sent = await send(ask, "sms", PHONE, body="Hello")
    waiting = await why_of(ask, sent)
    await step(api.worker(gateway))
    found = await why_of(ask, sent)

    assert f"This SMS to {PHONE} waits in the queue and is about to be sent." == waiting["summary"]
    assert "Twilio asks to send more slowly. It is tried again in 1 minute, on" in found["summary"]
    assert "it goes on by itself" in found["advice"]
    assert "Next attempt in 1 minute, on" in texts(found)[-1]


async def test_unknown_and_asked(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Twilio's answer was lost: it is asked, and meanwhile nobody should send it again."""
    api.says(500)
    sent = await send(ask, "sms", PHONE, body="Hello")
    await step(api.worker(gateway))
    found = await why_of(ask, sent)

    assert "It is not known whether Twilio took this SMS" in found["summary"]
    assert "Twilio is being asked" in found["summary"]
    assert "might arrive twice" in found["advice"]


async def test_stays_unknown(gateway: Gateway, ask: Ask, api: Api) -> None:
    """SendGrid's answer was lost, and SendGrid cannot be asked."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    api.says(500)
    sent = await send(ask, "email", ADA, subject="Visit", body="When?")
    worker = api.worker(gateway, ask_every=0.01)
    await step(worker)
    await asyncio.sleep(0.05)
    await step(worker)
    found = await why_of(ask, sent)

    assert (
        "SendGrid cannot be asked, so it stays unknown until a report comes in."
        in (found["summary"])
    )
    assert "SendGrid cannot be asked whether it has it: only a report can tell." == texts(found)[-1]


async def test_being_sent(gateway: Gateway, ask: Ask, api: Api) -> None:
    """While a worker waits for the provider's answer, that is what is told."""
    seen: list[Any] = []
    sent = await send(ask, "sms", PHONE, body="Hello")
    turns = await api.worker(gateway).claim(1)
    seen.append(await why_of(ask, sent))

    assert 1 == len(turns)
    assert f"This SMS to {PHONE} is being sent at this moment." == seen[0]["summary"]


async def test_mail_of_a_lead(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Delivered and opened by a machine, to somebody we know; then reported as spam."""
    account_id = await connect(gateway, "sendgrid", Channel.EMAIL)
    await ask("POST", "/v1/leads", {"first_name": "Ada", "last_name": "Lovelace", "email": ADA})
    sent = await send(ask, "email", ADA, subject="Visit", body="When?")
    await step(api.worker(gateway))
    told = {"email": ADA, "sg_message_id": "sg-1.filter", "timestamp": int(time.time())}
    events = [
        told | {"event": "delivered"},
        told | {"event": "open", "sg_machine_open": True},
        told | {"event": "spamreport"},
    ]
    await from_sendgrid(gateway, account_id, events)
    found = await why_of(ask, sent, key=gateway.a.member)

    assert found["summary"].startswith(f"This e-mail to Ada Lovelace ({ADA}) was taken by the")
    assert "A program has opened it since" in found["summary"]
    assert "reported it as spam" in found["advice"]
    assert "they complained about a message" in found["advice"]


async def test_inbound(gateway: Gateway, ask: Ask) -> None:
    """What came in: whose it is, its file that is still to be fetched, and what it answers."""
    account_id = await connect(gateway, "meta", Channel.WHATSAPP)
    image = {
        "from": "447700900123", "id": "wamid.2", "timestamp": str(int(time.time())),
        "type": "image", "image": {"id": "77", "mime_type": "image/png"},
    }  # fmt: skip
    await from_meta(gateway, account_id, whatsapp_post(whatsapp_value(image)))
    (row,) = await inbound_of(ask)
    stranger = await why_of(ask, row)
    phone = {"first_name": "Ada", "phone": PHONE}
    await ask("POST", "/v1/leads", phone)
    note = whatsapp_text("hello", wamid="wamid.3", sender="447700900123")
    await from_meta(gateway, account_id, whatsapp_post(whatsapp_value(note)))
    newest, _ = await inbound_of(ask)
    known = await why_of(ask, newest)

    assert "no lead or client has this address" in stranger["summary"]
    assert "1 file is still being fetched." in stranger["summary"]
    assert "belongs to the lead Ada." in known["summary"]
    assert known["advice"] is None


async def test_answers(gateway: Gateway, ask: Ask) -> None:
    """A mail and its answer lead to each other."""
    account_id = await connect(gateway, "smtp", Channel.EMAIL)
    sent = await send(ask, "email", ADA, subject="Visit", body="When?")
    head = [
        f"From: {ADA}", "To: desk@clinic.example", "Subject: Re: Visit", "Message-ID: <1@h>",
        f"In-Reply-To: <{sent['id']}@clinic.example>",
    ]  # fmt: skip
    await by_smtp(gateway, account_id, "\r\n".join([*head, "", "Tomorrow", ""]).encode())
    (answer,) = await inbound_of(ask)
    ours, theirs = await why_of(ask, sent), await why_of(ask, answer)

    assert ("They answered it.", {"message_id": answer["id"]}) == (
        ours["timeline"][-1]["text"],
        ours["timeline"][-1]["detail"],
    )
    assert ("This answers an earlier message.", {"message_id": sent["id"]}) == (
        theirs["timeline"][0]["text"],
        theirs["timeline"][0]["detail"],
    )


async def test_many_events(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A mail that was opened without end is told within bounds."""
    account_id = await connect(gateway, "sendgrid", Channel.EMAIL)
    sent = await send(ask, "email", ADA, subject="Visit", body="When?")
    await step(api.worker(gateway))
    now = int(time.time())
    told = {"email": ADA, "sg_message_id": "sg-1.f", "event": "click"}
    await from_sendgrid(
        gateway,
        account_id,
        [told | {"timestamp": now, "url": f"https://x/{n}"} for n in range(250)],
    )
    found = await why_of(ask, sent)

    assert ["What happened before is left out here."] == texts(found)[:1]
    assert f"A link in it was followed. ({why.MOST_EVENTS} times from then on.)" == texts(found)[1]


async def test_others_find_nothing(gateway: Gateway, ask: Ask) -> None:
    """Another organization's message is not there, for keys and staff; nor is one that is none."""
    sent = await send(ask, "sms", PHONE, body="Hello")
    path = f"/v1/messages/{sent['id']}/why"

    for key in (gateway.b.key, gateway.b.owner, gateway.b.member):
        assert 404 == (await ask("GET", path, key=key)).status
    assert 404 == (await ask("GET", f"/v1/messages/{uuid4()}/why")).status
    assert 404 == (await ask("GET", "/v1/messages/nothing/why")).status
    assert 401 == (await ask("GET", path, key="")).status


async def test_the_queue_stays_closed(gateway: Gateway, ask: Ask) -> None:
    """The function that shows a place in the queue shows a caller its own organization's alone,
    whichever it names; and only the gateway itself sees all."""
    sent = await send(ask, "sms", PHONE, body="Hello")
    asked = "SELECT count(*) FROM gateway.place_in_queue($1, $2)"
    counts = {}
    for name, tenant in (("a", gateway.a), ("b", gateway.b)):
        async with gateway.database.as_caller(caller(tenant)) as db:
            counts[name] = await db.fetchval(asked, gateway.a.organization_id, sent["id"])
    async with gateway.database.as_service() as db:
        counts["service"] = await db.fetchval(asked, gateway.a.organization_id, sent["id"])
        wrong = await db.fetchval(asked, gateway.b.organization_id, sent["id"])

    assert {"a": 1, "b": 0, "service": 1} == counts
    assert 0 == wrong


@pytest.mark.parametrize("form", ["{id}", "<{id}@clinic.example>", "{external}", "{phone}",
                                  "0{national}", "whatsapp:{phone}"])  # fmt: skip
async def test_find(gateway: Gateway, ask: Ask, api: Api, form: str) -> None:
    """By id, Message-ID, the provider's id and the address in any form; within an organization."""
    api.answers = lambda _: web.json_response({"sid": SID}, status=201)
    sent = await send(ask, "sms", PHONE, body="Hello")
    await step(api.worker(gateway))
    text = form.format(id=sent["id"], external=SID, phone=PHONE, national=PHONE[3:])
    found = {}
    for name, tenant in (("a", gateway.a), ("b", gateway.b)):
        async with gateway.database.as_caller(caller(tenant)) as db:
            within = await why.find(db, tenant.organization_id, text)
            anywhere = await why.find(db, None, text)
            found[name] = [str(row["id"]) for row in (*within, *anywhere)]
    async with gateway.database.as_service() as db:
        everywhere = [str(row["id"]) for row in await why.find(db, None, text)]
        elsewhere = await why.find(db, gateway.b.organization_id, text)

    assert {"a": [sent["id"]] * 2, "b": []} == found
    assert [sent["id"]] == everywhere
    assert [] == elsewhere


async def test_find_the_latest(gateway: Gateway, ask: Ask) -> None:
    """Of an address at most 20 messages, on all channels, the latest first; and hostile texts."""
    await connect(gateway, "meta", Channel.WHATSAPP)
    for number in range(23):
        await send(ask, "sms", PHONE, body=f"{number}")
    stop = {"MessageSid": "SM" + "5" * 32, "From": PHONE, "To": "+15551230001", "Body": "Hi"}
    await from_twilio(gateway, "message", stop)
    async with gateway.database.as_service() as db:
        rows = await why.find(db, None, PHONE)
        nothing = [await why.find(db, None, text) for text in HOSTILE]

    assert (20, "inbound") == (len(rows), rows[0]["direction"])
    assert rows == sorted(rows, key=lambda row: row["created_at"], reverse=True)
    assert [[]] * len(HOSTILE) == nothing
