"""Conversations over HTTP: one history per contact, and what staff do with it."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from channels.model import Channel
from tests.service.conftest import Ask, Gateway
from tests.service.wires import (
    by_smtp,
    connect,
    from_meta,
    from_twilio,
    inbound_of,
    suppressed,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)

ANN = "+447700900123"
MAIL = """From: Ann Smith <{sender}>
To: desk@clinic.example
Subject: {subject}
Message-ID: <{name}@device.example>
{more}
{body}
"""


async def by_sms(gateway: Gateway, body: str = "hello", sender: str = ANN) -> None:
    """Somebody writes an SMS to tenant A."""
    sid = f"SM{uuid4().hex}"
    message = {"MessageSid": sid, "AccountSid": "AC" + "a" * 32, "NumMedia": "0"}
    answer = await from_twilio(
        gateway, "message", message | {"From": sender, "To": "+15551230001", "Body": body}
    )
    assert 200 == answer.status


async def by_mail(
    gateway: Gateway, account: Any, sender: str, more: str = "", *, subject: str = "News"
) -> None:
    """Somebody writes an e-mail to tenant A."""
    raw = MAIL.format(sender=sender, subject=subject, name=uuid4().hex, body="hi", more=more)
    assert 204 == (await by_smtp(gateway, account, raw.encode())).status


async def listed(ask: Ask, query: str = "") -> list[dict[str, Any]]:
    """The conversations of tenant A."""
    answer = await ask("GET", f"/v1/conversations{query}")
    assert 200 == answer.status, answer.body
    rows: list[dict[str, Any]] = answer.body["data"]
    return rows


async def test_one_history_over_all_channels(gateway: Gateway, ask: Ask) -> None:
    """SMS, WhatsApp and e-mail with one lead are one conversation, with who, what and how much."""
    smtp = await connect(gateway, "smtp", Channel.EMAIL)
    meta = await connect(gateway, "meta", Channel.WHATSAPP)
    lead = {"first_name": "Ann", "last_name": "Smith", "phone": ANN, "email": "ann@c.example"}
    lead_id = (await ask("POST", "/v1/leads", lead)).body["id"]
    await by_sms(gateway)
    text = whatsapp_text("on whatsapp", wamid="wamid.1", sender=ANN[1:])
    assert 200 == (await from_meta(gateway, meta, whatsapp_post(whatsapp_value(text)))).status
    await by_mail(gateway, smtp, "Ann@C.example")
    await ask("POST", "/v1/messages", {"channel": "sms", "to": ANN, "body": "Hello Ann"})

    (found,) = await listed(ask)

    assert {
        "contact": {
            "lead_id": lead_id,
            "client_id": None,
            "name": "Ann Smith",
            "addresses": [ANN, "Ann@c.example"],
        },
        "channels": ["email", "sms", "whatsapp"],
        "unread_count": 3,
        "status": "open",
        "assigned_to": None,
    }.items() <= found.items()
    assert "Hello Ann" == found["last_message"]["body"]
    assert found["last_message_at"] == found["last_message"]["created_at"]
    said = await ask("GET", f"/v1/conversations/{found['id']}/messages?limit=2")
    rest = await ask(
        "GET", f"/v1/conversations/{found['id']}/messages?cursor={said.body['next_cursor']}"
    )
    everything = (await ask("GET", "/v1/messages")).body["data"]
    assert everything == said.body["data"] + rest.body["data"]
    assert {found["id"]} == {each["conversation_id"] for each in everything}


async def test_who_is_told_by_the_provider(gateway: Gateway, ask: Ask) -> None:
    """A stranger has the name that the provider tells, until a lead of theirs is made."""
    smtp = await connect(gateway, "smtp", Channel.EMAIL)
    await by_mail(gateway, smtp, "ann@c.example")
    await by_sms(gateway)
    assert {None, "Ann Smith"} == {each["contact"]["name"] for each in await listed(ask)}

    made = await ask("POST", "/v1/leads", {"first_name": "Anna", "phone": "07700 900123"})
    (with_phone,) = [each for each in await listed(ask) if each["contact"]["lead_id"]]
    assert ("Anna", [ANN]) == (with_phone["contact"]["name"], with_phone["contact"]["addresses"])

    await ask("PATCH", f"/v1/leads/{made.body['id']}", {"email": "ANN@c.example"})
    (both,) = await listed(ask)
    assert {ANN, "ann@c.example"} == set(both["contact"]["addresses"])
    assert 2 == both["unread_count"]

    client = await ask("POST", "/v1/clients", {"first_name": "Anna", "email": "ann@c.example"})
    (same,) = await listed(ask)
    assert (made.body["id"], client.body["id"]) == (
        same["contact"]["lead_id"],
        same["contact"]["client_id"],
    )


async def test_a_contact_whose_name_is_blank(gateway: Gateway, ask: Ask) -> None:
    """A lead or client with a name of blanks has none: they are called by their address."""
    blank = {"first_name": " ", "last_name": "  "}
    await ask("POST", "/v1/clients", {**blank, "email": "ann@c.example", "phone": ANN})
    await by_sms(gateway)
    assert [None] == [each["contact"]["name"] for each in await listed(ask)]

    await ask("POST", "/v1/leads", {**blank, "phone": ANN})
    (row,) = await listed(ask)
    one = (await ask("GET", f"/v1/conversations/{row['id']}")).body
    assert [None, None] == [each["contact"]["name"] for each in (row, one)]


async def test_readers_of_one_newsletter(gateway: Gateway, ask: Ask) -> None:
    """Who answers a mail that was sent to somebody else is somebody else."""
    smtp = await connect(gateway, "smtp", Channel.EMAIL)
    sent = await ask(
        "POST",
        "/v1/messages",
        {"channel": "email", "to": "ann@c.example", "subject": "News", "body": "All is new."},
    )
    thread = f"In-Reply-To: <{sent.body['id']}@clinic.example>\n"
    await by_mail(gateway, smtp, "ann@c.example", thread)
    await by_mail(gateway, smtp, "ben@c.example", thread)

    rows = await listed(ask)
    assert [["ben@c.example"], ["ann@c.example"]] == [each["contact"]["addresses"] for each in rows]


async def test_redelivery_counts_once(gateway: Gateway, ask: Ask) -> None:
    """The same message told twice is unread once."""
    message = {"MessageSid": "SM" + "1" * 32, "AccountSid": "AC" + "a" * 32, "NumMedia": "0"}
    told = message | {"From": ANN, "To": "+15551230001", "Body": "hi"}
    await asyncio.gather(*(from_twilio(gateway, "message", told) for _ in range(4)))
    assert [1] == [each["unread_count"] for each in await listed(ask)]


async def test_filters(gateway: Gateway, ask: Ask) -> None:
    """Each filter keeps what it says; pages go on where they ended."""
    for n in range(5):
        await by_sms(gateway, sender=f"+44770090020{n}")
    rows = await listed(ask)
    ids = [each["id"] for each in rows]
    staff = (await ask("GET", "/v1/conversations?assigned_to=me", key=gateway.a.member)).body
    assert [] == staff["data"]
    async with gateway.database.as_service() as db:
        member = await db.fetchval(
            "SELECT id FROM auth_users WHERE email = 'member@alpha.example.com'"
        )
    await ask("PATCH", f"/v1/conversations/{ids[1]}", {"assigned_to": str(member)})
    await ask("PATCH", f"/v1/conversations/{ids[2]}", {"status": "closed", "read": True})

    for query, expected in {
        f"assigned_to={member}": [ids[1]],
        "status=closed": [ids[2]],
        "status=open": [*ids[:2], *ids[3:]],
        "unread=true": [*ids[:2], *ids[3:]],
        "unread=false": [ids[2]],
        "channel=sms": ids,
        "channel=email": [],
    }.items():
        assert expected == [each["id"] for each in await listed(ask, f"?{query}")], query
    mine = await ask("GET", "/v1/conversations?assigned_to=me", key=gateway.a.member)
    assert [ids[1]] == [each["id"] for each in mine.body["data"]]
    nobody = await ask("GET", "/v1/conversations?assigned_to=me")
    assert {"assigned_to": "me: an API key is not a member of staff"} == nobody.fields()
    paged: list[str] = []
    cursor = ""
    while len(paged) < len(ids):
        page = (await ask("GET", f"/v1/conversations?limit=2{cursor}")).body
        paged += [each["id"] for each in page["data"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert (ids, None) == (paged, page["next_cursor"])


async def test_reading_closing_and_opening(gateway: Gateway, ask: Ask) -> None:
    """Closed is closed until they write again; read and unread are as somebody says."""
    await by_sms(gateway)
    (found,) = await listed(ask)
    path = f"/v1/conversations/{found['id']}"
    for change, expected in (
        ({"read": True}, (0, "open")),
        ({"read": False}, (1, "open")),
        ({"status": "closed", "read": True}, (0, "closed")),
    ):
        changed = (await ask("PATCH", path, change)).body
        assert expected == (changed["unread_count"], changed["status"])
    await ask("POST", f"{path}/messages", {"body": "bye"})
    assert "closed" == (await ask("GET", path)).body["status"]
    await by_sms(gateway, "again")
    opened = (await ask("GET", path)).body
    assert (1, "open") == (opened["unread_count"], opened["status"])
    wrong = await ask("PATCH", path, {"assigned_to": str(uuid4())})
    refused = {"assigned_to": "is not an active member of staff of your organization"}
    assert refused == wrong.fields()
    assert 422 == (await ask("PATCH", path, {"status": None})).status
    member = "SELECT id FROM auth_users WHERE email = 'member@alpha.example.com'"
    other = "SELECT id FROM auth_users WHERE email = 'member@beta.example.com'"
    async with gateway.database.as_service() as db:
        theirs, ours = str(await db.fetchval(other)), str(await db.fetchval(member))
    assert 200 == (await ask("PATCH", path, {"assigned_to": ours})).status
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE auth_users SET is_active = false WHERE id = $1", UUID(ours))
    for colleague in (ours, theirs):
        wrong = await ask("PATCH", path, {"assigned_to": colleague})
        assert (422, refused) == (wrong.status, wrong.fields())


async def test_replies(gateway: Gateway, ask: Ask) -> None:
    """A reply takes channel and addresses of their last message; a mail its thread and subject."""
    smtp = await connect(gateway, "smtp", Channel.EMAIL, "desk@clinic.example")
    lead = {"first_name": "Ann", "phone": ANN, "email": "ann@c.example"}
    await ask("POST", "/v1/leads", lead)
    await by_sms(gateway)
    await by_mail(gateway, smtp, "ann@c.example")
    (found,) = await listed(ask)
    path = f"/v1/conversations/{found['id']}/messages"

    mail = await ask("POST", path, {"body": "Thank you"}, headers={"Idempotency-Key": "r"})
    again = await ask("POST", path, {"body": "Thank you"}, headers={"Idempotency-Key": "r"})
    sms = await ask("POST", path, {"channel": "sms", "body": "Thank you"}, key=gateway.a.member)

    assert (202, mail.body, "true") == (
        again.status,
        again.body,
        again.headers["Idempotent-Replayed"],
    )
    assert {
        "channel": "email",
        "from_address": "desk@clinic.example",
        "to_address": "ann@c.example",
        "subject": "Re: News",
        "conversation_id": found["id"],
    }.items() <= mail.body.items()
    assert ("+15551230001", ANN, found["id"]) == tuple(
        sms.body[name] for name in ("from_address", "to_address", "conversation_id")
    )


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("=?utf-8?q?A=E2=80=A8B=07C?=", "Re: A B C"),
        ("x" * 997, "Re: " + "x" * 994),
        ("re: " + "x" * 993, "re: " + "x" * 993),
        ("=?utf-8?q?Re:_A=07B?=", "Re: A B"),
        ("", "Re:"),
        ("=?utf-8?q?=07?=", "Re:"),
    ],
)
async def test_a_reply_to_a_subject_that_cannot_be_sent(
    gateway: Gateway, ask: Ask, theirs: str, ours: str
) -> None:
    """Whatever subject came in, or none, the one that a reply takes from it can be sent."""
    smtp = await connect(gateway, "smtp", Channel.EMAIL, "desk@clinic.example")
    await by_mail(gateway, smtp, "ann@c.example", subject=theirs)
    (found,) = await listed(ask)
    sent = await ask("POST", f"/v1/conversations/{found['id']}/messages", {"body": "Thank you"})
    assert (202, ours) == (sent.status, sent.body.get("subject"))


async def test_replies_that_go_nowhere(gateway: Gateway, ask: Ask) -> None:
    """To another contact's address, on a channel without one, by a stranger: refused."""
    await by_sms(gateway)
    await by_sms(gateway, sender="+447700900999")
    other, found = await listed(ask)
    path = f"/v1/conversations/{found['id']}/messages"
    before = await gateway.count("messages")

    elsewhere = await ask("POST", path, {"to": other["contact"]["addresses"][0], "body": "x"})
    assert {"to": "belongs to another conversation: write to it there"} == elsewhere.fields()
    by_mail = await ask("POST", path, {"channel": "email", "subject": "s", "body": "x"})
    assert {
        "to": "is missing: no address of this contact is known that email could go to"
    } == by_mail.fields()
    assert 404 == (await ask("POST", path, {"body": "x"}, key=gateway.b.key)).status
    assert before == await gateway.count("messages")

    new = await ask("POST", path, {"channel": "sms", "to": "+447700900777", "body": "x"})
    assert (202, found["id"]) == (new.status, new.body["conversation_id"])


