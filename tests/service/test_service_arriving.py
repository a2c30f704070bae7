"""Inbound messages that come at once, and what changes about their people at the same moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import UUID

import pytest

from channels.model import Channel
from gateway.receive.receiving import Receiving
from gateway.store.errors import ConflictError
from tests.service.wires import (
    SECRET,
    connect,
    from_meta,
    from_twilio,
    hook,
    inbound_of,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

PHONE, MAIL = "+447700900123", "ada@people.example"
LINK = """
UPDATE gateway.conversations SET lead_id = $1 WHERE id = (
  SELECT conversation_id FROM gateway.conversation_addresses WHERE address = $2)
"""


async def text(gateway: Gateway, sid: str, sender: str = PHONE) -> int:
    """Somebody writes an SMS; the status of what Twilio is answered."""
    form = {"MessageSid": sid, "From": sender, "To": "+15551230001", "Body": sid}
    return (await from_twilio(gateway, "message", form)).status


async def mail(gateway: Gateway, account: UUID, said: str, sender: str = MAIL) -> int:
    """Somebody writes an e-mail; the status of what SendGrid is answered."""
    parts = {
        "from": sender,
        "to": "desk@clinic.example",
        "subject": "s",
        "text": said,
        "headers": f"Message-ID: <{said}@people.example>",
    }
    body = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in parts.items()
    )
    query = "?" + urlencode({"secret": SECRET})
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    data = (body + "--b--\r\n").encode()
    return (
        await hook(gateway, "sendgrid", account, "inbound", query, data=data, headers=headers)
    ).status


@pytest.fixture
async def mails(gateway: Gateway) -> UUID:
    """An account whose mails come in; somebody has written a mail, and somebody an SMS."""
    account = await connect(gateway, "sendgrid", Channel.EMAIL)
    assert (200, 200) == (await text(gateway, "first"), await mail(gateway, account, "first"))
    return account


async def test_a_second_change(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """What meets a change twice is to come again: after a 4xx some providers never do."""

    async def receive(*_: object) -> None:
        raise ConflictError("idx_conversations_org_lead")

    monkeypatch.setattr(Receiving, "receive", receive)

    assert 503 == await text(gateway, "first")


async def test_in_their_order(gateway: Gateway, ask: Ask) -> None:
    """What somebody wrote in one request of the provider's stands in the order in which it came,
    and none of it was changed before it was there."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    said = [whatsapp_text(f"{n}", wamid=f"wamid.{n}", sender=PHONE[1:]) for n in range(12)]
    await from_meta(gateway, account, whatsapp_post(whatsapp_value(*said)))

    assert [f"{n}" for n in reversed(range(12))] == [row["body"] for row in await inbound_of(ask)]
    (talk,) = (await ask("GET", "/v1/conversations")).body["data"]
    assert ("11", 12) == (talk["last_message"]["body"], talk["unread_count"])
    assert 0 == await gateway.count("messages WHERE updated_at < created_at")


async def test_many_requests_at_once(gateway: Gateway, ask: Ask) -> None:
    """Requests that come at once are stored together, of one that comes twice one."""
    answers = await asyncio.gather(
        *(text(gateway, f"SM{n % 40}", f"+4477009001{n % 4:02}") for n in range(80))
    )

    assert {200} == set(answers)
    assert {f"SM{n}" for n in range(40)} == {row["body"] for row in await inbound_of(ask)}
    assert (40, 40) == (
        await gateway.count("messages"),
        await gateway.count("gateway.message_events"),
    )
    talks = (await ask("GET", "/v1/conversations")).body["data"]
    assert [10] * 4 == [talk["unread_count"] for talk in talks]
    async with gateway.database.as_service() as db:
        times = await db.fetchval("SELECT count(DISTINCT xmin::text) FROM messages")
    assert times < 20


@pytest.mark.usefixtures("mails")
async def test_two_addresses_of_one_person(ask: Ask) -> None:
    """Who wrote from two addresses and becomes a lead is one person, with one conversation."""
    lead = await ask("POST", "/v1/leads", {"first_name": "Ada", "phone": PHONE, "email": MAIL})
    wanted = [
        {"channel": "sms", "to": PHONE, "body": "x"},
        {"channel": "email", "to": MAIL, "subject": "s", "body": "x"},
        {"channel": "sms", "to": "+447700900999", "body": "x"},
    ]
    sent = await ask("POST", "/v1/messages/batch", {"messages": wanted})

    assert (201, 207) == (lead.status, sent.status)
    assert [202] * 3 == [one["status"] for one in sent.body["data"]]
    both = (await ask("GET", f"/v1/messages?lead_id={lead.body['id']}")).body["data"]
    assert 1 == len({row["conversation_id"] for row in both})
    assert 2 == len((await ask("GET", "/v1/conversations")).body["data"])