async def test_a_reply_to_what_we_said(ask: Ask) -> None:
    """Where they never wrote, a reply goes where our last message went, from the same sender."""
    sent = await ask("POST", "/v1/messages", {"channel": "sms", "to": ANN, "body": "x"})
    path = f"/v1/conversations/{sent.body['conversation_id']}/messages"
    reply = await ask("POST", path, {"body": "and another thing"})
    assert (ANN, "+15551230001") == (reply.body["to_address"], reply.body["from_address"])


async def test_an_answer_over_rcs(gateway: Gateway, ask: Ask) -> None:
    """What a messaging service sent over RCS is answered there: it is the same SMS conversation,
    its STOP holds, and the next reply goes from our number."""
    sent = await ask("POST", "/v1/messages", {"channel": "sms", "to": ANN, "body": "x"})
    for sid, body in (("1", "Yes please"), ("2", "STOP"), ("3", "START")):
        fields = {"MessageSid": "SM" + sid * 32, "From": f"rcs:{ANN}", "To": "rcs:clinic_agent",
                  "Body": body, "ChannelMetadata": '{"type": "rcs"}'}  # fmt: skip
        assert 200 == (await from_twilio(gateway, "message", fields)).status
        expected = {("sms", ANN, "stop")} if body == "STOP" else set()
        assert expected == await suppressed(ask)
    rows = (await ask("GET", f"/v1/messages?address={quote(ANN)}")).body["data"]
    assert ["sms"] * 4 == [row["channel"] for row in rows]
    assert {sent.body["conversation_id"]} == {row["conversation_id"] for row in rows}
    path = f"/v1/conversations/{sent.body['conversation_id']}/messages"
    reply = await ask("POST", path, {"body": "See you"})
    assert (ANN, "+15551230001") == (reply.body["to_address"], reply.body["from_address"])