BLANKS = """
INSERT INTO leads (organization_id, first_name, email)
  VALUES ('{0}', 'Bea', E' bea@people.example\\t\\r\\n'), ('{0}', 'Cid', 'cid@people.example ');
INSERT INTO clients (organization_id, first_name, email)
  VALUES ('{0}', 'Dan', ' dan@people.example');
"""


async def test_blanks_around_an_address(gateway: Gateway, ask: Ask, mails: UUID) -> None:
    """Blanks around a contact's addresses, whoever wrote them, are no part of them: mails are
    theirs, are sent to them, and they are found by their address."""
    blank = {"first_name": "Ada", "phone": f" {PHONE}\u202f", "email": f" {MAIL}\n"}
    ada = await ask("POST", "/v1/leads", blank)
    changed = await ask("PATCH", f"/v1/leads/{ada.body['id']}", {"email": f"{MAIL} "})
    eve = await ask("POST", "/v1/clients", {"email": "\teve@people.example "})
    assert [(PHONE, MAIL)] * 2 == [(one.body["phone"], one.body["email"]) for one in (ada, changed)]
    assert "eve@people.example" == eve.body["email"]
    assert {"email"} == set((await ask("POST", "/v1/clients", {"email": "  "})).fields())
    async with gateway.database.as_service() as db:
        await db.execute(BLANKS.format(gateway.a.organization_id))

    for name, kind in (("ada", "lead"), ("bea", "lead"), ("cid", "lead"), ("dan", "client")):
        address = f"{name}@people.example"
        found = await ask("GET", f"/v1/{kind}s?email=%20{address}")
        (contact,) = found.body["data"]
        await mail(gateway, mails, name, address)
        (came,) = (one for one in await inbound_of(ask, limit="200") if one["body"] == name)
        body = {"channel": "email", "subject": "s", "body": "x"}
        assert contact["id"] == came[f"{kind}_id"], name
        for to in ({f"{kind}_id": contact["id"]}, {"to": f" {address} "}):
            sent = await ask("POST", "/v1/messages", body | to)
            row = (await ask("GET", f"/v1/messages/{sent.body['id']}")).body
            assert (address, contact["id"]) == (row["to_address"], row[f"{kind}_id"]), name


async def test_two_addresses_of_one_person_at_once(gateway: Gateway, ask: Ask, mails: UUID) -> None:
    """An SMS and a mail that come at once from somebody who has become a lead are both stored."""
    people = [(f"+4477009002{n:02}", f"p{n}@people.example") for n in range(8)]
    for n, (phone, address) in enumerate(people):
        await text(gateway, f"a{n}", phone)
        await mail(gateway, mails, f"a{n}", address)
    async with gateway.database.as_service() as db:
        await db.executemany(
            "INSERT INTO leads (organization_id, phone, email) VALUES ($1, $2, $3)",
            [(gateway.a.organization_id, *person) for person in people],
        )
    for n, (phone, address) in enumerate(people):
        answers = await asyncio.gather(
            text(gateway, f"b{n}", phone), mail(gateway, mails, f"b{n}", address)
        )
        assert (200, 200) == tuple(answers)

    assert 2 + 4 * len(people) == len(await inbound_of(ask, limit="200"))


@pytest.mark.parametrize("change", [LINK, "DELETE FROM leads WHERE id = $1 AND $2 <> ''"])
async def test_a_person_who_changes_meanwhile(
    gateway: Gateway, ask: Ask, mails: UUID, change: str
) -> None:
    """A mail that comes while its lead is linked to another conversation, or deleted, is stored."""
    async with gateway.database.as_service() as db:
        lead = await db.fetchval(
            "INSERT INTO leads (organization_id, first_name, phone, email)"
            " VALUES ($1, 'Ada', $2, $3) RETURNING id",
            gateway.a.organization_id,
            PHONE,
            MAIL,
        )
    async with gateway.database.as_service() as db:
        await db.execute(change, lead, PHONE)
        coming = asyncio.create_task(mail(gateway, mails, "second"))
        blocked = None
        while blocked is None:
            await asyncio.sleep(0.01)
            blocked = await db.fetchval(
                "SELECT pid FROM pg_locks"
                " WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)) LIMIT 1"
            )
        assert not coming.done()

    assert 200 == await coming
    mailed = await inbound_of(ask, channel="email")
    assert ["second", "first"] == [row["body"] for row in mailed]