async def test_linking(gateway: Gateway, ask: Ask) -> None:
    """Somebody says who it is; that stays. A lead with another conversation is named instead."""
    await by_sms(gateway)
    (found,) = await listed(ask)
    path = f"/v1/conversations/{found['id']}"
    lead = (await ask("POST", "/v1/leads", {"first_name": "Eve"})).body
    linked = await ask("POST", f"{path}/link", {"lead_id": lead["id"]}, key=gateway.a.member)
    assert (lead["id"], "Eve") == (
        linked.body["contact"]["lead_id"],
        linked.body["contact"]["name"],
    )
    await by_sms(gateway, sender="+447700900999")
    second = next(each for each in await listed(ask) if each["id"] != found["id"])

    taken = await ask("POST", f"/v1/conversations/{second['id']}/link", {"lead_id": lead["id"]})
    assert 409 == taken.status
    assert found["id"] in taken.body["detail"]
    unknown = await ask("POST", f"{path}/link", {"client_id": str(uuid4())})
    assert {"client_id": "there is none with that id in your organization"} == unknown.fields()

    merged = await ask("POST", f"{path}/merge", {"conversation_id": second["id"]})
    assert {ANN, "+447700900999"} == set(merged.body["contact"]["addresses"])
    assert 2 == merged.body["unread_count"]
    moved = await ask("GET", f"/v1/conversations/{second['id']}")
    assert found["id"] == moved.body["id"]
    for of in (f"conversation_id={each['id']}" for each in (found, second)):
        assert 2 == len((await ask("GET", f"/v1/messages?{of}")).body["data"])
        exported = await ask("GET", f"/v1/messages/export?format=jsonl&{of}")
        assert 2 == len(exported.body.splitlines())
    for body, text in (
        ({"conversation_id": second["id"]}, "is this conversation itself"),
        ({"conversation_id": str(uuid4())}, "there is none with that id in your organization"),
    ):
        wrong = await ask("POST", f"{path}/merge", body)
        assert {"conversation_id": text} == wrong.fields()

    written = {"address": "+44 (7700) 900-999"}
    apart = await ask("POST", f"{path}/unlink", written, key=gateway.a.member)
    assert (201, ["+447700900999"]) == (apart.status, apart.body["contact"]["addresses"])
    assert apart.body["id"] not in (found["id"], second["id"])
    assert {1} == {each["unread_count"] for each in await listed(ask)}
    only = await ask("POST", f"{path}/unlink", {"address": ANN})
    assert (409, "This is its only address: there is nothing to take it out of.") == (
        only.status,
        only.body["detail"],
    )
    gone = await ask("POST", f"{path}/unlink", {"address": "+447700900999"})
    assert {"address": "is not one of this conversation's addresses"} == gone.fields()
    free = await ask("POST", f"{path}/link", {"lead_id": None})
    assert free.body["contact"]["lead_id"] is None
    async with gateway.database.as_service() as db:
        who = await db.fetchval(
            "SELECT count(*) FROM audit_logs l JOIN auth_users u ON u.auth_id = l.user_id"
            " WHERE l.table_name LIKE 'conversation%' AND u.email = 'member@alpha.example.com'"
        )
    assert who >= 2


PHONES = {
    "lead": "UPDATE leads SET phone = $2 WHERE id = $1",
    "client": "UPDATE clients SET phone = $2 WHERE id = $1",
}
DELETED = {
    "lead": "DELETE FROM leads WHERE id = $1",
    "client": "DELETE FROM clients WHERE id = $1",
}


@pytest.mark.parametrize("kind", ["lead", "client"])
async def test_who_was_linked_is_deleted(gateway: Gateway, ask: Ask, kind: str) -> None:
    """What was said of them is over: the next message is another's who has the number. Whom staff
    take away stays away."""
    first, second = [
        (await ask("POST", f"/v1/{kind}s", {"email": f"{name}@c.example"})).body["id"]
        for name in ("ann", "eve")
    ]
    await by_sms(gateway)
    (found,) = await listed(ask)
    path, whose = f"/v1/conversations/{found['id']}", f"{kind}_id"
    await ask("POST", f"{path}/link", {whose: first})
    async with gateway.database.as_service() as db:
        await db.execute("RESET ROLE")
        await db.execute(PHONES[kind], second, ANN)
        await db.execute(DELETED[kind], first)
    await by_sms(gateway)
    assert [second] == [row["contact"][whose] for row in await listed(ask)]

    await ask("POST", f"{path}/link", {whose: None})
    await by_sms(gateway)
    assert [None] == [row["contact"][whose] for row in await listed(ask)]


async def test_one_of_two_who_were_linked_is_deleted(gateway: Gateway, ask: Ask) -> None:
    """The other is still whom staff have named, until they are deleted, too."""
    lead = (await ask("POST", "/v1/leads", {"first_name": "Ann"})).body["id"]
    client = (await ask("POST", "/v1/clients", {"email": "ann@c.example"})).body["id"]
    await by_sms(gateway)
    (found,) = await listed(ask)
    named = {"lead_id": lead, "client_id": client}
    assert 200 == (await ask("POST", f"/v1/conversations/{found['id']}/link", named)).status
    seen = []
    for kind, who in (("lead", lead), ("client", client)):
        async with gateway.database.as_service() as db:
            await db.execute("RESET ROLE")
            await db.execute(DELETED[kind], who)
            seen.append(await db.fetchval("SELECT is_linked FROM gateway.conversations"))
    assert [True, False] == seen


@pytest.mark.parametrize("who", ["key", "owner", "member"])
async def test_other_organizations(gateway: Gateway, ask: Ask, who: str) -> None:
    """Another organization sees, changes and joins nothing, and is told that there is nothing."""
    await by_sms(gateway)
    (found,) = await listed(ask)
    path, key = f"/v1/conversations/{found['id']}", getattr(gateway.b, who)
    await ask("POST", "/v1/messages", {"channel": "sms", "to": ANN, "body": "x"}, key=key)
    (own,) = (await ask("GET", "/v1/conversations", key=key)).body["data"]
    for method, at, body in (
        ("GET", path, None),
        ("GET", f"{path}/messages", None),
        ("PATCH", path, {"read": True}),
        ("POST", f"{path}/messages", {"body": "x"}),
        ("POST", f"{path}/link", {"lead_id": None}),
        ("POST", f"{path}/merge", {"conversation_id": own["id"]}),
        ("POST", f"{path}/unlink", {"address": ANN}),
    ):
        assert 404 == (await ask(method, at, body, key=key)).status, at
    stolen = await ask(
        "POST", f"/v1/conversations/{own['id']}/merge", {"conversation_id": found["id"]}, key=key
    )
    assert 422 == stolen.status
    assert [found] == await listed(ask)
    assert ["hello"] == [row["body"] for row in await inbound_of(ask)]
